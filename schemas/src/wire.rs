//! The protobuf messages of wire format version 1, column by column.
//!
//! `schemas/proto/driftline/v1/block.proto` publishes the same messages for other languages. All
//! repeated fields are columns of scalars or of text, so that a decoder's memory is a small
//! multiple of the bytes it was given.

/// Field numbers of [`EnvelopeMessage`].
pub(crate) mod envelope {
    pub(crate) const VERSION: u64 = 1;
    pub(crate) const PRODUCER: u64 = 2;
    pub(crate) const INCARNATION: u64 = 3;
    pub(crate) const KIND: u64 = 4;
    pub(crate) const SEQ: u64 = 5;
    pub(crate) const HOST: u64 = 6;
    pub(crate) const ROWS: u64 = 7;
    pub(crate) const CODEC: u64 = 8;
    pub(crate) const RAW_BYTES: u64 = 9;
    pub(crate) const CHECKSUM: u64 = 10;
    /// Four bytes, little-endian.
    pub(crate) const CHECKSUM_WIRE_TYPE: u64 = 5;
    pub(crate) const BODY: u64 = 11;
}

/// One record of the log.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EnvelopeMessage {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(string, tag = "2")]
    pub(crate) producer: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) incarnation: prost::bytes::Bytes,
    #[prost(uint32, tag = "4")]
    pub(crate) kind: u32,
    #[prost(uint64, tag = "5")]
    pub(crate) seq: u64,
    #[prost(string, tag = "6")]
    pub(crate) host: String,
    #[prost(uint32, tag = "7")]
    pub(crate) rows: u32,
    #[prost(uint32, tag = "8")]
    pub(crate) codec: u32,
    #[prost(uint32, tag = "9")]
    pub(crate) raw_bytes: u32,
    #[prost(fixed32, tag = "10")]
    pub(crate) checksum: u32,
    #[prost(bytes = "bytes", tag = "11")]
    pub(crate) body: prost::bytes::Bytes,
}

/// Field numbers of `SamplesMessage`.
pub(crate) mod samples {
    pub(crate) const SERIES_METRIC: u64 = 1;
    pub(crate) const SERIES_LABELS: u64 = 2;
    pub(crate) const SERIES_SAMPLES: u64 = 3;
    pub(crate) const SERIES_SCALE: u64 = 4;
    pub(crate) const TICK_US: u64 = 5;
    pub(crate) const TICK_STEP: u64 = 6;
    pub(crate) const INTEGER: u64 = 7;
    pub(crate) const FLOAT_BITS: u64 = 8;
    pub(crate) const CUSTOM_NAME: u64 = 9;
    pub(crate) const CUSTOM_UNIT: u64 = 10;
    pub(crate) const CUSTOM_COMPONENT: u64 = 11;
    pub(crate) const CUSTOM_KIND: u64 = 12;
    pub(crate) const CUSTOM_CATEGORY: u64 = 13;
    pub(crate) const CUSTOM_BETTER: u64 = 14;
}

/// Field numbers of `RequestsMessage`.
pub(crate) mod requests {
    pub(crate) const RUN: u64 = 1;
    pub(crate) const WORKER: u64 = 2;
    pub(crate) const ENDPOINTS: u64 = 3;
    pub(crate) const ERRORS: u64 = 4;
    pub(crate) const ENDPOINT: u64 = 5;
    pub(crate) const INTENDED_US: u64 = 6;
    pub(crate) const SENT_NS: u64 = 7;
    pub(crate) const FIRST_BYTE_NS: u64 = 8;
    pub(crate) const DONE_NS: u64 = 9;
    pub(crate) const STATUS: u64 = 10;
    pub(crate) const BYTES: u64 = 11;
    pub(crate) const ERROR: u64 = 12;
}

