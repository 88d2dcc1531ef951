//! What an app may do: rkt's default set, what image and command line make of it, and nothing inheritable.

use rkt_tests::{Outcome, Rkt, args};
use serde_json::json;

const CHOWN: u64 = 1 << 0;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const MKNOD: u64 = 1 << 27;

fn set(end: &Outcome, name: &str) -> u64 {
    let line = end
        .lines()
        .into_iter()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t").map(str::to_owned));
    u64::from_str_radix(&line.unwrap_or_else(|| panic!("no {name}\n{end:?}")), 16).expect("hexadecimal")
}

#[test]
fn the_default_set_is_rkts() {
    let rkt = Rkt::new();
    let image = rkt.image("caps", |image| image.exec(&["/bin/cat", "/proc/self/status"]));
    let end = rkt.run_pod(args![&image]).success();
    for name in ["CapPrm", "CapEff", "CapBnd"] {
        let set = set(&end, name);
        for cap in [CHOWN, NET_BIND_SERVICE, NET_RAW, MKNOD] {
            assert_eq!(set & cap, cap, "{name} {set:x}");
        }
        assert_eq!(set & (NET_ADMIN | SYS_ADMIN | SYS_PTRACE), 0, "{name} {set:x}");
    }
    assert_eq!(set(&end, "CapInh"), 0, "case 22: nothing inheritable");
}

#[test]
fn an_app_that_is_not_root_has_none() {
    let rkt = Rkt::new();
    let image =
        rkt.image("caps", |image| image.exec(&["/bin/cat", "/proc/self/status"]).user("alice", "wonder"));
    let end = rkt.run_pod(args![&image]).success();
    assert_eq!((set(&end, "CapEff"), set(&end, "CapPrm"), set(&end, "CapInh")), (0, 0, 0), "{end:?}");
}

// APPC-124, APPC-289
#[test]
fn an_isolator_retains_or_removes() {
    let rkt = Rkt::new();
    let show = ["/bin/cat", "/proc/self/status"];
    let with = |name: &str, isolator: &str, cap: &str| {
        rkt.image(name, |image| {
            image.exec(&show).with("isolators", json!([{"name": isolator, "value": {"set": [cap]}}]))
        })
    };
    let retain = with("retain", "os/linux/capabilities-retain-set", "CAP_NET_ADMIN");
    assert_eq!(set(&rkt.run_pod(args![&retain]).success(), "CapBnd"), NET_ADMIN);
    let remove = with("remove", "os/linux/capabilities-remove-set", "CAP_CHOWN");
    let bounding = set(&rkt.run_pod(args![&remove]).success(), "CapBnd");
    assert_eq!(bounding & CHOWN, 0);
    assert_eq!(bounding & NET_RAW, NET_RAW);
}

// APPC-294
#[test]
fn no_new_privileges_is_set_where_the_image_asks() {
    let rkt = Rkt::new();
    for (name, value, expected) in [("yes", true, "1"), ("no", false, "0")] {
        let image = rkt.image(name, |image| {
            image
                .exec(&["/bin/grep", "^NoNewPrivs:", "/proc/self/status"])
                .with("isolators", json!([{"name": "os/linux/no-new-privileges", "value": value}]))
        });
        rkt.run_pod(args![&image]).success().stdout_is(&format!("NoNewPrivs:\t{expected}\n"));
    }
}

// APPC-286
#[test]
fn the_default_filter_is_on_and_can_be_taken_off() {
    let rkt = Rkt::new();
    let image =
        rkt.image("seccomp", |image| image.exec(&["/bin/grep", "^Seccomp_filters:", "/proc/self/status"]));
    // What runs in a container inherits filters: how many there are says whether we added ours.
    let filters = |end: Outcome| -> u32 {
        let text = end.success().stdout;
        text.trim_start_matches("Seccomp_filters:").trim().parse().expect("a number")
    };
    let with = filters(rkt.run_pod(args![&image]));
    let mut off = vec!["--insecure-options=image,seccomp".into()];
    off.extend(rkt.run_args(args![&image]));
    assert_eq!(with, filters(rkt.rkt(off)) + 1);
}
