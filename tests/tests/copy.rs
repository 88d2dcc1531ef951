//! `rkt cp`: files out of apps and into them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use rkt_tests::{Rkt, args};
use rustix::process::Signal;

/// Says what was copied into the app, and changes it.
const APP: &str = "echo up; until [ -e /srv/all ]; do sleep 0.05; done
    stat -c %a:%u:%g:%n /srv/in/page /srv/in/deep/other; cat /srv/in/page; readlink /srv/in/link
    chown 7:8 /srv/in/page; chmod 6755 /srv/in/page; touch -d @1000000000 /srv/in/page
    echo done; exec sleep 1000";

#[test]
fn files_go_into_an_app_and_out_of_it() {
    let rkt = Rkt::new();
    let image = rkt.image("copies", |image| image.file("srv/x", "x", 0o644).sh(APP));
    let from = rkt.files().join("in");
    fs::create_dir_all(from.join("deep")).unwrap();
    fs::write(from.join("page"), "hello\n").unwrap();
    fs::write(from.join("deep/other"), "other").unwrap();
    fs::set_permissions(from.join("page"), fs::Permissions::from_mode(0o4640)).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    for (name, options) in [
        ("plain", args!["--no-overlay=false"]),
        ("copied", args!["--no-overlay"]),
        ("mapped", args!["--private-users"]),
    ] {
        let name = format!("--pod-name={name}");
        let mut pod = rkt.start([&args![&name][..], &options[..], &args![&image][..]].concat());
        pod.wait_for("up");
        let pod_name = name.trim_start_matches("--pod-name=").to_owned();
        let inside = |path: &str| format!("{pod_name}:{path}");
        rkt.rkt(&args!["cp", &from, inside("/srv")]).success().stdout_is("");
        rkt.rkt(&args!["cp", from.join("page"), inside("srv/all")]).success();
        pod.wait_for("done");
        let output = pod.stdout_so_far();
        for line in ["640:0:0:/srv/in/page", "644:0:0:/srv/in/deep/other", "hello", "/etc/passwd"] {
            assert!(output.lines().any(|own| own == line), "{line} in {output}");
        }
        // Into what is there, under another name, only the content, and with all that a file has.
        let out = rkt.files().join("out");
        fs::create_dir(&out).unwrap();
        rkt.rkt(&args!["cp", inside("srv/in"), &out]).success();
        rkt.rkt(&args!["cp", inside("/srv/in/page"), out.join("renamed")]).success();
        rkt.rkt(&args!["cp", inside("/srv/in/deep/."), &out]).success();
        rkt.rkt(&args!["cp", "-a", inside("/srv/in/page"), out.join("all")]).success();
        let file = |path: &str| fs::symlink_metadata(out.join(path)).unwrap();
        assert_eq!(fs::read_to_string(out.join("in/page")).unwrap(), "hello\n");
        assert_eq!(fs::read_link(out.join("in/link")).unwrap().to_str(), Some("/etc/passwd"));
        assert_eq!((file("renamed").mode() & 0o7777, file("renamed").uid()), (0o755, 0));
        assert_eq!(fs::read_to_string(out.join("other")).unwrap(), "other");
        let all = file("all");
        assert_eq!((all.mode() & 0o7777, all.uid(), all.gid(), all.mtime()), (0o6755, 7, 8, 1_000_000_000));
        let uuid = pod.uuid().to_owned();
        pod.signal(Signal::TERM);
        pod.wait();
        // What it has left can still be had, and no more be changed.
        rkt.rkt(&args!["cp", format!("{uuid}:/srv/in/page"), out.join("later")]).success();
        assert_eq!(fs::read_to_string(out.join("later")).unwrap(), "hello\n");
        rkt.rkt(&args!["cp", &from, format!("{uuid}:/srv")]).exits(254).stderr_has("is not running");
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn nothing_in_an_app_leads_out_of_it() {
    let rkt = Rkt::new();
    let secret = rkt.files().join("secret");
    fs::write(&secret, "secret").unwrap();
    let script = format!(
        "ln -s {} /link; ln -s {} /directory; ln -s ../../../../../../../../.. /up; ln -s /proc/1/root /magic
        mkfifo /pipe; mknod /device c 1 3; echo inside >/plain; echo up; while :; do sleep 0.1; done",
        secret.display(),
        rkt.files().display()
    );
    let image = rkt.image("hostile", |image| image.sh(&script));
    let mut pod = rkt.start(args!["--pod-name=hostile", &image, "--caps-retain=CAP_MKNOD,CAP_SYS_CHROOT"]);
    pod.wait_for("up");
    let out = rkt.files().join("out");
    fs::create_dir(&out).unwrap();
    for path in ["/link", "/directory/secret", "/up/secret"] {
        rkt.rkt(&args!["cp", "-L", format!("hostile:{path}"), &out]).exits(254).stderr_has("No such file");
    }
    rkt.rkt(&args!["cp", "-L", "hostile:/magic/plain", &out]).exits(254);
    rkt.rkt(&args!["cp", "hostile:/up/plain", &out]).success();
    assert_eq!(fs::read_to_string(out.join("plain")).unwrap(), "inside\n");
    // What the link means is not there in the app's root: the file takes the link's place.
    rkt.rkt(&args!["cp", &secret, "hostile:/directory"]).success();
    rkt.rkt(&args!["cp", &secret, "hostile:/directory/below"]).exits(254);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    // The secret, the copies and the file with the pod's UUID.
    assert_eq!(fs::read_dir(rkt.files()).unwrap().count(), 3);
    // A pipe is made, and not waited for; a device is not made.
    rkt.rkt(&args!["cp", "hostile:/pipe", &out]).success();
    let device = rkt.rkt(&args!["cp", "hostile:/device", &out]).exits(254);
    device.stderr_has("devices and sockets are not copied");
    assert!(!out.join("device").exists());
    pod.signal(Signal::TERM);
    pod.wait();
}

#[test]
fn what_cannot_be_copied_is_told() {
    let rkt = Rkt::new();
    let image = rkt.image("told", |image| image.sh("echo up; exec sleep 1000"));
    let mut pod = rkt.start(args!["--pod-name=told", &image, "--readonly-rootfs=true"]);
    pod.wait_for("up");
    let file = rkt.files().join("file");
    fs::write(&file, "x").unwrap();
    let cases: [(&[std::ffi::OsString], &str); 9] = [
        (&args!["cp", &file, "told:/file"], "Read-only file system"),
        (&args!["cp", "told:/none", &file], "told:/none"),
        (&args!["cp", "told:/etc", &file], "no directory"),
        (&args!["cp", &file, "told:/none/"], "does not exist"),
        (&args!["cp", &file, "nobody:/x"], "nobody"),
        (&args!["cp", &file, &file], "must be UUID:PATH"),
        (&args!["cp", "told:/a", "told:/b"], "not both"),
        (&args!["cp", "--app=other", "told:/a", &file], "no app \"other\""),
        (&args!["cp", "told:", &file], "empty"),
    ];
    for (arguments, word) in cases {
        let answer = rkt.rkt(arguments).exits(254);
        let answer = answer.stderr_has(word).stderr_lacks("os error");
        assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "x");
    // Besides it the file with the pod's UUID.
    assert_eq!(fs::read_dir(rkt.files()).unwrap().count(), 2);
    pod.signal(Signal::TERM);
    pod.wait();
}

/// Makes a directory and a link to the host's change places as fast as it can.
const SWAPS: &str = "mkdir -p /real; echo inside >/real/file; ln -s HOST /swapped.link; echo up
    while :; do mv -T /real /swapped; mv -T /swapped /real; mv -T /swapped.link /swapped; mv -T /swapped /swapped.link; done";

#[test]
fn case_48_an_app_that_swaps_directories_for_links_leads_copies_nowhere() {
    let rkt = Rkt::new();
    let host = rkt.files().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "secret").unwrap();
    let script = SWAPS.replace("HOST", &host.display().to_string());
    let image = rkt.image("swaps", |image| image.sh(&script));
    let mut pod = rkt.start(args!["--pod-name=swaps", &image]);
    pod.wait_for("up");
    let (out, new) = (rkt.files().join("out"), rkt.file("new", "new"));
    for _ in 0..40 {
        if out.exists() {
            fs::remove_dir_all(&out).unwrap();
        }
        fs::create_dir(&out).unwrap();
        // Whether they find something depends on the moment; what they find is the app's.
        rkt.rkt(args!["cp", "swaps:/swapped/file", &out]);
        rkt.rkt(args!["cp", "swaps:/swapped/.", &out]);
        let found = fs::read_to_string(out.join("file")).unwrap_or_default();
        assert!(
            [
                "", "inside
"
            ]
            .contains(&found.as_str()),
            "{found}"
        );
        rkt.rkt(args!["cp", &new, "swaps:/swapped/new"]);
        assert_eq!(fs::read_dir(&host).unwrap().count(), 1);
    }
    pod.signal(Signal::KILL);
    pod.wait();
}
