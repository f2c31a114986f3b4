//! One line of an access log in JSON: an object whose fields are named by the configuration. Only
//! these are kept while the line is read once.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::line::{DurationUnit, Entry, split_request};

/// The names of the fields; a dot leads into an object: `request.method`. The defaults are the
/// variables of nginx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldNames {
    /// The request's method.
    pub method: String,
    /// Its path, with or without the query.
    pub path: String,
    /// The whole request line, where method and path are not told apart.
    pub request: String,
    /// The status of the response.
    pub status: String,
    /// The bytes of its body.
    pub bytes: String,
    /// How long the request took, in `duration_unit`.
    pub duration: String,
    /// The ETag of the response, which tells contents apart better than their sizes.
    pub etag: String,
    /// The number of the attempt, or whether it is a retry; left out, retries are not observable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
}

impl Default for FieldNames {
    fn default() -> Self {
        Self {
            method: "request_method".to_owned(),
            path: "request_uri".to_owned(),
            request: "request".to_owned(),
            status: "status".to_owned(),
            bytes: "body_bytes_sent".to_owned(),
            duration: "request_time".to_owned(),
            etag: "sent_http_etag".to_owned(),
            attempt: None,
        }
    }
}

/// What a field is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Method,
    Path,
    Request,
    Status,
    Bytes,
    Duration,
    Etag,
    Attempt,
}

/// Reads lines of one log.
#[derive(Debug)]
pub(super) struct JsonLines {
    /// The object that a field is in (empty for the line's own), its name there, and its role.
    wanted: Vec<(String, String, Role)>,
    unit: DurationUnit,
    first_attempt: u32,
}

impl JsonLines {
    pub(super) fn new(names: &FieldNames, unit: DurationUnit, first_attempt: u32) -> Self {
        let all = [
            (Some(&names.method), Role::Method),
            (Some(&names.path), Role::Path),
            (Some(&names.request), Role::Request),
            (Some(&names.status), Role::Status),
            (Some(&names.bytes), Role::Bytes),
            (Some(&names.duration), Role::Duration),
            (Some(&names.etag), Role::Etag),
            (names.attempt.as_ref(), Role::Attempt),
        ];
        let wanted = all.into_iter().filter_map(|(name, role)| {
            let name = name?.as_str();
            let (outer, inner) = name.split_once('.').unwrap_or(("", name));
            Some((outer.to_owned(), inner.to_owned(), role))
        });
        Self {
            wanted: wanted.collect(),
            unit,
            first_attempt,
        }
    }

    /// `None` for what is no object, or has no method, path or status.
    pub(super) fn parse<'a>(&self, line: &'a [u8]) -> Option<Entry<'a>> {
        let mut found = Found::default();
        let mut reader = serde_json::Deserializer::from_slice(line);
        let object = Object {
            lines: self,
            outer: "",
            found: &mut found,
        };
        object.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        let (method, target) = match (found.method, found.path, found.request) {
            (Some(Scalar::Text(method)), Some(Scalar::Text(path)), _) => (method, path),
            (_, _, Some(Scalar::Text(Cow::Borrowed(request)))) => {
                let (method, target) = split_request(request);
                (Cow::Borrowed(method), Cow::Borrowed(target))
            }
            (_, _, Some(Scalar::Text(Cow::Owned(request)))) => {
                let (method, target) = split_request(&request);
                (Cow::Owned(method.to_owned()), Cow::Owned(target.to_owned()))
            }
            _ => return None,
        };
        let status = found.status?.number()?;
        if !(100.0..600.0).contains(&status) {
            return None;
        }
        let bytes = found.bytes.and_then(|bytes| bytes.number());
        let duration = found.duration.and_then(|duration| duration.number());
        let observed = self
            .wanted
            .iter()
            .any(|(_, _, role)| *role == Role::Attempt);
        Some(Entry {
            method,
            target,
            status: status as u16,
            bytes: bytes
                .filter(|bytes| (0.0..9e15).contains(bytes))
                .map(|bytes| bytes as u64),
            duration_us: duration.and_then(|duration| self.unit.to_us(duration)),
            etag: found.etag.and_then(Scalar::etag),
            retry: observed.then(|| found.attempt.is_some_and(|told| self.is_retry(&told))),
        })
    }

    fn is_retry(&self, told: &Scalar<'_>) -> bool {
        match told {
            Scalar::Flag(flag) => *flag,
            Scalar::Text(text) if &**text == "true" => true,
            told => told
                .number()
                .is_some_and(|attempt| attempt > f64::from(self.first_attempt)),
        }
    }

    fn role(&self, outer: &str, name: &str) -> Option<Role> {
        let mut all = self.wanted.iter();
        all.find(|wanted| wanted.1 == name && wanted.0 == outer)
            .map(|wanted| wanted.2)
    }

    fn outer(&self, name: &str) -> Option<&str> {
        let mut all = self.wanted.iter();
        all.find(|wanted| wanted.0 == name)
            .map(|wanted| wanted.0.as_str())
    }
}

#[derive(Default)]
struct Found<'a> {
    method: Option<Scalar<'a>>,
    path: Option<Scalar<'a>>,
    request: Option<Scalar<'a>>,
    status: Option<Scalar<'a>>,
    bytes: Option<Scalar<'a>>,
    duration: Option<Scalar<'a>>,
    etag: Option<Scalar<'a>>,
    attempt: Option<Scalar<'a>>,
}

