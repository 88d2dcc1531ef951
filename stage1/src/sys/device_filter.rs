//! What the processes of a cgroup may do with devices: a program of the kernel's that it asks at each `open` and `mknod`.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::{self, Errno};

/// `linux/bpf.h`.
const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
/// Programs of cgroups above and this one are asked all.
const ALLOW_MULTI: u32 = 2;

/// A device that may be used, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    /// A block device rather than a character device.
    pub(crate) block: bool,
    /// Its driver's number.
    pub(crate) major: u32,
    /// Its number with the driver; every one where absent.
    pub(crate) minor: Option<u32>,
    /// What of it is allowed: [`MAKE`], [`READ`], [`WRITE`].
    pub(crate) access: i32,
}

/// `mknod`.
pub(crate) const MAKE: i32 = 1;
/// Opening for reading.
pub(crate) const READ: i32 = 2;
/// Opening for writing.
pub(crate) const WRITE: i32 = 4;

/// An instruction as the kernel takes it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the lower half, source in the upper.
    registers: u8,
    offset: i16,
    value: i32,
}

const fn instruction(code: u8, registers: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers, offset, value }
}

const SET: u8 = 0xb7;
const EXIT: u8 = 0x95;

/// Registers: 1 is the question, 2 the access wanted, 3 the type of device, 4 and 5 its numbers.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    const LOAD: u8 = 0x61;
    const COPY: u8 = 0xbf;
    const AND: u8 = 0x57;
    const SHIFT_RIGHT: u8 = 0x77;
    const UNLESS_EQUAL: u8 = 0x55;
    let mut code = vec![
        instruction(LOAD, 0x12, 0, 0),
        instruction(COPY, 0x23, 0, 0),
        instruction(AND, 0x03, 0, 0xffff),
        instruction(SHIFT_RIGHT, 0x02, 0, 16),
        instruction(LOAD, 0x14, 4, 0),
        instruction(LOAD, 0x15, 8, 0),
    ];
    for rule in rules {
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let mut checks = vec![(0x03, if rule.block { 1 } else { 2 }), (0x04, number(rule.major))];
        checks.extend(rule.minor.map(|minor| (0x05, number(minor))));
        // What of the wanted is not allowed must be nothing.
        let tail = [
            instruction(COPY, 0x26, 0, 0),
            instruction(AND, 0x06, 0, !rule.access),
            instruction(UNLESS_EQUAL, 0x06, 2, 0),
            instruction(SET, 0x00, 0, 1),
            instruction(EXIT, 0, 0, 0),
        ];
        let length = checks.len() + tail.len();
        for (index, (register, value)) in checks.into_iter().enumerate() {
            let rest = i16::try_from(length - index - 1).unwrap_or(i16::MAX);
            code.push(instruction(UNLESS_EQUAL, register, rest, value));
        }
        code.extend(tail);
    }
    code.extend([instruction(SET, 0x00, 0, 0), instruction(EXIT, 0, 0, 0)]);
    code
}

/// Has the processes of a cgroup use no devices but those of `rules`, in addition to what restricts it by now. It holds as
/// long as the cgroup is there.
///
/// # Errors
/// What the kernel says: `EINVAL` where it was built without, `EPERM` where a cgroup above does not allow more programs.
pub(crate) fn restrict_devices(cgroup: impl AsFd, rules: &[DeviceRule]) -> io::Result<()> {
    attach(cgroup, &program(rules))
}

/// Has the processes of a cgroup use all devices, which is what they may; where this works, restricting them does.
///
/// # Errors
/// As [`restrict_devices`].
pub(crate) fn allow_devices(cgroup: impl AsFd) -> io::Result<()> {
    attach(cgroup, &[instruction(SET, 0x00, 0, 1), instruction(EXIT, 0, 0, 0)])
}

fn attach(cgroup: impl AsFd, code: &[Instruction]) -> io::Result<()> {
    /// What of `union bpf_attr` loading takes.
    #[repr(C)]
    struct Load {
        kind: u32,
        length: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    /// What of it attaching takes.
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let load = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        length: u32::try_from(code.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `load` and the instructions and text that it points to live until the call is over; `length` instructions
    // are there.
    let fd = unsafe { bpf(PROG_LOAD, &load) }?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let descriptor = |fd: i32| u32::try_from(fd).map_err(|_| Errno::BADF);
    let attach = Attach {
        target: descriptor(cgroup.as_fd().as_raw_fd())?,
        program: descriptor(program.as_raw_fd())?,
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` has no pointers and lives until the call is over.
    unsafe { bpf(PROG_ATTACH, &attach) }.map(drop)
}

/// # Safety
/// `attributes` must be what `command` takes, and what it points to must be valid.
unsafe fn bpf<T>(command: u32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the caller's promise; the size is that of the structure.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    i32::try_from(result).map_err(|_| Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_does_not_fit_leads_to_the_next_one() {
        let rules = [
            DeviceRule { block: false, major: 1, minor: Some(11), access: READ },
            DeviceRule { block: true, major: 7, minor: None, access: READ | WRITE },
        ];
        let code = program(&rules);
        // Each jump ends at the start of another rule or at the refusal.
        let starts = [14, 21];
        for (index, step) in code.iter().enumerate().filter(|(_, step)| step.code == 0x55) {
            let target = index + 1 + usize::try_from(step.offset).unwrap();
            assert!(starts.contains(&target), "{index}: {target}");
        }
        assert_eq!(code.len(), 23);
        assert_eq!(code[21].value, 0);
    }
}
