//! One request and its answer over HTTP/1.1 or HTTP/2.

use std::hash::Hasher as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use memchr::memmem;
use siphasher::sip::SipHasher13;

use super::dial::{Failure, Stream, Target};
use crate::clock;
use crate::service::Pass;

/// The largest body that is read.
const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;
/// So much of it is looked through.
const MAX_LOOKED_BYTES: usize = 1024 * 1024;
/// The longest ETag that is compared.
const MAX_ETAG_BYTES: usize = 1_024;
const AGENT: HeaderValue = HeaderValue::from_static("driftline-probe");

/// An open connection.
pub(super) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// From sending the request to the head of the answer.
    pub(super) first_byte_ns: u64,
    pub(super) bytes: u64,
    pub(super) body_hash: u64,
    pub(super) etag: Option<String>,
    pub(super) has_expected: bool,
    /// Whether the body was given up for its size.
    pub(super) is_cut: bool,
}

impl Connection {
    /// Begins HTTP on a connection. It ends with its time-out, unless it is to be used again.
    pub(super) async fn open(
        stream: Stream,
        out: &Pass,
        time_out: Duration,
        reuse: bool,
    ) -> Result<Self, Failure> {
        let is_http2 = stream.is_http2();
        let io = TokioIo::new(stream);
        // How a connection ends shows in the exchange; whoever sends on it is told.
        if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(|error| failed(&error))?;
            spawn(connection, out, time_out, reuse);
            Ok(Self::Http2(sender))
        } else {
            let (sender, connection) =
                http1::handshake(io).await.map_err(|error| failed(&error))?;
            spawn(connection, out, time_out, reuse);
            Ok(Self::Http1(sender))
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        expected: &str,
    ) -> Result<Answer, Failure> {
        let sent = clock::mono_ns();
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.map_err(|error| failed(&error))?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        };
        let response = response.map_err(|error| failed(&error))?;
        let first_byte_ns = clock::mono_ns() - sent;
        let etag = response
            .headers()
            .get(ETAG)
            .and_then(|tag| tag.to_str().ok());
        let mut answer = Answer {
            status: response.status().as_u16(),
            first_byte_ns,
            bytes: 0,
            body_hash: 0,
            etag: etag
                .filter(|tag| tag.len() <= MAX_ETAG_BYTES)
                .map(str::to_owned),
            has_expected: false,
            is_cut: false,
        };
        let mut body = response.into_body();
        let (mut hasher, mut looked) = (SipHasher13::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| failed(&error))?;
            let Some(part) = frame.data_ref() else {
                continue;
            };
            answer.bytes += part.len() as u64;
            hasher.write(part);
            if !expected.is_empty() {
                let room = MAX_LOOKED_BYTES - looked.len();
                looked.extend_from_slice(&part[..part.len().min(room)]);
            }
            if answer.bytes > MAX_BODY_BYTES {
                answer.is_cut = true;
                break;
            }
        }
        answer.body_hash = hasher.finish();
        answer.has_expected = memmem::find(&looked, expected.as_bytes()).is_some();
        Ok(answer)
    }
}

fn spawn(
    connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
    out: &Pass,
    time_out: Duration,
    reuse: bool,
) {
    out.spawn(async move {
        // Its errors come to the one who sends.
        if reuse {
            let _ = connection.await;
        } else {
            let _ = tokio::time::timeout(time_out, connection).await;
        }
    });
}

/// The request as the connection's version of HTTP has it.
pub(super) fn request(
    target: &Target,
    method: &Method,
    headers: &HeaderMap,
    body: &str,
    connection: &Connection,
) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    let refuse = |error: &dyn std::fmt::Display| Failure::new("protocol", error);
    *request.method_mut() = method.clone();
    request.headers_mut().insert(USER_AGENT, AGENT);
    let uri = match connection {
        Connection::Http1(_) => {
            let host = HeaderValue::try_from(&target.authority).map_err(|error| refuse(&error))?;
            request.headers_mut().insert(HOST, host);
            target.path_and_query.clone()
        }
        Connection::Http2(_) => {
            *request.version_mut() = Version::HTTP_2;
            format!("https://{}{}", target.authority, target.path_and_query)
        }
    };
    *request.uri_mut() = uri.parse().map_err(|error| refuse(&error))?;
    if !body.is_empty() {
        let length = HeaderValue::from(body.len());
        request.headers_mut().insert(CONTENT_LENGTH, length);
    }
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    Ok(request)
}

fn failed(error: &hyper::Error) -> Failure {
    let reason = if error.is_parse() {
        "protocol"
    } else {
        "connection"
    };
    Failure::new(reason, error)
}
