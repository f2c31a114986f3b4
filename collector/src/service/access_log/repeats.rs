//! Which responses are the same as one before them: those with the path and the ETag of one shortly
//! before. Where an access log tells no ETags, their sizes stand in; that contents of equal size are
//! equal is a guess that a cache would make true or not.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Paths that are remembered at most, in each of the two generations.
const MAX_PATHS: usize = 32_768;

/// Takes the hashes of paths, which need no further mixing, as they are.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

type Versions = HashMap<u64, u64, BuildHasherDefault<AsIs>>;

/// The sizes, or the hashes of the ETags, of the last responses by the hash of their paths. When the younger generation is full
/// the older one is forgotten, so that what is asked for often stays.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    young: Versions,
    old: Versions,
}

impl Repeats {
    /// Notes a response and says whether it is like the one before it.
    pub(super) fn note(&mut self, path_hash: u64, version: u64) -> bool {
        if let Some(before) = self.young.get_mut(&path_hash) {
            return std::mem::replace(before, version) == version;
        }
        let same = self.old.get(&path_hash) == Some(&version);
        if self.young.len() >= MAX_PATHS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(path_hash, version);
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_the_last_response_is_compared() {
        let mut repeats = Repeats::default();
        let told: Vec<bool> = [(1, 10), (1, 10), (2, 10), (1, 11), (1, 10), (2, 10)]
            .into_iter()
            .map(|(path, bytes)| repeats.note(path, bytes))
            .collect();
        assert_eq!(told, [false, true, false, false, false, true]);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_hot_stays() {
        let mut repeats = Repeats::default();
        let mut hot_known = 0;
        for path in 0..200_000_u64 {
            repeats.note(path.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1);
            hot_known += u64::from(repeats.note(7, 1));
        }
        assert!(repeats.young.len() + repeats.old.len() <= 2 * MAX_PATHS);
        assert_eq!(hot_known, 199_999);
    }
}
