//! Planned load: what to send, how often, in which stages, and what must hold. A scenario is read
//! from TOML and checked whole before anything is sent. When arrivals come is left to
//! [`crate::schedule`], how the text of a condition is read to [`crate::threshold`].

mod answers;
mod csv;
mod document;
mod fault;
mod feeds;
mod http;
mod plan;
pub(crate) mod quantity;
mod read;
mod requests;
mod stages;
mod template;
mod websockets;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::threshold::Threshold;

pub(crate) use self::http::is_free_header;
pub use self::http::{
    DEFAULT_CONNECT_TIMEOUT, DEFAULT_CONNECTIONS, DEFAULT_CONNECTIONS_HTTP2,
    DEFAULT_MAX_ANSWER_BYTES, DEFAULT_STREAMS, DEFAULT_TIMEOUT, DEFAULT_WAITING, MAX_CONNECTIONS,
    MAX_WAITING,
};
pub(crate) use fault::remedy;
pub use fault::{Fault, ScenarioError};
pub use feeds::{MAX_FEED_BYTES, MAX_FEED_ROWS};
pub use read::{DEFAULT_DRAIN, DEFAULT_NAME, DEFAULT_SEED, MAX_SCENARIO_BYTES};
pub use requests::MAX_STEPS;
pub use stages::{MAX_RATE, MAX_STAGES, MAX_USERS, MIN_RATE};
pub use template::TemplateError;
pub use websockets::{
    DEFAULT_BURST, DEFAULT_CONNECT_RATE, DEFAULT_EVERY, DEFAULT_PING, DEFAULT_RECONNECT_AFTER,
    DEFAULT_RECONNECT_JITTER, DEFAULT_SIZE, DEFAULT_TIMEOUT as DEFAULT_WEBSOCKET_TIMEOUT, MAX_SIZE,
    MIN_SIZE,
};

/// A checked scenario. `[[requests]]` have become journeys of one step.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// All randomness of a run comes from here.
    pub seed: u64,
    /// The text it was read from.
    pub text: String,
    /// 16 hexadecimal digits that name the text; equal texts have equal hashes on every machine.
    pub hash: String,
    /// Excluded from statistics and thresholds, at the beginning of the first stage.
    pub warm_up: Duration,
    /// How long unanswered operations may go on after the last stage.
    pub drain: Duration,
    /// In order.
    pub stages: Vec<Stage>,
    /// What all HTTP requests share.
    pub http: HttpOptions,
    /// Chosen by weight at each arrival (open model) or iteration of a user (closed model).
    pub journeys: Vec<Journey>,
    /// WebSocket connections, held from the beginning to the end of the stages.
    pub websockets: Vec<WebSocket>,
    /// Rows that users take values from, by name.
    pub feeds: BTreeMap<String, Arc<Feed>>,
    /// What must hold for the run to pass.
    pub thresholds: Vec<Threshold>,
    /// Names of endpoints; operations refer to them by index.
    pub endpoints: Vec<String>,
}

/// A part of a run with one law of arrivals.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name, by default its number from 1.
    pub name: String,
    /// How long it lasts.
    pub duration: Duration,
    /// How much.
    pub load: Load,
}

/// How much load a stage brings; rates and users change linearly over it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Open model: arrivals per second, whatever the target does.
    Rate {
        /// At the beginning.
        from: f64,
        /// At the end.
        to: f64,
        /// How arrivals are spread.
        arrival: Arrival,
    },
    /// Closed model: virtual users, each of whom waits for the answer before going on.
    Users {
        /// At the beginning.
        from: u32,
        /// At the end.
        to: u32,
    },
    /// Only the WebSocket connections.
    Hold,
}

/// How the arrivals of an open model are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrival {
    /// Evenly.
    #[default]
    Constant,
    /// As a Poisson process: independent users.
    Poisson,
}

/// What all HTTP requests of a scenario share.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The version of the protocol.
    pub version: HttpVersion,
    /// Whether connections are kept for the next request.
    pub keep_alive: bool,
    /// Most connections of the whole run; split among its workers.
    pub connections: u32,
    /// Most concurrent requests on one HTTP/2 connection.
    pub streams: u32,
    /// Most arrivals that wait for a connection, in the whole run; beyond it they are dropped and counted.
    pub waiting: u32,
    /// For a whole answer, from when it was sent.
    pub timeout: Duration,
    /// For making a connection, its TLS handshake included.
    pub connect_timeout: Duration,
    /// Redirects followed; 0 takes them as answers.
    pub redirects: u8,
    /// Whether `Accept-Encoding: gzip` is sent and answers are decompressed for checks and captures.
    pub compression: bool,
    /// Largest answer, in bytes.
    pub max_answer_bytes: u64,
    /// Takes any certificate.
    pub insecure: bool,
    /// Certificates to trust beside the system's, as a PEM file.
    pub ca: Option<PathBuf>,
    /// Headers of every request.
    pub headers: Vec<(String, Template)>,
}

/// The version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// 1.1.
    #[default]
    Http1,
    /// 2, with prior knowledge on plain TCP and by ALPN on TLS.
    Http2,
}

/// The ordered requests that one user makes.
#[derive(Debug, Clone)]
pub struct Journey {
    /// Its name.
    pub name: String,
    /// How often it is chosen, relative to the others.
    pub weight: f64,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Whether cookies are kept from step to step.
    pub cookies: bool,
}

