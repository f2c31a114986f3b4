//! The metrics of HTTP APIs: what a synthetic probe sees (`httpcheck.*`, after the OpenTelemetry
//! collector's receiver of that name), and what an access log tells (`http.server.*`).
//!
//! Every series has the label `service.name`, the name of the probe or of the log in the
//! configuration. Those of a log by endpoint have `http.route`, a path whose ids are replaced by
//! `{id}`, or `other` for what is beyond the bound of endpoints; and `http.request.method`. Quantiles
//! are of one interval, and there is none where nothing was measured in it.

use super::super::Better::{Higher, Lower, Neither};
use super::super::Category::{Errors, Latency, Saturation, Throughput, Utilisation};
use super::super::Component::Http;
use super::super::Metric;
use super::super::MetricKind::{Counter, Gauge};
use super::row;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[
    row(600, Http, "httpcheck.up", "1", Gauge, Errors, Higher, "Whether the last probe got the answer that is expected (1) or not (0)"),
    row(601, Http, "httpcheck.duration", "s", Gauge, Latency, Lower, "The time of a probe from the name's lookup to the last byte"),
    row(602, Http, "httpcheck.dns.lookup.duration", "s", Gauge, Latency, Lower, "The time until the name was resolved; none for an address"),
    row(603, Http, "httpcheck.client.connection.duration", "s", Gauge, Latency, Lower, "The time until TCP was connected, counted from the resolved name"),
    row(604, Http, "httpcheck.tls.handshake.duration", "s", Gauge, Latency, Lower, "The time of the TLS handshake"),
    row(605, Http, "httpcheck.response.first_byte.duration", "s", Gauge, Latency, Lower, "The time from sending the request to the head of the response"),
    row(606, Http, "httpcheck.response.size", "By", Gauge, Throughput, Neither, "The bytes of the response's body"),
    row(607, Http, "httpcheck.tls.cert_remaining", "s", Gauge, Saturation, Higher, "The time until the server's certificate expires; negative afterwards"),
    row(608, Http, "httpcheck.requests", "{request}", Counter, Throughput, Neither, "Probes that ended, whatever came of them"),
    row(609, Http, "httpcheck.responses", "{response}", Counter, Throughput, Neither, "Responses by http.response.status_class (2xx …)"),
    row(610, Http, "httpcheck.errors", "{error}", Counter, Errors, Lower, "Failed probes by error.type: dns, refused, timeout, tls, connection, protocol, status or body"),
    row(611, Http, "httpcheck.responses.compared", "{response}", Counter, Utilisation, Neither, "Expected responses to GET that could be compared with the one before them"),
    row(612, Http, "httpcheck.responses.identical", "{response}", Counter, Utilisation, Neither, "Those among the compared with the same ETag or the same body as the one before"),
    row(620, Http, "http.server.requests", "{request}", Counter, Throughput, Neither, "Logged requests by http.route, http.request.method and http.response.status_class"),
    row(621, Http, "http.server.errors", "{request}", Counter, Errors, Lower, "Logged requests that were answered with 5xx, by http.route and http.request.method"),
    row(622, Http, "http.server.request.time", "s", Counter, Latency, Neither, "The summed time of logged requests by http.route and http.request.method"),
    row(623, Http, "http.server.request.duration.quantile", "s", Gauge, Latency, Lower, "The time of requests in the interval by http.route, http.request.method and quantile (0.5, 0.95, 0.99, 1)"),
    row(624, Http, "http.server.duration.quantile", "s", Gauge, Latency, Lower, "The time of all requests of a log in the interval by quantile (0.5, 0.95, 0.99, 1)"),
    row(625, Http, "http.server.slow_requests", "{request}", Counter, Latency, Lower, "Logged requests that took longer than the configured objective, by http.route and http.request.method"),
    row(626, Http, "http.server.timed_requests", "{request}", Counter, Throughput, Neither, "Logged requests whose time is known, by http.route and http.request.method"),
    row(627, Http, "http.server.response.io", "By", Counter, Throughput, Neither, "Bytes of responses by http.route and http.request.method"),
    row(628, Http, "http.server.responses.compared", "{response}", Counter, Utilisation, Neither, "Successful GETs whose size is known, by http.route and http.request.method: the base of the identical ones"),
    row(629, Http, "http.server.responses.identical", "{response}", Counter, Utilisation, Neither, "Those among the compared whose path was answered with the same size shortly before: a proxy for the same content"),
    row(630, Http, "http.server.first_attempts", "{request}", Counter, Throughput, Neither, "Requests that are marked as no retry, by http.route and http.request.method; none where the log does not tell"),
    row(631, Http, "http.server.retries", "{request}", Counter, Errors, Lower, "Requests that are marked as a retry, by http.route and http.request.method; none where the log does not tell"),
    row(640, Http, "http.server.log.lines", "{line}", Counter, Throughput, Neither, "Lines read from the log"),
    row(641, Http, "http.server.log.malformed", "{line}", Counter, Errors, Lower, "Lines among them that were not understood"),
    row(642, Http, "http.server.log.lag", "By", Gauge, Saturation, Lower, "Bytes of the log that are written and not read yet"),
    row(643, Http, "http.server.log.lost", "By", Counter, Errors, Lower, "Bytes known to have been written and gone before they were read"),
    row(644, Http, "http.server.log.endpoints", "{endpoint}", Gauge, Utilisation, Neither, "Endpoints that are told apart; the rest is counted as other"),
    row(645, Http, "http.server.log.trace.requests", "{request}", Counter, Throughput, Neither, "Requests that the access trace was sampled from"),
    row(646, Http, "http.server.log.trace.dropped", "{request}", Counter, Errors, Lower, "Sampled requests that left a full trace, whose rate was halved for that"),
];
