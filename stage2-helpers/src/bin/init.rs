//! PID 1 of a pod. See `stage2::pod_init`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(stage2::pod_init::main())
}
