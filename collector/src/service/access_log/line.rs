//! One line of an access log in the `common` and `combined` formats. Pure, without allocations.
//!
//! Lines of JSON are read in [`super::json`].

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use serde::{Deserialize, Serialize};

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// As it stands there; empty where the request was none.
    pub(super) method: Cow<'a, str>,
    /// The path with its query; empty where the request was none.
    pub(super) target: Cow<'a, str>,
    pub(super) status: u16,
    pub(super) bytes: Option<u64>,
    pub(super) duration_us: Option<u64>,
    /// The ETag of the response, where the log tells.
    pub(super) etag: Option<Cow<'a, str>>,
    /// Whether it was a retry, where the log tells.
    pub(super) retry: Option<bool>,
}

/// The unit in which a log tells how long a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DurationUnit {
    /// Seconds, as nginx and Caddy have it.
    #[default]
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds, as Apache's `%D` has it.
    #[serde(rename = "us")]
    Microseconds,
}

impl DurationUnit {
    /// Whole microseconds; `None` for what is no time.
    pub(super) fn to_us(self, value: f64) -> Option<u64> {
        let factor = match self {
            Self::Seconds => 1e6,
            Self::Milliseconds => 1e3,
            Self::Microseconds => 1.0,
        };
        let us = (value * factor).round();
        // Nothing takes a century; larger numbers are mistakes in the log.
        (us.is_finite() && (0.0..3e15).contains(&us)).then_some(us as u64)
    }
}

/// Reads `host ident user [time] "request" status bytes`, and for `combined` the two quoted fields
/// after it. With a unit, the last field of the line is the request's time.
pub(super) fn parse(
    line: &[u8],
    combined: bool,
    duration: Option<DurationUnit>,
) -> Option<Entry<'_>> {
    let opened = memchr(b'[', line)?;
    let closed = opened + memchr(b']', &line[opened..])?;
    let (request, rest) = quoted(line.get(closed + 1..)?)?;
    let rest = rest.strip_prefix(b" ")?;
    let (status, rest) = (status(rest.get(..3)?)?, rest.get(3..)?);
    let rest = rest.strip_prefix(b" ")?;
    let end = memchr(b' ', rest).unwrap_or(rest.len());
    let (bytes, mut rest) = (size(&rest[..end])?, &rest[end..]);
    if combined {
        rest = quoted(rest)?.1;
        rest = quoted(rest)?.1;
    }
    let (method, target) = split_request(std::str::from_utf8(request).ok()?);
    Some(Entry {
        method: Cow::Borrowed(method),
        target: Cow::Borrowed(target),
        status,
        bytes,
        duration_us: duration.and_then(|unit| last_duration(rest, unit)),
        etag: None,
        retry: None,
    })
}

/// What stands in quotes after a space, and what follows. A backslash keeps a quote from closing.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b" \"")?;
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        at += 2;
    }
}

fn status(digits: &[u8]) -> Option<u16> {
    let number = digits.iter().try_fold(0_u16, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        Some(number * 10 + u16::from(digit))
    })?;
    (100..=599).contains(&number).then_some(number)
}

/// The inner option is for `-`, which says that there was no body.
fn size(field: &[u8]) -> Option<Option<u64>> {
    if field == b"-" {
        return Some(Some(0));
    }
    if field.is_empty() || field.len() > 18 {
        return None;
    }
    let number = field.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        Some(number * 10 + u64::from(digit))
    })?;
    Some(Some(number))
}

/// Method and target; both empty where a client sent something else than a request.
pub(super) fn split_request(request: &str) -> (&str, &str) {
    let Some((method, rest)) = request.split_once(' ') else {
        return ("", "");
    };
    let target = rest
        .rsplit_once(" HTTP/")
        .map_or(rest, |(target, _)| target);
    (method, target)
}

fn last_duration(rest: &[u8], unit: DurationUnit) -> Option<u64> {
    let text = std::str::from_utf8(rest).ok()?;
    let field = text.trim_ascii_end().rsplit(' ').next()?;
    unit.to_us(field.trim_matches('"').parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMBINED: &str = r#"203.0.113.7 - frank [10/Oct/2026:13:55:36 +0000] "GET /a/b?c=1 HTTP/1.1" 200 2326 "http://x/" "agent \"x\" 1.0" 0.042"#;

    fn read(line: &str, combined: bool, unit: Option<DurationUnit>) -> Option<Entry<'_>> {
        parse(line.as_bytes(), combined, unit)
    }

    #[test]
    fn a_combined_line_is_taken_apart() {
        let entry = read(COMBINED, true, Some(DurationUnit::Seconds)).expect("well-formed");
        assert_eq!((&*entry.method, &*entry.target), ("GET", "/a/b?c=1"));
        assert_eq!((entry.status, entry.bytes), (200, Some(2326)));
        assert_eq!(entry.duration_us, Some(42_000));
        assert_eq!(entry.retry, None);
        let without = read(COMBINED, true, None).expect("well-formed");
        assert_eq!(without.duration_us, None);
    }

    #[test]
    fn a_common_line_needs_no_agent() {
        let line = r#"::1 - - [10/Oct/2026:13:55:36 +0000] "HEAD / HTTP/1.0" 304 -"#;
        let entry = read(line, false, None).expect("well-formed");
        assert_eq!((entry.status, entry.bytes), (304, Some(0)));
        assert_eq!(read(line, true, None), None, "combined has two more fields");
    }

    #[test]
    fn what_is_no_request_is_still_a_line() {
        let line = r#"::1 - - [10/Oct/2026:13:55:36 +0000] "\x16\x03\x01" 400 150"#;
        let entry = read(line, false, None).expect("well-formed");
        assert_eq!(
            (&*entry.method, &*entry.target, entry.status),
            ("", "", 400)
        );
    }

    #[test]
    fn units_of_time() {
        let line = r#"::1 - - [t] "GET / HTTP/1.1" 200 1 1500"#;
        for (unit, us) in [
            (DurationUnit::Microseconds, 1_500),
            (DurationUnit::Milliseconds, 1_500_000),
            (DurationUnit::Seconds, 1_500_000_000),
        ] {
            let entry = read(line, false, Some(unit)).expect("well-formed");
            assert_eq!(entry.duration_us, Some(us), "{unit:?}");
        }
        assert_eq!(DurationUnit::Seconds.to_us(-1.0), None);
        assert_eq!(DurationUnit::Seconds.to_us(f64::NAN), None);
    }

    #[test]
    fn every_prefix_and_every_flipped_byte_is_survived() {
        for end in 0..COMBINED.len() {
            read(&COMBINED[..end], true, Some(DurationUnit::Seconds));
        }
        for at in 0..COMBINED.len() {
            for byte in [0, b'"', b'\\', b' ', b'[', 0xff] {
                let mut line = COMBINED.as_bytes().to_vec();
                line[at] = byte;
                parse(&line, true, Some(DurationUnit::Seconds));
            }
        }
        for bad in [
            "",
            "hello",
            r#"::1 - - [t] "GET / HTTP/1.1" 99 1"#,
            r#"::1 - - [t] "GET / HTTP/1.1" abc 1"#,
            r#"::1 - - [t] "GET / HTTP/1.1" 200 1x"#,
            r#"::1 - - [t] "GET / HTTP/1.1" 200 "#,
            r#"::1 - - [t] "GET / HTTP/1.1"#,
        ] {
            assert_eq!(read(bad, false, None), None, "{bad}");
        }
    }
}
