//! `rkt`: everything before the pod exists, and everything around it.

mod commands;
mod config;
mod files;
mod output;
mod pod;
mod stage1;
mod store;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
