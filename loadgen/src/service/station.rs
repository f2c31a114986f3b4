//! The place where requests are served: so many at a time, the rest in a queue, each slowed by the
//! others as the Universal Scalability Law says.
//!
//! With n requests in service, each of service time s progresses at the rate 1/f(n), where
//! f(n) = 1 + α(n−1) + βn(n−1); so the throughput at n is
//!
//! ```text
//! X(n) = n / (s · (1 + α(n−1) + βn(n−1)))
//! ```
//!
//! which is the law of N. J. Gunther ("A Simple Capacity Model for Massively Parallel Transaction
//! Systems", CMG 1993; *Guerrilla Capacity Planning*, 2007) with α for contention and β for coherency.
//! The knee is at n* = √((1−α)/β). Work is kept in virtual time, which runs at 1/f(n): what is left of
//! every request is then exact however n changes meanwhile.
//!
//! This is a pure state machine over times in nanoseconds. Ends are computed, not observed: a request
//! that leaves the queue starts at the exact end of the one before it, however late the machine is
//! asked, so throughput under load does not depend on the timers. Waking at the right time is left to
//! `clerk`.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// How much is served at a time, and how requests slow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rules {
    /// Requests in service at the same time.
    pub(crate) capacity: usize,
    /// Requests that wait at most.
    pub(crate) queue: usize,
    /// α.
    pub(crate) contention: f64,
    /// β.
    pub(crate) coherency: f64,
}

/// The factor by which each of `n` requests in service is slower than a lone one.
pub(crate) fn slowing(rules: &Rules, n: usize) -> f64 {
    let others = n.saturating_sub(1) as f64;
    1.0 + rules.contention * others + rules.coherency * n as f64 * others
}

/// A request that was served.
#[derive(Debug, PartialEq)]
pub(crate) struct Served<T> {
    pub(crate) job: T,
    pub(crate) started_ns: u64,
    pub(crate) ended_ns: u64,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Station<T> {
    rules: Rules,
    /// Virtual time, in nanoseconds of a lone request's service.
    virtual_ns: f64,
    now_ns: u64,
    next_sequence: u64,
    serving: BinaryHeap<Serving<T>>,
    waiting: VecDeque<Waiting<T>>,
    most_serving: usize,
}

#[derive(Debug)]
struct Serving<T> {
    ends_virtual_ns: f64,
    sequence: u64,
    started_ns: u64,
    job: T,
}

#[derive(Debug)]
struct Waiting<T> {
    service_ns: f64,
    job: T,
}

impl<T> Station<T> {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            virtual_ns: 0.0,
            now_ns: 0,
            next_sequence: 0,
            serving: BinaryHeap::new(),
            waiting: VecDeque::new(),
            most_serving: 0,
        }
    }

    /// A request comes, to be advanced to first; it is given back when the queue is full.
    pub(crate) fn arrive(&mut self, service_ns: f64, job: T) -> Result<(), T> {
        if self.serving.len() < self.rules.capacity {
            self.start(service_ns, job);
            return Ok(());
        }
        if self.waiting.len() >= self.rules.queue {
            return Err(job);
        }
        self.waiting.push_back(Waiting { service_ns, job });
        Ok(())
    }

    /// Moves time on, and gives out whatever has ended by then.
    pub(crate) fn advance(&mut self, now_ns: u64, mut ended: impl FnMut(Served<T>)) {
        while let Some(end_ns) = self.next_end_ns() {
            if end_ns > now_ns {
                break;
            }
            let served = self
                .serving
                .pop()
                .expect("next_end_ns saw a request in service");
            self.virtual_ns = served.ends_virtual_ns;
            self.now_ns = end_ns;
            if self.serving.is_empty() {
                // Starting again at zero keeps virtual time precise over days.
                self.virtual_ns = 0.0;
            }
            if let Some(next) = self.waiting.pop_front() {
                self.start(next.service_ns, next.job);
            }
            ended(Served {
                job: served.job,
                started_ns: served.started_ns,
                ended_ns: end_ns,
            });
        }
        let passed = now_ns.saturating_sub(self.now_ns) as f64;
        if !self.serving.is_empty() {
            self.virtual_ns += passed / slowing(&self.rules, self.serving.len());
        }
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// When the next request ends, if none comes before.
    pub(crate) fn next_end_ns(&self) -> Option<u64> {
        let first = self.serving.peek()?;
        let left = (first.ends_virtual_ns - self.virtual_ns).max(0.0);
        let wall = left * slowing(&self.rules, self.serving.len());
        Some(self.now_ns.saturating_add(wall.ceil() as u64))
    }

    pub(crate) fn serving(&self) -> usize {
        self.serving.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The most that were ever in service at a time.
    pub(crate) fn most_serving(&self) -> usize {
        self.most_serving
    }

    fn start(&mut self, service_ns: f64, job: T) {
        self.serving.push(Serving {
            ends_virtual_ns: self.virtual_ns + service_ns,
            sequence: self.next_sequence,
            started_ns: self.now_ns,
            job,
        });
        self.next_sequence += 1;
        self.most_serving = self.most_serving.max(self.serving.len());
    }
}

// A binary heap gives the greatest first, so the earliest end is made the greatest.
impl<T> Ord for Serving<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .ends_virtual_ns
            .total_cmp(&self.ends_virtual_ns)
            .then(other.sequence.cmp(&self.sequence))
    }
}

