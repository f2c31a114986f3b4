//! The coordinator's side of worker processes: lets them join, tells them what to do and when, and
//! keeps what they report. A process that dies or falls silent is lost, and the run goes on without
//! it, incomplete. What a worker process does is [`super::remote`]'s business.

mod children;
mod member;
pub(crate) mod message;
pub(crate) mod secret;
mod serve;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(super) use children::Children;
pub use children::Launch;
pub(super) use member::{Member, MemberState};
pub use message::{Prepare, TargetParts};
pub use secret::{SECRET_VARIABLE, Secret, SecretError};
use serve::Serving;

/// How long the coordinator waits for all workers to join and be ready.
pub(super) const JOIN_LIMIT: Duration = Duration::from_secs(60);
/// A worker reports every second; silent for so long, it is lost.
pub const SILENCE: Duration = Duration::from_secs(5);

/// Worker processes that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nowhere to listen.
    #[error("cannot listen for worker processes on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A child could not be started.
    #[error("cannot start worker process {program}")]
    Child {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Not all have come.
    #[error(
        "{joined} of {expected} worker processes were ready within {} seconds{}; is the coordinator's address \
         reachable for them, and is their token file the newest?",
        JOIN_LIMIT.as_secs(), Because(.reasons)
    )]
    Missing {
        /// How many were ready.
        joined: usize,
        /// How many were expected.
        expected: usize,
        /// What those that failed have said.
        reasons: Vec<String>,
    },
}

struct Because<'r>(&'r [String]);

impl std::fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => Ok(()),
            reasons => write!(f, " ({})", reasons.join("; ")),
        }
    }
}

/// What the workers are told; each connection says what it has not said yet.
#[derive(Debug, Clone, Default)]
struct Order {
    /// By the number of the member.
    prepare: Option<Arc<Vec<Prepare>>>,
    go: Option<i64>,
    stop: bool,
    /// Connections may end.
    over: bool,
}

#[derive(Debug)]
struct Shared {
    expected: usize,
    members: Mutex<Vec<Member>>,
    silence: Duration,
}

/// All worker processes of a run but the coordinator's own.
#[derive(Debug)]
pub(super) struct Fleet {
    address: SocketAddr,
    secret: Secret,
    shared: Arc<Shared>,
    order: watch::Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Listens for so many worker processes.
    pub(super) fn listen(address: SocketAddr, expected: usize) -> Result<Self, FleetError> {
        Self::listen_with(address, expected, SILENCE)
    }

    fn listen_with(
        address: SocketAddr,
        expected: usize,
        silence: Duration,
    ) -> Result<Self, FleetError> {
        let (secret, server) = Secret::generate()?;
        let listen_error = |source| FleetError::Listen { address, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(listen_error)?;
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .map_err(listen_error)?;
        let bound = listener.local_addr().map_err(listen_error)?;
        let shared = Arc::new(Shared {
            expected,
            members: Mutex::default(),
            silence,
        });
        let (order, orders) = watch::channel(Order::default());
        let serving = serving(&secret, server, &shared, orders);
        let thread = std::thread::Builder::new()
            .name("load-fleet".to_owned())
            .spawn(move || runtime.block_on(serving.accept(listener)))
            .map_err(listen_error)?;
        Ok(Self {
            address: bound,
            secret,
            shared,
            order,
            thread: Some(thread),
        })
    }

    /// Where workers connect to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What workers must have.
    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Waits until every worker has joined; `look` is asked meanwhile whether to go on.
    pub(super) fn wait_joined(&self, look: &mut dyn FnMut() -> bool) -> Result<(), FleetError> {
        self.wait(look, |member| !matches!(member.state, MemberState::Lost(_)))
    }

    /// Tells every worker what to prepare, and waits until all are ready.
    pub(super) fn prepare(
        &self,
        parts: Vec<Prepare>,
        look: &mut dyn FnMut() -> bool,
    ) -> Result<(), FleetError> {
        self.order
            .send_modify(|order| order.prepare = Some(Arc::new(parts)));
        self.wait(look, |member| matches!(member.state, MemberState::Ready))
    }

    /// Tells every worker when to begin, in µs of this host's wall clock.
    pub(super) fn go(&self, t0_us: i64) {
        self.order.send_modify(|order| order.go = Some(t0_us));
    }

    /// Tells every worker to end early.
    pub(super) fn stop(&self) {
        self.order.send_if_modified(|order| {
            let is_news = !order.stop;
            order.stop = true;
            is_news
        });
    }

    /// The workers as they are now.
    pub(super) fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.shared.members()
    }

    /// Whether every worker has finished or is lost.
    pub(super) fn is_ended(&self) -> bool {
        self.members().iter().all(Member::is_ended)
    }

    /// Takes the workers that have not ended for lost.
    pub(super) fn give_up(&self) {
        for member in self
            .members()
            .iter_mut()
            .filter(|member| !member.is_ended())
        {
            member.state = MemberState::Lost("it did not finish in time".to_owned());
        }
    }

    fn wait(
        &self,
        look: &mut dyn FnMut() -> bool,
        is_there: fn(&Member) -> bool,
    ) -> Result<(), FleetError> {
        let began = Instant::now();
        loop {
            let members = self.members();
            let joined = members.iter().filter(|member| is_there(member)).count();
            let reasons: Vec<_> = members.iter().filter_map(Member::lost_because).collect();
            drop(members);
            let expected = self.shared.expected;
            if joined == expected {
                return Ok(());
            }
            if !reasons.is_empty() || began.elapsed() > JOIN_LIMIT || !look() {
                return Err(FleetError::Missing {
                    joined,
                    expected,
                    reasons,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.order.send_modify(|order| order.over = true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that speaks to worker processes panicked");
        }
    }
}

impl Shared {
    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        // Each change of a member is one assignment.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serving(
    secret: &Secret,
    server: Arc<ServerConfig>,
    shared: &Arc<Shared>,
    orders: watch::Receiver<Order>,
) -> Serving {
    Serving {
        secret: secret.clone(),
        acceptor: server.into(),
        shared: Arc::clone(shared),
        orders,
    }
}
