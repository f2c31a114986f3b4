//! The block: the unit of the event log. An uncompressed envelope says whose it is; the body holds
//! columns of samples, requests or events, compressed by zstd.
//!
//! Decoding checks every length before it allocates and never panics, whatever the bytes. Which
//! blocks are duplicates is for the sink to decide; this module only carries stream, sequence and
//! checksum.

mod codec;
mod columns;
mod events;
mod requests;
mod samples;
#[cfg(test)]
mod tests;

use prost::Message as _;
use prost::bytes::Bytes;

use crate::event::Event;
use crate::id::{IdError, Incarnation, Kind, ProducerId, StreamId};
use crate::request::RequestBatch;
use crate::series::SampleBatch;
use crate::wire::EnvelopeMessage;

pub use self::codec::{Decoder, Encoder, Rows};
pub use self::samples::{SampleColumns, SeriesList, SeriesRun};

/// The version of the wire format that [`encode`] writes.
pub const FORMAT_VERSION: u32 = 1;
/// Largest encoded block, in bytes; well below the 1 MiB that Kafka takes by default.
pub const MAX_BLOCK_BYTES: usize = 512 * 1024;
/// Most rows in a block.
pub const MAX_ROWS_PER_BLOCK: usize = 65_536;
/// Largest body before compression, in bytes.
pub const MAX_RAW_BYTES: usize = 4 * 1024 * 1024;
/// Longest host name, in bytes (the limit of DNS, and of Linux with room to spare).
pub const MAX_HOST_BYTES: usize = 255;

const CODEC_PLAIN: u32 = 0;
const CODEC_ZSTD: u32 = 1;
/// Bodies below this do not get smaller.
const MIN_COMPRESSED_BYTES: usize = 128;
/// Measured on this host's samples: higher levels take more time and save no bytes at our sizes.
const ZSTD_LEVEL: i32 = 1;

/// A block that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Too many rows or bytes: split the batch.
    #[error(
        "block of {rows} rows and {bytes} bytes is too large (at most {MAX_ROWS_PER_BLOCK} rows, {MAX_BLOCK_BYTES} bytes): split it"
    )]
    TooLarge {
        /// Rows in the batch.
        rows: usize,
        /// Bytes it would take, where that is known.
        bytes: usize,
    },
    /// The body's kind is not the stream's.
    #[error("a block of {body} cannot go to stream {stream}")]
    WrongKind {
        /// The body's kind.
        body: Kind,
        /// The stream.
        stream: StreamId,
    },
    /// An index points outside its dictionary: a mistake of the caller.
    #[error("{what} index {index} is outside its dictionary of {len}")]
    BadIndex {
        /// Which dictionary.
        what: &'static str,
        /// The index.
        index: u32,
        /// The dictionary's length.
        len: usize,
    },
    /// The host name is too long.
    #[error("host name of {0} bytes is longer than {MAX_HOST_BYTES}")]
    HostTooLong(usize),
    /// The compressor failed.
    #[error("zstd could not compress the block")]
    Compress(#[source] std::io::Error),
}

/// Bytes that are not a block.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The protobuf is malformed.
    #[error("malformed protobuf in the {what}")]
    Protobuf {
        /// Which message.
        what: &'static str,
        /// The parser's word.
        #[source]
        source: prost::DecodeError,
    },
    /// The bytes of a column or message are not what a protobuf writer writes.
    #[error("malformed bytes in {what}")]
    Malformed {
        /// Which column or message.
        what: &'static str,
    },
    /// Written by a newer version.
    #[error(
        "block has format version {found}, this build reads up to {FORMAT_VERSION}: upgrade it"
    )]
    NewerFormat {
        /// The version found.
        found: u32,
    },
    /// An identifier is not valid.
    #[error("bad identifier in the envelope")]
    Id(#[from] IdError),
    /// A field has a value that no writer writes.
    #[error("field {field} has the impossible value {value}")]
    BadField {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The body's bytes are not those that were written.
    #[error("checksum of the body is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// As written.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The columns of the body do not fit together.
    #[error("column {column} has {found} entries, expected {expected}")]
    ColumnLength {
        /// Which column.
        column: &'static str,
        /// As counted.
        found: usize,
        /// As it should be.
        expected: usize,
    },
    /// The body does not decompress to its stated size.
    #[error("zstd could not decompress the body")]
    Decompress(#[source] std::io::Error),
}

/// What a block holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Values of series.
    Samples(SampleBatch),
    /// Operations of a load run.
    Requests(RequestBatch),
    /// Facts.
    Events(Vec<Event>),
}

impl Body {
    /// The kind of stream that this body belongs to.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Samples(_) => Kind::Samples,
            Self::Requests(_) => Kind::Requests,
            Self::Events(_) => Kind::Events,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Samples(batch) => batch.samples.len(),
            Self::Requests(batch) => batch.requests.len(),
            Self::Events(events) => events.len(),
        }
    }
}

