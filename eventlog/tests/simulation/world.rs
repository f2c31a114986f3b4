//! One random history: a producer, a consumer and a query on one simulated machine.
//!
//! What must hold, whatever happens:
//! - what `sync` has acknowledged is read back, in order, with the same bytes;
//! - a reader sees nothing beyond what is durable, and nothing that a power loss takes back;
//! - nothing is gone but what was consumed longer ago than the lag, or reported as dropped;
//! - a damaged record is an error, never another payload and never passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftline_eventlog::disk::Disk;
use driftline_eventlog::disk::sim::{Faults, Restart, Rng, SimDisk};
use driftline_eventlog::spool::{
    OnFull, RepairOutcome, SpoolConfig, SpoolProducer, SpoolReader, SpoolWriter,
};
use driftline_eventlog::{LogError, LogReader, LogWriter, SourceId};
use driftline_schemas::{Incarnation, Kind, ProducerId, StreamId};

use crate::happened::Happened;
use crate::ledger::Ledger;

const LOG: &str = "/data/log";
/// Steps of one history.
const STEPS: u64 = 120;
/// Longest payload; a segment holds a few.
const MAX_PAYLOAD: u64 = 400;

/// One machine with its inhabitants.
pub(crate) struct World {
    rng: Rng,
    sim: SimDisk,
    disk: Arc<dyn Disk>,
    config: SpoolConfig,
    now: Arc<AtomicU64>,
    incarnation: u128,
    live: Option<Live>,
    reader: SpoolReader,
    ledger: Ledger,
    /// True once segments may have been removed for want of room.
    room_was_short: bool,
    happened: Happened,
}

