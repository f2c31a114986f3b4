//! Makes one connection: TCP, TLS where the target wants it, and the handshake of the protocol. When
//! one is made, and who uses it, is left to `pool`.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Context as TaskContext;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::operation::Failure;
use crate::scenario::HttpVersion;
use crate::target::Target;
use crate::tls::{Tls, TlsError, alpn};
use crate::worker::{Context, Gauges};

use super::failure;
use super::pool::Pool;
use super::wire::{Fate, Stream, Wire};

/// Streams that a connection carries before it is known how many the target allows: what RFC 9113,
/// 6.5.2, recommends that every target allow at least.
const STREAMS_AT_FIRST: u32 = 100;
/// Requests after which an HTTP/2 connection gives way to a new one: half of its stream numbers.
const MAX_REQUESTS: u32 = 1 << 29;

/// The body of every request.
pub(crate) type Body = Full<Bytes>;

/// How connections are made.
#[derive(Debug)]
pub(crate) struct Connector {
    target: Arc<Target>,
    gauges: Arc<Gauges>,
    tls: Option<Tls>,
    version: HttpVersion,
    timeout: Duration,
    /// Most streams of a connection; 1 on HTTP/1.1.
    streams: u32,
    /// The address that worked last.
    address: Cell<usize>,
}

/// The sending end of a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    Http1(RefCell<http1::SendRequest<Body>>),
    Http2(RefCell<http2::SendRequest<Body>>),
}

/// A connection that was made.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) sender: Sender,
    pub(crate) fate: Rc<Fate>,
    /// Requests that it may carry at once.
    pub(crate) capacity: Cell<u32>,
    /// Requests that it carries.
    pub(crate) used: Cell<u32>,
    /// Requests that it ever carried.
    pub(crate) requests: Cell<u32>,
    /// It gets no further requests.
    pub(crate) retired: Cell<bool>,
    /// It stands in the pool's list of connections with room.
    pub(crate) is_free: Cell<bool>,
}

impl Link {
    fn new(sender: Sender, fate: Rc<Fate>, capacity: u32) -> Self {
        Self {
            sender,
            fate,
            capacity: Cell::new(capacity),
            used: Cell::new(0),
            requests: Cell::new(0),
            retired: Cell::new(false),
            is_free: Cell::new(false),
        }
    }

    /// Whether it can take further requests at all.
    pub(crate) fn is_usable(&self) -> bool {
        !self.retired.get() && self.requests.get() < MAX_REQUESTS && !self.is_closed()
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.borrow().is_closed(),
            Sender::Http2(sender) => sender.borrow().is_closed(),
        }
    }

    /// Whether there is room for one more request.
    pub(crate) fn has_room(&self) -> bool {
        self.used.get() < self.capacity.get()
    }
}

impl Connector {
    /// Reads the certificates; `streams` is the most that a connection carries at once.
    pub(crate) fn new(context: &Context, streams: u32) -> Result<Self, TlsError> {
        let http = &context.scenario.http;
        Ok(Self {
            target: Arc::clone(&context.target),
            gauges: Arc::clone(&context.gauges),
            tls: Tls::of(context, Some(http.version))?,
            version: http.version,
            timeout: http.connect_timeout,
            streams,
            address: Cell::new(0),
        })
    }

    /// Makes a connection, within the time allowed for it.
    pub(crate) async fn connect(&self, pool: &Weak<Pool>) -> Result<Rc<Link>, Failure> {
        timeout(self.timeout, self.make(pool))
            .await
            .unwrap_or(Err(Failure::ConnectTimeout))
    }

    async fn make(&self, pool: &Weak<Pool>) -> Result<Rc<Link>, Failure> {
        let tcp = self.dial().await?;
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                let stream = TlsConnector::from(Arc::clone(&tls.config))
                    .connect(tls.name.clone(), tcp)
                    .await
                    .map_err(|error| failure::of_handshake(&error))?;
                let spoken = stream.get_ref().1.alpn_protocol();
                // A target may leave ALPN out and mean HTTP/1.1, never HTTP/2.
                if self.version == HttpVersion::Http2 && spoken != Some(alpn(self.version)) {
                    return Err(Failure::Tls);
                }
                Stream::Tls(Box::new(stream))
            }
        };
        let wire = Wire::new(stream, Arc::clone(&self.gauges));
        match self.version {
            HttpVersion::Http1 => speak_http1(wire).await,
            HttpVersion::Http2 => speak_http2(wire, self.streams, pool).await,
        }
    }

    /// Tries the target's addresses in turn, the one that worked last first.
    async fn dial(&self) -> Result<TcpStream, Failure> {
        let addresses = &self.target.addresses;
        let mut failed = Failure::Resolve;
        for turn in 0..addresses.len() {
            let at = (self.address.get() + turn) % addresses.len();
            match TcpStream::connect(addresses[at]).await {
                Ok(stream) => {
                    self.address.set(at);
                    // Without it small requests would wait for the acknowledgement of the last.
                    stream
                        .set_nodelay(true)
                        .map_err(|error| failure::of_connect(&error))?;
                    return Ok(stream);
                }
                Err(error) => failed = failure::of_connect(&error),
            }
        }
        Err(failed)
    }
}

async fn speak_http1(wire: Wire) -> Result<Rc<Link>, Failure> {
    let fate = wire.fate();
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| failure::of_exchange(&error, &fate))?;
    spawn_local(async move {
        if let Err(error) = connection.await {
            // Whoever waits for an answer is told by its own future.
            tracing::trace!(%error, "connection ended");
        }
    });
    Ok(Rc::new(Link::new(
        Sender::Http1(RefCell::new(sender)),
        fate,
        1,
    )))
}

async fn speak_http2(wire: Wire, streams: u32, pool: &Weak<Pool>) -> Result<Rc<Link>, Failure> {
    let fate = wire.fate();
    let at_first = STREAMS_AT_FIRST.min(streams);
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .initial_max_send_streams(STREAMS_AT_FIRST as usize)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| failure::of_exchange(&error, &fate))?;
    let sender = Sender::Http2(RefCell::new(sender));
    let link = Rc::new(Link::new(sender, Rc::clone(&fate), at_first));
    // The task holds neither the link nor the pool: the link's end is what ends the connection.
    spawn_local(drive_http2(
        connection,
        fate,
        Rc::downgrade(&link),
        pool.clone(),
        streams,
    ));
    Ok(link)
}

/// Drives a connection and follows how many streams the target allows, so that no request is handed
/// over that could not be written at once.
async fn drive_http2(
    mut connection: http2::Connection<TokioIo<Wire>, Body, LocalExecutor>,
    fate: Rc<Fate>,
    link: Weak<Link>,
    pool: Weak<Pool>,
    streams: u32,
) {
    let mut first_bytes = pin!(fate.first_bytes());
    let mut is_known = false;
    let ended = poll_fn(|cx: &mut TaskContext<'_>| {
        let polled = Pin::new(&mut connection).poll(cx);
        if !is_known && first_bytes.as_mut().poll(cx).is_ready() {
            is_known = true;
        }
        if polled.is_pending()
            && let Some(link) = link.upgrade()
        {
            let limit = u32::try_from(connection.current_max_send_streams())
                .unwrap_or(u32::MAX)
                .min(streams);
            if limit > link.capacity.replace(limit)
                && let Some(pool) = pool.upgrade()
            {
                pool.offer(&link);
            }
        }
        polled
    })
    .await;
    if let Err(error) = ended {
        tracing::trace!(%error, "connection ended");
    }
}

/// Runs hyper's own tasks on the worker's thread.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
