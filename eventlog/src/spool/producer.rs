//! One producer's hold on its directory: the lock, the repair of what an earlier process left,
//! and the opening of streams.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use driftline_schemas::{Incarnation, Kind, ProducerId, StreamId};

use super::budget::Shared;
use super::repair::{self, Repair};
use super::{Dropped, SpoolConfig, SpoolWriter, layout};
use crate::LogError;
use crate::disk::{Disk, Lock, LockGuard};

/// How often, and after which pause, a lock that is taken is tried again: a repair of an abandoned
/// producer takes well below a second.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A producer that may write. Its lock is held until it and all of its writers are dropped.
#[derive(Debug)]
pub struct SpoolProducer {
    shared: Arc<Shared>,
    incarnation: Incarnation,
    repairs: Vec<Repair>,
}

impl SpoolProducer {
    /// Takes the producer's lock, closes the streams that an earlier process left open, and makes
    /// ready for new ones. `incarnation` must be random and fresh: no stream is ever continued.
    pub fn open(
        disk: Arc<dyn Disk>,
        log_dir: &Path,
        producer: ProducerId,
        incarnation: Incarnation,
        config: SpoolConfig,
    ) -> Result<Self, LogError> {
        config.validate()?;
        let directory = log_dir.join(producer.as_str());
        layout::create_dirs(&*disk, &directory)?;
        // An earlier process may have died between making these names and making them durable.
        layout::sync_parent(&*disk, log_dir)?;
        layout::sync_dir(&*disk, log_dir)?;
        let lock = wait_for_lock(&*disk, log_dir, &producer)?;
        // What a killed process had set aside is the room that repair needs on a full disk.
        layout::remove_file(&*disk, &layout::reserve(log_dir, &producer))?;
        let repairs = repair::repair_producer(&*disk, log_dir, &producer)?;
        let shared = Shared::new(disk, log_dir.to_owned(), producer, config, lock)?;
        Ok(Self {
            shared: Arc::new(shared),
            incarnation,
            repairs,
        })
    }

    /// Opens the stream of one kind, once per incarnation.
    pub fn writer(&self, kind: Kind) -> Result<SpoolWriter, LogError> {
        let producer = self.shared.producer.clone();
        let stream = StreamId {
            producer,
            incarnation: self.incarnation,
            kind,
        };
        SpoolWriter::create(self.shared.clone(), stream)
    }

    /// What was done at the start to the streams of earlier incarnations.
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    /// The records that were forgotten unread since the last call, to be told in an event.
    pub fn take_dropped(&self) -> Vec<Dropped> {
        self.shared.take_dropped()
    }

    /// Bytes that this producer's segments take, of all its incarnations.
    pub fn used_bytes(&self) -> u64 {
        self.shared.used()
    }
}

/// Closes the streams of every producer that no process holds: those of load runs that were
/// killed, say, whose producer will never come back. A producer that starts in the very same
/// moment waits until its repair is over.
pub fn repair_abandoned(disk: &dyn Disk, log_dir: &Path) -> Result<Vec<Repair>, LogError> {
    let mut repairs = Vec::new();
    for producer in layout::producers(disk, log_dir)? {
        match take_lock(disk, log_dir, &producer) {
            Ok(_lock) => repairs.extend(repair::repair_producer(disk, log_dir, &producer)?),
            Err(LogError::Locked { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(repairs)
}

/// Takes the lock, which [`repair_abandoned`] may hold for a moment.
fn wait_for_lock(
    disk: &dyn Disk,
    log_dir: &Path,
    producer: &ProducerId,
) -> Result<LockGuard, LogError> {
    let mut left = LOCK_TRIES;
    loop {
        match take_lock(disk, log_dir, producer) {
            Err(LogError::Locked { .. }) if left > 0 => {
                left -= 1;
                thread::sleep(LOCK_PAUSE);
            }
            taken => return taken,
        }
    }
}

fn take_lock(
    disk: &dyn Disk,
    log_dir: &Path,
    producer: &ProducerId,
) -> Result<LockGuard, LogError> {
    let path = layout::lock(log_dir, producer);
    let pid = std::process::id().to_string();
    match disk
        .lock(&path, &pid)
        .map_err(|error| LogError::io("lock", &path, error))?
    {
        Lock::Held(guard) => Ok(guard),
        Lock::Busy { holder } => {
            let producer = producer.clone();
            Err(LogError::Locked {
                producer,
                pid: holder.parse().ok(),
                path,
            })
        }
    }
}
