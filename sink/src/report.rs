//! The sink's own facts, appended to the log like everybody else's.

use driftline_eventlog::{LogWriter, SourceId};
use driftline_schemas::{
    BlockHeader, Body, Component, Envelope, Event, EventName, StreamId, encode,
};

use crate::{Clock, SinkError};

/// Appends events to the sink's stream.
pub struct Reporter {
    writer: Box<dyn LogWriter + Send>,
    stream: StreamId,
    host: String,
}

impl Reporter {
    /// Reports to a stream of events, of which `writer` is the writing end.
    pub fn new(writer: Box<dyn LogWriter + Send>, stream: StreamId, host: String) -> Self {
        Self {
            writer,
            stream,
            host,
        }
    }

    /// Appends one event, durably.
    pub fn report(&mut self, event: Event) -> Result<(), SinkError> {
        let seq = self.writer.next_seq();
        let header = BlockHeader {
            stream: self.stream.clone(),
            seq,
            host: self.host.clone(),
        };
        let payload = encode(&header, &Body::Events(vec![event]))?;
        self.writer.append(seq, &payload)?;
        self.writer.sync()?;
        Ok(())
    }

    fn fact(
        &mut self,
        name: EventName,
        subject: String,
        message: String,
        attributes: Vec<(String, String)>,
        clock: &Clock,
    ) -> Result<(), SinkError> {
        tracing::warn!(%subject, "{message}");
        self.report(Event {
            ts_us: clock.now_us(),
            name,
            component: Component::Driftline,
            subject,
            message,
            attributes,
        })
    }

    pub(crate) fn sequence_gap(
        &mut self,
        envelope: &Envelope,
        missing: u64,
        clock: &Clock,
    ) -> Result<(), SinkError> {
        let first = envelope.seq - missing;
        let message = format!("{missing} blocks from {first} on never came");
        let attributes = vec![
            ("first_seq".to_owned(), first.to_string()),
            ("missing".to_owned(), missing.to_string()),
        ];
        let subject = envelope.stream.to_string();
        self.fact(EventName::SequenceGap, subject, message, attributes, clock)
    }

    pub(crate) fn conflict(
        &mut self,
        envelope: &Envelope,
        committed: u32,
        source: &SourceId,
        clock: &Clock,
    ) -> Result<(), SinkError> {
        let message = format!(
            "block {} came with another checksum than the one in the table; it was set aside",
            envelope.seq
        );
        let attributes = vec![
            ("seq".to_owned(), envelope.seq.to_string()),
            ("committed_checksum".to_owned(), format!("{committed:08x}")),
            ("checksum".to_owned(), format!("{:08x}", envelope.checksum)),
            ("source".to_owned(), source.to_string()),
        ];
        let subject = envelope.stream.to_string();
        self.fact(
            EventName::StreamConflict,
            subject,
            message,
            attributes,
            clock,
        )
    }

    pub(crate) fn dead_lettered(
        &mut self,
        origin: &str,
        reason: &str,
        clock: &Clock,
    ) -> Result<(), SinkError> {
        let message = format!("a record was set aside: {reason}");
        let attributes = vec![("reason".to_owned(), reason.to_owned())];
        self.fact(
            EventName::DeadLettered,
            origin.to_owned(),
            message,
            attributes,
            clock,
        )
    }

    pub(crate) fn lost(
        &mut self,
        source: &SourceId,
        from: u64,
        next: u64,
        reason: &str,
        clock: &Clock,
    ) -> Result<(), SinkError> {
        let message = format!(
            "records {from} to {} are lost: {reason}",
            next.saturating_sub(1)
        );
        let attributes = vec![
            ("first_seq".to_owned(), from.to_string()),
            ("missing".to_owned(), next.saturating_sub(from).to_string()),
        ];
        self.fact(
            EventName::SequenceGap,
            source.to_string(),
            message,
            attributes,
            clock,
        )
    }
}
