//! Steps at which a test can have the process killed, as a power cut or the kernel would: `RKT_FAILPOINT=<name>`. Only
//! debug builds have them.

mod names;

/// Whether there is a step of this name. Evaluated by the compiler.
pub(crate) const fn is_known(name: &str) -> bool {
    let mut index = 0;
    while index < names::NAMES.len() {
        if equal(names::NAMES[index].as_bytes(), name.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

/// Ends the process here and now where the environment says so.
#[cfg(debug_assertions)]
pub(crate) fn reach(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    if std::env::var_os("RKT_FAILPOINT").is_some_and(|wanted| wanted == name)
        && kill_process(getpid(), Signal::KILL).is_err()
    {
        std::process::abort();
    }
}

/// Marks a step.
macro_rules! failpoint {
    ($name:literal) => {{
        const _: () = assert!($crate::failpoint::is_known($name), "failpoint/names.rs lacks this one");
        #[cfg(debug_assertions)]
        $crate::failpoint::reach($name);
    }};
}

pub(crate) use failpoint;
