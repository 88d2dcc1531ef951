//! The pod as systemd and its tools show it. On a machine without systemd: that nothing of this is tried or needed.

use std::process::Command;

use rkt_tests::{Launcher, Outcome, Pod, Rkt, args, run, wait_until};
use rustix::process::Signal;

fn two_apps(rkt: &Rkt) -> Pod<'_> {
    let image = rkt.image("web", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args![&image, "--name=one", &image, "--name=two"]);
    pod.wait_for("one: up").wait_for("two: up");
    pod
}

fn tool(words: &[&str]) -> Outcome {
    run(Command::new(words[0]).args(&words[1..]).env("SYSTEMD_COLORS", "0").env("SYSTEMD_PAGER", "cat"))
}

fn end(pod: Pod<'_>) {
    pod.signal(Signal::TERM);
    pod.wait().success();
}

#[test]
fn machinectl_shows_the_pod_while_it_runs() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let pod = two_apps(&rkt);
    let name = format!("rkt-{}", pod.uuid());
    let list = tool(&["machinectl", "list", "--no-legend", "--no-pager"]).success();
    let row: Vec<&str> =
        list.lines().into_iter().find(|line| line.contains(&name)).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], [&name, "container", "rkt"], "{list:?}");
    let leader = pod.init().as_raw_nonzero().to_string();
    tool(&["machinectl", "status", "--no-pager", &name])
        .success()
        .stdout_has(&leader)
        .stdout_has("Service: rkt; class container");
    let show = tool(&["machinectl", "show", &name]).success();
    assert_eq!(show.value("Leader"), Some(leader.as_str()));
    assert_eq!(show.value("Class"), Some("container"));
    assert_eq!(show.value("Service"), Some("rkt"));
    end(pod);
    wait_until("the machine's end", || !tool(&["machinectl", "list", "--no-legend"]).stdout.contains(&name));
}

#[test]
fn case_37_a_pod_is_registered_without_what_this_systemd_lacks() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let (service, object) = ("org.freedesktop.machine1", "/org/freedesktop/machine1");
    let methods =
        tool(&["busctl", "introspect", service, object, "org.freedesktop.machine1.Manager"]).success();
    // Of the three systems one has it, which then knows init by a descriptor.
    let by_descriptor = methods.stdout.contains(".RegisterMachineEx");
    assert!(methods.stdout.contains(".RegisterMachineWithNetwork"), "{methods:?}");
    let pod = two_apps(&rkt);
    let name = format!("rkt-{}", pod.uuid());
    let show = tool(&["machinectl", "show", &name]).success();
    let leader = pod.init().as_raw_nonzero().to_string();
    assert_eq!(show.value("Leader"), Some(leader.as_str()), "by descriptor: {by_descriptor}");
    let status = rkt.rkt(["status", pod.uuid()]).success();
    assert_eq!((status.value("machine"), status.value("machine-reason")), (Some(name.as_str()), None));
    end(pod);
}

#[test]
fn machined_knows_the_interfaces_and_networkd_leaves_them_alone() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let image = rkt.image("web", |image| image.sh("echo up; exec sleep 1000"));
    // In the network that machined is in: what it is told are numbers.
    let mut pod = rkt.start_net(args!["--pod-name=findable", "--net=default,default-restricted", &image]);
    pod.wait_for("up");
    let interfaces: Vec<String> = ["default", "default-restricted"]
        .iter()
        .map(|network| {
            let status = pod.status();
            let shown = status.value(&format!("network-{network}-interface")).unwrap_or_default().to_owned();
            shown.split(['(', ' ']).find(|word| word.starts_with("rkt-")).unwrap_or_default().to_owned()
        })
        .collect();
    let status = tool(&["machinectl", "status", "--no-pager", "findable"]).success();
    let line = status.lines().into_iter().find(|line| line.contains("Iface:")).unwrap_or_default();
    let address = pod.status().value("networks").unwrap_or_default().to_owned();
    let address = address.split(", ").find_map(|item| item.strip_prefix("default:ip4=").map(str::to_owned));
    let address = address.unwrap_or_default();
    assert!(status.stdout.contains(&address), "{status:?}");
    for interface in &interfaces {
        assert!(line.contains(interface), "{interface}: {status:?}");
    }
    // What nss-mymachines asks.
    let manager =
        ["org.freedesktop.machine1", "/org/freedesktop/machine1", "org.freedesktop.machine1.Manager"];
    let ask = [&["busctl", "call"][..], &manager, &["GetMachineAddresses", "s", "findable"]].concat();
    tool(&ask).success().stdout_has(&address.replace('.', " "));
    // Also where the machine's own configuration is for every interface that there is.
    let configured = std::path::Path::new("/run/systemd/network");
    std::fs::create_dir_all(configured).unwrap();
    std::fs::write(configured.join("50-all.network"), "[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\n")
        .unwrap();
    std::fs::write(configured.join("10-rkt.network"), include_str!("../../units/10-rkt.network")).unwrap();
    tool(&["systemctl", "start", "systemd-networkd"]).success();
    let list = tool(&["networkctl", "list", "--no-legend", "--no-pager"]).success();
    for interface in &interfaces {
        let line =
            list.lines().into_iter().find(|line| line.contains(interface.as_str())).unwrap_or_default();
        assert!(line.ends_with("unmanaged"), "{list:?}");
    }
    tool(&["systemctl", "stop", "systemd-networkd.socket", "systemd-networkd"]).success();
    std::fs::remove_dir_all(configured).unwrap();
    end(pod);
}

