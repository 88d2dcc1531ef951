//! A pod where systemd runs and machined does not. Runs alone: there is one machined for all tests.

use std::process::Command;

use rkt_tests::{Launcher, Rkt, args, run};

#[test]
fn case_36_without_machined_the_pod_runs_unregistered_and_says_so() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let image = rkt.image("web", |image| image.sh("echo ran"));
    let masked = "systemd-machined.service";
    run(Command::new("systemctl").args(["mask", "--runtime", "--now", masked])).success();
    let end = rkt.run_pod(args![&image]);
    run(Command::new("systemctl").args(["unmask", "--runtime", masked])).success();
    end.success().stdout_is("ran\n");
    let status = rkt.rkt(["status", &rkt.only_pod()]).success();
    assert!(status.stdout.contains("machine"), "the reason is shown\n{status:?}");
}
