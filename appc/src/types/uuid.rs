//! Pod UUIDs (RFC 4122).

use std::{fmt, str::FromStr};

use super::TypeError;

/// A UUID that is not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

impl FromStr for Uuid {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Uuid, TypeError> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let wrong = || TypeError::new(text, "a UUID must have 32 hexadecimal digits");
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        match u128::from_str_radix(&digits, 16).map_err(|_| wrong())? {
            0 => Err(TypeError::new(text, "a UUID cannot be zero")),
            value => Ok(Uuid(value)),
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-040
    #[test]
    fn uuids_are_read_leniently_and_printed_one_way() {
        let want = "6733c088-a507-4694-aabf-edbe4fc5266f";
        for text in [
            want,
            "6733C088-A507-4694-AABF-EDBE4FC5266F",
            "6733c088a5074694aabfedbe4fc5266f",
            "6733c088a507-4694aabfedbe4fc5266f-",
        ] {
            assert_eq!(text.parse::<Uuid>().unwrap().to_string(), want);
        }
        for text in
            ["", "6733c088", "zz33c088a5074694aabfedbe4fc5266f", "00000000-0000-0000-0000-000000000000", "é"]
        {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
