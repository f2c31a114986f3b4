//! The bytes on disk: preambles, segment headers, records and stamps, as pure functions.
//!
//! `docs/spool-format.md` says the same in words. All numbers are little-endian; all checksums are
//! CRC-32C. Files and their names are left to the other modules.

use std::ops::Range;
use std::path::Path;

use crc32c::{crc32c, crc32c_append};

use crate::LogError;

/// The version of every file of the spool that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The largest payload of one record: twice the largest block, so that no block is ever refused.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Length and checksum before each payload.
pub(super) const RECORD_OVERHEAD: usize = 8;

/// Longest segment header; a stream's name is at most 106 bytes.
pub(super) const MAX_HEADER_BYTES: usize = 256;

/// Bytes of an encoded stamp.
pub(super) const STAMP_BYTES: usize = PREAMBLE_BYTES + 8 + 8 + CRC_BYTES;

const PREAMBLE_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// What kind of file a preamble begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Magic {
    Segment,
    Durable,
    Closed,
    Cursor,
}

impl Magic {
    const fn bytes(self) -> &'static [u8; 8] {
        match self {
            Self::Segment => b"DRFTSEGM",
            Self::Durable => b"DRFTDURA",
            Self::Closed => b"DRFTCLOS",
            Self::Cursor => b"DRFTCURS",
        }
    }
}

/// A position in a stream, as the mark, the closing marker and the cursor hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    /// The first sequence number that is not covered.
    pub(super) next: u64,
    /// The first sequence number of the newest segment, so that readers notice a new one.
    pub(super) segment: u64,
}

/// A segment's header, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first_seq: u64,
    pub(super) stream: String,
    /// Bytes that the header takes; the first record follows.
    pub(super) size: usize,
}

/// What stands at a place where a record is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole record: where its payload is, and where the next record begins.
    Record { payload: Range<usize>, next: usize },
    /// The bytes end before the record does; it takes `needed` bytes in all.
    Incomplete { needed: usize },
    /// Not a record.
    Bad { reason: String },
}

/// The checksum that every record of a stream builds on, so that a record of another stream is
/// never taken for one of this.
pub(super) fn seed(stream: &str) -> u32 {
    crc32c(stream.as_bytes())
}

/// The header of the segment that begins with `first_seq`.
pub(super) fn encode_header(stream: &str, first_seq: u64) -> Vec<u8> {
    let mut bytes = preamble(Magic::Segment);
    bytes.extend(first_seq.to_le_bytes());
    bytes.extend((stream.len() as u16).to_le_bytes());
    bytes.extend(stream.as_bytes());
    bytes.extend(crc32c(&bytes).to_le_bytes());
    bytes
}

/// Reads the header at the beginning of `bytes`, which come from `path`.
pub(super) fn decode_header(bytes: &[u8], path: &Path) -> Result<Header, LogError> {
    check_preamble(bytes, Magic::Segment, path)?;
    let damaged = || corrupt(path, 0, "the segment header is damaged");
    let fixed = PREAMBLE_BYTES + 8 + 2;
    let first_seq = read_u64(bytes, PREAMBLE_BYTES).ok_or_else(damaged)?;
    let length = bytes.get(fixed - 2..fixed).ok_or_else(damaged)?;
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let stream = bytes.get(fixed..fixed + length).ok_or_else(damaged)?;
    let end = fixed + length;
    if read_u32(bytes, end) != Some(crc32c(&bytes[..end])) {
        return Err(damaged());
    }
    let stream = std::str::from_utf8(stream)
        .map_err(|_| damaged())?
        .to_owned();
    Ok(Header {
        first_seq,
        stream,
        size: end + CRC_BYTES,
    })
}

