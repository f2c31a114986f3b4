//! HTTP/2, by hyper: with prior knowledge or as TLS agreed.
//!
//! Answers and delays are those of HTTP/1.1. The end of an answer is when its last piece is handed to
//! the connection, which may still hold it back by flow control.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request as HttpRequest, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::answer::{Answer, Body, PATTERN, Reply};
use super::fault::{FLOOD_BYTES, Fault, HALF_BYTES};
use super::request::{MOST_BODY_BYTES, MOST_HEAD_BYTES, Method, Rejection, Request, Upgrade};
use super::routes::route;
use super::stream::{Rewound, Stream};
use super::timer::Sleep;
use super::worker::{InFlight, Row, Worker, spawn};

/// Streams that a connection may have open at the same time.
const MOST_STREAMS: u32 = 1_000;
/// How long half a body has to be sent before its stream is reset.
const HALF_SENT_WITHIN: Duration = Duration::from_millis(50);

/// Starts hyper's tasks on this thread.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        spawn(task);
    }
}

/// Serves a connection of which `rest` was read already.
pub(crate) async fn serve<S: Stream>(worker: Rc<Worker>, stream: S, rest: Vec<u8>) {
    let stream = TokioIo::new(Rewound::new(rest, stream));
    let service = service_fn(move |request| answer(Rc::clone(&worker), request));
    let served = http2::Builder::new(Local)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEAD_BYTES as u32)
        .serve_connection(stream, service)
        .await;
    if let Err(error) = served {
        // A client may leave whenever it likes.
        tracing::trace!("a connection of http/2 ended: {error}");
    }
}

/// The answer to a request; an error resets its stream.
async fn answer(
    worker: Rc<Worker>,
    request: HttpRequest<Incoming>,
) -> io::Result<Response<Outgoing>> {
    let arrival = Instant::now();
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut end = End {
        row: Some(worker.row(arrival, target)),
        in_flight: InFlight::new(&worker),
        worker: Rc::clone(&worker),
    };
    let body = match Limited::new(body, MOST_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return respond(Reply::from(Rejection::BodyTooLarge), false, end);
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    let mut understood = Request {
        method: match head.method {
            http::Method::GET => Method::Get,
            http::Method::HEAD => Method::Head,
            http::Method::POST => Method::Post,
            _ => Method::Other,
        },
        target,
        keep_alive: true,
        version_10: false,
        token: None,
        form: false,
        if_none_match: None,
        accepts_gzip: false,
        upgrade: Upgrade::No,
        body: &body,
    };
    for (name, value) in &head.headers {
        understood.notice(name.as_str(), value.as_bytes());
    }
    let mut reply = match route(&worker, &understood) {
        Answer::Reply(reply) => reply,
        Answer::Fault(fault) => return misbehave(fault, end).await,
        // HTTP/2 has no such upgrade, so no request carries one.
        Answer::WebSocket { .. } => Reply::error(426, "this path speaks websocket over http/1.1\n"),
    };
    if let Some(fate) = worker.fate(understood.target, &reply, arrival)
        && let Some(row) = &mut end.row
        && let Some(instead) = worker.undergo(fate, row).await?
    {
        reply = instead;
    }
    respond(reply, head.method == http::Method::HEAD, end)
}

fn respond(reply: Reply, head_only: bool, mut end: End) -> io::Result<Response<Outgoing>> {
    if let Some(row) = &mut end.row {
        row.status = reply.status;
    }
    let content = match reply.body {
        _ if head_only => Content::Bytes(Bytes::new()),
        Body::Bytes(body) => Content::Bytes(body),
        Body::Prebuilt(prebuilt) => Content::Bytes(prebuilt.body.clone()),
        Body::Pattern(bytes) | Body::Chunked(bytes) => Content::Pattern(bytes),
    };
    let mut response = Response::new(Outgoing {
        content,
        breaks: None,
        _end: Some(end),
    });
    *response.status_mut() = StatusCode::from_u16(reply.status).map_err(io::Error::other)?;
    let headers = response.headers_mut();
    if !reply.content_type.is_empty() {
        headers.insert("content-type", HeaderValue::from_static(reply.content_type));
    }
    for (name, value) in reply.fields {
        headers.insert(
            name,
            HeaderValue::try_from(value).map_err(io::Error::other)?,
        );
    }
    Ok(response)
}

/// A fault, on one stream. What cannot be said in HTTP/2 becomes a reset of the stream.
async fn misbehave(fault: Fault, end: End) -> io::Result<Response<Outgoing>> {
    let body = |bytes, breaks| {
        Response::new(Outgoing {
            content: Content::Pattern(bytes),
            breaks,
            _end: None,
        })
    };
    let response = match fault {
        Fault::Never => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
        Fault::Half => {
            // A reset overtakes what is not yet sent.
            let sent_by = Instant::now() + HALF_SENT_WITHIN;
            let wait = end.worker.timer.sleep_until(sent_by);
            body(HALF_BYTES / 2, Some(wait))
        }
        Fault::Flood => body(FLOOD_BYTES, None),
        Fault::Reset | Fault::Close | Fault::Garbage => {
            return Err(io::Error::other("a planted fault"));
        }
    };
    drop(end);
    Ok(response)
}

/// Counts and logs a request when its answer is handed over, or given up.
struct End {
    row: Option<Row>,
    in_flight: InFlight,
    worker: Rc<Worker>,
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = &self.in_flight;
        if let Some(row) = self.row.take() {
            self.worker.finish(row, Instant::now());
        }
    }
}

/// A body on its way out.
struct Outgoing {
    content: Content,
    /// Makes it fail instead of ending.
    breaks: Option<Sleep>,
    _end: Option<End>,
}

enum Content {
    Bytes(Bytes),
    Pattern(usize),
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = match &mut self.content {
            Content::Bytes(bytes) => std::mem::take(bytes),
            Content::Pattern(left) => {
                let piece = (*left).min(PATTERN.len());
                *left -= piece;
                Bytes::from_static(&PATTERN[..piece])
            }
        };
        Poll::Ready(match piece.is_empty() {
            false => Some(Ok(Frame::data(piece))),
            true => match &mut self.breaks {
                None => None,
                Some(wait) => {
                    let _ = ready!(Pin::new(wait).poll(cx));
                    Some(Err(io::Error::other("a planted fault")))
                }
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        self.breaks.is_none() && self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.content {
            _ if self.breaks.is_some() => HALF_BYTES as u64,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Pattern(left) => *left as u64,
        })
    }
}
