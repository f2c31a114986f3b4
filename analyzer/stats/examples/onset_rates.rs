//! False onsets per series and day, and how soon steps are told, of the live detector on generated
//! noise: `onset_rates [SERIES PER KIND] [SEED] [MARGIN]`.
//!
//! This is the program behind the margin: no least effect is asked for, so that every false onset
//! of the statistic itself counts.

use driftline_stats::noise::{Kind, Noise};
use driftline_stats::onset::{Change, OnsetDetector, Options};
use std::time::Instant;

const DAY: usize = 8_640;
/// Steps as multiples of the noise's own robust spread.
const STEPS: [f64; 4] = [3.0, 5.0, 10.0, 20.0];
/// Points after a step within which it counts as told: a minute.
const WITHIN: usize = 5;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: f64| {
        let word = arguments.next().and_then(|word| word.parse().ok());
        word.unwrap_or(default)
    };
    let (series, seed) = (number(50.0) as u64, number(1.0) as u64);
    let options = Options {
        margin: number(Options::default().margin),
        ..Options::default()
    };
    println!(
        "false onsets per 1,000 series and day; share of steps of {STEPS:?} spreads told within a minute; ns per point"
    );
    let (mut all, mut points, begun) = (0, 0, Instant::now());
    for (name, generate) in kinds() {
        let mut noise = Noise::new(seed * 1_000 + name.len() as u64);
        let mut told = 0;
        let mut found = [0; STEPS.len()];
        for _ in 0..series {
            let values = generate(&mut noise);
            points += values.len();
            told += began(&options, &values).len();
            let spread = driftline_stats::mad(&values).unwrap_or(0.0).max(1e-9);
            for (found, step) in found.iter_mut().zip(STEPS) {
                let mut moved = values[..2_000].to_vec();
                let at = 1_500;
                moved[at..].iter_mut().for_each(|v| *v += step * spread);
                let hit = |place: &usize| (at..=at + WITHIN).contains(place);
                *found += usize::from(began(&options, &moved).iter().any(hit));
            }
        }
        all += told;
        let shares = found.map(|found| found as f64 / series as f64);
        println!(
            "{name}: {:.1} {shares:.2?}",
            1e3 * told as f64 / series as f64
        );
    }
    let days = series as f64 * kinds().len() as f64;
    println!(
        "all: {:.2} per 1,000 series and day over {days}; {:.0} ns per point with the steps",
        1e3 * all as f64 / days,
        begun.elapsed().as_nanos() as f64 / points as f64
    );
}

/// The places at which onsets are told.
fn began(options: &Options, values: &[f64]) -> Vec<usize> {
    let mut detector = OnsetDetector::new(*options, 0.0);
    let told = |(place, value): (usize, &f64)| {
        let change = detector.push(options.step_s * place as i64, *value);
        matches!(change, Some(Change::Began(_))).then_some(place)
    };
    values.iter().enumerate().filter_map(told).collect()
}

type Generate = Box<dyn Fn(&mut Noise) -> Vec<f64>>;

fn kinds() -> Vec<(String, Generate)> {
    let mut kinds: Vec<(String, Generate)> = Vec::new();
    for kind in Kind::ALL {
        let generate = move |noise: &mut Noise| kind.series(noise, &vec![1.0; DAY]);
        kinds.push((format!("{kind:?}"), Box::new(generate)));
    }
    for phi in [0.9, 0.99] {
        let generate = move |noise: &mut Noise| noise.ar1(DAY, phi);
        kinds.push((format!("AR(1) {phi}"), Box::new(generate)));
    }
    kinds.push(("slow cycle".to_owned(), Box::new(slow_cycle)));
    kinds.push(("bursts".to_owned(), Box::new(bursts)));
    kinds
}

/// A day's cycle of 50 %, as traffic has it.
fn slow_cycle(noise: &mut Noise) -> Vec<f64> {
    let start = noise.uniform();
    (0..DAY)
        .map(|i| {
            let phase = (start + i as f64 / DAY as f64) * std::f64::consts::TAU;
            (1.0 + 0.5 * phase.sin()) * (1.0 + 0.03 * noise.normal())
        })
        .collect()
}

/// Quiet, with bursts of half a minute to three minutes, some ten an hour, of lognormal height.
fn bursts(noise: &mut Noise) -> Vec<f64> {
    let (mut left, mut height) = (0, 0.0);
    (0..DAY)
        .map(|_| {
            if left == 0 && noise.uniform() < 0.03 {
                left = 3 + (15.0 * noise.uniform()) as usize;
                height = (0.5 * noise.normal()).exp();
            }
            let burst = if left > 0 { height } else { 0.0 };
            left = left.saturating_sub(1);
            1.0 + 0.02 * noise.normal() + burst
        })
        .collect()
}
