//! What all loads share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Told to all loads when they shall end.
pub(super) type Stop = Arc<AtomicBool>;

/// One of so many, evenly and the same each time.
pub(super) const fn pick(n: u64, of: u64) -> u64 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % of
}
