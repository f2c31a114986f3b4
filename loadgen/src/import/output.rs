//! The text of an imported scenario: quoting, escaping, comments and names that occur once.

use std::collections::BTreeSet;

/// Longest text that is taken over into a comment.
const MAX_COMMENT: usize = 200;

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A TOML string whose `${` stay what they are.
pub(super) fn template(text: &str) -> String {
    quoted(&text.replace("${", "$${"))
}

/// A table of headers in one line.
pub(super) fn headers(headers: &[(String, String)]) -> String {
    let pairs: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{} = {}", quoted(name), template(value)))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// One line of a comment, cut and without line ends.
pub(super) fn comment(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MAX_COMMENT)
        .collect();
    format!("# {}\n", line.trim_end())
}

/// The same text with every line commented out.
pub(super) fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

/// A path that can be sent: ASCII without spaces and fragment.
pub(super) fn path(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.split('#').next().unwrap_or_default().bytes() {
        match byte {
            0..=b' ' | 0x7f.. | b'"' | b'<' | b'>' => path.push_str(&format!("%{byte:02X}")),
            other => path.push(char::from(other)),
        }
    }
    match path.starts_with('/') {
        true => path,
        false => format!("/{path}"),
    }
}

/// Text as a part of a path or query: everything but unreserved characters is encoded.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// Names given so far.
#[derive(Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// The wanted name, with a number behind it if it is taken.
    pub(super) fn unique(&mut self, wanted: &str) -> String {
        let wanted: String = wanted
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{wanted} #{number}");
            number += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::Template;

    proptest! {
        #[test]
        fn strings_come_back_from_toml_and_template(text in "\\PC{0,20}|[$\\{\\}\"\\\\\n\t\u{1}]{0,10}") {
            prop_assume!(!text.contains("$${"));
            let table: toml::Table = format!("key = {}", template(&text)).parse().expect("TOML");
            let value = table["key"].as_str().expect("a string");
            let template = Template::parse(value).expect("a template");
            prop_assert_eq!(template.as_literal(), Some(text.as_str()));
        }
    }

    #[test]
    fn paths_are_sendable() {
        assert_eq!(path("a b/é?x=<1>#top"), "/a%20b/%C3%A9?x=%3C1%3E");
        assert_eq!(encoded("a/b c"), "a%2Fb%20c");
    }

    #[test]
    fn names_occur_once() {
        let mut names = Names::default();
        assert_eq!(names.unique("GET /"), "GET /");
        assert_eq!(names.unique("GET /"), "GET / #2");
    }
}
