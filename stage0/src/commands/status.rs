//! `rkt status`

use std::{
    fmt::Write as _,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rkt_pod::{Error, Lock, PodDir, State, layout, lock::Kind, lookup, names};

use super::{Format, boolean, global::Global, uuids::Uuids};
use crate::{
    output,
    pod::{describe::Description, duration},
};

/// How often we look again, where there is nothing to wait on.
const INTERVAL: Duration = Duration::from_millis(50);

/// Check the status of a rkt pod.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait until the pod has exited, or for so long
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_value = "false", default_missing_value = "true",
        require_equals = true, value_parser = wait)]
    wait: Wait,
    /// Wait until the pod's apps are started, or for so long
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_value = "false", default_missing_value = "true",
        require_equals = true, value_parser = wait)]
    wait_ready: Wait,
    /// Choose the output format
    #[arg(long)]
    format: Option<Format>,
    #[command(flatten)]
    pod: Uuids,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    Forever,
    For(Duration),
}

fn wait(text: &str) -> Result<Wait, String> {
    match text {
        "" => Ok(Wait::Forever),
        _ if boolean(text).is_ok_and(|wait| wait) => Ok(Wait::Forever),
        _ if boolean(text).is_ok() => Ok(Wait::No),
        _ if text.starts_with('-') => duration(&text[1..]).map(|_| Wait::Forever),
        _ => Ok(match duration(text)? {
            Duration::ZERO => Wait::No,
            length => Wait::For(length),
        }),
    }
}

/// Waits where asked to, and prints.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    let mut pod = args.pod.one(global)?;
    pod = wait_until(global, pod, args.wait_ready, "ready", |pod| {
        let runs =
            pod.runtime_state().is_ok_and(|state| !state.notifies || pod.path().join(layout::READY).exists());
        Ok(runs || pod.state()?.is_finished())
    })?;
    pod = wait_until(global, pod, args.wait, "exited", |pod| {
        let mut state = pod.state()?;
        if args.wait == Wait::Forever && matches!(state, State::Running | State::Preparing) {
            // Whoever works on the pod holds its lock: the kernel tells us when it is free.
            drop(Lock::wait(&pod.path(), Kind::Shared));
            state = pod.state()?;
        }
        Ok(state.is_finished())
    })?;
    let mut problems = Vec::new();
    let description = Description::new(pod, &mut problems)?;
    let text = match args.format {
        Some(format) => output::json(&description.object(), format == Format::JsonPretty),
        None => text(&description).into_bytes(),
    };
    output::print(&text)?;
    for problem in problems {
        output::note("status", &problem);
    }
    Ok(0)
}

fn wait_until(
    global: &Global,
    mut pod: PodDir,
    wait: Wait,
    what: &str,
    done: impl Fn(&PodDir) -> rkt_pod::Result<bool>,
) -> Result<PodDir> {
    let deadline = match wait {
        Wait::No => return Ok(pod),
        Wait::Forever => None,
        Wait::For(length) => Some(Instant::now() + length),
    };
    loop {
        match done(&pod) {
            Ok(true) => return Ok(pod),
            Ok(false) => {}
            // It moved on: look where it is now.
            Err(Error::Gone(uuid)) => match lookup::by_uuid(&global.dir, &uuid) {
                Some(moved) => pod = moved,
                None => bail!("pod {uuid:?} was removed"),
            },
            Err(error) => return Err(error.into()),
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            bail!("timed out: pod {:?} is not {what} yet", pod.uuid());
        }
        sleep(INTERVAL);
    }
}

fn text(description: &Description) -> String {
    let Description { pod, state, .. } = description;
    let mut text = format!("state={state}\n");
    if let Some(name) = names::of(pod) {
        text.push_str(&format!("pod-name={name}\n"));
    }
    let mut line = |name: &str, value: &str| {
        if writeln!(text, "{name}={value}").is_err() {
            // A string takes whatever is written to it.
        }
    };
    for (name, time) in [("created", pod.created()), ("started", pod.started())] {
        if let Some(time) = time {
            line(name, &output::full(time));
        }
    }
    let ran = *state == State::Running || state.is_exited() || *state == State::Deleting;
    if *state == State::Running || state.is_exited() {
        line("networks", &description.networks_line());
    }
    if !ran {
        return text;
    }
    if let Some(pid) = pod.pid() {
        line("pid", &pid.to_string());
    }
    line("exited", if matches!(state, State::Exited | State::ExitedGarbage) { "true" } else { "false" });
    if *state != State::Running {
        for app in description.apps() {
            if let Some(status) = pod.exit_status(app) {
                line(&format!("app-{app}"), &status.to_string());
            }
            if pod.was_out_of_memory(app) {
                line(&format!("app-{app}-oom-killed"), "true");
            }
        }
    }
    if let Some(runtime) = description.runtime() {
        line("supervisor", runtime.supervisor.as_str());
        for (name, value) in [
            ("supervisor-reason", &runtime.supervisor_reason),
            ("machine", &runtime.machine),
            ("machine-reason", &runtime.machine_reason),
        ] {
            if let Some(value) = value {
                line(name, value);
            }
        }
        for network in description.networks() {
            let host = network.host_if_name.map(|name| format!(" ({name} on the host)")).unwrap_or_default();
            line(&format!("network-{}-interface", network.net_name), &format!("{}{host}", network.if_name));
        }
        for reason in &runtime.not_enforced {
            line("not-enforced", reason);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_a_word_or_a_duration() {
        for (text, want) in [
            ("true", Wait::Forever),
            ("", Wait::Forever),
            ("-1s", Wait::Forever),
            ("1", Wait::Forever),
            ("f", Wait::No),
            ("false", Wait::No),
            ("0s", Wait::No),
            ("0", Wait::No),
            ("5s", Wait::For(Duration::from_secs(5))),
        ] {
            assert_eq!(wait(text).unwrap(), want, "{text}");
        }
        assert!(wait("soon").is_err());
    }
}
