//! Robust statistics as pure, deterministic functions over slices.
//!
//! Nothing here knows of tables or SQL: `crate::functions` exposes these to queries. Inputs are
//! finite numbers; whoever gathers values leaves out NaN and infinities ([`finite`]). Equal input
//! gives equal output bit for bit: every reduction runs in the order of the slice.

pub mod autocorrelation;
pub mod distribution;
pub mod multiple;
pub mod quantile;
pub mod ranks;
pub mod robust;
pub mod shift;

pub use autocorrelation::{effective_size, lag1_of_ranks};
pub use multiple::benjamini_hochberg;
pub use quantile::{quantile, quantiles};
pub use ranks::{MannWhitney, mann_whitney};
pub use robust::{mad, median};
pub use shift::{Shift, shift};

/// The values that can be reasoned about: neither NaN nor infinite.
pub fn finite(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    values
        .into_iter()
        .filter(|value| value.is_finite())
        .collect()
}

#[cfg(test)]
pub(crate) mod noise {
    //! Seeded noise for tests.

    /// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
    pub(crate) struct Noise(u64);

    impl Noise {
        pub(crate) fn new(seed: u64) -> Self {
            Self(seed)
        }

        pub(crate) fn next_u64(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// Uniform in (0, 1).
        pub(crate) fn uniform(&mut self) -> f64 {
            ((self.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        }

        /// Standard normal, by inversion.
        pub(crate) fn normal(&mut self) -> f64 {
            super::distribution::normal_quantile(self.uniform())
        }

        pub(crate) fn normals(&mut self, n: usize) -> Vec<f64> {
            (0..n).map(|_| self.normal()).collect()
        }

        /// A stationary AR(1) series of unit variance.
        pub(crate) fn ar1(&mut self, n: usize, phi: f64) -> Vec<f64> {
            let mut level = self.normal();
            let innovation = (1.0 - phi * phi).sqrt();
            (0..n)
                .map(|_| {
                    level = phi * level + innovation * self.normal();
                    level
                })
                .collect()
        }
    }
}
