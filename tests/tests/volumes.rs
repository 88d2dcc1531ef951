//! Volumes: host directories and files, empty ones, shared by apps, read-only or not.

use std::fs;

use rkt_tests::{Rkt, args};
use serde_json::json;

// APPC-179, APPC-226
#[test]
fn a_host_directory_is_read_and_written() {
    let rkt = Rkt::new();
    fs::write(rkt.files().join("in"), "from the host\n").unwrap();
    let image = rkt.image("volume", |image| image.sh("cat /data/in; echo from the app > /data/out"));
    let volume = format!("--volume=data,kind=host,source={}", rkt.files().display());
    rkt.run_pod(args![volume, &image, "--mount=volume=data,target=/data"])
        .success()
        .stdout_is("from the host\n");
    assert_eq!(fs::read_to_string(rkt.files().join("out")).unwrap(), "from the app\n");
}

// APPC-118, APPC-180, APPC-186
#[test]
fn read_only_comes_from_the_volume_or_the_mount_point() {
    let rkt = Rkt::new();
    let script = "(echo x > /data/x) 2>/dev/null && echo written || echo refused";
    let volume = |extra: &str| format!("--volume=data,kind=host,source={}{extra}", rkt.files().display());
    let plain = rkt.image("plain", |image| image.sh(script));
    let mount = "--mount=volume=data,target=/data";
    rkt.run_pod(args![volume(",readOnly=true"), &plain, mount]).success().stdout_is("refused\n");
    rkt.run_pod(args![volume(""), &plain, mount]).success().stdout_is("written\n");
    let point = rkt.image("point", |image| {
        image.sh(script).with("mountPoints", json!([{"name": "data", "path": "/data", "readOnly": true}]))
    });
    rkt.run_pod(args![volume(""), &point]).success().stdout_is("refused\n");
}

// APPC-184, APPC-187, APPC-226
#[test]
fn an_empty_volume_is_shared_by_apps_and_gone_with_the_pod() {
    let rkt = Rkt::new();
    let image = rkt.image("share", |image| image.exec(&["/bin/sh"]));
    let mount = "--mount=volume=box,target=/box";
    rkt.run_pod(args![
        "--volume=box,kind=empty,mode=0770,uid=1000,gid=1001",
        mount,
        &image,
        "--name=writer",
        "--",
        "-c",
        "echo parcel > /box/x; stat -c '%a %u %g' /box",
        "---",
        &image,
        "--name=reader",
        "--",
        "-c",
        "until test -s /box/x; do sleep 0.1; done; cat /box/x"
    ])
    .success()
    .stdout_has("reader: parcel\n")
    .stdout_has("writer: 770 1000 1001\n");
}

// APPC-171
#[test]
fn an_images_mount_point_without_a_volume_gets_an_empty_one() {
    let rkt = Rkt::new();
    let image = rkt.image("implicit", |image| {
        image
            .sh("ls /data; touch /data/x && echo written")
            .with("mountPoints", json!([{"name": "data", "path": "/data"}]))
    });
    rkt.run_pod(args![&image]).success().stdout_is("written\n").stderr_has("data");
}

// APPC-236
#[test]
fn a_file_is_mounted_on_a_file() {
    let rkt = Rkt::new();
    let file = rkt.file("config", "key = value\n");
    let image = rkt.image("file", |image| image.sh("cat /etc/app/config"));
    let volume = format!("--volume=config,kind=host,source={},readOnly=true", file.display());
    rkt.run_pod(args![volume, &image, "--mount=volume=config,target=/etc/app/config"])
        .success()
        .stdout_is("key = value\n");
}

// APPC-181, APPC-232
#[test]
fn a_missing_source_and_a_dangling_mount_are_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("volume", |image| image);
    let mount = "--mount=volume=data,target=/data";
    let end = rkt.run_pod(args!["--volume=data,kind=host,source=/no/such/source", &image, mount]);
    end.exits(254).stderr_has("/no/such/source");
    rkt.run_pod(args![&image, mount]).refused(&["data"]);
    for bad in
        ["data", "data,kind=host", "data,kind=host,source=relative", "data,kind=other", "data,kind=empty,x=y"]
    {
        rkt.run_pod(args![format!("--volume={bad}"), &image, mount]).exits(254);
    }
}

#[test]
fn case_16_a_target_that_is_a_link_stays_inside() {
    let rkt = Rkt::new();
    fs::write(rkt.files().join("in"), "volume\n").unwrap();
    let volume = format!("--volume=data,kind=host,source={}", rkt.files().display());
    for (name, target) in [("absolute", "/real"), ("dots", "../../../../../real")] {
        let image =
            rkt.image(name, |image| image.sh("cat /link/in").directory("real", 0o755).link("link", target));
        rkt.run_pod(args![&volume, &image, "--mount=volume=data,target=/link"])
            .success()
            .stdout_is("volume\n");
    }
    // Where a link leads to a place that is not there yet, the place is made, inside.
    let dangling = rkt.image("dangling", |image| image.sh("cat /link/in").link("link", "/not/yet"));
    rkt.run_pod(args![&volume, &dangling, "--mount=volume=data,target=/link"])
        .success()
        .stdout_is("volume\n");
    for outside in ["/real", "/not"] {
        assert!(!std::path::Path::new(outside).exists(), "{outside} was made on the host");
    }
}

// APPC-234
#[test]
fn case_17_a_source_with_dots_or_through_a_link_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("volume", |image| image.sh("ls /data"));
    let real = rkt.files().join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, rkt.files().join("link")).unwrap();
    for source in [rkt.files().join("real/../real"), rkt.files().join("link")] {
        let volume = format!("--volume=data,kind=host,source={}", source.display());
        rkt.run_pod(args![volume, &image, "--mount=volume=data,target=/data"]).exits(254);
    }
}
