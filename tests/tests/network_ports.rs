//! Ports of the host that are forwarded to a pod.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use rkt_tests::{Lan, Pod, Rkt, args, wait_until};
use rustix::process::Signal;
use serde_json::json;

/// An app that says who it is to whoever connects.
fn server(rkt: &Rkt, name: &str) -> PathBuf {
    rkt.image(name, |image| {
        let port = |name: &str, protocol: &str, port: u16, count: u16| {
            json!({"name": name, "protocol": protocol, "port": port, "count": count, "socketActivated": false})
        };
        image
            .sh(&format!(
                "for p in 80 81; do mkdir -p /w/$p; echo {name}-$p >/w/$p/index.html; httpd -p $p -h /w/$p; done; \
                 echo up; exec sleep 1000"
            ))
            .with("ports", json!([port("http", "tcp", 80, 1), port("both", "tcp", 80, 2), port("dns", "udp", 53, 1)]))
    })
}

fn ask(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(2)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(|error| error.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

fn end(pod: Pod<'_>) {
    pod.signal(Signal::TERM);
    pod.wait();
}

// APPC-189
#[test]
fn a_port_is_reached_from_the_neighbour_and_from_the_host_itself() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt, "web");
    let mut pod = rkt.start_net(args!["--port=http:8080", &image]);
    pod.wait_for("up");
    let lan = rkt.lan();
    for address in [format!("{}:8080", Lan::HOST), format!("[{}]:8080", Lan::HOST6)] {
        assert_eq!(lan.as_peer(|| ask(&address)).as_deref(), Ok("web-80"), "from the neighbour: {address}");
    }
    for address in [
        "127.0.0.1:8080".to_owned(),
        "[::1]:8080".to_owned(),
        "172.16.28.1:8080".to_owned(),
        format!("{}:8080", Lan::HOST),
        format!("[{}]:8080", Lan::HOST6),
    ] {
        assert_eq!(lan.as_host(|| ask(&address)).as_deref(), Ok("web-80"), "from the host: {address}");
    }
    assert!(
        lan.as_peer(|| ask(&format!("{}:80", Lan::HOST))).is_err(),
        "only what was asked for is forwarded"
    );
    let url = format!("http://{}:8080/", Lan::HOST);
    // From the pod itself, by the host's address; and from another pod.
    let hairpin = rkt.rkt(["enter", pod.uuid(), "/bin/wget", "-q", "-O", "-", &url]);
    hairpin.stdout_is("web-80\n");
    let client = rkt.image("client", |image| image.exec(&["/bin/wget", "-q", "-O", "-", &url]));
    rkt.run_net(args![&client]).stdout_is("web-80\n");
    end(pod);
    assert!(lan.as_peer(|| ask(&format!("{}:8080", Lan::HOST))).is_err(), "not after the pod's end");
}

#[test]
fn addresses_protocols_and_ranges_are_as_asked_for() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt, "web");
    let mut pod = rkt.start_net(args![
        "--port=http:127.0.0.1:8080",
        format!("--port=http:[{}]:8081", Lan::HOST6),
        "--port=both:9000",
        "--port=dns:5353",
        &image
    ]);
    pod.wait_for("up");
    let lan = rkt.lan();
    assert_eq!(lan.as_host(|| ask("127.0.0.1:8080")).as_deref(), Ok("web-80"));
    assert!(lan.as_peer(|| ask(&format!("{}:8080", Lan::HOST))).is_err());
    assert!(lan.as_peer(|| ask(&format!("[{}]:8080", Lan::HOST6))).is_err());
    assert_eq!(lan.as_peer(|| ask(&format!("[{}]:8081", Lan::HOST6))).as_deref(), Ok("web-80"));
    assert!(lan.as_peer(|| ask(&format!("{}:8081", Lan::HOST))).is_err());
    assert_eq!(lan.as_peer(|| ask(&format!("{}:9000", Lan::HOST))).as_deref(), Ok("web-80"));
    assert_eq!(lan.as_peer(|| ask(&format!("{}:9001", Lan::HOST))).as_deref(), Ok("web-81"));
    let echo = rkt_tests::in_network_of(pod.init(), || UdpSocket::bind("[::]:53").unwrap());
    let server = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let (length, from) = echo.recv_from(&mut buffer).unwrap();
        echo.send_to(&buffer[..length], from).unwrap();
    });
    let answer = lan.as_peer(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 64];
        socket.send_to(b"echo", (Lan::HOST, 5353)).unwrap();
        socket.recv(&mut buffer).map(|length| buffer[..length].to_vec())
    });
    assert_eq!(answer.unwrap(), b"echo");
    server.join().unwrap();
    end(pod);
}

