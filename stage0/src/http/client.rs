//! What there is to ask for.

use std::{collections::BTreeMap, io::Read, time::Duration};

use appc::{discovery::Place, names};
use jiff::Timestamp;
use ureq::{
    Agent,
    config::RedirectAuthHeaders,
    http::HeaderMap,
    tls::{RootCerts, TlsConfig},
};

use super::{
    HttpError, aws,
    limits::{self, Named},
    request::{Headers, Request, again},
};
use crate::config::Credential;

/// Largest page of a discovery, in bytes.
const MAX_PAGE: u64 = 1 << 20;

/// Which schemes will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schemes {
    /// https, after redirects, too.
    Https,
    /// Both: what comes is verified in another way, or the user wants it so.
    All,
}

impl Schemes {
    /// In the order in which they are tried.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Schemes::Https => &["https"],
            Schemes::All => &["https", "http"],
        }
    }
}

/// Gets documents and images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    insecure_tls: bool,
    credentials: Option<&'a BTreeMap<String, Credential>>,
    largest: u64,
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

/// A document that a server may not have yet.
#[derive(Debug)]
pub(crate) enum Document {
    /// All of it.
    Whole(Vec<u8>),
    /// It will be there when the server has sent something else (status 202).
    Deferred,
}

impl<'a> Client<'a> {
    /// `insecure_tls`: certificates are not checked.
    pub(crate) fn new(insecure_tls: bool) -> Client<'a> {
        Client { insecure_tls, credentials: None, largest: limits::largest() }
    }

    /// The same with what hosts want to see.
    pub(crate) fn with(self, credentials: &'a BTreeMap<String, Credential>) -> Client<'a> {
        Client { credentials: Some(credentials), ..self }
    }

    /// The same, for images of at most so many bytes.
    pub(crate) fn at_most(self, bytes: u64) -> Client<'a> {
        Client { largest: self.largest.min(bytes), ..self }
    }

    /// Most bytes that an image may have as it comes.
    pub(super) fn largest(self) -> u64 {
        self.largest
    }

    /// What a host wants to see. It is shown to nobody who could read along.
    fn credential(self, url: &str) -> Option<&'a Credential> {
        let host = url.strip_prefix("https://")?.split(['/', '?', '#']).next()?;
        self.credentials?.get(host)
    }

    /// The headers that a host wants to see where something is looked for.
    fn header(self, url: &str) -> Headers {
        match self.credential(url) {
            Some(Credential::Header(value)) => vec![("Authorization", value.clone())],
            Some(Credential::Aws(_)) | None => Headers::new(),
        }
    }

    /// The headers that a host wants to see where something is downloaded.
    pub(super) fn secrets(self, url: &str) -> Headers {
        match self.credential(url) {
            Some(Credential::Aws(key)) => aws::sign(key, url, Timestamp::now()).unwrap_or_default(),
            _ => self.header(url),
        }
    }

    /// What sends requests. `altogether` is how long one may take, with all of its answer.
    pub(crate) fn agent(self, schemes: Schemes, altogether: Duration) -> Agent {
        let tls = TlsConfig::builder()
            .disable_verification(self.insecure_tls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .https_only(schemes == Schemes::Https)
            .http_status_as_error(false)
            .max_redirects_will_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .max_response_header_size(limits::MAX_HEADERS)
            .timeout_connect(Some(limits::CONNECT))
            .timeout_recv_response(Some(limits::patience()))
            .timeout_per_read(Some(limits::patience()))
            .timeout_global(Some(altogether))
            .tls_config(tls)
            .user_agent(concat!("rkt/", env!("CARGO_PKG_VERSION")))
            .build();
        names::agent(config)
    }

    /// A document of at most `limit` bytes.
    ///
    /// # Errors
    /// Where there is none, or it is larger.
    pub(crate) fn document(self, url: &str, schemes: Schemes, limit: u64) -> Result<Vec<u8>, HttpError> {
        match self.small(url, schemes, limit, &|url| self.header(url))? {
            Document::Whole(bytes) => Ok(bytes),
            Document::Deferred => Err(HttpError::status(url, 202)),
        }
    }

    /// The signature of an image, of at most `limit` bytes.
    ///
    /// # Errors
    /// Where there is none, or it is larger.
    pub(crate) fn signature(self, url: &str, limit: u64) -> Result<Document, HttpError> {
        self.small(url, Schemes::All, limit, &|url| self.secrets(url))
    }

    fn small(
        self,
        url: &str,
        schemes: Schemes,
        limit: u64,
        secrets: &dyn Fn(&str) -> Headers,
    ) -> Result<Document, HttpError> {
        let agent = self.agent(schemes, limits::document());
        let request = Request { agent: &agent, url, schemes, headers: &[], secrets };
        again(|| {
            let mut response = request.send()?;
            match response.status().as_u16() {
                200 => {
                    let body = response.body_mut().with_config().limit(limit).read_to_vec();
                    body.map(Document::Whole).map_err(|error| HttpError::failed(url, &error))
                }
                202 => Ok(Document::Deferred),
                status => Err(HttpError::status(url, status)),
            }
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
        headers: &[(&'static str, &str)],
    ) -> Result<Reply, HttpError> {
        let agent = self.agent(schemes, limits::DOWNLOAD);
        let (secret, open): (Vec<_>, Vec<_>) =
            headers.iter().copied().partition(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let secrets = |_: &str| secret.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let request = Request { agent: &agent, url, schemes, headers: &open, secrets: &secrets };
        let response = again(|| {
            let response = request.send()?;
            match response.status().as_u16() {
                status @ (429 | 500..) => Err(HttpError::status(url, status)),
                _ => Ok(response),
            }
        })?;
        let (parts, body) = response.into_parts();
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: Box::new(Named::new(body.into_reader(), url)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AwsKey;

    // APPC-368, APPC-370
    #[test]
    fn credentials_go_to_their_host_only_and_never_in_the_clear() {
        let aws = AwsKey { id: "i".to_owned(), secret: "s".to_owned(), region: None };
        let credentials = BTreeMap::from([
            ("a.test".to_owned(), Credential::Header("Bearer x".to_owned())),
            ("a.test:8443".to_owned(), Credential::Header("Bearer y".to_owned())),
            ("s3.test".to_owned(), Credential::Aws(aws)),
        ]);
        let client = Client::new(false).with(&credentials);
        let value = |headers: Headers| headers.first().map(|(_, value)| value.clone());
        for (url, wanted) in [
            ("https://a.test/image.aci", Some("Bearer x")),
            ("https://a.test?ac-discovery=1", Some("Bearer x")),
            ("https://a.test:8443/image.aci", Some("Bearer y")),
            ("http://a.test/image.aci", None),
            ("https://b.a.test/image.aci", None),
            ("https://a.test.evil/image.aci", None),
            ("https://evil/https://a.test/", None),
            ("https://a.test@evil/image.aci", None),
        ] {
            assert_eq!(value(client.header(url)).as_deref(), wanted, "{url}");
            assert_eq!(value(client.secrets(url)).as_deref(), wanted, "{url}");
        }
        assert_eq!(client.header("https://s3.test/a"), Headers::new());
        assert!(value(client.secrets("https://s3.test/a")).unwrap().starts_with("AWS4-HMAC-SHA256 "));
        assert_eq!(client.secrets("http://s3.test/a"), Headers::new());
        assert_eq!(Client::new(false).secrets("https://a.test/"), Headers::new());
    }
}
