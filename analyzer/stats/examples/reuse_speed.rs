//! Prints how many references per second each way of sampling reads, beside the exact one.
//!
//! `cargo run --release -p driftline-stats --example reuse_speed`

use std::time::Instant;

use driftline_stats::noise::Noise;
use driftline_stats::reuse::{Options, Reference, Reuse, Sampling};

const REFERENCES: usize = 5_000_000;
const KEYS: f64 = 1_000_000.0;

fn main() {
    let mut noise = Noise::new(1);
    // The inverse of a continuous law of exponent 1: the logarithm of a key is uniform.
    let trace: Vec<Reference> = (0..REFERENCES)
        .map(|_| Reference::of((noise.uniform() * KEYS.ln()).exp() as u64))
        .collect();
    for sampling in [
        Sampling::All,
        Sampling::Rate(0.01),
        Sampling::Rate(0.001),
        Sampling::Keys(8_192),
    ] {
        let options = Options {
            sampling,
            ..Options::default()
        };
        let start = Instant::now();
        let reuse = Reuse::of(trace.iter().copied(), options);
        let seconds = start.elapsed().as_secs_f64();
        let ratio = reuse.curve().map(|curve| curve.miss_ratio(KEYS / 100.0));
        println!(
            "{sampling:?}: {:.1} M references/s, miss ratio {:.4} at 1 % of the keys",
            REFERENCES as f64 / seconds / 1e6,
            ratio.unwrap_or(f64::NAN),
        );
    }
}
