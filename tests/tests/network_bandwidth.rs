//! The isolator `resource/network-bandwidth`: what goes through a pod's interfaces is held to it, in each direction, whatever
//! the pod does about it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rkt_tests::{Lan, Outcome, Rkt, args};
use serde_json::{Value, json};

/// What goes each way.
const BYTES: usize = 3_000_000;
/// What that takes at least at a million bytes a second.
const LIMITED: Duration = Duration::from_millis(2850);
/// What it takes at most: the kernel drops what is too much, and waits a little then.
const PATIENCE: Duration = Duration::from_secs(9);

/// An app that fetches from the neighbour and sends to him.
fn image(rkt: &Rkt, before: &str) -> PathBuf {
    rkt.image("moves", |image| {
        image.sh(&format!(
            "{before}; nc {peer} 7000 </dev/null | wc -c; dd if=/dev/zero bs={BYTES} count=1 2>/dev/null | nc {peer} 7001; \
             nc {peer6} 7002 </dev/null | wc -c",
            peer = Lan::PEER,
            peer6 = Lan::PEER6
        ))
    })
}

/// How long each transfer took: to the pod, from it, and to it by IPv6. The pod makes one after the other.
fn times(rkt: &Rkt, run: impl FnOnce() -> Outcome) -> [Duration; 3] {
    let listen = |address: &str| rkt.lan().as_peer(|| TcpListener::bind(address).unwrap());
    let listeners = [listen("0.0.0.0:7000"), listen("0.0.0.0:7001"), listen("[::]:7002")];
    let neighbour = thread::spawn(move || {
        listeners.map(|listener| {
            let (mut stream, begun) = (listener.accept().unwrap().0, Instant::now());
            if listener.local_addr().unwrap().port() == 7001 {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                assert_eq!(all.len(), BYTES);
            } else {
                stream.write_all(&vec![0; BYTES]).unwrap();
            }
            begun
        })
    });
    run().success().stdout_is(&format!("{BYTES}\n{BYTES}\n"));
    let ended = Instant::now();
    let [to, from, to6] = neighbour.join().unwrap();
    [from - to, to6 - from, ended - to6]
}

fn held(times: [Duration; 3]) {
    assert!(times.iter().all(|time| (LIMITED..PATIENCE).contains(time)), "{times:?}");
}

// APPC-278
#[test]
fn what_goes_through_a_pods_interface_is_held_to_its_limit() {
    let rkt = Rkt::on_lan();
    let plain = image(&rkt, "true");
    let free = times(&rkt, || rkt.run_net(args![&plain]));
    assert!(free.iter().all(|time| *time < LIMITED / 2), "{free:?}");
    held(times(&rkt, || rkt.run_net(args!["--strict-isolators", &plain, "--network-bandwidth=1M"])));
    held(times(&rkt, || {
        rkt.run_net(args!["--pod-network-bandwidth=1M", &plain, "--network-bandwidth=500M"])
    }));
}

// APPC-278
#[test]
fn loopback_is_not_limited_and_the_pod_cannot_lift_its_limit() {
    let rkt = Rkt::on_lan();
    let limit = json!([{"name": "resource/network-bandwidth", "value": {"default": true, "limit": "1M"}}]);
    let script = "nc -l -p 99 >/dev/null & usleep 100000; dd if=/dev/zero bs=1000000 count=30 2>/dev/null | nc 127.0.0.1 99; \
                  wait; echo done";
    let image_ = rkt.image("loop", |image| image.sh(script).with("isolators", limit));
    let begun = Instant::now();
    rkt.run_net(args!["--strict-isolators", &image_]).success().stdout_is("done\n");
    assert!(begun.elapsed() < Duration::from_secs(12), "thirty million bytes at a million a second");
    let tries = "for w in root ingress clsact; do tc qdisc del dev eth0 $w 2>/dev/null; done; ip link set eth0 txqueuelen 9";
    let image = image(&rkt, tries);
    held(times(&rkt, || {
        rkt.run_net(args![&image, "--network-bandwidth=1M", "--caps-retain=CAP_NET_ADMIN,CAP_NET_RAW"])
    }));
}

#[test]
fn where_it_cannot_be_held_it_is_named() {
    let rkt = Rkt::on_lan();
    let image = rkt.image("app", |image| image.sh("echo ran"));
    for end in [
        rkt.run_pod(args![&image, "--network-bandwidth=1M"]),
        rkt.run_net(args!["--net=host", &image, "--network-bandwidth=1M"]),
    ] {
        let end = end.success().stdout_is("ran\n");
        end.stderr_has(
            "app \"app\": resource/network-bandwidth: the pod has no network interface of its own",
        );
    }
    let apps = args![&image, "--network-bandwidth=1M", &image, "--name=other"];
    let end = rkt.run_net(apps.iter().cloned()).success();
    end.stderr_has("app \"app\": resource/network-bandwidth: the pod's apps share its interfaces");
    rkt.run_net(args!["--strict-isolators"].into_iter().chain(apps)).refused(&["share its interfaces"]);
    for (option, reason) in [("--network-bandwidth=0", "nothing"), ("--network-bandwidth=x", "number")] {
        rkt.run_net(args![&image, option]).refused(&[reason]);
    }
}

/// A network of plugins, with one after the first where one is given.
fn plugins(rkt: &Rkt, name: &str, number: u8, further: Option<Value>) {
    let ranges =
        json!([[{"subnet": format!("10.9{number}.0.0/24")}], [{"subnet": format!("fd00:9{number}::/64")}]]);
    let ipam = json!({"type": "host-local", "dataDir": rkt.files().join("ipam"), "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]});
    let first = json!({"type": "ptp", "ipMasq": true, "ipam": ipam});
    let plugins: Vec<Value> = [first].into_iter().chain(further).collect();
    let list = json!({"name": name, "cniVersion": "1.0.0", "plugins": plugins});
    let directory = rkt.base().join("local/net.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("10-{name}.conflist")), list.to_string()).unwrap();
}

#[test]
fn plugins_that_can_limit_are_told_to_and_others_are_named() {
    let rkt = Rkt::on_lan();
    plugins(&rkt, "fast", 1, None);
    plugins(&rkt, "slow", 2, Some(json!({"type": "bandwidth", "capabilities": {"bandwidth": true}})));
    let image = image(&rkt, "true");
    let args = |net: &str| args![net, &image, "--network-bandwidth=1M"];
    held(times(&rkt, || rkt.run_net(args!["--strict-isolators"].into_iter().chain(args("--net=slow")))));
    rkt.run_net(args!["--strict-isolators"].into_iter().chain(args("--net=fast")))
        .refused(&["network \"fast\" has no plugin with the capability \"bandwidth\""]);
}
