//! Which proxy a request goes through: what the environment says, as other programs read it.

use std::{env, net::IpAddr};

use ureq::{Proxy, http::Uri};

use super::HttpError;

/// The proxy for a URL, by `http_proxy` or `https_proxy`, `all_proxy` and `no_proxy`, or the same in upper case. This
/// machine itself is asked directly.
///
/// # Errors
/// Where a variable names none that can be used.
pub(super) fn of(url: &str) -> Result<Option<Proxy>, HttpError> {
    choose(url, &|name| env::var(name).ok())
}

fn choose(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Proxy>, HttpError> {
    let Ok(uri) = url.parse::<Uri>() else { return Ok(None) };
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return Ok(None) };
    let set =
        |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let either = |name: &str| {
        let upper = name.to_uppercase();
        [name.to_owned(), upper].into_iter().find_map(|name| Some((set(&name)?, name)))
    };
    let found = either(&format!("{scheme}_proxy")).or_else(|| either("all_proxy"));
    let Some((value, name)) = found else { return Ok(None) };
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let without = either("no_proxy").map(|(value, _)| value).unwrap_or_default();
    if is_here(host) || is_exempt(host, port, &without) {
        return Ok(None);
    }
    // What is wrong with it is not told: it may have a password.
    let unusable = |_| {
        HttpError::new(url, format!("{name} names no proxy that can be used; it must be http://HOST:PORT"))
    };
    Proxy::new(&value).map(Some).map_err(unusable)
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// Whether a list names the host: by its name or that of a domain above it, with the port or without, by its address, or
/// by a network that this is in.
fn is_exempt(host: &str, port: u16, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(
        |entry| {
            if entry == "*" {
                return true;
            }
            if let Some(address) = address(&host)
                && let Some((network, bits)) = entry.split_once('/')
            {
                return is_in(address, network, bits);
            }
            let (name, wanted) = match entry.rsplit_once(':') {
                // An IPv6 address without brackets has colons, but no port.
                Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse().ok()),
                _ => (entry.as_str(), None),
            };
            if wanted.is_some_and(|wanted: u16| wanted != port) {
                return false;
            }
            if let Some(host) = address(&host) {
                return address(name) == Some(host);
            }
            let domain = name.trim_start_matches('*').trim_start_matches('.');
            let above = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            above || (host == domain && name == domain)
        },
    )
}

fn is_in(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let differ = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_s_own_variable_comes_before_the_one_for_all() {
        let chosen = |url: &str, variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            choose(url, &variable).map(|proxy| proxy.map(|proxy| proxy.host().to_owned()))
        };
        let (http, https) = ("http://a.test/", "https://a.test/");
        for (url, variables, want) in [
            (https, &[("https_proxy", "http://s:1"), ("all_proxy", "http://all:1")][..], Some("s")),
            (https, &[("HTTPS_PROXY", "http://s:1"), ("http_proxy", "http://h:1")], Some("s")),
            (https, &[("http_proxy", "http://h:1")], None),
            (http, &[("http_proxy", "h:1"), ("HTTP_PROXY", "http://upper:1")], Some("h")),
            (http, &[("https_proxy", "http://s:1"), ("ALL_PROXY", "http://all:1")], Some("all")),
            (http, &[("http_proxy", ""), ("all_proxy", " ")], None),
            (http, &[("all_proxy", "http://p:1"), ("no_proxy", "b.test, a.test")], None),
            ("http://127.0.0.1:80/", &[("all_proxy", "http://p:1")], None),
            ("http://[::1]/", &[("all_proxy", "http://p:1")], None),
        ] {
            assert_eq!(chosen(url, variables).unwrap().as_deref(), want, "{url} {variables:?}");
        }
        let error = chosen(http, &[("http_proxy", "ftp://user:secret@p:1")]).unwrap_err().to_string();
        assert!(error.contains("http_proxy") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn hosts_are_exempt_by_name_domain_port_address_and_network() {
        for (host, list, exempt) in [
            ("a.test", "a.test", true),
            ("A.Test", "a.tEST", true),
            ("b.a.test", "a.test", true),
            ("ba.test", "a.test", false),
            ("b.a.test", ".a.test", true),
            ("a.test", ".a.test", false),
            ("b.a.test", "*.a.test", true),
            ("a.test", "x, a.test ,y", true),
            ("a.test", "a.test:443", true),
            ("a.test", "a.test:80", false),
            ("a.test", "*", true),
            ("a.test", "", false),
            ("a.test", ",", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.0.0/16", true),
            ("10.2.2.3", "10.1.0.0/16", false),
            ("10.2.2.3", "0.0.0.0/0", true),
            ("10.2.2.3", "2.3", false),
            ("10.2.2.3", "10.0.0.0/x", false),
            ("[fd00::1]", "fd00::/8", true),
            ("[fd00::1]", "fd00::1", true),
            ("[fd00::1]", "[fd00::1]:443", true),
            ("[fd00::1]", "[fd00::1]:80", false),
        ] {
            assert_eq!(is_exempt(host, 443, list), exempt, "{host} {list}");
        }
    }
}