impl<T> PartialOrd for Serving<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Serving<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Serving<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        capacity: 2,
        queue: 2,
        contention: 0.0,
        coherency: 0.0,
    };

    fn ends(station: &mut Station<u32>, now_ns: u64) -> Vec<(u32, u64, u64)> {
        let mut ended = Vec::new();
        station.advance(now_ns, |s| ended.push((s.job, s.started_ns, s.ended_ns)));
        ended
    }

    #[test]
    fn the_queue_is_first_in_first_out_and_bounded() {
        let mut station = Station::new(RULES);
        for job in 0..4 {
            assert_eq!(station.arrive(100.0, job), Ok(()));
        }
        assert_eq!(station.arrive(100.0, 4), Err(4));
        assert_eq!((station.serving(), station.waiting()), (2, 2));
        assert_eq!(ends(&mut station, 99), []);
        // Asked late, it still tells the exact times.
        assert_eq!(
            ends(&mut station, 1_000),
            [(0, 0, 100), (1, 0, 100), (2, 100, 200), (3, 100, 200)]
        );
        assert_eq!(station.most_serving(), 2);
        assert_eq!(station.next_end_ns(), None);
    }

    #[test]
    fn a_newcomer_slows_what_is_already_in_service() {
        let mut station = Station::new(Rules {
            contention: 1.0,
            ..RULES
        });
        station.arrive(100.0, 0).expect("there is room");
        assert_eq!(ends(&mut station, 50), []);
        station.arrive(100.0, 1).expect("there is room");
        // 50 are left at half the speed; then 50 of the newcomer's at full speed.
        assert_eq!(ends(&mut station, 1_000), [(0, 0, 150), (1, 50, 200)]);
    }

    #[test]
    fn throughput_follows_the_law() {
        for n in [1usize, 4, 16, 40] {
            let rules = Rules {
                capacity: n,
                queue: 100_000,
                contention: 0.03,
                coherency: 0.0005,
            };
            let mut station = Station::new(rules);
            for job in 0..20_000u32 {
                // Staggered service times of mean 1 ms, so that ends do not come in groups.
                let service_ns = 1e6 + f64::from(job % 7) * 1e5 - 3e5;
                station.arrive(service_ns, job).expect("the queue has room");
            }
            let ended = ends(&mut station, 10_000_000_000).len() as f64;
            let law = n as f64 / (1e-3 * slowing(&rules, n)) * 10.0;
            let expected = law.min(20_000.0);
            assert!(
                (ended / expected - 1.0).abs() < 0.01,
                "{n}: {ended} of {expected}"
            );
        }
    }
}