/// Samples, ordered by series. The product writes and reads these columns without intermediate
/// vectors; tests hold its bytes against this definition.
#[cfg(test)]
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SamplesMessage {
    /// Per series: `id << 1` of a known metric, `index << 1 | 1` of a custom one.
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) series_metric: Vec<u32>,
    /// Per series: canonical labels.
    #[prost(string, repeated, tag = "2")]
    pub(crate) series_labels: Vec<String>,
    /// Per series: number of samples.
    #[prost(uint32, repeated, tag = "3")]
    pub(crate) series_samples: Vec<u32>,
    /// Per series: decimal places of its integers, or [`RAW_SCALE`].
    #[prost(uint32, repeated, tag = "4")]
    pub(crate) series_scale: Vec<u32>,
    /// Distinct times, ascending, each as its distance from the one before.
    #[prost(sint64, repeated, tag = "5")]
    pub(crate) tick_us: Vec<i64>,
    /// Per sample: index of its time, as the distance from the series' sample before.
    #[prost(sint32, repeated, tag = "6")]
    pub(crate) tick_step: Vec<i32>,
    /// Per sample of a scaled series: the integer, as the distance from the one before.
    #[prost(sint64, repeated, tag = "7")]
    pub(crate) integer: Vec<i64>,
    /// Per sample of a raw series: the value's bits, XOR those of the one before.
    #[prost(fixed64, repeated, tag = "8")]
    pub(crate) float_bits: Vec<u64>,
    #[prost(string, repeated, tag = "9")]
    pub(crate) custom_name: Vec<String>,
    #[prost(string, repeated, tag = "10")]
    pub(crate) custom_unit: Vec<String>,
    #[prost(uint32, repeated, tag = "11")]
    pub(crate) custom_component: Vec<u32>,
    #[prost(uint32, repeated, tag = "12")]
    pub(crate) custom_kind: Vec<u32>,
    #[prost(uint32, repeated, tag = "13")]
    pub(crate) custom_category: Vec<u32>,
    #[prost(uint32, repeated, tag = "14")]
    pub(crate) custom_better: Vec<u32>,
}

/// `series_scale` of a series whose values are not short decimals.
pub(crate) const RAW_SCALE: u32 = 15;

/// Requests of one worker of one run; see `SamplesMessage`.
#[cfg(test)]
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestsMessage {
    #[prost(string, tag = "1")]
    pub(crate) run: String,
    #[prost(uint32, tag = "2")]
    pub(crate) worker: u32,
    #[prost(string, repeated, tag = "3")]
    pub(crate) endpoints: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) errors: Vec<String>,
    #[prost(uint32, repeated, tag = "5")]
    pub(crate) endpoint: Vec<u32>,
    /// Each as its distance from the one before.
    #[prost(sint64, repeated, tag = "6")]
    pub(crate) intended_us: Vec<i64>,
    #[prost(sint64, repeated, tag = "7")]
    pub(crate) sent_ns: Vec<i64>,
    /// Each as its distance from `sent_ns`.
    #[prost(sint64, repeated, tag = "8")]
    pub(crate) first_byte_ns: Vec<i64>,
    /// Each as its distance from `first_byte_ns`.
    #[prost(sint64, repeated, tag = "9")]
    pub(crate) done_ns: Vec<i64>,
    #[prost(uint32, repeated, tag = "10")]
    pub(crate) status: Vec<u32>,
    #[prost(uint64, repeated, tag = "11")]
    pub(crate) bytes: Vec<u64>,
    #[prost(uint32, repeated, tag = "12")]
    pub(crate) error: Vec<u32>,
}

/// Events, column by column.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EventsMessage {
    #[prost(sint64, repeated, tag = "1")]
    pub(crate) ts_us: Vec<i64>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) name: Vec<String>,
    #[prost(uint32, repeated, tag = "3")]
    pub(crate) component: Vec<u32>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) subject: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub(crate) message: Vec<String>,
    /// Per event: number of its attributes.
    #[prost(uint32, repeated, tag = "6")]
    pub(crate) attributes: Vec<u32>,
    #[prost(string, repeated, tag = "7")]
    pub(crate) attribute_key: Vec<String>,
    #[prost(string, repeated, tag = "8")]
    pub(crate) attribute_value: Vec<String>,
}
