//! Driftline's vocabulary: identifiers, metrics, series, samples, requests and events, and the
//! wire format in which they travel through the event log.
//!
//! Nothing here does I/O or is asynchronous. The Arrow schema of every table stands behind the
//! feature `arrow`, which only the sink and the analyzer switch on, so that collector and load
//! generator stay lean.

#[cfg(feature = "arrow")]
pub mod arrow;
pub mod block;
pub mod event;
pub mod id;
pub mod metric;
pub mod request;
pub mod series;
pub mod topic;
mod wire;

pub use block::{
    Block, BlockHeader, Body, DecodeError, Decoder, EncodeError, Encoder, Envelope, FORMAT_VERSION,
    MAX_BLOCK_BYTES, MAX_ROWS_PER_BLOCK, Rows, SampleColumns, SeriesList, SeriesRun, encode,
};
pub use event::{Event, EventName};
pub use id::{IdError, Incarnation, Kind, ProducerId, StreamId};
pub use metric::{
    Better, CATALOGUE, Category, Component, Metric, MetricKind, metric, metric_named,
};
pub use request::{Request, RequestBatch};
pub use series::{
    Labels, MetricDef, MetricRef, Sample, SampleBatch, Series, label_pairs, write_canonical,
};
