//! The request to stop: set once from anywhere, waited for without polling.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;

/// A request to stop that any thread can make and every waiting thread notices at once.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// No request yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop.
    pub fn request(&self) {
        *self.lock() = true;
        self.shared.changed.notify_all();
    }

    /// Whether somebody asked to stop.
    pub fn is_requested(&self) -> bool {
        *self.lock()
    }

    /// Waits for the request, at most this long; says whether it was made.
    pub fn wait(&self, at_most: Duration) -> bool {
        let begun_ns = clock::mono_ns();
        let mut requested = self.lock();
        while !*requested {
            let elapsed = Duration::from_nanos(clock::mono_ns().saturating_sub(begun_ns));
            let Some(left) = at_most.checked_sub(elapsed) else {
                break;
            };
            requested = self
                .shared
                .changed
                .wait_timeout(requested, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *requested
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // A flag cannot be left half written.
        self.shared
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_request() {
        let stop = Stop::new();
        assert!(!stop.wait(Duration::from_millis(1)));
        let waiting = stop.clone();
        let thread = std::thread::spawn(move || waiting.wait(Duration::from_secs(60)));
        stop.request();
        assert!(thread.join().expect("the waiting thread ends"));
        assert!(stop.is_requested());
    }
}