/// Sends a datagram, and returns what comes back.
fn echoed(address: &str) -> Result<Vec<u8>, String> {
    let address: SocketAddr = address.parse().unwrap();
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    // Whoever has said whom it speaks to hears nobody else.
    socket.connect(address).unwrap();
    socket.send(b"echo").map_err(|error| error.to_string())?;
    let mut buffer = [0; 64];
    socket.recv(&mut buffer).map(|length| buffer[..length].to_vec()).map_err(|error| error.to_string())
}

#[test]
fn a_port_of_the_loopback_address_is_reached_by_the_host_alone() {
    let rkt = Rkt::on_lan();
    let lan = rkt.lan();
    // Several pods: each has its own way back.
    let mut pods = Vec::new();
    for number in 1..4_u16 {
        let image = server(&rkt, &format!("web{number}"));
        let mut pod = rkt.start_net(args![
            format!("--port=http:127.0.0.1:808{number}"),
            format!("--port=http:[::1]:808{number}"),
            format!("--port=dns:[::1]:535{number}"),
            &image
        ]);
        pod.wait_for("up");
        pods.push(pod);
    }
    for (number, pod) in (1..4).zip(&pods) {
        let want = Ok(format!("web{number}-80"));
        for address in ["127.0.0.1", "[::1]"] {
            let address = format!("{address}:808{number}");
            assert_eq!(lan.as_host(|| ask(&address)), want, "{address}");
            assert_eq!(lan.as_host(|| ask(&address)), want, "{address} again");
        }
        let echo = rkt_tests::in_network_of(pod.init(), || UdpSocket::bind("[::]:53").unwrap());
        let server = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            let (length, from) = echo.recv_from(&mut buffer).unwrap();
            echo.send_to(&buffer[..length], from).unwrap();
        });
        let address = format!("[::1]:535{number}");
        assert_eq!(lan.as_host(|| echoed(&address)).as_deref(), Ok(&b"echo"[..]), "{address}");
        server.join().unwrap();
    }
    for address in [format!("{}:8081", Lan::HOST), format!("[{}]:8081", Lan::HOST6)] {
        assert!(lan.as_peer(|| ask(&address)).is_err(), "from the neighbour: {address}");
        assert!(lan.as_host(|| ask(&address)).is_err(), "by another address: {address}");
    }
    // What the host itself has at its loopback address stays where it is, and stays hidden from pods.
    let own = lan.as_host(|| TcpListener::bind("[::1]:7000").unwrap());
    lan.as_host(|| TcpStream::connect("[::1]:7000").unwrap());
    drop(own);
    let mut pods = pods.into_iter();
    let first = pods.next().unwrap();
    end(first);
    assert!(lan.as_host(|| ask("[::1]:8081")).is_err_and(|error| error.contains("refused")));
    assert_eq!(lan.as_host(|| ask("[::1]:8082")).as_deref(), Ok("web2-80"), "the others stay");
    let held = lan.as_host(|| TcpListener::bind("[::1]:8082"));
    assert!(held.is_err(), "nobody else can listen there");
    pods.for_each(end);
    let routes = || lan.host_sh("ip -6 route show table local ::1").success().stdout;
    wait_until("the routes to go with the interfaces", || routes().lines().count() == 1);
}

#[test]
fn a_port_of_an_ipv6_address_needs_a_pod_that_has_one() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt, "web");
    let directory = rkt.base().join("local/net.d");
    std::fs::create_dir_all(&directory).unwrap();
    let four = json!({"name": "four", "type": "rkt", "ipam": {"subnet": "10.44.0.0/24"}});
    std::fs::write(directory.join("four.conf"), four.to_string()).unwrap();
    for port in ["--port=http:[::1]:8080", "--port=http:[::]:8080"] {
        rkt.run_net(args!["--net=four", port, &image])
            .refused(&["port 8080/tcp", "network \"four\" gives the pod no IPv6 address"]);
    }
    assert!(rkt.pods_on_disk().is_empty());
}

