//! The command line of `enter`: [`rkt_pod::stage1::enter_args`], read.

use std::ffi::OsString;

use anyhow::{Context, Result, bail};
use rustix::process::Pid;

/// What is to be executed, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// PID of the pod's init.
    pub(super) pid: Pid,
    /// The app's name.
    pub(super) app: String,
    /// The command, at least its name.
    pub(super) command: Vec<String>,
}

/// Reads the arguments, `argv[0]` excluded.
pub(super) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Arguments> {
    let (mut pid, mut app) = (None, None);
    let mut rest = arguments;
    loop {
        let argument = rest.next().context("the command is missing")?;
        let text = argument.to_str().with_context(|| format!("unexpected argument {argument:?}"))?;
        match text.split_once('=') {
            Some(("--pid", value)) => {
                let number = value.parse().ok().and_then(Pid::from_raw);
                pid = Some(number.with_context(|| format!("--pid={value}: not a PID"))?);
            }
            Some(("--appname", value)) if !value.is_empty() && !value.contains(['/', '.']) => {
                app = Some(value.to_owned());
            }
            None if text == "--" => break,
            _ => bail!("unexpected argument {text:?}"),
        }
    }
    let command = rest
        .map(|word| {
            word.into_string().map_err(|word| anyhow::anyhow!("{word:?}: words of a command must be UTF-8"))
        })
        .collect::<Result<Vec<_>>>()?;
    if command.is_empty() {
        bail!("the command is missing");
    }
    Ok(Arguments {
        pid: pid.context("--pid is missing")?,
        app: app.context("--appname is missing")?,
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stage0_writes_is_read_back() {
        let command = ["ls", "--", "--pid=1"].map(OsString::from);
        let written = rkt_pod::stage1::enter_args(4711, "web", &command);
        let read = parse(written.into_iter()).unwrap();
        assert_eq!((read.pid.as_raw_nonzero().get(), read.app.as_str()), (4711, "web"));
        assert_eq!(read.command, ["ls", "--", "--pid=1"]);
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            &["--pid=1", "--appname=a", "--"][..],
            &["--pid=1", "--", "ls"],
            &["--pid=x", "--appname=a", "--", "ls"],
            &["--pid=1", "--appname=../a", "--", "ls"],
            &["--pid=1", "--appname=a", "ls"],
            &[],
        ] {
            assert!(parse(wrong.iter().map(OsString::from)).is_err(), "{wrong:?}");
        }
    }
}
