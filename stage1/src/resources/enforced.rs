//! What of a pod's isolators this machine cannot enforce, and why.

use std::fs;

use appc::isolator::{Isolator, IsolatorValue};

use super::{Controller, Limits};
use crate::run::rights;

/// Why `io` has no effect where there is nothing to limit.
pub(crate) const NO_BLOCK_DEVICE: &str = "the machine shows no block device";

/// What is not to be had.
pub(crate) struct Missing<'a> {
    /// Why a controller is not there.
    pub(crate) controller: &'a dyn Fn(Controller) -> Option<String>,
    /// Why the bandwidth of the pod is not limited.
    pub(crate) pod_bandwidth: Option<&'a str>,
    /// Why that of an app is not.
    pub(crate) app_bandwidth: Option<&'a str>,
}

/// The reasons for which isolators would be without effect: `app "x": isolator: reason`.
pub(crate) fn without_effect<'a>(
    pod: &[Isolator],
    apps: impl Iterator<Item = (&'a str, &'a [Isolator])>,
    missing: &Missing<'_>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    of("pod", pod, true, missing, &mut reasons);
    for (name, isolators) in apps {
        of(&format!("app {name:?}"), isolators, false, missing, &mut reasons);
    }
    reasons
}

fn of(whose: &str, isolators: &[Isolator], pod: bool, missing: &Missing<'_>, reasons: &mut Vec<String>) {
    for isolator in isolators {
        let needed =
            Limits::of(std::slice::from_ref(isolator)).map_or(Vec::new(), |limits| limits.controllers());
        let reason = match &isolator.value {
            IsolatorValue::Unknown => Some("nobody here knows this isolator".to_owned()),
            IsolatorValue::NetworkBandwidth(_) => {
                let why = if pod { missing.pod_bandwidth } else { missing.app_bandwidth };
                why.map(str::to_owned)
            }
            IsolatorValue::SelinuxContext { .. } if !rights::has_selinux() => {
                Some("this machine has no SELinux".to_owned())
            }
            IsolatorValue::ApparmorProfile(_) if !rights::has_apparmor() => {
                Some("this machine has no AppArmor".to_owned())
            }
            _ if pod && !of_pods(&isolator.value) => Some("it is for apps, not for pods".to_owned()),
            _ => needed.into_iter().find_map(missing.controller),
        };
        if let Some(reason) = reason {
            let line = format!("{whose}: {}: {reason}", isolator.name);
            if !reasons.contains(&line) {
                reasons.push(line);
            }
        }
    }
}

/// Whether an isolator of the pod bounds its apps.
fn of_pods(value: &IsolatorValue) -> bool {
    use IsolatorValue as V;
    matches!(
        value,
        V::Memory(_)
            | V::Cpu(_)
            | V::CpuShares(_)
            | V::BlockBandwidth(_)
            | V::BlockIops(_)
            | V::Pids(_)
            | V::CapabilitiesRetain(_)
            | V::CapabilitiesRemove(_)
            | V::NoNewPrivileges(_)
            | V::SelinuxContext { .. }
            | V::ApparmorProfile(_)
            | V::Sysctl(_)
    )
}

/// The block devices of the machine that limits apply to: `(path, major:minor)`. Partitions are limited by their disks;
/// loop devices by what they are on, unless they stand for nothing.
pub(crate) fn block_devices() -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
    let mut devices: Vec<(String, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let size = fs::read_to_string(entry.path().join("size")).ok()?;
            let number = fs::read_to_string(entry.path().join("dev")).ok()?.trim().to_owned();
            let path = format!("/dev/{}", entry.file_name().to_str()?.replace('!', "/"));
            let is_used = size.trim() != "0" && fs::exists(&path).ok()?;
            is_used.then_some((path, number))
        })
        .collect();
    devices.sort();
    devices
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // APPC-270
    #[test]
    fn each_isolator_without_effect_is_named_once() {
        let isolators = |list: &[(&str, serde_json::Value)]| -> Vec<Isolator> {
            list.iter().map(|(name, value)| Isolator::new(name, value.clone()).unwrap()).collect()
        };
        let pod = isolators(&[
            ("resource/memory", json!({"limit": "1G"})),
            ("resource/network-bandwidth", json!({"default": true, "limit": "1M"})),
            ("os/linux/oom-score-adj", json!(5)),
        ]);
        let app = isolators(&[
            ("resource/cpu", json!({"limit": "1"})),
            ("resource/cpu", json!({"limit": "2"})),
            ("resource/memory", json!({"limit": "1M"})),
            ("resource/network-bandwidth", json!({"default": true, "limit": "1M"})),
            ("example.com/unknown", json!(1)),
        ]);
        let missing = Missing {
            controller: &|controller| (controller == Controller::Cpu).then(|| "gone".to_owned()),
            pod_bandwidth: None,
            app_bandwidth: Some("it is shared"),
        };
        assert_eq!(
            without_effect(&pod, [("a", app.as_slice())].into_iter(), &missing),
            [
                "pod: os/linux/oom-score-adj: it is for apps, not for pods",
                "app \"a\": resource/cpu: gone",
                "app \"a\": resource/network-bandwidth: it is shared",
                "app \"a\": example.com/unknown: nobody here knows this isolator",
            ]
        );
    }
}
