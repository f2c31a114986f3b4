//! The bundled target over real sockets: what it answers, how it delays, and how it misbehaves.

mod behaviour;
mod bounds;
mod faults;
mod http1;
mod http2;
mod log;
mod rooms;
mod support;
mod websocket;
