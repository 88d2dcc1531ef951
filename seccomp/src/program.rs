//! Filters as programs of the kernel's classic BPF (seccomp(2), linux/filter.h).
//!
//! A program finds the architecture, then the call's number among the ranges that end alike, by bisection: whatever
//! the set, a call costs about ten instructions, and the program is made in a fraction of a millisecond.

use std::collections::HashMap;

use super::calls::Architecture;

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The lower halves of the first and the second argument, on machines whose lower bytes come first. The kernel does not look at the rest
/// of an ioctl's request either.
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERROR: u32 = 0x0005_0000;
const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// Requests of ioctl(2) that put words into the mouth of whoever reads the terminal: `TIOCSTI`, `TIOCLINUX`.
const TERMINAL_INPUT: [u32; 2] = [0x5412, 0x541c];

/// The flags of clone(2) that make namespaces.
const NAMESPACES: u32 = 0x7e02_0000;

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is made.
    Allow,
    /// It returns this error.
    Error(u16),
    /// It kills the process by SIGSYS.
    Kill,
    /// It is made but for some requests.
    Ioctl,
    /// It is made but for flags that make namespaces.
    Clone,
}

impl End {
    const fn value(self) -> u32 {
        match self {
            End::Allow | End::Ioctl | End::Clone => ALLOW,
            End::Error(errno) => ERROR | errno as u32,
            End::Kill => KILL,
        }
    }
}

/// How calls end.
#[derive(Debug)]
pub(super) struct Calls<'a> {
    /// Those that have a name.
    pub(super) named: HashMap<&'a str, End>,
    /// The others.
    pub(super) others: End,
    /// Those of architectures that the program does not know.
    pub(super) foreign: End,
}

/// Makes the program: one instruction a number, as it lies in memory.
pub(super) fn compile(calls: &Calls<'_>, architectures: &[Architecture]) -> Vec<u64> {
    let mut program = vec![instruction(LOAD, 0, 0, ARCHITECTURE)];
    for architecture in architectures {
        let section = section(calls, architecture);
        program.push(instruction(JUMP_IF_EQUAL, 1, 0, architecture.audit));
        program.push(instruction(JUMP, 0, 0, length(&section)));
        program.extend(section);
    }
    program.push(instruction(RETURN, 0, 0, calls.foreign.value()));
    program
}

fn section(calls: &Calls<'_>, architecture: &Architecture) -> Vec<u64> {
    let mut ranges = ranges(calls, architecture);
    if let Some(limit) = architecture.limit {
        ranges.retain(|(first, _)| *first < limit);
        ranges.push((limit, calls.foreign));
    }
    let mut section = vec![instruction(LOAD, 0, 0, NUMBER)];
    section.extend(bisect(&ranges));
    section
}

/// The numbers from which on calls end otherwise than those before, from 0.
fn ranges(calls: &Calls<'_>, architecture: &Architecture) -> Vec<(u32, End)> {
    let plain = |name: &str| calls.named.get(name).copied().unwrap_or(calls.others);
    // Who may not call unshare gets no namespaces by other calls either. The flags of clone3 are out of a filter's sight:
    // programs take clone where there is no clone3.
    let makes_namespaces = plain("unshare") == End::Allow;
    let end_of = |name: &str| match (name, plain(name)) {
        ("ioctl", End::Allow) => End::Ioctl,
        ("clone", End::Allow) if !makes_namespaces => End::Clone,
        ("clone3", End::Allow) if !makes_namespaces => End::Error(ENOSYS),
        (_, end) => end,
    };
    let mut ends: Vec<(u32, End)> =
        (architecture.calls)().into_iter().map(|(name, number)| (number, end_of(name))).collect();
    ends.sort_unstable_by_key(|(number, _)| *number);
    let mut ranges = vec![(0, calls.others)];
    let mut next = 0;
    for (number, end) in ends {
        // Between the calls of the table are numbers that no call has.
        let gap = (number > next).then_some((next, calls.others));
        for (first, end) in gap.into_iter().chain([(number, end)]) {
            if ranges.last().is_some_and(|(last, _)| *last == first) {
                ranges.pop();
            }
            if ranges.last().is_none_or(|(_, last)| *last != end) {
                ranges.push((first, end));
            }
        }
        next = number + 1;
    }
    if ranges.last().is_some_and(|(_, last)| *last != calls.others) {
        ranges.push((next, calls.others));
    }
    ranges
}

