//! What all loads share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Told to all loads when they shall end.
pub(super) type Stop = Arc<AtomicBool>;

/// One of so many, evenly and the same each time: a step of SplitMix64.
pub(super) const fn pick(n: u64, of: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (n ^ (n >> 31)) % of
}
