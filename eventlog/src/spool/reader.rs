//! The reading end over all producers' streams: it takes no lock and writes nothing but the
//! cursor, and trims what has been consumed. Dedupe and what to do about damage are left to the
//! sink.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driftline_schemas::{Kind, StreamId};
use tracing::warn;

use super::format::{self, Magic, Stamp};
use super::layout::{self, StreamDir};
use super::segment::{Batch, Place, Segment, Stop};
use super::trim::{self, Trim};
use super::{Clock, SpoolConfig, mark};
use crate::disk::Disk;
use crate::{LogError, LogReader, Record, SourceId};

/// Segments may be trimmed while they are looked for; the directory is listed anew this often.
const MAX_LISTINGS: u32 = 8;

/// Open segments that are kept between reads; beyond it they are opened anew.
const MAX_OPEN_SEGMENTS: usize = 256;

/// Reads every stream of a log directory. One consumer per directory may call
/// [`LogReader::committed`]; any number may read.
#[derive(Debug)]
pub struct SpoolReader {
    disk: Arc<dyn Disk>,
    log_dir: PathBuf,
    trim: Option<Trim>,
    streams: BTreeMap<StreamId, Seen>,
}

/// What is remembered of a stream, to read on without looking again.
#[derive(Debug, Default)]
struct Seen {
    /// Where the stream ends, once it is closed.
    closed: Option<Stamp>,
    /// True once it has been said that the closing marker is damaged.
    warned: bool,
    /// The furthest mark that has been read: the mark's slots may be caught in the act.
    mark: Stamp,
    /// The segments, as listed when the mark named this newest one.
    segments: Vec<u64>,
    listed_for: Option<u64>,
    open: Option<(Segment, Place)>,
}

impl SpoolReader {
    /// A reader that may commit and that trims `config.trim_lag_s` after a commit. Nothing is
    /// touched yet, and the directory need not exist.
    pub fn open(disk: Arc<dyn Disk>, log_dir: &Path, config: &SpoolConfig, clock: Clock) -> Self {
        let trim = Trim::new(config, clock);
        Self {
            disk,
            log_dir: log_dir.to_owned(),
            trim: Some(trim),
            streams: BTreeMap::new(),
        }
    }

    /// A reader that leaves everything as it is, for queries.
    pub fn read_only(disk: Arc<dyn Disk>, log_dir: &Path) -> Self {
        Self {
            disk,
            log_dir: log_dir.to_owned(),
            trim: None,
            streams: BTreeMap::new(),
        }
    }

    /// The first sequence number that cannot be read yet; 0 if the stream is gone.
    pub fn position(&mut self, source: &SourceId) -> Result<u64, LogError> {
        let dir = self.dir(source, "position")?;
        Ok(self.end(&dir)?.next)
    }

    /// The number of records that a stream came to hold, once it has ended.
    pub fn closed(&mut self, source: &SourceId) -> Result<Option<u64>, LogError> {
        let dir = self.dir(source, "closed")?;
        self.end(&dir)?;
        let seen = self.streams.get(&dir.stream);
        Ok(seen.and_then(|seen| seen.closed).map(|stamp| stamp.next))
    }

    /// What the consumer has committed; `None` if it has not yet.
    pub fn cursor(&self, source: &SourceId) -> Result<Option<u64>, LogError> {
        let dir = self.dir(source, "cursor")?;
        trim::read_cursor(&*self.disk, &dir)
    }

    /// After [`LogError::Corrupt`]: where to read on. That is the beginning of the next segment
    /// or, if there is none, the end of what is durable. What lies between is lost.
    pub fn skip_corrupt(&mut self, source: &SourceId, from: u64) -> Result<u64, LogError> {
        let dir = self.dir(source, "skip_corrupt")?;
        let end = self.end(&dir)?;
        let segments = dir.segments(&*self.disk)?.unwrap_or_default();
        let following = segments.into_iter().find(|first_seq| *first_seq > from);
        Ok(following.unwrap_or(end.next).min(end.next).max(from))
    }

    fn dir(&self, source: &SourceId, op: &'static str) -> Result<StreamDir, LogError> {
        match source {
            SourceId::Spool(stream) => Ok(StreamDir::new(&self.log_dir, stream)),
            SourceId::Kafka { .. } => Err(LogError::Unsupported {
                source_id: source.clone(),
                op,
                reason: "it is not in the spool; use the reader of its own log",
            }),
        }
    }

    /// How far the stream may be read.
    fn end(&mut self, dir: &StreamDir) -> Result<Stamp, LogError> {
        let seen = self.streams.entry(dir.stream.clone()).or_default();
        if let Some(closed) = seen.closed {
            return Ok(closed);
        }
        match mark::read_stamp(&*self.disk, &dir.closed(), Magic::Closed) {
            // The mark still holds; the producer's next start closes the stream again.
            Err(error @ LogError::Corrupt { .. }) => {
                if !std::mem::replace(&mut seen.warned, true) {
                    warn!(%error, "the stream counts as open");
                }
            }
            closed => seen.closed = closed?,
        }
        if let Some(closed) = seen.closed {
            return Ok(closed);
        }
        let mark = mark::read_mark(&*self.disk, &dir.durable())?.unwrap_or_default();
        if mark.next >= seen.mark.next {
            seen.mark = mark;
        }
        Ok(seen.mark)
    }

