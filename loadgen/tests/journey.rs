//! Journeys against real sockets on loopback: what is sent, what is recorded, and what becomes of
//! connections. Decisions that need no socket are tested beside their code.

#[path = "journey/connections.rs"]
mod connections;
#[path = "journey/failures.rs"]
mod failures;
#[path = "journey/fixture.rs"]
mod fixture;
#[path = "journey/http2.rs"]
mod http2;
#[path = "journey/server.rs"]
mod server;
#[path = "journey/steps.rs"]
mod steps;
#[path = "journey/tls.rs"]
mod tls;
#[path = "journey/transfer.rs"]
mod transfer;
