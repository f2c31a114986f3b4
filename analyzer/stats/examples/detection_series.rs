//! Writes series of which it is known whether and where they change, for detectors that run side by
//! side (`benches/peers/detection.py`):
//! `detection_series FOLDER [SERIES PER KIND] [SEED] [STEPS PER KIND] [DAYS PER KIND]`.
//!
//! `unchanged.csv` holds unchanged series of every kind of noise at its usual length. `steps.csv` holds
//! series with one step of 1, 2 or 5 % and their counterparts, the same noise without the step. `live.csv`
//! holds days of samples 10 s apart, and their beginnings with five minutes in them that lie 5, 10 or 20
//! robust spreads (scaled MADs of the day) higher. All have the columns `series,timestamp,value`.
//! `truth.csv` names each series with its file, its kind, the size of what happens (0: nothing) and its
//! first sample, if it has a place.

use driftline_stats::noise::{Kind, Noise};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Sizes of the steps in percent; 0 is the counterpart.
const PERCENT: [u32; 4] = [0, 1, 2, 5];
/// Samples after a step. Whoever wants fewer leaves out the last ones.
const AFTER: usize = 100;
/// Heights of what passes in live series, in robust spreads; 0 is the counterpart.
const SPREADS: [u32; 4] = [0, 5, 10, 20];
/// Samples of a live day, where something comes in it, how long it stays, and how much is kept.
const DAY: usize = 8_640;
const COMES: usize = DAY * 3 / 5;
const STAYS: usize = 30;
const KEPT: usize = COMES + 2 * STAYS;
/// Time of the first sample, and the time between two, in seconds.
const START_S: usize = 1_700_000_000;
const HOUR_S: usize = 3_600;
const LIVE_S: usize = 10;

fn main() {
    let folder = std::env::args()
        .nth(1)
        .expect("the first argument is a folder");
    let mut arguments = std::env::args().skip(2).map(|word| word.parse::<u64>());
    let mut number = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (unchanged, seed, steps, days) = (number(200), number(1), number(100), number(10));
    let mut truth = String::from("file,series,kind,size,index\n");
    let mut files = Vec::new();
    for (file, count, write) in [
        ("unchanged", unchanged, level as Write),
        ("steps", steps, stepped),
        ("live", days, live),
    ] {
        let mut text = String::from("series,timestamp,value\n");
        for kind in Kind::ALL {
            // No two files share their noise.
            let start = (seed * 1_000 + kind as u64) * 10 + files.len() as u64;
            let mut noise = Noise::new(start);
            for run in 0..count {
                for (size, index, every_s, values) in write(kind, run, noise.next_u64()) {
                    let name = format!("{file}-{kind:?}-{run}-{size}");
                    let index = index.map_or(String::new(), |index| index.to_string());
                    line(
                        &mut truth,
                        &format!("{file},{name},{kind:?},{size},{index}"),
                    );
                    for (place, value) in values.iter().enumerate() {
                        let at_s = START_S + place * every_s;
                        line(&mut text, &format!("{name},{at_s},{value}"));
                    }
                }
            }
        }
        files.push((file, text));
    }
    files.push(("truth", truth));
    for (name, text) in files {
        let path = Path::new(&folder).join(format!("{name}.csv"));
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Size and place of what happens in a series, its seconds between samples, and its values.
type Written = (u32, Option<usize>, usize, Vec<f64>);
/// The series that one run of a kind comes to, from a seed.
type Write = fn(Kind, u64, u64) -> Vec<Written>;

fn level(kind: Kind, _: u64, seed: u64) -> Vec<Written> {
    let values = kind.series(&mut Noise::new(seed), &vec![1.0; kind.usual_length()]);
    vec![(0, None, HOUR_S, values)]
}

fn stepped(kind: Kind, run: u64, seed: u64) -> Vec<Written> {
    let at = kind.usual_length() * 3 / 5;
    let sign = if run.is_multiple_of(2) { 1.0 } else { -1.0 };
    let of_size = |percent| {
        let level = 1.0 + sign * f64::from(percent) / 100.0;
        let mut factors = vec![1.0; at];
        factors.resize(at + AFTER, level);
        let values = kind.series(&mut Noise::new(seed), &factors);
        (percent, Some(at), HOUR_S, values)
    };
    PERCENT.map(of_size).into()
}

fn live(kind: Kind, _: u64, seed: u64) -> Vec<Written> {
    let day = kind.series(&mut Noise::new(seed), &vec![1.0; DAY]);
    let spread = driftline_stats::mad(&day).expect("a day has samples");
    let of_height = |height| {
        let mut values = day.clone();
        if height > 0 {
            values.truncate(KEPT);
            let stay = COMES..COMES + STAYS;
            values[stay]
                .iter_mut()
                .for_each(|v| *v += f64::from(height) * spread);
        }
        (height, Some(COMES), LIVE_S, values)
    };
    SPREADS.map(of_height).into()
}

fn line(text: &mut String, row: &str) {
    writeln!(text, "{row}").expect("a string takes every line");
}
