//! What an app may do: its isolators of capabilities, privileges, labels and system calls, within the pod's.

use anyhow::{Context as _, Result};
use appc::isolator::{Isolator, IsolatorValue};
use rkt_seccomp::{Mode, Wanted};
use stage2::spec::Seccomp;

/// What an app may do where its manifest says nothing (appc spec, capabilities).
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_SYS_CHROOT",
];

/// The isolators of an app and of its pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights<'a> {
    /// The app's.
    pub(super) app: &'a [Isolator],
    /// The pod's, which bound the app's.
    pub(super) pod: &'a [Isolator],
}

impl Rights<'_> {
    /// The bounding set: the app's retain-set, else the defaults without its remove-set; of that, what the pod leaves.
    pub(super) fn capabilities(self) -> Vec<String> {
        let mut set = match last(self.app, retained) {
            Some(set) => set.iter().map(|name| full(name)).collect(),
            None => {
                let removed: Vec<String> =
                    last(self.app, removed).into_iter().flatten().map(|name| full(name)).collect();
                let mut set: Vec<String> = DEFAULT_CAPABILITIES.map(str::to_owned).into();
                set.retain(|name| !removed.contains(name));
                set
            }
        };
        if let Some(bound) = last(self.pod, retained) {
            let bound: Vec<String> = bound.iter().map(|name| full(name)).collect();
            set.retain(|name| bound.contains(name));
        }
        if let Some(gone) = last(self.pod, removed) {
            let gone: Vec<String> = gone.iter().map(|name| full(name)).collect();
            set.retain(|name| !gone.contains(name));
        }
        set
    }

    /// Whether the app, or the pod for all of them, gives up to gain privileges.
    pub(super) fn no_new_privileges(self) -> bool {
        let wants = |value: &IsolatorValue| match value {
            IsolatorValue::NoNewPrivileges(set) => Some(*set),
            _ => None,
        };
        let of = |isolators: &[Isolator]| {
            isolators.iter().filter_map(|isolator| wants(&isolator.value)).next_back().unwrap_or(false)
        };
        of(self.app) || of(self.pod)
    }

    /// How soon the kernel takes the app when memory is short.
    pub(super) fn oom_score_adj(self) -> Option<i32> {
        self.app.iter().rev().find_map(|isolator| match isolator.value {
            IsolatorValue::OomScoreAdj(score) => Some(score),
            _ => None,
        })
    }

    /// The SELinux context, where the machine has SELinux; the app's, else the pod's.
    pub(super) fn selinux(self) -> Option<String> {
        let context = |isolator: &Isolator| match &isolator.value {
            IsolatorValue::SelinuxContext { user, role, kind, level } => {
                Some(format!("{user}:{role}:{kind}:{level}"))
            }
            _ => None,
        };
        has_selinux().then(|| self.app.iter().chain(self.pod).find_map(context)).flatten()
    }

    /// The AppArmor profile, where the machine has AppArmor; the app's, else the pod's.
    pub(super) fn apparmor(self) -> Option<String> {
        let profile = |isolator: &Isolator| match &isolator.value {
            IsolatorValue::ApparmorProfile(profile) => Some(profile.clone()),
            _ => None,
        };
        has_apparmor().then(|| self.app.iter().chain(self.pod).find_map(profile)).flatten()
    }

    /// The filter that the app asks for.
    pub(super) fn seccomp(self) -> Result<Seccomp> {
        for isolator in self.app {
            let (mode, set) = match &isolator.value {
                IsolatorValue::SeccompRetain(set) => (Mode::Retain, set),
                IsolatorValue::SeccompRemove(set) => (Mode::Remove, set),
                _ => continue,
            };
            let wanted = rkt_seccomp::filter(mode, &set.set, set.errno.as_deref())
                .with_context(|| isolator.name.to_string())?;
            return Ok(match wanted {
                Wanted::Default => Seccomp::Default,
                Wanted::Off => Seccomp::Off,
                Wanted::Program(program) => Seccomp::Program(program),
            });
        }
        Ok(Seccomp::Default)
    }
}

/// Whether SELinux labels processes here.
pub(crate) fn has_selinux() -> bool {
    std::fs::exists("/sys/fs/selinux/enforce").unwrap_or(false)
}

/// Whether AppArmor confines processes here.
pub(crate) fn has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|enabled| enabled.trim() == "Y")
}

fn last(isolators: &[Isolator], set: fn(&IsolatorValue) -> Option<&[String]>) -> Option<&[String]> {
    isolators.iter().rev().find_map(|isolator| set(&isolator.value))
}

fn retained(value: &IsolatorValue) -> Option<&[String]> {
    match value {
        IsolatorValue::CapabilitiesRetain(set) => Some(set),
        _ => None,
    }
}

fn removed(value: &IsolatorValue) -> Option<&[String]> {
    match value {
        IsolatorValue::CapabilitiesRemove(set) => Some(set),
        _ => None,
    }
}

/// `CAP_CHOWN`, also where `chown` was written.
fn full(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(kind: &str, names: &[&str]) -> Isolator {
        Isolator::new(&format!("os/linux/capabilities-{kind}-set"), json!({ "set": names })).unwrap()
    }

    // APPC-272, APPC-288, APPC-289
    #[test]
    fn capabilities_are_the_apps_within_the_pods() {
        let of = |app: &[Isolator], pod: &[Isolator]| Rights { app, pod }.capabilities();
        assert_eq!(of(&[], &[]), DEFAULT_CAPABILITIES);
        assert_eq!(of(&[set("retain", &["cap_chown", "NET_ADMIN"])], &[]), ["CAP_CHOWN", "CAP_NET_ADMIN"]);
        assert_eq!(of(&[set("remove", &["CAP_CHOWN"])], &[]).len(), 13);
        let bound = [set("retain", &["CAP_CHOWN", "CAP_KILL"])];
        assert_eq!(of(&[], &bound), ["CAP_CHOWN", "CAP_KILL"]);
        assert_eq!(of(&[set("retain", &["CAP_NET_ADMIN", "CAP_KILL"])], &bound), ["CAP_KILL"]);
        assert!(!of(&[], &[set("remove", &["CAP_CHOWN"])]).contains(&"CAP_CHOWN".to_owned()));
    }

    // APPC-272, APPC-294
    #[test]
    fn what_the_pod_gives_up_all_apps_give_up() {
        let bit = |value: bool| [Isolator::new("os/linux/no-new-privileges", json!(value)).unwrap()];
        let of = |app: &[Isolator], pod: &[Isolator]| Rights { app, pod }.no_new_privileges();
        assert!(!of(&[], &[]));
        assert!(of(&bit(true), &[]));
        assert!(of(&bit(false), &bit(true)));
        assert!(of(&bit(true), &bit(false)));
    }
}