/// Appends one record to `out`. The caller has checked the payload against
/// [`MAX_RECORD_BYTES`].
pub(super) fn encode_record(out: &mut Vec<u8>, seed: u32, seq: u64, payload: &[u8]) {
    let length = payload.len() as u32;
    out.extend(length.to_le_bytes());
    out.extend(record_checksum(seed, seq, length, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Reads the record number `seq` at the beginning of `bytes`.
pub(super) fn parse_record(bytes: &[u8], seed: u32, seq: u64) -> Parsed {
    let (Some(length), Some(checksum)) = (read_u32(bytes, 0), read_u32(bytes, 4)) else {
        return Parsed::Incomplete {
            needed: RECORD_OVERHEAD,
        };
    };
    let size = length as usize;
    if size > MAX_RECORD_BYTES {
        return Parsed::Bad {
            reason: format!("record {seq} claims {size} bytes"),
        };
    }
    let end = RECORD_OVERHEAD + size;
    let Some(payload) = bytes.get(RECORD_OVERHEAD..end) else {
        return Parsed::Incomplete { needed: end };
    };
    if record_checksum(seed, seq, length, payload) != checksum {
        return Parsed::Bad {
            reason: format!("record {seq} does not match its checksum"),
        };
    }
    Parsed::Record {
        payload: RECORD_OVERHEAD..end,
        next: end,
    }
}

/// The bytes of a stamp.
pub(super) fn encode_stamp(magic: Magic, stamp: Stamp) -> Vec<u8> {
    let mut bytes = preamble(magic);
    bytes.extend(stamp.next.to_le_bytes());
    bytes.extend(stamp.segment.to_le_bytes());
    bytes.extend(crc32c(&bytes).to_le_bytes());
    bytes
}

/// Reads the stamp at the beginning of `bytes`, which come from `path`.
pub(super) fn decode_stamp(bytes: &[u8], magic: Magic, path: &Path) -> Result<Stamp, LogError> {
    check_preamble(bytes, magic, path)?;
    let damaged = || corrupt(path, 0, "the stamp does not match its checksum");
    let next = read_u64(bytes, PREAMBLE_BYTES).ok_or_else(damaged)?;
    let segment = read_u64(bytes, PREAMBLE_BYTES + 8).ok_or_else(damaged)?;
    let end = PREAMBLE_BYTES + 16;
    if read_u32(bytes, end) != Some(crc32c(&bytes[..end])) {
        return Err(damaged());
    }
    Ok(Stamp { next, segment })
}

/// Damage at `offset` of `path`.
pub(super) fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> LogError {
    LogError::Corrupt {
        path: path.to_owned(),
        offset,
        reason: reason.into(),
    }
}

fn preamble(magic: Magic) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAX_HEADER_BYTES);
    bytes.extend(magic.bytes());
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(crc32c(&bytes).to_le_bytes());
    bytes
}

/// The preamble has a checksum of its own, so that a flipped bit is not taken for a later version.
fn check_preamble(bytes: &[u8], magic: Magic, path: &Path) -> Result<(), LogError> {
    if bytes.get(..8) != Some(magic.bytes()) {
        return Err(corrupt(
            path,
            0,
            "the file does not begin as a file of the spool does",
        ));
    }
    let version = read_u32(bytes, 8);
    let checksum = read_u32(bytes, 12);
    let (Some(version), Some(checksum)) = (version, checksum) else {
        return Err(corrupt(path, 0, "the file is too short"));
    };
    if crc32c(&bytes[..12]) != checksum {
        return Err(corrupt(
            path,
            0,
            "the first bytes do not match their checksum",
        ));
    }
    if version > FORMAT_VERSION {
        let path = path.to_owned();
        return Err(LogError::NewerFormat {
            path,
            found: version,
            supported: FORMAT_VERSION,
        });
    }
    Ok(())
}

fn record_checksum(seed: u32, seq: u64, length: u32, payload: &[u8]) -> u32 {
    let mut head = [0; 12];
    head[..8].copy_from_slice(&seq.to_le_bytes());
    head[8..].copy_from_slice(&length.to_le_bytes());
    crc32c_append(crc32c_append(seed, &head), payload)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
