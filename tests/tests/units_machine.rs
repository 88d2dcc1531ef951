//! What machinectl and its like do with a pod, which is a machine without a systemd of its own.

use rkt_tests::{Launcher, Pod, Rkt, args, units::tool};
use rustix::process::Signal;

fn machine(rkt: &Rkt) -> (Pod<'_>, String) {
    let image = rkt.image("web", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start_net(args!["--net=default", &image]);
    pod.wait_for("up");
    let name = format!("rkt-{}", pod.uuid());
    (pod, name)
}

#[test]
fn what_needs_a_systemd_or_an_image_fails_and_harms_nothing() {
    let rkt = Rkt::on_lan();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let (pod, name) = machine(&rkt);
    let file = rkt.file("file", "content");
    let file = file.to_str().unwrap();
    let tries: [&[&str]; 7] = [
        &["machinectl", "shell", &name, "/bin/true"],
        &["machinectl", "login", &name],
        &["machinectl", "copy-to", &name, file, "/file"],
        &["machinectl", "bind", &name, "/tmp", "/mnt"],
        &["machinectl", "clone", &name, "other"],
        &["machinectl", "image-status", &name],
        &["systemctl", "--machine", &name, "status"],
    ];
    for words in tries {
        let mut all = vec!["timeout", "10"];
        all.extend(words);
        let outcome = tool(&all);
        assert!(!matches!(outcome.status, 0 | 124), "{outcome:?}");
    }
    pod.signal(Signal::TERM);
    let end = pod.wait().success();
    end.stderr_lacks("stage1");
}

#[test]
fn machinectl_shows_the_addresses_of_the_pod_and_signals_it() {
    let rkt = Rkt::on_lan();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let (pod, name) = machine(&rkt);
    let address = pod.status().value("networks").and_then(|text| {
        let address = text.split("ip4=").nth(1)?.split([',', ' ']).next()?;
        Some(address.to_owned())
    });
    let address = address.expect("an address");
    tool(&["machinectl", "status", "--no-pager", &name]).success().stdout_has(&address);
    tool(&["machinectl", "kill", "--signal=TERM", &name]).success();
    pod.wait().success();
}
