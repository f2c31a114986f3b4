//! HTTP APIs, by the access logs of their servers.

use serde::{Deserialize, Serialize};

use super::Service;

/// An access log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogConfig {}

pub(super) fn services(_configs: &[AccessLogConfig]) -> Vec<Box<dyn Service>> {
    Vec::new()
}
