//! Groups of WebSocket connections with realistic patterns of messages.
//!
//! A worker's connections are values in one array, not tasks: one poller tells what has happened to
//! their sockets, one heap and one timer tell whose turn it is. Together with a codec that keeps no
//! content, a connection costs little more than its socket. When connections are opened and
//! messages are sent follows from the scenario and its seed alone ([`plan`]).
//!
//! What is recorded, by endpoint:
//! - `connect`: sent is the SYN, first byte the established TCP connection, done the handshake's
//!   answer; the status is the answer's.
//! - `message`: a message and its echo; a published one is done when the socket has taken it, for
//!   nobody answers it. A turn at which an earlier message is still on its way out waits for it with
//!   its intended time; when the next turn comes before there is room, it is given up.
//! - `delivery`: a message that a room sends, from the time inside it.
//! - `ping`: a ping and its pong.
//! - `close`: a connection's end, with its close code. Answers outstanding at that time fail with it.
//!
//! While a connection is not open it has no turns: that it is not open is on the record already.

use std::io;
use std::time::Instant;

use crate::operation::{Failure, NEVER_NS, Operation};
use crate::worker::Context;
use fleet::Fleet;
use group::Group;

mod connection;
mod fleet;
mod frame;
mod group;
mod handshake;
pub mod message;
mod plan;
mod poller;
mod shared;
mod timers;
mod utf8;
mod wire;

/// Opens this worker's share of every group's connections and lets them do what their pattern says,
/// until the stages are over or a stop is requested; then closes them. Runs on a `LocalSet`.
pub async fn run(context: Context) {
    if context.scenario.websockets.is_empty() {
        return;
    }
    let driven = match Fleet::new(&context) {
        Ok(fleet) => drive(&context, fleet).await,
        Err(error) => {
            record_unopened(&context);
            Err(error)
        }
    };
    if let Err(error) = driven {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the WebSocket connections of a worker cannot be polled: raise the descriptor limit (ulimit -n) or use more workers"
        );
    }
    context.tape.flush();
}

/// Without a poller no connection can be opened; every one of them is on the record all the same.
fn record_unopened(context: &Context) {
    for group in Group::all(&context.scenario, context.share) {
        for slot in group.first..group.end {
            let intended_ns = group.connect_ns(slot);
            context.tape.push(Operation {
                endpoint: group.endpoints.connect,
                status: 0,
                failure: Some(Failure::Descriptors),
                intended_ns,
                sent_ns: NEVER_NS,
                first_byte_ns: NEVER_NS,
                done_ns: context.clock.now_ns().max(intended_ns),
                bytes: 0,
            });
        }
    }
}

async fn drive(context: &Context, mut fleet: Fleet) -> io::Result<()> {
    let stop = context.stop.wait();
    tokio::pin!(stop);
    let origin = context.clock.instant(0);
    while !fleet.is_done() {
        let early = origin.saturating_duration_since(Instant::now());
        let is_waiting = if early.is_zero() || fleet.is_ending() || context.stop.is_requested() {
            fleet.turn();
            let is_more = fleet.poll()?;
            fleet.arm()? && !is_more
        } else {
            fleet.shared.poller.arm(early)?;
            true
        };
        if fleet.is_done() {
            break;
        }
        if !is_waiting {
            // Others on this thread have their turn, and nothing is waited for.
            tokio::task::yield_now().await;
        } else if fleet.is_ending() {
            fleet.shared.poller.ready().await?;
        } else {
            tokio::select! {
                ready = fleet.shared.poller.ready() => ready?,
                () = &mut stop => {}
            }
        }
    }
    Ok(())
}
