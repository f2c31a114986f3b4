//! What arrives by the Prometheus remote-write protocol, versions 1.0 and 2.0: `POST /api/v1/write`,
//! protobuf compressed by snappy.
//!
//! A request is taken wholly or put off wholly; samples that cannot be kept (their series are too
//! many, their times too far away) are counted and named in the answer 400, upon which a sender goes
//! on. Samples may come in any order. Exemplars are left out, native histograms are rejected.

pub(super) mod decode;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use driftline_schemas::metric::Component;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::foreign::intake::Outcome;
use super::foreign::receiver::{Receiver, Source};
use super::foreign::server::{self, Answer, BodyError, Bounds, Endpoint, read_body, say, token};
use super::foreign::{Limits, Options, Refusal};
use super::options::Section;
use super::{Service, ServiceError};
use crate::config::duration;
use decode::{Decoder, Version};

const PATH: &str = "/api/v1/write";
/// The message of version 2 in the content type.
const PROTO_V2: &str = "io.prometheus.write.v2.request";
/// After so long without a sample a series is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// How many times larger than as sent a body may be when it is decompressed.
const MAX_EXPANSION: usize = 8;
/// After so many seconds a sender that was put off tries again.
const RETRY_AFTER_S: u32 = 2;

/// The remote-write receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteWriteConfig {
    /// Whether it listens at all.
    pub enabled: bool,
    /// Where it listens. There is no authentication: leave it on the loopback interface, or see to
    /// it that only trusted machines reach it.
    pub address: SocketAddr,
    /// The largest request as sent; decompressed it may be eight times as large.
    pub max_body_bytes: usize,
    /// Requests at once.
    pub max_requests: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// Series that are known at once.
    pub max_series: usize,
    /// Samples that wait in memory; beyond them senders are put off.
    pub max_queued: usize,
    /// How far back the time of a sample may lie.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// How far ahead it may lie.
    #[serde(with = "duration")]
    pub max_ahead: Duration,
}

impl Default for RemoteWriteConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            address: SocketAddr::from(([127, 0, 0, 1], 9201)),
            max_body_bytes: 4 * 1024 * 1024,
            max_requests: 32,
            max_connections: 256,
            max_series: 100_000,
            max_queued: 1_000_000,
            max_age: Duration::from_secs(7 * 24 * 3_600),
            max_ahead: Duration::from_secs(600),
        }
    }
}

impl RemoteWriteConfig {
    fn limits(&self) -> Limits {
        Limits {
            max_series: self.max_series,
            max_queued: self.max_queued,
            max_age: self.max_age,
            max_ahead: self.max_ahead,
            forget_after: FORGET_AFTER,
        }
    }
}

/// Says what cannot work of the section.
pub(super) fn check(config: &RemoteWriteConfig) -> Result<(), ServiceError> {
    let options = Options {
        max_body_bytes: config.max_body_bytes,
        max_requests: config.max_requests,
        max_connections: config.max_connections,
        limits: config.limits(),
    };
    options.check(Section {
        kind: "remote_write",
        name: "",
    })
}

pub(super) fn services(config: &RemoteWriteConfig) -> Vec<Box<dyn Service>> {
    if !config.enabled {
        return Vec::new();
    }
    let endpoint = Arc::new(RemoteWrite::new(config));
    vec![Box::new(Receiver {
        component: Component::Prometheus,
        subject: SUBJECT.to_owned(),
        address: config.address,
        option: "collector.remote_write.address",
        bounds: Bounds {
            connections: config.max_connections,
            streams: u32::try_from(config.max_requests).unwrap_or(u32::MAX),
        },
        source: Arc::clone(&endpoint.source),
        endpoint,
        listening: None,
    })]
}

/// How events name it.
const SUBJECT: &str = "remote_write";

/// Answers requests.
#[derive(Debug)]
struct RemoteWrite {
    source: Arc<Source<Decoder>>,
    max_body_bytes: usize,
}

type Failure = (StatusCode, String);

impl RemoteWrite {
    fn new(config: &RemoteWriteConfig) -> Self {
        let source = Source::new(
            Component::Prometheus,
            SUBJECT,
            Decoder::default(),
            config.limits(),
            config.max_requests,
        );
        Self {
            source: Arc::new(source),
            max_body_bytes: config.max_body_bytes,
        }
    }

