//! Waiting: for readiness of connections, for a time, and for others on the same thread.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::Timespec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::elsewhere::Elsewhere;
use super::timer::{LEAD, TIMER_TOKEN, Timer};

/// Events taken at once.
const MOST_EVENTS: usize = 256;

/// Whether to sleep until there is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

/// Until when to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    /// Something that may be a little late.
    pub(crate) coarse: Instant,
    /// Something that must not: its last stretch is spun away, while I/O stays served.
    pub(crate) precise: Option<Instant>,
}

impl Until {
    /// When to be awake; none where that is now.
    fn wake(self, now: Instant) -> Option<Instant> {
        let precise = self.precise.map(|at| at.checked_sub(LEAD).unwrap_or(now));
        let wake = precise.map_or(self.coarse, |at| at.min(self.coarse));
        (wake > now).then_some(wake)
    }
}

/// An epoll instance, its timer, and the events taken last.
pub(crate) struct Events {
    epoll: Rc<OwnedFd>,
    timer: Timer,
    /// Where others share the thread, their runtime waits for all; otherwise nothing stands between
    /// the worker and the kernel.
    shared: Option<AsyncFd<Rc<OwnedFd>>>,
    taken: Vec<Event>,
}

impl Events {
    /// Must be made within the runtime where the thread is shared.
    pub(crate) fn new(is_shared: bool) -> io::Result<Self> {
        let epoll = Rc::new(epoll::create(CreateFlags::CLOEXEC)?);
        let timer = Timer::new(&*epoll)?;
        let shared = match is_shared {
            true => Some(readable(Rc::clone(&epoll))?),
            false => None,
        };
        Ok(Self {
            epoll,
            timer,
            shared,
            taken: Vec::with_capacity(MOST_EVENTS),
        })
    }

    /// Where connections are registered.
    pub(crate) fn epoll(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.epoll)
    }

    /// Waits until something is ready, a time has come, or a journey elsewhere has ended.
    pub(crate) async fn wait(
        &mut self,
        until: Until,
        elsewhere: Option<&mut Elsewhere>,
    ) -> io::Result<()> {
        if self.shared.is_some() {
            // Others have their turn, however much there is to do here.
            tokio::task::yield_now().await;
        }
        let Some(wake) = until.wake(Instant::now()) else {
            return self.take(Wait::No);
        };
        if self.shared.is_none() {
            self.timer.set(wake)?;
            return self.take(Wait::Yes);
        }
        self.take(Wait::No)?;
        if !self.taken.is_empty() {
            return Ok(());
        }
        self.timer.set(wake)?;
        self.wait_with_others(elsewhere).await
    }

    async fn wait_with_others(&mut self, elsewhere: Option<&mut Elsewhere>) -> io::Result<()> {
        let ended = async {
            match elsewhere {
                Some(elsewhere) => elsewhere.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(ended);
        loop {
            let shared = self.shared.as_ref().expect("the thread is shared");
            let mut ready = tokio::select! {
                ready = shared.readable() => ready?,
                () = &mut ended => return Ok(()),
            };
            take(&self.epoll, &mut self.taken, Wait::No)?;
            if !self.taken.is_empty() {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    fn take(&mut self, wait: Wait) -> io::Result<()> {
        take(&self.epoll, &mut self.taken, wait)
    }

    /// What was ready, as token and flags; the timer's own event is kept here.
    pub(crate) fn drain(&mut self, into: &mut Vec<(u64, EventFlags)>) {
        for event in self.taken.drain(..) {
            match event.data.u64() {
                TIMER_TOKEN => self.timer.fired(),
                token => into.push((token, event.flags)),
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, which is forbidden here; what it asks for holds: the \
              descriptor is owned, and neither closed nor replaced while it is registered"
)]
fn readable(epoll: Rc<OwnedFd>) -> io::Result<AsyncFd<Rc<OwnedFd>>> {
    AsyncFd::with_interest(epoll, Interest::READABLE)
}

fn take(epoll: &OwnedFd, into: &mut Vec<Event>, wait: Wait) -> io::Result<()> {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let timeout = (wait == Wait::No).then_some(&at_once);
    into.clear();
    match epoll::wait(epoll, spare_capacity(into), timeout) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_must_not_be_late_is_awaited_early() {
        let now = Instant::now();
        let after = |us| now + Duration::from_micros(us);
        let until = |coarse, precise: Option<u64>| Until {
            coarse: after(coarse),
            precise: precise.map(after),
        };
        assert_eq!(until(500, None).wake(now), Some(after(500)));
        assert_eq!(until(0, None).wake(now), None);
        assert_eq!(until(500, Some(400)).wake(now), Some(after(320)));
        assert_eq!(until(100, Some(400)).wake(now), Some(after(100)));
        assert_eq!(until(500, Some(80)).wake(now), None);
    }
}
