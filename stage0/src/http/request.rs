//! One request: where redirects lead, who sees credentials, what is tried again.

use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder};
use ureq::{
    Agent, Body,
    http::{Response, Uri, uri::Authority},
};

use super::{
    HttpError, Schemes,
    cache::header,
    limits::{REDIRECTS, TRIES},
    proxy,
};

/// Headers of a request.
pub(super) type Headers = Vec<(&'static str, String)>;

/// What is asked for.
pub(super) struct Request<'r> {
    pub(super) agent: &'r Agent,
    pub(super) url: &'r str,
    pub(super) schemes: Schemes,
    /// Headers that everybody may see.
    pub(super) headers: &'r [(&'r str, &'r str)],
    /// Those that only the host itself may see, for the URL that is asked.
    pub(super) secrets: &'r dyn Fn(&str) -> Headers,
}

impl Request<'_> {
    /// Sends it, and again to wherever redirects lead. The answer is the last one, whatever that is.
    pub(super) fn send(&self) -> Result<Response<Body>, HttpError> {
        let fail = |reason: &str| HttpError::new(self.url, reason);
        let mut uri: Uri = self.url.parse().map_err(|error| fail(&format!("invalid URL: {error}")))?;
        let home = origin(&uri);
        let mut at_home = true;
        for _ in 0..=REDIRECTS {
            self.check_scheme(&uri)?;
            let url = uri.to_string();
            at_home = at_home && origin(&uri) == home;
            let mut request = self.agent.get(&url).config().proxy(proxy::of(&url)?).max_redirects(0).build();
            for (name, value) in self.headers {
                request = request.header(*name, *value);
            }
            // A host that was left does not get them again: it is not what was asked any more.
            let secrets = if at_home { (self.secrets)(&url) } else { Headers::new() };
            for (name, value) in secrets {
                request = request.header(name, value);
            }
            let response = request.call().map_err(|error| HttpError::failed(self.url, &error))?;
            let leads = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = header(response.headers(), "location").filter(|_| leads) else {
                return Ok(response);
            };
            uri = resolve(&uri, &location).ok_or_else(|| fail(&format!("bad redirect to {location:?}")))?;
        }
        Err(fail(&format!("more than {REDIRECTS} redirects")))
    }

    fn check_scheme(&self, uri: &Uri) -> Result<(), HttpError> {
        match uri.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if self.schemes == Schemes::All => Ok(()),
            Some("http") => Err(HttpError::new(self.url, format!("{uri} is not https"))),
            _ => Err(HttpError::new(self.url, format!("{uri} is neither http nor https"))),
        }
    }
}

/// What credentials are for.
fn origin(uri: &Uri) -> (Option<String>, Option<String>, Option<u16>) {
    let port = uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    (uri.scheme_str().map(str::to_owned), uri.host().map(str::to_ascii_lowercase), port)
}

/// Where a `Location` leads from `base` (RFC 3986, 5.2; servers resolve dots by themselves).
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let (location, _fragment) = location.split_once('#').unwrap_or((location, ""));
    let scheme = location.split(['/', '?']).next().filter(|first| first.contains(':'));
    let absolute = if scheme.is_some() {
        location.to_owned()
    } else {
        let (scheme, authority) = (base.scheme_str()?, base.authority().map(Authority::as_str)?);
        match location {
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            "" => format!("{scheme}://{authority}{}", base.path_and_query()?),
            _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
            _ if location.starts_with('?') => format!("{scheme}://{authority}{}{location}", base.path()),
            _ => {
                let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
                format!("{scheme}://{authority}{directory}/{location}")
            }
        }
    };
    let uri: Uri = absolute.parse().ok()?;
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    (has_host || !matches!(uri.scheme_str(), Some("http" | "https"))).then_some(uri)
}

/// Pauses between tries, which grow.
pub(crate) fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(Duration::from_millis(500)).with_max_times(TRIES - 1)
}

/// Tries again what may pass, after a while that grows.
pub(super) fn again<T>(request: impl Fn() -> Result<T, HttpError>) -> Result<T, HttpError> {
    request.retry(pauses()).when(HttpError::passes).call()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_relative_to_where_they_come_from() {
        let base: Uri = "https://a.test:8443/dir/image.aci?x=1".parse().unwrap();
        for (location, want) in [
            ("https://b.test/i.aci", Some("https://b.test/i.aci")),
            ("https://b.test/i.aci#part", Some("https://b.test/i.aci")),
            ("//b.test/i.aci", Some("https://b.test/i.aci")),
            ("/i.aci?y=2", Some("https://a.test:8443/i.aci?y=2")),
            ("i.aci", Some("https://a.test:8443/dir/i.aci")),
            ("?y=2", Some("https://a.test:8443/dir/image.aci?y=2")),
            ("", Some("https://a.test:8443/dir/image.aci?x=1")),
            ("a b", None),
            ("https://", None),
        ] {
            let found = resolve(&base, location).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), want, "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |text: &str| origin(&text.parse().unwrap());
        assert_eq!(origin("https://A.test/x"), origin("https://a.test:443/y"));
        for other in ["http://a.test/", "https://a.test:8443/", "https://b.a.test/", "https://a.test.evil/"] {
            assert_ne!(origin("https://a.test/"), origin(other), "{other}");
        }
    }
}
