//! A request to end, shared by threads and tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Asked once, heard everywhere.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<State>);

#[derive(Debug, Default)]
struct State {
    requested: AtomicBool,
    wake: Notify,
}

impl Stop {
    /// Not requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        self.0.wake.notify_waiters();
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Waits until the end is asked for.
    pub async fn wait(&self) {
        let notified = self.0.wake.notified();
        tokio::pin!(notified);
        // Registered before the flag is read, so that a request in between is not missed.
        notified.as_mut().enable();
        if !self.is_requested() {
            notified.await;
        }
    }
}
