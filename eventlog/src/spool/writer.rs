//! The writing end of one stream: buffer, write, sync, publish, and give a segment up when the
//! disk fails. The budget decides about room; when to sync is the caller's decision.

use std::io::ErrorKind;
use std::sync::Arc;

use driftline_schemas::StreamId;
use tracing::warn;

use super::budget::Shared;
use super::format::{self, MAX_HEADER_BYTES, MAX_RECORD_BYTES, Magic, RECORD_OVERHEAD, Stamp};
use super::layout::{self, StreamDir};
use super::mark::{self, Mark};
use crate::disk::{self, Disk, DiskFile};
use crate::{LogError, LogWriter};

/// Records are written to the file whenever this many bytes have gathered, so that a sync finds
/// little left to write.
const WRITE_BYTES: usize = 256 << 10;

/// A reader that tidies up may remove an incarnation's directory while it is still empty; it is
/// made again this often.
const CREATE_TRIES: u32 = 3;

/// The writer of one stream. Dropping it without [`SpoolWriter::close`] leaves the stream for the
/// producer's next start to repair and close.
#[derive(Debug)]
pub struct SpoolWriter {
    shared: Arc<Shared>,
    dir: StreamDir,
    seed: u32,
    active: Option<Active>,
    /// Encoded records that are not durable yet. They stay here until a sync has succeeded,
    /// because a failed sync may have lost what was written.
    pending: Vec<u8>,
    /// How much of `pending` is in the active segment's file.
    written: usize,
    /// The next sequence number to append.
    next: u64,
    /// Everything below is durable.
    durable: u64,
    /// Everything below is visible to readers.
    published: u64,
    /// The first sequence number of the newest segment.
    tail: u64,
    mark: Mark,
    closing: bool,
    closed: bool,
}

/// The segment being written.
#[derive(Debug)]
struct Active {
    file: Box<dyn DiskFile>,
    first_seq: u64,
    /// Where `pending` begins in the file.
    start: u64,
    /// True once the file's name is durable in its directory.
    named: bool,
}

impl SpoolWriter {
    /// Creates the directory of a new stream, durably.
    pub(super) fn create(shared: Arc<Shared>, stream: StreamId) -> Result<Self, LogError> {
        let dir = StreamDir::new(&shared.log_dir, &stream);
        let disk = &*shared.disk;
        Self::create_dir(disk, &dir)?;
        let mark = match Self::create_mark(&shared, &dir) {
            Ok(mark) => mark,
            Err(error) => {
                // Nothing has been written, so that the caller may simply try again.
                layout::remove_file(disk, &dir.durable())?;
                let removed = disk.remove_dir(&dir.path);
                removed.map_err(|error| LogError::io("remove", &dir.path, error))?;
                return Err(error);
            }
        };
        shared.opened(&stream, 0);
        let seed = format::seed(&stream.to_string());
        Ok(Self {
            shared,
            dir,
            seed,
            active: None,
            pending: Vec::new(),
            written: 0,
            next: 0,
            durable: 0,
            published: 0,
            tail: 0,
            mark,
            closing: false,
            closed: false,
        })
    }

    /// The stream that this writes.
    pub fn stream(&self) -> &StreamId {
        &self.dir.stream
    }

    /// Everything below this sequence number is durable.
    pub fn durable_seq(&self) -> u64 {
        self.durable
    }

    /// Syncs and ends the stream; returns the number of records that it came to hold. A stream
    /// without records disappears. On an error nothing is lost and it may be called again, but
    /// nothing more can be appended: a reader may have seen the end.
    pub fn close(&mut self) -> Result<u64, LogError> {
        if self.closed {
            return Ok(self.next);
        }
        self.closing = true;
        self.sync()?;
        self.active = None;
        if self.next == 0 {
            self.dir.remove(&*self.shared.disk)?;
        } else {
            let stamp = Stamp {
                next: self.next,
                segment: self.tail,
            };
            let path = self.dir.closed();
            self.with_room(|writer| {
                mark::write_stamp(&*writer.shared.disk, &path, Magic::Closed, stamp)
            })?;
            layout::sync_dir(&*self.shared.disk, &self.dir.path)?;
        }
        self.closed = true;
        self.shared.closed(&self.dir.stream);
        Ok(self.next)
    }

