//! Records of CSV as RFC 4180 has it: quoted fields may hold commas, quotes and ends of lines.

use std::io::BufRead;

use super::lines::Lines;
use super::{ImportError, MAX_LINE_BYTES};

const NOT_UTF8: &str = "save the file as UTF-8";

/// A record; reused from one to the next.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The line on which it begins, from 1.
    line: u64,
    text: String,
    /// Where each field ends in the text.
    ends: Vec<usize>,
    raw: Vec<u8>,
}

impl Record {
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field, by its place from 0; empty where there is none.
    pub(super) fn field(&self, at: usize) -> &str {
        let from = match at.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(0),
            None => 0,
        };
        let until = self.ends.get(at).copied().unwrap_or(from);
        self.text.get(from..until).unwrap_or("")
    }

    /// Reads the next record that is not an empty line; false at the end of the input.
    pub(super) fn read<R: BufRead>(
        &mut self,
        lines: &mut Lines<'_, R>,
    ) -> Result<bool, ImportError> {
        loop {
            self.raw.clear();
            if !lines.read(&mut self.raw, MAX_LINE_BYTES)? {
                return Ok(false);
            }
            if !matches!(self.raw.as_slice(), b"\n" | b"\r\n") {
                break;
            }
        }
        self.line = lines.line();
        let mut text = std::mem::take(&mut self.text).into_bytes();
        text.clear();
        self.ends.clear();
        let mut at = 0;
        while let Some(next) = self.take_field(at, &mut text, lines)? {
            at = next;
        }
        self.text = String::from_utf8(text).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let field = self.ends.partition_point(|end| *end <= valid);
            let found = String::from_utf8_lossy(error.as_bytes()).into_owned();
            self.bad(field, &found, NOT_UTF8)
        })?;
        Ok(true)
    }

    /// Takes the field that begins at a place of the raw bytes; gives where the next one begins.
    fn take_field<R: BufRead>(
        &mut self,
        from: usize,
        text: &mut Vec<u8>,
        lines: &mut Lines<'_, R>,
    ) -> Result<Option<usize>, ImportError> {
        let is_quoted = self.raw.get(from) == Some(&b'"');
        let until = if is_quoted {
            self.take_quoted(from + 1, text, lines)?
        } else {
            let rest = &self.raw[from..];
            let stop = rest.iter().position(|byte| matches!(byte, b',' | b'\n'));
            let mut field = &rest[..stop.unwrap_or(rest.len())];
            if stop.is_none_or(|stop| rest[stop] == b'\n') {
                field = field.strip_suffix(b"\r").unwrap_or(field);
            }
            if field.contains(&b'"') {
                let found = String::from_utf8_lossy(field).into_owned();
                let remedy = "put the whole field in quotes, and each quote in it twice";
                return Err(self.bad(self.ends.len(), &found, remedy));
            }
            text.extend_from_slice(field);
            from + field.len()
        };
        let field = self.ends.len();
        self.ends.push(text.len());
        match &self.raw[until..] {
            [b',', ..] => Ok(Some(until + 1)),
            [] | b"\n" | b"\r\n" | b"\r" => Ok(None),
            rest => {
                let found = String::from_utf8_lossy(rest).into_owned();
                let remedy = "a comma or the end of the line is expected after a closing quote";
                Err(self.bad(field, &found, remedy))
            }
        }
    }

    /// Takes what follows an opening quote; gives where the closing one is behind.
    fn take_quoted<R: BufRead>(
        &mut self,
        mut at: usize,
        text: &mut Vec<u8>,
        lines: &mut Lines<'_, R>,
    ) -> Result<usize, ImportError> {
        let from = text.len();
        loop {
            match (self.raw.get(at).copied(), self.raw.get(at + 1)) {
                (Some(b'"'), Some(b'"')) => {
                    text.push(b'"');
                    at += 2;
                }
                (Some(b'"'), _) => return Ok(at + 1),
                (Some(byte), _) => {
                    text.push(byte);
                    at += 1;
                }
                (None, _) => {
                    if !lines.read(&mut self.raw, MAX_LINE_BYTES)? {
                        let found = String::from_utf8_lossy(&text[from..]).into_owned();
                        let remedy = "the closing quote is missing; is the file cut off?";
                        return Err(self.bad(self.ends.len(), &found, remedy));
                    }
                }
            }
        }
    }

    /// Says what is wrong with a field, by its place from 0.
    fn bad(&self, field: usize, found: &str, remedy: &str) -> ImportError {
        ImportError::bad(self.line, (field + 1).to_string(), found, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records(mut input: &[u8]) -> Result<Vec<(u64, Vec<String>)>, ImportError> {
        let mut lines = Lines::new(&mut input);
        let mut record = Record::default();
        let mut all = Vec::new();
        while record.read(&mut lines)? {
            let fields = (0..record.len()).map(|at| record.field(at).to_owned());
            all.push((record.line(), fields.collect()));
        }
        Ok(all)
    }

    #[test]
    fn fields_are_those_of_rfc_4180() {
        let text = "a,b\r\n\r\n\"x, \"\"y\"\"\nz\",\r\n,\"\"\nlast,\"one\"";
        let expected = [
            (1, vec!["a", "b"]),
            (3, vec!["x, \"y\"\nz", ""]),
            (5, vec!["", ""]),
            (6, vec!["last", "one"]),
        ];
        let expected = expected.map(|(line, fields)| {
            let fields = fields.into_iter().map(str::to_owned).collect::<Vec<_>>();
            (line, fields)
        });
        assert_eq!(records(text.as_bytes()).expect("well formed"), expected);
    }

    #[test]
    fn what_is_malformed_is_named_with_its_place() {
        for (text, expected) in [
            (
                &b"a,b\n1,x\"y\n"[..],
                "line 2, column 2: found \"x\\\"y\"; put",
            ),
            (
                b"a\n\"x\"y,2\n",
                "line 2, column 1: found \"y,2\\n\"; a comma",
            ),
            (
                b"a\nb,\"x\ny\n",
                "line 2, column 2: found \"x\\ny\\n\"; the closing",
            ),
            (
                b"a\nb,c\xff\n",
                "line 2, column 2: found \"bc\u{fffd}\"; save",
            ),
        ] {
            let error = records(text).expect_err("malformed").to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..64,
        )) {
            let _ = records(&bytes);
        }

        #[test]
        fn quoted_fields_survive(rows in proptest::collection::vec(
            proptest::collection::vec("[a\",\\r\\né]{0,6}", 1..4), 1..4,
        )) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let text: String = rows.iter()
                .map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n")
                .collect();
            let found: Vec<_> = records(text.as_bytes()).expect("well formed")
                .into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(found, rows);
        }
    }
}
