//! The directory in which an app starts.

use rkt_tests::{Rkt, args};
use serde_json::json;

// APPC-108, APPC-114, APPC-245
#[test]
fn it_is_the_images_or_the_command_lines() {
    let rkt = Rkt::new();
    let image = rkt.image("cwd", |image| {
        image.exec(&["/bin/pwd"]).directory("srv", 0o755).with("workingDirectory", json!("/srv"))
    });
    rkt.run_pod(args![&image]).success().stdout_is("/srv\n");
    rkt.run_pod(args![&image, "--working-dir=/tmp"]).success().stdout_is("/tmp\n");
    let plain = rkt.image("plain", |image| image.exec(&["/bin/pwd"]));
    rkt.run_pod(args![&plain]).success().stdout_is("/\n");
}

// APPC-106
#[test]
fn a_relative_command_is_found_from_it() {
    let rkt = Rkt::new();
    let image = rkt.image("cwd", |image| {
        image
            .exec(&["./here"])
            .file("srv/here", "#!/bin/sh\necho from here\n", 0o755)
            .with("workingDirectory", json!("/srv"))
    });
    rkt.run_pod(args![&image]).success().stdout_is("from here\n");
}

// APPC-115
#[test]
fn one_that_is_missing_is_one_clear_line() {
    let rkt = Rkt::new();
    let image = rkt.image("cwd", |image| image);
    rkt.run_pod(args![&image, "--working-dir=/no/such"])
        .exits(200)
        .stderr_has("app \"cwd\"")
        .stderr_has("/no/such: No such file or directory");
}