    fn create_dir(disk: &dyn Disk, dir: &StreamDir) -> Result<(), LogError> {
        let incarnation = dir.path.parent().unwrap_or(&dir.path);
        for tries_left in (0..CREATE_TRIES).rev() {
            layout::create_dirs(disk, incarnation)?;
            layout::sync_parent(disk, incarnation)?;
            match disk.create_dir(&dir.path) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    return Err(LogError::StreamExists {
                        stream: dir.stream.clone(),
                    });
                }
                Err(error) if error.kind() == ErrorKind::NotFound && tries_left > 0 => {}
                Err(error) => return Err(LogError::io("create", &dir.path, error)),
            }
        }
        Ok(())
    }

    fn create_mark(shared: &Shared, dir: &StreamDir) -> Result<Mark, LogError> {
        let disk = &*shared.disk;
        let mark = loop {
            match Mark::create(disk, &dir.durable()) {
                Err(error) if is_disk_full(&error) => {
                    layout::remove_file(disk, &dir.durable())?;
                    shared.make_room(&dir.stream, MAX_HEADER_BYTES as u64, false)?;
                }
                other => break other?,
            }
        };
        layout::sync_parent(disk, &dir.path)?;
        Ok(mark)
    }

    /// Ends the active segment if another `bytes` would make it too long. Everything in it is
    /// made durable first: only the last segment of a stream may have a torn tail.
    fn rotate_before(&mut self, bytes: usize) -> Result<(), LogError> {
        let (first_seq, start) = match &self.active {
            Some(active) => (active.first_seq, active.start),
            None => (self.durable, MAX_HEADER_BYTES as u64),
        };
        let size = start + (self.pending.len() + bytes) as u64;
        if self.next == first_seq || size <= self.shared.config.segment_bytes {
            return Ok(());
        }
        self.sync()?;
        self.active = None;
        self.shared.ensure_reserve();
        Ok(())
    }

    /// Writes what has gathered to the active segment, beginning one if there is none.
    fn write_out(&mut self) -> Result<(), LogError> {
        if self.written == self.pending.len() {
            return Ok(());
        }
        let active = match &mut self.active {
            Some(active) => active,
            none => none.insert(Self::begin_segment(&self.shared, &self.dir, self.durable)?),
        };
        self.tail = active.first_seq;
        let bytes = &self.pending[self.written..];
        active
            .file
            .write_at(active.start + self.written as u64, bytes)
            .map_err(|error| LogError::io("write", &self.dir.segment(active.first_seq), error))?;
        self.shared.moved(bytes.len() as u64, 0);
        self.written = self.pending.len();
        Ok(())
    }

    fn begin_segment(shared: &Shared, dir: &StreamDir, first_seq: u64) -> Result<Active, LogError> {
        let disk = &*shared.disk;
        let path = dir.segment(first_seq);
        // A file of that name is one that was given up before anything in it was durable.
        layout::remove_file(disk, &path)?;
        let mut file = disk
            .create_new(&path)
            .map_err(|error| LogError::io("create", &path, error))?;
        let header = format::encode_header(&dir.stream.to_string(), first_seq);
        file.write_at(0, &header)
            .map_err(|error| LogError::io("write", &path, error))?;
        shared.added(header.len() as u64);
        shared.opened(&dir.stream, first_seq);
        Ok(Active {
            file,
            first_seq,
            start: header.len() as u64,
            named: false,
        })
    }

    /// Makes everything pending durable, in one try.
    fn persist(&mut self) -> Result<(), LogError> {
        self.write_out()?;
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let path = self.dir.segment(active.first_seq);
        active
            .file
            .sync_data()
            .map_err(|error| LogError::io("sync", &path, error))?;
        if !active.named {
            layout::sync_dir(&*self.shared.disk, &self.dir.path)?;
            active.named = true;
        }
        active.start += self.pending.len() as u64;
        self.durable = self.next;
        self.pending.clear();
        self.written = 0;
        Ok(())
    }

    /// Tries a step on the active segment. If it fails, the segment is given up and the step is
    /// tried on a new one: once after an error, and as long as room can be made on a full disk.
    fn attempt(&mut self, step: fn(&mut Self) -> Result<(), LogError>) -> Result<(), LogError> {
        let mut failed_before = false;
        loop {
            let Err(error) = step(self) else {
                return Ok(());
            };
            self.give_up_segment();
            if is_disk_full(&error) {
                let needed = self.pending.len() as u64;
                self.shared
                    .make_room(&self.dir.stream, needed, self.closing)?;
            } else if failed_before {
                return Err(error);
            } else {
                warn!(%error, stream = %self.dir.stream, "segment given up, trying a new one");
                failed_before = true;
            }
        }
    }

    /// Leaves the active segment behind: what it holds beyond `durable` is in `pending` and goes
    /// into a new one. Cutting it short only saves room; readers never go beyond the next one's
    /// beginning.
    fn give_up_segment(&mut self) {
        let Some(mut active) = self.active.take() else {
            return;
        };
        self.shared.moved(0, self.written as u64);
        self.written = 0;
        let path = self.dir.segment(active.first_seq);
        let outcome = if active.first_seq == self.durable {
            layout::remove_file(&*self.shared.disk, &path).map(|_| ())
        } else {
            let cut = active.file.truncate(active.start);
            cut.map_err(|error| LogError::io("cut", &path, error))
        };
        if let Err(error) = outcome {
            warn!(%error, "a segment that was given up still takes room");
        }
    }

    fn publish(&mut self) -> Result<(), LogError> {
        let stamp = Stamp {
            next: self.durable,
            segment: self.tail,
        };
        let path = self.dir.durable();
        self.with_room(|writer| writer.mark.publish(&path, stamp))?;
        self.published = self.durable;
        Ok(())
    }

    /// Repeats a small write as long as the disk is full and room can be made.
    fn with_room(
        &mut self,
        mut write: impl FnMut(&mut Self) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        loop {
            match write(self) {
                Err(error) if is_disk_full(&error) => {
                    let needed = MAX_HEADER_BYTES as u64;
                    self.shared
                        .make_room(&self.dir.stream, needed, self.closing)?;
                }
                other => return other,
            }
        }
    }
}

