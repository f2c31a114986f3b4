//! One thread of the service: its runtime, its listener, and what its connections share.
//!
//! Threads share nothing on the way of a request but read-mostly switches. What connections say is
//! left to `http1`, `http2` and `websocket`.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio_rustls::TlsAcceptor;

use super::ServiceConfig;
use super::answer::{Catalogue, Reply};
use super::clerk::Clerk;
use super::clock::ServiceClock;
use super::control::{Conditions, Control, Fate, Knobs};
use super::http1::{Ending, Http1};
use super::http2;
use super::log::{Log, LogRow};
use super::meter::Meter;
use super::rooms::{Directory, LocalRooms};
use super::routes::is_below;
use super::stream::Stream;
use super::timer::Timer;
use super::tls;
use super::websocket;
use crate::stop::Stop;

/// What one read takes at most.
const READ_BYTES: usize = 64 * 1024;
/// The write buffer that is shared by a thread's connections is cut back to this.
const KEPT_OUT_BYTES: usize = 256 * 1024;
/// The pause after a connection could not be accepted, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// How often a stalled thread looks whether it is to stop.
const STALL_SLICE: Duration = Duration::from_millis(20);
/// How long a handshake of TLS may take.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ServiceConfig,
    pub(crate) clock: Arc<ServiceClock>,
    pub(crate) control: Control,
    pub(crate) clerk: Clerk,
    pub(crate) rooms: Directory,
    pub(crate) log: Arc<Log>,
    pub(crate) meters: Vec<Meter>,
    /// Requests that drew a fate.
    pub(crate) drawn: AtomicU64,
    pub(crate) orders: AtomicU64,
    pub(crate) stop: Stop,
}

/// What the connections of a thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) timer: Rc<Timer>,
    pub(crate) catalogue: Catalogue,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) rooms: LocalRooms,
    knobs: RefCell<(u64, Knobs)>,
}

/// Buffers that a connection uses while it is polled, so that idle ones hold none.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) read: Box<[u8]>,
    pub(crate) out: Vec<u8>,
    /// The requests whose answers are in `out`.
    pub(crate) rows: Vec<Row>,
}

/// A request on its way to the log.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) arrival: Instant,
    pub(crate) started: Instant,
    pub(crate) status: u16,
    pub(crate) path: Option<Box<str>>,
}

/// Counts a request as in flight while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Rc<Worker>);

/// Counts a connection as open while it lives.
struct Open(Rc<Worker>);

impl Scratch {
    fn new() -> Self {
        Self {
            read: vec![0; READ_BYTES].into(),
            out: Vec::with_capacity(READ_BYTES),
            rows: Vec::new(),
        }
    }

    /// Makes it ready for the next use.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.out.shrink_to(KEPT_OUT_BYTES);
        self.rows.clear();
    }
}

impl Worker {
    fn new(number: usize, shared: Arc<Shared>) -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            number,
            shared,
            timer: Timer::new()?,
            catalogue: Catalogue::new(),
            scratch: RefCell::new(Scratch::new()),
            rooms: LocalRooms::default(),
            knobs: RefCell::default(),
        }))
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.shared.meters[self.number]
    }

    /// What a request meets before it is answered by this reply; `None` when it is answered at once.
    pub(crate) fn fate(&self, target: &str, reply: &Reply, arrival: Instant) -> Option<Fate> {
        if !reply.gated {
            return None;
        }
        let mut copy = self.knobs.borrow_mut();
        let (version, knobs) = &mut *copy;
        let shared = &self.shared;
        shared.control.refresh(version, knobs);
        let config = &shared.config;
        let extra = match reply.slow {
            true => config.slow_latency,
            false => Duration::ZERO,
        };
        if knobs.are_neutral() && extra.is_zero() {
            return None;
        }
        let number = shared.drawn.fetch_add(1, Ordering::Relaxed);
        let elapsed = Duration::from_nanos(shared.clock.ns_of(arrival));
        let conditions = Conditions {
            struck: is_below(target, &config.slow_path),
            bounded: config.capacity < usize::MAX,
        };
        Some(knobs.fate(config.seed, number, elapsed, extra, conditions))
    }

    /// Lets a fate happen to a request; the replies are what stands instead of its own.
    pub(crate) async fn undergo(&self, fate: Fate, row: &mut Row) -> io::Result<Option<Reply>> {
        // The latency counts from the exact end of the service, however late this was told of it.
        let mut from = row.arrival;
        if !fate.service.is_zero() {
            let Some(served) = self.shared.clerk.enter(fate.service) else {
                return Ok(Some(
                    Reply::error(503, "the queue is full\n").with("retry-after", "1"),
                ));
            };
            let Ok(slot) = served.await else {
                return Err(io::Error::other("the service stops"));
            };
            row.started = self.shared.clock.instant(slot.started_ns);
            from = self.shared.clock.instant(slot.ended_ns);
        }
        if !fate.latency.is_zero() {
            self.timer.sleep_until(from + fate.latency).await?;
        }
        Ok(fate.fails.then(|| Reply::error(500, "a planted failure\n")))
    }

    /// A request that has come.
    pub(crate) fn row(&self, arrival: Instant, target: &str) -> Row {
        Row {
            arrival,
            started: arrival,
            status: 0,
            path: self.shared.config.logs().then(|| target.into()),
        }
    }

    /// Counts and logs a request whose answer is written.
    pub(crate) fn finish(&self, row: Row, end: Instant) {
        let duration = end.saturating_duration_since(row.arrival);
        let status = row.status;
        if let Some(path) = row.path {
            let clock = &self.shared.clock;
            let row = LogRow {
                arrival_us: clock.unix_us(row.arrival),
                start_us: clock.unix_us(row.started),
                end_us: clock.unix_us(end),
                status: row.status,
                path,
            };
            self.shared.log.append(self.number, row);
        }
        self.meter().finish(status, duration);
    }
}

