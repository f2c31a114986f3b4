//! What all connections of a worker share: the buffers, the record, the poller, and whether the run
//! is coming to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::operation::{Failure, NEVER_NS, Operation};
use crate::tls::Tls;
use crate::worker::Context;

use super::frame::Masks;
use super::plan;
use super::poller::Poller;

/// Read at once, by whichever connection has something to read.
const READ_BYTES: usize = 64 * 1024;
/// An arrival that was started so late by the generator's own fault counts as late.
const LATE_NS: u64 = 1_000_000;

/// How a run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    /// What is scheduled from here on is not wanted any more.
    pub(crate) since_ns: u64,
    /// Until then, connections with answers outstanding are left open.
    pub(crate) answers_ns: u64,
    /// Then, everything ends.
    pub(crate) cut_ns: u64,
}

/// TLS as the target wants it.
#[derive(Debug)]
pub(crate) enum Security {
    Plain,
    Tls(Tls),
    /// It cannot be set up: every connect fails.
    Broken,
}

/// The times of an operation, but for its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) intended_ns: u64,
    pub(crate) sent_ns: u64,
    pub(crate) first_byte_ns: u64,
}

impl Times {
    /// Of something that happens to us.
    pub(crate) fn at(now_ns: u64) -> Self {
        Self {
            intended_ns: now_ns,
            sent_ns: now_ns,
            first_byte_ns: now_ns,
        }
    }

    /// Of something that was never sent.
    pub(crate) fn unsent(intended_ns: u64) -> Self {
        Self {
            intended_ns,
            sent_ns: NEVER_NS,
            first_byte_ns: NEVER_NS,
        }
    }
}

/// What came of an operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) failure: Option<Failure>,
    pub(crate) bytes: u64,
}

impl Outcome {
    pub(crate) fn failed(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            ..Self::default()
        }
    }
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) context: Context,
    pub(crate) poller: Poller,
    pub(crate) security: Security,
    pub(crate) masks: Masks,
    /// For reading; taken and put back by its user.
    pub(crate) buffer: Vec<u8>,
    /// For frames that are about to be sent.
    pub(crate) scratch: Vec<u8>,
    /// Slots that must be read again, though nothing new has happened to them.
    pub(crate) again: Vec<u32>,
    /// Slots that have not ended.
    pub(crate) live: usize,
    pub(crate) ending: Option<Ending>,
    pub(crate) connect_timeout_ns: u64,
    pub(crate) max_message: u64,
    /// Connections of the whole run.
    total: u64,
}

impl Shared {
    pub(crate) fn new(context: &Context) -> io::Result<Self> {
        let scenario = &context.scenario;
        let security = match Tls::of(context, None) {
            Ok(None) => Security::Plain,
            Ok(Some(tls)) => Security::Tls(tls),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no WebSocket can be opened"
                );
                Security::Broken
            }
        };
        let worker = u64::from(context.share.index);
        Ok(Self {
            poller: Poller::new()?,
            security,
            masks: Masks::new(plan::draw(scenario.seed, worker, u64::MAX)),
            buffer: vec![0; READ_BYTES],
            scratch: Vec::new(),
            again: Vec::new(),
            live: 0,
            ending: None,
            connect_timeout_ns: plan::nanoseconds(scenario.http.connect_timeout),
            max_message: scenario.http.max_answer_bytes,
            total: scenario
                .websockets
                .iter()
                .map(|socket| u64::from(socket.connections))
                .sum(),
            context: context.clone(),
        })
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.context.clock.now_ns()
    }

    /// Where connection `position` of the run goes to; the target's addresses take turns.
    pub(crate) fn address(&self, position: u64) -> Option<SocketAddr> {
        let addresses = &self.context.target.addresses;
        let count = (addresses.len() as u64).max(1);
        addresses.get((position % count) as usize).copied()
    }

    /// Where it comes from.
    pub(crate) fn source(&self, address: SocketAddr, position: u64) -> Option<std::net::IpAddr> {
        plan::source(address.ip(), position, self.total)
    }

    /// Puts an operation on the record.
    pub(crate) fn record(&self, endpoint: u32, times: Times, done_ns: u64, outcome: Outcome) {
        self.context.tape.push(Operation {
            endpoint,
            status: outcome.status,
            failure: outcome.failure,
            intended_ns: times.intended_ns,
            sent_ns: times.sent_ns,
            first_byte_ns: times.first_byte_ns,
            done_ns,
            bytes: outcome.bytes,
        });
    }

    /// Counts arrivals that the schedule has called for.
    pub(crate) fn count_arrivals(&self, count: u32) {
        self.context
            .gauges
            .arrivals
            .fetch_add(u64::from(count), Ordering::Relaxed);
    }

    /// Notes how late arrivals were started by the generator's own fault.
    pub(crate) fn count_lateness(&self, count: u32, late_ns: u64) {
        let gauges = &self.context.gauges;
        let bucket = lateness_bucket(late_ns, gauges.lateness_us.len());
        gauges.lateness_us[bucket].fetch_add(u64::from(count), Ordering::Relaxed);
        gauges.lateness_max_ns.fetch_max(late_ns, Ordering::Relaxed);
        if late_ns >= LATE_NS {
            gauges.late.fetch_add(u64::from(count), Ordering::Relaxed);
        }
    }

    /// Counts a connection that has been opened (1) or has ended (-1).
    pub(crate) fn count_connections(&self, change: i64) {
        let connections = &self.context.gauges.connections;
        connections.fetch_add(change, Ordering::Relaxed);
    }
}

/// Bucket 0 is below 1 µs, bucket n below 2^n µs; the last takes the rest.
fn lateness_bucket(late_ns: u64, buckets: usize) -> usize {
    let late_us = late_ns / 1_000;
    ((u64::BITS - late_us.leading_zeros()) as usize).min(buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_goes_into_powers_of_two() {
        let bucket = |late_ns| lateness_bucket(late_ns, 24);
        assert_eq!([bucket(0), bucket(999), bucket(1_000)], [0, 0, 1]);
        assert_eq!([bucket(2_000), bucket(3_999), bucket(4_000)], [2, 2, 3]);
        assert_eq!(bucket(u64::MAX), 23);
    }
}
