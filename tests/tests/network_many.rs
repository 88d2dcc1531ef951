//! Many pods at once in one network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use rkt_tests::{Rkt, args};

const PODS: usize = 200;

#[test]
fn two_hundred_pods_at_once_get_two_hundred_addresses() {
    let rkt = Rkt::on_lan();
    let script = "set -- $(ip -o -4 addr show eth0); echo $4; until [ -e /go/on ]; do sleep 1; done";
    let image = rkt.image("net", |image| image.sh(script));
    rkt.rkt(args!["fetch", &image]).success();
    let go = rkt.files().join("go");
    fs::create_dir(&go).unwrap();
    let volume = format!("--volume=go,kind=host,source={},readOnly=true", go.display());
    let start = || {
        let options = args![&volume, "--mount=volume=go,target=/go", &image];
        let mut command = rkt.command(rkt.net_args(options));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut children: Vec<_> = (0..PODS).map(|_| start()).collect();
    // None of them ends before all have an address.
    let first_line = |child: &mut std::process::Child| {
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        (line, output)
    };
    let (addresses, outputs): (BTreeSet<String>, Vec<_>) = children.iter_mut().map(first_line).unzip();
    fs::write(go.join("on"), "").unwrap();
    assert_eq!(addresses.len(), PODS, "{addresses:?}");
    assert!(addresses.iter().all(|address| address.starts_with("172.16.28.")), "{addresses:?}");
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    drop(outputs);
    assert_eq!(
        rkt.rkt(["net", "list", "--no-legend"]).success().stdout.matches('=').count(),
        0,
        "all are free again"
    );
}
