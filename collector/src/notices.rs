//! The events that the collector tells about itself: started, stopped, gaps, steps of the clock,
//! dropped blocks.
//!
//! Pure: when something is to be told is decided elsewhere.

use driftline_eventlog::spool::{Repair, RepairOutcome};
use driftline_schemas::metric::catalogue::SEMCONV_VERSION;
use driftline_schemas::{Component, Event, EventName, Incarnation, ProducerId, StreamId};

use crate::host_facts::HostFacts;
use crate::inbox::Lost;
use crate::tick::{Missed, Reason};

/// The subject of all of them but those about streams.
pub(crate) const SUBJECT: &str = "collector";

fn event(ts_us: i64, name: EventName, message: String, attributes: Vec<(&str, String)>) -> Event {
    Event {
        ts_us,
        name,
        component: Component::Driftline,
        subject: SUBJECT.to_owned(),
        message,
        attributes: attributes
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    }
}

/// Who began to collect, with which version, on what.
pub(crate) fn started(
    ts_us: i64,
    producer: &ProducerId,
    incarnation: Incarnation,
    interval_us: i64,
    facts: &HostFacts,
) -> Event {
    let version = env!("CARGO_PKG_VERSION");
    let mut attributes = vec![
        ("producer", producer.to_string()),
        ("incarnation", incarnation.to_string()),
        ("version", version.to_owned()),
        ("semconv", SEMCONV_VERSION.to_owned()),
        ("interval_us", interval_us.to_string()),
    ];
    attributes.extend(facts.attributes());
    let message = format!("collector {version} began on {}", facts.hostname);
    event(ts_us, EventName::CollectorStarted, message, attributes)
}

/// That it stopped in order, and what it had done.
pub(crate) fn stopped(ts_us: i64, ticks: u64, missed: u64, samples: u64) -> Event {
    let attributes = vec![
        ("ticks", ticks.to_string()),
        ("ticks_missed", missed.to_string()),
        ("samples", samples.to_string()),
    ];
    let message = format!("collector stopped in order after {ticks} ticks, {missed} missed");
    event(ts_us, EventName::CollectorStopped, message, attributes)
}

/// Why seconds are missing. The details say what was observed.
pub(crate) fn gap(ts_us: i64, missed: &Missed, details: &str) -> Event {
    let why = match missed.reason {
        Reason::Suspended => "the machine was suspended",
        Reason::Overloaded => "the collector could not keep up",
        Reason::ClockStepped => "the wall clock was set forward",
        Reason::Stopped => "no collector ran",
        Reason::Unwritable => "the spool could not be written and memory was full",
    };
    let message = match details {
        "" => format!("{} ticks are missing: {why}", missed.ticks),
        _ => format!("{} ticks are missing: {why} ({details})", missed.ticks),
    };
    let attributes = vec![
        ("reason", missed.reason.as_str().to_owned()),
        ("from_us", missed.from_us.to_string()),
        ("until_us", missed.until_us.to_string()),
        ("ticks", missed.ticks.to_string()),
    ];
    event(ts_us, EventName::Gap, message, attributes)
}

/// That the wall clock jumped, and by how much.
pub(crate) fn clock_stepped(ts_us: i64, by_us: i64) -> Event {
    let direction = if by_us < 0 { "back" } else { "forward" };
    let seconds = by_us.unsigned_abs() as f64 / 1e6;
    let message = format!("the wall clock was set {direction} by {seconds} s");
    event(
        ts_us,
        EventName::ClockStepped,
        message,
        vec![("by_us", by_us.to_string())],
    )
}

/// Ticks that memory lost, as the gap that they leave.
pub(crate) fn lost(ts_us: i64, lost: &Lost, interval_us: i64) -> Event {
    let missed = Missed {
        reason: Reason::Unwritable,
        from_us: lost.first_us,
        until_us: lost.last_us + interval_us,
        ticks: lost.blocks,
    };
    gap(ts_us, &missed, "")
}

/// That a stream began.
pub(crate) fn stream_opened(ts_us: i64, stream: &StreamId) -> Event {
    let opened = event(
        ts_us,
        EventName::StreamOpened,
        format!("stream {stream} began"),
        Vec::new(),
    );
    Event {
        subject: stream.to_string(),
        ..opened
    }
}

