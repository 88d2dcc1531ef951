//! Builds the sandbox of one app, then becomes the app. See `stage2::app`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(stage2::app::main())
}
