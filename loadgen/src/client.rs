//! The fast path: single static requests over plain HTTP/1.1, without a task, a timer or an
//! allocation for each of them. Everything else goes through [`crate::journey`].
//!
//! Connections are slots of one table, driven by edge-triggered readiness of an epoll instance of
//! the worker's own: at full speed a request costs one write, one read and a part of one wait. When
//! a request is due is left to [`crate::worker`].

mod answer;
mod chunks;
mod connector;
mod head;
mod http1;
mod request;
mod slot;

pub(crate) use http1::{Ended, Http1, Job};
pub(crate) use request::Prepared;