/// An object, of which the wanted fields are kept.
struct Object<'l, 'f, 'a> {
    lines: &'l JsonLines,
    outer: &'l str,
    found: &'f mut Found<'a>,
}

impl<'a> DeserializeSeed<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Scalar::Text(key)) = map.next_key::<Scalar<'a>>()? {
            // What fields are looked for in is an object, even where a field has its name by default.
            if let Some(outer) = self
                .lines
                .outer(&key)
                .filter(|outer| self.outer.is_empty() && !outer.is_empty())
            {
                map.next_value_seed(Object {
                    lines: self.lines,
                    outer,
                    found: &mut *self.found,
                })?;
            } else if let Some(role) = self.lines.role(self.outer, &key) {
                let value = map.next_value::<Scalar<'a>>()?;
                let place = match role {
                    Role::Method => &mut self.found.method,
                    Role::Path => &mut self.found.path,
                    Role::Request => &mut self.found.request,
                    Role::Status => &mut self.found.status,
                    Role::Bytes => &mut self.found.bytes,
                    Role::Duration => &mut self.found.duration,
                    Role::Etag => &mut self.found.etag,
                    Role::Attempt => &mut self.found.attempt,
                };
                *place = Some(value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A value that is no object; of a list the first one stands for all, since loggers write headers so.
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Flag(bool),
    Nothing,
}

impl<'a> Scalar<'a> {
    /// `None` for what says that there was none.
    fn etag(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) if !text.is_empty() && text != "-" => Some(text),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Flag(_) | Self::Nothing => None,
        }
    }
}

impl<'a> Deserialize<'a> for Scalar<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'a> Visitor<'a> for ScalarVisitor {
    type Value = Scalar<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Scalar<'a>, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<Scalar<'a>, S::Error> {
        let first = list.next_element::<Scalar<'a>>()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first.unwrap_or(Scalar::Nothing))
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Scalar<'a>, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nginx() -> JsonLines {
        JsonLines::new(&FieldNames::default(), DurationUnit::Seconds, 0)
    }

    #[test]
    fn text_and_numbers_are_taken() {
        let line = br#"{"time":"x","request_method":"GET","request_uri":"/a\"b?c","status":"200","body_bytes_sent":17,"request_time":"0.25","more":{"a":[1,2]}}"#;
        let entry = nginx().parse(line).expect("well-formed");
        assert_eq!((&*entry.method, &*entry.target), ("GET", "/a\"b?c"));
        assert_eq!((entry.status, entry.bytes), (200, Some(17)));
        assert_eq!((entry.duration_us, entry.retry), (Some(250_000), None));
    }

    #[test]
    fn fields_may_be_in_an_object_and_tell_attempts() {
        let names = FieldNames {
            method: "request.method".to_owned(),
            path: "request.uri".to_owned(),
            bytes: "size".to_owned(),
            duration: "duration".to_owned(),
            attempt: Some("request.attempt".to_owned()),
            ..FieldNames::default()
        };
        let lines = JsonLines::new(&names, DurationUnit::Milliseconds, 1);
        for (attempt, retry) in [
            (r#"["2"]"#, true),
            ("2", true),
            ("true", true),
            ("\"true\"", true),
            ("1", false),
            ("\"\"", false),
            ("null", false),
            ("{}", false),
        ] {
            let line = format!(
                r#"{{"request":{{"method":"PUT","uri":"/x","attempt":{attempt}}},"status":503,"size":1,"duration":2.5}}"#
            );
            let entry = lines.parse(line.as_bytes());
            let entry = entry.unwrap_or_else(|| panic!("{attempt} is not taken"));
            assert_eq!(entry.duration_us, Some(2_500));
            assert_eq!(entry.retry, Some(retry), "{attempt}");
        }
    }

    #[test]
    fn a_whole_request_line_will_do() {
        let line = br#"{"request":"POST /p?q HTTP/2.0","status":201}"#;
        let entry = nginx().parse(line).expect("well-formed");
        assert_eq!((&*entry.method, &*entry.target), ("POST", "/p?q"));
        assert_eq!((entry.bytes, entry.duration_us), (None, None));
        assert_eq!(entry.etag, None);
    }

    #[test]
    fn an_etag_is_taken_where_there_is_one() {
        for (value, etag) in [
            (r#""W/\"a1\"""#, Some("W/\"a1\"")),
            (r#"["b2"]"#, Some("b2")),
            (r#""-""#, None),
            (r#""""#, None),
            ("null", None),
        ] {
            let line =
                format!(r#"{{"request":"GET / HTTP/1.1","status":200,"sent_http_etag":{value}}}"#);
            let entry = nginx().parse(line.as_bytes()).expect("well-formed");
            assert_eq!(entry.etag.as_deref(), etag, "{value}");
        }
    }

    #[test]
    fn malformed_lines_are_none() {
        for bad in [
            "",
            "[]",
            "{",
            "nonsense",
            r#"{"status":200}"#,
            r#"{"request":"GET / HTTP/1.1","status":9}"#,
            r#"{"request":"GET / HTTP/1.1","status":200} trailing"#,
            r#"{"request":"GET / HTTP/1.1","status":-200}"#,
        ] {
            assert_eq!(nginx().parse(bad.as_bytes()), None, "{bad}");
        }
        let deep = format!("{}{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        assert_eq!(nginx().parse(deep.as_bytes()), None, "nesting is bounded");
    }
}
