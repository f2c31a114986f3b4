//! The fast path: single static requests over plain HTTP/1.1 and over HTTP/2, without a task, a timer
//! or an allocation for each of them. Everything else goes through [`crate::journey`].
//!
//! Connections are places of one table, driven by edge-triggered readiness of an epoll instance of
//! the worker's own: over HTTP/1.1 a request at full speed costs one write, one read and a part of
//! one wait; over HTTP/2 a small part of each. When a request is due is left to [`crate::worker`].

mod answer;
mod chunks;
mod connector;
mod head;
mod http1;
mod http2;
mod request;
mod slot;

use rustix::event::epoll::EventFlags;

pub(crate) use http1::{Ended, Http1, Job};
pub(crate) use http2::Http2;
pub(crate) use request::Prepared;

/// A worker's connections.
#[derive(Debug)]
pub(crate) enum Connections {
    Http1(Box<Http1>),
    Http2(Box<Http2>),
}

impl Connections {
    /// Jobs under way.
    pub(crate) fn busy(&self) -> usize {
        match self {
            Self::Http1(table) => table.busy(),
            Self::Http2(table) => table.busy(),
        }
    }

    /// Jobs that were begun and wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Http1(_) => 0,
            Self::Http2(table) => table.waiting(),
        }
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        match self {
            Self::Http1(table) => table.open(),
            Self::Http2(table) => table.open(),
        }
    }

    /// Whether one more job finds a place, apart from the most that may be under way.
    pub(crate) fn has_room(&mut self) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(table) => table.has_room(),
        }
    }

    /// Whether there is more to do that no event will tell.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Self::Http1(table) => table.has_more(),
            Self::Http2(table) => table.has_more(),
        }
    }

    /// A prepared request.
    pub(crate) fn request(&self, request: u32) -> &Prepared {
        match self {
            Self::Http1(table) => table.request(request),
            Self::Http2(table) => table.request(request),
        }
    }

    /// Starts a job for which there is a place; may end at once.
    pub(crate) fn begin(&mut self, job: Job, now_ns: u64) -> Option<Ended> {
        match self {
            Self::Http1(table) => table.begin(job, now_ns),
            Self::Http2(table) => {
                table.begin(job, now_ns);
                None
            }
        }
    }

    /// Takes an event, and tells what has ended by it.
    pub(crate) fn ready(&mut self, token: u64, flags: EventFlags, ended: &mut Vec<Ended>) {
        match self {
            Self::Http1(table) => ended.extend(table.ready(token, flags)),
            Self::Http2(table) => {
                table.ready(token, flags);
                table.take_ended(ended);
            }
        }
    }

    /// Takes the connections that have more to read; each is to be given to `ready` with
    /// [`EventFlags::IN`].
    pub(crate) fn take_more(&mut self, into: &mut Vec<u64>) {
        match self {
            Self::Http1(table) => table.take_more(into),
            Self::Http2(table) => table.take_more(into),
        }
    }

    /// Writes what was begun; jobs that ended meanwhile are told.
    pub(crate) fn flush(&mut self, ended: &mut Vec<Ended>) {
        if let Self::Http2(table) = self {
            table.flush();
            table.take_ended(ended);
        }
    }

    /// Ends the jobs whose time is over.
    pub(crate) fn sweep(&mut self, now_ns: u64, ended: &mut Vec<Ended>) {
        match self {
            Self::Http1(table) => table.sweep(now_ns, ended),
            Self::Http2(table) => {
                table.sweep(now_ns);
                table.take_ended(ended);
            }
        }
    }

    /// Ends all jobs under way: the run is over.
    pub(crate) fn abandon(&mut self, ended: &mut Vec<Ended>) {
        match self {
            Self::Http1(table) => table.abandon(ended),
            Self::Http2(table) => {
                table.abandon();
                table.take_ended(ended);
            }
        }
    }
}
