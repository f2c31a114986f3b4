//! The text formats of Prometheus (0.0.4) and OpenMetrics (1.0), line by line and without a copy.
//!
//! A sample keeps the text of its name and labels as it stands, by which a series that was seen
//! before is found; only where it was not are the labels taken apart ([`labels`]). Exemplars are left
//! out. What samples mean is left to [`super::take`].

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use crate::service::foreign::family::Family;

/// Which format a text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Times are milliseconds.
    Prometheus,
    /// Times are seconds, and the text ends with `# EOF`.
    OpenMetrics,
}

/// Where a text is not what its format says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub(crate) struct Malformed {
    /// From 1.
    pub(crate) line: usize,
    /// In bytes, from 1.
    pub(crate) column: usize,
    /// What was expected.
    pub(crate) what: &'static str,
}

/// A mistake in a line, at its bytes.
pub(crate) type Mistake = (usize, &'static str);

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample<'a> {
    /// Name and labels, as they stand.
    pub(crate) series: &'a [u8],
    /// How much of it is the name.
    pub(crate) name_len: usize,
    /// The value.
    pub(crate) value: f64,
    /// Its own time, in microseconds since 1970 UTC.
    pub(crate) ts_us: Option<i64>,
    /// The type of its family.
    pub(crate) family: Family,
    /// The unit of its family, as declared.
    pub(crate) unit: &'a [u8],
}

impl<'a> Sample<'a> {
    /// The metric's name.
    pub(crate) fn name(&self) -> &'a [u8] {
        &self.series[..self.name_len]
    }
}

/// Reads a text from its beginning.
#[derive(Debug)]
pub(crate) struct Exposition<'a> {
    rest: &'a [u8],
    form: Form,
    line: usize,
    ended: bool,
    family_name: &'a [u8],
    family: Family,
    unit: &'a [u8],
    /// The name of the last sample, and whether it belongs to the family.
    last: &'a [u8],
    is_member: bool,
}

impl<'a> Exposition<'a> {
    pub(crate) fn new(text: &'a [u8], form: Form) -> Self {
        Self {
            rest: text,
            form,
            line: 0,
            ended: false,
            family_name: b"",
            family: Family::Unknown,
            unit: b"",
            last: b"",
            is_member: false,
        }
    }

    /// The next sample. After an error there is nothing more to be had.
    pub(crate) fn next(&mut self) -> Result<Option<Sample<'a>>, Malformed> {
        while !self.rest.is_empty() {
            self.line += 1;
            let (line, rest) = match memchr(b'\n', self.rest) {
                Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
                None => (self.rest, &b""[..]),
            };
            self.rest = rest;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let found = match line.first() {
                None => continue,
                Some(_) if self.ended => Err((0, "there is text after # EOF")),
                Some(b'#') => self.comment(line).map(|()| None),
                Some(_) => self.sample(line),
            };
            match found {
                Ok(Some(sample)) => return Ok(Some(sample)),
                Ok(None) => {}
                Err(mistake) => return Err(self.at(mistake)),
            }
        }
        if self.form == Form::OpenMetrics && !self.ended {
            let what = "the text ends without # EOF, so it may be cut off";
            return Err(self.at((0, what)));
        }
        Ok(None)
    }

    /// The place of a mistake in the line that was read last.
    pub(crate) fn at(&self, (column, what): Mistake) -> Malformed {
        Malformed {
            line: self.line,
            column: column + 1,
            what,
        }
    }

    fn comment(&mut self, line: &'a [u8]) -> Result<(), Mistake> {
        let mut words = Words { line, at: 1 };
        let word = words.next();
        match word {
            b"TYPE" => {
                let name = words.next();
                let at = words.at;
                let family = Family::parse(words.next());
                let family = family.ok_or((at, "expected a name and a known type"))?;
                self.begin_family(name);
                self.family = family;
            }
            b"UNIT" => {
                let name = words.next();
                self.begin_family(name);
                self.unit = words.next();
            }
            b"EOF" if self.form == Form::OpenMetrics => self.ended = true,
            _ => {}
        }
        Ok(())
    }

    fn begin_family(&mut self, name: &'a [u8]) {
        if name != self.family_name {
            self.family_name = name;
            self.family = Family::Unknown;
            self.unit = b"";
        }
        self.last = b"";
    }

    #[inline]
    fn sample(&mut self, line: &'a [u8]) -> Result<Option<Sample<'a>>, Mistake> {
        let blank = line.iter().take_while(|byte| is_blank(**byte)).count();
        if blank == line.len() {
            return Ok(None);
        }
        let name_end = memchr3(b'{', b' ', b'\t', &line[blank..]).map(|at| at + blank);
        let name_end = name_end.ok_or((line.len(), "expected a value after the name"))?;
        let gap = line[name_end..]
            .iter()
            .take_while(|byte| is_blank(**byte))
            .count();
        let end = match line.get(name_end + gap) {
            Some(b'{') => closing_brace(line, name_end + gap)? + 1,
            _ => name_end,
        };
        let mut words = Words { line, at: end };
        let word = words.next();
        let at = words.at - word.len();
        let value = number(word).ok_or((at, "expected a number as the value"))?;
        let ts_us = self.time(&mut words)?;
        let name = &line[blank..name_end];
        if name != self.last {
            self.last = name;
            let suffix = name.strip_prefix(self.family_name);
            self.is_member = suffix.is_some_and(|suffix| self.family.has_suffix(suffix));
        }
        let (family, unit) = match self.is_member {
            true => (self.family, self.unit),
            false => (Family::Unknown, &b""[..]),
        };
        Ok(Some(Sample {
            series: &line[blank..end],
            name_len: name.len(),
            value,
            ts_us,
            family,
            unit,
        }))
    }

    /// What follows a value: nothing, a time, an exemplar, or the latter two.
    #[inline]
    fn time(&self, words: &mut Words<'a>) -> Result<Option<i64>, Mistake> {
        let word = words.next();
        let at = words.at - word.len();
        if word.is_empty() {
            return Ok(None);
        }
        if word == b"#" && self.form == Form::OpenMetrics {
            return Ok(None);
        }
        let ts_us = match self.form {
            Form::Prometheus => integer(word).map(|ms| ms.saturating_mul(1_000)),
            Form::OpenMetrics => number(word).map(|s| (s * 1e6).round() as i64),
        };
        let ts_us = ts_us.ok_or((at, "expected a time after the value"))?;
        let word = words.next();
        match word {
            b"" => Ok(Some(ts_us)),
            b"#" if self.form == Form::OpenMetrics => Ok(Some(ts_us)),
            _ => Err((words.at - word.len(), "expected the end of the line")),
        }
    }
}

