//! The streams of one connection. A stream's place follows from its number; a number whose place is
//! still taken is left out, which HTTP/2 allows (RFC 9113, 5.1.1), so that none is ever looked for.

use crate::client::Job;
use crate::operation::{Failure, NEVER_NS, Operation};

/// Places at first.
const PLACES_AT_FIRST: usize = 64;

/// Numbers from here on are left to the next connection: half of all there are.
const LAST_ID: u32 = 1 << 30;

/// A job and what is known of it beside its present stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) job: Job,
    /// When it was first sent.
    pub(crate) sent_ns: u64,
    pub(crate) has_retried: bool,
}

/// One request under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    /// 0 where the place is free.
    pub(crate) id: u32,
    pub(crate) work: Work,
    pub(crate) first_byte_ns: u64,
    /// 0 until the head of the answer came.
    pub(crate) status: u16,
    /// Of the body, where the head gives it.
    pub(crate) length: Option<u64>,
    /// Of the body, received.
    pub(crate) bytes: u64,
    /// Received since the last update of the window.
    pub(crate) unacknowledged: u64,
    /// What may be sent.
    pub(crate) window: i64,
    /// How much of the request's body is sent.
    pub(crate) body_at: usize,
}

/// The streams under way.
#[derive(Debug)]
pub(crate) struct Streams {
    /// As many as a power of two, and never more than half taken.
    places: Vec<Stream>,
    live: usize,
    next_id: u32,
}

impl Work {
    pub(crate) fn new(job: Job) -> Self {
        Self {
            job,
            sent_ns: NEVER_NS,
            has_retried: false,
        }
    }
}

impl Stream {
    const FREE: Self = Self {
        id: 0,
        work: Work {
            job: Job {
                request: 0,
                user: None,
                intended_ns: 0,
            },
            sent_ns: NEVER_NS,
            has_retried: false,
        },
        first_byte_ns: NEVER_NS,
        status: 0,
        length: None,
        bytes: 0,
        unacknowledged: 0,
        window: 0,
        body_at: 0,
    };

    /// A work that is on no stream.
    pub(crate) fn none(work: Work) -> Self {
        Self { work, ..Self::FREE }
    }

    /// What it came to.
    pub(crate) fn operation(
        &self,
        endpoint: u32,
        done_ns: u64,
        failure: Option<Failure>,
    ) -> Operation {
        Operation {
            endpoint,
            status: self.status,
            failure,
            intended_ns: self.work.job.intended_ns,
            sent_ns: self.work.sent_ns,
            first_byte_ns: self.first_byte_ns,
            done_ns,
            bytes: self.bytes,
        }
    }
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            live: 0,
            next_id: 1,
        }
    }

    /// How many are under way.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Whether there was any.
    pub(crate) fn has_opened(&self) -> bool {
        self.next_id > 1
    }

    /// Whether there are numbers left for more.
    pub(crate) fn may_open(&self) -> bool {
        self.next_id < LAST_ID
    }

    /// Whether a stream of this number was ever opened, or left out.
    pub(crate) fn is_past(&self, id: u32) -> bool {
        id % 2 == 1 && id < self.next_id
    }

    /// Opens the next one.
    pub(crate) fn open(&mut self, work: Work, window: i64) -> u32 {
        if 2 * (self.live + 1) > self.places.len() {
            self.grow();
        }
        while self.places[self.place(self.next_id)].id != 0 {
            self.next_id += 2;
        }
        let id = self.next_id;
        self.next_id += 2;
        self.live += 1;
        let place = self.place(id);
        self.places[place] = Stream {
            id,
            window,
            ..Stream::none(work)
        };
        id
    }

    pub(crate) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id);
        self.places
            .get_mut(place)
            .filter(|stream| stream.id == id && id != 0)
    }

    /// Ends one.
    pub(crate) fn take(&mut self, id: u32) -> Option<Stream> {
        let stream = self.get(id)?;
        let taken = *stream;
        stream.id = 0;
        self.live -= 1;
        Some(taken)
    }

    /// Those under way, in no order that means anything.
    pub(crate) fn iter(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.places.iter_mut().filter(|stream| stream.id != 0)
    }

    fn place(&self, id: u32) -> usize {
        (id >> 1) as usize & self.places.len().wrapping_sub(1)
    }

    /// Two numbers whose places differ have different places among twice as many, too.
    fn grow(&mut self) {
        let count = (2 * self.places.len()).max(PLACES_AT_FIRST);
        let before = std::mem::replace(&mut self.places, vec![Stream::FREE; count]);
        for stream in before.into_iter().filter(|stream| stream.id != 0) {
            let place = self.place(stream.id);
            self.places[place] = stream;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(request: u32) -> Work {
        Work::new(Job {
            request,
            ..Job::default()
        })
    }

    #[test]
    fn one_that_stays_is_gone_around() {
        let mut streams = Streams::new();
        assert!(streams.get(1).is_none());
        let stays = streams.open(work(7), 5);
        assert_eq!(stays, 1);
        for _ in 0..1_000 {
            let id = streams.open(work(1), 5);
            assert!(id % 2 == 1 && streams.is_past(id) && !streams.is_past(id + 2));
            assert_eq!(streams.take(id).map(|stream| stream.id), Some(id));
            assert!(streams.take(id).is_none());
        }
        assert_eq!(streams.places.len(), PLACES_AT_FIRST);
        assert_eq!(streams.get(stays).map(|stream| stream.work), Some(work(7)));
        assert_eq!((streams.live(), streams.get(0).is_none()), (1, true));
    }

    #[test]
    fn many_at_once_are_found() {
        let mut streams = Streams::new();
        let ids: Vec<u32> = (0..3_000).map(|at| streams.open(work(at), 0)).collect();
        for (&id, at) in ids.iter().zip(0..) {
            assert_eq!(streams.get(id).map(|stream| stream.work), Some(work(at)));
        }
        assert_eq!((streams.live(), streams.iter().count()), (3_000, 3_000));
        for &id in ids.iter().rev() {
            assert!(streams.take(id).is_some());
        }
        assert_eq!((streams.live(), streams.iter().count()), (0, 0));
    }
}
