//! From the ports of a pod's manifest to what is forwarded.

use std::net::IpAddr;

use appc::schema::{App, ExposedPort, PodManifest, Port};

use super::{Forward, PortOption, Protocol};
use crate::error::{Error, Result, refused};

/// A pod manifest has only IPv4 addresses of the host. Ports of others are in this annotation, as the command line has them.
const IPV6: &str = "coreos.com/rkt/ports/ipv6";

/// Notes ports of the command line in a pod's manifest.
///
/// # Errors
/// Where no app has a port of a name.
pub fn expose(manifest: &mut PodManifest, options: &[PortOption]) -> Result<()> {
    let mut others = Vec::new();
    for option in options {
        let apps = || manifest.apps.iter().filter_map(|app| app.app.as_ref());
        let declared = declared(apps(), option.name.as_str())?;
        let IpAddrs { v4: host_ip, v6 } = split(option.host_ip);
        if v6 {
            others.push(option.to_string());
            continue;
        }
        let pod_port =
            option.protocol.map(|protocol| Port { protocol: protocol.name().to_owned(), ..declared.clone() });
        manifest.ports.push(ExposedPort {
            name: option.name.clone(),
            host_port: option.host_port,
            host_ip,
            pod_port,
        });
    }
    if !others.is_empty() {
        let set = manifest.annotations.set(IPV6, &others.join(","));
        set.map_err(|error| Error::Refused(format!("--port: {error}")))?;
    }
    Ok(())
}

struct IpAddrs {
    v4: Option<std::net::Ipv4Addr>,
    v6: bool,
}

fn split(address: Option<IpAddr>) -> IpAddrs {
    match address {
        None => IpAddrs { v4: None, v6: false },
        Some(IpAddr::V4(address)) => IpAddrs { v4: Some(address), v6: false },
        Some(IpAddr::V6(_)) => IpAddrs { v4: None, v6: true },
    }
}

/// What a pod has forwarded. `apps`: what its apps are, images' sections where the manifest has none.
///
/// # Errors
/// Where no app has a port of a name, one is neither TCP nor UDP, or two are the same.
pub fn resolve(manifest: &PodManifest, apps: &[&App]) -> Result<Vec<Forward>> {
    let mut forwards: Vec<Forward> = Vec::new();
    for port in &manifest.ports {
        let declared = match &port.pod_port {
            Some(port) => port,
            None => declared(apps.iter().copied(), port.name.as_str())?,
        };
        if is_activated(declared) {
            continue;
        }
        add(&mut forwards, declared, port.host_ip.map(IpAddr::V4), port.host_port, None)?;
    }
    for text in manifest.annotations.get(IPV6).into_iter().flat_map(|list| list.split(',')) {
        let option: PortOption = text.parse().map_err(Error::Refused)?;
        let declared = declared(apps.iter().copied(), option.name.as_str())?;
        add(&mut forwards, declared, option.host_ip, option.host_port, option.protocol)?;
    }
    Ok(forwards)
}

/// Whether a service manager listens at the host's port, and has passed the socket on: nothing is to be led past it.
fn is_activated(port: &Port) -> bool {
    port.socket_activated && std::env::var_os("LISTEN_FDS").is_some()
}

fn declared<'a>(mut apps: impl Iterator<Item = &'a App>, name: &str) -> Result<&'a Port> {
    let found = apps.find_map(|app| app.ports.iter().find(|port| port.name.as_str() == name));
    found.ok_or_else(|| Error::Refused(format!("port {name:?}: no app of the pod has a port of that name")))
}

