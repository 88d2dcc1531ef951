//! The pod's host name.

use rkt_tests::{Rkt, args};

#[test]
fn it_is_the_machines_name_or_what_the_user_says() {
    let rkt = Rkt::new();
    let image = rkt.image("name", |image| image.sh("hostname; cat /etc/hostname"));
    let end = rkt.run_pod(args![&image]).success();
    let name = format!("rkt-{}", rkt.only_pod());
    assert_eq!(end.lines(), [&name, &name]);
    rkt.run_pod(args!["--hostname=web.example", &image]).success().stdout_is("web.example\nweb.example\n");
}

// APPC-314
#[test]
fn it_resolves_to_the_loopback_address() {
    let rkt = Rkt::new();
    let image = rkt.image("name", |image| image.exec(&["/bin/cat", "/etc/hosts"]));
    rkt.run_pod(args!["--hostname=web", &image]).success().stdout_has("127.0.0.1").stdout_has("web");
}

#[test]
fn one_that_is_none_is_refused() {
    let rkt = Rkt::new();
    let image = rkt.image("name", |image| image);
    let long = "x".repeat(65);
    for bad in ["a/b", "a\nb", long.as_str()] {
        let end = rkt.run_pod(args![format!("--hostname={bad}"), &image]);
        end.exits(254);
    }
}
