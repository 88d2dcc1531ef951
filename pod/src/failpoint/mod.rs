//! Steps at which a test can have the process killed, as a power cut or the kernel would: `RKT_FAILPOINT=<name>`; or held
//! up, so that another one can be killed: `RKT_FAILPOINT_STOP=<name>`. Only debug builds have them.

pub mod names;

/// The variables, in this order: at which step the process is killed, and at which it is stopped.
#[cfg(debug_assertions)]
pub const VARIABLES: [&str; 2] = ["RKT_FAILPOINT", "RKT_FAILPOINT_STOP"];

/// Whether there is a step of this name. Evaluated by the compiler.
pub const fn is_known(name: &str) -> bool {
    is_in(&names::STORE, name) || is_in(&names::NET, name) || is_in(&names::POD, name)
}

const fn is_in(names: &[&str], name: &str) -> bool {
    let mut index = 0;
    while index < names.len() {
        if equal(names[index].as_bytes(), name.as_bytes()) {
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

/// Ends or stops the process here and now where the environment says so.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    for (variable, signal) in VARIABLES.into_iter().zip([Signal::KILL, Signal::STOP]) {
        if std::env::var_os(variable).is_some_and(|wanted| wanted == name)
            && kill_process(getpid(), signal).is_err()
        {
            std::process::abort();
        }
    }
}

/// Marks a step.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{
        const _: () = assert!($crate::failpoint::is_known($name), "failpoint/names.rs lacks this one");
        #[cfg(debug_assertions)]
        $crate::failpoint::reach($name);
    }};
}
