//! Robust statistics as pure, deterministic functions over slices.
//!
//! Nothing here knows of tables or SQL: the analyzer exposes these to queries, and the sink keeps its
//! rollups with them. Inputs are finite numbers; whoever gathers values leaves out NaN and infinities
//! ([`finite`]). Equal input gives equal output bit for bit: every reduction runs in the order of the
//! slice.

pub mod anomaly;
pub mod autocorrelation;
pub mod binomial;
pub mod bootstrap;
pub mod changepoint;
pub mod cuped;
pub mod daily;
pub mod distribution;
pub mod estimate;
pub mod fleet;
pub mod hot;
pub mod multiple;
pub mod noise;
pub mod onset;
pub mod quantile;
pub mod ranks;
pub mod reuse;
pub mod robust;
pub mod rollup;
pub mod runs;
pub mod seasonal;
pub mod shift;
pub mod sketch;
pub mod student;
pub mod warming;

pub use autocorrelation::{effective_size, lag1_of_ranks};
pub use multiple::benjamini_hochberg;
pub use quantile::{quantile, quantiles};
pub use ranks::{MannWhitney, mann_whitney};
pub use reuse::{MissRatioCurve, Reuse, ReuseSampler};
pub use robust::{mad, median};
pub use rollup::{Moments, Rollup};
pub use shift::{Shift, shift};
pub use sketch::{Sketch, SketchError};

/// The values that can be reasoned about: neither NaN nor infinite.
pub fn finite(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .collect()
}
