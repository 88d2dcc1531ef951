//! Registries that speak Docker's protocol, version 2 (OCI distribution specification): pulling, and nothing else.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    Basic, Blobs, Digest, RegistryName,
    documents::{ACCEPTED, Blob, MAX_DOCUMENT},
};
use crate::http::{Client, Reply, Schemes};

/// Where tokens of a registry may come from besides itself. Credentials go nowhere else.
const TOKEN_HOSTS: [(&str, &str); 1] = [("registry-1.docker.io", "auth.docker.io")];

/// How often a blob that breaks off is continued, and after which pause.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// A repository of a registry.
#[derive(Debug)]
pub(super) struct Registry<'a> {
    client: Client<'a>,
    name: &'a RegistryName,
    /// Whether http will do where https does not answer.
    allow_http: bool,
    credentials: Option<Basic>,
    /// All that are configured, by host.
    configured: &'a BTreeMap<String, Basic>,
    state: Mutex<State>,
}

/// What was found out while talking.
#[derive(Debug, Clone, Default)]
struct State {
    /// Whether the registry speaks http only.
    http: bool,
    /// The header that it wants.
    authorization: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// How a registry wants to be asked.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        client: Client<'a>,
        name: &'a RegistryName,
        allow_http: bool,
        credentials: Option<Basic>,
        configured: &'a BTreeMap<String, Basic>,
    ) -> Registry<'a> {
        Registry { client, name, allow_http, credentials, configured, state: Mutex::default() }
    }

    /// The document that the name leads to.
    pub(super) fn document(&self, version: &str) -> Result<(Vec<u8>, Digest)> {
        let accept = ACCEPTED.join(", ");
        let mut reply = self.get(&format!("manifests/{version}"), &[("Accept", &accept)])?;
        if reply.status == 404 {
            bail!("the registry has no such image");
        }
        check(&reply)?;
        let mut text = Vec::new();
        reply.body.by_ref().take(MAX_DOCUMENT + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_DOCUMENT {
            bail!("its manifest has more than {MAX_DOCUMENT} bytes");
        }
        let digest = Digest::of(&text);
        if let Ok(wanted) = version.parse::<Digest>() {
            if !wanted.fits(&text) {
                bail!("what came for {wanted} has the digest {digest}");
            }
            return Ok((text, wanted));
        }
        Ok((text, digest))
    }

    fn state(&self) -> State {
        self.state.lock().map(|state| state.clone()).unwrap_or_default()
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        if let Ok(mut state) = self.state.lock() {
            change(&mut state);
        }
    }

    /// Asks the registry, and asks once more with what it wants to see.
    fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Reply> {
        let reply = self.once(path, headers)?;
        if reply.status != 401 {
            return Ok(reply);
        }
        let challenges = reply.headers("www-authenticate");
        let challenge = challenges.iter().find_map(|text| challenge(text));
        let challenge = challenge.context("the registry wants credentials, but does not say how")?;
        let had = self.state().authorization;
        let authorization = match &challenge {
            Challenge::Basic => {
                let Some(basic) = &self.credentials else { bail!(self.denied()) };
                basic.header()
            }
            Challenge::Bearer { realm, service, scope } => {
                self.token(realm, service.as_deref(), scope.as_deref())?
            }
        };
        if challenge == Challenge::Basic && had.as_ref() == Some(&authorization) {
            bail!(self.denied());
        }
        self.set(|state| state.authorization = Some(authorization));
        let reply = self.once(path, headers)?;
        if reply.status == 401 {
            bail!(self.denied());
        }
        Ok(reply)
    }

    fn denied(&self) -> String {
        let host = &self.name.registry;
        match self.credentials {
            Some(_) => format!("the registry {host} does not accept the credentials for it"),
            None => format!("the registry {host} wants credentials; give some in auth.d (dockerAuth)"),
        }
    }

    fn once(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Reply> {
        let state = self.state();
        let url =
            |scheme: &str| format!("{scheme}://{}/v2/{}/{path}", self.name.registry, self.name.repository);
        let mut headers = headers.to_vec();
        if let Some(authorization) = &state.authorization {
            headers.push(("Authorization", authorization));
        }
        if state.http {
            return Ok(self.client.get(&url("http"), Schemes::All, &headers)?);
        }
        match self.client.get(&url("https"), Schemes::Https, &headers) {
            Err(_) if self.allow_http && state.authorization.is_none() => {
                let reply = self.client.get(&url("http"), Schemes::All, &headers)?;
                self.set(|state| state.http = true);
                Ok(reply)
            }
            Err(error) if !self.allow_http => {
                Err(error).context("no answer over https (http is for --insecure-options=http)")
            }
            other => Ok(other?),
        }
    }

    /// Gets a token from where the registry says.
    fn token(&self, realm: &str, service: Option<&str>, scope: Option<&str>) -> Result<String> {
        let inferred = format!("repository:{}:pull", self.name.repository);
        let mut url = realm.to_owned();
        let pairs = [("service", service), ("scope", Some(scope.unwrap_or(&inferred)))];
        for (name, value) in pairs.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
            let separator = if url.contains('?') { '&' } else { '?' };
            url.push_str(&format!("{separator}{name}={}", escape(value)));
        }
        let schemes = if self.state().http { Schemes::All } else { Schemes::Https };
        let host = host_of(realm).unwrap_or_default();
        let basic = match &self.credentials {
            Some(own) if self.is_trusted(realm) => Some(own),
            _ => self.configured.get(host).filter(|_| url.starts_with("https://")),
        };
        let basic = basic.map(Basic::header);
        let headers: Vec<(&'static str, &str)> =
            basic.as_ref().map(|value| ("Authorization", value.as_str())).into_iter().collect();
        let reply = self.client.get(&url, schemes, &headers).context("get a token")?;
        if matches!(reply.status, 401 | 403) {
            if basic.is_none() && self.credentials.is_some() {
                bail!(
                    "the registry {} sends its users to {host} for tokens, which the credentials are not for; where \
                     that is right, name that host in the dockerAuth, too",
                    self.name.registry
                );
            }
            bail!(self.denied());
        }
        check(&reply).context("get a token")?;
        let mut text = Vec::new();
        reply.body.take(1 << 20).read_to_end(&mut text).context("get a token")?;
        let token: Token = serde_json::from_slice(&text).context("get a token: the answer")?;
        let token = if token.token.is_empty() { token.access_token } else { token.token };
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        if token.is_empty() || !token.bytes().all(is_visible) {
            bail!("get a token: there is none in the answer");
        }
        Ok(format!("Bearer {token}"))
    }

    /// Whether the credentials for the registry may be shown where it sends us for a token.
    fn is_trusted(&self, realm: &str) -> bool {
        let secure = realm.starts_with("https://") || self.state().http;
        let Some(host) = host_of(realm) else { return false };
        let name = self.name.registry.as_str();
        secure && (host == name || TOKEN_HOSTS.contains(&(name, host)))
    }
}

impl Registry<'_> {
    /// Asks for a blob from this byte on.
    fn blob(&self, blob: &Blob, from: u64) -> Result<Box<dyn Read + Send>> {
        let path = format!("blobs/{}", blob.digest);
        if from == 0 {
            let reply = self.get(&path, &[])?;
            check(&reply)?;
            return Ok(reply.body);
        }
        let range = format!("bytes={from}-");
        let mut reply = self.get(&path, &[("Range", &range)])?;
        if reply.status == 206 {
            let ranges = reply.headers("content-range");
            if !ranges.iter().any(|text| text.starts_with(&format!("bytes {from}-"))) {
                bail!("the registry sends another part than it was asked for");
            }
            return Ok(reply.body);
        }
        check(&reply)?;
        // It sends all of it again.
        io::copy(&mut reply.body.by_ref().take(from), &mut io::sink())?;
        Ok(reply.body)
    }
}

