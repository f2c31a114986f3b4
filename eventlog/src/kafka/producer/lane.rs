//! One stream on its way: where it goes, how far it is, and when to try it again.
//!
//! Reading, sending and keeping the cursor are left to the shipper.

use std::path::{Path, PathBuf};
use std::time::Duration;

use driftline_schemas::{StreamId, topic};

use crate::SourceId;
use crate::kafka::window::Window;

/// First wait after a failure; it doubles with each further one.
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest wait after a failure.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A stream that is being shipped.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) stream: StreamId,
    pub(super) source: SourceId,
    pub(super) topic: &'static str,
    pub(super) partition: i32,
    pub(super) window: Window,
    /// The cursor that the spool knows.
    pub(super) kept: u64,
    pub(super) retry: Retry,
}

/// When something that failed may be tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Retry {
    until: Duration,
    failures: u32,
}

impl Lane {
    pub(super) fn new(stream: StreamId, partition: i32) -> Self {
        Self {
            source: SourceId::Spool(stream.clone()),
            topic: topic::of(stream.kind),
            stream,
            partition,
            window: Window::new(0),
            kept: 0,
            retry: Retry::default(),
        }
    }

    /// Everything below `cursor` has been shipped before.
    pub(super) fn start_at(&mut self, cursor: u64) {
        self.window = Window::new(cursor);
        self.kept = cursor;
    }
}

impl Retry {
    /// Whether it is time.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.until
    }

    /// Notes a failure.
    pub(super) fn fail(&mut self, now: Duration) {
        let wait = BACKOFF_MIN
            .saturating_mul(1 << self.failures.min(16))
            .min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = now + wait;
    }

    /// Notes a success.
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }
}

/// The directory of a stream under the spool's root.
pub(super) fn directory(root: &Path, stream: &StreamId) -> PathBuf {
    root.join(stream.producer.as_str())
        .join(stream.incarnation.to_string())
        .join(stream.kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_end_with_a_success() {
        let mut retry = Retry::default();
        assert!(retry.is_due(Duration::ZERO));
        let mut waits = Vec::new();
        for _ in 0..40 {
            retry.fail(Duration::from_secs(100));
            waits.push(retry.until - Duration::from_secs(100));
        }
        assert_eq!(waits[..3], [BACKOFF_MIN, BACKOFF_MIN * 2, BACKOFF_MIN * 4]);
        assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX));
        assert_eq!(waits.last(), Some(&BACKOFF_MAX));
        assert!(!retry.is_due(Duration::from_secs(109)) && retry.is_due(Duration::from_secs(110)));
        retry.succeed();
        assert!(retry.is_due(Duration::ZERO));
    }
}
