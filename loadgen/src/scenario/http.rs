//! Reads `[http]`: what all HTTP requests share; and headers wherever they stand.

use std::path::Path;
use std::time::Duration;

use http::HeaderName;

use super::document::{Item, Section};
use super::template::Scope;
use super::{HttpOptions, HttpVersion, Load, Stage, Template};

/// Connections of an open model over HTTP/1.1.
pub const DEFAULT_CONNECTIONS: u32 = 256;
/// Connections over HTTP/2, each with many streams.
pub const DEFAULT_CONNECTIONS_HTTP2: u32 = 16;
/// Most connections of a run.
pub const MAX_CONNECTIONS: u32 = 1_000_000;
/// Concurrent requests on an HTTP/2 connection; servers commonly allow 100.
pub const DEFAULT_STREAMS: u32 = 100;
/// Arrivals that may wait for a connection: a second's worth at 100,000 per second.
pub const DEFAULT_WAITING: u32 = 100_000;
/// Most arrivals that may wait for a connection.
pub const MAX_WAITING: u32 = 10_000_000;
/// For a whole answer.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// For making a connection.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer.
pub const DEFAULT_MAX_ANSWER_BYTES: u64 = 16 << 20;
/// The bound of the largest answer.
const MAX_MAX_ANSWER_BYTES: u64 = 4 << 30;
/// Most redirects that may be followed.
const MAX_REDIRECTS: u64 = 20;

const KEYS: [&str; 13] = [
    "version",
    "keep_alive",
    "connections",
    "streams",
    "waiting",
    "timeout",
    "connect_timeout",
    "redirects",
    "compression",
    "max_answer",
    "insecure",
    "ca",
    "headers",
];

/// Headers that the client writes by itself, each with what to do instead.
const OWN_HEADERS: [(&str, &str); 5] = [
    ("connection", "set `keep_alive` of [http]"),
    ("content-length", "it follows from the body"),
    ("transfer-encoding", "it follows from the body"),
    ("upgrade", "use [[websockets]]"),
    ("accept-encoding", "set `compression` of [http]"),
];

/// The options, with defaults for what is not there.
pub(super) fn read(
    root: &Section<'_>,
    base: &Path,
    stages: &[Stage],
    scope: &Scope<'_>,
) -> HttpOptions {
    let section = root.get("http").and_then(|item| item.section(&KEYS));
    let section = section.as_ref();
    let get = |key: &str| section.and_then(|section| section.get(key));
    let flag =
        |key: &str, default: bool| get(key).and_then(|item| item.boolean()).unwrap_or(default);
    let time =
        |key: &str, default: Duration| get(key).and_then(|item| item.duration()).unwrap_or(default);
    let version = get("version").and_then(|item| read_version(&item));
    let version = version.unwrap_or_default();
    let streams = get("streams").and_then(|item| item.whole_u32(1..=10_000));
    let streams = streams.unwrap_or(DEFAULT_STREAMS);
    let connections = get("connections").and_then(|item| item.whole_u32(1..=MAX_CONNECTIONS));
    let waiting = get("waiting").and_then(|item| item.whole_u32(0..=MAX_WAITING));
    let redirects = get("redirects").and_then(|item| item.whole(0..=MAX_REDIRECTS));
    let largest = get("max_answer").and_then(|item| item.size(1..=MAX_MAX_ANSWER_BYTES));
    let ca = get("ca").and_then(|item| {
        let path = base.join(item.filled_text()?);
        if !path.is_file() {
            item.fault(format!(
                "there is no file {}; give the path of a PEM file from the scenario's directory",
                path.display()
            ));
        }
        Some(path)
    });
    HttpOptions {
        version,
        keep_alive: flag("keep_alive", true),
        connections: connections.unwrap_or_else(|| default_connections(version, streams, stages)),
        streams,
        waiting: waiting.unwrap_or(DEFAULT_WAITING),
        timeout: time("timeout", DEFAULT_TIMEOUT),
        connect_timeout: time("connect_timeout", DEFAULT_CONNECT_TIMEOUT),
        redirects: redirects
            .and_then(|number| u8::try_from(number).ok())
            .unwrap_or(0),
        compression: flag("compression", false),
        max_answer_bytes: largest.unwrap_or(DEFAULT_MAX_ANSWER_BYTES),
        insecure: flag("insecure", false),
        ca,
        headers: get("headers").map_or_else(Vec::new, |item| read_headers(&item, scope)),
    }
}