impl InFlight {
    pub(crate) fn new(worker: &Rc<Worker>) -> Self {
        worker.meter().in_flight.add(1);
        Self(Rc::clone(worker))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.meter().in_flight.subtract(1);
    }
}

impl Open {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.meter().connections.add(1);
        worker.meter().open_connections.add(1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.meter().open_connections.subtract(1);
    }
}

/// The thread: serves until the stop. Whether it could begin is sent to `ready`.
pub(crate) fn run(
    number: usize,
    shared: &Arc<Shared>,
    listener: StdListener,
    acceptor: Option<TlsAcceptor>,
    ready: &SyncSender<io::Result<()>>,
) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let result = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let worker = Worker::new(number, Arc::clone(shared))?;
            let listener = TcpListener::from_std(listener)?;
            spawn(stalls(Rc::clone(&worker)));
            spawn(super::rooms::deliver(Rc::clone(&worker)));
            let timer = Rc::clone(&worker.timer).drive();
            // The receiver waits for every thread, so it is there.
            let _ = ready.send(Ok(()));
            tokio::select! {
                () = shared.stop.wait() => Ok(()),
                () = accept(&worker, &listener, acceptor) => Ok(()),
                error = timer => error,
            }
        })
    });
    if let Err(error) = result {
        tracing::error!("thread {number} of the service ended: {error}");
        // Nobody receives any more when the thread had begun; then the service stops as a whole.
        let _ = ready.try_send(Err(error));
        shared.stop.request();
    }
}

/// Starts a task of this thread.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    drop(tokio::task::spawn_local(task));
}

async fn accept(worker: &Rc<Worker>, listener: &TcpListener, acceptor: Option<TlsAcceptor>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("a connection could not be accepted: {error}");
                worker.meter().accept_failures.add(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let worker = Rc::clone(worker);
        match &acceptor {
            None => spawn(connection(worker, stream)),
            Some(acceptor) => spawn(encrypted(worker, stream, acceptor.clone())),
        }
    }
}

async fn encrypted(worker: Rc<Worker>, stream: TcpStream, acceptor: TlsAcceptor) {
    let handshake = tokio::time::timeout(TLS_HANDSHAKE, acceptor.accept(stream));
    match Box::pin(handshake).await {
        Ok(Ok(stream)) if tls::speaks_http2(&stream) => {
            let _open = Open::new(&worker);
            Box::pin(http2::serve(worker, stream, Vec::new())).await;
        }
        Ok(Ok(stream)) => Box::pin(connection(worker, stream)).await,
        Ok(Err(error)) => tracing::debug!("a handshake of tls failed: {error}"),
        Err(_) => tracing::debug!("a handshake of tls took too long"),
    }
}

async fn connection<S: Stream>(worker: Rc<Worker>, stream: S) {
    let _open = Open::new(&worker);
    let ended = Http1::new(Rc::clone(&worker), stream).serve().await;
    match ended {
        Ok(Ending::Closed) => {}
        Ok(Ending::WebSocket {
            stream,
            rest,
            place,
        }) => {
            websocket::serve(worker, stream, rest, place).await;
        }
        Ok(Ending::Http2 { stream, rest }) => {
            Box::pin(http2::serve(worker, stream, rest)).await;
        }
        // A client may leave whenever it likes.
        Err(error) => tracing::trace!("a connection ended: {error}"),
    }
}

/// Blocks the thread during stalls: nothing is read, written or accepted, as if the process stood.
async fn stalls(worker: Rc<Worker>) {
    let clock = &worker.shared.clock;
    let mut planned = clock.planned();
    for number in 0.. {
        let stall = loop {
            if let Some(stall) = clock.stall(number) {
                break stall;
            }
            if planned.changed().await.is_err() {
                return;
            }
        };
        if let Err(error) = worker.timer.sleep_until(clock.instant(stall.from_ns)).await {
            tracing::error!("a stall cannot be timed: {error}");
            return;
        }
        let until = clock.instant(stall.until_ns);
        while Instant::now() < until && !worker.shared.stop.is_requested() {
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(STALL_SLICE));
        }
    }
}