/// The number is in the accumulator.
fn bisect(ranges: &[(u32, End)]) -> Vec<u64> {
    if let [(_, end)] = ranges {
        return leaf(*end);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (bisect(lower), bisect(upper));
    let first = upper.first().map_or(0, |(first, _)| *first);
    let mut program = match u8::try_from(below.len()) {
        Ok(near) => vec![instruction(JUMP_IF_AT_LEAST, near, 0, first)],
        // The way to what is far is an instruction of its own: a condition reaches 255 instructions.
        Err(_) => {
            vec![instruction(JUMP_IF_AT_LEAST, 0, 1, first), instruction(JUMP, 0, 0, length(&below))]
        }
    };
    program.extend(below);
    program.extend(above);
    program
}

fn leaf(end: End) -> Vec<u64> {
    match end {
        End::Ioctl => vec![
            instruction(LOAD, 0, 0, SECOND_ARGUMENT),
            instruction(JUMP_IF_EQUAL, 2, 0, TERMINAL_INPUT[0]),
            instruction(JUMP_IF_EQUAL, 1, 0, TERMINAL_INPUT[1]),
            instruction(RETURN, 0, 0, ALLOW),
            instruction(RETURN, 0, 0, End::Error(EPERM).value()),
        ],
        End::Clone => vec![
            instruction(LOAD, 0, 0, FIRST_ARGUMENT),
            instruction(AND, 0, 0, NAMESPACES),
            instruction(JUMP_IF_EQUAL, 1, 0, 0),
            instruction(RETURN, 0, 0, End::Error(EPERM).value()),
            instruction(RETURN, 0, 0, ALLOW),
        ],
        end => vec![instruction(RETURN, 0, 0, end.value())],
    }
}

fn length(part: &[u64]) -> u32 {
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}

/// `struct sock_filter`.
fn instruction(code: u16, if_true: u8, if_false: u8, value: u32) -> u64 {
    let [a, b] = code.to_ne_bytes();
    let [c, d, e, f] = value.to_ne_bytes();
    u64::from_ne_bytes([a, b, if_true, if_false, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::{super::calls::architectures, *};

    /// Runs a program as the kernel would, for one call.
    fn run(program: &[u64], architecture: u32, number: u32, argument: u32) -> u32 {
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let bytes = program[at].to_ne_bytes();
            let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
            let value = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            at += 1;
            let branch = |taken: bool| usize::from(if taken { bytes[2] } else { bytes[3] });
            match code {
                LOAD => {
                    accumulator = match value {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        _ => argument,
                    };
                }
                AND => accumulator &= value,
                JUMP => at += value as usize,
                JUMP_IF_EQUAL => at += branch(accumulator == value),
                JUMP_IF_AT_LEAST => at += branch(accumulator >= value),
                _ => return value,
            }
        }
    }

    // APPC-280, APPC-281, APPC-282
    #[test]
    fn each_call_of_each_architecture_ends_as_it_should() {
        let names = ["read", "openat", "mount", "unshare", "execve", "stat"];
        for machine in ["x86_64", "aarch64"] {
            let architectures = architectures(machine).unwrap();
            for (named, others) in
                [(End::Allow, End::Kill), (End::Allow, End::Error(38)), (End::Error(1), End::Allow)]
            {
                let calls = Calls {
                    named: names.iter().map(|name| (*name, named)).collect(),
                    others,
                    foreign: End::Error(38),
                };
                let program = compile(&calls, &architectures);
                let is_namespaces = |name: Option<&str>| matches!(name, Some("clone" | "clone3"));
                for architecture in &architectures {
                    let table = (architecture.calls)();
                    for number in 0..1000 {
                        let name = table.iter().find(|(_, known)| *known == number).map(|(name, _)| *name);
                        let is_named = name.is_some_and(|name| names.contains(&name));
                        let want = if is_named { named.value() } else { others.value() };
                        if !is_namespaces(name) {
                            let end = run(&program, architecture.audit, number, 0);
                            assert_eq!(end, want, "{name:?} {calls:?}");
                        }
                    }
                    let (_, ioctl) = table.iter().find(|(name, _)| *name == "ioctl").unwrap();
                    let want = if others == End::Allow { End::Error(EPERM) } else { others };
                    assert_eq!(run(&program, architecture.audit, *ioctl, 0x5412), want.value());
                    assert_eq!(run(&program, architecture.audit, *ioctl, 0x5401), others.value());
                    if let Some(limit) = architecture.limit {
                        for number in [limit, limit + 1, u32::MAX] {
                            assert_eq!(run(&program, architecture.audit, number, 0), ERROR | 38, "x32");
                        }
                    }
                }
                assert_eq!(run(&program, 0x1234, 0, 0), ERROR | 38, "a foreign architecture");
            }
        }
    }

    #[test]
    fn who_may_not_call_unshare_makes_no_namespaces_by_clone() {
        let architectures = architectures("x86_64").unwrap();
        let [audit, clone, clone3] = [architectures[0].audit, 56, 435];
        for may in [true, false] {
            let mut named: HashMap<&str, End> = [("clone", End::Allow), ("clone3", End::Allow)].into();
            if may {
                named.insert("unshare", End::Allow);
            }
            let program = compile(&Calls { named, others: End::Kill, foreign: End::Kill }, &architectures);
            let user_namespace = 0x1000_0000 | 17;
            let refused = |error| if may { ALLOW } else { ERROR | error };
            assert_eq!(run(&program, audit, clone, 17), ALLOW);
            assert_eq!(run(&program, audit, clone, user_namespace), refused(1));
            assert_eq!(run(&program, audit, clone3, 0), refused(38));
        }
    }

    #[test]
    fn the_largest_program_is_one_that_the_kernel_takes() {
        // Every second call of the tables makes as many ranges as there can be.
        let architectures = architectures("x86_64").unwrap();
        let all = (architectures[0].calls)();
        let named = all.iter().step_by(2).map(|(name, _)| (*name, End::Allow)).collect();
        let program = compile(&Calls { named, others: End::Kill, foreign: End::Kill }, &architectures);
        assert!(program.len() < 4096, "{}", program.len());
    }
}
