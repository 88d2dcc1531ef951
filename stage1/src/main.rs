//! The executor that stage0 execs: makes a pod out of a prepared directory and supervises it.
//!
//! One program with several entry points, chosen by `argv[0]`: `run` makes and supervises the pod, `enter`, `attach`,
//! `stop` and `gc` act on the pod of another `run`. All are called with the pod's directory as their working directory.

mod attach;
mod cgroup;
mod enter;
mod entry;
mod flow;
mod init;
mod journal;
mod launcher;
mod listen;
mod mounts;
mod network;
mod output;
mod overlay;
mod pod;
mod resources;
mod run;
mod stop_signal;
mod sys;
mod terminal;
mod users;
mod wrap;

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let argv0 = std::env::args_os().next().unwrap_or_default();
    let entry = Path::new(&argv0).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let result = match entry.as_str() {
        "run" => run::main(),
        "enter" => enter::main(),
        "attach" => attach::client::main(),
        "stop" => entry::stop(),
        "gc" => entry::gc(),
        other => Err(anyhow::anyhow!("{other:?} is no entry point: this program is started by rkt")),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            output::say(&format!("{error:#}"));
            ExitCode::from(rkt_pod::stage1::EXIT_FAILURE)
        }
    }
}
