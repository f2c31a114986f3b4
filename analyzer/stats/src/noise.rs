//! Seeded noise: for tests, and for measuring what a detector does when nothing changes.

mod cycles;
mod kinds;
mod load_runs;

pub use cycles::{Cycle, Days};
pub use kinds::Kind;
pub use load_runs::LoadRuns;

/// SplitMix64, Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// A source of which equal seeds give equal noise.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal, by inversion.
    pub fn normal(&mut self) -> f64 {
        crate::distribution::normal_quantile(self.uniform())
    }

    /// `n` independent standard normal values.
    pub fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }

    /// Student's t with three degrees of freedom.
    pub fn student3(&mut self) -> f64 {
        let squares: f64 = self.normals(3).iter().map(|value| value * value).sum();
        self.normal() / (squares / 3.0).sqrt()
    }

    /// A stationary AR(1) series of unit variance.
    pub fn ar1(&mut self, n: usize, phi: f64) -> Vec<f64> {
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
