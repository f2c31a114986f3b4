//! Who wrote a block: producer, incarnation and kind, which together name a *stream*.
//!
//! A stream numbers its blocks from 0. Every start of a producer is a new incarnation, so that a
//! wiped directory or a cloned machine can never be mistaken for a duplicate.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest producer id, in bytes; it becomes the name of a directory.
pub const MAX_PRODUCER_ID_BYTES: usize = 64;

/// An identifier that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The producer id breaks the rules of its form.
    #[error(
        "producer id {found:?} is not valid: use 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or a digit"
    )]
    Producer {
        /// What was given.
        found: String,
    },
    /// The incarnation is not 32 hexadecimal digits.
    #[error("incarnation {found:?} is not valid: expected 32 hexadecimal digits")]
    Incarnation {
        /// What was given.
        found: String,
    },
    /// The kind of stream is unknown.
    #[error("stream kind {found:?} is not known: expected samples, requests or events")]
    Kind {
        /// What was given.
        found: String,
    },
    /// A stream is not written `producer/incarnation/kind`.
    #[error("stream {found:?} is not valid: expected producer/incarnation/kind")]
    Stream {
        /// What was given.
        found: String,
    },
}

/// The stable name of one writer: a collector agent, a load worker, a sink.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(Arc<str>);

impl ProducerId {
    /// Checks and takes a name of 1 to 64 characters of `[a-z0-9._-]`, the first alphanumeric.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let valid_first = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let valid_rest = text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
        });
        if !valid_first || !valid_rest || text.len() > MAX_PRODUCER_ID_BYTES {
            return Err(IdError::Producer {
                found: text.chars().take(80).collect(),
            });
        }
        Ok(Self(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProducerId({})", self.0)
    }
}

impl FromStr for ProducerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

/// One start of a producer: 128 random bits, brought by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u128);

impl Incarnation {
    /// Makes an incarnation of the caller's random bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Incarnation {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let invalid = || IdError::Incarnation {
            found: text.chars().take(80).collect(),
        };
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| invalid())
    }
}

/// What the blocks of a stream hold; each kind has its own topic and its own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Values of series.
    Samples,
    /// Operations of a load run.
    Requests,
    /// Facts of any other sort: gaps, marks, findings, actions.
    Events,
}

impl Kind {
    /// Every kind, in the order of their topics.
    pub const ALL: [Self; 3] = [Self::Samples, Self::Requests, Self::Events];

    /// The kind's name, which is also its table's and its directory's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Requests => "requests",
            Self::Events => "events",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| IdError::Kind {
                found: text.chars().take(80).collect(),
            })
    }
}

/// The unit of ordering and of exactly-once: one kind of block, from one start of one producer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Who writes.
    pub producer: ProducerId,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// What it writes.
    pub kind: Kind,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.producer, self.incarnation, self.kind)
    }
}

impl FromStr for StreamId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(producer), Some(incarnation), Some(kind), None) => Ok(Self {
                producer: producer.parse()?,
                incarnation: incarnation.parse()?,
                kind: kind.parse()?,
            }),
            _ => Err(IdError::Stream {
                found: text.chars().take(160).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_survives_its_text_form() {
        let stream = StreamId {
            producer: ProducerId::new("web-1.collector").expect("valid"),
            incarnation: Incarnation::from_u128(0xabc),
            kind: Kind::Samples,
        };
        assert_eq!(stream.to_string().parse::<StreamId>(), Ok(stream));
    }

    #[test]
    fn ids_that_could_leave_their_directory_are_refused() {
        for text in ["", "..", ".a", "a/b", "A", "ä", "-a", &"a".repeat(65)] {
            assert!(ProducerId::new(text).is_err(), "{text:?} was taken");
        }
        assert!("a/b".parse::<StreamId>().is_err());
        assert!("a/00/samples".parse::<StreamId>().is_err());
        assert!(
            "+0000000000000000000000000000001"
                .parse::<Incarnation>()
                .is_err()
        );
    }
}
