//! Writes series of which it is known whether and where they change, for detectors that run side by
//! side (`benches/peers/detection.py`): `detection_series FOLDER [SERIES PER KIND] [SEED] [STEPS PER KIND]`.
//!
//! `unchanged.csv` holds unchanged series of every kind of noise at its usual length. `steps.csv` holds
//! series with one step of 1, 2 or 5 % and their counterparts, the same noise without the step. Both
//! have the columns `series,timestamp,value`. `truth.csv` names each series of both files with its kind,
//! the size of its step in percent (0: unchanged) and the first sample after the place of the step.

use driftline_stats::noise::{Kind, Noise};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Sizes of the steps in percent; 0 is the counterpart.
const PERCENT: [u32; 4] = [0, 1, 2, 5];
/// Samples after a step. Whoever wants fewer leaves out the last ones.
const AFTER: usize = 100;
/// Time of the first sample, and the time between two, in seconds.
const START_S: usize = 1_700_000_000;
const EVERY_S: usize = 3_600;

fn main() {
    let folder = std::env::args()
        .nth(1)
        .expect("the first argument is a folder");
    let mut arguments = std::env::args().skip(2).map(|word| word.parse::<u64>());
    let mut number = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (unchanged, seed, steps) = (number(200), number(1), number(100));
    let header = "series,timestamp,value\n";
    let mut files = [header.to_owned(), header.to_owned()];
    let mut truth = String::from("series,kind,percent,index\n");
    for kind in Kind::ALL {
        let mut noise = Noise::new(seed * 1_000 + kind as u64);
        for run in 0..unchanged {
            let values = kind.series(&mut noise, &vec![1.0; kind.usual_length()]);
            let name = format!("{kind:?}-{run}");
            append(&mut files[0], &name, &values);
            line(&mut truth, &format!("{name},{kind:?},0,"));
        }
        for run in 0..steps {
            let seed = noise.next_u64();
            let at = kind.usual_length() * 3 / 5;
            for percent in PERCENT {
                let sign = if run % 2 == 0 { 1.0 } else { -1.0 };
                let level = 1.0 + sign * f64::from(percent) / 100.0;
                let factors: Vec<f64> = (0..at + AFTER)
                    .map(|place| if place < at { 1.0 } else { level })
                    .collect();
                let values = kind.series(&mut Noise::new(seed), &factors);
                let name = format!("{kind:?}-step-{run}-{percent}");
                append(&mut files[1], &name, &values);
                line(&mut truth, &format!("{name},{kind:?},{percent},{at}"));
            }
        }
    }
    let named = ["unchanged.csv", "steps.csv", "truth.csv"];
    for (name, text) in named.into_iter().zip([&files[0], &files[1], &truth]) {
        let path = Path::new(&folder).join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn append(text: &mut String, name: &str, values: &[f64]) {
    for (place, value) in values.iter().enumerate() {
        line(
            text,
            &format!("{name},{},{value}", START_S + place * EVERY_S),
        );
    }
}

fn line(text: &mut String, row: &str) {
    writeln!(text, "{row}").expect("a string takes every line");
}
