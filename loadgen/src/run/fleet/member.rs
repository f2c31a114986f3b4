//! One worker process, as the coordinator sees it.

use super::super::gauges::Snapshot;
use super::message::Finished;

/// How far a worker's wall clock is ahead of the coordinator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset {
    /// In µs.
    pub(crate) offset_us: i64,
    /// The shortest round trip by which it was estimated, in µs; half of it bounds the error.
    pub(crate) rtt_us: i64,
}

impl Offset {
    /// One exchange: sent and received by the coordinator's clock, answered by the worker's.
    pub(crate) fn of_exchange(sent_us: i64, answered_us: i64, received_us: i64) -> Self {
        Self {
            offset_us: answered_us - (sent_us + (received_us - sent_us) / 2),
            rtt_us: received_us - sent_us,
        }
    }

    /// The better of two estimates: the one with the shorter round trip.
    pub(crate) fn best(self, other: Self) -> Self {
        if other.rtt_us < self.rtt_us {
            other
        } else {
            self
        }
    }
}

/// What a worker process is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has shown the token.
    Joined,
    /// It has read the scenario and opened its log.
    Ready,
    /// It reports.
    Running,
    /// It has sent its last report.
    Finished,
    /// It is gone, with the reason.
    Lost(String),
}

/// A worker process.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) cores: u32,
    pub(crate) offset: Offset,
    pub(crate) state: MemberState,
    pub(crate) snapshot: Snapshot,
    /// The newest statistics, in their compact form.
    pub(crate) statistics: Option<Vec<u8>>,
    pub(crate) finished: Finished,
}

impl Member {
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.state, MemberState::Finished | MemberState::Lost(_))
    }

    pub(crate) fn lost_because(&self) -> Option<String> {
        match &self.state {
            MemberState::Lost(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_gives_the_offset() {
        let slow = Offset::of_exchange(1_000, 5_900, 2_000);
        let fast = Offset::of_exchange(10_000, 15_050, 10_100);
        assert_eq!((slow.offset_us, slow.rtt_us), (4_400, 1_000));
        assert_eq!((fast.offset_us, fast.rtt_us), (5_000, 100));
        assert_eq!(slow.best(fast), fast);
        assert_eq!(fast.best(slow), fast);
    }
}