fn read_version(item: &Item<'_>) -> Option<HttpVersion> {
    let remedy = "1 or 2 (or \"1.1\", \"2\")";
    if item.is_number() {
        return match item.number(1.0..=2.0, remedy)? {
            2.0 => Some(HttpVersion::Http2),
            _ => Some(HttpVersion::Http1),
        };
    }
    item.word(&[
        ("1.1", HttpVersion::Http1),
        ("1", HttpVersion::Http1),
        ("2", HttpVersion::Http2),
    ])
}

/// Enough for every user to have an answer under way; with arrivals, a fixed number.
fn default_connections(version: HttpVersion, streams: u32, stages: &[Stage]) -> u32 {
    let mut open = stages.is_empty();
    let mut most_users = 0;
    for stage in stages {
        match stage.load {
            Load::Rate { .. } => open = true,
            Load::Users { from, to } => most_users = most_users.max(from).max(to),
            Load::Hold => {}
        }
    }
    let (arrivals, users) = match version {
        HttpVersion::Http1 => (DEFAULT_CONNECTIONS, most_users),
        HttpVersion::Http2 => (DEFAULT_CONNECTIONS_HTTP2, most_users.div_ceil(streams)),
    };
    users.max(if open { arrivals } else { 1 })
}

/// Whether a scenario may name this header: a token that the client does not write by itself.
pub(crate) fn is_free_header(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok() && own_header(name).is_none()
}

/// What to do instead of naming a header that the client writes by itself.
fn own_header(name: &str) -> Option<&'static str> {
    OWN_HEADERS
        .iter()
        .find(|(own, _)| name.eq_ignore_ascii_case(own))
        .map(|(_, instead)| *instead)
}

/// A table of headers. Names are tokens that the client does not write by itself.
pub(super) fn read_headers(item: &Item<'_>, scope: &Scope<'_>) -> Vec<(String, Template)> {
    let mut headers = Vec::new();
    for header in item.names().iter().flat_map(Section::items) {
        let name = header.key;
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            header.key_fault(format!(
                "`{name}` is not a header's name; write letters, digits and `-`"
            ));
            continue;
        }
        if let Some(instead) = own_header(name) {
            header.key_fault(format!(
                "the client writes the header `{name}` by itself; leave it out: {instead}"
            ));
            continue;
        }
        let Some(value) = read_template(&header, scope) else {
            continue;
        };
        let has_control = |text: &str| text.chars().any(|letter| letter.is_control());
        if value.literals().any(has_control) {
            header.fault(format!(
                "the header `{name}` has a line end or control character; write it in one line"
            ));
            continue;
        }
        headers.push((name.to_owned(), value));
    }
    headers
}

/// A text whose variables all have a value here.
pub(super) fn read_template(item: &Item<'_>, scope: &Scope<'_>) -> Option<Template> {
    template_of(item, item.text()?, scope)
}

/// The same for a text that was made of the item.
pub(super) fn template_of(item: &Item<'_>, text: &str, scope: &Scope<'_>) -> Option<Template> {
    match Template::parse(text) {
        Ok(template) => {
            for name in template.variables() {
                if let Some(fault) = scope.fault_of(name) {
                    item.fault(fault);
                }
            }
            Some(template)
        }
        Err(error) => {
            item.fault(format!("{}: {error}", item.what));
            None
        }
    }
}

/// Path and query of a request.
pub(super) fn read_path(item: &Item<'_>, scope: &Scope<'_>) -> Option<Template> {
    let text = item.filled_text()?;
    if !text.starts_with('/') {
        let remedy = match text.contains("://") {
            true => "the host comes from --target; write the path alone".to_owned(),
            false => format!("write \"/{text}\""),
        };
        item.fault(format!(
            "{} is `{text}`, without a leading `/`; {remedy}",
            item.what
        ));
        return None;
    }
    let template = template_of(item, text, scope)?;
    let unfit = |letter: char| {
        letter.is_whitespace() || letter.is_control() || letter == '#' || !letter.is_ascii()
    };
    let found = template
        .literals()
        .flat_map(str::chars)
        .find(|letter| unfit(*letter));
    if let Some(letter) = found {
        item.fault(format!(
            "{} has the character {letter:?}; leave it out or encode it as in `%20`",
            item.what
        ));
        return None;
    }
    Some(template)
}
