//! OTLP over gRPC: one unary method, of which the frames, the status and the trailers are few enough
//! to be written here. Format: "gRPC over HTTP2" of the gRPC project.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use prost::Message as _;

use super::{Otlp, partial_success};
use crate::service::foreign::Refusal;
use crate::service::foreign::server::{Answer, BodyError, gunzip, read_body, token};

/// The method that is served.
const METHOD: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// The head of a frame: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// The status codes that are answered, of `google.rpc.Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
enum Code {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
}

/// What went wrong.
struct Status {
    code: Code,
    message: String,
}

impl Status {
    fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

impl From<BodyError> for Status {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::TooLarge { .. } => Code::ResourceExhausted,
            BodyError::TimedOut => Code::DeadlineExceeded,
            BodyError::Broken | BodyError::Encoding(_) => Code::InvalidArgument,
        };
        Self::new(code, error.to_string())
    }
}

/// Whether a request is one of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = token(headers, header::CONTENT_TYPE);
    kind == "application/grpc" || kind == "application/grpc+proto"
}

pub(super) async fn answer(otlp: &Otlp, request: Request<Incoming>) -> Answer {
    match export(otlp, request).await {
        Ok(response) => success(&response),
        Err(status) => failure(&status),
    }
}

async fn export(
    otlp: &Otlp,
    request: Request<Incoming>,
) -> Result<ExportMetricsServiceResponse, Status> {
    if request.uri().path() != METHOD {
        let words = format!(
            "{} is not served: only metrics are taken",
            request.uri().path()
        );
        return Err(Status::new(Code::Unimplemented, words));
    }
    let Some(_permit) = otlp.source.admit() else {
        let words = "too many requests are under way: try again later";
        return Err(Status::new(Code::Unavailable, words));
    };
    let encoding = request.headers().get("grpc-encoding").cloned();
    let body = read_body(request.into_body(), otlp.max_body_bytes).await?;
    let message = unpack(otlp, &body, encoding.as_ref()).inspect_err(|status| {
        if status.code == Code::InvalidArgument {
            otlp.source.count_malformed(status.message.clone());
        }
    })?;
    match otlp.take(&message) {
        Ok(outcome) => Ok(ExportMetricsServiceResponse {
            partial_success: partial_success(&outcome).map(|(rejected_data_points, reason)| {
                ExportMetricsPartialSuccess {
                    rejected_data_points,
                    error_message: reason,
                }
            }),
        }),
        Err(refusal) => Err(Status::new(
            match refusal {
                Refusal::Malformed(_) => Code::InvalidArgument,
                Refusal::Full { .. } => Code::Unavailable,
                Refusal::TooMany { .. } => Code::ResourceExhausted,
            },
            refusal.to_string(),
        )),
    }
}

/// The one message of a body.
fn unpack(otlp: &Otlp, body: &Bytes, encoding: Option<&HeaderValue>) -> Result<Bytes, Status> {
    let bad = |words: &str| Status::new(Code::InvalidArgument, words);
    let Some(([compressed, length @ ..], _)) = body.split_first_chunk::<HEAD_BYTES>() else {
        return Err(bad("the request has no message"));
    };
    let message = body.slice(HEAD_BYTES..);
    if message.len() != u32::from_be_bytes(*length) as usize {
        return Err(bad("the request is not one whole message"));
    }
    let gzip = encoding.is_some_and(|encoding| encoding == "gzip");
    match compressed {
        0 => Ok(message),
        1 if gzip => Ok(gunzip(&message, otlp.max_message_bytes())?),
        1 => {
            let words = "the message is compressed otherwise than by gzip";
            Err(Status::new(Code::Unimplemented, words))
        }
        _ => Err(bad("the message has an unknown flag")),
    }
}

fn success(response: &ExportMetricsServiceResponse) -> Answer {
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + response.encoded_len());
    frame.put_u8(0);
    // The response holds a number and one of our own messages.
    frame.put_u32(response.encoded_len() as u32);
    frame.put_slice(&response.encode_to_vec());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(Code::Ok as u16));
    let body = Full::new(frame.freeze()).with_trailers(async move { Some(Ok(trailers)) });
    head(Response::new(body.boxed()))
}

/// A failure has no body: its status stands in the head.
fn failure(status: &Status) -> Answer {
    let mut answer = head(Response::new(Empty::new().boxed()));
    let headers = answer.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(status.code as u16));
    if let Ok(message) = HeaderValue::from_str(&escape(&status.message)) {
        headers.insert("grpc-message", message);
    }
    answer
}

fn head(mut answer: Answer) -> Answer {
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(
        "grpc-accept-encoding",
        HeaderValue::from_static("identity,gzip"),
    );
    answer
}

/// Percent-encodes what a header cannot hold.
fn escape(message: &str) -> String {
    let mut out = String::new();
    for byte in message.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f..=0xff => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit_into_headers() {
        assert_eq!(escape("50 % über\n"), "50 %25 %C3%BCber%0A");
    }
}
