//! System calls.
#![allow(unsafe_code)]

/// What a call has returned, or its error's number.
pub(crate) type Called = Result<i64, i32>;

/// Makes a system call.
pub(crate) fn call(number: i64, arguments: &[usize]) -> Called {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: what callers point to are C strings, and structures that outlive the call and that it does not outgrow.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

/// The address of a C string, as an argument.
pub(crate) fn text(text: &'static std::ffi::CStr) -> usize {
    text.as_ptr() as usize
}

/// Prints what came of an attempt.
pub(crate) fn say(what: &str, called: Called) {
    match called {
        Ok(_) => println!("{what}: OK"),
        Err(errno) => println!("{what}: errno {errno}"),
    }
}