    async fn write(&self, request: Request<Incoming>) -> Result<Outcome, Failure> {
        let fail = |status, words: &str| (status, words.to_owned());
        if request.uri().path() != PATH {
            return Err(fail(StatusCode::NOT_FOUND, "only /api/v1/write is served"));
        }
        if request.method() != Method::POST {
            return Err(fail(
                StatusCode::METHOD_NOT_ALLOWED,
                "samples are sent by POST",
            ));
        }
        let version = version(&request)?;
        if token(request.headers(), header::CONTENT_ENCODING) != "snappy" {
            let words = "requests are compressed by snappy, and say so in content-encoding";
            return Err(fail(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
        }
        let Some(_permit) = self.source.admit() else {
            let words = "too many requests are under way: try again later";
            return Err(fail(StatusCode::SERVICE_UNAVAILABLE, words));
        };
        let read = read_body(request.into_body(), self.max_body_bytes).await;
        let body = read.map_err(|error| (error.status(), error.to_string()))?;
        let message = self.unpack(&body).map_err(|error| {
            if error.status() == StatusCode::BAD_REQUEST {
                self.source.count_malformed(error.to_string());
            }
            (error.status(), error.to_string())
        })?;
        self.take(&message, version).map_err(|refusal| {
            let status = match refusal {
                Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
                Refusal::Full { .. } => StatusCode::SERVICE_UNAVAILABLE,
                Refusal::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            };
            (status, refusal.to_string())
        })
    }

    /// Decompresses a block of snappy, whose stated size is checked before there is room made for it.
    fn unpack(&self, body: &Bytes) -> Result<Vec<u8>, BodyError> {
        let limit = self.max_body_bytes.saturating_mul(MAX_EXPANSION);
        let bad = |_| BodyError::Encoding("snappy");
        if snap::raw::decompress_len(body).map_err(bad)? > limit {
            return Err(BodyError::TooLarge { limit });
        }
        snap::raw::Decoder::new().decompress_vec(body).map_err(bad)
    }

    fn take(&self, message: &[u8], version: Version) -> Result<Outcome, Refusal> {
        self.source.take(message, |decoder, intake| match version {
            Version::One => decoder.v1(message, intake),
            Version::Two => decoder.v2(message, intake),
        })
    }
}

/// Which message a request holds, by its content type.
fn version(request: &Request<Incoming>) -> Result<Version, Failure> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.to_ascii_lowercase();
    let mut parts = kind.split(';').map(str::trim);
    let refused = |words: &str| Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, words.to_owned()));
    // Anything else is refused also so that no web page can send samples without being asked.
    if parts.next() != Some("application/x-protobuf") {
        return refused("samples are taken as application/x-protobuf");
    }
    match parts.find_map(|part| part.strip_prefix("proto=")) {
        None | Some("prometheus.writerequest") => Ok(Version::One),
        Some(PROTO_V2) => Ok(Version::Two),
        Some(_) => {
            refused("only prometheus.WriteRequest and io.prometheus.write.v2.Request are known")
        }
    }
}

impl Endpoint for RemoteWrite {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.write(request).await {
            Ok(outcome) => told(&outcome),
            Err((status, words)) => {
                let mut answer = say(status, words);
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    let wait = HeaderValue::from(RETRY_AFTER_S);
                    answer.headers_mut().insert(header::RETRY_AFTER, wait);
                }
                answer
            }
        }
    }
}

/// What came of a request; version 2 wants to know how much was written.
fn told(outcome: &Outcome) -> Answer {
    let mut answer = match outcome.reason {
        None => server::answer(StatusCode::NO_CONTENT, "text/plain", Bytes::new()),
        Some(reason) => {
            let Outcome {
                rejected, samples, ..
            } = outcome;
            let words = format!(
                "{rejected} samples were not taken, {samples} were: {}",
                reason.remedy()
            );
            say(StatusCode::BAD_REQUEST, words)
        }
    };
    let written = [
        ("x-prometheus-remote-write-samples-written", outcome.samples),
        ("x-prometheus-remote-write-histograms-written", 0),
        ("x-prometheus-remote-write-exemplars-written", 0),
    ];
    for (name, count) in written {
        answer.headers_mut().insert(name, HeaderValue::from(count));
    }
    answer
}