fn add(
    forwards: &mut Vec<Forward>,
    declared: &Port,
    host_ip: Option<IpAddr>,
    host_port: u16,
    protocol: Option<Protocol>,
) -> Result<()> {
    let name = declared.name.as_str();
    let protocol = match protocol {
        Some(protocol) => protocol,
        None => Protocol::from_name(&declared.protocol).ok_or_else(|| {
            Error::Refused(format!(
                "port {name:?}: {:?} cannot be forwarded, only tcp and udp",
                declared.protocol
            ))
        })?,
    };
    for step in 0..declared.count.max(1) {
        let (Some(host_port), Some(pod_port)) =
            (host_port.checked_add(step), declared.port.checked_add(step))
        else {
            return refused(format!("port {name:?}: its {} ports reach beyond 65535", declared.count));
        };
        let same = |other: &&Forward| {
            let meets = other.host_ip.is_none() || host_ip.is_none() || other.host_ip == host_ip;
            other.protocol == protocol && other.host_port == host_port && meets
        };
        if forwards.iter().any(|other| same(&other)) {
            return refused(format!(
                "{} of the host is given to two ports of the pod",
                protocol.port(host_port)
            ));
        }
        forwards.push(Forward { protocol, host_ip, host_port, pod_port });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> PodManifest {
        let port = |name: &str, protocol: &str, port: u16, count: u16| {
            format!(
                r#"{{"name":"{name}","protocol":"{protocol}","port":{port},"count":{count},"socketActivated":false}}"#
            )
        };
        let ports = [
            port("http", "tcp", 80, 1),
            port("media", "udp", 5000, 3),
            port("last", "tcp", 65534, 2),
            port("odd", "sctp", 9, 1),
        ];
        let text = format!(
            r#"{{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{{"name":"a","image":{{"id":"sha512-ab"}},
            "app":{{"exec":["/a"],"user":"0","group":"0","ports":[{}]}}}}]}}"#,
            ports.join(",")
        );
        PodManifest::from_slice(text.as_bytes()).unwrap()
    }

    fn forwards(options: &[&str]) -> Result<Vec<String>> {
        let mut manifest = manifest();
        let options: Vec<PortOption> = options.iter().map(|option| option.parse().unwrap()).collect();
        expose(&mut manifest, &options)?;
        let manifest = PodManifest::from_slice(&manifest.to_vec().unwrap()).unwrap();
        let apps: Vec<&App> = manifest.apps.iter().filter_map(|app| app.app.as_ref()).collect();
        let show = |forward: &Forward| {
            let ip = forward.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
            format!("{ip} {} {} {}", forward.protocol.name(), forward.host_port, forward.pod_port)
        };
        Ok(resolve(&manifest, &apps)?.iter().map(show).collect())
    }

    #[test]
    fn ports_survive_the_manifest() {
        for (option, want) in [
            ("http:8080", &[" tcp 8080 80"][..]),
            ("http:127.0.0.1:8080/udp", &["127.0.0.1 udp 8080 80"]),
            ("http:[2001:db8::1]:8080", &["2001:db8::1 tcp 8080 80"]),
            ("http:[2001:db8::1]:8080/udp", &["2001:db8::1 udp 8080 80"]),
            ("http:[::1]:8080", &["::1 tcp 8080 80"]),
            ("media:6000", &[" udp 6000 5000", " udp 6001 5001", " udp 6002 5002"]),
        ] {
            assert_eq!(forwards(&[option]).unwrap(), want, "{option}");
        }
        assert_eq!(forwards(&["http:127.0.0.1:80", "http:127.0.0.2:80", "media:80"]).unwrap().len(), 5);
    }

    #[test]
    fn what_cannot_be_forwarded_is_refused() {
        for (options, want) in [
            (&["none:80"][..], "no app of the pod has a port of that name"),
            (&["odd:80"], "only tcp and udp"),
            (&["http:80", "http:80"], "given to two ports"),
            (&["http:80", "http:127.0.0.1:80"], "given to two ports"),
            (&["http:6001/udp", "media:6000"], "given to two ports"),
            (&["media:65534"], "beyond 65535"),
        ] {
            let error = forwards(options).unwrap_err().to_string();
            assert!(error.contains(want), "{options:?}: {error}");
        }
    }
}
