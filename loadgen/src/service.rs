//! The bundled target: a small HTTP and WebSocket service that is fast, tells the truth about itself
//! and misbehaves on demand. Demo, tests and benches load it.
//!
//! Each thread has its own runtime, listener (`SO_REUSEPORT`) and connections. It answers
//!
//! | path | answer |
//! |---|---|
//! | `GET /` | a small text |
//! | `GET /items`, `/items/{1..20}` | JSON |
//! | `POST /login` | user and password (`secret`) as JSON or form: a cookie and a token |
//! | `POST /cart`, `/checkout` | JSON, with that cookie or `authorization: Bearer TOKEN` |
//! | `GET /cacheable/{key}` | `ETag`, `cache-control: max-age=60`, 304 |
//! | `GET /slow`, `/error`, `/redirect/{n}` | late; 500; 302 n times |
//! | `GET /bytes/{n}`, `/chunked/{n}`, `/gzip` | up to 10 MiB; in chunks; compressed |
//! | `GET /health`, `/metrics` | never delayed; OpenMetrics |
//! | `GET /fault/{reset,close,half,garbage,never,flood}` | misbehaviour |
//! | `POST /control` | switches, when allowed |
//! | `/ws/echo`, `/ws/rooms/{room}` | WebSocket |
//!
//! over HTTP/1.1, HTTP/2 (prior knowledge, or ALPN) and TLS. It sends no `date` field. Its sessions
//! protect nothing, and it is not meant for strangers.

mod answer;
mod args;
mod clerk;
mod clock;
mod control;
mod distribution;
mod fault;
mod frame;
mod http1;
mod http2;
mod log;
mod meter;
mod request;
mod rooms;
mod routes;
mod session;
mod station;
mod stream;
mod timer;
mod tls;
mod websocket;
mod worker;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

pub use args::ServiceArgs;
pub use control::{Control, Knobs};
pub use distribution::{Distribution, DistributionError};
pub use log::LogRow;
pub use tls::TlsError;

use clerk::Clerk;
use clock::ServiceClock;
use log::Log;
use meter::Meter;
use rooms::Directory;
use station::Rules;
use worker::Shared;

use crate::stop::Stop;

/// Connections that the kernel holds before they are accepted, per thread; its own limit is below.
const BACKLOG: i32 = 65_535;

/// How a service is to be. The default listens on a free port of 127.0.0.1 and answers at once.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads; one per core when none is given.
    pub threads: Option<NonZeroUsize>,
    /// The seed of everything random.
    pub seed: u64,
    /// Behaviour that can be switched at run time.
    pub knobs: Knobs,
    /// The path that a planted slowdown strikes, with those below it; `/` for all.
    pub slow_path: String,
    /// Added to `GET /slow`.
    pub slow_latency: Duration,
    /// Requests served at a time; `usize::MAX` for no bound.
    pub capacity: usize,
    /// Requests that may queue for a slot.
    pub queue: usize,
    /// α of the Universal Scalability Law.
    pub contention: f64,
    /// β of the same.
    pub coherency: f64,
    /// When the whole service stalls after its start, and how long.
    pub stall: Option<(Duration, Duration)>,
    /// Whether `POST /control` works.
    pub allow_control: bool,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Where to write the certificate.
    pub tls_cert_out: Option<PathBuf>,
    /// Where requests are logged.
    pub log: LogTo,
    /// The largest message of WebSocket, in bytes.
    pub max_message_bytes: usize,
    /// Messages that wait for a slow member of a room.
    pub room_queue: usize,
    /// Lost messages after which a member is disconnected; 0 for never.
    pub room_patience: u64,
}

/// Where requests are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTo {
    /// Not at all.
    Nowhere,
    /// Into memory, for [`Service::log`]; up to 4,000,000 per thread.
    Memory,
    /// Into a CSV file.
    File(PathBuf),
}

