//! Splitting a stream of bytes into lines of bounded length.

/// Longest line that is kept in one piece, in bytes. Longer ones are cut and marked as partial, as CRI logs do.
pub(crate) const MAX_LINE: usize = 16 * 1024;

/// A line without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The bytes, not necessarily UTF-8.
    pub(crate) text: &'a [u8],
    /// Whether more of the same line follows.
    pub(crate) partial: bool,
}

/// Collects bytes until a line is whole.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    pending: Vec<u8>,
    /// How many bytes at the front of `pending` were handed out already.
    consumed: usize,
}

impl Splitter {
    /// Takes further bytes and gives the lines that are whole now.
    pub(crate) fn split(&mut self, bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
        self.pending.drain(..self.consumed);
        self.pending.extend_from_slice(bytes);
        self.consumed = 0;
        let mut rest = &self.pending[..];
        let mut lines = Vec::new();
        while let Some((line, after)) = cut(rest) {
            lines.push(line);
            rest = after;
        }
        self.consumed = self.pending.len() - rest.len();
        lines.into_iter()
    }

    /// What is left when the stream has ended: a last line without a newline.
    pub(crate) fn rest(&mut self) -> Option<Line<'_>> {
        let text = &self.pending[self.consumed..];
        self.consumed = self.pending.len();
        (!text.is_empty()).then_some(Line { text, partial: false })
    }
}

fn cut(bytes: &[u8]) -> Option<(Line<'_>, &[u8])> {
    let window = &bytes[..bytes.len().min(MAX_LINE + 1)];
    if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
        return Some((Line { text: &bytes[..end], partial: false }, &bytes[end + 1..]));
    }
    (bytes.len() > MAX_LINE).then(|| {
        let (text, rest) = bytes.split_at(MAX_LINE);
        (Line { text, partial: true }, rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::default();
        let mut all = Vec::new();
        for chunk in chunks {
            all.extend(splitter.split(chunk).map(|line| (line.text.to_vec(), line.partial)));
        }
        all.extend(splitter.rest().map(|line| (line.text.to_vec(), line.partial)));
        all
    }

    #[test]
    fn lines_are_whole_whatever_the_chunks() {
        let whole = |text: &[u8]| (text.to_vec(), false);
        assert_eq!(lines(&[b"a\nb\n"]), [whole(b"a"), whole(b"b")]);
        assert_eq!(lines(&[b"a", b"b\n", b"\nc"]), [whole(b"ab"), whole(b""), whole(b"c")]);
        assert_eq!(lines(&[b"\xff\xfe\n"]), [whole(b"\xff\xfe")]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_line_too_long_is_cut_and_marked() {
        let long = vec![b'x'; MAX_LINE + 10];
        let got = lines(&[&long, b"\n"]);
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].0.len(), got[0].1), (MAX_LINE, true));
        assert_eq!((got[1].0.len(), got[1].1), (10, false));
        let exact = vec![b'x'; MAX_LINE];
        assert_eq!(lines(&[&exact, b"\n"]), [(exact.clone(), false)]);
    }
}