/// Words between blanks.
struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    /// The next word; empty at the end of the line. Afterwards `at` is its end.
    #[inline]
    fn next(&mut self) -> &'a [u8] {
        let rest = &self.line[self.at..];
        let blank = rest.iter().take_while(|byte| is_blank(**byte)).count();
        let rest = &rest[blank..];
        let len = memchr2(b' ', b'\t', rest).unwrap_or(rest.len());
        self.at += blank + len;
        &rest[..len]
    }
}

#[inline]
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Where the brace closes that opens there; braces in quotes do not count.
#[inline]
fn closing_brace(line: &[u8], open: usize) -> Result<usize, Mistake> {
    let mut at = open + 1;
    loop {
        let found = memchr2(b'"', b'}', &line[at..]);
        at += found.ok_or((line.len(), "expected a closing brace"))?;
        if line[at] == b'}' {
            return Ok(at);
        }
        at = closing_quote(line, at)? + 1;
    }
}

/// Where the quote closes that opens there.
#[inline]
fn closing_quote(line: &[u8], open: usize) -> Result<usize, Mistake> {
    let mut at = open + 1;
    loop {
        let found = memchr2(b'"', b'\\', line.get(at..).unwrap_or(b""));
        at += found.ok_or((line.len(), "expected a closing quote"))?;
        if line[at] == b'"' {
            return Ok(at);
        }
        at += 2;
    }
}

/// A number, of which most are short integers.
#[inline]
fn number(word: &[u8]) -> Option<f64> {
    if word.len() <= 15 && !word.is_empty() && word.iter().all(u8::is_ascii_digit) {
        let digits = word
            .iter()
            .fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        return Some(digits as f64);
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[inline]
fn integer(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A label's name and value.
pub(crate) type Label<'a> = (&'a str, Cow<'a, str>);

/// Takes the text of a series apart: its name and its labels, unescaped. A mistake is at the byte
/// that is given with it.
pub(crate) fn labels<'a>(sample: &Sample<'a>) -> Result<(&'a str, Vec<Label<'a>>), Mistake> {
    let text = std::str::from_utf8(sample.series);
    let text = text.map_err(|error| (error.valid_up_to(), "expected UTF-8"))?;
    let (name, rest) = text.split_at(sample.name_len);
    let mut rest = rest.trim_start_matches([' ', '\t']);
    if !is_name(name, true) {
        return Err((0, "expected the name of a metric"));
    }
    let mut labels = Vec::new();
    let at = |rest: &str| text.len() - rest.len();
    if rest.is_empty() {
        return Ok((name, labels));
    }
    // The first byte is the opening brace, the last one the closing brace.
    rest = rest[1..].trim_start_matches([' ', '\t']);
    while rest != "}" {
        let equals = rest.find('=').ok_or((at(rest), "expected a label"))?;
        let key = rest[..equals].trim_matches([' ', '\t']);
        if !is_name(key, false) {
            return Err((at(rest), "expected the name of a label"));
        }
        rest = rest[equals + 1..].trim_start_matches([' ', '\t']);
        if !rest.starts_with('"') {
            return Err((at(rest), "expected a quoted value of the label"));
        }
        let close = closing_quote(rest.as_bytes(), 0).map_err(|(_, what)| (at(rest), what))?;
        labels.push((key, unescape(&rest[1..close])));
        rest = rest[close + 1..].trim_start_matches([' ', '\t']);
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start_matches([' ', '\t']),
            None if rest == "}" => {}
            None => return Err((at(rest), "expected a comma or a closing brace")),
        }
    }
    Ok((name, labels))
}

fn is_name(name: &str, colons: bool) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || (colons && c == b':');
    name.bytes().all(known) && name.bytes().next().is_some_and(|c| !c.is_ascii_digit())
}

/// A label's value without its escapes; a backslash before anything else stands for itself.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
