//! `Debug` text without an allocator.

use core::fmt;

/// Room for the mark that stands at the end of a text that was cut: `..#` and 16 digits.
const MARK: usize = 19;

/// Formatted text of at most `N` bytes. One that is longer is cut and ends in a hash of
/// the whole, so that two different texts stay different.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
    /// Bytes left out.
    cut: usize,
    /// FNV-1a of everything.
    hash: u64,
}

impl<const N: usize> Text<N> {
    pub fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
            cut: 0,
            hash: 0xCBF2_9CE4_8422_2325,
        }
    }

    /// Formats `arguments`.
    pub fn of(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self::new();
        // A `Debug` of the user's that fails leaves what it wrote so far.
        let _ = fmt::write(&mut text, arguments);
        text.finish();
        text
    }

    /// Marks the text if it was cut.
    pub fn finish(&mut self) {
        if self.cut > 0 {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let mut mark = *b"..#0000000000000000";
            for (place, digit) in mark[3..].iter_mut().enumerate() {
                *digit = DIGITS[(self.hash >> (60 - 4 * place)) as usize & 15];
            }
            self.bytes[self.length..self.length + MARK].copy_from_slice(&mark);
            self.length += MARK;
            self.cut = 0;
        }
    }

    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The hash is only of use to a text that may be cut.
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        let room = if self.cut > 0 {
            0
        } else {
            N - MARK - self.length
        };
        let mut fit = text.len().min(room);
        while !text.is_char_boundary(fit) {
            fit -= 1;
        }
        self.bytes[self.length..self.length + fit].copy_from_slice(&text.as_bytes()[..fit]);
        self.length += fit;
        self.cut += text.len() - fit;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_is_kept() {
        let text = Text::<64>::of(format_args!("{:?} {}", ("leader", 7), "ä"));
        assert_eq!(text.as_str(), "(\"leader\", 7) ä");
    }

    #[test]
    fn long_texts_are_cut_at_a_character_and_stay_different() {
        let [a, b] = ["a", "b"].map(|end| {
            let long = "ä".repeat(100) + end;
            Text::<64>::of(format_args!("{long}")).as_str().to_owned()
        });
        assert!(a.starts_with("ää") && a.len() <= 64 && a.contains("..#"));
        assert_ne!(a, b);
    }
}
