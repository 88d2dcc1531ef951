//! The header of messages, and what the kernel answers.

use netlink_bindings::consts;
use rustix::io::Errno;

/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Appends a message.
pub(super) fn push(buffer: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, payload: &[u8]) {
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    buffer.extend(length.to_ne_bytes());
    buffer.extend(kind.to_ne_bytes());
    buffer.extend((flags | consts::NLM_F_REQUEST as u16).to_ne_bytes());
    buffer.extend(sequence.to_ne_bytes());
    buffer.extend(0_u32.to_ne_bytes());
    buffer.extend(payload);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

/// One message of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// The request with this sequence number was carried out, or not.
    Result(u32, Result<(), Errno>),
    /// The end of a list, which may have failed.
    Done(Result<(), Errno>),
    /// What was asked for.
    Data(&'a [u8]),
}

/// Takes the first message off a buffer that the kernel has filled.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Option<Answer<'a>> {
    let word = |at: usize| Some(u32::from_ne_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    let length = usize::try_from(word(0)?).ok()?;
    let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
    let sequence = word(8)?;
    let payload = rest.get(HEADER..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    let code = || {
        let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
        (code != 0).then(|| Errno::from_raw_os_error(code.wrapping_neg()))
    };
    Some(match kind {
        ERROR => Answer::Result(sequence, code().map_or(Ok(()), Err)),
        DONE => Answer::Done(code().map_or(Ok(()), Err)),
        _ => Answer::Data(payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_taken_off() {
        let mut buffer = Vec::new();
        push(&mut buffer, 20, 0, 7, &[1, 2, 3]);
        push(&mut buffer, ERROR, 0, 8, &(-17_i32).to_ne_bytes());
        push(&mut buffer, ERROR, 0, 9, &0_i32.to_ne_bytes());
        push(&mut buffer, DONE, 0, 9, &0_i32.to_ne_bytes());
        let mut rest = buffer.as_slice();
        let all: Vec<Answer<'_>> = std::iter::from_fn(|| next(&mut rest)).collect();
        let want = [
            Answer::Data(&[1, 2, 3]),
            Answer::Result(8, Err(Errno::EXIST)),
            Answer::Result(9, Ok(())),
            Answer::Done(Ok(())),
        ];
        assert_eq!(all, want);
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let mut buffer = Vec::new();
        push(&mut buffer, 20, 0, 7, &[1, 2, 3, 4]);
        for length in 0..buffer.len() {
            assert_eq!(next(&mut &buffer[..length]), None, "{length}");
        }
    }
}
