//! What an answer is held to, and what later steps take from it: pure functions over an answer that
//! has come whole.

use std::borrow::Cow;

use http::HeaderMap;
use serde_json::Value;

use crate::operation::Failure;
use crate::scenario::{Capture, CaptureFrom, Check, Step};

/// Statuses from here on are failures where no check says otherwise.
const FIRST_FAILED_STATUS: u16 = 400;

/// Whether the checks or captures of a step look into the body.
pub(crate) fn needs_body(step: &Step) -> bool {
    let by_check = |check: &Check| matches!(check, Check::Contains(_) | Check::Matches(_));
    let by_capture = |capture: &Capture| !matches!(capture.from, CaptureFrom::Header(_));
    step.checks.iter().any(by_check) || step.captures.iter().any(by_capture)
}

/// The first check that fails: status, then body, then time.
pub(crate) fn check(
    checks: &[Check],
    status: u16,
    body: &[u8],
    took_ns: u64,
) -> Result<(), Failure> {
    let mut ranges = checks
        .iter()
        .filter_map(|check| match check {
            Check::Status(ranges) => Some(ranges),
            _ => None,
        })
        .peekable();
    let allowed = match ranges.peek() {
        None => status < FIRST_FAILED_STATUS,
        Some(_) => ranges.all(|ranges| ranges.iter().any(|range| range.contains(&status))),
    };
    if !allowed {
        return Err(Failure::Status);
    }
    let reads = checks
        .iter()
        .any(|check| matches!(check, Check::Contains(_) | Check::Matches(_)));
    let text = if reads {
        String::from_utf8_lossy(body)
    } else {
        Cow::Borrowed("")
    };
    for check in checks {
        let holds = match check {
            Check::Contains(wanted) => text.contains(wanted.as_str()),
            Check::Matches(wanted) => wanted.is_match(&text),
            Check::Status(_) | Check::Within(_) => true,
        };
        if !holds {
            return Err(Failure::Body);
        }
    }
    let slow = checks.iter().any(
        |check| matches!(check, Check::Within(limit) if u128::from(took_ns) > limit.as_nanos()),
    );
    if slow { Err(Failure::Slow) } else { Ok(()) }
}

/// The captured values, in the order of the captures.
pub(crate) fn capture<'a>(
    captures: &'a [Capture],
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<(&'a str, String)>, Failure> {
    let mut json: Option<Option<Value>> = None;
    let mut text: Option<Cow<'_, str>> = None;
    captures
        .iter()
        .map(|capture| {
            let value = match &capture.from {
                CaptureFrom::Header(name) => headers
                    .get(name.as_str())
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
                CaptureFrom::Json(pointer) => json
                    .get_or_insert_with(|| serde_json::from_slice(body).ok())
                    .as_ref()
                    .and_then(|json| json.pointer(pointer))
                    .and_then(json_text),
                CaptureFrom::Regex(expression) => expression
                    .captures(text.get_or_insert_with(|| String::from_utf8_lossy(body)))
                    .and_then(|found| found.get(1))
                    .map(|group| group.as_str().to_owned()),
            };
            value
                .map(|value| (capture.name.as_str(), value))
                .ok_or(Failure::Capture)
        })
        .collect()
}

/// A string without its quotes, anything else as JSON; `null` is a missing value.
fn json_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use regex::Regex;

    use super::*;

    #[test]
    fn without_a_check_on_the_status_all_below_400_pass() {
        assert_eq!(check(&[], 399, b"", 0), Ok(()));
        assert_eq!(check(&[], 400, b"", 0), Err(Failure::Status));
        let only = [Check::Status(vec![200..=204, 404..=404])];
        assert_eq!(check(&only, 404, b"", 0), Ok(()));
        assert_eq!(check(&only, 301, b"", 0), Err(Failure::Status));
    }

    #[test]
    fn status_goes_before_body_and_body_before_time() {
        let checks = [
            Check::Within(Duration::from_nanos(5)),
            Check::Contains("yes".to_owned()),
            Check::Matches(Regex::new("^y.s$").expect("valid")),
        ];
        assert_eq!(check(&checks, 500, b"no", 6), Err(Failure::Status));
        assert_eq!(check(&checks, 200, b"no", 6), Err(Failure::Body));
        assert_eq!(check(&checks, 200, b"yes!", 6), Err(Failure::Body));
        assert_eq!(check(&checks, 200, b"yes", 6), Err(Failure::Slow));
        assert_eq!(check(&checks, 200, b"yes", 5), Ok(()));
    }

    #[test]
    fn values_are_taken_from_json_headers_and_text_or_missed() {
        let from = |from| Capture {
            name: "x".to_owned(),
            from,
        };
        let json = |pointer: &str| from(CaptureFrom::Json(pointer.to_owned()));
        let mut headers = HeaderMap::new();
        headers.insert("x-id", "7".parse().expect("valid"));
        let body = br#"{"a":[{"b":"text"},2],"n":null}"#;
        let all = [
            json("/a/0/b"),
            json("/a/1"),
            from(CaptureFrom::Header("X-Id".to_owned())),
            from(CaptureFrom::Regex(
                Regex::new(r#""b":"(\w+)""#).expect("valid"),
            )),
        ];
        let values = capture(&all, &headers, body).expect("all are there");
        let values: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["text", "2", "7", "text"]);
        for missing in [
            json("/n"),
            json("/z"),
            from(CaptureFrom::Header("x-none".to_owned())),
            from(CaptureFrom::Regex(Regex::new("(z)").expect("valid"))),
        ] {
            assert_eq!(capture(&[missing], &headers, body), Err(Failure::Capture));
        }
        assert_eq!(
            capture(&[json("/a")], &headers, b"not json"),
            Err(Failure::Capture)
        );
    }
}