/// A service that cannot start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is the port taken? choose another by --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A thread cannot start.
    #[error("cannot start a thread of the service: raise the limits of threads and descriptors")]
    Thread(#[source] io::Error),
    /// No certificate.
    #[error("cannot speak tls")]
    Tls(#[from] TlsError),
    /// A file cannot be written.
    #[error("cannot write {}: check the directory and its free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The log is not whole.
    #[error("the log lacks {lost} requests: they came faster than they could be written")]
    LogIncomplete {
        /// Requests that are not in it.
        lost: u64,
    },
    /// The end cannot be waited for.
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

/// A running service. It stops when it is dropped, without waiting for its threads.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    certificate_pem: Option<String>,
    threads: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            threads: None,
            seed: 1,
            knobs: Knobs::default(),
            slow_path: "/".to_owned(),
            slow_latency: Duration::from_millis(200),
            capacity: usize::MAX,
            queue: 10_000,
            contention: 0.0,
            coherency: 0.0,
            stall: None,
            allow_control: false,
            tls: false,
            tls_cert_out: None,
            log: LogTo::Nowhere,
            max_message_bytes: 1024 * 1024,
            room_queue: 1_024,
            room_patience: 10_000,
        }
    }
}

impl ServiceConfig {
    pub(crate) fn logs(&self) -> bool {
        self.log != LogTo::Nowhere
    }
}

impl Service {
    /// Starts it; when this returns, connections are accepted.
    pub fn start(config: ServiceConfig) -> Result<Self, ServiceError> {
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let count = config.threads.unwrap_or(cores).get();
        let listeners = listen(config.listen, count).map_err(|source| ServiceError::Listen {
            address: config.listen,
            source,
        })?;
        let address = listeners[0].local_addr().map_err(ServiceError::Thread)?;
        let (acceptor, certificate_pem) = encryption(&config, address)?;
        let shared = Arc::new(Shared::new(config, count));
        let writer = writer(&shared)?;
        let mut service = Self {
            address,
            shared,
            certificate_pem,
            threads: Vec::with_capacity(count + 1),
            writer,
        };
        service.spawn(listeners, &acceptor)?;
        Ok(service)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        let scheme = match self.certificate_pem {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate to trust, when it speaks TLS.
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate_pem.as_deref()
    }

    /// Its switches.
    pub fn control(&self) -> Control {
        self.shared.control.clone()
    }

    /// The log by arrival, when it is kept in memory; empty otherwise.
    pub fn log(&self) -> Vec<LogRow> {
        self.shared.log.rows()
    }

    /// Requests that ended since the start.
    pub fn requests(&self) -> u64 {
        meter::requests(&self.shared.meters)
    }

    /// The most requests that were ever in service at a time.
    pub fn most_in_service(&self) -> usize {
        self.shared.clerk.occupancy().most_serving
    }

    /// Stops it: connections are dropped, and the log is written to its end.
    pub fn stop(mut self) -> Result<(), ServiceError> {
        self.request_stop();
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                let panicked = io::Error::other("a thread panicked");
                result = Err(ServiceError::Thread(panicked));
            }
        }
        self.shared.log.close();
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            let written = writer.join();
            if let LogTo::File(path) = &self.shared.config.log {
                written
                    .unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
                    .map_err(|source| ServiceError::Write {
                        path: path.clone(),
                        source,
                    })?;
            }
        }
        match self.shared.log.lost() {
            0 => result,
            lost => Err(ServiceError::LogIncomplete { lost }),
        }
    }

    fn request_stop(&self) {
        self.shared.stop.request();
        self.shared.clerk.stop();
    }

    fn spawn(
        &mut self,
        listeners: Vec<TcpListener>,
        acceptor: &Option<TlsAcceptor>,
    ) -> Result<(), ServiceError> {
        let count = listeners.len();
        let (ready, started) = mpsc::sync_channel(count);
        for (number, listener) in listeners.into_iter().enumerate() {
            let (shared, acceptor) = (Arc::clone(&self.shared), acceptor.clone());
            let ready = ready.clone();
            let thread = thread::Builder::new()
                .name(format!("target-{number}"))
                .spawn(move || worker::run(number, &shared, listener, acceptor, &ready));
            self.threads.push(thread.map_err(ServiceError::Thread)?);
        }
        let shared = Arc::clone(&self.shared);
        let clerk = thread::Builder::new()
            .name("target-clerk".to_owned())
            .spawn(move || shared.clerk.run());
        self.threads.push(clerk.map_err(ServiceError::Thread)?);
        for _ in 0..count {
            let begun = started
                .recv()
                .unwrap_or_else(|error| Err(io::Error::other(error)));
            begun.map_err(ServiceError::Thread)?;
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.request_stop();
        self.shared.log.close();
    }
}

