//! How much disk a producer takes, and making room: the budget, the reserve and what is dropped.
//! Which segment goes first is chosen in `victim`; when to ask is the writer's business.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftline_schemas::{Kind, ProducerId, StreamId};
use tracing::warn;

use super::format::Magic;
use super::layout::{self, StreamDir};
use super::victim::{self, Held, Holding, Victim};
use super::{Dropped, OnFull, SpoolConfig, mark};
use crate::LogError;
use crate::disk::{Disk, LockGuard};

/// What the writers of one producer share; it lives as long as any of them.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log_dir: PathBuf,
    pub(super) producer: ProducerId,
    pub(super) config: SpoolConfig,
    _lock: LockGuard,
    budget: Mutex<Budget>,
}

#[derive(Debug, Default)]
struct Budget {
    /// Bytes in segment files when they were last counted, and written since: never too low by
    /// more than a header, since only this process adds to them.
    on_disk: u64,
    /// Bytes that have been admitted and are still in memory.
    unwritten: u64,
    /// The newest segment of every stream that is being written.
    open: HashMap<StreamId, u64>,
    dropped: Vec<Dropped>,
    reserve_held: bool,
}

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        log_dir: PathBuf,
        producer: ProducerId,
        config: SpoolConfig,
        lock: LockGuard,
    ) -> Result<Self, LogError> {
        let budget = Mutex::new(Budget::default());
        let shared = Self {
            disk,
            log_dir,
            producer,
            config,
            _lock: lock,
            budget,
        };
        let holdings = shared.holdings()?;
        shared.budget().on_disk = total(&holdings);
        shared.ensure_reserve();
        Ok(shared)
    }

    /// Admits bytes to the budget, making room if that is allowed.
    pub(super) fn admit(&self, stream: &StreamId, bytes: u64) -> Result<(), LogError> {
        let mut budget = self.budget();
        let limit = self.limit(stream);
        if budget.used() + bytes > limit {
            let mut holdings = self.holdings()?;
            budget.on_disk = total(&holdings);
            while budget.used() + bytes > limit {
                if !self.drop_oldest(&mut budget, &holdings)? {
                    return Err(self.full(&budget, stream, bytes, false));
                }
                holdings = self.holdings()?;
                budget.on_disk = total(&holdings);
            }
        }
        budget.unwritten += bytes;
        Ok(())
    }

    /// Makes some room on a full disk, or says that there is none to be made.
    pub(super) fn make_room(
        &self,
        stream: &StreamId,
        needed: u64,
        may_use_reserve: bool,
    ) -> Result<(), LogError> {
        let mut budget = self.budget();
        let holdings = self.holdings()?;
        budget.on_disk = total(&holdings);
        if self.drop_oldest(&mut budget, &holdings)? {
            return Ok(());
        }
        if budget.reserve_held && (may_use_reserve || stream.kind == Kind::Events) {
            layout::remove_file(&*self.disk, &self.reserve())?;
            budget.reserve_held = false;
            return Ok(());
        }
        Err(self.full(&budget, stream, needed, true))
    }

    /// Bytes have gone from memory into a file, or back when the file was given up.
    pub(super) fn moved(&self, to_disk: u64, to_memory: u64) {
        let mut budget = self.budget();
        budget.on_disk = (budget.on_disk + to_disk).saturating_sub(to_memory);
        budget.unwritten = (budget.unwritten + to_memory).saturating_sub(to_disk);
    }

    /// A header has been written, for which nobody asked admission.
    pub(super) fn added(&self, bytes: u64) {
        self.budget().on_disk += bytes;
    }

    /// Says which segment of a stream is being written.
    pub(super) fn opened(&self, stream: &StreamId, tail: u64) {
        self.budget().open.insert(stream.clone(), tail);
    }

    /// A stream is no longer being written.
    pub(super) fn closed(&self, stream: &StreamId) {
        self.budget().open.remove(stream);
    }

    pub(super) fn take_dropped(&self) -> Vec<Dropped> {
        std::mem::take(&mut self.budget().dropped)
    }

    /// Bytes that the producer's segments take, those still in memory included.
    pub(super) fn used(&self) -> u64 {
        self.budget().used()
    }

    /// Sets the reserve aside if it is not there. Without room for it the spool still works, so
    /// that is only a warning.
    pub(super) fn ensure_reserve(&self) {
        let mut budget = self.budget();
        if budget.reserve_held {
            return;
        }
        match self.create_reserve() {
            Ok(()) => budget.reserve_held = true,
            Err(error) => warn!(%error, "no disk space could be set aside for events"),
        }
    }

    fn create_reserve(&self) -> Result<(), LogError> {
        let path = self.reserve();
        layout::remove_file(&*self.disk, &path)?;
        let created = self.disk.create_new(&path);
        let mut file = created.map_err(|error| LogError::io("create", &path, error))?;
        let zeros = vec![0; self.config.reserve_bytes as usize];
        if let Err(error) = file.write_at(0, &zeros) {
            layout::remove_file(&*self.disk, &path)?;
            return Err(LogError::io("write", &path, error));
        }
        Ok(())
    }

    /// Removes one segment if the policy allows it and there is one.
    fn drop_oldest(&self, budget: &mut Budget, holdings: &[Holding]) -> Result<bool, LogError> {
        let Some(victim) = victim::choose(holdings, &budget.open) else {
            return Ok(false);
        };
        let unread = victim.is_unread();
        if unread && self.config.on_full == OnFull::Refuse {
            return Ok(false);
        }
        let dir = StreamDir::new(&self.log_dir, &victim.stream);
        let removed = layout::remove_segment(&*self.disk, &dir, victim.first_seq)?;
        if removed && unread {
            budget.record_drop(&victim);
        }
        if victim.is_last {
            dir.remove(&*self.disk)?;
        }
        Ok(true)
    }

    /// What the producer's streams hold now.
    fn holdings(&self) -> Result<Vec<Holding>, LogError> {
        let streams = layout::streams(&*self.disk, &self.log_dir, &self.producer)?;
        let mut holdings = Vec::with_capacity(streams.len());
        for stream in streams {
            let dir = StreamDir::new(&self.log_dir, &stream);
            let Some(segments) = dir.segments(&*self.disk)? else {
                continue;
            };
            let mut held = Vec::with_capacity(segments.len());
            for first_seq in segments {
                let path = dir.segment(first_seq);
                match self.disk.stat(&path) {
                    Ok(stat) => held.push(Held {
                        first_seq,
                        size: stat.size,
                        modified_us: stat.modified_us,
                    }),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(LogError::io("measure", &path, error)),
                }
            }
            holdings.push(Holding {
                closed_at: self.stamp(&dir.closed(), Magic::Closed)?,
                consumed: self
                    .stamp(&dir.cursor(), Magic::Cursor)?
                    .unwrap_or_default(),
                segments: held,
                stream,
            });
        }
        Ok(holdings)
    }

    /// A stamp's position; one that cannot be understood says nothing, and its reader reports it.
    fn stamp(&self, path: &Path, magic: Magic) -> Result<Option<u64>, LogError> {
        match mark::read_stamp(&*self.disk, path, magic) {
            Ok(stamp) => Ok(stamp.map(|stamp| stamp.next)),
            Err(LogError::Corrupt { .. } | LogError::NewerFormat { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Events may use the reserve beyond the budget, so that a refusal can still be recorded.
    fn limit(&self, stream: &StreamId) -> u64 {
        let extra = if stream.kind == Kind::Events {
            self.config.reserve_bytes
        } else {
            0
        };
        self.config.budget_bytes + extra
    }

    fn full(&self, budget: &Budget, stream: &StreamId, needed: u64, disk_full: bool) -> LogError {
        LogError::Full {
            stream: stream.clone(),
            needed,
            used: budget.used(),
            budget: self.config.budget_bytes,
            disk_full,
        }
    }

    fn reserve(&self) -> PathBuf {
        layout::reserve(&self.log_dir, &self.producer)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = layout::remove_file(&*self.disk, &self.reserve()) {
            warn!(%error, "the space set aside for events remains taken");
        }
    }
}

impl Budget {
    fn used(&self) -> u64 {
        self.on_disk + self.unwritten
    }

    fn record_drop(&mut self, victim: &Victim) {
        let first_seq = victim.first_unread();
        warn!(stream = %victim.stream, first_seq, next_seq = victim.next_seq, "records dropped");
        if let Some(last) = self
            .dropped
            .iter_mut()
            .find(|last| last.stream == victim.stream && last.next_seq == first_seq)
        {
            last.next_seq = victim.next_seq;
            last.bytes += victim.size;
            return;
        }
        self.dropped.push(Dropped {
            stream: victim.stream.clone(),
            first_seq,
            next_seq: victim.next_seq,
            bytes: victim.size,
        });
    }
}

fn total(holdings: &[Holding]) -> u64 {
    holdings
        .iter()
        .flat_map(|holding| &holding.segments)
        .map(|held| held.size)
        .sum()
}
