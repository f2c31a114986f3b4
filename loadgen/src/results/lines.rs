//! Lines of an input, counted, bounded and hashed as they are read.

use std::io::{BufRead, Read as _};

use super::ImportError;

/// Where FNV-1a begins.
pub(super) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
/// How files of gzip and zstd begin.
const COMPRESSED: [&[u8]; 2] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// FNV-1a with 64 bits: the same on every machine and in every release.
pub(super) fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A reader of lines.
#[derive(Debug)]
pub(super) struct Lines<'a, R> {
    input: &'a mut R,
    hash: u64,
    line: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(input: &'a mut R) -> Self {
        Self {
            input,
            hash: FNV_OFFSET,
            line: 0,
        }
    }

    /// Appends the next line with its end; false at the end of the input. `into` may come to have
    /// `limit` bytes.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, limit: usize) -> Result<bool, ImportError> {
        let before = into.len();
        let room = limit.saturating_sub(before) as u64;
        let mut bounded = self.input.by_ref().take(room + 1);
        let count = bounded.read_until(b'\n', into).map_err(ImportError::Read)?;
        if count == 0 {
            return Ok(false);
        }
        self.line += 1;
        if count as u64 > room {
            let line = self.line;
            return Err(ImportError::LineTooLong { line, limit });
        }
        self.hash = fnv1a(self.hash, &into[before..]);
        if self.line == 1 {
            if COMPRESSED.iter().any(|magic| into.starts_with(magic)) {
                return Err(ImportError::Compressed);
            }
            if into[before..].starts_with(BYTE_ORDER_MARK) {
                into.drain(before..before + BYTE_ORDER_MARK.len());
            }
        }
        Ok(true)
    }

    /// The number of the line read last, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The hash of all that was read.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::content_hash;

    #[test]
    fn lines_are_counted_and_hashed_whole() {
        let text = "\u{feff}one\r\n\nthree".as_bytes();
        let mut input = text;
        let mut lines = Lines::new(&mut input);
        let mut all = Vec::new();
        while lines.read(&mut all, 100).expect("short") {}
        assert_eq!(all, b"one\r\n\nthree");
        assert_eq!(lines.line(), 3);
        assert_eq!(lines.hash(), content_hash(&mut &*text).expect("memory"));
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_is_held() {
        let mut input = std::io::BufReader::new(std::io::repeat(b'x'));
        let mut line = Vec::new();
        let error = Lines::new(&mut input).read(&mut line, 1_000);
        assert!(matches!(
            error,
            Err(ImportError::LineTooLong { line: 1, .. })
        ));
        assert_eq!(line.len(), 1_001);
    }
}
