//! Pauses of users: one timer of the system for all of a worker. The runtime's own timer wakes at
//! whole milliseconds, which would stand in every response time after a pause.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use crate::clock::RunClock;

/// A timer set to nothing is off, so that what is due now is due in a nanosecond.
const SOONEST_NS: u64 = 1;

/// The pauses of a worker's users.
#[derive(Debug)]
pub(crate) struct Pauses {
    clock: RunClock,
    timer: OnceCell<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    shared: Rc<Shared>,
    waking: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    clock: RunClock,
    timer: AsyncFd<OwnedFd>,
    pauses: RefCell<BinaryHeap<Reverse<Pause>>>,
}

#[derive(Debug)]
struct Pause {
    due_ns: u64,
    state: Rc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Pauses {
    /// Nothing is made until the first pause.
    pub(crate) fn new(clock: RunClock) -> Self {
        Self {
            clock,
            timer: OnceCell::new(),
        }
    }

    /// Waits until a time on the run's clock.
    pub(crate) async fn until(&self, due_ns: u64) {
        if self.clock.now_ns() >= due_ns {
            // A user without a pause must not keep the others from the thread.
            return tokio::task::yield_now().await;
        }
        let Some(running) = self.timer.get_or_init(|| self.start()) else {
            return sleep_until(Instant::from_std(self.clock.instant(due_ns))).await;
        };
        let state = running.shared.add(due_ns);
        poll_fn(|cx| {
            if state.is_over.get() {
                return Poll::Ready(());
            }
            *state.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn start(&self) -> Option<Running> {
        match Shared::new(self.clock) {
            Ok(shared) => {
                let shared = Rc::new(shared);
                let waking = spawn_local(wake(Rc::clone(&shared))).abort_handle();
                Some(Running { shared, waking })
            }
            Err(error) => {
                tracing::warn!(%error, "no timer for pauses, they end up to a millisecond late");
                None
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.waking.abort();
    }
}

impl Shared {
    fn new(clock: RunClock) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that may close their descriptor early; an \
                      OwnedFd keeps it open for as long as it lives"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self {
            clock,
            timer,
            pauses: RefCell::default(),
        })
    }

    fn add(&self, due_ns: u64) -> Rc<State> {
        let state = Rc::new(State::default());
        let mut pauses = self.pauses.borrow_mut();
        let is_first = pauses.peek().is_none_or(|first| due_ns < first.0.due_ns);
        pauses.push(Reverse(Pause {
            due_ns,
            state: Rc::clone(&state),
        }));
        drop(pauses);
        if is_first {
            self.set(due_ns);
        }
        state
    }

    fn set(&self, due_ns: u64) {
        let wait_ns = due_ns.saturating_sub(self.clock.now_ns()).max(SOONEST_NS);
        let wait = Timespec::try_from(Duration::from_nanos(wait_ns)).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: wait,
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)
            .expect("the descriptor is a timer's and the time is valid");
    }

    /// Ends all pauses that are over, and sets the timer to the next one's end.
    fn end_due(&self) {
        let now_ns = self.clock.now_ns();
        let mut pauses = self.pauses.borrow_mut();
        while let Some(Reverse(first)) = pauses.peek() {
            if first.due_ns > now_ns {
                let due_ns = first.due_ns;
                drop(pauses);
                return self.set(due_ns);
            }
            let Some(Reverse(pause)) = pauses.pop() else {
                return;
            };
            pause.state.is_over.set(true);
            if let Some(waker) = pause.state.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

async fn wake(shared: Rc<Shared>) {
    loop {
        match shared.timer.readable().await {
            Ok(mut ready) => {
                let mut expirations = [0; 8];
                // Nothing to read means that the timer was set again meanwhile.
                let _ = rustix::io::read(shared.timer.get_ref(), &mut expirations);
                ready.clear_ready();
            }
            Err(error) => {
                // The runtime ends, and with it every pause.
                tracing::debug!(%error, "the timer of pauses has ended");
                return;
            }
        }
        shared.end_due();
    }
}

impl PartialEq for Pause {
    fn eq(&self, other: &Self) -> bool {
        self.due_ns == other.due_ns
    }
}

impl Eq for Pause {}

impl PartialOrd for Pause {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pause {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due_ns.cmp(&other.due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_early_and_never_waits_for_a_longer_one() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let clock = RunClock::starting_in(Duration::ZERO);
        let pauses = Pauses::new(clock);
        let test = async {
            for ms in [6, 3, 9, 0] {
                let due_ns = clock.now_ns() + ms * 1_000_000;
                tokio::select! {
                    biased;
                    () = pauses.until(u64::MAX / 2) => unreachable!("it lasts for centuries"),
                    () = pauses.until(due_ns) => assert!(clock.now_ns() >= due_ns),
                }
            }
        };
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }
}
