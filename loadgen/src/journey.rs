//! Journeys as users make them: steps in order with pauses, captured values, cookies and checks,
//! over HTTP/1.1 or 2, with or without TLS. Single static requests over plain HTTP/1.1 go the fast
//! path of [`crate::client`] instead.

use crate::scenario::Journey;
use crate::worker::Context;

/// A client that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A certificate file cannot be used.
    #[error("cannot use the certificates in {path}: {reason}")]
    Certificates {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The connections of one worker thread; cheap to clone within it.
#[derive(Debug, Clone)]
pub struct Client {
    context: Context,
}

/// One user: a number, captured values, cookies, and a source of randomness that is the user's own.
#[derive(Debug)]
pub struct User {
    number: u64,
}

impl User {
    /// A user whose number is unique within the run.
    pub fn new(context: &Context, number: u64) -> Self {
        let _ = context;
        Self { number }
    }
}

impl Client {
    /// Makes the client of a worker.
    pub fn new(context: &Context) -> Result<Self, ClientError> {
        Ok(Self {
            context: context.clone(),
        })
    }

    /// Makes one journey. The first step's intended time is given; a later step is intended when
    /// the step before it has ended and its pause is over. Every step is recorded as an operation;
    /// a failed step ends the journey.
    pub async fn iterate(&self, user: &mut User, journey: &Journey, intended_ns: u64) {
        let _ = (&self.context, user.number, journey, intended_ns);
    }
}
