//! URLs of annotations.

use super::TypeError;

/// Checks that a URL has the scheme `http` or `https`. Nothing else of it is checked.
///
/// # Errors
/// Where it has not.
pub fn check_url(text: &str) -> Result<(), TypeError> {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") if !text.chars().any(|c| c.is_control() || c == ' ') => Ok(()),
        _ => Err(TypeError::new(text, "bad URL scheme, must be http/https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // APPC-014
    #[test]
    fn only_the_web_has_urls() {
        for good in ["http://example.com", "HTTPS://example.com/a?b#c", "http:"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in ["", "example.com", "ftp://example.com", "//example.com", "http\n://x"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
