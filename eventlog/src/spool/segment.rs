//! An open segment and walking its records, for readers and for repair. Which records may be
//! shown, and what to do about damage, is left to them.

use std::path::PathBuf;

use bytes::Bytes;

use super::format::{self, Header, MAX_HEADER_BYTES, Parsed, RECORD_OVERHEAD};
use super::layout::StreamDir;
use crate::disk::{Disk, DiskFile};
use crate::{LogError, Record};

/// Least bytes fetched by one read: small records are fetched many at a time.
const MIN_READ_BYTES: usize = 64 << 10;
/// Most bytes fetched by one read, whatever the caller would take.
const MAX_READ_BYTES: usize = 16 << 20;
/// Bytes fetched at a time when records are only walked over.
const SCAN_BYTES: usize = 1 << 20;

/// A segment file whose header has been checked.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn DiskFile>,
    pub(super) header: Header,
    seed: u32,
}

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) offset: u64,
}

/// Records read in one go.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// Where the next record begins.
    pub(super) place: Place,
    /// Why there is no more, if there is no more.
    pub(super) stop: Option<Stop>,
}

/// Why a walk ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The sequence number that was asked for.
    Reached,
    /// The file ends with a whole record.
    EndOfFile,
    /// What follows is not a record, or only a part of one.
    Bad { reason: String },
}

impl Segment {
    /// Opens a segment and checks that it is the one that its name says.
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &StreamDir,
        first_seq: u64,
        write: bool,
    ) -> Result<Self, LogError> {
        let path = dir.segment(first_seq);
        let file = disk
            .open(&path, write)
            .map_err(|error| LogError::io("open", &path, error))?;
        let mut bytes = [0; MAX_HEADER_BYTES];
        let count = file
            .read_at(0, &mut bytes)
            .map_err(|error| LogError::io("read", &path, error))?;
        let header = format::decode_header(&bytes[..count], &path)?;
        let stream = dir.stream.to_string();
        if header.first_seq != first_seq || header.stream != stream {
            let reason = format!("it is segment {} of {}", header.first_seq, header.stream);
            return Err(format::corrupt(&path, 0, reason));
        }
        Ok(Self {
            path,
            file,
            header,
            seed: format::seed(&stream),
        })
    }

    /// Where the first record begins.
    pub(super) fn start(&self) -> Place {
        Place {
            seq: self.header.first_seq,
            offset: self.header.size as u64,
        }
    }

    /// Reads records from `place` up to sequence `until`, about `max_bytes` of payload, but at
    /// least one record if there is one.
    pub(super) fn read(
        &self,
        place: Place,
        until: u64,
        max_bytes: usize,
    ) -> Result<Batch, LogError> {
        let mut batch = Batch {
            records: Vec::new(),
            place,
            stop: None,
        };
        if place.seq >= until {
            batch.stop = Some(Stop::Reached);
            return Ok(batch);
        }
        let want = max_bytes.clamp(MIN_READ_BYTES, MAX_READ_BYTES);
        let mut chunk = self.chunk(place.offset, want)?;
        if let Parsed::Incomplete { needed } = format::parse_record(&chunk, self.seed, place.seq)
            && needed > want
        {
            chunk = self.chunk(place.offset, needed)?;
        }
        let at_end = chunk.len() < want;
        let (mut at, mut taken) = (0, 0);
        while batch.stop.is_none() {
            if batch.place.seq >= until {
                batch.stop = Some(Stop::Reached);
                break;
            }
            match format::parse_record(&chunk[at..], self.seed, batch.place.seq) {
                Parsed::Record { payload, next } => {
                    taken += payload.len();
                    if taken > max_bytes && !batch.records.is_empty() {
                        break;
                    }
                    let payload = chunk.slice(at + payload.start..at + payload.end);
                    batch.records.push(Record {
                        offset: batch.place.seq,
                        payload,
                    });
                    batch.place.seq += 1;
                    batch.place.offset += next as u64;
                    at += next;
                }
                Parsed::Incomplete { .. } if at == chunk.len() && (at_end || at == 0) => {
                    batch.stop = Some(Stop::EndOfFile);
                }
                Parsed::Incomplete { .. } if at_end || at == 0 => {
                    let reason = format!("record {} is cut short", batch.place.seq);
                    batch.stop = Some(Stop::Bad { reason });
                }
                Parsed::Incomplete { .. } => break,
                Parsed::Bad { reason } => batch.stop = Some(Stop::Bad { reason }),
            }
        }
        Ok(batch)
    }

    /// Walks over the records from `place` up to sequence `until`, checking each.
    pub(super) fn scan(&self, mut place: Place, until: u64) -> Result<(Place, Stop), LogError> {
        loop {
            let batch = self.read(place, until, SCAN_BYTES)?;
            place = batch.place;
            if let Some(stop) = batch.stop {
                return Ok((place, stop));
            }
        }
    }

    /// The file's length in bytes.
    pub(super) fn size(&self) -> Result<u64, LogError> {
        self.file
            .size()
            .map_err(|error| LogError::io("measure", &self.path, error))
    }

    /// Up to `want` bytes from `offset`; fewer only at the end of the file.
    fn chunk(&self, offset: u64, want: usize) -> Result<Bytes, LogError> {
        let left = self.size()?.saturating_sub(offset);
        let size = want
            .max(RECORD_OVERHEAD)
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut bytes = vec![0; size];
        let count = self
            .file
            .read_at(offset, &mut bytes)
            .map_err(|error| LogError::io("read", &self.path, error))?;
        bytes.truncate(count);
        Ok(bytes.into())
    }
}