#[test]
fn app_units_are_in_the_pods_slice_bound_to_the_machine() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let pod = two_apps(&rkt);
    let uuid = pod.uuid().to_owned();
    let slice = format!("machine-rkt\\x2d{}.slice", uuid.replace('-', "\\x2d"));
    for app in ["one", "two"] {
        let unit = format!("rkt-{uuid}-{app}.service");
        let show = tool(&["systemctl", "show", &unit]).success();
        assert_eq!(
            show.value("Slice").map(|name| name.replace("\\\\", "\\").replace('"', "")),
            Some(slice.clone())
        );
        assert_eq!(show.value("ActiveState"), Some("active"));
        assert_eq!(show.value("Description"), Some(&*format!("Application={app} Image=test.invalid/web")));
        let machine = format!("machine-rkt\\x2d{}.scope", uuid.replace('-', "\\x2d"));
        // Newer versions of systemctl quote names that hold a backslash.
        let names = |key: &str| show.value(key).unwrap_or_default().replace("\\\\", "\\");
        assert_eq!(names("BindsTo").trim_matches('"'), machine, "{show:?}");
        assert!(names("After").contains(&machine), "{show:?}");
        let main = show.value("MainPID").unwrap();
        let command = std::fs::read(format!("/proc/{main}/cmdline")).unwrap();
        assert!(String::from_utf8_lossy(&command).starts_with("sleep\u{0}1000"), "MainPID is the app");
        tool(&["systemctl", "status", "--no-pager", &unit])
            .success()
            .stdout_has(&format!("Application={app}"));
    }
    end(pod);
}

#[test]
fn systemd_cgls_shows_the_pod_as_one_tree() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let pod = two_apps(&rkt);
    let slice = format!("/machine.slice/machine-rkt\\x2d{}.slice", pod.uuid().replace('-', "\\x2d"));
    let tree = tool(&["systemd-cgls", "--no-pager", "--full", &slice]).success();
    for part in ["-one.service", "-two.service", "sleep 1000"] {
        assert!(tree.stdout.contains(part), "{part}\n{tree:?}");
    }
    end(pod);
}

#[test]
fn in_a_service_the_machine_is_that_service() {
    let rkt = Rkt::new();
    if rkt.launcher() == Launcher::Direct {
        return;
    }
    let image = rkt.image("web", |image| image.sh("echo it is ready; exec sleep 1000"));
    let unit = format!("rkt-test-wrapper-{}.service", std::process::id());
    let file = rkt.files().join("uuid-wrapped");
    let mut words =
        args!["systemd-run", "--quiet", "--collect", "--service-type=exec", format!("--unit={unit}")]
            .to_vec();
    let command = rkt.command(rkt.run_args(args![format!("--uuid-file-save={}", file.display()), &image]));
    words.push(command.get_program().to_owned());
    words.extend(command.get_args().map(ToOwned::to_owned));
    run(Command::new(&words[0]).args(&words[1..])).success();
    wait_until("the app's output in the wrapper's journal", || {
        tool(&["journalctl", "--no-pager", "-u", &unit]).stdout.contains("it is ready")
    });
    let uuid = std::fs::read_to_string(&file).unwrap();
    let show = tool(&["machinectl", "show", &format!("rkt-{uuid}")]).success();
    assert_eq!(show.value("Unit"), Some(unit.as_str()));
    run(Command::new("systemctl").args(["stop", &unit])).success();
    wait_until("the pod's end", || rkt.rkt(["status", &uuid]).value("state") == Some("exited"));
}

#[test]
fn without_systemd_auto_takes_direct_and_says_why() {
    let rkt = Rkt::new();
    let image = rkt.image("web", |image| image);
    rkt.rkt(args!["run", "--net=none", &image]).success();
    let status = rkt.rkt(["status", &rkt.only_pod()]).success();
    let taken = if std::path::Path::new("/run/systemd/system").exists() { "systemd" } else { "direct" };
    assert!(status.stdout.contains(taken), "{status:?}");
    rkt.rkt(args!["run", "--net=none", "--supervisor=upstart", &image]).exits(254);
}

#[test]
fn case_36_without_a_bus_auto_takes_direct_and_systemd_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("web", |image| image.sh("echo ran"));
    let without_bus = |flag: &str| {
        let words = args!["run", "--net=none", flag, &image];
        run(rkt.command(words).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus"))
    };
    without_bus("--supervisor=auto").success().stdout_is("ran\n");
    if rkt.launcher() == Launcher::Direct {
        without_bus("--supervisor=systemd").exits(254).stderr_has("systemd");
    }
}
