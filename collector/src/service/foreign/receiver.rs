//! A source that is sent to: what its listeners share, and the service that binds one of them and
//! hands over what has arrived.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use driftline_schemas::metric::Component;
use driftline_schemas::metric::catalogue::id;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::intake::{Intake, Outcome};
use super::report::Report;
use super::server::{self, Bounds, Endpoint, Listening};
use super::{Limits, Refusal};
use crate::clock;
use crate::service::{Pass, Service, ServiceError};

/// How often what has arrived is handed over.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long binding and handing over may take.
const TIME_OUT: Duration = Duration::from_secs(10);
/// How long requests under way are waited for at the end. With what comes after it this fits into what
/// services are given for closing.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What requests and passes share.
#[derive(Debug)]
pub(crate) struct Source<D> {
    state: Mutex<State<D>>,
    requests: Semaphore,
}

#[derive(Debug)]
struct State<D> {
    decoder: D,
    intake: Intake,
    report: Report,
    /// What is wrong with a malformed request since the last pass.
    malformed: Option<String>,
}

impl<D> Source<D> {
    pub(crate) fn new(
        component: Component,
        subject: &str,
        decoder: D,
        limits: Limits,
        max_requests: usize,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                decoder,
                intake: Intake::new(limits),
                report: Report::new(component, subject),
                malformed: None,
            }),
            requests: Semaphore::new(max_requests.max(1)),
        }
    }

    /// Room for one request; `None` where too many are under way.
    pub(crate) fn admit(&self) -> Option<SemaphorePermit<'_>> {
        self.requests.try_acquire().ok()
    }

    /// Decodes a request and takes it, wholly or not at all.
    ///
    /// # Errors
    /// Why nothing of it was taken.
    pub(crate) fn take(
        &self,
        body: &[u8],
        decode: impl FnOnce(&mut D, &mut Intake) -> Result<(), Refusal>,
    ) -> Result<Outcome, Refusal> {
        let state = &mut *self.lock();
        state.intake.begin(clock::now().wall_us, body.len());
        match decode(&mut state.decoder, &mut state.intake) {
            Ok(()) => Ok(state.intake.commit()),
            Err(refusal) => {
                state.intake.roll_back(&refusal);
                if matches!(refusal, Refusal::Malformed(_)) {
                    state.malformed.get_or_insert_with(|| refusal.to_string());
                }
                Err(refusal)
            }
        }
    }

    /// Counts a request that could not be unpacked.
    pub(crate) fn count_malformed(&self, why: String) {
        let mut state = self.lock();
        state.intake.count_malformed();
        state.malformed.get_or_insert(why);
    }

    /// Hands over what has arrived, with its counts.
    fn hand_over(&self, subject: &str, out: &mut Pass) {
        let state = &mut *self.lock();
        let queued = const { id("driftline.collector.ingest.queued") };
        let labels = &mut [("driftline.component", subject)];
        out.recorder
            .count(queued, labels, state.intake.queued() as u64);
        out.batches.extend(state.intake.take(out.recorder.ts_us()));
        let malformed = state.malformed.take();
        state.report.tell(&state.intake, malformed.as_deref(), out);
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One listener of a source.
pub(crate) struct Receiver<D, E> {
    pub(crate) component: Component,
    pub(crate) subject: String,
    pub(crate) address: SocketAddr,
    /// The option that holds the address.
    pub(crate) option: &'static str,
    pub(crate) bounds: Bounds,
    pub(crate) source: Arc<Source<D>>,
    pub(crate) endpoint: Arc<E>,
    /// The listener, once it listens.
    pub(crate) listening: Option<Listening>,
}

#[async_trait]
impl<D: Send + 'static, E: Endpoint> Service for Receiver<D, E> {
    fn component(&self) -> Component {
        self.component
    }

    fn subject(&self) -> &str {
        &self.subject
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn time_out(&self) -> Duration {
        TIME_OUT
    }

    async fn pass(&mut self, out: &mut Pass) -> Result<(), ServiceError> {
        // What came over another listener of the source is not to wait for this one.
        self.source.hand_over(&self.subject, out);
        if self.listening.is_none() {
            let endpoint = Arc::clone(&self.endpoint);
            let meter = out.meter.clone();
            let listening = server::listen(self.address, endpoint, self.bounds, meter).await;
            let listening = listening.map_err(|source| self.explain(source))?;
            tracing::info!(address = %listening.address, receiver = %self.subject, "listening");
            self.listening = Some(listening);
        }
        Ok(())
    }

    /// What was acknowledged is not to be lost, so it is handed over when nothing comes any more.
    async fn close(&mut self, out: &mut Pass) {
        if let Some(listening) = self.listening.take() {
            listening.close(CLOSE_WITHIN).await;
        }
        self.source.hand_over(&self.subject, out);
    }
}

impl<D, E> Receiver<D, E> {
    fn explain(&self, source: io::Error) -> ServiceError {
        let remedy = match source.kind() {
            io::ErrorKind::AddrInUse => "another process listens there: stop it, or",
            io::ErrorKind::AddrNotAvailable => "the machine has no such address:",
            io::ErrorKind::PermissionDenied => "the port is reserved:",
            _ => "look at the system's word, or",
        };
        ServiceError::Refused {
            what: format!("listening at {}", self.address),
            source: Box::new(source),
            remedy: format!("{remedy} choose another address in {}", self.option),
        }
    }
}
