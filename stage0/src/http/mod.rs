//! Getting documents and images over https, and over http where that is allowed.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    time::{Duration, Instant},
};

use appc::discovery::Place;
use backon::{BlockingRetryable, ExponentialBuilder};
use ureq::{
    Agent, Body, RequestBuilder,
    config::RedirectAuthHeaders,
    http::{HeaderMap, Response},
    tls::{RootCerts, TlsConfig},
    typestate::WithoutBody,
};

use crate::config::Credential;

/// Largest page of a discovery, in bytes.
const MAX_PAGE: u64 = 1 << 20;

/// Redirects that are followed.
const REDIRECTS: u32 = 10;

/// How long connecting may take, each read, and everything about a document.
const CONNECT: Duration = Duration::from_secs(20);
const READ: Duration = Duration::from_secs(60);
const DOCUMENT: Duration = Duration::from_secs(120);

/// How long a download may take altogether.
const DOWNLOAD: Duration = Duration::from_secs(12 * 3600);

/// Slowest average of a download, in bytes a second, and after how many seconds it is looked at. It ends servers that send
/// a byte now and then.
const SLOWEST: u64 = 1024;
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries of a request, where trying again may help.
const TRIES: usize = 3;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("get {url}: {reason}")]
pub(crate) struct HttpError {
    url: String,
    reason: String,
    /// Whether another try may fare better.
    passes: bool,
}

/// Which schemes will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schemes {
    /// https, after redirects, too.
    Https,
    /// Both: what comes is verified in another way, or the user wants it so.
    All,
}

/// Gets documents and images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    insecure_tls: bool,
    credentials: Option<&'a BTreeMap<String, Credential>>,
}

/// What a server says, whatever that is.
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    headers: HeaderMap,
    /// The body. Reading it names the URL in errors, and gives up on a server that is too slow.
    pub(crate) body: Box<dyn Read + Send>,
}

impl Reply {
    /// All values of a header.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    }
}

/// What a server has of an image.
pub(crate) enum Answer {
    /// It is what we have already.
    NotModified,
    /// The image.
    Image(Download),
}

/// An image on its way.
pub(crate) struct Download {
    /// Its bytes.
    pub(crate) body: Box<dyn Read + Send>,
    /// How many they are, where the server says so.
    pub(crate) length: Option<u64>,
    /// By what the server will know it again.
    pub(crate) etag: Option<String>,
    /// For how many seconds nobody need ask again.
    pub(crate) max_age: i64,
}

impl<'a> Client<'a> {
    /// `insecure_tls`: certificates are not checked.
    pub(crate) fn new(insecure_tls: bool) -> Client<'a> {
        Client { insecure_tls, credentials: None }
    }

    /// The same with what hosts want to see.
    pub(crate) fn with(self, credentials: &'a BTreeMap<String, Credential>) -> Client<'a> {
        Client { credentials: Some(credentials), ..self }
    }

    /// The value of the header `Authorization`. It is shown to nobody who could read along.
    fn authorization(self, url: &str) -> Result<Option<&'a str>, HttpError> {
        let host = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
        let credential = host.and_then(|host| self.credentials?.get(host));
        match credential {
            None => Ok(None),
            Some(Credential::Header(value)) => Ok(Some(value)),
            Some(Credential::Aws) => Err(HttpError {
                url: url.to_owned(),
                reason: "credentials of type aws cannot be used in this version".to_owned(),
                passes: false,
            }),
        }
    }

    fn agent(self, schemes: Schemes, altogether: Duration) -> Agent {
        let tls = TlsConfig::builder()
            .disable_verification(self.insecure_tls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        Agent::config_builder()
            .https_only(schemes == Schemes::Https)
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(READ))
            .timeout_global(Some(altogether))
            .tls_config(tls)
            .user_agent(concat!("rkt/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    /// A document of at most `limit` bytes.
    ///
    /// # Errors
    /// Where there is none, or it is larger.
    pub(crate) fn document(self, url: &str, schemes: Schemes, limit: u64) -> Result<Vec<u8>, HttpError> {
        let (agent, authorization) = (self.agent(schemes, DOCUMENT), self.authorization(url)?);
        again(|| {
            let request = with_header(agent.get(url), "Authorization", authorization);
            let mut response = request.call().map_err(|error| failed(url, &error))?;
            check_status(url, &response)?;
            response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| failed(url, &error))
        })
    }

    /// The page of a place, where `schemes` allows by http, where https does not answer.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn page(self, place: Place<'_>, schemes: Schemes) -> Result<Vec<u8>, HttpError> {
        let secure = self.document(&place.url("https", None), schemes, MAX_PAGE);
        match secure {
            Err(_) if schemes == Schemes::All => self.document(&place.url("http", None), schemes, MAX_PAGE),
            other => other,
        }
    }

    /// What the server answers to a request with these headers; tried again where its own trouble may pass. No
    /// credentials are sent but those among the headers, and those only to the host itself.
    ///
    /// # Errors
    /// Where there is no answer.
    pub(crate) fn get(
        self,
        url: &str,
        schemes: Schemes,
        headers: &[(&str, &str)],
    ) -> Result<Reply, HttpError> {
        let agent = self.agent(schemes, DOWNLOAD);
        let response = again(|| {
            let request =
                headers.iter().fold(agent.get(url), |request, (name, value)| request.header(*name, *value));
            let response = request.call().map_err(|error| failed(url, &error))?;
            if response.status().is_server_error() || response.status() == 429 {
                check_status(url, &response)?;
            }
            Ok(response)
        })?;
        let (parts, body) = response.into_parts();
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: Box::new(Named {
                reader: body.into_reader(),
                url: url.to_owned(),
                started: Instant::now(),
                received: 0,
            }),
        })
    }

    /// An image, unless it is still the one that has `etag`.
    ///
    /// # Errors
    /// Where there is none. Reading it may fail, too.
    pub(crate) fn image(self, url: &str, etag: Option<&str>) -> Result<Answer, HttpError> {
        // Whatever comes is verified by its signature, or the user has asked for it as it is.
        let (agent, authorization) = (self.agent(Schemes::All, DOWNLOAD), self.authorization(url)?);
        let response = again(|| {
            let request = with_header(agent.get(url), "Authorization", authorization);
            let request = with_header(request, "If-None-Match", etag);
            let response = request.call().map_err(|error| failed(url, &error))?;
            if response.status() != 304 {
                check_status(url, &response)?;
            }
            Ok(response)
        })?;
        if response.status() == 304 {
            return Ok(Answer::NotModified);
        }
        let (parts, body) = response.into_parts();
        Ok(Answer::Image(Download {
            length: header(&parts.headers, "content-length").and_then(|text| text.parse().ok()),
            etag: header(&parts.headers, "etag"),
            max_age: header(&parts.headers, "cache-control").map_or(0, |value| max_age(&value)),
            body: Box::new(Named {
                reader: body.into_reader(),
                url: url.to_owned(),
                started: Instant::now(),
                received: 0,
            }),
        }))
    }
}

