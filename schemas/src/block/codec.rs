//! Encoding and decoding block after block with the same buffers and compressor: making those anew
//! costs more than a block of one second's samples.

use std::collections::HashMap;
use std::fmt;

use zstd::bulk::{Compressor, Decompressor};

use super::columns::{put_bytes, put_scalar, put_varint};
use super::{
    BlockHeader, Body, CODEC_PLAIN, CODEC_ZSTD, DecodeError, EncodeError, Envelope, FORMAT_VERSION,
    MAX_BLOCK_BYTES, MAX_HOST_BYTES, MAX_RAW_BYTES, MAX_ROWS_PER_BLOCK, MIN_COMPRESSED_BYTES,
    SampleColumns, ZSTD_LEVEL, events, expect_len, requests, samples,
};
use crate::event::Event;
use crate::id::{Kind, StreamId};
use crate::request::RequestBatch;
use crate::wire::envelope as tag;

/// Encodes blocks; keeps its memory from one to the next.
#[derive(Default)]
pub struct Encoder {
    compressor: Option<Compressor<'static>>,
    samples: samples::Scratch,
    requests: requests::Scratch,
    raw: Vec<u8>,
    packed: Vec<u8>,
    payload: Vec<u8>,
}

impl Encoder {
    /// Encodes one block as the payload of one record of the log.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] asks the caller to split the batch; the other errors are mistakes
    /// of the caller, or of zstd.
    pub fn encode(&mut self, header: &BlockHeader, body: &Body) -> Result<&[u8], EncodeError> {
        let rows = body.rows();
        if rows > MAX_ROWS_PER_BLOCK {
            return Err(EncodeError::TooLarge { rows, bytes: 0 });
        }
        if header.stream.kind != body.kind() {
            return Err(EncodeError::WrongKind {
                body: body.kind(),
                stream: header.stream.clone(),
            });
        }
        if header.host.len() > MAX_HOST_BYTES {
            return Err(EncodeError::HostTooLong(header.host.len()));
        }
        self.raw.clear();
        match body {
            Body::Samples(batch) => samples::encode(batch, &mut self.samples, &mut self.raw)?,
            Body::Requests(batch) => requests::encode(batch, &mut self.requests, &mut self.raw)?,
            Body::Events(list) => self.raw.extend_from_slice(&events::encode(list)),
        }
        if self.raw.len() > MAX_RAW_BYTES {
            let bytes = self.raw.len();
            return Err(EncodeError::TooLarge { rows, bytes });
        }
        let codec = self.compress()?;
        self.assemble(header, rows, codec);
        if self.payload.len() > MAX_BLOCK_BYTES {
            let bytes = self.payload.len();
            return Err(EncodeError::TooLarge { rows, bytes });
        }
        Ok(&self.payload)
    }

    /// Fills `packed`, where that is smaller than `raw`.
    fn compress(&mut self) -> Result<u32, EncodeError> {
        if self.raw.len() < MIN_COMPRESSED_BYTES {
            return Ok(CODEC_PLAIN);
        }
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(ZSTD_LEVEL).map_err(EncodeError::Compress)?),
        };
        self.packed.clear();
        self.packed
            .reserve(zstd::zstd_safe::compress_bound(self.raw.len()));
        compressor
            .compress_to_buffer(&self.raw, &mut self.packed)
            .map_err(EncodeError::Compress)?;
        let smaller = self.packed.len() < self.raw.len();
        Ok(if smaller { CODEC_ZSTD } else { CODEC_PLAIN })
    }

    /// Writes the envelope with its body; the version comes first.
    fn assemble(&mut self, header: &BlockHeader, rows: usize, codec: u32) {
        let body = if codec == CODEC_ZSTD {
            &self.packed
        } else {
            &self.raw
        };
        let out = &mut self.payload;
        out.clear();
        put_scalar(out, tag::VERSION, u64::from(FORMAT_VERSION));
        put_bytes(
            out,
            tag::PRODUCER,
            header.stream.producer.as_str().as_bytes(),
        );
        let incarnation = header.stream.incarnation.as_u128().to_be_bytes();
        put_bytes(out, tag::INCARNATION, &incarnation);
        put_scalar(out, tag::KIND, header.stream.kind as u64 + 1);
        put_scalar(out, tag::SEQ, header.seq);
        if !header.host.is_empty() {
            put_bytes(out, tag::HOST, header.host.as_bytes());
        }
        put_scalar(out, tag::ROWS, rows as u64);
        put_scalar(out, tag::CODEC, u64::from(codec));
        put_scalar(out, tag::RAW_BYTES, self.raw.len() as u64);
        let checksum = crc32c::crc32c(body);
        if checksum != 0 {
            put_varint(out, tag::CHECKSUM << 3 | tag::CHECKSUM_WIRE_TYPE);
            out.extend_from_slice(&checksum.to_le_bytes());
        }
        if !body.is_empty() {
            put_bytes(out, tag::BODY, body);
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Memory for series, over all streams: beyond it they are forgotten. A host's take some 20 KiB, and a
/// partition mixes the blocks of many hosts.
const REMEMBERED_BYTES: usize = 64 << 20;

/// Decodes the bodies of blocks; keeps its memory, and the series of each stream, from one to the
/// next.
#[derive(Default)]
pub struct Decoder {
    decompressor: Option<Decompressor<'static>>,
    raw: Vec<u8>,
    series: HashMap<StreamId, samples::KnownSeries>,
    /// What they take, estimated from above.
    remembered: usize,
}

/// The rows of a block; samples borrow from the decoder.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows<'a> {
    /// Values of series, in columns.
    Samples(SampleColumns<'a>),
    /// Operations of a load run.
    Requests(RequestBatch),
    /// Facts.
    Events(Vec<Event>),
}

impl Rows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Samples(columns) => columns.values.len(),
            Self::Requests(batch) => batch.requests.len(),
            Self::Events(events) => events.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Decoder {
    /// Decompresses and decodes the body of a block.
    pub fn rows(&mut self, envelope: &Envelope) -> Result<Rows<'_>, DecodeError> {
        self.decompress(envelope)?;
        let raw = self.raw.as_slice();
        let rows = envelope.rows as usize;
        Ok(match envelope.stream.kind {
            Kind::Samples => {
                if self.remembered > REMEMBERED_BYTES {
                    self.series.clear();
                    self.remembered = 0;
                }
                let series = self.series.entry(envelope.stream.clone()).or_default();
                Rows::Samples(samples::decode(raw, rows, series, &mut self.remembered)?)
            }
            Kind::Requests => Rows::Requests(requests::decode(raw, rows)?),
            Kind::Events => Rows::Events(events::decode(raw, rows)?),
        })
    }

    /// Fills `raw`.
    fn decompress(&mut self, envelope: &Envelope) -> Result<(), DecodeError> {
        self.raw.clear();
        match envelope.codec {
            CODEC_PLAIN => {
                self.raw.extend_from_slice(&envelope.body);
            }
            CODEC_ZSTD => {
                let decompressor = match &mut self.decompressor {
                    Some(decompressor) => decompressor,
                    none => none.insert(Decompressor::new().map_err(DecodeError::Decompress)?),
                };
                // Bounded by MAX_RAW_BYTES, which the envelope was checked against.
                self.raw.reserve(envelope.raw_bytes);
                decompressor
                    .decompress_to_buffer(&envelope.body, &mut self.raw)
                    .map_err(DecodeError::Decompress)?;
            }
            other => {
                return Err(DecodeError::BadField {
                    field: "codec",
                    value: u64::from(other),
                });
            }
        }
        expect_len("body", self.raw.len(), envelope.raw_bytes)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
