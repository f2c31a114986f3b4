//! The forwarding end: a thread that ships spools to Kafka, stream by stream and in order.
//!
//! The spool is the queue: a record leaves it only when the broker has acknowledged it and all that
//! came before it in its stream. So an outage costs disk and nothing else, and a record may be sent
//! twice, but never out of order and never not at all. Writing spools, their budget and what to
//! drop when they are full are left to [`crate::spool`].

mod lane;
mod link;
mod portion;
mod ship;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use driftline_schemas::ProducerId;

use self::ship::Ship;
use super::config::KafkaConfig;
use super::health::Health;
use crate::LogError;
use crate::spool::{Clock, SpoolReader};

/// A thread that forwards spools to Kafka for as long as it lives.
pub struct KafkaShipper {
    orders: Arc<Orders>,
    health: Health,
    thread: Option<JoinHandle<()>>,
}

/// How a [`KafkaShipper`] fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShipperStatus {
    /// Whether a broker has answered since the last outage.
    pub connected: bool,
    /// What went wrong last, until it goes right.
    pub last_error: Option<String>,
    /// Records that were acknowledged since the start.
    pub shipped_records: u64,
    /// Durable records in the spools that are not acknowledged yet.
    pub lag_records: u64,
}

/// What the shipper's owner and its thread tell each other.
#[derive(Default)]
pub(crate) struct Orders {
    stop: AtomicBool,
    /// How long the thread may go on after `stop`.
    grace: Mutex<Duration>,
    progress: Mutex<Progress>,
}

/// What the thread has done so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) shipped_records: u64,
    pub(crate) lag_records: u64,
    /// A stream that cannot go on, although the broker answers.
    pub(crate) stuck: Option<String>,
}

impl KafkaShipper {
    /// Starts to ship the streams under `root` (the directory of the producers' directories) of
    /// `producers`, or of all producers when that is empty.
    ///
    /// # Errors
    /// Only for a configuration that cannot work: a broker that is not there is waited for.
    pub fn start(
        config: KafkaConfig,
        spool: SpoolReader,
        root: &Path,
        producers: BTreeSet<ProducerId>,
        clock: Clock,
    ) -> Result<Self, LogError> {
        let health = Health::new("shipper", &config.brokers);
        let orders = Arc::new(Orders::default());
        let mut ship = Ship::new(
            config,
            spool,
            root.to_owned(),
            producers,
            clock,
            health.clone(),
            Arc::clone(&orders),
        )?;
        let thread = thread::Builder::new()
            .name("kafka-shipper".to_owned())
            .spawn(move || ship.run())
            .map_err(|error| LogError::io("start a thread to ship", root, error))?;
        Ok(Self {
            orders,
            health,
            thread: Some(thread),
        })
    }

    /// How the shipper fares.
    pub fn status(&self) -> ShipperStatus {
        let connection = self.health.connection();
        let progress = self.orders.progress();
        ShipperStatus {
            connected: connection.connected,
            last_error: connection.last_error.or(progress.stuck),
            shipped_records: progress.shipped_records,
            lag_records: progress.lag_records,
        }
    }

    /// Ships what is durable in the spools now, for at most `grace`, and ends. What is left stays in
    /// the spools for the next start.
    pub fn stop(mut self, grace: Duration) -> ShipperStatus {
        self.end(grace);
        self.status()
    }

    fn end(&mut self, grace: Duration) {
        *self
            .orders
            .grace
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = grace;
        self.orders.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.health.failed("the shipper's thread has panicked");
        }
    }
}

impl Drop for KafkaShipper {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

impl fmt::Debug for KafkaShipper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaShipper")
            .field("status", &self.status())
            .finish()
    }
}

impl Orders {
    /// How long the thread may go on, once it has been told to stop.
    pub(crate) fn grace(&self) -> Option<Duration> {
        self.stop
            .load(Ordering::Acquire)
            .then(|| *self.grace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn report(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}
