//! Isolators and quantities.

use appc::{schema::ImageManifest, types::Quantity};
use serde_json::{Value, json};

use crate::{app, isolator, refused};

// APPC-022, APPC-023
#[test]
fn isolators_have_a_name_and_a_value() {
    for name in [
        "resource/cpu",
        "resource/memory",
        "resource/block-bandwidth",
        "resource/block-iops",
        "resource/network-bandwidth",
        "os/linux/seccomp-remove-set",
        "os/linux/seccomp-retain-set",
        "os/linux/capabilities-remove-set",
        "os/linux/capabilities-retain-set",
        "os/linux/selinux-context",
        "os/linux/apparmor-profile",
        "os/linux/no-new-privileges",
        "os/linux/oom-score-adj",
        "os/linux/cpu-shares",
        "os/unix/sysctl",
    ] {
        let table = [json!({"name": name}), json!({"name": name, "value": null})];
        refused(app, "app.isolators[0].value", table.map(|isolator| json!({"isolators": [isolator]})));
    }
    let nameless = [json!({"value": 1}), json!({"name": "", "value": 1}), json!({"name": "A", "value": 1})];
    refused(app, "app.isolators[0].name", nameless.map(|isolator| json!({"isolators": [isolator]})));
}

// APPC-024
#[test]
fn unknown_isolators_are_written_as_they_were_read() {
    let text = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","app":{"exec":[],"user":"0","group":"0","isolators":[{"name":"example.com/x","value":{"z":[1.5,null],"a":"1"}}]}}"#;
    let manifest = ImageManifest::from_slice(text.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(manifest.to_vec().unwrap()).unwrap(), text);
}

// APPC-027, APPC-028, APPC-029
#[test]
fn quantities_have_all_suffixes() {
    let nano = |text: &str| text.parse::<Quantity>().unwrap();
    for (suffix, power) in [("", 0), ("k", 3), ("K", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)]
    {
        assert_eq!(nano(&format!("2{suffix}")).units(), Some(2 * 10_u64.pow(power)), "{suffix}");
        assert_eq!(nano(&format!("2{suffix}")), nano(&format!("2e{power}")), "{suffix}");
    }
    for (suffix, power) in [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)] {
        assert_eq!(nano(&format!("1.5{suffix}")).units(), Some(3 << (power - 1)), "{suffix}");
    }
    for (suffix, power) in [("m", 3), ("u", 6), ("n", 9)] {
        assert_eq!(nano(&format!("3{suffix}")), nano(&format!("3E-{power}")), "{suffix}");
    }
    for (bare, text) in [(json!(1_048_576), "1Mi"), (json!(1.5), "1500m"), (json!(" 2G "), "2G")] {
        let memory = |limit: Value| isolator("resource/memory", json!({"limit": limit})).unwrap().value;
        assert_eq!(memory(bare), memory(json!(text)));
    }
}

// APPC-273, APPC-274, APPC-276, APPC-277, APPC-299
#[test]
fn resources_have_requests_limits_and_defaults_as_their_kind_has() {
    for name in ["resource/cpu", "resource/memory"] {
        for good in [
            json!({}),
            json!({"limit": "1"}),
            json!({"request": "1"}),
            json!({"default": false, "limit": "1"}),
        ] {
            assert!(isolator(name, good.clone()).is_ok(), "{name} {good}");
        }
        for bad in [json!({"default": true, "limit": "1"}), json!({"request": "2", "limit": "1"}), json!("1")]
        {
            assert!(isolator(name, bad.clone()).is_err(), "{name} {bad}");
        }
    }
    for name in ["resource/block-bandwidth", "resource/block-iops", "resource/network-bandwidth"] {
        assert!(isolator(name, json!({"default": true, "limit": "1k"})).is_ok());
        for bad in [
            json!({"limit": "1"}),
            json!({"default": false, "limit": "1"}),
            json!({"default": true, "request": "1"}),
        ] {
            assert!(isolator(name, bad.clone()).is_err(), "{name} {bad}");
        }
    }
}

// APPC-279, APPC-287, APPC-291, APPC-295, APPC-296
#[test]
fn values_of_isolators_follow_their_rules() {
    for set in ["seccomp-remove-set", "seccomp-retain-set"] {
        let with = |errno: &str| isolator(&format!("os/linux/{set}"), json!({"set": ["a"], "errno": errno}));
        for good in ["", "EPERM", "E2BIG", "ENOSYS"] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in ["eperm", "PERM", "E PERM", "EPERM ", "E-"] {
            assert!(with(bad).is_err(), "{bad}");
        }
        for bad in [json!({}), json!({"set": []}), json!({"set": [""]}), json!({"set": "a"})] {
            assert!(isolator(&format!("os/linux/{set}"), bad).is_err());
        }
        let one = json!({"name": format!("os/linux/{set}"), "value": {"set": ["a"]}});
        refused(app, "app.isolators: ", [json!({"isolators": [one, one]})]);
    }
    let context = json!({"user": "u", "role": "r", "type": "t", "level": "s0:c1,c2"});
    assert!(isolator("os/linux/selinux-context", context.clone()).is_ok());
    for part in ["user", "role", "type", "level"] {
        let mut empty = context.clone();
        empty[part] = json!("");
        assert!(isolator("os/linux/selinux-context", empty).is_err(), "{part}");
        if part != "level" {
            let mut colon = context.clone();
            colon[part] = json!("a:b");
            assert!(isolator("os/linux/selinux-context", colon).is_err(), "{part}");
        }
    }
    for (name, low, high) in [("os/linux/oom-score-adj", -1000, 1000), ("os/linux/cpu-shares", 2, 262_144)] {
        for (value, good) in [(low, true), (high, true), (low - 1, false), (high + 1, false)] {
            assert_eq!(isolator(name, json!(value)).is_ok(), good, "{name} {value}");
        }
        assert!(isolator(name, json!("5")).is_err() && isolator(name, json!(5.5)).is_err());
    }
    assert!(isolator("os/unix/sysctl", json!({})).is_ok());
    assert!(isolator("os/unix/sysctl", json!({"net.a": 1})).is_err());
    for name in ["os/linux/selinux-context", "os/unix/sysctl"] {
        let value = if name == "os/unix/sysctl" { json!({}) } else { context.clone() };
        let one = json!({"name": name, "value": value});
        refused(app, "app.isolators: ", [json!({"isolators": [one, one]})]);
    }
}
