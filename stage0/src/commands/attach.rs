//! `rkt attach`

use std::{thread::sleep, time::Duration};

use anyhow::{Context, Result, bail};
use rkt_pod::{PodDir, State, attach::End, layout, stage1::AttachArgs, streams::Streams};
use serde_json::json;

use super::{global::Global, need_root, uuids::Uuids};
use crate::{output, pod::describe::Description, stage1};

/// What detaches where nothing else is chosen, as with other engines.
const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// How often we look for a pod that is about to start.
const INTERVAL: Duration = Duration::from_millis(100);

/// Connect to the standard streams of an app that runs.
///
/// The app must have been started with --stdin, --stdout or --stderr set to stream or tty. Several may be attached to an app
/// at once: each gets all that it writes from then on, and what they type goes to it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The app, where the pod has several
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// To what: auto for all that the app has, list to show them, or a list of stdin, stdout, stderr, tty, tty-in, tty-out
    #[arg(long, value_name = "MODE", default_value = "auto")]
    mode: String,
    /// Keys that detach, typed on a terminal: letters, and ctrl-LETTER; empty for none
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS, value_parser = keys)]
    detach_keys: Keys,
    /// End the app's standard input when this one ends
    #[arg(long)]
    close_stdin: bool,
    #[command(flatten)]
    pod: Uuids,
}

/// Bytes of a terminal, one a key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keys(Vec<u8>);

/// What the user wants to be attached to.
#[derive(Debug, PartialEq, Eq)]
enum Mode {
    Auto,
    List,
    Ends(Vec<End>),
}

/// Becomes what connects the streams. Returns only on failure, or with the list.
pub(crate) fn run(global: &Global, args: &Args) -> Result<u8> {
    need_root()?;
    let mode = mode(&args.mode)?;
    let pod = args.pod.one(global)?;
    let mut problems = Vec::new();
    let description = Description::new(pod, &mut problems)?;
    let app = description.choose_app(args.app.as_deref(), problems)?;
    wait_for_start(&description.pod)?;
    let has = ends(&description, &app)?;
    if has.is_empty() {
        bail!(
            "app {app:?} has no stream to attach to: it was started without --stdin, --stdout or --stderr set to stream or tty"
        );
    }
    let ends = match mode {
        Mode::List => return list(&description, &has),
        Mode::Auto => has,
        Mode::Ends(ends) => {
            if let Some(missing) = ends.iter().find(|end| !has.contains(end)) {
                let names: Vec<&str> = has.iter().map(|end| end.name()).collect();
                bail!("app {app:?} has no {} to attach to (it has: {})", missing.name(), names.join(", "));
            }
            ends
        }
    };
    let words =
        AttachArgs { app, ends, close_stdin: args.close_stdin, detach_keys: args.detach_keys.0.clone() };
    Err(stage1::attach(&stage1::program()?, &description.pod, &words))
}

/// Waits until the streams of the pod's apps are made, where it is about to start.
fn wait_for_start(pod: &PodDir) -> Result<()> {
    loop {
        // Asked before looking: what runs and has noted nothing by then will.
        let state = pod.state()?;
        if state != State::Running {
            bail!("pod {:?} is not running (it is {state})", pod.uuid());
        }
        if pod.runtime_state().is_ok() {
            return Ok(());
        }
        sleep(INTERVAL);
    }
}

/// What the app has to attach to.
fn ends(description: &Description, name: &str) -> Result<Vec<End>> {
    let app =
        description.manifest.iter().flat_map(|manifest| &manifest.apps).find(|app| app.name.as_str() == name);
    let app = app.with_context(|| format!("the pod has no app {name:?}"))?;
    let streams = Streams::of(|annotation| app.annotations.get(annotation)).map_err(anyhow::Error::msg)?;
    Ok(End::of(streams))
}

/// Prints them as rkt 1.30 does.
fn list(description: &Description, ends: &[End]) -> Result<u8> {
    let address = description.pod.path().join(layout::ATTACH);
    let targets: Vec<_> = ends
        .iter()
        .map(|end| json!({"name": end.name(), "domain": "unix", "address": address.to_string_lossy()}))
        .collect();
    let mut text = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, indented);
    serde::Serialize::serialize(&json!({"version": 1, "targets": targets}), &mut serializer)?;
    text.push(b'\n');
    output::print(&text)?;
    Ok(0)
}

fn mode(text: &str) -> Result<Mode> {
    match text {
        "" | "auto" => return Ok(Mode::Auto),
        "list" => return Ok(Mode::List),
        _ => {}
    }
    let mut ends = Vec::new();
    for word in text.split(',') {
        match (word, End::from_name(word)) {
            ("tty", _) => ends.extend([End::TtyIn, End::TtyOut]),
            (_, Some(end)) => ends.push(end),
            (_, None) => bail!(
                "--mode={text}: {word:?} is none of auto, list, stdin, stdout, stderr, tty, tty-in, tty-out"
            ),
        }
    }
    ends.sort();
    ends.dedup();
    if ends.iter().any(|end| end.is_terminal()) && !ends.iter().all(|end| end.is_terminal()) {
        bail!("--mode={text}: incompatible endpoints: a terminal and single streams");
    }
    Ok(Mode::Ends(ends))
}

fn keys(text: &str) -> Result<Keys, String> {
    let key = |word: &str| match (word.strip_prefix("ctrl-").map(str::as_bytes), word.as_bytes()) {
        // What a terminal sends: the character without its upper bits.
        (Some([letter @ (b'a'..=b'z' | b'@' | b'['..=b'_')]), _) => Ok(letter & 0x1f),
        (None, [byte]) => Ok(*byte),
        _ => Err(format!("{word:?} is no key: give a character, or ctrl- and a letter or one of @[\\]^_")),
    };
    text.split_terminator(',').map(key).collect::<Result<_, _>>().map(Keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_the_reference() {
        assert_eq!(mode("").unwrap(), Mode::Auto);
        assert_eq!(mode("list").unwrap(), Mode::List);
        assert_eq!(mode("stderr,stdin").unwrap(), Mode::Ends(vec![End::Stdin, End::Stderr]));
        assert_eq!(mode("tty").unwrap(), Mode::Ends(vec![End::TtyIn, End::TtyOut]));
        assert_eq!(mode("tty-out").unwrap(), Mode::Ends(vec![End::TtyOut]));
        assert!(mode("tty,stdout").unwrap_err().to_string().contains("incompatible endpoints"));
        for wrong in ["stdio", "stdin,", "auto,stdin"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_bytes() {
        assert_eq!(keys(DETACH_KEYS), Ok(Keys(vec![16, 17])));
        assert_eq!(keys("ctrl-],q"), Ok(Keys(vec![29, b'q'])));
        assert_eq!(keys(""), Ok(Keys(Vec::new())));
        for wrong in ["ctrl-", "ctrl-pq", "alt-x", "ctrl-1"] {
            assert!(keys(wrong).is_err(), "{wrong}");
        }
    }
}
