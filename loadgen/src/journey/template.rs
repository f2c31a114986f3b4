//! Templates filled in with a user's values. What a variable's value is, is left to `user`.
//!
//! A value inside a path or query is one piece of it: every byte but the unreserved ones of
//! RFC 3986 (letters, digits, `-`, `.`, `_`, `~`) is percent-encoded, so that a value can never add
//! a segment or a parameter. A value that a path *begins* with is a path of its own (a captured
//! `Location`, say): only bytes that no URL may hold are encoded, and the target's own origin before
//! it is taken off. Literal text is taken as it stands. Bodies and headers take values unchanged.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::operation::Failure;
use crate::scenario::{Feed, Template, TemplatePart};

use super::user::User;

/// A template as plain text.
pub(crate) fn text(
    template: &Template,
    user: &mut User,
    feeds: &BTreeMap<String, Arc<Feed>>,
) -> Result<String, Failure> {
    let mut out = String::new();
    for part in &template.parts {
        match part {
            TemplatePart::Literal(literal) => out.push_str(literal),
            TemplatePart::Variable(name) => {
                out.push_str(&user.value(name, feeds).ok_or(Failure::Capture)?);
            }
        }
    }
    Ok(out)
}

/// A template as path and query; `origin` is the target's, as in `http://host:port`.
pub(crate) fn path(
    template: &Template,
    user: &mut User,
    feeds: &BTreeMap<String, Arc<Feed>>,
    origin: &str,
) -> Result<String, Failure> {
    let mut out = String::new();
    for (at, part) in template.parts.iter().enumerate() {
        match part {
            TemplatePart::Literal(literal) => out.push_str(literal),
            TemplatePart::Variable(name) => {
                let value = user.value(name, feeds).ok_or(Failure::Capture)?;
                if at == 0 {
                    let value = value.strip_prefix(origin).unwrap_or(&value);
                    encode(value, may_stand_in_url, &mut out);
                } else {
                    encode(&value, is_unreserved, &mut out);
                }
            }
        }
    }
    Ok(out)
}

fn encode(value: &str, may_stay: fn(u8) -> bool, out: &mut String) {
    for byte in value.bytes() {
        if may_stay(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes all that is written");
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Unreserved and reserved bytes and the percent sign, but not `#`: a fragment is never sent.
fn may_stand_in_url(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'%' | b':'
                | b'/'
                | b'?'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &str, may_stay: fn(u8) -> bool) -> String {
        let mut out = String::new();
        encode(value, may_stay, &mut out);
        out
    }

    #[test]
    fn a_value_inside_a_path_cannot_add_a_segment_or_a_parameter() {
        assert_eq!(
            encoded("a/b?c=d&e f%ä~-._", is_unreserved),
            "a%2Fb%3Fc%3Dd%26e%20f%25%C3%A4~-._"
        );
    }

    #[test]
    fn a_value_that_is_a_path_keeps_its_shape() {
        assert_eq!(
            encoded("/a%20b/ü?x=1&y=\r\n#end", may_stand_in_url),
            "/a%20b/%C3%BC?x=1&y=%0D%0A%23end"
        );
    }
}
