//! Quantities of resources: `500m`, `64Mi`, `1.5G`, `12e6` (spec, isolators).

use std::{cmp::Ordering, fmt, str::FromStr};

use super::TypeError;

/// An exact amount, held in billionths of its unit. What is finer is rounded away from zero.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    /// Whether it was given with a binary suffix, and is printed with one. The amount alone counts.
    binary: bool,
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

const NANO: i128 = 1_000_000_000;

/// Decimal suffixes and their exponents, the largest first.
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];

/// Binary suffixes and their powers of two, the largest first.
const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

impl Quantity {
    /// A whole number of units.
    pub fn from_units(units: u64) -> Quantity {
        Quantity { nano: i128::from(units) * NANO, binary: false }
    }

    /// The amount in whole units, rounded up; `None` where it is negative or does not fit.
    pub fn units(&self) -> Option<u64> {
        self.scaled(NANO)
    }

    /// The amount in thousandths of a unit, rounded up; `None` where it is negative or does not fit.
    pub fn milli(&self) -> Option<u64> {
        self.scaled(NANO / 1000)
    }

    fn scaled(&self, unit: i128) -> Option<u64> {
        if self.nano < 0 {
            return None;
        }
        u64::try_from(self.nano.checked_add(unit - 1)? / unit).ok()
    }
}

impl FromStr for Quantity {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Quantity, TypeError> {
        let wrong = || TypeError::new(text, "must be a number with a suffix such as m, k, M, G, Ki, Mi, Gi");
        let too_large = || TypeError::new(text, "is too large");
        let body = text.trim();
        let (negative, unsigned) = match body.as_bytes().first() {
            Some(b'-') => (true, &body[1..]),
            Some(b'+') => (false, &body[1..]),
            _ => (false, body),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(wrong());
        }
        let digits = format!("{whole}{fraction}");
        if digits.len() > 36 {
            return Err(too_large());
        }
        let mantissa: i128 = digits.parse().map_err(|_| too_large())?;
        let decimals = i32::try_from(fraction.len()).map_err(|_| too_large())?;
        let (binary, shift, exponent) = scale(suffix).ok_or_else(wrong)?;
        let scaled = mantissa.checked_mul(1_i128 << shift).ok_or_else(too_large)?;
        let nano = shift_decimal(scaled, exponent + 9 - decimals).ok_or_else(too_large)?;
        Ok(Quantity { nano: if negative { -nano } else { nano }, binary })
    }
}

/// Whether a suffix is binary, its power of two and its power of ten.
fn scale(suffix: &str) -> Option<(bool, u32, i32)> {
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((true, *shift, 0));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((false, 0, *exponent));
    }
    match suffix.as_bytes() {
        // The specification's text has an upper-case kilo, its library the usual one.
        b"K" => Some((false, 0, 3)),
        [b'e' | b'E', digits @ ..] if !digits.is_empty() => {
            let exponent: i32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
            (-64..=64).contains(&exponent).then_some((false, 0, exponent))
        }
        _ => None,
    }
}

/// `value` × 10^`exponent`, rounded away from zero; `None` where it does not fit.
fn shift_decimal(value: i128, exponent: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    if exponent >= 0 {
        return if value == 0 { Some(0) } else { value.checked_mul(power?) };
    }
    Some(match power {
        Some(power) => value / power + i128::from(value % power != 0),
        None => i128::from(value != 0),
    })
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves a whole number, binary where it was read as binary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.binary && self.nano % NANO == 0 && (self.nano / NANO).abs() >= 1024 {
            let units = self.nano / NANO;
            if let Some((suffix, shift)) = BINARY.iter().find(|(_, shift)| units % (1 << shift) == 0) {
                return write!(f, "{}{suffix}", units >> shift);
            }
        }
        if self.nano == 0 {
            return f.write_str("0");
        }
        for (suffix, exponent) in DECIMAL {
            let unit = 10_i128.pow((exponent + 9).unsigned_abs());
            if self.nano % unit == 0 {
                return write!(f, "{}{suffix}", self.nano / unit);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    // APPC-027, APPC-028, APPC-029, APPC-030, APPC-031
    #[test]
    fn amounts_are_exact() {
        for (text, units) in [
            ("128974848", 128_974_848),
            ("125952Ki", 128_974_848),
            ("123Mi", 128_974_848),
            ("250m", 1),
            ("1500m", 2),
            ("0.1Mi", 104_858),
            ("12e6", 12_000_000),
            ("1E+3", 1000),
            ("5.", 5),
            (".5", 1),
            ("1.G", 1_000_000_000),
            (" 7 ", 7),
            ("1K", 1000),
            ("8Ei", 1 << 63),
        ] {
            assert_eq!(quantity(text).units(), Some(units), "{text}");
        }
        assert_eq!(quantity("250m").milli(), Some(250));
        assert_eq!(quantity("0.3"), quantity("300m"));
        assert_eq!(quantity("1Ki"), quantity("1024"));
        assert_eq!(quantity("0.0000000001").milli(), Some(1));
        assert_eq!(quantity("-5").units(), None);
        assert_eq!(quantity("100E").units(), None);
    }

    // APPC-032
    #[test]
    fn printing_is_canonical() {
        for (text, want) in [
            ("1000", "1k"),
            ("1000m", "1"),
            ("1.5G", "1500M"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("0.5Ki", "512"),
            ("0.1Mi", "104857600m"),
            ("0", "0"),
            ("-1000", "-1k"),
        ] {
            assert_eq!(quantity(text).to_string(), want, "{text}");
            assert_eq!(quantity(want).nano, quantity(text).nano, "{text}");
        }
    }

    // APPC-027
    #[test]
    fn other_text_is_refused() {
        let huge = "9".repeat(40);
        for text in [
            "", ".", "1 k", "ki", "1ki", "1KI", "1GB", "1Mib", "1e", "--1", "1.2.3", "e3", "1e999", "x",
            &huge, "1e40",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }
}
