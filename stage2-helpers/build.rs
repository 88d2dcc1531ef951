//! Makes the default seccomp filter, so that starting an app costs one system call.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("CARGO_CFG_TARGET_ARCH")?;
    let program = rkt_seccomp::default_filter(&target)
        .ok_or_else(|| format!("no seccomp filter for the architecture {target}"))?;
    let mut source = String::from("[");
    for instruction in program {
        write!(source, "{instruction:#x},")?;
    }
    source.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("seccomp.rs"), source)?;
    Ok(())
}