impl Blobs for Registry<'_> {
    fn open(&self, blob: &Blob) -> io::Result<Box<dyn Read + Send + '_>> {
        let body = self.blob(blob, 0);
        let body = body.map_err(|error| io::Error::other(format!("blob {}: {error:#}", blob.digest)))?;
        Ok(Box::new(Continued { registry: self, blob: blob.clone(), body, received: 0, tries: TRIES }))
    }
}

/// A blob that is asked for again from where it broke off. Whatever comes is verified by its digest.
struct Continued<'a> {
    registry: &'a Registry<'a>,
    blob: Blob,
    body: Box<dyn Read + Send>,
    received: u64,
    /// How often it may still break off.
    tries: u32,
}

impl Read for Continued<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let broken = match self.body.read(buffer) {
                Ok(0) if self.received < self.blob.size && !buffer.is_empty() => None,
                Ok(length) => {
                    self.received += length as u64;
                    return Ok(length);
                }
                Err(error) => Some(error),
            };
            if self.tries == 0 {
                // That it is too short shows where it is verified.
                return broken.map_or(Ok(0), Err);
            }
            self.tries -= 1;
            thread::sleep(PAUSE);
            match self.registry.blob(&self.blob, self.received) {
                Ok(body) => self.body = body,
                Err(error) => {
                    return Err(io::Error::other(format!("blob {}: {error:#}", self.blob.digest)));
                }
            }
        }
    }
}

