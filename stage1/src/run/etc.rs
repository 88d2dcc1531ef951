//! The files of `/etc` by which a program knows where it is, and how names are found.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use anyhow::{Context, Result, bail};
use rkt_net::names::{Hosts, Mode, Modes, neighbours};
use rkt_pod::{layout, stage1::RunArgs};
use stage2::spec::EtcFile;

use crate::pod::Pod;

/// More than a file of names has. What app-exec puts them on holds not much more.
const LONGEST: u64 = 256 * 1024;

/// The files of every app. `resolv`: what the pod's networks say of DNS, as a file. `descriptor`: that of the file that the
/// names of other pods come in, where the pod has one.
pub(super) fn files(
    pod: &Pod,
    args: &RunArgs,
    resolv: Option<&str>,
    descriptor: usize,
) -> Result<Vec<EtcFile>> {
    let modes = modes(args)?;
    let hostname = hostname(pod, args);
    let mut files = vec![hosts(modes.hosts, &hostname)?];
    if Path::new(neighbours::FILE).exists() {
        files[0].source = Some(descriptor);
        files[0].content.clear();
    }
    files.extend(resolv_conf(modes.resolv, resolv)?);
    files.push(file("hostname", format!("{hostname}\n"), false));
    files.push(file("machine-id", format!("{}\n", pod.uuid.replace('-', "")), false));
    Ok(files)
}

/// What apps have as `/etc/hosts` before names of other pods come in; `None` where none shall.
pub(super) fn shared_hosts(pod: &Pod, args: &RunArgs) -> Result<Option<String>> {
    let modes = modes(args)?;
    if modes.hosts == Mode::Host {
        return Ok(None);
    }
    hosts(modes.hosts, &hostname(pod, args)).map(|file| Some(file.content))
}

fn modes(args: &RunArgs) -> Result<Modes> {
    args.dns_conf_mode.parse().map_err(|reason| anyhow::anyhow!("--dns-conf-mode: {reason}"))
}

fn hostname(pod: &Pod, args: &RunArgs) -> String {
    args.hostname.clone().unwrap_or_else(|| format!("rkt-{}", pod.uuid))
}

fn hosts(mode: Mode, hostname: &str) -> Result<EtcFile> {
    Ok(match mode {
        Mode::Host => file("hosts", read("/etc/hosts")?, false),
        Mode::Stage0 => {
            let text =
                fs::read_to_string(layout::HOSTS).with_context(|| format!("read {}", layout::HOSTS))?;
            file("hosts", text, false)
        }
        Mode::Default | Mode::None => file("hosts", Hosts::default().file(hostname), true),
    })
}

fn resolv_conf(mode: Mode, networks: Option<&str>) -> Result<Option<EtcFile>> {
    let text = match mode {
        Mode::Host => Some(read("/etc/resolv.conf")?),
        Mode::Stage0 => {
            Some(fs::read_to_string(layout::RESOLV).with_context(|| format!("read {}", layout::RESOLV))?)
        }
        Mode::None => None,
        Mode::Default => networks.map(str::to_owned),
    };
    Ok(text.map(|text| file("resolv.conf", text, false)))
}

/// Reads a file of the host.
fn read(path: &str) -> Result<String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .with_context(|| format!("read the host's {path}"))?;
    if text.len() as u64 > LONGEST {
        bail!("the host's {path} has more than {LONGEST} bytes");
    }
    Ok(text)
}

fn file(name: &str, content: String, only_if_missing: bool) -> EtcFile {
    EtcFile { name: name.to_owned(), content, source: None, only_if_missing }
}
