//! The three standard streams that an app is given.

use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use rkt_pod::{
    stage1::RunArgs,
    streams::{Mode, Streams},
};

use crate::{
    init,
    output::{Output, Stream},
    pod::PodApp,
    terminal::Terminal,
};

/// The streams of an app that is there from the beginning. With `--interactive` they are the user's, whatever the app's
/// own settings are.
pub(super) fn first(
    args: &RunArgs,
    output: &mut Output,
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
    own(output, index, app)
}

/// The streams as the app's own settings have them.
pub(super) fn own(output: &mut Output, index: usize, app: &PodApp) -> Result<[OwnedFd; 3]> {
    let streams = Streams::of(|name| app.runtime.annotations.get(name))
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("app {:?}", app.name()))?;
    let mut stream = |mode, stream| match mode {
        Mode::Null => init::open_null(),
        Mode::Log => output.add(index, app.name(), stream),
    };
    Ok([init::open_null()?, stream(streams.stdout, Stream::Out)?, stream(streams.stderr, Stream::Err)?])
}