fn with_header(
    request: RequestBuilder<WithoutBody>,
    name: &str,
    value: Option<&str>,
) -> RequestBuilder<WithoutBody> {
    match value {
        Some(value) => request.header(name, value),
        None => request,
    }
}

/// Tries again what may pass, after a while that grows.
fn again<T>(request: impl Fn() -> Result<T, HttpError>) -> Result<T, HttpError> {
    let pauses =
        ExponentialBuilder::default().with_min_delay(Duration::from_millis(500)).with_max_times(TRIES - 1);
    request.retry(pauses).when(|error| error.passes).call()
}

fn failed(url: &str, error: &ureq::Error) -> HttpError {
    use ureq::Error as E;
    let passes = match error {
        E::Timeout(_) => true,
        // Names that are not known, and ports where nobody listens, stay so.
        E::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::TimedOut
        ),
        _ => false,
    };
    HttpError { url: url.to_owned(), reason: error.to_string(), passes }
}

fn check_status(url: &str, response: &Response<Body>) -> Result<(), HttpError> {
    let status = response.status();
    if status == 200 {
        return Ok(());
    }
    let passes = status.is_server_error() || status == 429;
    Err(HttpError {
        url: url.to_owned(),
        reason: format!("bad HTTP status code: {}", status.as_u16()),
        passes,
    })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
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

/// Names the URL in errors of reading, and gives up on a server that is too slow.
struct Named<R> {
    reader: R,
    url: String,
    started: Instant,
    received: u64,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer).and_then(|length| {
            self.received += length as u64;
            check_rate(self.received, self.started.elapsed()).map(|()| length)
        });
        read.map_err(|error| io::Error::new(error.kind(), format!("download {}: {error}", self.url)))
    }
}

fn check_rate(received: u64, elapsed: Duration) -> io::Result<()> {
    if elapsed > PATIENCE && received / elapsed.as_secs().max(1) < SLOWEST {
        let message = format!("the server is too slow ({received} bytes in {} s)", elapsed.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_their_host_only_and_never_in_the_clear() {
        let credentials = BTreeMap::from([
            ("a.test".to_owned(), Credential::Header("Bearer x".to_owned())),
            ("a.test:8443".to_owned(), Credential::Header("Bearer y".to_owned())),
            ("s3.test".to_owned(), Credential::Aws),
        ]);
        let client = Client::new(false).with(&credentials);
        for (url, value) in [
            ("https://a.test/image.aci", Some("Bearer x")),
            ("https://a.test?ac-discovery=1", Some("Bearer x")),
            ("https://a.test:8443/image.aci", Some("Bearer y")),
            ("http://a.test/image.aci", None),
            ("https://b.a.test/image.aci", None),
            ("https://a.test.evil/image.aci", None),
            ("https://evil/https://a.test/", None),
        ] {
            assert_eq!(client.authorization(url).unwrap(), value, "{url}");
        }
        assert!(client.authorization("https://s3.test/a").is_err());
        assert_eq!(Client::new(false).authorization("https://a.test/").unwrap(), None);
    }

    #[test]
    fn a_server_that_dribbles_is_left() {
        for (received, seconds, fine) in
            [(0, 59, true), (60, 60, true), (61, 61, false), (61 * 1024, 61, true), (1 << 30, 9000, true)]
        {
            assert_eq!(
                check_rate(received, Duration::from_secs(seconds)).is_ok(),
                fine,
                "{received} {seconds}"
            );
        }
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
}
