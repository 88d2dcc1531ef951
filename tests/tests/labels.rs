//! SELinux contexts and AppArmor profiles: in force where the machine has the module, named where it has not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use rkt_tests::{Rkt, args};
use serde_json::json;

fn with(rkt: &Rkt, name: &str, isolator: &str, value: &serde_json::Value) -> PathBuf {
    let isolators = json!([{"name": isolator, "value": value}]);
    let look = "cat /proc/self/attr/apparmor/current 2>/dev/null; echo ran";
    rkt.image(name, |image| image.sh(look).with("isolators", isolators))
}

// APPC-270, APPC-292, APPC-293
#[test]
fn an_apparmor_profile_confines_the_app_or_keeps_it_from_starting() {
    let rkt = Rkt::new();
    let missing =
        with(&rkt, "missing", "os/linux/apparmor-profile", &json!({"profile": "rkt-no-such-profile"}));
    let none = with(&rkt, "none", "os/linux/apparmor-profile", &json!({"profile": "unconfined"}));
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if enabled.is_ok_and(|enabled| enabled.trim() == "Y") {
        let end = rkt.run_pod(args![&missing]).stdout_lacks("ran").stderr_has("rkt-no-such-profile");
        assert_ne!(end.status, 0, "{end:?}");
        rkt.run_pod(args!["--strict-isolators", &none]).success().stdout_is("unconfined\nran\n");
    } else {
        let warning = "warning: app \"missing\": os/linux/apparmor-profile: this machine has no AppArmor";
        rkt.run_pod(args![&missing]).success().stdout_is("ran\n").stderr_has(warning);
        rkt.run_pod(args!["--strict-isolators", &none]).exits(254).stderr_has("AppArmor").stdout_is("");
    }
}

fn context(kind: &str) -> serde_json::Value {
    json!({"user": "system_u", "role": "system_r", "type": kind, "level": "s0:c1,c2"})
}

// APPC-270, APPC-292
#[test]
fn a_selinux_context_is_named_where_there_is_no_selinux() {
    let rkt = Rkt::new();
    let image = with(&rkt, "labelled", "os/linux/selinux-context", &context("svirt_lxc_net_t"));
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return;
    }
    let end = rkt
        .run_pod(args![&image])
        .success()
        .stderr_has("os/linux/selinux-context: this machine has no SELinux");
    end.stdout_has("ran");
    rkt.run_pod(args!["--strict-isolators", &image]).exits(254).stderr_has("SELinux");
}

// APPC-270, APPC-292
#[test]
fn a_selinux_context_confines_the_app_or_keeps_it_from_starting() {
    // That of the virtual machine's policy.
    let label = "system_u:system_r:rkt_test_t:s0:c1,c2";
    if std::env::var_os("RKT_TEST_SELINUX").is_none() {
        return;
    }
    let rkt = Rkt::new();
    let look = "tr -d '\\000' </proc/self/attr/current; echo; touch /file; chown 1 /file && echo chown";
    let isolators = |kind: &str| json!([{"name": "os/linux/selinux-context", "value": context(kind)}]);
    let free = rkt.image("free", |image| image.sh(look));
    rkt.run_pod(args![&free]).success().stdout_is("system_u:system_r:base_t:s0\nchown\n");
    let confined = rkt.image("confined", |image| image.sh(look).with("isolators", isolators("rkt_test_t")));
    let end = rkt.run_pod(args!["--strict-isolators", &confined]);
    end.exits(1).stdout_is(&format!("{label}\n")).stderr_has("Operation not permitted");
    let missing = rkt.image("missing", |image| image.sh(look).with("isolators", isolators("missing_t")));
    let end = rkt.run_pod(args![&missing]).stdout_is("").stderr_has("missing_t");
    assert_ne!(end.status, 0, "{end:?}");
}
