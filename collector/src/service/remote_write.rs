//! What arrives by the Prometheus remote-write protocol.

use serde::{Deserialize, Serialize};

use super::Service;

/// The remote-write receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteWriteConfig {}

pub(super) fn services(_config: &RemoteWriteConfig) -> Vec<Box<dyn Service>> {
    Vec::new()
}
