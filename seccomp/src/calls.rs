//! System calls by name and number, for each architecture that this machine's kernel runs programs of.

use std::str::FromStr;

use syscalls::{aarch64, arm, x86, x86_64};

/// An architecture whose calls a filter sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Architecture {
    /// `AUDIT_ARCH_…` of the kernel's audit.h.
    pub(super) audit: u32,
    /// From this number on calls are those of another architecture with the same value: x32's bit.
    pub(super) limit: Option<u32>,
    /// All calls, by number.
    pub(super) calls: fn() -> Vec<(&'static str, u32)>,
}

macro_rules! calls {
    ($module:ident) => {
        || {
            $module::Sysno::iter()
                .filter_map(|call| Some((call.name(), u32::try_from(call.id()).ok()?)))
                .collect()
        }
    };
}

/// What a kernel of this architecture (in Rust's words) runs programs of: its own, and its 32-bit predecessor.
pub(super) fn architectures(machine: &str) -> Option<[Architecture; 2]> {
    match machine {
        "x86_64" => Some([
            Architecture { audit: 0xc000_003e, limit: Some(0x4000_0000), calls: calls!(x86_64) },
            Architecture { audit: 0x4000_0003, limit: None, calls: calls!(x86) },
        ]),
        "aarch64" => Some([
            Architecture { audit: 0xc000_00b7, limit: None, calls: calls!(aarch64) },
            Architecture { audit: 0x4000_0028, limit: None, calls: calls!(arm) },
        ]),
        _ => None,
    }
}

/// Whether any of the architectures that images are made for has a call of this name.
pub(super) fn is_known(name: &str) -> bool {
    x86_64::Sysno::from_str(name).is_ok()
        || x86::Sysno::from_str(name).is_ok()
        || aarch64::Sysno::from_str(name).is_ok()
        || arm::Sysno::from_str(name).is_ok()
}

/// The number of an error's name.
pub(super) fn errno(name: &str) -> Option<u16> {
    let usual = match name {
        "EWOULDBLOCK" => "EAGAIN",
        "EDEADLOCK" => "EDEADLK",
        "ENOTSUP" => "EOPNOTSUPP",
        other => other,
    };
    (1..=133).find(|number| syscalls::Errno::new(i32::from(*number)).name() == Some(usual))
}
