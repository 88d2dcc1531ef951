//! What the headers of an answer say about keeping it.

use ureq::http::HeaderMap;

/// The value of a header that is there once and readable.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Seconds for which nobody need ask again.
pub(super) fn lifetime(headers: &HeaderMap) -> i64 {
    header(headers, "cache-control").map_or(0, |value| max_age(&value))
}

/// Seconds of `max-age`; none where nothing may be kept.
fn max_age(cache_control: &str) -> i64 {
    let mut age = 0;
    for directive in cache_control.split(',').map(str::trim) {
        match directive.split_once('=') {
            None if directive == "no-store" || directive == "no-cache" => return 0,
            Some(("max-age", seconds)) => {
                let digits = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
                let plain = digits && (seconds == "0" || !seconds.starts_with('0'));
                age = if plain { seconds.parse().unwrap_or(0) } else { 0 };
            }
            _ => {}
        }
    }
    age
}

/// What tells one state of a resource from all others, byte for byte (RFC 9110, 8.8): a strong entity tag, or a time of
/// the last change that the answer is at least a second younger than.
pub(super) fn strong_validator(headers: &HeaderMap) -> Option<String> {
    if let Some(etag) = header(headers, "etag") {
        let strong = etag.len() >= 2 && etag.starts_with('"') && etag.ends_with('"');
        if strong {
            return Some(etag);
        }
    }
    let changed = header(headers, "last-modified")?;
    let time = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
    let (then, now) = (time(&changed)?, time(&header(headers, "date")?)?);
    (now.as_second() > then.as_second()).then_some(changed)
}

/// Start, end (inclusive) and length of the whole of a `Content-Range`, where all are known and make sense.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let value = header(headers, "content-range")?;
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (start, end, whole): (u64, u64, u64) = (number(start)?, number(end)?, number(whole)?);
    (start <= end && end < whole).then_some((start, end, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn caches_live_as_long_as_the_server_says() {
        for (text, age) in [
            ("max-age=60", 60),
            ("public, max-age=3600", 3600),
            ("max-age=60, no-cache", 0),
            ("no-store", 0),
            ("max-age=06", 0),
            ("max-age=", 0),
            ("max-age=x", 0),
            ("max-age=99999999999999999999", 0),
            ("", 0),
        ] {
            assert_eq!(max_age(text), age, "{text}");
        }
    }

    #[test]
    fn only_what_is_strong_tells_states_apart() {
        let (old, new) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        for (pairs, want) in [
            (&[("etag", "\"a\"")][..], Some("\"a\"")),
            (&[("etag", "W/\"a\"")], None),
            (&[("etag", "a")], None),
            (&[("etag", "W/\"a\""), ("last-modified", old), ("date", new)], Some(old)),
            (&[("last-modified", old), ("date", old)], None),
            (&[("last-modified", new), ("date", old)], None),
            (&[("last-modified", old)], None),
            (&[("last-modified", "x"), ("date", "x")], None),
            (&[], None),
        ] {
            assert_eq!(strong_validator(&headers(pairs)).as_deref(), want, "{pairs:?}");
        }
    }

    #[test]
    fn ranges_are_read() {
        for (text, want) in [
            ("bytes 5-9/10", Some((5, 9, 10))),
            ("bytes 0-0/1", Some((0, 0, 1))),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes 5-9/*", None),
            ("bytes */10", None),
            ("bytes +5-9/10", None),
            ("lines 5-9/10", None),
            ("bytes 5-9", None),
            ("bytes 5-99999999999999999999999/10", None),
        ] {
            assert_eq!(content_range(&headers(&[("content-range", text)])), want, "{text}");
        }
    }
}
