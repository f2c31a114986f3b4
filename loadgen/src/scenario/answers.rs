//! Reads what an answer must be (`checks`) and what is taken from it (`captures`).

use std::ops::RangeInclusive;

use http::HeaderName;
use regex::Regex;
use toml::de::DeValue;

use super::document::{Item, Section};
use super::template::BUILTINS;
use super::{Capture, CaptureFrom, Check};

/// `checks = { status = 200, contains = "ok", matches = "^a", within = "1s" }`
pub(super) fn read_checks(item: &Item<'_>) -> Vec<Check> {
    let Some(section) = item.section(&["status", "contains", "matches", "within"]) else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    if let Some(status) = section.get("status") {
        let ranges: Vec<_> = status
            .one_or_more()
            .iter()
            .filter_map(read_status)
            .collect();
        checks.push(Check::Status(ranges));
    }
    let all = |key: &str| {
        section
            .get(key)
            .map_or_else(Vec::new, |item| item.one_or_more())
    };
    for text in all("contains") {
        checks.extend(
            text.filled_text()
                .map(|text| Check::Contains(text.to_owned())),
        );
    }
    for text in all("matches") {
        checks.extend(read_regex(&text).map(Check::Matches));
    }
    let within = section.get("within").and_then(|item| item.duration());
    checks.extend(within.map(Check::Within));
    checks
}

/// `200`, `"2xx"` or `"200-299"`.
fn read_status(item: &Item<'_>) -> Option<RangeInclusive<u16>> {
    if item.is_number() {
        let status = item.whole_u32(100..=999)? as u16;
        return Some(status..=status);
    }
    let text = item.text()?;
    let code = |text: &str| {
        let code = text.trim().parse::<u16>().ok()?;
        (100..=999).contains(&code).then_some(code)
    };
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) => code(&format!("{class}00")).map(|first| first..=first + 99),
        (None, Some((first, last))) => code(first)
            .zip(code(last))
            .map(|(first, last)| first..=last),
        (None, None) => code(text).map(|status| status..=status),
    };
    match range {
        Some(range) if !range.is_empty() => Some(range),
        _ => {
            item.fault(format!(
                "{} is `{text}`, which is no status; write 200, \"2xx\", \"200-299\" or several in an array",
                item.what
            ));
            None
        }
    }
}

fn read_regex(item: &Item<'_>) -> Option<Regex> {
    let text = item.filled_text()?;
    match Regex::new(text) {
        Ok(regex) => Some(regex),
        Err(error) => {
            // The last line of the library's message says what is wrong; those before it draw it.
            let message = error.to_string();
            let reason = message.lines().last().unwrap_or_default();
            item.fault(format!(
                "{} is not a regular expression: {}; write backslashes in single quotes",
                item.what,
                reason.trim_start_matches("error: ")
            ));
            None
        }
    }
}

/// `captures = { id = { json = "/0/id" } }`
pub(super) fn read_captures(item: &Item<'_>) -> Vec<Capture> {
    let mut captures = Vec::new();
    for capture in item.names().iter().flat_map(Section::items) {
        let name = capture.key;
        if BUILTINS.contains(&name) || name.is_empty() || name.contains(['.', '$', '{', '}']) {
            capture.key_fault(format!(
                "a capture cannot be called `{name}`; write letters, digits, `-` and `_`, and none of the builtin names"
            ));
            continue;
        }
        if let Some(from) = read_capture(&capture) {
            captures.push(Capture {
                name: name.to_owned(),
                from,
            });
        }
    }
    captures
}

fn read_capture(item: &Item<'_>) -> Option<CaptureFrom> {
    let section = item.section(&["json", "header", "regex"])?;
    let mut sources = section.items();
    sources.retain(|source| ["json", "header", "regex"].contains(&source.key));
    let [source] = sources.as_slice() else {
        item.fault(format!(
            "{} needs one source; write {{ json = \"/id\" }}, {{ header = \"location\" }} or {{ regex = 'id=(\\d+)' }}",
            item.what
        ));
        return None;
    };
    match source.key {
        "json" => read_pointer(source).map(CaptureFrom::Json),
        "header" => {
            let name = source.filled_text()?;
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                source.fault(format!(
                    "`{name}` is not a header's name; write letters, digits and `-`"
                ));
                return None;
            }
            Some(CaptureFrom::Header(name.to_owned()))
        }
        _ => {
            let regex = read_regex(source)?;
            if regex.captures_len() < 2 {
                source.fault(format!(
                    "{} has no group; put what is to be captured in brackets",
                    source.what
                ));
                return None;
            }
            Some(CaptureFrom::Regex(regex))
        }
    }
}

/// A JSON pointer by RFC 6901: empty, or `/` before each part, with `~` only as `~0` and `~1`.
fn read_pointer(item: &Item<'_>) -> Option<String> {
    let DeValue::String(pointer) = item.value() else {
        return item.text().map(str::to_owned);
    };
    let tildes = pointer.split('~').skip(1);
    let is_escaped = |after: &str| after.starts_with(['0', '1']);
    let starts = pointer.is_empty() || pointer.starts_with('/');
    if !starts || !tildes.into_iter().all(is_escaped) {
        item.fault(format!(
            "{} is `{pointer}`, which is no JSON pointer; write \"/\" before each part, as in \"/items/0/id\"",
            item.what
        ));
        return None;
    }
    Some(pointer.clone().into_owned())
}
