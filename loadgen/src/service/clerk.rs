//! Lets requests into the [`Station`] and tells them when they were served.
//!
//! One thread sleeps until the next end; every newcomer also brings the station up to date. Time is
//! the active time of the service's clock, so nothing is served during a stall.

use std::num::NonZeroU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::clock::ServiceClock;
use super::station::{Rules, Served, Station};

/// The longest that the thread sleeps without looking.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// When a request had its slot, in nanoseconds since the service's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) started_ns: u64,
    pub(crate) ended_ns: u64,
}

/// What the station holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) serving: usize,
    pub(crate) waiting: usize,
    pub(crate) most_serving: usize,
}

/// The station's clerk, shared by all threads.
#[derive(Debug)]
pub(crate) struct Clerk {
    clock: Arc<ServiceClock>,
    desk: Mutex<Desk>,
    sooner: Condvar,
}

#[derive(Debug)]
struct Desk {
    station: Station<oneshot::Sender<Slot>>,
    /// When the thread looks next, in active time.
    wakes_ns: u64,
    stopped: bool,
}

impl Clerk {
    pub(crate) fn new(clock: Arc<ServiceClock>, rules: Rules) -> Self {
        let desk = Desk {
            station: Station::new(rules),
            wakes_ns: 0,
            stopped: false,
        };
        Self {
            clock,
            desk: Mutex::new(desk),
            sooner: Condvar::new(),
        }
    }

    /// A request asks for a slot; `None` when the queue is full.
    pub(crate) fn enter(&self, service: Duration) -> Option<oneshot::Receiver<Slot>> {
        let (sender, receiver) = oneshot::channel();
        let mut desk = self.lock();
        self.bring_up_to_date(&mut desk);
        let entered = desk.station.arrive(service.as_nanos() as f64, sender);
        let next_ns = desk.station.next_end_ns().unwrap_or(u64::MAX);
        if next_ns < desk.wakes_ns {
            self.sooner.notify_one();
        }
        entered.is_ok().then_some(receiver)
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        let desk = self.lock();
        Occupancy {
            serving: desk.station.serving(),
            waiting: desk.station.waiting(),
            most_serving: desk.station.most_serving(),
        }
    }

    /// The thread: tells requests that they were served, until [`Clerk::stop`].
    pub(crate) fn run(&self) {
        // The default slack of 50 µs would be a good part of a short service time.
        if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
            tracing::debug!("the timer slack stays as it is: {error}");
        }
        let mut desk = self.lock();
        while !desk.stopped {
            let now_ns = self.bring_up_to_date(&mut desk);
            let wait = match desk.station.next_end_ns() {
                Some(end_ns) => {
                    desk.wakes_ns = end_ns;
                    let wall_ns = self.clock.wall_ns(end_ns);
                    Duration::from_nanos(wall_ns.saturating_sub(now_ns))
                }
                None => {
                    desk.wakes_ns = u64::MAX;
                    LONGEST_SLEEP
                }
            };
            (desk, _) = self
                .sooner
                .wait_timeout(desk, wait.min(LONGEST_SLEEP))
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.sooner.notify_one();
    }

    /// Brings the station to the present, which is returned in wall time.
    fn bring_up_to_date(&self, desk: &mut Desk) -> u64 {
        let now_ns = self.clock.now_ns();
        let clock = &self.clock;
        desk.station.advance(clock.active_ns(now_ns), |served| {
            let Served {
                job,
                started_ns,
                ended_ns,
            } = served;
            let slot = Slot {
                started_ns: clock.wall_ns(started_ns),
                ended_ns: clock.wall_ns(ended_ns),
            };
            // Whoever hung up meanwhile still had the slot, as it is with real services.
            let _ = job.send(slot);
        });
        now_ns
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        // Nothing in here panics between two states of the desk.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