/// That a stream has ended, and how many blocks it holds.
pub(crate) fn stream_closed(ts_us: i64, stream: &StreamId, next_seq: u64, reason: &str) -> Event {
    let message = format!("stream {stream} has ended after {next_seq} blocks");
    let attributes = vec![
        ("next_seq", next_seq.to_string()),
        ("reason", reason.to_owned()),
    ];
    let closed = event(ts_us, EventName::StreamClosed, message, attributes);
    Event {
        subject: stream.to_string(),
        ..closed
    }
}

/// What became of a stream that an earlier process left open; nothing where it held nothing.
pub(crate) fn repaired(ts_us: i64, repair: &Repair) -> Option<Event> {
    let failed = |reason: &str| {
        let message = format!("{reason}: keep a copy of the stream's directory and report it");
        let failed = event(ts_us, EventName::ComponentFailed, message, Vec::new());
        Event {
            subject: repair.stream.to_string(),
            ..failed
        }
    };
    match &repair.outcome {
        RepairOutcome::Closed {
            next_seq,
            cut_bytes,
        } => {
            let mut closed = stream_closed(ts_us, &repair.stream, *next_seq, "repaired");
            closed
                .attributes
                .push(("cut_bytes".to_owned(), cut_bytes.to_string()));
            Some(closed)
        }
        RepairOutcome::RemovedEmpty => None,
        RepairOutcome::Damaged { reason, .. } | RepairOutcome::LeftAlone { reason } => {
            Some(failed(reason))
        }
    }
}

/// Blocks that the spool forgot unread, to make room.
pub(crate) fn blocks_dropped(
    ts_us: i64,
    stream: &str,
    first_seq: u64,
    next_seq: u64,
    bytes: u64,
) -> Event {
    let blocks = next_seq.saturating_sub(first_seq);
    let attributes = vec![
        ("first_seq", first_seq.to_string()),
        ("next_seq", next_seq.to_string()),
        ("blocks", blocks.to_string()),
        ("bytes", bytes.to_string()),
    ];
    let message = format!(
        "{blocks} blocks of {stream} were dropped unread to make room: let a sink consume the log, \
         free disk space or raise spool.budget_bytes"
    );
    let dropped = event(ts_us, EventName::BlocksDropped, message, attributes);
    Event {
        subject: stream.to_owned(),
        ..dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute<'a>(event: &'a Event, key: &str) -> Option<&'a str> {
        event
            .attributes
            .iter()
            .find(|pair| pair.0 == key)
            .map(|pair| pair.1.as_str())
    }

    #[test]
    fn a_gap_carries_its_reason_and_extent() {
        let missed = Missed {
            reason: Reason::Overloaded,
            from_us: 1,
            until_us: 3_000_001,
            ticks: 3,
        };
        let event = gap(9, &missed, "host.disk took 3.2 s");
        assert_eq!(event.name, EventName::Gap);
        assert_eq!(attribute(&event, "reason"), Some("overloaded"));
        assert_eq!(attribute(&event, "until_us"), Some("3000001"));
        assert!(
            event.message.contains("3 ticks") && event.message.contains("host.disk"),
            "{}",
            event.message
        );
    }

    #[test]
    fn lost_ticks_are_a_gap_up_to_the_next_one() {
        let event = lost(
            9,
            &Lost {
                blocks: 2,
                first_us: 5_000_000,
                last_us: 6_000_000,
            },
            1_000_000,
        );
        assert_eq!(attribute(&event, "reason"), Some("unwritable"));
        assert_eq!(
            (attribute(&event, "from_us"), attribute(&event, "until_us")),
            (Some("5000000"), Some("7000000"))
        );
    }

    #[test]
    fn the_start_names_versions_and_the_host() {
        let facts = HostFacts::read("web-1", std::path::Path::new("/proc"));
        let producer = ProducerId::new("web-1-collector").expect("valid");
        let event = started(9, &producer, Incarnation::from_u128(1), 1_000_000, &facts);
        assert_eq!(attribute(&event, "semconv"), Some(SEMCONV_VERSION));
        assert_eq!(
            attribute(&event, "version"),
            Some(env!("CARGO_PKG_VERSION"))
        );
        assert!(
            attribute(&event, "os.kernel").is_some_and(|kernel| !kernel.is_empty()),
            "{event:?}"
        );
        assert!(
            blocks_dropped(9, "a/b/samples", 3, 5, 10)
                .message
                .contains("2 blocks of a/b/samples")
        );
        assert!(
            clock_stepped(9, -1_500_000)
                .message
                .contains("back by 1.5 s")
        );
        assert_eq!(attribute(&stopped(9, 4, 1, 7), "ticks_missed"), Some("1"));
    }
}
