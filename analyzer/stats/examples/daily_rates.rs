//! False alarms and power of the nightly analysis on series that follow the day, by days of history:
//! `daily_rates [UNCHANGED SERIES PER CASE] [SEED] [CHANGED SERIES PER CASE]`.
//!
//! A case is a shape of the day, a memory of the noise and so many days, cut into samples as the nightly
//! analysis cuts them. An alarm is a change of the last day of which even the near bound is 5 %, among changes
//! at p ≤ 0.005. Each line holds first what [`changepoint::detect`] alone makes of the same series.

use driftline_stats::changepoint::{self, ChangePoint};
use driftline_stats::daily;
use driftline_stats::noise::{Cycle, Days, Noise};

/// Days, and samples of a day.
const CASES: [(f64, usize); 12] = [
    (0.1, 1_440),
    (0.3, 1_440),
    (1.0, 1_440),
    (1.5, 144),
    (2.0, 144),
    (3.0, 144),
    (4.0, 144),
    (5.0, 144),
    (8.0, 144),
    (11.0, 144),
    (14.0, 144),
    (15.0, 24),
];
const MEMORIES: [f64; 2] = [0.0, 0.6];
const STEPS: [f64; 3] = [0.1, 0.2, 0.5];
const MIN_EFFECT: f64 = 0.05;
const MIN_SIDE: usize = 6;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let mut number = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (unchanged, seed, changed) = (number(100), number(1), number(50));
    println!(
        "days  shape: alarms per 1,000, alone | of daily; share of +10/20/50 % found, likewise"
    );
    for (days, per_day) in CASES {
        let n = (days * per_day as f64) as usize;
        let mut all = [0; 2];
        for cycle in Cycle::ALL {
            let mut noise = Noise::new(seed * 1_000 + cycle as u64);
            let mut alarms = [0; 2];
            let mut found = [[0; STEPS.len()]; 2];
            for run in 0..unchanged.max(changed) {
                let memory = MEMORIES[run as usize % MEMORIES.len()];
                let kind = Days::any(&mut noise, cycle, memory, per_day);
                if run < unchanged {
                    let series = kind.series(&mut noise, &vec![1.0; n]);
                    for (count, places) in alarms.iter_mut().zip(places(&series, &kind)) {
                        *count += u64::from(!places.is_empty());
                    }
                }
                if run < changed {
                    plant(&kind, n, &mut noise, &mut found);
                }
            }
            if cycle != Cycle::WorkingWeek || days > 7.0 {
                all = [all[0] + alarms[0], all[1] + alarms[1]];
            }
            let rates = alarms.map(|count| 1e3 * count as f64 / unchanged as f64);
            let power = found.map(|found| found.map(|hits| f64::from(hits) / changed as f64));
            println!("{days:4}  {cycle:?}: {rates:.1?}; {power:.2?}");
        }
        println!("{days:4}  all but first weekends: {all:?} alarms");
    }
}

/// Plants each step into a series of this kind, anywhere in its last day.
fn plant(kind: &Days, n: usize, noise: &mut Noise, found: &mut [[u32; STEPS.len()]; 2]) {
    for (column, step) in STEPS.into_iter().enumerate() {
        let first = n.saturating_sub(kind.per_day) + MIN_SIDE;
        let room = n - MIN_SIDE - first;
        let at = first + (noise.uniform() * room as f64) as usize;
        let factors: Vec<f64> = (0..n)
            .map(|place| if place < at { 1.0 } else { 1.0 + step })
            .collect();
        let series = kind.series(noise, &factors);
        for (found, places) in found.iter_mut().zip(places(&series, kind)) {
            let hit = places.iter().any(|place| place.abs_diff(at) <= MIN_SIDE);
            found[column] += u32::from(hit);
        }
    }
}

fn places(series: &[f64], kind: &Days) -> [Vec<usize>; 2] {
    let options = daily::Options {
        weekend: kind.cycle == Cycle::WorkingWeek && kind.ends_at_a_weekend(series.len()),
        ..daily::Options::of_day(kind.per_day)
    };
    [
        changepoint::detect(series, &options.steps),
        daily::detect(series, &options),
    ]
    .map(|changes| alarms(&changes, series.len(), kind.per_day))
}

/// The gates of the nightly analysis.
fn alarms(changes: &[ChangePoint], n: usize, per_day: usize) -> Vec<usize> {
    let at = |place: usize| changes.get(place).map_or(n, |change| change.index);
    let passes = |place: &usize| {
        let change = &changes[*place];
        let from = place.checked_sub(1).map_or(0, at);
        let Some((lo, hi)) = change.interval else {
            return false;
        };
        let near = if change.effect > 0.0 { lo } else { -hi };
        change.index + per_day >= n
            && change.index - from >= MIN_SIDE
            && at(place + 1) - change.index >= MIN_SIDE
            && near >= MIN_EFFECT
    };
    let kept = (0..changes.len()).filter(passes);
    kept.map(|place| changes[place].index).collect()
}