#[test]
fn a_restricted_pod_is_reached_through_its_port() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt, "closed");
    let mut pod = rkt.start_net(args!["--net=default-restricted", "--port=http:8080", &image]);
    pod.wait_for("up");
    let lan = rkt.lan();
    assert_eq!(lan.as_peer(|| ask(&format!("{}:8080", Lan::HOST))).as_deref(), Ok("closed-80"));
    assert_eq!(lan.as_host(|| ask("127.0.0.1:8080")).as_deref(), Ok("closed-80"));
    end(pod);
}

#[test]
fn case_41_a_port_that_is_taken_is_refused_before_anything_starts() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt, "web");
    let lan = rkt.lan();
    let held = lan.as_host(|| TcpListener::bind("0.0.0.0:8080").unwrap());
    rkt.run_net(args!["--port=http:8080", &image]).refused(&["port 8080/tcp", "is taken"]);
    rkt.run_net(args!["--port=http:127.0.0.1:8080", &image])
        .refused(&["port 8080/tcp of 127.0.0.1", "is taken"]);
    assert!(rkt.pods_on_disk().is_empty(), "nothing was made");
    drop(held);
    let mut first = rkt.start_net(args!["--port=http:8080", &image]);
    first.wait_for("up");
    rkt.run_net(args!["--port=http:8080", &image]).refused(&["port 8080/tcp", "is taken"]);
    assert!(lan.as_host(|| TcpListener::bind("0.0.0.0:8080")).is_err(), "nobody else can listen there");
    assert_eq!(rkt.pods_on_disk().len(), 1);
    end(first);
    let mut again = rkt.start_net(args!["--port=http:8080", &image]);
    again.wait_for("up");
    assert_eq!(lan.as_host(|| ask("127.0.0.1:8080")).as_deref(), Ok("web-80"));
    end(again);
}

#[test]
fn ports_that_make_no_sense_are_refused() {
    let rkt = Rkt::on_lan();
    let port = |name: &str, count: u16| json!({"name": name, "protocol": "tcp", "port": 80, "count": count, "socketActivated": false});
    let image = rkt.image("web", |image| image.with("ports", json!([port("http", 1), port("both", 2)])));
    for (args, part) in [
        (&["--port=nothing:80"][..], "no app of the pod has a port of that name"),
        (&["--port=http:0"], "1 to 65535"),
        (&["--port=http:80/sctp"], "neither tcp nor udp"),
        (&["--port=http:::1:80"], "in brackets"),
        (&["--port=http:80", "--port=http:80"], "given to two ports"),
        (&["--port=both:65535"], "beyond 65535"),
        (&["--port=http:192.0.2.9:80"], "192.0.2.9"),
        (&["--port=http:[::1]:80", "--net=x,none"], "--port does not go with --net=none"),
        (&["--port=http:80", "--net=x,none"], "--port does not go with --net=none"),
        (&["--port=http:80", "--net=host"], "--port does not go with --net=host"),
    ] {
        let mut all: Vec<std::ffi::OsString> = args.iter().map(Into::into).collect();
        all.push(image.clone().into());
        rkt.run_net(all).refused(&[part]);
    }
    assert!(rkt.pods_on_disk().is_empty());
}

#[test]
fn a_prepared_pod_keeps_its_ports() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt, "web");
    let uuid = rkt
        .rkt(args!["prepare", "--port=http:8080", format!("--port=http:[{}]:8081", Lan::HOST6), &image])
        .success();
    let uuid = uuid.stdout.trim().to_owned();
    rkt.rkt(["run-prepared", "--net=none", &uuid]).refused(&["--port does not go with"]);
    let command = rkt.command(["run-prepared", &format!("--supervisor={}", rkt.launcher().as_str()), &uuid]);
    let mut pod = rkt.background(command, &uuid);
    pod.wait_for("up");
    let lan = rkt.lan();
    assert_eq!(lan.as_peer(|| ask(&format!("{}:8080", Lan::HOST))).as_deref(), Ok("web-80"));
    assert_eq!(lan.as_peer(|| ask(&format!("[{}]:8081", Lan::HOST6))).as_deref(), Ok("web-80"));
    end(pod);
}
