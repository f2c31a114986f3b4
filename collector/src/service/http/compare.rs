//! Whether responses are the same as the ones before them: by their ETag, or by a hash of the body.

/// What was compared up to now.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    last: Option<(Option<String>, u64)>,
    pub(super) compared: u64,
    pub(super) identical: u64,
}

impl Comparison {
    /// Notes a response. Equal ETags say that it is the same, whatever else differs.
    pub(super) fn note(&mut self, etag: Option<&str>, body_hash: u64) {
        if let Some((last_etag, last_hash)) = &self.last {
            let same_etag = etag.is_some() && last_etag.as_deref() == etag;
            self.compared += 1;
            self.identical += u64::from(same_etag || *last_hash == body_hash);
        }
        self.last = Some((etag.map(str::to_owned), body_hash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etag_or_body_will_do() {
        let mut comparison = Comparison::default();
        for (etag, hash) in [
            (None, 1),
            (None, 1),
            (None, 2),
            (Some("a"), 3),
            (Some("a"), 4),
            (Some("b"), 4),
            (Some("c"), 5),
        ] {
            comparison.note(etag, hash);
        }
        assert_eq!((comparison.compared, comparison.identical), (6, 3));
    }
}
