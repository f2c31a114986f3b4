//! The metrics of PostgreSQL servers.

use super::super::Metric;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[];
