//! Pods of one network find each other by name, for as long as they run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use rkt_tests::{Pod, Rkt, args, wait_until};
use rustix::process::{Signal, kill_process};

/// An app that answers by HTTP with its name.
fn server(rkt: &Rkt, name: &str) -> PathBuf {
    rkt.image(name, |image| {
        image.sh(&format!("mkdir -p /w; echo {name} >/w/index.html; httpd -h /w; echo up; exec sleep 1000"))
    })
}

/// An app that says when a name comes and when it goes.
fn watcher(rkt: &Rkt, name: &str) -> PathBuf {
    let script = format!(
        "echo up; until grep -q {name} /etc/hosts; do usleep 20000; done; echo came; \
         while grep -q {name} /etc/hosts; do usleep 20000; done; echo went; exec sleep 1000"
    );
    rkt.image("watcher", |image| image.sh(&script))
}

fn end(pod: Pod<'_>) {
    pod.signal(Signal::TERM);
    pod.wait();
}

/// What is noted of names.
fn noted(rkt: &Rkt) -> usize {
    let networks = std::fs::read_dir(rkt.data().join("networks")).into_iter().flatten().flatten();
    networks
        .map(|network| std::fs::read_dir(network.path().join("names")).into_iter().flatten().count())
        .sum()
}

#[test]
fn a_pod_is_found_by_its_name_and_by_those_of_its_apps() {
    let rkt = Rkt::on_lan();
    let image = server(&rkt, "web");
    let mut pod = rkt.start_net(args!["--pod-name=shop", "--net=default:IP=172.16.28.50", &image]);
    pod.wait_for("up");
    let ask = "for name in shop web.shop web; do wget -q -O - http://$name/; done; grep shop /etc/hosts";
    let client = rkt.image("client", |image| image.sh(ask));
    let want = "web\nweb\nweb\n172.16.28.50 shop web.shop web\nfd72:6b74:1::32 shop web.shop web\n";
    rkt.run_net(args![&client]).success().stdout_is(want);
    rkt.run_net(args!["--private-users", &client]).success().stdout_is(want);
    // What was said on the command line stays.
    let added = rkt.image("added", |image| image.sh("grep -c -e 192.0.2.9 -e 172.16.28.50 /etc/hosts"));
    rkt.run_net(args!["--hosts-entry=192.0.2.9=db", &added]).success().stdout_is("2\n");
    // Another network is another matter, and so is an image that has its own file, or who wants the host's.
    let count = rkt.image("count", |image| image.sh("grep -c shop /etc/hosts; true"));
    rkt.run_net(args!["--net=default-restricted", &count]).success().stdout_is("0\n");
    rkt.run_net(args!["--net=default,default-restricted", &count]).success().stdout_is("2\n");
    let own = rkt.image("own", |image| image.sh("cat /etc/hosts").file("etc/hosts", "image\n", 0o644));
    rkt.run_net(args![&own]).success().stdout_is("image\n");
    // Nobody writes to it from within.
    let hostile = rkt.image("hostile", |image| image.sh("echo x 2>/dev/null >>/etc/hosts || echo refused"));
    rkt.run_net(args![&hostile]).success().stdout_is("refused\n");
    end(pod);
    assert_eq!(noted(&rkt), 0);
}

#[test]
fn names_come_and_go_while_others_run() {
    let rkt = Rkt::on_lan();
    let watcher = watcher(&rkt, "late");
    let image = server(&rkt, "web");
    let mut first = rkt.start_net(args![&watcher]);
    first.wait_for("up");
    let mut late = rkt.start_net(args!["--pod-name=late", &image]);
    late.wait_for("up");
    first.wait_for("came");
    end(late);
    first.wait_for("went");
    end(first);
}

#[test]
fn gc_makes_the_name_of_a_dead_pod_go() {
    let rkt = Rkt::on_lan();
    let watcher = watcher(&rkt, "dead");
    let image = server(&rkt, "web");
    let mut first = rkt.start_net(args![&watcher]);
    first.wait_for("up");
    let mut dead = rkt.start_net(args!["--pod-name=dead", &image]);
    dead.wait_for("up");
    first.wait_for("came");
    kill_process(dead.supervisor(), Signal::KILL).unwrap();
    dead.wait();
    wait_until("the names to be noted still", || noted(&rkt) == 2);
    rkt.rkt(["net", "gc"]).success();
    first.wait_for("went");
    end(first);
}
