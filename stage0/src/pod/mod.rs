//! Pods, as stage0 makes, shows and removes them.

pub(crate) mod control;
pub(crate) mod describe;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod manifest;
pub(crate) mod metadata;
pub(crate) mod prepare;
pub(crate) mod processes;
pub(crate) mod remove;
pub(crate) mod root;

use std::time::Duration;

/// Reads a duration as Go writes it: `1h30m`, `500ms`, `0`. Also plain `0s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30m, 24h or 500ms");
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    if rest == "0" {
        return Ok(total);
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        rest = &rest[end..];
        total = total
            .checked_add(Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())?)
            .ok_or_else(wrong)?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in
            [("0", 0.0), ("0s", 0.0), ("30m", 1800.0), ("1h30m", 5400.0), ("500ms", 0.5), ("1.5s", 1.5)]
        {
            assert_eq!(duration(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "5", "m", "-5s", "5x", "1h30", "1e400h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
