//! OTLP over HTTP: `POST /v1/metrics`, protobuf, with or without gzip. What it answers to failures
//! follows the OTLP specification, "OTLP/HTTP Response".

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use prost::Message as _;

use super::{Otlp, partial_success};
use crate::service::foreign::Refusal;
use crate::service::foreign::server::{self, Answer, gunzip, read_body, token};

const PATH: &str = "/v1/metrics";
const PROTOBUF: &str = "application/x-protobuf";
/// After so many seconds a sender that was put off tries again.
const RETRY_AFTER_S: u32 = 2;

/// `google.rpc.Status`, which failures are told in.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

pub(super) async fn answer(otlp: &Otlp, request: Request<Incoming>) -> Answer {
    let (status, words) = match export(otlp, request).await {
        Ok(response) => return server::answer(StatusCode::OK, PROTOBUF, response.encode_to_vec()),
        Err(failure) => failure,
    };
    let message = Status { message: words };
    let mut answer = server::answer(status, PROTOBUF, message.encode_to_vec());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let wait = HeaderValue::from(RETRY_AFTER_S);
        answer.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("POST");
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

type Failure = (StatusCode, String);

async fn export(
    otlp: &Otlp,
    request: Request<Incoming>,
) -> Result<ExportMetricsServiceResponse, Failure> {
    let fail = |status, words: &str| (status, words.to_owned());
    if request.uri().path() != PATH {
        let words = "only /v1/metrics is served: traces and logs are not taken";
        return Err(fail(StatusCode::NOT_FOUND, words));
    }
    if request.method() != Method::POST {
        return Err(fail(
            StatusCode::METHOD_NOT_ALLOWED,
            "metrics are sent by POST",
        ));
    }
    // Anything else is refused also so that no web page can send metrics without being asked.
    if token(request.headers(), header::CONTENT_TYPE) != PROTOBUF {
        let words = "metrics are taken as application/x-protobuf: set the exporter's protocol to http/protobuf";
        return Err(fail(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    let encoding = token(request.headers(), header::CONTENT_ENCODING);
    if !matches!(encoding.as_str(), "" | "identity" | "gzip") {
        let words = "only gzip is decompressed";
        return Err(fail(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    let Some(_permit) = otlp.source.admit() else {
        let words = "too many requests are under way: try again later";
        return Err(fail(StatusCode::SERVICE_UNAVAILABLE, words));
    };
    let read = read_body(request.into_body(), otlp.max_body_bytes).await;
    let body = read.map_err(|error| (error.status(), error.to_string()))?;
    let message = if encoding == "gzip" {
        unpack(otlp, &body)?
    } else {
        body
    };
    match otlp.take(&message) {
        Ok(outcome) => Ok(ExportMetricsServiceResponse {
            partial_success: partial_success(&outcome).map(|(rejected_data_points, reason)| {
                ExportMetricsPartialSuccess {
                    rejected_data_points,
                    error_message: reason,
                }
            }),
        }),
        Err(refusal) => Err((status(&refusal), refusal.to_string())),
    }
}

fn unpack(otlp: &Otlp, body: &Bytes) -> Result<Bytes, Failure> {
    gunzip(body, otlp.max_message_bytes()).map_err(|error| {
        if error.status() == StatusCode::BAD_REQUEST {
            otlp.source.count_malformed(error.to_string());
        }
        (error.status(), error.to_string())
    })
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::Full { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
    }
}
