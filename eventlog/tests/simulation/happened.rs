//! Counting what the histories came to: a suite in which something never happens does not test it.

/// How often each thing happened, so that the test can tell that it tests something.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    pub(crate) synced: u64,
    pub(crate) read: u64,
    pub(crate) power_losses: u64,
    pub(crate) kills: u64,
    pub(crate) stops: u64,
    pub(crate) errors: u64,
    pub(crate) full: u64,
    pub(crate) drops: u64,
    pub(crate) trims: u64,
    pub(crate) repairs: u64,
    pub(crate) cut_tails: u64,
    pub(crate) damages: u64,
}

impl Happened {
    fn counts(&self) -> [u64; 12] {
        [
            self.synced,
            self.read,
            self.power_losses,
            self.kills,
            self.stops,
            self.errors,
            self.full,
            self.drops,
            self.trims,
            self.repairs,
            self.cut_tails,
            self.damages,
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let [
            synced,
            read,
            power_losses,
            kills,
            stops,
            errors,
            full,
            drops,
            trims,
            repairs,
            cut,
            damages,
        ] = other.counts();
        self.synced += synced;
        self.read += read;
        self.power_losses += power_losses;
        self.kills += kills;
        self.stops += stops;
        self.errors += errors;
        self.full += full;
        self.drops += drops;
        self.trims += trims;
        self.repairs += repairs;
        self.cut_tails += cut;
        self.damages += damages;
    }

    /// A suite in which something never happens does not test it.
    pub(crate) fn assert_all_at_least(&self, least: u64) {
        assert!(
            self.counts().iter().all(|count| *count >= least),
            "too seldom: {self:?}"
        );
    }
}
