//! What an app executor gives to apps, checked from inside by the test image of `tests/validator`: a main app with
//! handlers, and a sidekick that shares a volume with it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf};

use rkt_tests::{
    Rkt, args,
    metadata::{Service, only_one},
};
use serde_json::json;

const VALIDATOR: &str = include_str!("../validator/validator");

fn main_app(rkt: &Rkt) -> PathBuf {
    let handler = |name: &str| json!({"name": name, "exec": ["/validator", name.replace('-', "")]});
    rkt.image("validator-main", |image| {
        image
            .file("validator", VALIDATOR, 0o755)
            .directory("opt/validator", 0o755)
            .exec(&["/validator", "main"])
            .with("eventHandlers", json!([handler("pre-start"), handler("post-stop")]))
            .with("workingDirectory", json!("/opt/validator"))
            .with("mountPoints", json!([{"name": "database", "path": "/db"}]))
            .with("ports", json!([{"name": "www", "protocol": "tcp", "port": 80}]))
            .with("isolators", json!([{"name": "resource/memory", "value": {"limit": "1G"}}]))
            .env("IN_VALIDATOR", "correct")
            .field("annotations", json!([{"name": "homepage", "value": "https://example.com"}]))
    })
}

fn sidekick(rkt: &Rkt) -> PathBuf {
    rkt.image("validator-sidekick", |image| {
        image
            .file("validator", VALIDATOR, 0o755)
            .exec(&["/validator", "sidekick"])
            .with("mountPoints", json!([{"name": "database", "path": "/db"}]))
    })
}

// APPC-171, APPC-180, APPC-221, APPC-222, APPC-226, APPC-237, APPC-241, APPC-242, APPC-245
// APPC-288, APPC-310, APPC-311, APPC-312, APPC-313, APPC-314, APPC-391, APPC-392, APPC-393
// APPC-395, APPC-396, APPC-398
#[test]
fn a_main_app_and_a_sidekick_find_what_the_specification_promises() {
    let rkt = Rkt::new();
    let (main, sidekick) = (main_app(&rkt), sidekick(&rkt));
    let database = rkt.files().join("database");
    fs::create_dir(&database).unwrap();
    let volume = format!("--volume=database,kind=host,source={}", database.display());
    for volume in [volume.as_str(), "--volume=database,kind=empty"] {
        for overlay in ["--no-overlay=false", "--no-overlay"] {
            let end = rkt.run_pod(args![overlay, volume, &main, &sidekick]).success();
            for line in ["prestart OK", "main OK", "poststop OK"] {
                assert!(end.stdout.contains(&format!("validator-main: {line}\n")), "{line}\n{end:?}");
            }
            assert!(end.stdout.contains("validator-sidekick: sidekick OK\n"), "{end:?}");
            for left in fs::read_dir(&database).unwrap().flatten() {
                fs::remove_file(left.path()).unwrap();
            }
        }
    }
}

// APPC-241, APPC-242, APPC-320, APPC-326, APPC-327, APPC-390, APPC-394
#[test]
fn they_find_the_metadata_service() {
    let only = only_one();
    let rkt = Rkt::new();
    let (main, sidekick) = (main_app(&rkt), sidekick(&rkt));
    let service = Service::start(&rkt, only);
    let arguments = ["--net=host", "--mds-register", "--volume=database,kind=empty"];
    let end = rkt.run_pod(args![arguments[0], arguments[1], arguments[2], &main, &sidekick]).success();
    end.stdout_has("validator-main: main OK").stdout_has("validator-sidekick: sidekick OK");
    let (log, _) = service.end();
    assert!(log.contains("POST acMetadata/v1/pod/hmac/verify - 403"), "{log}");
}

// APPC-397
#[test]
fn the_validator_finds_fault() {
    let rkt = Rkt::new();
    let image = sidekick(&rkt);
    // Without its environment and its other half.
    let end = rkt.run_pod(args![
        "--insecure-options=image,paths,capabilities",
        "--volume=database,kind=empty",
        &image,
        "--working-dir=/bin",
        "--environment=PATH=/bin"
    ]);
    let end = end.exits(1).stdout_has("sidekick FAIL").stderr_has("==> PATH is \"/bin\"");
    end.stderr_has("the working directory is \"/bin\"")
        .stderr_has("/proc/sys is writable")
        .stderr_has("/db/main");
    rkt.run_pod(args![&image, "--exec=/validator", "--", "nonsense"]).exits(64).stderr_has("main, sidekick");
}