/// Whose block it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    /// The stream.
    pub stream: StreamId,
    /// The block's number in its stream, from 0.
    pub seq: u64,
    /// The host that it speaks of.
    pub host: String,
}

/// A block, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Whose it is.
    pub header: BlockHeader,
    /// What it holds.
    pub body: Body,
}

/// A block whose body is still compressed: enough to tell duplicates.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The stream.
    pub stream: StreamId,
    /// The block's number in its stream, from 0.
    pub seq: u64,
    /// The host that it speaks of.
    pub host: String,
    /// Number of rows in the body, not yet verified.
    pub rows: u32,
    /// CRC-32C of the body as it stands in the log.
    pub checksum: u32,
    codec: u32,
    raw_bytes: usize,
    body: Bytes,
}

impl Envelope {
    /// Reads the envelope and checks the body's checksum; the body stays as it is, without a copy.
    pub fn parse(payload: &Bytes) -> Result<Self, DecodeError> {
        let message =
            EnvelopeMessage::decode(payload.clone()).map_err(|source| DecodeError::Protobuf {
                what: "envelope",
                source,
            })?;
        if message.version > FORMAT_VERSION {
            return Err(DecodeError::NewerFormat {
                found: message.version,
            });
        }
        let bad = |field, value| DecodeError::BadField { field, value };
        if message.version == 0 {
            return Err(bad("version", 0));
        }
        let incarnation: [u8; 16] = message
            .incarnation
            .as_ref()
            .try_into()
            .map_err(|_| bad("incarnation", message.incarnation.len() as u64))?;
        let kind = (message.kind as usize)
            .checked_sub(1)
            .and_then(|at| Kind::ALL.get(at).copied());
        let raw_bytes = message.raw_bytes as usize;
        if raw_bytes > MAX_RAW_BYTES {
            return Err(bad("raw_bytes", raw_bytes as u64));
        }
        if message.rows as usize > MAX_ROWS_PER_BLOCK {
            return Err(bad("rows", u64::from(message.rows)));
        }
        if message.host.len() > MAX_HOST_BYTES {
            return Err(bad("host", message.host.len() as u64));
        }
        let found = crc32c::crc32c(&message.body);
        if found != message.checksum {
            return Err(DecodeError::Checksum {
                expected: message.checksum,
                found,
            });
        }
        Ok(Self {
            stream: StreamId {
                producer: ProducerId::new(&message.producer)?,
                incarnation: Incarnation::from_u128(u128::from_be_bytes(incarnation)),
                kind: kind.ok_or_else(|| bad("kind", u64::from(message.kind)))?,
            },
            seq: message.seq,
            host: message.host,
            rows: message.rows,
            checksum: message.checksum,
            codec: message.codec,
            raw_bytes,
            body: message.body,
        })
    }

    /// Decompresses and decodes the body. Where there are many, use a [`Decoder`].
    pub fn decode(&self) -> Result<Body, DecodeError> {
        let mut decoder = Decoder::default();
        Ok(match decoder.rows(self)? {
            Rows::Samples(columns) => Body::Samples(columns.to_batch()),
            Rows::Requests(batch) => Body::Requests(batch),
            Rows::Events(events) => Body::Events(events),
        })
    }
}

/// Encodes one block as the payload of one record of the log. Where there are many, use an
/// [`Encoder`], whose errors these are.
pub fn encode(header: &BlockHeader, body: &Body) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder::default();
    encoder.encode(header, body).map(<[u8]>::to_vec)
}

fn expect_len(column: &'static str, found: usize, expected: usize) -> Result<(), DecodeError> {
    if found == expected {
        Ok(())
    } else {
        Err(DecodeError::ColumnLength {
            column,
            found,
            expected,
        })
    }
}

fn known<T>(
    field: &'static str,
    value: u32,
    of: impl Fn(u32) -> Option<T>,
) -> Result<T, DecodeError> {
    of(value).ok_or(DecodeError::BadField {
        field,
        value: u64::from(value),
    })
}
