//! The three standard streams that an app is given.

use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rkt_pod::{stage1::RunArgs, streams::Streams};

use crate::{
    attach::{self, Attach},
    output::{Output, Stream},
    pod::PodApp,
    terminal::Terminal,
};

/// The streams of an app that is there from the beginning. With `--interactive` they are the user's, whatever the app's
/// own settings are.
pub(super) fn first(
    args: &RunArgs,
    (output, attach): (&mut Output, &mut Attach),
    terminal: Option<&Terminal>,
    index: usize,
    app: &PodApp,
) -> Result<[OwnedFd; 3]> {
    if let Some(terminal) = terminal {
        return terminal.app_side();
    }
    if args.interactive {
        // No terminal, but somebody who speaks to the app through a pipe or file.
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().context("duplicate a standard stream");
        return Ok([
            own(rustix::stdio::stdin())?,
            own(rustix::stdio::stdout())?,
            own(rustix::stdio::stderr())?,
        ]);
    }
    own(output, attach, index, app)
}

/// The streams as the app's own settings have them.
pub(super) fn own(
    output: &mut Output,
    attach: &mut Attach,
    index: usize,
    app: &PodApp,
) -> Result<[OwnedFd; 3]> {
    let name = app.name();
    let streams = of(app)?;
    let [stdin, stdout, stderr] = attach.add(index, name, streams)?;
    let mut log = |stream| output.add(index, name, stream);
    Ok([
        attach::side(streams.stdin, stdin, || log(Stream::Out))?,
        attach::side(streams.stdout, stdout, || log(Stream::Out))?,
        attach::side(streams.stderr, stderr, || log(Stream::Err))?,
    ])
}

/// What the app's own settings are.
pub(super) fn of(app: &PodApp) -> Result<Streams> {
    Streams::of(|name| app.runtime.annotations.get(name))
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("app {:?}", app.name()))
}
