//! Which isolators may stand together.

use super::Isolator;

/// Names that may stand once in a list.
const SINGLE: [&str; 7] = [
    "os/linux/seccomp-remove-set",
    "os/linux/seccomp-retain-set",
    "os/linux/selinux-context",
    "os/linux/apparmor-profile",
    "os/linux/oom-score-adj",
    "os/linux/cpu-shares",
    "os/unix/sysctl",
];

/// Names that exclude each other.
const CONFLICTS: [(&str, &str); 2] = [
    ("os/linux/seccomp-remove-set", "os/linux/seccomp-retain-set"),
    ("os/linux/capabilities-remove-set", "os/linux/capabilities-retain-set"),
];

/// Checks an app's list of isolators.
pub(crate) fn check_set(isolators: &[Isolator]) -> Result<(), String> {
    let count = |name: &str| isolators.iter().filter(|isolator| isolator.name.as_str() == name).count();
    if let Some(name) = SINGLE.into_iter().find(|name| count(name) > 1) {
        return Err(format!("{name} may stand only once"));
    }
    match CONFLICTS.into_iter().find(|(a, b)| count(a) > 0 && count(b) > 0) {
        Some((a, b)) => Err(format!("{a} and {b} exclude each other")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::isolator::IsolatorValue;

    fn isolator(name: &str, value: Value) -> Isolator {
        Isolator::new(name, value).unwrap()
    }

    // APPC-029, APPC-276, APPC-277, APPC-279, APPC-287, APPC-291, APPC-295, APPC-296, APPC-299
    #[test]
    fn values_are_read_by_name() {
        let cases: [(&str, Value, bool); 26] = [
            ("resource/pids", json!({"limit": "100"}), true),
            ("resource/pids", json!({"limit": "100", "request": "1"}), false),
            ("resource/pids", json!({}), false),
            ("resource/memory", json!({"limit": "1024", "request": "1Ki"}), true),
            ("resource/memory", json!({"limit": "1G"}), true),
            ("resource/memory", json!({"limit": 1_048_576}), true),
            ("resource/memory", json!({"limit": "1G", "request": "2G"}), false),
            ("resource/memory", json!({"default": true, "limit": "1G"}), false),
            ("resource/memory", json!({"limit": true}), false),
            ("resource/memory", Value::Null, false),
            ("resource/block-iops", json!({"default": true, "limit": "5"}), true),
            ("resource/block-iops", json!({"limit": "5"}), false),
            ("resource/network-bandwidth", json!({"default": true, "limit": "5", "request": "1"}), false),
            ("os/linux/seccomp-retain-set", json!({"set": ["@appc.io/all"], "errno": "EPERM"}), true),
            ("os/linux/seccomp-retain-set", json!({"set": ["read"], "errno": "eperm"}), false),
            ("os/linux/seccomp-retain-set", json!({"set": []}), false),
            ("os/linux/capabilities-retain-set", json!({"set": ["CAP_PONIES"]}), true),
            (
                "os/linux/selinux-context",
                json!({"user": "u", "role": "r", "type": "t", "level": "s0:c1"}),
                true,
            ),
            (
                "os/linux/selinux-context",
                json!({"user": "u:", "role": "r", "type": "t", "level": "s0"}),
                false,
            ),
            ("os/linux/apparmor-profile", json!({"profile": "web"}), true),
            ("os/linux/no-new-privileges", json!(true), true),
            ("os/linux/no-new-privileges", json!("true"), false),
            ("os/linux/oom-score-adj", json!(1001), false),
            ("os/linux/cpu-shares", json!(2), true),
            ("os/unix/sysctl", json!({"net.core.somaxconn": "1024"}), true),
            ("os/unix/sysctl", json!({"net.core.somaxconn": 1024}), false),
        ];
        for (name, value, good) in cases {
            assert_eq!(Isolator::new(name, value.clone()).is_ok(), good, "{name} {value}");
        }
    }

    // APPC-024
    #[test]
    fn unknown_ones_are_kept() {
        let unknown = isolator("example.com/x", json!({"b": 1, "a": [2]}));
        assert_eq!(unknown.value, IsolatorValue::Unknown);
        assert_eq!(unknown.write().to_string(), r#"{"name":"example.com/x","value":{"b":1,"a":[2]}}"#);
    }

    // APPC-026, APPC-279, APPC-290
    #[test]
    fn some_exclude_others() {
        let shares = || isolator("os/linux/cpu-shares", json!(2));
        let memory = || isolator("resource/memory", json!({"limit": "1"}));
        let set = |kind: &str| isolator(kind, json!({"set": ["a"]}));
        assert!(check_set(&[memory(), memory(), shares()]).is_ok());
        assert!(check_set(&[shares(), shares()]).is_err());
        assert!(
            check_set(&[set("os/linux/seccomp-remove-set"), set("os/linux/seccomp-retain-set")]).is_err()
        );
        assert!(
            check_set(&[set("os/linux/capabilities-remove-set"), set("os/linux/capabilities-retain-set")])
                .is_err()
        );
    }
}
