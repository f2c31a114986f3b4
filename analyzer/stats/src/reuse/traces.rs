//! Traces for tests.

use crate::noise::Noise;

/// Independent draws of keys 0 to `keys`, of which the r-th is as likely as 1 / r^exponent.
pub(crate) fn zipf(keys: usize, exponent: f64, length: usize, seed: u64) -> Vec<u64> {
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    let mut noise = Noise::new(seed);
    (0..length)
        .map(|_| {
            let at = noise.uniform() * sum;
            cumulative.partition_point(|upper| *upper < at) as u64
        })
        .collect()
}

/// Keys from `first` on, each once.
pub(crate) fn scan(first: u64, length: usize) -> Vec<u64> {
    (0..length as u64).map(|key| first + key).collect()
}

/// The same `keys` over and over.
pub(crate) fn cycle(first: u64, keys: usize, length: usize) -> Vec<u64> {
    (0..length).map(|at| first + (at % keys) as u64).collect()
}

/// Takes turns: a stretch of one, a stretch of the next.
pub(crate) fn mixed(parts: &[Vec<u64>], stretch: usize) -> Vec<u64> {
    let mut streams: Vec<_> = parts.iter().map(|part| part.chunks(stretch)).collect();
    let mut trace = Vec::new();
    loop {
        let before = trace.len();
        for stream in &mut streams {
            trace.extend_from_slice(stream.next().unwrap_or_default());
        }
        if trace.len() == before {
            return trace;
        }
    }
}
