//! HTTP APIs, by a synthetic probe.

use serde::{Deserialize, Serialize};

use super::Service;

/// An address that is probed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpProbeConfig {}

pub(super) fn services(_configs: &[HttpProbeConfig]) -> Vec<Box<dyn Service>> {
    Vec::new()
}
