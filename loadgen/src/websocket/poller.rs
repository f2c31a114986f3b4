//! The worker's own poller: one epoll instance with all its sockets and one timer, awaited as a
//! single descriptor by the runtime. Thus a connection costs no task, no waker and no timer.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Events that are taken together; more wait for the next round, so that other tasks of the thread
/// have their turn in between.
pub(crate) const EVENTS: usize = 256;
/// The timer's own mark; no slot has it.
const TIMER: u64 = u64::MAX;

/// What has happened to a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// The mark under which the socket was added.
    pub(crate) mark: u64,
    /// Room to write, or an error.
    pub(crate) write: bool,
    /// Something to read, the end, or an error.
    pub(crate) read: bool,
    /// The peer has ended, or an error: there is something to read even after a short read.
    pub(crate) hung_up: bool,
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, because a type could close its descriptor while it is \
              watched; an `OwnedFd` that nothing takes out again cannot"
)]
fn watched(epoll: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(epoll, Interest::READABLE)
}

/// Sockets and a timer.
pub(crate) struct Poller {
    epoll: AsyncFd<OwnedFd>,
    timer: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    /// Must be made within a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        epoll::add(
            &epoll,
            &timer,
            EventData::new_u64(TIMER),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Self {
            epoll: watched(epoll)?,
            timer,
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Watches a socket until it is closed. Only changes are told, so that it must be read and
    /// written until it would wait.
    pub(crate) fn add(&self, socket: BorrowedFd<'_>, mark: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(
            self.epoll.get_ref(),
            socket,
            EventData::new_u64(mark),
            flags,
        )?;
        Ok(())
    }

    /// Makes [`Self::ready`] return after a while.
    pub(crate) fn arm(&self, after: Duration) -> io::Result<()> {
        // A time of zero would switch the timer off.
        let after = after.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: after.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Waits for a socket or the timer.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        // Cleared before events are taken: what comes afterwards makes it ready again.
        self.epoll.readable().await?.clear_ready();
        Ok(())
    }

    /// Takes what has happened, without waiting, into `ready`; whether there may be more.
    pub(crate) fn take(&mut self, ready: &mut Vec<Ready>) -> io::Result<bool> {
        self.events.clear();
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        let count = match epoll::wait(self.epoll.get_ref(), buffer, Some(&now)) {
            Err(rustix::io::Errno::INTR) => return Ok(true),
            other => other?,
        };
        let failed = EventFlags::ERR | EventFlags::HUP;
        ready.extend(self.events.iter().filter_map(|event| {
            let (mark, flags) = (event.data.u64(), event.flags);
            (mark != TIMER).then_some(Ready {
                mark,
                write: flags.intersects(EventFlags::OUT | failed),
                read: flags.intersects(EventFlags::IN | EventFlags::RDHUP | failed),
                hung_up: flags.intersects(EventFlags::RDHUP | failed),
            })
        }));
        Ok(count == EVENTS)
    }
}
