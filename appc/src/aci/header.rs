//! The fields of a tar header, read as GNU tar reads them or refused. A number that another reader could take otherwise
//! would let an archive show each of them different files.

use tar::Header;

/// A tar's unit, in bytes.
pub(super) const BLOCK: usize = 512;

/// How many pieces a sparse file may have.
const MOST_PIECES: usize = 65_536;

/// Whether a block has the checksum that it claims, and a format that is known.
pub(super) fn check(header: &Header) -> Result<(), &'static str> {
    let bytes = header.as_bytes();
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum();
    if number(&header.as_old().cksum) != Some(i128::from(sum + 8 * u32::from(b' '))) {
        return Err("the header's checksum is wrong");
    }
    let old = bytes[257..265].iter().all(|byte| *byte == 0);
    if header.as_ustar().is_none() && header.as_gnu().is_none() && !old {
        return Err("the header is in no known format");
    }
    Ok(())
}

/// A numeric field: octal digits, or base 256 where the first bit is set. `None` is a field that holds no number.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        // Two's complement; the first bit is the mark, the second the sign.
        let first = i128::from(field[0] & 0x3f) - i128::from(field[0] & 0x40);
        return Some(field[1..].iter().fold(first, |value, byte| value << 8 | i128::from(*byte)));
    }
    let start = field.iter().position(|byte| !matches!(byte, b' ' | 0))?;
    let digits = &field[start..];
    let end = digits.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0_i128, |value, byte| match byte {
        b'0'..=b'7' => Some(value << 3 | i128::from(byte - b'0')),
        _ => None,
    })
}

/// A numeric field that may be left empty, which means 0.
pub(super) fn number_or_zero(field: &[u8]) -> Option<i128> {
    if field.iter().all(|byte| matches!(byte, b' ' | 0)) { Some(0) } else { number(field) }
}

/// The records of an extended header: `LENGTH KEY=VALUE\n`, where the length alone says where a record ends, for a value
/// may hold any byte.
pub(super) fn pax_records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let digits = &bytes[..space];
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// Which pieces of a file are stored; the rest are holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Offset and length of each piece, ascending.
    pub(super) pieces: Vec<(u64, u64)>,
    /// The file's length.
    pub(super) size: u64,
}

/// Adds the pieces that a header or one of its extension blocks lists.
pub(super) fn sparse_pieces(list: &[u8], pieces: &mut Vec<(u64, u64)>) -> Result<(), &'static str> {
    const WRONG: &str = "its list of pieces (sparse file) is malformed";
    for piece in list.as_chunks::<24>().0 {
        if piece[12] == 0 {
            break;
        }
        let offset = number(&piece[..12]).and_then(|value| u64::try_from(value).ok()).ok_or(WRONG)?;
        let length = number(&piece[12..]).and_then(|value| u64::try_from(value).ok()).ok_or(WRONG)?;
        pieces.push((offset, length));
        if pieces.len() > MOST_PIECES {
            return Err("it has too many pieces (sparse file)");
        }
    }
    Ok(())
}

/// Checks the pieces against the size of the file and against what is stored.
pub(super) fn sparse(pieces: Vec<(u64, u64)>, size: u64, stored: u64) -> Result<Sparse, &'static str> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for &(offset, length) in &pieces {
        if offset < end || !sum.is_multiple_of(BLOCK as u64) && length > 0 {
            return Err("its pieces (sparse file) overlap or do not fill whole blocks");
        }
        end = offset.checked_add(length).ok_or("its pieces (sparse file) are out of range")?;
        sum = sum.checked_add(length).ok_or("its pieces (sparse file) are out of range")?;
    }
    if end > size || sum != stored {
        return Err("its pieces (sparse file) do not add up to its size");
    }
    Ok(Sparse { pieces, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, want) in [
            (b"0000644\0".as_slice(), Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"644 9999", Some(0o644)),
            (b"\x80\0\0\0\0\0\0\x01\0\0\0\0", Some(1 << 32)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some((1 << 88) - 1)),
            (b"", None),
            (b"\0\0\0\0", None),
            (b"12x\0", None),
            (b"-1\0", None),
            (b"888\0", None),
            (b"+12\0", None),
        ] {
            assert_eq!(number(field), want, "{field:?}");
        }
        assert_eq!(number_or_zero(b"\0 \0"), Some(0));
        assert_eq!(number_or_zero(b"9"), None);
    }

    #[test]
    fn a_record_ends_where_its_length_says() {
        let one = |text: &'static [u8]| pax_records(text);
        assert_eq!(one(b""), Some(vec![]));
        assert_eq!(one(b"11 path=ab\n"), Some(vec![(b"path".as_slice(), b"ab".as_slice())]));
        let inside = b"34 SCHILY.xattr.user.a=\n9 size=1\n\n".as_slice();
        assert_eq!(
            one(inside),
            Some(vec![(b"SCHILY.xattr.user.a".as_slice(), b"\n9 size=1\n".as_slice())]),
            "a line in a value is no record"
        );
        for bad in [
            b"5 a=b\n".as_slice(),
            b"6 a=b\n6 a=",
            b"6 a=bx",
            b"6 =ab\n",
            b"6 abc\n",
            b"x a=b\n",
            b" a=b\n",
            b"99999999999999999999999 a=b\n",
            b"99999999999999999999 a=b\n",
            b"0 a=b\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
        ] {
            assert_eq!(pax_records(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn pieces_ascend_and_add_up() {
        let good = sparse(vec![(0, 512), (1024, 10), (5000, 0)], 5000, 522);
        assert_eq!(good.map(|sparse| sparse.size), Ok(5000));
        for (pieces, size, stored) in [
            (vec![(0, 512), (100, 512)], 5000, 1024),
            (vec![(0, 10), (100, 10)], 5000, 20),
            (vec![(0, 512)], 100, 512),
            (vec![(0, 512)], 1000, 1024),
            (vec![(u64::MAX, 512)], u64::MAX, 512),
        ] {
            assert!(sparse(pieces.clone(), size, stored).is_err(), "{pieces:?}");
        }
        let mut list = Vec::new();
        assert!(
            sparse_pieces(b"00000000000\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &mut list)
                .is_err()
        );
    }
}
