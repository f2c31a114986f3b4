//! Redis servers, through INFO and its like.

use serde::{Deserialize, Serialize};

use super::Service;
use crate::config::DiscoverConfig;

/// A Redis server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {}

pub(super) fn services(
    _configs: &[RedisConfig],
    _discover: &DiscoverConfig,
) -> Vec<Box<dyn Service>> {
    Vec::new()
}
