//! Reads `[[websockets]]`.

use std::time::Duration;

use super::document::{Item, Section};
use super::fault::quoted;
use super::http::{MAX_CONNECTIONS, read_headers, read_path};
use super::requests::Endpoints;
use super::template::Scope;
use super::{Pattern, Reconnect, WebSocket, WebSocketEndpoints};

/// Connections opened per second.
pub const DEFAULT_CONNECT_RATE: f64 = 1_000.0;
/// Between two messages.
pub const DEFAULT_EVERY: Duration = Duration::from_secs(1);
/// A message's bytes.
pub const DEFAULT_SIZE: u32 = 64;
/// Messages of a burst.
pub const DEFAULT_BURST: u32 = 10;
/// Between two pings of an idle connection.
pub const DEFAULT_PING: Duration = Duration::from_secs(30);
/// For an answer to a message or a ping.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Before a lost connection is made again.
pub const DEFAULT_RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// The random part of that pause.
pub const DEFAULT_RECONNECT_JITTER: Duration = Duration::from_secs(1);
/// Smallest message: its stamp, by which the answer is known, takes so much.
pub const MIN_SIZE: u32 = 20;
/// Largest message.
pub const MAX_SIZE: u32 = 16 << 20;
/// Most messages of a burst.
const MAX_BURST: u32 = 100_000;
/// Most connections opened per second.
const MAX_CONNECT_RATE: f64 = 1_000_000.0;

const KEYS: [&str; 10] = [
    "name",
    "path",
    "headers",
    "connections",
    "connect_rate",
    "pattern",
    "message",
    "ping",
    "reconnect",
    "timeout",
];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Echo,
    Burst,
    Publish,
    Subscribe,
    Idle,
    SlowConsumer,
}

const KINDS: [(&str, Kind); 6] = [
    ("echo", Kind::Echo),
    ("burst", Kind::Burst),
    ("publish", Kind::Publish),
    ("subscribe", Kind::Subscribe),
    ("idle", Kind::Idle),
    ("slow-consumer", Kind::SlowConsumer),
];

/// All groups of connections. `total` is how long the stages last; opening must fit in it.
pub(super) fn read(
    root: &Section<'_>,
    scope: &Scope<'_>,
    endpoints: &mut Endpoints,
    total: impl Fn() -> Duration,
) -> Vec<WebSocket> {
    let sections = root.sections("websockets", "websocket", &KEYS);
    let groups = sections
        .iter()
        .filter_map(|section| read_group(section, scope, endpoints, total()));
    groups.collect()
}

fn read_group(
    section: &Section<'_>,
    scope: &Scope<'_>,
    endpoints: &mut Endpoints,
    total: Duration,
) -> Option<WebSocket> {
    let path_item = section.need("path", "path = \"/ws\"");
    let path = path_item.as_ref().and_then(|item| read_path(item, scope));
    let given = section.get("name").and_then(|item| item.filled_text());
    let name = match (given, &path) {
        (Some(name), _) => name.to_owned(),
        (None, Some(path)) => name_of(path.literals().next().unwrap_or_default()),
        (None, None) => section.what.clone(),
    };
    let mut endpoint = |part: &str| endpoints.add(&format!("{name}.{part}"), section);
    let endpoints = WebSocketEndpoints {
        connect: endpoint("connect"),
        message: endpoint("message"),
        delivery: endpoint("delivery"),
        ping: endpoint("ping"),
        close: endpoint("close"),
    };
    let connections = section.get("connections");
    let connections = connections.map_or(Some(1), |item| item.whole_u32(1..=MAX_CONNECTIONS));
    let connect_rate = section
        .get("connect_rate")
        .map_or(Some(DEFAULT_CONNECT_RATE), |item| {
            item.number(
                0.001..=MAX_CONNECT_RATE,
                "from 0.001 to 1000000 (per second)",
            )
        });
    let pattern = read_pattern(section);
    let timeout = section.get("timeout").and_then(|item| item.duration());
    let headers = section.get("headers");
    let headers = headers.map_or_else(Vec::new, |item| read_headers(&item, scope));
    let reconnect = section
        .get("reconnect")
        .and_then(|item| read_reconnect(&item));
    let (connections, connect_rate) = (connections?, connect_rate?);
    let opening_s = f64::from(connections) / connect_rate;
    if !total.is_zero() && opening_s >= total.as_secs_f64() {
        section.fault(format!(
            "{connections} connections at {connect_rate} per second take {opening_s:.1} s to open, and the stages last {total:?}; raise `connect_rate` or lengthen the stages",
        ));
    }
    Some(WebSocket {
        name,
        path: path?,
        headers,
        connections,
        connect_rate,
        pattern: pattern?,
        reconnect,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        endpoints,
    })
}

