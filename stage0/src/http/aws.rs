//! Signatures of requests to S3 (AWS Signature Version 4).

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use ureq::http::Uri;

use crate::config::AwsKey;

/// The SHA-256 of a request without a body.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The headers that sign a GET of `url` at this time, where that is a URL.
pub(super) fn sign(key: &AwsKey, url: &str, now: Timestamp) -> Option<Vec<(&'static str, String)>> {
    let uri: Uri = url.parse().ok()?;
    let host = host(&uri)?;
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let signed = [("host", host.as_str()), ("x-amz-content-sha256", EMPTY), ("x-amz-date", &time)];
    let authorization = authorization(key, &uri, &signed, &time);
    Some(vec![
        ("Authorization", authorization),
        ("X-Amz-Content-Sha256", EMPTY.to_owned()),
        ("X-Amz-Date", time),
    ])
}

/// The value of the header `Authorization` for a GET with these headers, which are sorted by their lower-case names.
fn authorization(key: &AwsKey, uri: &Uri, headers: &[(&str, &str)], time: &str) -> String {
    let region = key.region.clone().unwrap_or_else(|| region_of(uri.host().unwrap_or_default()));
    let date = &time[..8];
    let scope = format!("{date}/{region}/s3/aws4_request");
    let mut lines = String::new();
    let mut names = String::new();
    for (name, value) in headers {
        lines.push_str(&format!("{name}:{}\n", value.trim()));
        names.push_str(if names.is_empty() { "" } else { ";" });
        names.push_str(name);
    }
    let (path, query) = (encode(uri.path(), true), canonical_query(uri.query().unwrap_or_default()));
    let request = format!("GET\n{path}\n{query}\n{lines}\n{names}\n{EMPTY}");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let secret = format!("AWS4{}", key.secret);
    let signing = [date, &region, "s3", "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| keyed_hash(&key, part.as_bytes()));
    let signature = hex(&keyed_hash(&signing, text.as_bytes()));
    let id = &key.id;
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope},SignedHeaders={names},Signature={signature}")
}

/// The host as it is sent: with its port, where that is not the scheme's own.
fn host(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    match uri.port_u16() {
        Some(port) if port != 443 => Some(format!("{host}:{port}")),
        _ => Some(host.to_owned()),
    }
}

fn keyed_hash(key: &[u8], text: &[u8]) -> Vec<u8> {
    // Keys of every length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name, false), encode(value, false)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Encodes a part of a URL, which may be encoded already, in the one way in which it is signed.
fn encode(text: &str, is_path: bool) -> String {
    let mut encoded = String::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let byte = decoded.unwrap_or(first);
        rest = if decoded.is_some() { &after[2..] } else { after };
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (is_path && byte == b'/');
        if plain {
            encoded.push(char::from(byte));
        } else if write!(encoded, "%{byte:02X}").is_err() {
            // A string takes everything.
        }
    }
    encoded
}

/// The region of a host, guessed from its name as rkt always did.
fn region_of(host: &str) -> String {
    const ELSEWHERE: &str = "us-east-1";
    let host = host.to_ascii_lowercase();
    let labels: Vec<&str> = host.rsplit('.').collect();
    let known = host.ends_with("s3.amazonaws.com") || host.ends_with("s3-external-1.amazonaws.com");
    if !host.ends_with(".amazonaws.com") || known {
        return ELSEWHERE.to_owned();
    }
    if let Some(region) = labels.get(2).and_then(|label| label.strip_prefix("s3-")) {
        return region.to_owned();
    }
    if labels.get(3) == Some(&"s3") {
        return labels[2].to_owned();
    }
    ELSEWHERE.to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AwsKey {
        AwsKey {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            region: None,
        }
    }

    /// The examples of Amazon's documentation ("Signature Calculations for the Authorization Header").
    #[test]
    fn requests_are_signed_as_amazon_signs_its_examples() {
        let base = "https://examplebucket.s3.amazonaws.com";
        for (path, range, signature) in [
            ("/test.txt", true, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            ("/?lifecycle", false, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            (
                "/?max-keys=2&prefix=J",
                false,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
            (
                "/?prefix=J&max-keys=2",
                false,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let uri: Uri = format!("{base}{path}").parse().unwrap();
            let time = "20130524T000000Z";
            let mut headers = vec![("host", "examplebucket.s3.amazonaws.com")];
            headers.extend(range.then_some(("range", "bytes=0-9")));
            headers.extend([("x-amz-content-sha256", EMPTY), ("x-amz-date", time)]);
            let value = authorization(&key(), &uri, &headers, time);
            assert!(value.ends_with(&format!("Signature={signature}")), "{path}: {value}");
        }
        let now: Timestamp = "2013-05-24T00:00:00Z".parse().unwrap();
        let signed = sign(&key(), &format!("{base}/?lifecycle"), now).unwrap();
        assert!(
            signed[0]
                .1
                .contains("/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;")
        );
        assert!(signed[0].1.ends_with("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
    }

    #[test]
    fn paths_are_encoded_once_however_they_come() {
        for (text, want) in [
            ("/a b/ü", "/a%20b/%C3%BC"),
            ("/a%20b/%c3%bc", "/a%20b/%C3%BC"),
            ("/a%2fb", "/a/b"),
            ("/%7Ea+b", "/~a%2Bb"),
            ("/100%", "/100%25"),
            ("/%zz", "/%25zz"),
        ] {
            assert_eq!(encode(text, true), want, "{text}");
        }
        assert_eq!(encode("a/b", false), "a%2Fb");
        assert_eq!(canonical_query("b=2&a&b=1&&c=%20"), "a=&b=1&b=2&c=%20");
    }

    #[test]
    fn regions_are_guessed() {
        for (host, region) in [
            ("bucket.s3.amazonaws.com", "us-east-1"),
            ("s3.amazonaws.com", "us-east-1"),
            ("s3-external-1.amazonaws.com", "us-east-1"),
            ("bucket.s3-eu-west-1.amazonaws.com", "eu-west-1"),
            ("Bucket.S3-EU-west-1.amazonaws.com", "eu-west-1"),
            ("bucket.s3.eu-central-1.amazonaws.com", "eu-central-1"),
            ("s3.eu-central-1.amazonaws.com", "eu-central-1"),
            ("bucket.other.eu-central-1.amazonaws.com", "us-east-1"),
            ("minio.example.com", "us-east-1"),
            ("s3.evil.example.com", "us-east-1"),
            ("localhost", "us-east-1"),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }
}
