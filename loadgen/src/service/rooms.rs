//! Rooms: whatever a member says goes to all members, itself included, on whatever thread they are.
//!
//! A message goes once to each thread that has members, and there into the bounded queue of each.
//! Messages of one sender keep their order; those of different senders may come to different members
//! in different orders. Writing is left to `websocket`.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use tokio::sync::Notify;

use super::worker::Worker;

/// Messages that wait for a thread at most.
const MOST_PARCELS: usize = 65_536;
/// Bytes that wait for a member at most, whatever the number of messages.
const MOST_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// The rooms of all threads.
#[derive(Debug)]
pub(crate) struct Directory {
    rooms: Mutex<HashMap<Arc<str>, Arc<Room>>>,
    inboxes: Vec<Inbox>,
}

/// A room, as all threads know it.
#[derive(Debug)]
struct Room {
    name: Arc<str>,
    /// Its members, by thread.
    members: Vec<AtomicUsize>,
}

/// What comes from other threads.
#[derive(Debug, Default)]
struct Inbox {
    parcels: Mutex<VecDeque<(Arc<str>, Bytes)>>,
    arrived: Notify,
}

/// The members on one thread, by room.
#[derive(Debug, Default)]
pub(crate) struct LocalRooms(RefCell<HashMap<Arc<str>, Vec<Rc<Member>>>>);

#[derive(Debug)]
struct Member {
    queue: RefCell<VecDeque<Bytes>>,
    queued_bytes: Cell<usize>,
    lost: Cell<u64>,
    evicted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Where it is among the members of its thread.
    index: Cell<usize>,
}

/// Being in a room; ends when dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    worker: Rc<Worker>,
    room: Arc<Room>,
    member: Rc<Member>,
}

impl Directory {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            rooms: Mutex::default(),
            inboxes: (0..threads).map(|_| Inbox::default()).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    /// `false` when it is full.
    fn put(&self, name: &Arc<str>, message: &Bytes) -> bool {
        let mut parcels = self.lock();
        if parcels.len() >= MOST_PARCELS {
            return false;
        }
        parcels.push_back((Arc::clone(name), message.clone()));
        drop(parcels);
        self.arrived.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Arc<str>, Bytes)>> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a thread that hands on what comes from other threads.
pub(crate) async fn deliver(worker: Rc<Worker>) {
    let inbox = &worker.shared.rooms.inboxes[worker.number];
    loop {
        inbox.arrived.notified().await;
        let parcels = std::mem::take(&mut *inbox.lock());
        for (name, message) in parcels {
            worker.rooms.hand_out(&worker, &name, &message);
        }
    }
}

impl LocalRooms {
    fn hand_out(&self, worker: &Worker, name: &Arc<str>, message: &Bytes) {
        let rooms = self.0.borrow();
        let Some(members) = rooms.get(name) else {
            // The last member left after this was sent.
            return;
        };
        let config = &worker.shared.config;
        let meter = worker.meter();
        for member in members {
            if member.offer(message, config.room_queue) {
                meter.deliveries.add(1);
                continue;
            }
            meter.lost_deliveries.add(1);
            if member.gives_up(config.room_patience) {
                meter.slow_disconnects.add(1);
            }
        }
    }
}

impl Member {
    /// `false` when the queue is full.
    fn offer(&self, message: &Bytes, most: usize) -> bool {
        let mut queue = self.queue.borrow_mut();
        let bytes = self.queued_bytes.get() + message.len();
        if queue.len() >= most || bytes > MOST_QUEUED_BYTES {
            self.lost.set(self.lost.get() + 1);
            return false;
        }
        queue.push_back(message.clone());
        self.queued_bytes.set(bytes);
        drop(queue);
        self.wake();
        true
    }

    /// Whether it has now lost so many messages that it is disconnected.
    fn gives_up(&self, patience: u64) -> bool {
        let over = patience > 0 && self.lost.get() >= patience;
        let first = over && !self.evicted.replace(true);
        if first {
            self.wake();
        }
        first
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Membership {
    pub(crate) fn join(worker: &Rc<Worker>, name: &str) -> Self {
        let directory = &worker.shared.rooms;
        let mut rooms = directory.lock();
        let room = match rooms.get(name) {
            Some(room) => Arc::clone(room),
            None => {
                let name: Arc<str> = name.into();
                let threads = directory.inboxes.len();
                let room = Arc::new(Room {
                    name: Arc::clone(&name),
                    members: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
                });
                rooms.insert(name, Arc::clone(&room));
                room
            }
        };
        room.members[worker.number].fetch_add(1, Ordering::SeqCst);
        drop(rooms);
        let mut local = worker.rooms.0.borrow_mut();
        let members = local.entry(Arc::clone(&room.name)).or_default();
        let member = Rc::new(Member {
            queue: RefCell::default(),
            queued_bytes: Cell::new(0),
            lost: Cell::new(0),
            evicted: Cell::new(false),
            waker: RefCell::default(),
            index: Cell::new(members.len()),
        });
        members.push(Rc::clone(&member));
        Self {
            worker: Rc::clone(worker),
            room,
            member,
        }
    }

    /// Says something to the room; it is a whole frame.
    pub(crate) fn publish(&self, message: &Bytes) {
        let worker = &self.worker;
        for (thread, members) in self.room.members.iter().enumerate() {
            let members = members.load(Ordering::SeqCst);
            if members == 0 {
                continue;
            }
            if thread == worker.number {
                worker.rooms.hand_out(worker, &self.room.name, message);
            } else if !worker.shared.rooms.inboxes[thread].put(&self.room.name, message) {
                worker.meter().lost_deliveries.add(members as u64);
            }
        }
    }

    /// Takes waiting messages until there are `most` bytes; when there are none, `waker` is woken by
    /// the next.
    pub(crate) fn collect(&self, out: &mut Vec<u8>, most: usize, waker: &Waker) {
        let mut queue = self.member.queue.borrow_mut();
        let mut bytes = self.member.queued_bytes.get();
        while out.len() < most
            && let Some(message) = queue.pop_front()
        {
            out.extend_from_slice(&message);
            bytes -= message.len();
        }
        self.member.queued_bytes.set(bytes);
        if queue.is_empty() && !out.is_empty() {
            // An idle member holds no queue.
            *queue = VecDeque::new();
        }
        let mut slot = self.member.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Whether it was too slow for too long.
    pub(crate) fn is_evicted(&self) -> bool {
        self.member.evicted.get()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut local = self.worker.rooms.0.borrow_mut();
        if let Some(members) = local.get_mut(&self.room.name) {
            let index = self.member.index.get();
            members.swap_remove(index);
            if let Some(moved) = members.get(index) {
                moved.index.set(index);
            }
            if members.is_empty() {
                local.remove(&self.room.name);
            }
        }
        let mut rooms = self.worker.shared.rooms.lock();
        self.room.members[self.worker.number].fetch_sub(1, Ordering::SeqCst);
        let empty = |count: &AtomicUsize| count.load(Ordering::SeqCst) == 0;
        if self.room.members.iter().all(empty) {
            rooms.remove(&self.room.name);
        }
    }
}
