//! Writes docs/conformance.md, see `rkt_tests::conformance`.

use std::{fs, io, path::Path, process::ExitCode};

use rkt_tests::conformance::{PAGE, ROOT, page};

fn main() -> io::Result<ExitCode> {
    let (page, problems) = page()?;
    fs::write(Path::new(ROOT).join(PAGE), page)?;
    for problem in &problems {
        eprintln!("conformance: {problem}");
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
