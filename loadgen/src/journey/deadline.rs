//! Time limits of requests under way: one sleeping task for all of a worker, instead of one timer
//! per request. All requests are allowed equally long, so that the oldest is always the first to end.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use crate::clock::RunClock;

/// The end of a list.
const NONE: usize = usize::MAX;

/// The time has come before the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired;

/// The limits of all requests of a worker that are under way.
#[derive(Debug)]
pub(crate) struct Deadlines {
    shared: Rc<Shared>,
    sweeper: RefCell<Option<AbortHandle>>,
}

#[derive(Debug)]
struct Shared {
    clock: RunClock,
    timeout_ns: u64,
    list: RefCell<List>,
    begun: Notify,
}

/// One request's limit; it counts from when it was made.
#[derive(Debug)]
pub(crate) struct Deadline {
    shared: Rc<Shared>,
    at: usize,
}

/// A doubly linked list within a vector: in order of time, any element removed in constant time, and
/// no larger than the most requests that were ever under way at once.
#[derive(Debug)]
struct List {
    nodes: Vec<Node>,
    free: Vec<usize>,
    first: usize,
    last: usize,
}

#[derive(Debug)]
struct Node {
    due_ns: u64,
    before: usize,
    after: usize,
    is_expired: bool,
    waker: Option<Waker>,
}

impl Deadlines {
    /// Limits of `timeout_ns` each.
    pub(crate) fn new(clock: RunClock, timeout_ns: u64) -> Self {
        let shared = Shared {
            clock,
            timeout_ns,
            list: RefCell::new(List::default()),
            begun: Notify::new(),
        };
        Self {
            shared: Rc::new(shared),
            sweeper: RefCell::new(None),
        }
    }

    /// Begins a limit now.
    pub(crate) fn begin(&self) -> Deadline {
        let due_ns = self
            .shared
            .clock
            .now_ns()
            .saturating_add(self.shared.timeout_ns);
        let mut list = self.shared.list.borrow_mut();
        if list.first == NONE {
            self.shared.begun.notify_one();
        }
        let at = list.push(due_ns);
        drop(list);
        self.sweeper
            .borrow_mut()
            .get_or_insert_with(|| spawn_local(sweep(Rc::clone(&self.shared))).abort_handle());
        Deadline {
            shared: Rc::clone(&self.shared),
            at,
        }
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        if let Some(sweeper) = self.sweeper.get_mut() {
            sweeper.abort();
        }
    }
}

impl Deadline {
    /// The future's result, if it comes in time.
    pub(crate) async fn run<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            let mut list = self.shared.list.borrow_mut();
            let node = &mut list.nodes[self.at];
            if node.is_expired {
                return Poll::Ready(Err(Expired));
            }
            if !node
                .waker
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                node.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.shared.list.borrow_mut().remove(self.at);
    }
}

/// Sleeps until the oldest limit ends; limits begun meanwhile end later, so that it never has to be
/// woken for one.
async fn sweep(shared: Rc<Shared>) {
    loop {
        let due_ns = shared.list.borrow_mut().expire(shared.clock.now_ns());
        match due_ns {
            Some(due_ns) => {
                sleep_until(Instant::from_std(shared.clock.instant(due_ns))).await;
            }
            None => shared.begun.notified().await,
        }
    }
}

impl Default for List {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
        }
    }
}

impl List {
    fn push(&mut self, due_ns: u64) -> usize {
        let node = Node {
            due_ns,
            before: self.last,
            after: NONE,
            is_expired: false,
            waker: None,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        match self.last {
            NONE => self.first = at,
            last => self.nodes[last].after = at,
        }
        self.last = at;
        at
    }

    fn remove(&mut self, at: usize) {
        if !self.nodes[at].is_expired {
            self.unlink(at);
        }
        self.nodes[at].waker = None;
        self.free.push(at);
    }

    fn unlink(&mut self, at: usize) {
        let Node { before, after, .. } = self.nodes[at];
        match before {
            NONE => self.first = after,
            before => self.nodes[before].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.nodes[after].before = before,
        }
    }

    /// Wakes all whose time has come, and says when the next one's comes.
    fn expire(&mut self, now_ns: u64) -> Option<u64> {
        while self.first != NONE {
            let at = self.first;
            if self.nodes[at].due_ns > now_ns {
                return Some(self.nodes[at].due_ns);
            }
            self.unlink(at);
            self.nodes[at].is_expired = true;
            if let Some(waker) = self.nodes[at].waker.take() {
                waker.wake();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_end_in_order_and_leave_their_places() {
        let mut list = List::default();
        let places: Vec<usize> = (0..4).map(|at| list.push(at * 10)).collect();
        list.remove(places[1]);
        assert_eq!(list.expire(5), Some(20));
        assert!(list.nodes[places[0]].is_expired);
        list.remove(places[0]);
        assert_eq!(list.expire(20), Some(30));
        list.remove(places[3]);
        assert_eq!(list.expire(20), None);
        list.remove(places[2]);
        assert_eq!((list.first, list.last), (NONE, NONE));
        for at in 0..4 {
            list.push(at);
        }
        assert_eq!(list.nodes.len(), 4, "places are taken again");
    }
}
