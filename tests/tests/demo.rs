//! The demonstration of the README is a test: two images out of Debian packages, run as one pod.

use std::{path::Path, process::Command};

use rkt_tests::{Launcher, Rkt, run};

#[test]
fn nginx_serves_its_page_to_the_app_beside_it() {
    let rkt = Rkt::new();
    let images = std::env::var_os("RKT_DEMO_IMAGES").expect("RKT_DEMO_IMAGES: where `make images` put them");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/demo");
    let end = run(Command::new(script).arg(rkt.program("rkt")).arg(images).env("RKT_DEMO_DIR", rkt.files()))
        .success()
        .stdout_has("client: <title>Welcome to nginx!</title>")
        .stdout_has("example.com/nginx:")
        .stdout_has("state=running")
        .stdout_has("Garbage collecting pod");
    assert_eq!(
        end.stdout.contains("Service: rkt; class container"),
        rkt.launcher() == Launcher::Systemd,
        "{end:?}"
    );
}
