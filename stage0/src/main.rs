//! `rkt`: everything before the pod exists, and everything around it.

mod commands;
mod config;
mod fetch;
mod files;
mod http;
mod output;
mod pod;
mod stage1;
mod store;
mod trust;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
