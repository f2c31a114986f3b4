//! What arrives by OTLP, over gRPC and HTTP.
//!
//! A request is taken wholly or not at all; the points of it that cannot be kept are counted and
//! named in the answer. Sums and histograms of deltas are added up per series, so that they are
//! counters like the others; the sums begin anew when the collector starts, and when a series had no
//! points for 15 minutes. Traces and logs are refused; so is JSON.

mod any;
pub(super) mod decode;
mod distribution;
mod grpc;
mod http;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use bytes::Bytes;
use driftline_schemas::metric::Component;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::foreign::intake::Outcome;
use super::foreign::receiver::{Receiver, Source};
use super::foreign::server::{Answer, Bounds, Endpoint};
use super::foreign::{Limits, Options, Refusal};
use super::options::Section;
use super::{Service, ServiceError};
use crate::config::duration;
use decode::Decoder;

/// After so long without a sample a series is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(900);
/// How many times larger than as sent a body may be when it is decompressed.
const MAX_EXPANSION: usize = 8;

/// The OTLP receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Whether it listens at all.
    pub enabled: bool,
    /// Where it listens for gRPC. There is no authentication: leave it on the loopback interface,
    /// or see to it that only trusted machines reach it.
    pub grpc: SocketAddr,
    /// Where it listens for HTTP, at `/v1/metrics`.
    pub http: SocketAddr,
    /// The attributes of resources that become labels.
    pub resource_attributes: Vec<String>,
    /// The largest request as sent; decompressed it may be eight times as large.
    pub max_body_bytes: usize,
    /// Requests at once.
    pub max_requests: usize,
    /// Connections at once, per address.
    pub max_connections: usize,
    /// Series that are known at once.
    pub max_series: usize,
    /// Samples that wait in memory; beyond them senders are put off.
    pub max_queued: usize,
    /// How far back the time of a point may lie.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// How far ahead it may lie.
    #[serde(with = "duration")]
    pub max_ahead: Duration,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        let wanted = ["host.name", "service.name", "service.instance.id"];
        Self {
            enabled: false,
            grpc: SocketAddr::from(([127, 0, 0, 1], 4317)),
            http: SocketAddr::from(([127, 0, 0, 1], 4318)),
            resource_attributes: wanted.map(str::to_owned).to_vec(),
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

impl OtlpConfig {
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
pub(super) fn check(config: &OtlpConfig) -> Result<(), ServiceError> {
    let options = Options {
        max_body_bytes: config.max_body_bytes,
        max_requests: config.max_requests,
        max_connections: config.max_connections,
        limits: config.limits(),
    };
    options.check(Section {
        kind: "otlp",
        name: "",
    })
}

pub(super) fn services(config: &OtlpConfig) -> Vec<Box<dyn Service>> {
    if !config.enabled {
        return Vec::new();
    }
    let endpoint = Arc::new(Otlp::new(config));
    let receiver = |subject: &str, address, option| {
        Box::new(Receiver {
            component: Component::Otlp,
            subject: subject.to_owned(),
            address,
            option,
            bounds: Bounds {
                connections: config.max_connections,
                streams: u32::try_from(config.max_requests).unwrap_or(u32::MAX),
            },
            source: Arc::clone(&endpoint.source),
            endpoint: Arc::clone(&endpoint),
            listening: None,
        }) as Box<dyn Service>
    };
    vec![
        receiver("otlp.grpc", config.grpc, "collector.otlp.grpc"),
        receiver("otlp.http", config.http, "collector.otlp.http"),
    ]
}

/// Answers requests of both transports.
#[derive(Debug)]
pub(super) struct Otlp {
    source: Arc<Source<Decoder>>,
    max_body_bytes: usize,
}

impl Otlp {
    fn new(config: &OtlpConfig) -> Self {
        let decoder = Decoder::new(config.resource_attributes.clone());
        let limits = config.limits();
        let source = Source::new(
            Component::Otlp,
            "otlp",
            decoder,
            limits,
            config.max_requests,
        );
        Self {
            source: Arc::new(source),
            max_body_bytes: config.max_body_bytes,
        }
    }

    /// The largest message after decompression.
    fn max_message_bytes(&self) -> usize {
        self.max_body_bytes.saturating_mul(MAX_EXPANSION)
    }

    fn take(&self, message: &Bytes) -> Result<Outcome, Refusal> {
        self.source
            .take(message, |decoder, intake| decoder.request(message, intake))
    }
}

impl Endpoint for Otlp {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if grpc::is_grpc(request.headers()) {
            grpc::answer(self, request).await
        } else {
            http::answer(self, request).await
        }
    }
}

/// What is told a sender of points that were not taken.
fn partial_success(outcome: &Outcome) -> Option<(i64, String)> {
    let reason = outcome.reason?;
    let rejected = i64::try_from(outcome.rejected).unwrap_or(i64::MAX);
    Some((rejected, reason.remedy().to_owned()))
}