fn check(reply: &Reply) -> Result<()> {
    match reply.status {
        200 => Ok(()),
        status => bail!("bad HTTP status code: {status}"),
    }
}

/// Host and port of a URL.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    // What stands before an @ is nobody's host.
    (!authority.contains('@')).then_some(authority)
}

/// What may stand in a query.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b',' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Reads a header `WWW-Authenticate` (RFC 9110, 11.6.1), where it is of a scheme that registries use.
fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    let mut rest = rest.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (text, want) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a.test/t\",service=\"r.test\",scope=\"repository:a/b:pull,push\"",
                bearer("https://a.test/t", Some("r.test"), Some("repository:a/b:pull,push")),
            ),
            ("Bearer service=x , realm=https://a.test/t", bearer("https://a.test/t", Some("x "), None)),
            ("Bearer realm=\"unfinished", None),
            ("Bearer", None),
            ("Negotiate abc", None),
            ("", None),
        ] {
            assert_eq!(challenge(text), want, "{text}");
        }
    }

    #[test]
    fn case_12_credentials_go_to_the_registry_s_own_hosts_only() {
        let configured = BTreeMap::new();
        let client = Client::new(false);
        for (name, realm, trusted) in [
            ("h.test/a", "https://h.test/token", true),
            ("h.test:5000/a", "https://h.test:5000/token", true),
            ("h.test:5000/a", "https://h.test/token", false),
            ("h.test/a", "http://h.test/token", false),
            ("h.test/a", "https://evil.test/token", false),
            ("h.test/a", "https://h.test.evil/token", false),
            ("h.test/a", "https://h.test@evil.test/token", false),
            ("h.test/a", "https://evil.test/?h.test", false),
            ("h.test/a", "https://evil.test\\@h.test/", false),
            ("redis", "https://auth.docker.io/token", true),
            ("h.test/a", "https://auth.docker.io/token", false),
            ("h.test/a", "h.test", false),
        ] {
            let name = RegistryName::read(name).unwrap();
            let registry = Registry::new(client, &name, false, None, &configured);
            assert_eq!(registry.is_trusted(realm), trusted, "{name} {realm}");
        }
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escape("repository:a/b:pull"), "repository:a/b:pull");
        assert_eq!(escape("a b&c=d#"), "a%20b%26c%3Dd%23");
    }
}
