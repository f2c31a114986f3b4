//! Names of the Kafka topics. A topic's suffix is the version of the wire format in it.

use crate::id::Kind;

/// Where records go that cannot be decoded.
pub const DEAD_LETTER: &str = "driftline.dead-letter.v1";

/// The topic of a kind of stream.
pub const fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::Samples => "driftline.samples.v1",
        Kind::Requests => "driftline.requests.v1",
        Kind::Events => "driftline.events.v1",
    }
}

/// The kind of stream in a topic of ours.
pub fn kind_of(topic: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| of(*kind) == topic)
}

/// Every topic that a sink or a producer needs.
pub const ALL: [&str; 4] = [
    of(Kind::Samples),
    of(Kind::Requests),
    of(Kind::Events),
    DEAD_LETTER,
];
