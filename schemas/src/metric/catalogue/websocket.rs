//! The metrics of WebSocket services: what a synthetic probe sees, what a connection that is kept
//! open sees, and what the kernel says of the connections to a port of this machine.
//!
//! Every series has the label `service.name`, the name of the probe in the configuration; those of a
//! port also have `server.port`. The conventions have no names for WebSocket yet.

use super::super::Better::{Higher, Lower, Neither};
use super::super::Category::{Errors, Latency, Saturation, Throughput, Utilisation};
use super::super::Component::Websocket;
use super::super::Metric;
use super::super::MetricKind::{Counter, Gauge};
use super::row;

// One row per metric, so that the list reads as the table that it is.
#[rustfmt::skip]
pub(super) const TABLE: &[Metric] = &[
    row(650, Websocket, "websocket.probe.up", "1", Gauge, Errors, Higher, "Whether the last probe went as it should (1) or not (0)"),
    row(651, Websocket, "websocket.probe.handshakes", "{handshake}", Counter, Throughput, Neither, "Connections that probes tried to open"),
    row(652, Websocket, "websocket.probe.handshake.failures", "{handshake}", Counter, Errors, Lower, "Those that could not be opened, by error.type: dns, refused, timeout, tls, connection, protocol, or the status of the answer (403 …)"),
    row(653, Websocket, "websocket.probe.connect.duration", "s", Gauge, Latency, Lower, "The time until TCP, and TLS for wss, were connected, the name's lookup included"),
    row(654, Websocket, "websocket.probe.handshake.duration", "s", Gauge, Latency, Lower, "The time of the WebSocket handshake on the open connection"),
    row(655, Websocket, "websocket.probe.echo.duration", "s", Gauge, Latency, Lower, "The time from sending a message to its echo"),
    row(656, Websocket, "websocket.probe.fan_out.duration", "s", Gauge, Latency, Lower, "The time from publishing a message to its arrival at subscribers, by quantile (0.5, 0.99, 1)"),
    row(657, Websocket, "websocket.probe.fan_out.deliveries", "{message}", Counter, Throughput, Neither, "Published messages times the subscribers that should get them"),
    row(658, Websocket, "websocket.probe.fan_out.lost", "{message}", Counter, Errors, Lower, "Deliveries that did not arrive in time"),
    row(659, Websocket, "websocket.probe.errors", "{error}", Counter, Errors, Lower, "What went wrong after the handshake, by error.type: timeout, closed, protocol or connection"),
    row(660, Websocket, "websocket.probe.closes", "{connection}", Counter, Errors, Neither, "Connections of probes that the server closed, by websocket.close_code"),
    row(665, Websocket, "websocket.watch.connected", "1", Gauge, Errors, Higher, "Whether the connection that is kept open is open (1) or not (0)"),
    row(666, Websocket, "websocket.watch.reconnects", "{connection}", Counter, Errors, Lower, "How often it had to be opened again"),
    row(667, Websocket, "websocket.watch.messages", "{message}", Counter, Throughput, Neither, "Messages that arrived on it"),
    row(668, Websocket, "websocket.watch.io", "By", Counter, Throughput, Neither, "Bytes of these messages"),
    row(669, Websocket, "websocket.watch.closes", "{connection}", Counter, Errors, Lower, "How it ended, by websocket.close_code (1006 where nothing was said)"),
    row(675, Websocket, "websocket.server.connections", "{connection}", Gauge, Utilisation, Neither, "Established connections to a port of this machine"),
    row(676, Websocket, "websocket.server.connections.opened", "{connection}", Counter, Throughput, Neither, "Connections that had not been there at the pass before; those that came and went between passes are not seen"),
    row(677, Websocket, "websocket.server.queue.size", "By", Gauge, Saturation, Lower, "Bytes queued in the kernel for all connections to the port, by network.io.direction"),
    row(678, Websocket, "websocket.server.queue.max", "By", Gauge, Saturation, Lower, "Bytes queued for the connection that has most, by network.io.direction"),
    row(679, Websocket, "websocket.server.queue.age", "s", Gauge, Saturation, Lower, "For how long the send queue of one connection has been seen with bytes in it at every pass; the longest"),
    row(680, Websocket, "websocket.server.connections.reopened", "{connection}", Counter, Errors, Lower, "Opened connections from addresses of which one had ended within the minute before, each ended one counted once"),
];
