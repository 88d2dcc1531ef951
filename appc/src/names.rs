//! Addresses of hosts for the HTTP client, without the C library's resolver.
//!
//! A static program cannot use that: it loads the name services that `/etc/nsswitch.conf` names, which are made for the
//! C library of the host, and crashes where this is another than its own. So names are looked up in `/etc/hosts`
//! and asked of the servers in `/etc/resolv.conf`, which is where systemd-resolved listens, too.

use std::{io, net::IpAddr};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    system_conf::read_system_conf,
};
use tokio::{runtime, time};
use ureq::{
    Agent, Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

/// Most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 16;

/// An agent that looks up names in this way.
pub fn agent(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Names)
}

/// Looks up names, each anew: a program that fetches something asks for few.
#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let bad = || Error::BadUri(uri.to_string());
        let host = uri.host().ok_or_else(bad)?;
        let port = uri.port_u16().or_else(|| default_port(uri)).ok_or_else(bad)?;
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let addresses = match literal {
            Ok(address) => vec![address],
            Err(_) => runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async { time::timeout(*timeout.after, lookup(host)).await })
                .map_err(|_elapsed| Error::Timeout(timeout.reason))??,
        };
        let sockets = addresses.into_iter().map(|address| (address, port).into());
        let mut found = self.empty();
        for address in config.ip_family().keep_wanted(sockets).take(MAX_ADDRESSES) {
            found.push(address);
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

fn default_port(uri: &Uri) -> Option<u16> {
    match uri.scheme_str()? {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

async fn lookup(host: &str) -> Result<Vec<IpAddr>, Error> {
    let failed = |error: NetError| {
        if error.is_no_records_found() {
            Error::HostNotFound
        } else {
            Error::Io(io::Error::other(format!("look up {host}: {error}")))
        }
    };
    let (servers, mut options) = match read_system_conf() {
        // A host without such a file has its server on itself, if any (resolv.conf(5)).
        Err(NetError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            let itself = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
            (ResolverConfig::from_name_servers(vec![itself]), ResolverOpts::default())
        }
        read => read.map_err(|error| Error::Io(io::Error::other(format!("/etc/resolv.conf: {error}"))))?,
    };
    options.cache_size = 0;
    let resolver = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(failed)?;
    Ok(resolver.lookup_ip(host).await.map_err(failed)?.iter().collect())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    #[test]
    fn addresses_and_the_names_of_the_host_itself_need_no_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                    .unwrap();
            }
        });
        let agent = agent(Config::default());
        for host in ["127.0.0.1", "localhost"] {
            let mut response = agent.get(format!("http://{host}:{port}/")).call().unwrap();
            assert_eq!(response.body_mut().read_to_string().unwrap(), "hi", "{host}");
        }
        server.join().unwrap();
    }

    #[test]
    fn a_name_that_nobody_can_have_is_not_found_or_not_asked_for() {
        let error = agent(Config::default()).get("http://nowhere.invalid/").call().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("host not found") || text.contains("look up nowhere.invalid"), "{text}");
    }
}