impl Shared {
    fn new(config: ServiceConfig, threads: usize) -> Self {
        let clock = Arc::new(ServiceClock::new());
        if let Some((at, time)) = config.stall {
            let at_ns = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
            let planned = clock.plan_stall(at_ns, time);
            debug_assert!(planned, "the first stall has room");
        }
        let rules = Rules {
            capacity: config.capacity,
            queue: config.queue,
            contention: config.contention,
            coherency: config.coherency,
        };
        Self {
            control: Control::new(config.knobs, Arc::clone(&clock)),
            clerk: Clerk::new(Arc::clone(&clock), rules),
            rooms: Directory::new(threads),
            log: Arc::new(Log::new(threads)),
            meters: (0..threads).map(|_| Meter::default()).collect(),
            drawn: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            stop: Stop::new(),
            clock,
            config,
        }
    }
}

/// Runs the command: prints the address, and serves until Ctrl-C or SIGTERM.
pub fn run(args: ServiceArgs) -> Result<(), ServiceError> {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServiceError::Thread)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(ServiceError::Signal)?;
        let service = Service::start(args.into())?;
        println!("listening on {}", service.url());
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(ServiceError::Signal)?,
            _ = terminate.recv() => {}
            // A thread that failed stops the others, and has said why.
            () = service.shared.stop.wait() => {}
        }
        service.stop()
    })
}

/// Every connection is a descriptor, so the soft limit is raised to the hard one.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of descriptors stays as it is: {error}");
    }
}

/// One listener per thread, on the same address.
fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // Two services that shared a port by `SO_REUSEPORT` would quietly share its connections as well, so
    // a plain socket has to find the port free first.
    let probe = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())?;
    drop(probe);
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(count);
    for _ in 0..count {
        // The first one chooses the port where none is given.
        let address = match listeners.first() {
            Some(first) => first.local_addr()?,
            None => address,
        };
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // Accepted connections inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        listeners.push(socket.into());
    }
    Ok(listeners)
}

fn encryption(
    config: &ServiceConfig,
    address: SocketAddr,
) -> Result<(Option<TlsAcceptor>, Option<String>), ServiceError> {
    if !config.tls {
        return Ok((None, None));
    }
    let (acceptor, pem) = tls::acceptor(address)?;
    if let Some(path) = &config.tls_cert_out {
        std::fs::write(path, &pem).map_err(|source| ServiceError::Write {
            path: path.clone(),
            source,
        })?;
    }
    Ok((Some(acceptor), Some(pem)))
}

fn writer(shared: &Arc<Shared>) -> Result<Option<JoinHandle<io::Result<()>>>, ServiceError> {
    let LogTo::File(path) = &shared.config.log else {
        return Ok(None);
    };
    let file = File::create(path).map_err(|source| ServiceError::Write {
        path: path.clone(),
        source,
    })?;
    let log = Arc::clone(&shared.log);
    let writer = thread::Builder::new()
        .name("target-log".to_owned())
        .spawn(move || log.write_to(file));
    writer.map(Some).map_err(ServiceError::Thread)
}
