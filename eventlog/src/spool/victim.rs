//! Which segment goes first when room is needed: a pure choice over what is on disk.

use std::collections::{BTreeMap, HashMap};

use driftline_schemas::{Kind, StreamId};

/// What one stream holds on disk.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    pub(super) stream: StreamId,
    /// Its segments, ascending.
    pub(super) segments: Vec<Held>,
    /// Where the stream ends, if it is closed.
    pub(super) closed_at: Option<u64>,
    /// What the consumer has committed.
    pub(super) consumed: u64,
}

/// One segment on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) first_seq: u64,
    pub(super) size: u64,
    pub(super) modified_us: u64,
}

/// The segment to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    pub(super) stream: StreamId,
    pub(super) first_seq: u64,
    pub(super) next_seq: u64,
    pub(super) size: u64,
    /// Records below this have been consumed, so nobody misses them.
    pub(super) consumed: u64,
    /// True when nothing of a closed stream is left behind it.
    pub(super) is_last: bool,
}

impl Victim {
    /// The first record in it that nobody has consumed.
    pub(super) fn first_unread(&self) -> u64 {
        self.first_seq.max(self.consumed)
    }

    /// True if something in it would be lost.
    pub(super) fn is_unread(&self) -> bool {
        self.first_unread() < self.next_seq
    }
}

/// Chooses the oldest segment that has been consumed and, if there is none, the oldest one of the
/// kind that takes the most room. The last segment of a stream that is not closed is never chosen,
/// nor is one from `open[stream]` on.
pub(super) fn choose(holdings: &[Holding], open: &HashMap<StreamId, u64>) -> Option<Victim> {
    let mut room: BTreeMap<Kind, u64> = BTreeMap::new();
    for holding in holdings {
        let size: u64 = holding.segments.iter().map(|held| held.size).sum();
        *room.entry(holding.stream.kind).or_default() += size;
    }
    holdings
        .iter()
        .filter_map(|holding| Some((holding.segments.first()?, oldest(holding, open)?)))
        .min_by_key(|(held, victim)| {
            let unread = victim.is_unread();
            let least = u64::MAX - room.get(&victim.stream.kind).copied().unwrap_or_default();
            (
                unread,
                if unread { least } else { 0 },
                held.modified_us,
                victim.stream.clone(),
            )
        })
        .map(|(_, victim)| victim)
}

fn oldest(holding: &Holding, open: &HashMap<StreamId, u64>) -> Option<Victim> {
    let held = holding.segments.first()?;
    if open
        .get(&holding.stream)
        .is_some_and(|tail| held.first_seq >= *tail)
    {
        return None;
    }
    let following = holding.segments.get(1).map(|next| next.first_seq);
    Some(Victim {
        stream: holding.stream.clone(),
        first_seq: held.first_seq,
        next_seq: following.or(holding.closed_at)?,
        size: held.size,
        consumed: holding.consumed,
        is_last: following.is_none(),
    })
}

#[cfg(test)]
mod tests {
    use driftline_schemas::{Incarnation, ProducerId};

    use super::*;

    fn holding(incarnation: u128, kind: Kind, segments: &[(u64, u64, u64)]) -> Holding {
        let held = |&(first_seq, size, modified_us): &_| Held {
            first_seq,
            size,
            modified_us,
        };
        Holding {
            stream: StreamId {
                producer: ProducerId::new("p").expect("a valid name"),
                incarnation: Incarnation::from_u128(incarnation),
                kind,
            },
            segments: segments.iter().map(held).collect(),
            closed_at: None,
            consumed: 0,
        }
    }

    #[test]
    fn the_oldest_of_the_largest_kind_goes_first() {
        let small = holding(1, Kind::Events, &[(0, 10, 1), (5, 10, 2)]);
        let mut old = holding(2, Kind::Samples, &[(0, 50, 5)]);
        old.closed_at = Some(9);
        let current = holding(3, Kind::Samples, &[(0, 100, 7), (4, 100, 8)]);
        let open = HashMap::from([(current.stream.clone(), 4)]);
        let victim = choose(&[small, current, old.clone()], &open).expect("a victim");
        assert_eq!(
            (victim.stream, victim.next_seq, victim.is_last),
            (old.stream, 9, true)
        );
    }

    #[test]
    fn what_has_been_consumed_goes_before_what_has_not() {
        let mut events = holding(1, Kind::Events, &[(0, 10, 9), (5, 10, 10)]);
        events.consumed = 5;
        let samples = holding(1, Kind::Samples, &[(0, 100, 1), (4, 100, 2)]);
        let victim = choose(&[samples, events.clone()], &HashMap::new()).expect("a victim");
        assert_eq!(victim.stream, events.stream);
    }

    #[test]
    fn the_tail_of_a_stream_that_may_grow_is_kept() {
        let open = holding(1, Kind::Samples, &[(3, 100, 1)]);
        let tails = HashMap::from([(open.stream.clone(), 3)]);
        assert_eq!(choose(std::slice::from_ref(&open), &tails), None);
        assert_eq!(choose(&[open], &HashMap::new()), None, "its end is unknown");
    }
}
