//! One timer per thread, for waits finer than the runtime's millisecond: a heap of deadlines over one
//! `timerfd`, which wakes within some tens of microseconds on an idle machine.
//!
//! Every sleep belongs to the thread that made it. What is slept for is left to others.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// The timer of a thread; [`Timer::drive`] must run for sleeps to end.
#[derive(Debug)]
pub(crate) struct Timer {
    descriptor: AsyncFd<OwnedFd>,
    sleeping: RefCell<BinaryHeap<Sleeping>>,
    next_sequence: Cell<u64>,
}

#[derive(Debug)]
struct Sleeping {
    deadline: Instant,
    sequence: u64,
    waker: Waker,
}

/// Ends at its deadline. It is to be awaited by one task, because it remembers one waker.
#[derive(Debug)]
pub(crate) struct Sleep {
    timer: Rc<Timer>,
    deadline: Instant,
    registered: bool,
}

impl Timer {
    /// A timer of the runtime in whose context this is called.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let descriptor = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, asking that the descriptor be neither replaced nor closed \
                      while it is registered; an owned one that never leaves this struct is neither"
        )]
        let descriptor = AsyncFd::new(descriptor)?;
        Ok(Rc::new(Self {
            descriptor,
            sleeping: RefCell::default(),
            next_sequence: Cell::new(0),
        }))
    }

    /// Wakes whoever is due, for ever.
    pub(crate) async fn drive(self: Rc<Self>) -> io::Result<()> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            let mut expirations = [0; 8];
            match rustix::io::read(ready.get_inner(), &mut expirations) {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
            self.wake_due()?;
        }
    }

    /// Sleeps until a time; not at all if it has passed.
    pub(crate) fn sleep_until(self: &Rc<Self>, deadline: Instant) -> Sleep {
        Sleep {
            timer: Rc::clone(self),
            deadline,
            registered: false,
        }
    }

    fn wake_due(&self) -> io::Result<()> {
        let mut sleeping = self.sleeping.borrow_mut();
        let now = Instant::now();
        while sleeping.peek().is_some_and(|first| first.deadline <= now) {
            if let Some(due) = sleeping.pop() {
                due.waker.wake();
            }
        }
        match sleeping.peek() {
            Some(next) => self.arm(next.deadline.saturating_duration_since(now)),
            None => Ok(()),
        }
    }

    fn register(&self, deadline: Instant, waker: Waker) -> io::Result<()> {
        let mut sleeping = self.sleeping.borrow_mut();
        let earliest = sleeping
            .peek()
            .is_none_or(|first| deadline < first.deadline);
        let sequence = self.next_sequence.replace(self.next_sequence.get() + 1);
        sleeping.push(Sleeping {
            deadline,
            sequence,
            waker,
        });
        match earliest {
            true => self.arm(deadline.saturating_duration_since(Instant::now())),
            false => Ok(()),
        }
    }

    fn arm(&self, time: Duration) -> io::Result<()> {
        // A time of zero would disarm it.
        let time = time.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(time)
                .map_err(|_| io::Error::other("a sleep is too long for the system's timer"))?,
        };
        timerfd_settime(self.descriptor.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl Future for Sleep {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(Ok(()));
        }
        if !self.registered {
            self.registered = true;
            if let Err(error) = self.timer.register(self.deadline, cx.waker().clone()) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }
}

// A binary heap gives the greatest first, so the earliest deadline is made the greatest.
impl Ord for Sleeping {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .deadline
            .cmp(&self.deadline)
            .then(other.sequence.cmp(&self.sequence))
    }
}

impl PartialOrd for Sleeping {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeping {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Sleeping {}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::{Builder, LocalOptions};

    #[test]
    fn the_earliest_deadline_comes_first() {
        let start = Instant::now();
        let mut sleeping: BinaryHeap<Sleeping> = [(9, 0), (1, 1), (1, 2), (5, 3)]
            .map(|(us, sequence)| Sleeping {
                deadline: start + Duration::from_micros(us),
                sequence,
                waker: Waker::noop().clone(),
            })
            .into();
        let order: Vec<u64> =
            std::iter::from_fn(|| sleeping.pop().map(|next| next.sequence)).collect();
        assert_eq!(order, [1, 2, 3, 0]);
    }

    #[test]
    fn every_sleep_ends_and_none_early() {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .expect("a runtime");
        runtime.block_on(async {
            let timer = Timer::new().expect("a timer");
            tokio::task::spawn_local(Rc::clone(&timer).drive());
            let start = Instant::now();
            let tasks = [900u64, 100, 0, 2_500, 300].map(|us| {
                let timer = Rc::clone(&timer);
                tokio::task::spawn_local(async move {
                    let deadline = start + Duration::from_micros(us);
                    timer.sleep_until(deadline).await.expect("a sleep");
                    assert!(Instant::now() >= deadline);
                })
            });
            for task in tasks {
                task.await.expect("a task");
            }
        });
    }
}
