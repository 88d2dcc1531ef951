//! `rkt`: everything before the pod exists, and everything around it.

mod commands;
mod config;
mod fetch;
mod http;
mod keys;
mod oci;
mod output;
mod pod;
mod stage1;
mod store;
mod trust;

use std::process::ExitCode;

use rkt_pod::files;

fn main() -> ExitCode {
    commands::main()
}
