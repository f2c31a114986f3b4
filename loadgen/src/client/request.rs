//! Requests that are the same every time: their bytes, and what their answers must be.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::journey::Request;
use crate::operation::Failure;
use crate::scenario::{Check, HttpOptions, HttpVersion, Journey, Scenario, Think};
use crate::target::Target;

/// Fields that HTTP/2 has no room for (RFC 9113, 8.2.2).
const OF_CONNECTIONS: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// A request of the fast path.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// As it goes onto the wire; over HTTP/2 its body alone.
    pub(crate) bytes: Box<[u8]>,
    /// The header section over HTTP/2.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    /// The answer has no body.
    pub(crate) head_only: bool,
    /// It may be sent twice without another effect than once (RFC 9110, 9.2.2).
    pub(crate) idempotent: bool,
    /// Index into the scenario's endpoints.
    pub(crate) endpoint: u32,
    /// A user's pause after it.
    pub(crate) think: Option<Think>,
    allowed: Option<Vec<RangeInclusive<u16>>>,
    within_ns: Option<u64>,
}

impl Prepared {
    /// Prepares a journey's only request; none where it needs more than the fast path gives.
    pub(crate) fn new(
        scenario: &Scenario,
        target: &Arc<Target>,
        journey: &Journey,
    ) -> Option<Self> {
        let http = &scenario.http;
        if http.redirects > 0 || journey.cookies || !journey.is_plain() {
            return None;
        }
        let step = journey.steps.first()?;
        let (bytes, fields) = match http.version {
            HttpVersion::Http1 if target.tls || http.compression => return None,
            HttpVersion::Http1 => (bytes_of(http, target, journey)?, Vec::new()),
            HttpVersion::Http2 => {
                let request = crate::journey::fixed_request(http, target, step)?;
                (request.body.as_ref().into(), fields_of(&request))
            }
        };
        let ranges = step.checks.iter().filter_map(|check| match check {
            Check::Status(ranges) => Some(ranges.clone()),
            _ => None,
        });
        let within = step.checks.iter().filter_map(|check| match check {
            Check::Within(within) => Some(*within),
            _ => None,
        });
        Some(Self {
            bytes,
            fields,
            head_only: step.method == "HEAD",
            idempotent: matches!(
                step.method.as_str(),
                "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE"
            ),
            endpoint: step.endpoint,
            think: step.think,
            allowed: ranges.reduce(intersection),
            within_ns: within.min().map(nanoseconds),
        })
    }

    /// Holds an answer to the checks; `took_ns` counts from when the request was sent.
    pub(crate) fn judge(&self, status: u16, took_ns: u64) -> Option<Failure> {
        let is_allowed = match &self.allowed {
            Some(ranges) => ranges.iter().any(|range| range.contains(&status)),
            None => status < 400,
        };
        if !is_allowed {
            return Some(Failure::Status);
        }
        self.within_ns
            .is_some_and(|within| took_ns > within)
            .then_some(Failure::Slow)
    }
}

/// What two checks on the status allow together.
fn intersection(
    one: Vec<RangeInclusive<u16>>,
    other: Vec<RangeInclusive<u16>>,
) -> Vec<RangeInclusive<u16>> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    pairs
        .map(|(a, b)| *a.start().max(b.start())..=*a.end().min(b.end()))
        .filter(|range| !range.is_empty())
        .collect()
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// None where a value would not stay within its line.
fn bytes_of(http: &HttpOptions, target: &Target, journey: &Journey) -> Option<Box<[u8]>> {
    let step = journey.steps.first()?;
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for (name, value) in http.headers.iter().chain(&step.headers) {
        let value = value.as_literal()?;
        // A step's own field takes the place of the shared one.
        if !step.headers.iter().any(|(own, _)| std::ptr::eq(own, name)) {
            let is_replaced = |(own, _): &(String, _)| own.eq_ignore_ascii_case(name);
            if step.headers.iter().any(is_replaced) {
                continue;
            }
        }
        fields.push((name, value));
    }
    let prefix = target.url.path().trim_end_matches('/');
    let path = step.path.as_literal()?;
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return None;
    }
    let mut text = format!("{} {prefix}{path} HTTP/1.1\r\n", step.method);
    let has = |wanted: &str| {
        fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if !has("host") {
        push_field(&mut text, "Host", &target.authority)?;
    }
    for &(name, value) in &fields {
        push_field(&mut text, name, value)?;
    }
    if !http.keep_alive && !has("connection") {
        push_field(&mut text, "Connection", "close")?;
    }
    let body = match &step.body {
        Some(body) => {
            let body = body.as_literal()?;
            if !has("content-length") {
                push_field(&mut text, "Content-Length", &body.len().to_string())?;
            }
            body
        }
        None => "",
    };
    text.push_str("\r\n");
    text.push_str(body);
    Some(text.into_bytes().into_boxed_slice())
}

