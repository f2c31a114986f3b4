//! The shipper and the reader against a real broker: outages, groups, trimmed logs, credentials,
//! TLS.
//!
//! What the records mean is no concern here: each names its stream and number, so that order, loss
//! and duplicates can be told apart.
#![cfg(feature = "kafka")]

#[path = "../../tests/services/broker.rs"]
mod broker;
#[path = "../../tests/services/skipped.rs"]
mod skipped;

#[path = "kafka/group.rs"]
mod group;
#[path = "kafka/outage.rs"]
mod outage;
#[path = "kafka/refusal.rs"]
mod refusal;
#[path = "kafka/support.rs"]
mod support;
#[cfg(feature = "tls")]
#[path = "kafka/tls.rs"]
mod tls;