/// The producer's process.
struct Live {
    producer: SpoolProducer,
    writers: BTreeMap<Kind, SpoolWriter>,
    /// Kinds whose stream has been closed: there is none after it in this incarnation.
    closed: BTreeSet<Kind>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let sim = SimDisk::new(rng.next_u64());
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        disk.create_dir(Path::new("/data")).expect("an empty disk");
        disk.sync_dir(Path::new("/")).expect("an empty disk");
        let segment_bytes = 1024 + rng.below(3000);
        let tight = rng.one_in(2);
        let config = SpoolConfig {
            segment_bytes,
            budget_bytes: if tight {
                segment_bytes * (4 + rng.below(4))
            } else {
                1 << 30
            },
            on_full: if rng.one_in(3) {
                OnFull::Refuse
            } else {
                OnFull::DropOldest
            },
            trim_lag_s: rng.below(20),
            max_unsynced_bytes: 500 + rng.index(6000),
            reserve_bytes: 700,
        };
        let now = Arc::new(AtomicU64::new(0));
        let reader = new_reader(&disk, &config, &now);
        Self {
            rng,
            sim,
            disk,
            config,
            now,
            incarnation: 0,
            live: None,
            reader,
            ledger: Ledger::default(),
            room_was_short: tight,
            happened: Happened::default(),
        }
    }

    /// Lives through the history and judges what is left.
    pub(crate) fn run(mut self) -> Happened {
        for _ in 0..STEPS {
            self.step();
            if self.sim.has_stopped() {
                self.happened.stops += 1;
                self.restart();
            }
        }
        self.sim.set_faults(Faults::default());
        self.restart();
        self.open();
        assert!(self.live.is_some(), "a healthy disk lets a producer start");
        self.judge();
        self.happened
    }

    fn step(&mut self) {
        match self.rng.below(40) {
            0..=13 => self.append(),
            14..=19 => self.sync(),
            20..=25 => self.consume(),
            26..=28 => self.commit(),
            29 => self.query(),
            30 => self.close(),
            31..=32 => {
                self.now.fetch_add(self.rng.below(15), Ordering::Relaxed);
            }
            33..=34 => self.set_faults(),
            35 => self.sim.stop_after(1 + self.rng.below(40)),
            36 => self.restart(),
            _ => self.open(),
        }
        if let Some(live) = &self.live {
            for dropped in live.producer.take_dropped() {
                self.ledger.dropped(&dropped);
                self.happened.drops += 1;
            }
        }
    }

    /// Starts the producer's process, if it does not run.
    fn open(&mut self) {
        if self.live.is_some() {
            return;
        }
        self.incarnation += 1;
        let name = ProducerId::new("p").expect("a valid name");
        let incarnation = Incarnation::from_u128(self.incarnation);
        let config = self.config.clone();
        match SpoolProducer::open(self.disk.clone(), Path::new(LOG), name, incarnation, config) {
            Ok(producer) => {
                for repair in producer.repairs() {
                    self.happened.repairs += 1;
                    match &repair.outcome {
                        RepairOutcome::Closed { cut_bytes, .. } => {
                            self.happened.cut_tails += u64::from(*cut_bytes > 0);
                        }
                        RepairOutcome::RemovedEmpty => {}
                        other => panic!("nothing has been damaged: {other:?}"),
                    }
                }
                self.live = Some(Live {
                    producer,
                    writers: BTreeMap::new(),
                    closed: BTreeSet::new(),
                });
            }
            Err(error) => self.tolerate(&error),
        }
    }

    fn append(&mut self) {
        let kind = Kind::ALL[self.rng.index(Kind::ALL.len())];
        let count = 1 + self.rng.below(8);
        for _ in 0..count {
            let length = self.rng.below(MAX_PAYLOAD) as usize;
            let filler = self.rng.next_u64().to_le_bytes();
            let payload: Vec<u8> = filler.iter().copied().cycle().take(length).collect();
            let Some(live) = self
                .live
                .as_mut()
                .filter(|live| !live.closed.contains(&kind))
            else {
                return;
            };
            let outcome = live.writer(kind).and_then(|writer| {
                writer
                    .append(writer.next_seq(), &payload)
                    .map(|()| writer.stream().clone())
            });
            match outcome {
                Ok(stream) => self.ledger.account(&stream).payloads.push(payload),
                Err(error) => return self.tolerate(&error),
            }
        }
    }

    fn sync(&mut self) {
        let Some(live) = &mut self.live else { return };
        let mut errors = Vec::new();
        for writer in live.writers.values_mut() {
            match writer.sync() {
                Ok(()) => {
                    self.happened.synced += 1;
                    let account = self.ledger.account(writer.stream());
                    assert_eq!(writer.next_seq(), account.payloads.len() as u64);
                    account.promised = writer.next_seq();
                }
                Err(error) => errors.push(error),
            }
        }
        errors.iter().for_each(|error| self.tolerate(error));
    }

    fn close(&mut self) {
        let Some(live) = &mut self.live else { return };
        let Some(mut writer) = live.writers.pop_first().map(|(_, writer)| writer) else {
            return;
        };
        live.closed.insert(writer.stream().kind);
        let account = self.ledger.account(writer.stream());
        match writer.close() {
            Ok(next) => {
                assert_eq!(next, account.payloads.len() as u64);
                account.promised = next;
            }
            Err(error) => {
                // It may be tried again.
                live.writers.insert(writer.stream().kind, writer);
                self.tolerate(&error);
            }
        }
    }

    /// The consumer reads on in every stream of one kind.
    fn consume(&mut self) {
        let kind = Kind::ALL[self.rng.index(Kind::ALL.len())];
        let sources = match self.reader.sources(kind) {
            Ok(sources) => sources,
            Err(error) => return self.tolerate(&error),
        };
        for source in sources {
            let from = self.ledger.account(stream(&source)).consumed;
            let max_bytes = self.rng.index(2000);
            match self.reader.read(&source, from, max_bytes) {
                Ok(records) => {
                    let next = self.ledger.account(stream(&source)).check(from, &records);
                    self.expect_durable(stream(&source), next);
                    self.ledger.account(stream(&source)).consumed = next;
                    self.happened.read += records.len() as u64;
                }
                Err(LogError::Trimmed {
                    first_available, ..
                }) => {
                    self.expect_gone(stream(&source), from, first_available);
                    self.ledger.account(stream(&source)).consumed = first_available;
                }
                Err(error) => self.tolerate(&error),
            }
        }
    }

    /// The consumer tells the spool what it holds.
    fn commit(&mut self) {
        let now = self.now.load(Ordering::Relaxed);
        let streams: Vec<StreamId> = self.ledger.streams.keys().cloned().collect();
        for stream in streams {
            let consumed = self.ledger.account(&stream).consumed;
            if consumed == 0 || self.rng.one_in(2) {
                continue;
            }
            // A commit that fails may have moved the cursor all the same.
            self.ledger.account(&stream).committed(consumed, now);
            let source = SourceId::Spool(stream);
            if let Err(error) = self.reader.committed(&source, consumed) {
                self.tolerate(&error);
            }
        }
    }

    /// A query reads everything that there is, from the beginning.
    fn query(&mut self) {
        let mut reader = SpoolReader::read_only(self.disk.clone(), Path::new(LOG));
        for kind in Kind::ALL {
            let sources = match reader.sources(kind) {
                Ok(sources) => sources,
                Err(error) => return self.tolerate(&error),
            };
            for source in sources {
                if let Err(error) = self.read_all(&mut reader, &source) {
                    return self.tolerate(&error);
                }
            }
        }
    }

    /// Reads a stream from its beginning to its end; returns where it ends.
    fn read_all(&mut self, reader: &mut SpoolReader, source: &SourceId) -> Result<u64, LogError> {
        let mut next = 0;
        loop {
            match reader.read(source, next, 700) {
                Ok(records) if records.is_empty() => return Ok(next),
                Ok(records) => {
                    next = self.ledger.account(stream(source)).check(next, &records);
                    self.expect_durable(stream(source), next);
                }
                Err(LogError::Trimmed {
                    first_available, ..
                }) => {
                    self.expect_gone(stream(source), next, first_available);
                    next = first_available;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A reader may be shown only what its writer knows to be durable.
    fn expect_durable(&self, stream: &StreamId, next: u64) {
        let writer = self
            .live
            .as_ref()
            .and_then(|live| live.writers.get(&stream.kind));
        if let Some(writer) = writer.filter(|writer| writer.stream() == stream) {
            assert!(
                next <= writer.durable_seq(),
                "{stream}: {next} is not durable yet"
            );
        }
    }

    fn expect_gone(&mut self, stream: &StreamId, from: u64, first_available: u64) {
        let now = self.now.load(Ordering::Relaxed);
        let account = self.ledger.account(stream);
        let gone = account.may_be_gone(now, self.config.trim_lag_s, self.room_was_short);
        assert!(
            from < first_available,
            "{stream}: trimmed from {from} to {first_available}"
        );
        assert!(
            first_available <= gone,
            "{stream}: gone to {first_available}, allowed to {gone}"
        );
        self.happened.trims += 1;
    }

    fn set_faults(&mut self) {
        let mut faults = Faults::default();
        match self.rng.below(4) {
            0 => faults.sync_error_per_mille = 30 + self.rng.below(500),
            1 => faults.write_error_per_mille = 30 + self.rng.below(300),
            2 => {
                let used: u64 = self.sim.files().iter().map(|(_, size)| size).sum();
                faults.capacity = Some(used + self.rng.below(5000));
                self.room_was_short = true;
            }
            _ => {}
        }
        self.sim.set_faults(faults);
    }

    /// The machine goes down, in the midst of whatever it did, and comes up again.
    fn restart(&mut self) {
        self.live = None;
        let how = if self.rng.one_in(2) {
            self.happened.power_losses += 1;
            Restart::PowerLost
        } else {
            self.happened.kills += 1;
            Restart::ProcessKilled
        };
        self.sim.restart(how);
        self.reader = new_reader(&self.disk, &self.config, &self.now);
    }

    /// Only a failing or full disk may be the cause of an error.
    fn tolerate(&mut self, error: &LogError) {
        match error {
            LogError::Io { .. } => self.happened.errors += 1,
            LogError::Full { .. } => self.happened.full += 1,
            other => panic!("{other}"),
        }
    }

    /// In the end everything promised is there, and damage is noticed.
    fn judge(&mut self) {
        let mut reader = SpoolReader::read_only(self.disk.clone(), Path::new(LOG));
        let now = self.now.load(Ordering::Relaxed);
        let streams: Vec<StreamId> = self.ledger.streams.keys().cloned().collect();
        for stream in streams {
            let source = SourceId::Spool(stream.clone());
            let next = self.read_all(&mut reader, &source).expect("a healthy disk");
            let account = self.ledger.account(&stream);
            let gone = account.may_be_gone(now, self.config.trim_lag_s, self.room_was_short);
            let promised = account.promised;
            assert!(
                next.max(gone) >= promised,
                "{stream}: ends at {next}, promised {promised}"
            );
            if next > 0 {
                assert_eq!(
                    reader.closed(&source).expect("closed"),
                    Some(next),
                    "{stream}"
                );
            }
        }
        self.damage();
    }

    /// Flips one bit of one segment and reads its stream with a fresh reader.
    fn damage(&mut self) {
        let mut files = self.sim.files();
        files.retain(|(path, _)| path.extension().is_some_and(|ending| ending == "seg"));
        let Some((path, size)) = files.get(self.rng.index(files.len())) else {
            return;
        };
        let (offset, bit) = (self.rng.below(*size), self.rng.below(8) as u8);
        self.sim
            .flip_bit(path, offset, bit)
            .expect("the segment exists");
        let mut reader = SpoolReader::read_only(self.disk.clone(), Path::new(LOG));
        let parts = path.parent().and_then(|dir| dir.strip_prefix(LOG).ok());
        let name = parts.and_then(Path::to_str).expect("a stream's directory");
        let source = SourceId::Spool(name.parse().expect("a stream's directory"));
        let end = reader.position(&source).expect("the end");
        let mut next = 0;
        while next < end {
            next = match self.read_all_from(&mut reader, &source, next) {
                Ok(next) => next,
                Err((next, LogError::Corrupt { path: found, .. })) => {
                    assert_eq!(found, *path);
                    self.happened.damages += 1;
                    reader
                        .skip_corrupt(&source, next)
                        .expect("somewhere to read on")
                }
                Err((_, error)) => panic!("{error}"),
            };
        }
        assert_eq!(next, end);
    }

    /// Reads on from `next`; an error comes with the place that had been reached.
    fn read_all_from(
        &mut self,
        reader: &mut SpoolReader,
        source: &SourceId,
        mut next: u64,
    ) -> Result<u64, (u64, LogError)> {
        loop {
            match reader.read(source, next, 300) {
                Ok(records) if records.is_empty() => return Ok(next),
                Ok(records) => next = self.ledger.account(stream(source)).check(next, &records),
                Err(LogError::Trimmed {
                    first_available, ..
                }) => next = first_available,
                Err(error) => return Err((next, error)),
            }
        }
    }
}

impl Live {
    /// The writer of a kind, opened when it is first asked for.
    fn writer(&mut self, kind: Kind) -> Result<&mut SpoolWriter, LogError> {
        if !self.writers.contains_key(&kind) {
            match self.producer.writer(kind) {
                Ok(writer) => self.writers.insert(kind, writer),
                Err(error) => return Err(error),
            };
        }
        Ok(self
            .writers
            .get_mut(&kind)
            .expect("it has just been opened"))
    }
}

fn new_reader(disk: &Arc<dyn Disk>, config: &SpoolConfig, now: &Arc<AtomicU64>) -> SpoolReader {
    let now = now.clone();
    let clock = Arc::new(move || Duration::from_secs(now.load(Ordering::Relaxed)));
    SpoolReader::open(disk.clone(), Path::new(LOG), config, clock)
}

fn stream(source: &SourceId) -> &StreamId {
    match source {
        SourceId::Spool(stream) => stream,
        SourceId::Kafka { .. } => unreachable!("there is no broker"),
    }
}