/// The header section of a request over HTTP/2 (RFC 9113, 8.2.2 and 8.3.1), as hyper would send it.
fn fields_of(request: &Request) -> Vec<(String, Vec<u8>)> {
    let uri = &request.uri;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let pseudo = [
        (":method", request.method.as_str()),
        (":scheme", uri.scheme_str().unwrap_or("http")),
        (":authority", uri.authority().map_or("", |it| it.as_str())),
        (":path", path),
    ];
    let mut fields: Vec<(String, Vec<u8>)> = pseudo
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect();
    for (name, value) in &request.headers {
        let is_free = match name.as_str() {
            "te" => value.as_bytes() == b"trailers",
            name => !OF_CONNECTIONS.contains(&name),
        };
        if is_free {
            fields.push((name.as_str().to_owned(), value.as_bytes().to_vec()));
        }
    }
    // A method that is expected to have a body says so where it has none, too (RFC 9110, 8.6).
    let length = request.body.len();
    if length > 0 || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
        let length = length.to_string().into_bytes();
        fields.push(("content-length".to_owned(), length));
    }
    fields
}

fn push_field(text: &mut String, name: &str, value: &str) -> Option<()> {
    let is_broken = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    if name.bytes().any(|byte| is_broken(byte) || byte == b':') || value.bytes().any(is_broken) {
        return None;
    }
    for part in [name, ": ", value, "\r\n"] {
        text.push_str(part);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::scenario::{Step, Template};

    fn header(name: &str, value: &str) -> (String, Template) {
        (name.to_owned(), Template::literal(value))
    }

    fn scenario(step: Step) -> Scenario {
        let http = HttpOptions {
            version: HttpVersion::Http1,
            keep_alive: true,
            connections: 1,
            streams: 1,
            waiting: 1,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            redirects: 0,
            compression: false,
            max_answer_bytes: 1,
            insecure: false,
            ca: None,
            headers: vec![header("X-One", "shared"), header("X-Two", "shared")],
        };
        Scenario {
            name: String::new(),
            seed: 0,
            text: String::new(),
            hash: String::new(),
            warm_up: Duration::ZERO,
            drain: Duration::ZERO,
            stages: Vec::new(),
            http,
            journeys: vec![Journey {
                name: String::new(),
                weight: 1.0,
                steps: vec![step],
                cookies: false,
            }],
            websockets: Vec::new(),
            feeds: BTreeMap::new(),
            thresholds: Vec::new(),
            endpoints: vec![String::new()],
        }
    }

    fn step(method: &str, path: &str) -> Step {
        Step {
            endpoint: 0,
            method: method.to_owned(),
            path: Template::literal(path),
            headers: Vec::new(),
            body: None,
            checks: Vec::new(),
            captures: Vec::new(),
            think: None,
        }
    }

    fn prepare(scenario: &Scenario, url: &str) -> Option<Prepared> {
        let target = Arc::new(Target::resolve(url, &[]).expect("a near target"));
        Prepared::new(scenario, &target, &scenario.journeys[0])
    }

    fn text(scenario: &Scenario, url: &str) -> String {
        let prepared = prepare(scenario, url).expect("a plain request");
        String::from_utf8(prepared.bytes.into_vec()).expect("text")
    }

    #[test]
    fn bytes_on_the_wire() {
        let get = scenario(step("GET", "/a?b=c"));
        assert_eq!(
            text(&get, "http://127.0.0.1:80/base/"),
            "GET /base/a?b=c HTTP/1.1\r\nHost: 127.0.0.1\r\nX-One: shared\r\nX-Two: shared\r\n\r\n"
        );
        let mut post = step("POST", "/");
        post.headers = vec![header("x-two", "own"), header("Host", "other")];
        post.body = Some(Template::literal("grüß"));
        let mut post = scenario(post);
        post.http.keep_alive = false;
        assert_eq!(
            text(&post, "http://127.0.0.1:81"),
            "POST / HTTP/1.1\r\nX-One: shared\r\nx-two: own\r\nHost: other\r\n\
             Connection: close\r\nContent-Length: 6\r\n\r\ngrüß"
        );
    }

    #[test]
    fn what_needs_more_than_the_fast_path() {
        let plain = "http://127.0.0.1:80";
        assert!(prepare(&scenario(step("GET", "/")), plain).is_some());
        assert!(prepare(&scenario(step("GET", "/")), "https://127.0.0.1").is_none());
        assert!(prepare(&scenario(step("GET", "/a b")), plain).is_none());
        let changes: [fn(&mut Scenario); 5] = [
            |scenario| scenario.http.redirects = 1,
            |scenario| scenario.http.compression = true,
            |scenario| scenario.http.headers.push(header("a", "b\r\nc: d")),
            |scenario| scenario.journeys[0].cookies = true,
            |scenario| scenario.journeys[0].steps.push(step("GET", "/")),
        ];
        for change in changes {
            let mut changed = scenario(step("GET", "/"));
            change(&mut changed);
            assert!(prepare(&changed, plain).is_none());
        }
    }

    #[test]
    fn fields_over_http2() {
        let mut post = step("POST", "/a?b=c");
        post.headers = vec![
            header("X-Two", "own"),
            header("Host", "other"),
            header("TE", "gzip"),
            header("Upgrade", "h2c"),
        ];
        post.body = Some(Template::literal("grüß"));
        let mut post = scenario(post);
        post.http.version = HttpVersion::Http2;
        let prepared = prepare(&post, "https://127.0.0.1:81/base/").expect("a plain request");
        assert_eq!(&*prepared.bytes, "grüß".as_bytes());
        let fields: Vec<String> = prepared
            .fields
            .iter()
            .map(|(name, value)| format!("{name} {}", String::from_utf8_lossy(value)))
            .collect();
        let expected = [
            ":method POST",
            ":scheme https",
            ":authority other",
            ":path /base/a?b=c",
            "x-one shared",
            "x-two own",
            "content-length 6",
        ];
        assert_eq!(fields, expected);

        let mut get = scenario(step("GET", "/"));
        get.http.version = HttpVersion::Http2;
        get.http.compression = true;
        let prepared = prepare(&get, "http://127.0.0.1:81").expect("a plain request");
        assert_eq!(
            prepared.fields[2],
            (":authority".to_owned(), b"127.0.0.1:81".to_vec())
        );
        assert_eq!(
            prepared.fields.last().map(|(name, _)| name.as_str()),
            Some("accept-encoding")
        );
    }

    #[test]
    fn checks() {
        let judged = |checks: &[Check], status, took_ns| {
            let mut step = step("GET", "/");
            step.checks = checks.to_vec();
            let prepared = prepare(&scenario(step), "http://127.0.0.1:80");
            prepared.expect("a plain request").judge(status, took_ns)
        };
        assert_eq!(judged(&[], 399, 5), None);
        assert_eq!(judged(&[], 400, 5), Some(Failure::Status));
        let ranges = Check::Status(vec![200..=299, 404..=404]);
        assert_eq!(judged(std::slice::from_ref(&ranges), 404, 5), None);
        let both = [ranges, Check::Status(vec![300..=500])];
        assert_eq!(judged(&both, 404, 5), None);
        assert_eq!(judged(&both, 200, 5), Some(Failure::Status));
        let slow = [
            Check::Within(Duration::from_nanos(7)),
            Check::Within(Duration::from_nanos(9)),
        ];
        assert_eq!(judged(&slow, 200, 7), None);
        assert_eq!(judged(&slow, 200, 8), Some(Failure::Slow));
        assert_eq!(judged(&slow, 500, 8), Some(Failure::Status));
    }
}
