//! Memory that a program needed to start, and does not need to wait.

use std::{
    ffi::{c_int, c_void},
    ptr, slice,
};

/// Gives back code and constants, which are read again where they are needed, and what is free of the heap.
pub fn give_back() {
    // SAFETY: the function below takes what dl_iterate_phdr(3) gives it.
    unsafe { libc::dl_iterate_phdr(Some(give_back_object), ptr::null_mut()) };
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes a number, and any.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// For the first object, which is the program itself: ends the search.
unsafe extern "C" fn give_back_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut c_void,
) -> c_int {
    let page = rustix::param::page_size();
    // SAFETY: dl_iterate_phdr(3) passes a structure that is valid during the call, and with it as many program headers.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        if header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let (Ok(start), Ok(length)) =
            (usize::try_from(base + header.p_vaddr), usize::try_from(header.p_memsz))
        else {
            continue;
        };
        let (first, end) = (start.next_multiple_of(page), (start + length) / page * page);
        if first < end {
            // SAFETY: whole pages of a segment that nobody can write to: they are what the program's file has, and the
            // kernel takes them from there at the next access. A program that is executed cannot be written to.
            unsafe { libc::madvise(first as *mut c_void, end - first, libc::MADV_DONTNEED) };
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    static CONSTANT: [u8; 64 * 1024] = [7; 64 * 1024];

    #[test]
    fn what_was_given_back_is_there() {
        let text = "x".repeat(1 << 20);
        give_back();
        assert!(CONSTANT.iter().all(|byte| *byte == 7) && text.bytes().all(|byte| byte == b'x'));
        let again: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(again.concat().len(), 2890);
    }
}
