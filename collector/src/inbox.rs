//! The bounded queue between the ticking thread and the writing thread, so that a slow disk costs
//! memory, never ticks.
//!
//! When it is full the oldest samples go; what went is remembered until it can be told.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftline_schemas::{Event, SampleBatch};

/// Most events that wait in memory; then the oldest go.
const MAX_EVENTS: usize = 4_096;

/// The samples of one tick.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TickSamples {
    pub(crate) ts_us: i64,
    pub(crate) batch: SampleBatch,
}

/// Ticks that were collected and dropped, because memory had no room for them either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) blocks: u64,
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Queue {
    samples: VecDeque<TickSamples>,
    events: VecDeque<Event>,
    lost: Option<Lost>,
    lost_in_all: u64,
    closed: bool,
    broken: bool,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    changed: Condvar,
    max_samples: usize,
}

/// What the writer is to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Work {
    Events(Vec<Event>),
    Samples(TickSamples),
    /// Nothing waits and nothing will come.
    Done,
}

impl Inbox {
    /// A queue for the samples of so many ticks.
    pub(crate) fn new(max_samples: usize) -> Self {
        Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            max_samples,
        }
    }

    pub(crate) fn push_samples(&self, samples: TickSamples) {
        let mut queue = self.lock();
        queue.samples.push_back(samples);
        queue.make_room(self.max_samples);
        self.changed.notify_all();
    }

    pub(crate) fn push_events(&self, events: impl IntoIterator<Item = Event>) {
        let mut queue = self.lock();
        queue.events.extend(events);
        while queue.events.len() > MAX_EVENTS {
            queue.events.pop_front();
        }
        self.changed.notify_all();
    }

    /// Nothing more will be pushed.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The writer gave up.
    pub(crate) fn give_up(&self) {
        self.lock().broken = true;
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.lock().broken
    }

    pub(crate) fn queued_samples(&self) -> usize {
        self.lock().samples.len()
    }

    /// Waits for work. Events come first: they are few, and explain the samples.
    pub(crate) fn next(&self) -> Work {
        let mut queue = self.lock();
        loop {
            if !queue.events.is_empty() {
                return Work::Events(queue.events.drain(..).collect());
            }
            if let Some(samples) = queue.samples.pop_front() {
                return Work::Samples(samples);
            }
            if queue.closed {
                return Work::Done;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes back work that could not be done, to the front.
    pub(crate) fn put_back(&self, work: Work) {
        let mut queue = self.lock();
        match work {
            Work::Events(events) => {
                for event in events.into_iter().rev() {
                    queue.events.push_front(event);
                }
                queue.events.truncate(MAX_EVENTS);
            }
            Work::Samples(samples) => {
                queue.samples.push_front(samples);
                queue.make_room(self.max_samples);
            }
            Work::Done => {}
        }
    }

    /// What was lost since the last call.
    pub(crate) fn take_lost(&self) -> Option<Lost> {
        self.lock().lost.take()
    }

    /// Blocks lost since the beginning.
    pub(crate) fn lost_in_all(&self) -> u64 {
        self.lock().lost_in_all
    }

    /// Waits before another attempt; returns at once when the queue is or gets closed.
    pub(crate) fn pause(&self, at_most: Duration) {
        let queue = self.lock();
        let open = |queue: &mut Queue| !queue.closed;
        // Its outcome does not matter: the caller tries again in either case.
        drop(self.changed.wait_timeout_while(queue, at_most, open));
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is complete before anything could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn make_room(&mut self, max_samples: usize) {
        while self.samples.len() > max_samples {
            let Some(oldest) = self.samples.pop_front() else {
                return;
            };
            let ts_us = oldest.ts_us;
            let lost = self.lost.get_or_insert(Lost {
                blocks: 0,
                first_us: ts_us,
                last_us: ts_us,
            });
            lost.blocks += 1;
            self.lost_in_all += 1;
            lost.first_us = lost.first_us.min(ts_us);
            lost.last_us = lost.last_us.max(ts_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftline_schemas::{Component, EventName};

    fn samples(ts_us: i64) -> TickSamples {
        TickSamples {
            ts_us,
            batch: SampleBatch::default(),
        }
    }

    fn event(ts_us: i64) -> Event {
        let (name, component) = (EventName::Marked, Component::Driftline);
        Event {
            ts_us,
            name,
            component,
            subject: String::new(),
            message: String::new(),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_go_and_are_remembered() {
        let inbox = Inbox::new(2);
        for ts_us in 1..=5 {
            inbox.push_samples(samples(ts_us));
        }
        assert_eq!(
            inbox.take_lost(),
            Some(Lost {
                blocks: 3,
                first_us: 1,
                last_us: 3
            })
        );
        assert_eq!(inbox.take_lost(), None);
        assert_eq!(inbox.next(), Work::Samples(samples(4)));
        inbox.push_samples(samples(6));
        inbox.put_back(Work::Samples(samples(4)));
        assert_eq!(
            inbox.take_lost(),
            Some(Lost {
                blocks: 1,
                first_us: 4,
                last_us: 4
            })
        );
        assert_eq!(inbox.queued_samples(), 2);
    }

    #[test]
    fn events_come_first_and_work_ends_after_closing() {
        let inbox = Inbox::new(2);
        inbox.push_samples(samples(1));
        inbox.push_events([event(1), event(2)]);
        let events = inbox.next();
        assert_eq!(events, Work::Events(vec![event(1), event(2)]));
        inbox.push_events([event(3)]);
        inbox.put_back(events);
        assert_eq!(
            inbox.next(),
            Work::Events(vec![event(1), event(2), event(3)])
        );
        inbox.close();
        assert_eq!(inbox.next(), Work::Samples(samples(1)));
        assert_eq!(inbox.next(), Work::Done);
        inbox.pause(Duration::from_secs(60));
    }

    #[test]
    fn events_are_bounded_too() {
        let inbox = Inbox::new(1);
        inbox.push_events((0..2 * MAX_EVENTS as i64).map(event));
        let Work::Events(events) = inbox.next() else {
            panic!("events wait")
        };
        assert_eq!(
            (events.len(), events[0].ts_us),
            (MAX_EVENTS, MAX_EVENTS as i64)
        );
    }
}
