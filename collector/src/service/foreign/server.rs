//! The listener of a receiver: HTTP/1.1 and HTTP/2 with bounded connections, requests, bodies and
//! times. What a request means is left to the endpoint.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::service::run::Meter;

/// How long a sender may take for the head of a request.
const HEAD_TIME_OUT: Duration = Duration::from_secs(10);
/// How long a sender may take for a body.
const BODY_TIME_OUT: Duration = Duration::from_secs(30);
/// Connections over which nothing comes are asked for a sign of life this often.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(60);
/// How long that sign may take.
const KEEP_ALIVE_TIME_OUT: Duration = Duration::from_secs(20);
/// The pause after a connection could not be taken (no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most header bytes of a request.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// How much of a body may be under way: enough for a large request at once.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// What an endpoint answers.
pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at once; more wait until others end.
    pub(crate) connections: usize,
    /// Requests at once over one connection of HTTP/2.
    pub(crate) streams: u32,
}

/// How far a listener has got with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Ending {
    NotYet,
    /// Requests under way are answered, and no others.
    WhenAnswered,
    AtOnce,
}

/// A listener and its connections, which end with it.
#[derive(Debug)]
pub(crate) struct Listening {
    /// What was bound: which port, where 0 was asked for.
    pub(crate) address: SocketAddr,
    ending: watch::Sender<Ending>,
    /// One for each connection, and one for the listener while it waits for the next.
    permits: Arc<Semaphore>,
    limit: u32,
}

impl Listening {
    /// Takes no more connections, has the requests under way answered within this time, and closes
    /// all connections: afterwards nothing is acknowledged any more.
    pub(crate) async fn close(self, within: Duration) {
        for ending in [Ending::WhenAnswered, Ending::AtOnce] {
            self.ending.send_replace(ending);
            let all_gone = self.permits.acquire_many(self.limit);
            if tokio::time::timeout(within, all_gone).await.is_ok() {
                return;
            }
        }
        tracing::warn!(address = %self.address, "connections of a receiver do not end");
    }
}

/// Waits until the end has come this far; a listener that is gone wants it at once.
async fn comes_to(ending: &mut watch::Receiver<Ending>, stage: Ending) {
    drop(ending.wait_for(|now| *now >= stage).await);
}

/// What answers requests.
pub(crate) trait Endpoint: Send + Sync + 'static {
    /// The answer to a request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Listens at an address.
pub(crate) async fn listen<E: Endpoint>(
    address: SocketAddr,
    endpoint: Arc<E>,
    bounds: Bounds,
    meter: Meter,
) -> io::Result<Listening> {
    let listener = TcpListener::bind(address).await?;
    let limit = u32::try_from(bounds.connections.max(1)).unwrap_or(u32::MAX);
    let (ending, told) = watch::channel(Ending::NotYet);
    let listening = Listening {
        address: listener.local_addr()?,
        ending,
        permits: Arc::new(Semaphore::new(limit as usize)),
        limit,
    };
    let permits = Arc::clone(&listening.permits);
    let own = meter.clone();
    meter.spawn(accept(listener, endpoint, (bounds, own), permits, told));
    Ok(listening)
}

/// Takes connections, at most as many as there are permits.
async fn accept<E: Endpoint>(
    listener: TcpListener,
    endpoint: Arc<E>,
    (bounds, meter): (Bounds, Meter),
    permits: Arc<Semaphore>,
    mut ending: watch::Receiver<Ending>,
) {
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let accepted = tokio::select! {
            biased;
            () = comes_to(&mut ending, Ending::WhenAnswered) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let endpoint = Arc::clone(&endpoint);
                let (own, ending) = (meter.clone(), ending.clone());
                meter.spawn(async move {
                    serve(stream, endpoint, bounds, own, ending).await;
                    drop(permit);
                });
            }
            Err(source) => {
                tracing::warn!(%source, "a connection cannot be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<E: Endpoint>(
    stream: TcpStream,
    endpoint: Arc<E>,
    bounds: Bounds,
    meter: Meter,
    mut ending: watch::Receiver<Ending>,
) {
    // Small answers are not to wait for more of them; where that cannot be set they do.
    drop(stream.set_nodelay(true));
    let mut builder = auto::Builder::new(OnMeter(meter));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_OUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_TIME_OUT)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(MAX_HEADER_BYTES);
    let service = service_fn(move |request| {
        let endpoint = Arc::clone(&endpoint);
        async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut ended = None;
    tokio::select! {
        outcome = connection.as_mut() => ended = Some(outcome),
        () = comes_to(&mut ending, Ending::WhenAnswered) => {}
    }
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            outcome = connection.as_mut() => ended = Some(outcome),
            () = comes_to(&mut ending, Ending::AtOnce) => {}
        }
    }
    if let Some(Err(error)) = ended {
        tracing::debug!(error, "a connection of a receiver ended early");
    }
}

/// Runs the tasks of connections on the account of the service.
#[derive(Clone)]
struct OnMeter(Meter);

impl<F> hyper::rt::Executor<F> for OnMeter
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn(async move { drop(future.await) });
    }
}

/// Why a body cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is larger than allowed, as sent or decompressed.
    #[error(
        "the body is larger than {limit} bytes: send smaller requests, or raise max_body_bytes"
    )]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The sender was too slow.
    #[error("the body did not arrive within 30 s")]
    TimedOut,
    /// The connection broke.
    #[error("the body did not arrive wholly")]
    Broken,
    /// It is not what the header says.
    #[error("the body is not valid {0}")]
    Encoding(&'static str),
}

impl BodyError {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::Encoding(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a body of at most so many bytes.
pub(crate) async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, BodyError> {
    let read = Limited::new(body, limit).collect();
    match tokio::time::timeout(BODY_TIME_OUT, read).await {
        Err(_) => Err(BodyError::TimedOut),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}

/// Decompresses gzip to at most so many bytes.
pub(crate) fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, BodyError> {
    let mut out = Vec::new();
    let mut reader = MultiGzDecoder::new(body).take(limit as u64 + 1);
    reader
        .read_to_end(&mut out)
        .map_err(|_| BodyError::Encoding("gzip"))?;
    if out.len() > limit {
        return Err(BodyError::TooLarge { limit });
    }
    Ok(Bytes::from(out))
}

/// The value of a header, lower-case and without parameters; empty where it is absent.
pub(crate) fn token(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let first = value.and_then(|value| value.split(';').next());
    first.unwrap_or("").trim().to_ascii_lowercase()
}

/// An answer with a body.
pub(crate) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed());
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// An answer in words.
pub(crate) fn say(status: StatusCode, words: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", words.into() + "\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn gzip_is_bounded() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[0; 100_000]).expect("memory");
        let packed = encoder.finish().expect("memory");
        assert!(packed.len() < 2_000);
        assert_eq!(gunzip(&packed, 100_000).expect("fits").len(), 100_000);
        assert_eq!(
            gunzip(&packed, 99_999),
            Err(BodyError::TooLarge { limit: 99_999 })
        );
        assert_eq!(
            gunzip(&packed[..50], 100_000),
            Err(BodyError::Encoding("gzip"))
        );
        assert_eq!(gunzip(b"no gzip", 100), Err(BodyError::Encoding("gzip")));
    }
}
