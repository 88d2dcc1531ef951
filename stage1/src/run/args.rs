//! The command line of `run`: [`RunArgs`], read.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};
use rkt_pod::stage1::{RunArgs, Supervisor};

/// Reads this process's arguments.
pub(super) fn parse() -> Result<RunArgs> {
    parse_from(std::env::args_os().skip(1))
}

/// stage0 writes these arguments, so there is one spelling: `--name` or `--name=value`, and the UUID last.
fn parse_from(arguments: impl Iterator<Item = OsString>) -> Result<RunArgs> {
    let mut args = RunArgs {
        net: "none".to_owned(),
        dns_conf_mode: "resolv=default,hosts=default".to_owned(),
        ..RunArgs::default()
    };
    for argument in arguments {
        let Some(text) = argument.to_str() else {
            match local_config(&argument) {
                Some(directory) => args.local_config = Some(directory),
                None => bail!("argument {argument:?} is not UTF-8"),
            }
            continue;
        };
        match text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value))) {
            ("--debug", None) => args.debug = true,
            ("--interactive", None) => args.interactive = true,
            ("--disable-capabilities-restriction", None) => args.insecure_capabilities = true,
            ("--disable-paths", None) => args.insecure_paths = true,
            ("--strict-isolators", None) => args.strict_isolators = true,
            ("--mutable", None) => args.mutable = true,
            ("--journal", Some("pod")) => args.own_journal = true,
            ("--disable-seccomp", None) => args.insecure_seccomp = true,
            ("--net", Some(value)) => args.net = value.to_owned(),
            ("--private-users", Some(value)) => {
                let range = value.parse().map_err(|reason| anyhow::anyhow!("--private-users: {reason}"))?;
                args.private_users = Some(range);
            }
            ("--mds-token", Some(value)) => args.metadata_token = Some(value.to_owned()),
            ("--local-config", Some(value)) => args.local_config = Some(value.into()),
            ("--hostname", Some(value)) => args.hostname = Some(value.to_owned()),
            ("--dns-conf-mode", Some(value)) => args.dns_conf_mode = value.to_owned(),
            ("--ipc", Some(value)) => args.ipc = Some(value.to_owned()),
            ("--supervisor", Some(value)) => {
                args.supervisor = Supervisor::from_word(value)
                    .with_context(|| format!("--supervisor={value}: not one of its words"))?;
            }
            (uuid, None) if rkt_pod::lookup::is_uuid(uuid) && args.uuid.is_empty() => {
                args.uuid = uuid.to_owned();
            }
            _ => bail!("unexpected argument {text:?}"),
        }
    }
    if args.uuid.is_empty() {
        bail!("the pod's UUID is missing");
    }
    Ok(args)
}

fn local_config(argument: &OsString) -> Option<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    argument.as_bytes().strip_prefix(b"--local-config=").map(|bytes| OsString::from_vec(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stage0_writes_is_read_back() {
        let args = RunArgs {
            debug: true,
            net: "host".to_owned(),
            interactive: true,
            private_users: Some("524288:65536".parse().unwrap()),
            metadata_token: Some("0123456789abcdef".to_owned()),
            local_config: Some("/etc/rkt".into()),
            hostname: Some("box".to_owned()),
            insecure_capabilities: true,
            insecure_paths: true,
            insecure_seccomp: true,
            strict_isolators: true,
            dns_conf_mode: "resolv=host,hosts=default".to_owned(),
            own_journal: true,
            mutable: true,
            ipc: Some("parent".to_owned()),
            supervisor: Supervisor::Direct,
            uuid: "0a1b2c3d-0000-4000-8000-00000000000f".to_owned(),
        };
        let read = parse_from(args.to_args().into_iter()).unwrap();
        assert_eq!(read.to_args(), args.to_args());
    }

    #[test]
    fn anything_else_is_refused() {
        let uuid = "0a1b2c3d-0000-4000-8000-00000000000f";
        for wrong in [&["--what", uuid][..], &[], &["not-a-uuid"], &["--supervisor=x", uuid], &[uuid, uuid]] {
            assert!(parse_from(wrong.iter().map(OsString::from)).is_err(), "{wrong:?}");
        }
    }
}
