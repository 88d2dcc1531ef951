//! Times: relative for people, exact for those who ask.

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::pod::duration;

/// Reads a moment: RFC 3339, date and time or date alone in the local time zone, `@` and seconds since the epoch, or how long
/// ago, as `10m`.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "{text:?} is no moment such as 2016-01-02T15:04:05Z, \"2016-01-02 15:04:05\", 2016-01-02, @1451747045 or 10m"
        )
    };
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds
            .parse()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .ok_or_else(wrong);
    }
    if let Ok(ago) = duration(text) {
        let ago = SignedDuration::try_from(ago).map_err(|_| wrong())?;
        return Timestamp::now().checked_sub(ago).map_err(|_| wrong());
    }
    let local = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::system()).ok();
    text.parse().or_else(|_| local().map(|zoned| zoned.timestamp()).ok_or_else(wrong))
}

/// Seconds since the epoch.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    Timestamp::try_from(time).map_or(0, Timestamp::as_second)
}

/// `2016-01-02 15:04:05.123 +0100 CET`, in the local time zone; zeros at the end of the fraction are left out.
pub(crate) fn full(time: SystemTime) -> String {
    let Ok(time) = Timestamp::try_from(time) else { return "unknown".to_owned() };
    let zoned = time.to_zoned(TimeZone::system());
    let milliseconds = time.subsec_millisecond();
    let fraction = if milliseconds == 0 { String::new() } else { format!(".{milliseconds:03}") };
    let fraction = fraction.trim_end_matches('0');
    format!("{}{fraction} {}", zoned.strftime("%Y-%m-%d %H:%M:%S"), zoned.strftime("%z %Z"))
}

/// The same for nanoseconds since the epoch.
pub(crate) fn full_nanoseconds(time: i64) -> String {
    let since = std::time::Duration::from_nanos(time.unsigned_abs());
    full(SystemTime::UNIX_EPOCH + since)
}

/// `5 minutes ago`.
pub(crate) fn relative(time: SystemTime, now: SystemTime) -> String {
    let (elapsed, suffix) = match now.duration_since(time) {
        Ok(elapsed) => (elapsed, "ago"),
        Err(error) => (error.duration(), "from now"),
    };
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const WEEK: u64 = 7 * DAY;
    const MONTH: u64 = 30 * DAY;
    const YEAR: u64 = 12 * MONTH;
    let text = match elapsed.as_secs() {
        0 => return "now".to_owned(),
        1 => "1 second".to_owned(),
        s @ ..MINUTE => format!("{s} seconds"),
        s if s < 2 * MINUTE => "1 minute".to_owned(),
        s @ ..HOUR => format!("{} minutes", s / MINUTE),
        s if s < 2 * HOUR => "1 hour".to_owned(),
        s @ ..DAY => format!("{} hours", s / HOUR),
        s if s < 2 * DAY => "1 day".to_owned(),
        s @ ..WEEK => format!("{} days", s / DAY),
        s if s < 2 * WEEK => "1 week".to_owned(),
        s @ ..MONTH => format!("{} weeks", s / WEEK),
        s if s < 2 * MONTH => "1 month".to_owned(),
        s @ ..YEAR => format!("{} months", s / MONTH),
        s if s < 18 * MONTH => "1 year".to_owned(),
        s if s < 2 * YEAR => "2 years".to_owned(),
        s if s < 37 * YEAR => format!("{} years", s / YEAR),
        _ => "a long while".to_owned(),
    };
    format!("{text} {suffix}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_absolute_or_ago() {
        let second = |text: &str| moment(text).map(Timestamp::as_second);
        assert_eq!(second("2016-01-02T15:04:05Z"), Ok(1_451_747_045));
        assert_eq!(second("2016-01-02T16:04:05+01:00"), second("@1451747045"));
        assert!(second("2016-01-02 15:04:05").unwrap() > second("2016-01-02").unwrap());
        assert!((Timestamp::now().as_second() - second("10m").unwrap() - 600).abs() < 5);
        for wrong in ["", "@", "@x", "yesterday", "2016-13-01", "99999999999999999999h"] {
            assert!(second(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ages_are_rounded_down_to_a_word() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(50 * 365 * 86400);
        for (seconds, want) in [
            (0, "now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (3599, "59 minutes ago"),
            (3600, "1 hour ago"),
            (86400, "1 day ago"),
            (7 * 86400, "1 week ago"),
            (29 * 86400, "4 weeks ago"),
            (30 * 86400, "1 month ago"),
            (359 * 86400, "11 months ago"),
            (360 * 86400, "1 year ago"),
            (18 * 30 * 86400, "2 years ago"),
            (1100 * 86400, "3 years ago"),
            (40 * 360 * 86400, "a long while ago"),
        ] {
            assert_eq!(relative(now - Duration::from_secs(seconds), now), want, "{seconds}");
        }
        assert_eq!(relative(now + Duration::from_secs(61), now), "1 minute from now");
    }
}
