//! Types that are one string.

use std::{fmt, str::FromStr};

use appc::schema::{MountPoint, Port, Volume};
use appc::types::{
    AcIdentifier, AcName, ImageId, ImageName, Quantity, SemVer, Uuid, check_timestamp, check_url,
};
use proptest::prelude::*;

use crate::strategies;

/// A value is printed as what reads as the same value.
fn survives<T>(value: &T)
where
    T: FromStr<Err: fmt::Debug> + fmt::Display + fmt::Debug + PartialEq,
{
    let text = value.to_string();
    let again = text.parse::<T>().unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    assert_eq!(again, *value, "{text:?}");
    assert_eq!(again.to_string(), text);
}

/// Whatever of all texts is read survives; whatever is refused is refused with the text and a rule.
fn survives_if_read<T>(text: &str)
where
    T: FromStr<Err = appc::types::TypeError> + fmt::Display + fmt::Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => survives(&value),
        Err(error) => assert!(!error.rule.is_empty(), "{error:?}"),
    }
}

/// Texts that look like one of the types: their characters, and their beginnings.
fn likely() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[-+0-9a-zA-Z.,:=/~_ ]{0,20}",
        "sha512-[0-9a-f]{0,20}",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}[-+a-z0-9.]{0,8}",
        "[a-z]{1,3},(kind|path|source|port|mode|uid|name|protocol|readOnly)=[a-z0-9/]{0,6}(,[a-zA-Z]{1,8}=[a-z0-9/]{0,6}){0,4}",
        "[-+ ]?[0-9.]{0,12}([eE][-+]?[0-9]{1,2}|[kKMGTPEmun]i?)?",
        "[0-9a-fA-F-]{32,36}",
    ]
}

proptest! {
    #[test]
    fn names(value in strategies::name()) { survives(&value); }

    #[test]
    fn identifiers(value in strategies::identifier()) { survives(&value); }

    #[test]
    fn image_ids(value in strategies::image_id()) { survives(&value); }

    #[test]
    fn image_names(value in strategies::image_name()) { survives(&value); }

    #[test]
    fn versions(value in strategies::version()) { survives(&value); }

    // APPC-199
    #[test]
    fn volumes(value in strategies::volume()) { survives(&value); }

    #[test]
    fn mount_points(value in strategies::mount_point()) { survives(&value); }

    #[test]
    fn ports(value in strategies::port()) { survives(&value); }

    // APPC-040
    #[test]
    fn uuids(number in 1..=u128::MAX) {
        let value: Uuid = format!("{number:032x}").parse().unwrap();
        survives(&value);
    }

    // APPC-027
    #[test]
    fn quantities(text in "-?[0-9]{1,9}(\\.[0-9]{1,9})?(n|u|m|k|M|G|T|Ki|Mi|Gi|Ti|e[0-9]|E-[0-9])?") {
        survives(&text.parse::<Quantity>().unwrap());
    }

    // APPC-041
    #[test]
    fn whatever_is_read_survives(text in likely()) {
        survives_if_read::<AcName>(&text);
        survives_if_read::<AcIdentifier>(&text);
        survives_if_read::<ImageId>(&text);
        survives_if_read::<ImageName>(&text);
        survives_if_read::<SemVer>(&text);
        survives_if_read::<Quantity>(&text);
        survives_if_read::<Uuid>(&text);
        survives_if_read::<Volume>(&text);
        survives_if_read::<MountPoint>(&text);
        survives_if_read::<Port>(&text);
    }

    // APPC-004, APPC-006
    #[test]
    fn sanitized_names_are_names(text in any::<String>()) {
        if let Ok(name) = AcName::sanitize(&text) {
            prop_assert_eq!(name.as_str().parse::<AcName>().unwrap(), name);
        }
        if let Ok(identifier) = AcIdentifier::sanitize(&text) {
            prop_assert_eq!(identifier.as_str().parse::<AcIdentifier>().unwrap(), identifier);
        }
    }

    #[test]
    fn timestamps(
        date in (1..=9999_u32, 1..=12_u32, 1..=28_u32),
        time in (0..24_u32, 0..60_u32, 0..60_u32),
        zone in "Z|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
        fraction in "(\\.[0-9]{1,9})?",
    ) {
        let text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}{zone}",
            date.0, date.1, date.2, time.0, time.1, time.2
        );
        prop_assert!(check_timestamp(&text).is_ok(), "{text}");
        prop_assert!(check_timestamp(&text.replace('T', " ")).is_err());
    }

    #[test]
    fn urls(rest in "//[a-z]{1,8}\\.[a-z]{2,3}(/[a-z%0-9]{0,6}){0,3}", scheme in "http|https") {
        let (good, bad) = (format!("{scheme}:{rest}"), format!("x{scheme}:{rest}"));
        prop_assert!(check_url(&good).is_ok() && check_url(&bad).is_err());
    }
}