/// A name from a path: `/ws/echo?x=1` is `ws-echo`.
fn name_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let name = path.trim_matches('/').replace('/', "-");
    if name.is_empty() {
        return "websocket".to_owned();
    }
    name
}

/// The pattern; by default an echo where there is a message, idle otherwise.
fn read_pattern(section: &Section<'_>) -> Option<Pattern> {
    let message = section.get("message");
    let ping = section.get("ping");
    let kind = match section.get("pattern") {
        Some(item) => item.word(&KINDS)?,
        None if message.is_some() => Kind::Echo,
        None => Kind::Idle,
    };
    let allowed: &[&str] = match kind {
        Kind::Echo | Kind::Publish => &["every", "size"],
        Kind::Burst => &["every", "count", "size"],
        Kind::SlowConsumer => &["every"],
        Kind::Subscribe | Kind::Idle => &[],
    };
    let word = KINDS
        .iter()
        .find(|(_, known)| *known == kind)
        .map_or("", |(word, _)| *word);
    if let (Some(item), true) = (&message, allowed.is_empty()) {
        item.key_fault(format!(
            "pattern `{word}` sends no message; leave `message` out"
        ));
        return None;
    }
    if let (Some(item), true) = (&ping, kind != Kind::Idle) {
        item.key_fault(format!(
            "pattern `{word}` sends no ping; leave `ping` out, or write pattern = \"idle\""
        ));
        return None;
    }
    let details = match &message {
        Some(item) => Some(item.section(allowed)?),
        None => None,
    };
    let get = |key: &str| details.as_ref().and_then(|section| section.get(key));
    let every = get("every").map_or(Some(DEFAULT_EVERY), |item| item.duration());
    let size = get("size").map_or(Some(DEFAULT_SIZE), |item| read_size(&item));
    let count = get("count").map_or(Some(DEFAULT_BURST), |item| item.whole_u32(1..=MAX_BURST));
    let (every, size, count) = (every?, size?, count?);
    Some(match kind {
        Kind::Echo => Pattern::Echo { every, size },
        Kind::Burst => Pattern::Burst { every, count, size },
        Kind::Publish => Pattern::Publish { every, size },
        Kind::Subscribe => Pattern::Subscribe,
        Kind::SlowConsumer => Pattern::SlowConsumer { every },
        Kind::Idle => Pattern::Idle {
            ping: ping.map_or(Some(DEFAULT_PING), |item| item.duration())?,
        },
    })
}

fn read_size(item: &Item<'_>) -> Option<u32> {
    let size = item.size(u64::from(MIN_SIZE)..=u64::from(MAX_SIZE))?;
    u32::try_from(size).ok()
}

/// `true`, `false` or a table of what differs from the defaults.
fn read_reconnect(item: &Item<'_>) -> Option<Reconnect> {
    let defaults = Reconnect {
        after: DEFAULT_RECONNECT_AFTER,
        jitter: DEFAULT_RECONNECT_JITTER,
        storm: None,
    };
    if let toml::de::DeValue::Boolean(wanted) = item.value() {
        return wanted.then_some(defaults);
    }
    let known = ["after", "jitter", "storm"];
    if !matches!(item.value(), toml::de::DeValue::Table(_)) {
        item.fault(format!(
            "{} is no way to reconnect; write true, false or a table of {}",
            item.what,
            quoted(known)
        ));
        return None;
    }
    let section = item.section(&known)?;
    let time = |key: &str, default| {
        section
            .get(key)
            .and_then(|item| item.duration_or_zero())
            .unwrap_or(default)
    };
    Some(Reconnect {
        after: time("after", defaults.after),
        jitter: time("jitter", defaults.jitter),
        storm: section.get("storm").and_then(|item| item.duration()),
    })
}
