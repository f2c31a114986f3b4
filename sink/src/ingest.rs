//! What to do with one record: a pure decision over the record and where its stream stands.

use driftline_eventlog::{Record, SourceId};
use driftline_schemas::{DecodeError, Decoder, Envelope, Rows};

use crate::watermark::{Verdict, Watermarks};

/// What a record is.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// New rows.
    Accepted {
        /// Whose block it is.
        envelope: Envelope,
        /// Its rows.
        rows: Rows<'a>,
        /// Blocks of its stream that never came before it.
        missing: u64,
    },
    /// In the table already.
    Duplicate,
    /// Another block of the same stream and number is in the table.
    Conflict {
        /// Whose block it is.
        envelope: Envelope,
        /// The checksum of the block in the table.
        committed: u32,
    },
    /// Not a block, or a damaged one.
    Undecodable {
        /// What is wrong with it.
        reason: String,
    },
    /// Written by a newer version: this build must not move past it.
    Newer {
        /// The version found.
        found: u32,
    },
}

/// Judges one record and, where it is new, moves its stream's mark past it.
pub(crate) fn judge<'a>(
    source: &SourceId,
    record: &Record,
    marks: &mut Watermarks,
    decoder: &'a mut Decoder,
) -> Outcome<'a> {
    let envelope = match Envelope::parse(&record.payload) {
        Ok(envelope) => envelope,
        Err(DecodeError::NewerFormat { found }) => return Outcome::Newer { found },
        Err(error) => return undecodable(&error),
    };
    if let SourceId::Spool(stream) = source
        && (*stream != envelope.stream || record.offset != envelope.seq)
    {
        let reason = format!(
            "it says it is block {} of {}",
            envelope.seq, envelope.stream
        );
        return Outcome::Undecodable { reason };
    }
    let missing = match verdict(marks, &envelope) {
        Verdict::Next => 0,
        Verdict::AfterGap { missing } => missing,
        Verdict::Duplicate => return Outcome::Duplicate,
        Verdict::Conflict { committed } => {
            return Outcome::Conflict {
                envelope,
                committed,
            };
        }
    };
    match decoder.rows(&envelope) {
        Ok(rows) => {
            accept(source, marks, &envelope);
            Outcome::Accepted {
                envelope,
                rows,
                missing,
            }
        }
        Err(error) => {
            // The number is used up: the blocks after it are not after a gap.
            accept(source, marks, &envelope);
            undecodable(&error)
        }
    }
}

fn verdict(marks: &Watermarks, envelope: &Envelope) -> Verdict {
    match marks.get(&envelope.stream) {
        Some(mark) => mark.judge(envelope.seq, envelope.checksum),
        None if envelope.seq == 0 => Verdict::Next,
        None => Verdict::AfterGap {
            missing: envelope.seq,
        },
    }
}

fn accept(source: &SourceId, marks: &mut Watermarks, envelope: &Envelope) {
    let mark = marks.entry(&envelope.stream);
    match source {
        // A spool's offset is the sequence itself, so that nothing can come twice and checksums
        // need not be kept.
        SourceId::Spool(_) => mark.next_seq = envelope.seq + 1,
        SourceId::Kafka { .. } => mark.accept(envelope.seq, envelope.checksum),
    }
}

fn undecodable(error: &DecodeError) -> Outcome<'static> {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    Outcome::Undecodable { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use driftline_schemas::{BlockHeader, Body, Component, Event, EventName, StreamId, encode};

    fn stream() -> StreamId {
        "a/000000000000000000000000000000ff/events"
            .parse()
            .expect("stream")
    }

    fn record(offset: u64, seq: u64, message: &str) -> Record {
        let event = Event {
            ts_us: 1,
            name: EventName::Marked,
            component: Component::Host,
            subject: String::new(),
            message: message.to_owned(),
            attributes: Vec::new(),
        };
        let header = BlockHeader {
            stream: stream(),
            seq,
            host: "h".to_owned(),
        };
        let payload = encode(&header, &Body::Events(vec![event])).expect("encode");
        Record {
            offset,
            payload: Bytes::from(payload),
        }
    }

    fn kafka() -> SourceId {
        SourceId::Kafka {
            topic: "t".to_owned(),
            partition: 0,
        }
    }

    #[test]
    fn every_block_is_taken_once_and_a_different_one_is_never_dropped_silently() {
        let mut marks = Watermarks::default();
        let mut decoder = Decoder::default();
        let taken = judge(&kafka(), &record(10, 0, "a"), &mut marks, &mut decoder);
        assert!(
            matches!(taken, Outcome::Accepted { missing: 0, .. }),
            "{taken:?}"
        );
        let again = judge(&kafka(), &record(11, 0, "a"), &mut marks, &mut decoder);
        assert!(matches!(again, Outcome::Duplicate), "{again:?}");
        let other = judge(&kafka(), &record(12, 0, "b"), &mut marks, &mut decoder);
        assert!(matches!(other, Outcome::Conflict { .. }), "{other:?}");
        let later = judge(&kafka(), &record(13, 3, "c"), &mut marks, &mut decoder);
        assert!(
            matches!(later, Outcome::Accepted { missing: 2, .. }),
            "{later:?}"
        );
        assert_eq!(marks.next_seq(&stream()), 4);
    }

    #[test]
    fn damage_and_foreign_blocks_are_set_aside_with_a_reason() {
        let mut marks = Watermarks::default();
        let mut decoder = Decoder::default();
        let garbage = Record {
            offset: 0,
            payload: Bytes::from_static(b"\xff\xff\xff"),
        };
        assert!(matches!(
            judge(&kafka(), &garbage, &mut marks, &mut decoder),
            Outcome::Undecodable { .. }
        ));
        let mut bytes = record(0, 0, "a message long enough").payload.to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let flipped = Record {
            offset: 0,
            payload: Bytes::from(bytes),
        };
        let Outcome::Undecodable { reason } = judge(&kafka(), &flipped, &mut marks, &mut decoder)
        else {
            panic!("a flipped bit was not noticed");
        };
        assert!(reason.contains("checksum"), "{reason}");
        let misplaced = record(5, 0, "a");
        let spool = SourceId::Spool(stream());
        assert!(matches!(
            judge(&spool, &misplaced, &mut marks, &mut decoder),
            Outcome::Undecodable { .. }
        ));
        assert_eq!(marks.next_seq(&stream()), 0);
    }
}
