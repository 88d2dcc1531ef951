//! Sizes for people.

/// `9B`, `1.5KiB`, `53MiB`: one decimal below ten.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    if unit == 0 || tenths >= 100 {
        return format!("{}{}", (tenths + 5) / 10, units[unit]);
    }
    format!("{}.{}{}", tenths / 10, tenths % 10, units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, want) in [
            (0, "0B"),
            (9, "9B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (1536, "1.5KiB"),
            (53 << 20, "53MiB"),
            (u64::MAX, "16EiB"),
        ] {
            assert_eq!(size(bytes), want);
        }
    }
}
