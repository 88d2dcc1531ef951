//! Arguments, options, configuration, exit statuses.

use std::{
    fs::{self, OpenOptions},
    os::unix::process::CommandExt,
    process::Stdio,
};

use crate::support::{Data, answer};

#[test]
fn no_command_is_2_and_help_is_0() {
    let data = Data::new();
    let none = answer(&mut std::process::Command::new(env!("CARGO_BIN_EXE_rkt"))).exits(2);
    assert!(none.stderr.contains("missing command") && none.stdout.contains("Usage: rkt"), "{none:?}");
    for words in
        [&["help"][..], &["--help"], &["-h"], &["help", "run"], &["run", "--help"], &["image", "list", "-h"]]
    {
        let help = data.rkt(words).exits(0);
        assert!(help.stdout.contains("Usage: rkt") && help.stderr.is_empty(), "{help:?}");
        assert!(!help.stdout.contains("app-arguments"), "{help:?}");
    }
}

#[test]
fn usage_errors_are_254_and_name_the_command() {
    let data = Data::new();
    for (words, start) in [
        (&["nonsense"][..], "rkt: "),
        (&["--nonsense"], "rkt: "),
        (&["--dir=", "list"], "list: "),
        (&["--insecure-options=imag", "list"], "list: "),
        (&["--insecure-options=image,image", "list"], "list: "),
        (&["list", "--nonsense"], "list: "),
        (&["list", "--format=xml"], "list: "),
        (&["list", "--full=maybe"], "list: "),
        (&["status"], "status: "),
        (&["status", "a", "b"], "status: "),
        (&["status", "--wait=soon", "a"], "status: "),
        (&["stop"], "stop: "),
        (&["cat-manifest"], "cat-manifest: "),
        (&["gc", "--grace-period=soon"], "gc: "),
        (&["completion"], "completion: "),
        (&["completion", "tcl"], "completion: "),
        (&["completion", "bash", "zsh"], "completion: "),
        (&["man"], "man: "),
        (&["man", "/proc/x"], "man: make directory /proc/x: "),
        (&["run", "--ipc=shared"], "run: "),
        (&["run", "--supervisor=upstart"], "run: "),
        (&["r"], "rkt: "),
    ] {
        let refused = data.rkt(words).exits(254);
        assert!(refused.stderr.starts_with(start) && refused.stdout.is_empty(), "{words:?} {refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{words:?} {refused:?}");
    }
    let typo = data.rkt(&["runn"]).exits(254).stderr;
    assert_eq!(
        typo,
        "rkt: unrecognized subcommand 'runn' (tip: a similar subcommand exists: 'run'); see --help\n"
    );
}

#[test]
fn commands_have_unique_prefixes_and_flags_have_values() {
    let data = Data::new();
    data.rkt(&["im", "li", "--no-legend=true"]).exits(0);
    assert_eq!(data.rkt(&["li", "--no-legend=t"]).exits(0).stdout, "\n");
    assert!(data.rkt(&["list", "--no-legend=false"]).exits(0).stdout.starts_with("UUID\t"));
    // The last one wins, before or after the command.
    let other = data.path().join("other").display().to_string();
    data.rkt(&["image", "list", &format!("--dir={other}")]).exits(0);
    assert!(fs::exists(&other).unwrap());
    data.rkt(&["--debug", "--debug=false", "--insecure-options=none", "--insecure-options=all", "list"])
        .exits(0);
}

