//! Pods' networks beside other programs that write rules for packets: firewalld, iptables and nft.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    time::Duration,
};

use rkt_tests::{Firewalld, Lan, Pod, Rkt, args};
use rustix::process::Signal;
use serde_json::json;

/// An app that answers by HTTP.
fn server(rkt: &Rkt) -> PathBuf {
    rkt.image("web", |image| {
        let port =
            json!([{"name": "http", "protocol": "tcp", "port": 80, "count": 1, "socketActivated": false}]);
        image
            .sh("mkdir -p /w; echo web >/w/index.html; httpd -h /w; echo up; exec sleep 1000")
            .with("ports", port)
    })
}

fn get(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.lines().last().map(str::to_owned)
}

/// Those among the ways to the pod's port that lead there.
fn ways(lan: &Lan) -> Vec<String> {
    let of = |address: &str| format!("{address}:8080");
    let outside = [of(Lan::HOST), of(&format!("[{}]", Lan::HOST6))];
    let own = [of("127.0.0.1"), of("[::1]"), of(Lan::HOST)];
    let web = Some("web");
    let outside = outside.iter().filter(|address| lan.as_peer(|| get(address)).as_deref() == web);
    let own = own.iter().filter(|address| lan.as_host(|| get(address)).as_deref() == web);
    outside
        .map(|address| format!("peer {address}"))
        .chain(own.map(|address| format!("host {address}")))
        .collect()
}

const ALL: usize = 5;

/// Whether a new pod gets out to the neighbour.
fn gets_out(rkt: &Rkt) -> bool {
    let client = rkt.image("out", |image| {
        image.sh(&format!("ping -c 1 -W 2 {} && ping -c 1 -W 2 {}", Lan::PEER, Lan::PEER6))
    });
    rkt.run_net(args![&client]).status == 0
}

fn end(pod: Pod<'_>) {
    pod.signal(Signal::TERM);
    pod.wait();
}

#[test]
fn firewalld_lets_forwarded_ports_pass_and_leaves_them_alone() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt);
    let lan = rkt.lan();
    let Some(firewalld) = Firewalld::start(&rkt) else {
        eprintln!("passed over: firewalld is not installed");
        return;
    };
    let mut pod = rkt.start_net(args!["--port=http:8080", &image]);
    pod.wait_for("up");
    let listener = lan.as_host(|| TcpListener::bind("0.0.0.0:7000").unwrap());
    let others = || {
        lan.as_peer(|| {
            TcpStream::connect_timeout(
                &format!("{}:7000", Lan::HOST).parse().unwrap(),
                Duration::from_secs(1),
            )
            .is_ok()
        })
    };
    assert!(!others(), "firewalld is at work: nobody gets to what it was not told of");
    assert_eq!(ways(lan).len(), ALL, "{:?}", ways(lan));
    firewalld.command(&["--reload"]).success();
    assert!(!others());
    assert_eq!(ways(lan).len(), ALL, "after a reload: {:?}", ways(lan));
    firewalld.command(&["--complete-reload"]).success();
    assert_eq!(ways(lan).len(), ALL, "after a complete reload: {:?}", ways(lan));
    // What a pod sends is another matter.
    assert!(!gets_out(&rkt), "docs/networking.md: pods' addresses have to be trusted");
    for source in ["172.16.28.0/24", "fd72:6b74:1::/64"] {
        firewalld.command(&["--zone=trusted", &format!("--add-source={source}")]).success();
    }
    assert!(gets_out(&rkt));
    lan.host_sh("nft flush ruleset").success();
    assert_eq!(ways(lan), Vec::<String>::new(), "the rules are gone");
    rkt.rkt(["net", "reload"]).success();
    assert_eq!(ways(lan).len(), ALL, "after rkt net reload: {:?}", ways(lan));
    firewalld.stop();
    assert_eq!(ways(lan).len(), ALL, "without firewalld: {:?}", ways(lan));
    assert!(others(), "it has taken its rules along");
    drop(listener);
    end(pod);
}

#[test]
fn what_iptables_has_and_what_pods_have_leave_each_other_alone() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt);
    let lan = rkt.lan();
    // As Docker leaves it.
    let docker = "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER; \
         iptables-nft -t nat -A POSTROUTING -s 10.77.0.0/16 -j MASQUERADE";
    lan.host_sh(docker).success();
    let saved = || {
        let all = lan.host_sh("iptables-nft-save").success();
        let rules = all.lines().into_iter().filter(|line| line.starts_with("-A") || line.starts_with(":"));
        rules.map(|line| line.split(" [").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let before = saved();
    let mut pod = rkt.start_net(args!["--port=http:8080", &image]);
    pod.wait_for("up");
    assert_eq!(saved(), before);
    let outside = format!("{}:8080", Lan::HOST);
    assert_eq!(lan.as_peer(|| get(&outside)), None, "what another table drops stays dropped");
    // docs/networking.md
    for line in
        ["iptables-nft -I DOCKER-USER -i rkt-+ -j ACCEPT", "iptables-nft -I DOCKER-USER -o rkt-+ -j ACCEPT"]
    {
        lan.host_sh(line).success();
    }
    assert_eq!(ways(lan).len(), ALL, "{:?}", ways(lan));
    assert!(gets_out(&rkt));
    let before = saved();
    lan.host_sh("nft list tables").success().stdout_has("table ip filter").stdout_has("table inet rkt");
    rkt.rkt(["net", "reload"]).success();
    assert_eq!(saved(), before);
    lan.host_sh("iptables-nft -P FORWARD ACCEPT; iptables-nft -F; iptables-nft -X; iptables-nft -t nat -F")
        .success();
    assert_eq!(ways(lan).len(), ALL, "{:?}", ways(lan));
    lan.host_sh("iptables-nft -A FORWARD -i nobody0 -j DROP").success();
    let before = saved();
    end(pod);
    assert_eq!(saved(), before, "a pod's end takes what is its own");
}