impl LogWriter for SpoolWriter {
    fn next_seq(&self) -> u64 {
        self.next
    }

    fn append(&mut self, seq: u64, payload: &[u8]) -> Result<(), LogError> {
        let stream = &self.dir.stream;
        if self.closing {
            return Err(LogError::Closed {
                stream: stream.clone(),
            });
        }
        if seq != self.next {
            let stream = stream.clone();
            return Err(LogError::OutOfOrder {
                stream,
                expected: self.next,
                found: seq,
            });
        }
        if payload.len() > MAX_RECORD_BYTES {
            return Err(LogError::TooLarge {
                target: stream.to_string(),
                bytes: payload.len(),
                limit: MAX_RECORD_BYTES,
            });
        }
        let bytes = RECORD_OVERHEAD + payload.len();
        self.rotate_before(bytes)?;
        let most = self.shared.config.max_unsynced_bytes;
        if self.pending.len() + bytes > most {
            self.sync()?;
        } else if self.pending.len() - self.written >= WRITE_BYTES.min(most / 2) {
            self.attempt(Self::write_out)?;
        }
        self.shared.admit(&self.dir.stream, bytes as u64)?;
        format::encode_record(&mut self.pending, self.seed, seq, payload);
        self.next += 1;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if self.closed {
            return Ok(());
        }
        if !self.pending.is_empty() {
            self.attempt(Self::persist)?;
        }
        if self.published < self.durable {
            self.publish()?;
        }
        Ok(())
    }
}

fn is_disk_full(error: &LogError) -> bool {
    matches!(error, LogError::Io { source, .. } if disk::is_full(source))
}