#[test]
fn version_and_completion_are_printed() {
    let data = Data::new();
    let version = data.rkt(&["version"]).exits(0).stdout;
    assert!(version.contains("rkt Version: ") && version.contains("appc Version: 0.8.11\n"), "{version}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(data.rkt(&["completion", shell]).exits(0).stdout.contains("cat-manifest"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let data = Data::new();
    let pages = data.path().join("man1");
    data.rkt(&["man", &pages.display().to_string()]).exits(0);
    for page in ["rkt", "rkt-run", "rkt-image-cat-manifest", "rkt-gc"] {
        let text = fs::read_to_string(pages.join(page).with_extension("1")).unwrap();
        assert!(text.contains(".TH ") && text.contains("system\\-config"), "{page}: {text}");
    }
}

#[test]
fn run_refuses_what_does_not_go_together() {
    let data = Data::new();
    let manifest = data.path().join("manifest");
    fs::write(&manifest, r#"{"acKind":"PodManifest","acVersion":"0.8.11","apps":[]}"#).unwrap();
    let manifest = format!("--pod-manifest={}", manifest.display());
    let conflict = "conflicting flags set with --pod-manifest (see --help)";
    for (words, part) in [
        (&[][..], "must provide at least one image"),
        (&[""], "must provide at least one image"),
        (&["--exec=/x", "a.aci"], "--exec must follow an image"),
        (&["--name=x", "a.aci"], "--name must follow an image"),
        (&["--", "x"], "must follow an image"),
        (&["a.aci", "--", "x", "---", "--", "y"], "one list of arguments"),
        (&["a.aci", "--exec=/x", "--exec=/y"], "--exec"),
        (&["a.aci", "--mount=volume=v,target=/x"], "dangling mount point"),
        (&["--mount=volume=v,target=/x", "a.aci"], "dangling mount point"),
        (&["--volume=v,kind=empty", "--volume=v,kind=empty", "a.aci"], "duplicate volume name"),
        (&["--hostname=a_b", "a.aci"], "hostname"),
        (&["--set-env=A=1", "--set-env=A=2", "/missing.aci"], "/missing.aci"),
        (&["/missing.aci"], "/missing.aci"),
        (&[&manifest], "pod must contain at least one application"),
        (&[&manifest, "a.aci"], conflict),
        (&[&manifest, "--volume=v,kind=empty"], conflict),
        (&[&manifest, "--mount=volume=v,target=/x"], conflict),
        (&[&manifest, "--inherit-env"], conflict),
        (&[&manifest, "--set-env=A=1"], conflict),
        (&[&manifest, "--set-env-file=/x"], conflict),
        (&[&manifest, "--pull-policy=never"], conflict),
    ] {
        let mut all = vec!["run", "--net=none"];
        all.extend(words);
        data.rkt(&all).exits(254).says("run: ", part);
    }
    assert!(data.pods_in("prepare").is_empty() && data.pods_in("run").is_empty());
}

#[test]
fn what_changes_pods_needs_root() {
    let data = Data::new();
    // The program where nobody may look for it.
    let program = data.path().join("rkt");
    fs::copy(env!("CARGO_BIN_EXE_rkt"), &program).unwrap();
    fs::set_permissions(data.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for words in [&["run", "a.aci"][..], &["prepare", "a.aci"], &["run-prepared", "0"], &["gc"], &["rm", "0"]]
    {
        let mut command = std::process::Command::new(&program);
        command.args(words).stdin(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        answer(&mut command).exits(254).says(words[0], "cannot run as unprivileged user");
    }
}

#[test]
fn configuration_is_read_in_layers_and_checked() {
    let data = Data::new();
    let layer = |name: &str, text: &str| {
        let directory = data.path().join(name).join("paths.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("a.json"), text).unwrap();
    };
    let paths = |to: &str| format!(r#"{{"rktKind":"paths","rktVersion":"v1","data":"{to}"}}"#);
    let directory = data.path().join("configured").display().to_string();
    let without_dir = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rkt"));
        command
            .arg(format!("--system-config={}", data.path().join("system").display()))
            .arg(format!("--local-config={}", data.path().join("local").display()))
            .args(words);
        answer(&mut command)
    };
    layer("system", &paths("/nowhere"));
    layer("local", &paths(&directory));
    without_dir(&["image", "list"]).exits(0);
    assert!(fs::exists(&directory).unwrap());
    layer("local", &paths("relative"));
    without_dir(&["list"]).exits(254).says("list: ", "local/paths.d/a.json: data must be an absolute path");
    layer("user", "{");
    let user = format!("--user-config={}", data.path().join("user").display());
    layer("local", &paths(&directory));
    without_dir(&[&user, "list"]).exits(254).says("list: ", "user/paths.d/a.json: not valid JSON");
}

#[test]
fn debug_tells_the_chain_of_causes() {
    let data = Data::new();
    let long = data.rkt(&["--debug", "fetch", "/missing.aci"]).exits(254).stderr;
    assert!(long.starts_with("fetch: ") && long.trim_end().lines().count() >= 1, "{long}");
}

#[test]
fn outputs_that_cannot_be_written_are_no_reason_to_panic() {
    let data = Data::new();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    for words in [&["list"][..], &["version"], &["help"], &["nonsense"], &["status", "x"], &["gc"]] {
        let status = data.command(words).stdout(full()).stderr(full()).status().unwrap();
        assert!(status.code().is_some(), "{words:?} {status}");
    }
    data.command(&["version"])
        .stdout(full())
        .status()
        .map(|status| assert_eq!(status.code(), Some(254)))
        .unwrap();
    // A reader that went away is no failure.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = data.command(&["completion", "bash"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
