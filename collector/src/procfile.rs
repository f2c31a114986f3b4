//! Files of the kernel: kept open, read anew by `pread` into a reused buffer, and taken apart
//! without allocating.
//!
//! What the fields mean is known to the components alone.

#![cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "other systems have few such files, if any")
)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::str::SplitAsciiWhitespace;

use crate::component::ComponentError;

/// The largest file that is read; everything that is collected is far smaller.
pub(crate) const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Room for most files at the first read.
const FIRST_BUFFER_BYTES: usize = 8 * 1024;
/// The kernel hands out its generated files by pages and fills each page as far as lines fit, so
/// that a read of less than half a page, which ends with a line, is the last one. That spares the
/// second call that would only say so; for some files it costs as much as the first.
const SHORT_READ_BYTES: usize = 2 * 1024;

/// A file of the kernel that is read again and again.
#[derive(Debug)]
pub(crate) struct ProcFile {
    path: PathBuf,
    file: Option<File>,
}

impl ProcFile {
    /// Nothing is opened before the first read.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            file: None,
        }
    }

    /// Reads the whole file as it is now. After a failure the file is opened anew the next time.
    pub(crate) fn read<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Result<&'a str, ComponentError> {
        match self.read_bytes(buffer) {
            Ok(len) => text(&buffer[..len]).ok_or_else(|| {
                let source = io::Error::new(io::ErrorKind::InvalidData, "it is not text");
                ComponentError::unreadable(&self.path, source)
            }),
            Err(source) => Err(ComponentError::unreadable(&self.path, source)),
        }
    }

    /// Reads the whole file into the buffer and says how long it is.
    pub(crate) fn read_bytes(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let len = read_at_start(&file, buffer)?;
        self.file = Some(file);
        Ok(len)
    }
}

/// Reads a file from its start to its end into a buffer that only grows.
fn read_at_start(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    if buffer.is_empty() {
        buffer.resize(FIRST_BUFFER_BYTES, 0);
    }
    let mut len = 0;
    loop {
        if len == buffer.len() {
            if len >= MAX_FILE_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "it is larger than 4 MiB",
                ));
            }
            buffer.resize(len * 2, 0);
        }
        match file.read_at(&mut buffer[len..], len as u64) {
            Ok(0) => return Ok(len),
            Ok(read) => {
                len += read;
                if read < SHORT_READ_BYTES && buffer[len - 1] == b'\n' {
                    return Ok(len);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// One line of a file, which knows where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Line<'a> {
    pub(crate) file: &'static str,
    /// From 1.
    pub(crate) number: usize,
    pub(crate) text: &'a str,
}

/// The lines of a file; the name is for errors.
pub(crate) fn lines<'a>(file: &'static str, text: &'a str) -> impl Iterator<Item = Line<'a>> {
    text.lines().enumerate().map(move |(at, text)| Line {
        file,
        number: at + 1,
        text,
    })
}

impl<'a> Line<'a> {
    /// The fields of the line, separated by white space.
    pub(crate) fn fields(&self) -> Fields<'a> {
        self.fields_of(self.text)
    }

    /// The fields of a part of the line.
    pub(crate) fn fields_of(&self, part: &'a str) -> Fields<'a> {
        Fields {
            file: self.file,
            line: self.number,
            fields: part.split_ascii_whitespace(),
        }
    }

    pub(crate) fn malformed(&self, expected: &'static str) -> ComponentError {
        ComponentError::Malformed {
            file: self.file,
            line: self.number,
            expected,
        }
    }
}

/// The fields of a line, taken one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    file: &'static str,
    line: usize,
    fields: SplitAsciiWhitespace<'a>,
}

impl<'a> Fields<'a> {
    /// The next field as it is.
    pub(crate) fn word(&mut self, expected: &'static str) -> Result<&'a str, ComponentError> {
        self.fields.next().ok_or_else(|| self.malformed(expected))
    }

    /// The next field as a count.
    pub(crate) fn count(&mut self, expected: &'static str) -> Result<u64, ComponentError> {
        let word = self.word(expected)?;
        parse_u64(word).ok_or_else(|| self.malformed(expected))
    }

    /// The next field as a number.
    pub(crate) fn number(&mut self, expected: &'static str) -> Result<f64, ComponentError> {
        let word = self.word(expected)?;
        word.parse()
            .ok()
            .filter(|n: &f64| n.is_finite())
            .ok_or_else(|| self.malformed(expected))
    }

    /// The next field as a count; `None` where older kernels end the line.
    pub(crate) fn count_if_any(
        &mut self,
        expected: &'static str,
    ) -> Result<Option<u64>, ComponentError> {
        match self.fields.next() {
            None => Ok(None),
            Some(word) => parse_u64(word)
                .map(Some)
                .ok_or_else(|| self.malformed(expected)),
        }
    }

    /// Passes over fields.
    pub(crate) fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.fields.next();
        }
    }

    /// The next field, if there is one.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        self.fields.next()
    }

    pub(crate) fn malformed(&self, expected: &'static str) -> ComponentError {
        ComponentError::Malformed {
            file: self.file,
            line: self.line,
            expected,
        }
    }
}

/// Digits to a number; `None` for anything else and for what does not fit.
pub(crate) fn parse_u64(word: &str) -> Option<u64> {
    let bytes = word.as_bytes();
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    let mut value = 0_u64;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_is_read_anew_each_time() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"one").expect("written");
        let mut kept = ProcFile::new(file.path());
        let mut buffer = Vec::new();
        assert_eq!(kept.read(&mut buffer).expect("readable"), "one");
        file.write_all(&vec![b'x'; 3 * FIRST_BUFFER_BYTES])
            .expect("written");
        assert_eq!(
            kept.read(&mut buffer).expect("readable").len(),
            3 + 3 * FIRST_BUFFER_BYTES
        );
        file.as_file().set_len(2).expect("shortened");
        assert_eq!(kept.read(&mut buffer).expect("readable"), "on");
    }

    #[test]
    fn an_absent_file_is_named_with_a_remedy() {
        let mut file = ProcFile::new("/nonexistent/pressure");
        let error = file
            .read(&mut Vec::new())
            .expect_err("it is not there")
            .to_string();
        assert!(
            error.contains("/nonexistent/pressure") && error.contains("does not offer"),
            "{error}"
        );
    }

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(parse_u64("18446744073709551615"), Some(u64::MAX));
        for bad in [
            "",
            "-1",
            "1x",
            "18446744073709551616",
            "000000000000000000001",
        ] {
            assert_eq!(parse_u64(bad), None, "{bad}");
        }
    }

    #[test]
    fn errors_name_file_and_line() {
        let line = lines("/proc/stat", "a 1\nb x").nth(1).expect("two lines");
        let mut fields = line.fields();
        assert_eq!(fields.word("a name").expect("there is one"), "b");
        let error = fields
            .count("ticks")
            .expect_err("x is no count")
            .to_string();
        assert!(error.starts_with("/proc/stat:2: expected ticks"), "{error}");
    }
}
