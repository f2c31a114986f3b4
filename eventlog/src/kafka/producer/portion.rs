//! One stream's turn: read a portion from the spool and hand it to the client.
//!
//! Blocks that the spool has lost are stepped over, said aloud. Whose turn it is and what to do
//! about trouble are left to the shipper.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::lane::Lane;
use super::link::{Answer, Link, Ticket};
use crate::kafka::MAX_MESSAGE_BYTES;
use crate::spool::SpoolReader;
use crate::{LogError, LogReader as _};

/// What stopped a portion.
pub(super) enum Trouble {
    /// Something about this stream alone.
    Lane(LogError),
    /// Blocks were lost: there may be more behind them.
    Skipped,
    /// The client takes no more now.
    Full,
    /// The client itself.
    Link(KafkaError),
}

/// Reads and sends one portion of a stream; returns the bytes sent.
pub(super) fn send_portion(
    link: &Link,
    spool: &mut SpoolReader,
    lane: &mut Lane,
    lane_number: u64,
    max_bytes: usize,
) -> Result<usize, Trouble> {
    let records = match spool.read(&lane.source, lane.window.next(), max_bytes) {
        Ok(records) => records,
        Err(LogError::Trimmed {
            first_available,
            from,
            ..
        }) => {
            // A full spool has dropped its oldest blocks, and its writer has told so in an event.
            tracing::warn!(stream = %lane.stream, from, to = first_available, "the spool dropped blocks before they were shipped");
            lane.window.skip(first_available);
            return Err(Trouble::Skipped);
        }
        Err(error @ LogError::Corrupt { .. }) => {
            // The sink sees the hole in the sequence and tells of it in an event.
            let to = spool
                .skip_corrupt(&lane.source, lane.window.next())
                .map_err(Trouble::Lane)?;
            tracing::error!(stream = %lane.stream, from = lane.window.next(), to, %error, "damaged blocks are not shipped");
            lane.window.skip(to);
            return Err(Trouble::Skipped);
        }
        Err(error) => return Err(Trouble::Lane(error)),
    };
    let mut bytes = 0;
    for record in records {
        let ticket = Ticket {
            lane: lane_number,
            seq: record.offset,
        };
        let key = lane.stream.producer.as_str();
        match link.send(lane.topic, lane.partition, key, &record.payload, ticket) {
            Answer::Taken => {
                lane.window.send(record.offset, record.payload.len());
                bytes += record.payload.len();
            }
            Answer::Full if bytes > 0 => return Ok(bytes),
            Answer::Full => return Err(Trouble::Full),
            Answer::Refused(error) if is_too_large(&error) => {
                return Err(Trouble::Lane(LogError::TooLarge {
                    target: format!(
                        "{}, block {} of stream {}",
                        lane.topic, record.offset, lane.stream
                    ),
                    bytes: record.payload.len(),
                    limit: MAX_MESSAGE_BYTES,
                }));
            }
            Answer::Refused(error) => return Err(Trouble::Link(error)),
        }
    }
    Ok(bytes)
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}
