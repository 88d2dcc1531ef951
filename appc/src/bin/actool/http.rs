//! Getting the pages of a discovery.

use std::time::Duration;

use appc::{discovery::Place, names};
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig},
};

/// Largest page, in bytes.
const LARGEST: u64 = 1 << 20;

/// Redirects that are followed for one page.
const REDIRECTS: u32 = 10;

/// How long connecting may take, and how long everything about one page.
const CONNECT: Duration = Duration::from_secs(20);
const ALTOGETHER: Duration = Duration::from_secs(60);

/// Gets pages by https; by http only where that was allowed, and only after https has failed.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    insecure: bool,
    port: Option<u16>,
}

impl Client {
    /// `insecure` allows http and does not check certificates; `port` is one to use instead of the scheme's.
    pub(crate) fn new(insecure: bool, port: Option<u16>) -> Client {
        let tls = TlsConfig::builder()
            .disable_verification(insecure)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            // A redirect cannot lead to http, either.
            .https_only(!insecure)
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ALTOGETHER))
            .tls_config(tls)
            .user_agent(concat!("actool/", env!("CARGO_PKG_VERSION")))
            .build();
        Client { agent: names::agent(config), insecure, port }
    }

    /// The page of a place.
    pub(crate) fn page(&self, place: Place<'_>) -> Result<Vec<u8>, String> {
        let secure = self.get(&place.url("https", self.port));
        match secure {
            Err(first) if self.insecure => {
                self.get(&place.url("http", self.port)).map_err(|second| format!("{first}; {second}"))
            }
            other => other,
        }
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let failed = |error: ureq::Error| format!("{url}: {error}");
        let mut response = self.agent.get(url).call().map_err(failed)?;
        if response.status() != 200 {
            return Err(format!("{url}: expected a 200 OK got {}", response.status().as_u16()));
        }
        response.body_mut().with_config().limit(LARGEST).read_to_vec().map_err(failed)
    }
}
