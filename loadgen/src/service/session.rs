//! Sessions without a store: a token carries the digest of its user and proves that this service made
//! it. Enough for a test target; it is no protection against anybody who wants to get in.

/// FNV-1a (Fowler, Noll and Vo 1991), begun with a seed.
pub(crate) fn digest(seed: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325 ^ seed, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
}

/// The token of a user.
pub(crate) fn token(seed: u64, user: &str) -> String {
    let user = format!("{:016x}", digest(0, user.as_bytes()));
    let proof = digest(seed, user.as_bytes());
    format!("{user}{proof:016x}")
}

/// Whether this service made it.
pub(crate) fn is_valid(seed: u64, token: &str) -> bool {
    match token.split_at_checked(16) {
        Some((user, proof)) => format!("{:016x}", digest(seed, user.as_bytes())) == proof,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_of_this_seed_are_valid() {
        let token = token(7, "ann");
        assert!(is_valid(7, &token));
        assert!(!is_valid(8, &token));
        assert!(!is_valid(7, &token[..31]));
        assert!(!is_valid(7, "€€"));
    }
}
