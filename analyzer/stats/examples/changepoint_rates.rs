//! False alarms and power of the change-point detector on generated noise:
//! `changepoint_rates [UNCHANGED SERIES PER KIND] [SEED] [CHANGED SERIES]`.
//!
//! This is the program behind the calibration of the detector: it counts the alarms per unchanged
//! series at several p-values, and finds single steps with 10, 30 and 100 samples after them.

use driftline_stats::changepoint::{Options, detect};
use driftline_stats::noise::{Kind, Noise};
use std::time::{Duration, Instant};

const LEVELS: [f64; 5] = [0.005, 0.002, 0.001, 5e-4, 2e-4];

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let mut number = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (runs, seed, changed) = (number(200), number(1), number(40));
    println!("alarms per 1,000 unchanged series at p ≤ {LEVELS:?}, µs per series");
    let mut all = [0; LEVELS.len()];
    for kind in Kind::ALL {
        let mut noise = Noise::new(seed * 1_000 + kind as u64);
        let mut counts = [0; LEVELS.len()];
        let mut spent = Duration::ZERO;
        for _ in 0..runs {
            let series = kind.series(&mut noise, &vec![1.0; kind.usual_length()]);
            let start = Instant::now();
            let found = detect(
                &series,
                &Options {
                    max_p_value: LEVELS[0],
                    ..Options::default()
                },
            );
            spent += start.elapsed();
            for (count, level) in counts.iter_mut().zip(LEVELS) {
                *count += found
                    .iter()
                    .filter(|change| change.p_value <= level)
                    .count();
            }
        }
        for (sum, count) in all.iter_mut().zip(counts) {
            *sum += count;
        }
        let rate = |count: usize| format!("{:6.1}", 1e3 * count as f64 / runs as f64);
        println!(
            "{kind:?}: {} {:.0}",
            counts.map(rate).join(" "),
            spent.as_secs_f64() * 1e6 / runs as f64
        );
    }
    let total = runs as f64 * Kind::ALL.len() as f64;
    println!(
        "all: {}",
        all.map(|count| format!("{:6.1}", 1e3 * count as f64 / total))
            .join(" ")
    );
    if changed == 0 {
        return;
    }
    println!("found at the default, 10 | 30 | 100 samples after a step of 1 / 2 / 5 / 10 %");
    let mut sums = [[0.0; 4]; 3];
    for kind in Kind::ALL {
        let mut line = format!("{kind:?}:");
        for (column, after) in [10, 30, 100].into_iter().enumerate() {
            for (size, percent) in [1.0, 2.0, 5.0, 10.0].into_iter().enumerate() {
                let share = power(kind, after, percent / 100.0, seed, changed);
                sums[column][size] += share / Kind::ALL.len() as f64;
                line += &format!(" {share:.2}");
            }
            line += " |";
        }
        println!("{line}");
    }
    println!("all: {sums:.3?}");
}

fn power(kind: Kind, after: usize, step: f64, seed: u64, runs: u64) -> f64 {
    let mut noise = Noise::new(seed * 77_000 + kind as u64 * 100 + after as u64);
    let at = kind.usual_length() * 3 / 5;
    let mut hits = 0;
    for run in 0..runs {
        let factor = if run % 2 == 0 { 1.0 + step } else { 1.0 - step };
        let factors: Vec<f64> = (0..at + after)
            .map(|i| if i < at { 1.0 } else { factor })
            .collect();
        let found = detect(&kind.series(&mut noise, &factors), &Options::default());
        let hit = |index: usize| index + 5 >= at && index <= at + 9;
        hits += u64::from(found.iter().any(|change| hit(change.index)));
    }
    hits as f64 / runs as f64
}
