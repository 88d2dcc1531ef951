//! Names of systemd units, and of what they take.

use crate::sys::{self, DeviceRule};

/// The unit of an app: `rkt-<uuid>-<app>.service`. App names have only characters that unit names may have.
pub(crate) fn app_unit(uuid: &str, app: &str) -> String {
    format!("rkt-{uuid}-{app}.service")
}

/// Escapes what stands for a level in a unit's name: `-` becomes `\x2d`, as `systemd-escape` does.
pub(crate) fn escape_dashes(name: &str) -> String {
    name.replace('-', "\\x2d")
}

/// A device as `DeviceAllow` takes it: `/dev/char/MAJOR:MINOR` or `/dev/block/…`, and what may be done with it.
pub(crate) fn device_allow(rule: &DeviceRule) -> (String, String) {
    let kind = if rule.block { "block" } else { "char" };
    let minor = rule.minor.map_or_else(|| "*".to_owned(), |minor| minor.to_string());
    let letters = [(sys::READ, 'r'), (sys::WRITE, 'w'), (sys::MAKE, 'm')];
    let access = letters.into_iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, letter)| letter);
    (format!("/dev/{kind}/{}:{minor}", rule.major), access.collect())
}

/// The D-Bus object path of a unit: every byte that is no ASCII letter or digit becomes `_` and two hexadecimal digits.
pub(crate) fn object_path(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_systemd_does() {
        assert_eq!(escape_dashes("rkt-0a-b"), "rkt\\x2d0a\\x2db");
        assert_eq!(object_path("a-b.service"), "/org/freedesktop/systemd1/unit/a_2db_2eservice");
        assert_eq!(object_path("0a\\x2d.slice"), "/org/freedesktop/systemd1/unit/_30a_5cx2d_2eslice");
    }
}
