//! Compiles the default seccomp filter, so that starting an app costs one system call and no library.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    io::{Read, Seek},
    path::Path,
};

use libseccomp::{ScmpAction, ScmpArch, ScmpFilterContext, ScmpSyscall};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=seccomp");
    println!("cargo::rerun-if-changed=build.rs");
    let mut filter = ScmpFilterContext::new(ScmpAction::Errno(libc_errno::ENOSYS))?;
    filter.remove_arch(ScmpArch::Native)?;
    for arch in architectures(&env::var("CARGO_CFG_TARGET_ARCH")?)? {
        filter.add_arch(arch)?;
    }
    // Calls of other architectures (x32 among them) find no way past the filter.
    filter.set_act_badarch(ScmpAction::Errno(libc_errno::ENOSYS))?;
    filter.set_ctl_optimize(2)?;
    // The filter is loaded by our own call; it must not imply no-new-privileges.
    filter.set_ctl_nnp(false)?;
    add(&mut filter, "seccomp/allow.txt", ScmpAction::Allow)?;
    add(&mut filter, "seccomp/deny.txt", ScmpAction::Errno(libc_errno::EPERM))?;
    let mut program = tempfile::tempfile()?;
    filter.export_bpf(&program)?;
    program.rewind()?;
    let mut bytes = Vec::new();
    program.read_to_end(&mut bytes)?;
    write_source(&bytes)
}

/// The two errors that the filter answers with; the same numbers on all architectures of Linux that we build for.
mod libc_errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ENOSYS: i32 = 38;
}

fn architectures(target: &str) -> Result<Vec<ScmpArch>, Box<dyn Error>> {
    match target {
        "x86_64" => Ok(vec![ScmpArch::X8664, ScmpArch::X86]),
        "aarch64" => Ok(vec![ScmpArch::Aarch64, ScmpArch::Arm]),
        other => Err(format!("no seccomp filter for the architecture {other}").into()),
    }
}

fn add(filter: &mut ScmpFilterContext, list: &str, action: ScmpAction) -> Result<(), Box<dyn Error>> {
    for name in fs::read_to_string(list)?.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // A call that is newer than the library of the machine that builds stays out: it fails with ENOSYS.
        if let Ok(call) = ScmpSyscall::from_name(name) {
            filter.add_rule(action, call)?;
        }
    }
    Ok(())
}

/// Each instruction of the program has eight bytes.
fn write_source(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut source = String::from("[");
    for instruction in bytes.chunks_exact(8) {
        write!(source, "{:#x},", u64::from_ne_bytes(instruction.try_into()?))?;
    }
    source.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("seccomp.rs"), source)?;
    Ok(())
}