impl Journey {
    /// Whether it is a single request that needs nothing but to be sent as it stands and judged by
    /// its status and time, so that the fast path may take it.
    pub fn is_plain(&self) -> bool {
        let [step] = self.steps.as_slice() else {
            return false;
        };
        let is_static = |template: &Template| template.as_literal().is_some();
        step.captures.is_empty()
            && is_static(&step.path)
            && step.headers.iter().all(|(_, value)| is_static(value))
            && step.body.as_ref().is_none_or(is_static)
            && step
                .checks
                .iter()
                .all(|check| matches!(check, Check::Status(_) | Check::Within(_)))
    }
}

/// One request of a journey.
#[derive(Debug, Clone)]
pub struct Step {
    /// Index into [`Scenario::endpoints`].
    pub endpoint: u32,
    /// The method, in capitals.
    pub method: String,
    /// Path and query, beginning with `/`.
    pub path: Template,
    /// Headers beside those that all requests share.
    pub headers: Vec<(String, Template)>,
    /// The body.
    pub body: Option<Template>,
    /// What the answer must be; without a check on the status, below 400.
    pub checks: Vec<Check>,
    /// Values for later steps.
    pub captures: Vec<Capture>,
    /// A pause after it.
    pub think: Option<Think>,
}

/// A pause between two bounds, uniformly chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Think {
    /// At least.
    pub from: Duration,
    /// At most.
    pub to: Duration,
}

/// What an answer must be.
#[derive(Debug, Clone)]
pub enum Check {
    /// The status is in one of these ranges.
    Status(Vec<RangeInclusive<u16>>),
    /// The body contains this text.
    Contains(String),
    /// The body matches this expression.
    Matches(Regex),
    /// Answered within so long, from when it was sent.
    Within(Duration),
}

/// A value taken from an answer.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The variable that it goes to.
    pub name: String,
    /// Where it stands.
    pub from: CaptureFrom,
}

/// Where a captured value stands.
#[derive(Debug, Clone)]
pub enum CaptureFrom {
    /// In a JSON body, by JSON pointer (RFC 6901).
    Json(String),
    /// In a header.
    Header(String),
    /// In the body, as the first group of an expression.
    Regex(Regex),
}

/// Text with variables: `${name}` stands for a captured value, `${feed.column}` for a value of this
/// user's row of a feed, `${user}` for the user's number, `${iteration}` for the count of the user's
/// iterations and `${random}` for 16 random hexadecimal digits; `$${` is a plain `${`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// In order; adjacent literals are one.
    pub parts: Vec<TemplatePart>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// Text.
    Literal(String),
    /// The value of a variable.
    Variable(String),
}

impl Template {
    /// A template without variables.
    pub fn literal(text: &str) -> Self {
        Self {
            parts: vec![TemplatePart::Literal(text.to_owned())],
        }
    }

    /// The text, where there are no variables.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [TemplatePart::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

/// Rows of named values that users take, each user the row of its number, around and around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Names of columns.
    pub columns: Vec<String>,
    /// Values, row by row.
    pub rows: Vec<Vec<String>>,
}

/// A group of WebSocket connections that behave alike.
#[derive(Debug, Clone)]
pub struct WebSocket {
    /// Its name.
    pub name: String,
    /// Path and query, beginning with `/`.
    pub path: Template,
    /// Headers of the handshake.
    pub headers: Vec<(String, Template)>,
    /// Connections of the whole run; split among its workers.
    pub connections: u32,
    /// Connections opened per second, in the whole run.
    pub connect_rate: f64,
    /// What each connection does.
    pub pattern: Pattern,
    /// Whether and when a lost connection is made again.
    pub reconnect: Option<Reconnect>,
    /// For an answer to a message or a ping.
    pub timeout: Duration,
    /// Where its operations are counted.
    pub endpoints: WebSocketEndpoints,
}

/// Indices into [`Scenario::endpoints`] of `name.connect`, `name.message`, `name.delivery`,
/// `name.ping` and `name.close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketEndpoints {
    /// TCP connect and handshake.
    pub connect: u32,
    /// A message and its answer.
    pub message: u32,
    /// A published message's way to a subscriber, from the time stamp inside it.
    pub delivery: u32,
    /// A ping and its pong.
    pub ping: u32,
    /// A connection's end: its close code as status.
    pub close: u32,
}

/// What a WebSocket connection does.
#[derive(Debug, Clone, PartialEq)]
pub enum Pattern {
    /// Sends a message at an interval and expects it back.
    Echo {
        /// The interval.
        every: Duration,
        /// The message's size in bytes.
        size: u32,
    },
    /// Sends several messages at once at an interval and expects them back.
    Burst {
        /// The interval.
        every: Duration,
        /// Messages at once.
        count: u32,
        /// A message's size in bytes.
        size: u32,
    },
    /// Publishes to all subscribers of a room at an interval; the message holds its time of sending.
    Publish {
        /// The interval.
        every: Duration,
        /// The message's size in bytes.
        size: u32,
    },
    /// Takes what is published, and records its delivery time.
    Subscribe,
    /// Sends nothing but a ping at an interval.
    Idle {
        /// The interval.
        ping: Duration,
    },
    /// Reads one message at an interval, slower than they come.
    SlowConsumer {
        /// The interval.
        every: Duration,
    },
}

/// How a lost connection is made again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reconnect {
    /// The shortest pause.
    pub after: Duration,
    /// A random pause up to this long is added, so that not all come back at once.
    pub jitter: Duration,
    /// Every connection is closed and made again at this interval: a reconnect storm.
    pub storm: Option<Duration>,
}