    /// One try at reading; `None` if the directory has changed and must be listed again.
    fn try_read(
        &mut self,
        dir: &StreamDir,
        end: Stamp,
        from: u64,
        max_bytes: usize,
    ) -> Result<Option<Vec<Record>>, LogError> {
        let seen = self.streams.entry(dir.stream.clone()).or_default();
        if seen.listed_for != Some(end.segment) {
            let Some(segments) = dir.segments(&*self.disk)? else {
                // The whole stream has been consumed and removed: nothing is left to read.
                self.streams.remove(&dir.stream);
                return Ok(Some(Vec::new()));
            };
            seen.segments = segments;
            seen.listed_for = Some(end.segment);
            seen.open = None;
        }
        let following = seen
            .segments
            .partition_point(|first_seq| *first_seq <= from);
        let Some(&first_seq) = following
            .checked_sub(1)
            .and_then(|at| seen.segments.get(at))
        else {
            let first_available = seen.segments.first().copied().unwrap_or(end.next);
            let source_id = SourceId::Spool(dir.stream.clone());
            return Err(LogError::Trimmed {
                source_id,
                from,
                first_available,
            });
        };
        let following = seen.segments.get(following).copied();
        let until = following.unwrap_or(u64::MAX).min(end.next);
        let at_hand = seen
            .open
            .take()
            .filter(|(segment, place)| segment.header.first_seq == first_seq && place.seq <= from);
        let (segment, place) = match at_hand {
            Some(open) => open,
            None => match Segment::open(&*self.disk, dir, first_seq, false) {
                Ok(segment) => {
                    let start = segment.start();
                    (segment, start)
                }
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        let (place, stop) = segment.scan(place, from)?;
        let batch = if stop == Stop::Reached {
            segment.read(place, until, max_bytes)?
        } else {
            Batch {
                records: Vec::new(),
                place,
                stop: Some(stop),
            }
        };
        if batch.records.is_empty() {
            return Err(missing(dir, &segment, &batch, from, following));
        }
        seen.open = Some((segment, batch.place));
        Ok(Some(batch.records))
    }
}

impl LogReader for SpoolReader {
    fn sources(&mut self, kind: Kind) -> Result<Vec<SourceId>, LogError> {
        let mut streams = BTreeSet::new();
        for producer in layout::producers(&*self.disk, &self.log_dir)? {
            if self.trim.is_some()
                && let Err(error) = layout::sweep(&*self.disk, &self.log_dir, &producer)
            {
                warn!(%error, %producer, "removed streams still take room");
            }
            let found = layout::streams(&*self.disk, &self.log_dir, &producer)?;
            streams.extend(found.into_iter().filter(|stream| stream.kind == kind));
        }
        self.streams
            .retain(|stream, _| stream.kind != kind || streams.contains(stream));
        if let Some(trim) = &mut self.trim {
            trim.keep_only(kind, &streams);
            for stream in &streams {
                let dir = StreamDir::new(&self.log_dir, stream);
                if trim.trim(&*self.disk, &dir) {
                    self.streams.remove(stream);
                }
            }
        }
        Ok(streams.into_iter().map(SourceId::Spool).collect())
    }

    fn skip_damage(&mut self, source: &SourceId, from: u64) -> Result<u64, LogError> {
        self.skip_corrupt(source, from)
    }

    fn read(
        &mut self,
        source: &SourceId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError> {
        let dir = self.dir(source, "read")?;
        let end = self.end(&dir)?;
        if from >= end.next {
            return Ok(Vec::new());
        }
        let open = self
            .streams
            .values()
            .filter(|seen| seen.open.is_some())
            .count();
        if open >= MAX_OPEN_SEGMENTS {
            self.streams.values_mut().for_each(|seen| seen.open = None);
        }
        for _ in 0..MAX_LISTINGS {
            if let Some(records) = self.try_read(&dir, end, from, max_bytes)? {
                return Ok(records);
            }
            self.streams
                .entry(dir.stream.clone())
                .or_default()
                .listed_for = None;
        }
        let error = std::io::Error::other("its segments keep vanishing while it is read");
        Err(LogError::io("read", &dir.path, error))
    }

    fn committed(&mut self, source: &SourceId, next: u64) -> Result<(), LogError> {
        let dir = self.dir(source, "committed")?;
        let Some(trim) = &mut self.trim else {
            return Err(LogError::Unsupported {
                source_id: source.clone(),
                op: "committed",
                reason: "this reader is read-only; commit through the sink's",
            });
        };
        trim.committed(&*self.disk, &dir, next)?;
        if trim.trim(&*self.disk, &dir) {
            self.streams.remove(&dir.stream);
        }
        Ok(())
    }
}

/// Why there is no record at `from` although the mark says that there is.
fn missing(
    dir: &StreamDir,
    segment: &Segment,
    batch: &Batch,
    from: u64,
    following: Option<u64>,
) -> LogError {
    let reason = match (&batch.stop, following) {
        // A power loss may undo the removal of a segment but not that of the one after it.
        (Some(Stop::EndOfFile), Some(first_available)) => {
            let source_id = SourceId::Spool(dir.stream.clone());
            return LogError::Trimmed {
                source_id,
                from,
                first_available,
            };
        }
        (Some(Stop::Bad { reason }), _) => reason.clone(),
        _ => format!(
            "record {} is missing at the end of the file",
            batch.place.seq
        ),
    };
    format::corrupt(&segment.path, batch.place.offset, reason)
}
