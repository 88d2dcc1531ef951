//! Timestamps (RFC 3339).

use super::TypeError;

/// Checks a timestamp: `2006-01-02T15:04:05[.fraction](Z|±hh:mm)`, a date that exists.
///
/// # Errors
/// Where it is none.
pub fn check_timestamp(text: &str) -> Result<(), TypeError> {
    parse(text)
        .ok_or_else(|| TypeError::new(text, "must be a date and time as in RFC 3339, 2006-01-02T15:04:05Z"))
}

fn parse(text: &str) -> Option<()> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day == 0 || day > days {
        return None;
    }
    let zone = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone);
    let (clock, fraction) = clock.split_once(['.', ',']).map_or((clock, None), |(c, f)| (c, Some(f)));
    if fraction.is_some_and(|digits| digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if zone == "Z" {
        return Some(());
    }
    let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
    (hours <= 24 && minutes <= 60).then_some(())
}

fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(separator);
    let mut values = [0; N];
    for (value, width) in values.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *value = part.parse().ok()?;
    }
    parts.next().is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-013
    #[test]
    fn only_rfc_3339_is_a_timestamp() {
        for good in ["2024-02-29T23:59:59Z", "2006-01-02T15:04:05+07:00", "2006-01-02T15:04:05.123456-00:30"]
        {
            assert!(check_timestamp(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "2024-01-01",
            "2024-01-01 00:00:00Z",
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00z",
            "2024-01-01T00:00:00+0000",
            "2024-01-01T24:00:00Z",
            "2024-01-01T23:59:60Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00é",
        ] {
            assert!(check_timestamp(bad).is_err(), "{bad}");
        }
    }
}
