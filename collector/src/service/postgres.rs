//! PostgreSQL servers, through their statistics views.

use serde::{Deserialize, Serialize};

use super::Service;
use crate::config::DiscoverConfig;

/// A PostgreSQL server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {}

pub(super) fn services(
    _configs: &[PostgresConfig],
    _discover: &DiscoverConfig,
) -> Vec<Box<dyn Service>> {
    Vec::new()
}
