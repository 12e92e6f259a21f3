//! A process's output, cut into lines for the timeline.

/// A longer line is told in pieces of this many bytes.
const LONGEST: usize = 2048;

/// Collects bytes and gives them out by the line.
#[derive(Default)]
pub struct Lines {
    /// The line that is not complete yet, shorter than [`LONGEST`].
    partial: Vec<u8>,
}

impl Lines {
    /// Takes `bytes`; `line` hears each line that they complete.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for &byte in bytes {
            if byte != b'\n' {
                self.partial.push(byte);
            }
            if byte == b'\n' || self.partial.len() == LONGEST {
                line(&self.partial);
                self.partial.clear();
            }
        }
    }

    /// Gives out the line that has no end yet, if there is one.
    pub fn flush(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| told.push(line.to_vec()));
        }
        let mut rest = Vec::new();
        lines.flush(|line| rest = line.to_vec());
        (told, rest)
    }

    #[test]
    fn chunks_become_lines() {
        let (told, rest) = lines(&[b"one\ntw", b"o\n\nthr", b"ee"]);
        assert_eq!(told, [&b"one"[..], b"two", b""]);
        assert_eq!(rest, b"three");
    }

    #[test]
    fn a_line_without_end_is_told_in_pieces() {
        let (told, rest) = lines(&[&[b'x'; LONGEST * 2 + 1]]);
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST; 2]);
        assert_eq!(rest, b"x");
    }
}
