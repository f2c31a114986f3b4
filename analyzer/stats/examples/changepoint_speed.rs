//! CPU time of the change-point detector per series and per appended sample, over all kinds of
//! generated noise: `changepoint_speed [SERIES PER KIND] [SEED] [FILE]`. The file takes the unchanged
//! series of 250 points as `series,value`.
//!
//! Linux only: times are those of the thread itself (`/proc/thread-self/schedstat`), so that a busy
//! machine disturbs them less. The goals beside them are those of `docs/detection.md`; peers are
//! timed on the same series by `benches/peers/change_points.py`.

use driftline_stats::changepoint::{History, Options, detect};
use driftline_stats::noise::{Kind, Noise};

/// Least time that is measured: the kernel's account of a thread moves on by up to 4 ms at once.
const LEAST_NS: u64 = 100_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let mut number = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (count, seed) = (number(200).max(1), number(1));
    if let Some(path) = std::env::args().nth(3) {
        std::fs::write(&path, rows(count, seed)).expect("the file can be written");
    }
    for (n, goal) in [(250, Some(33.0)), (1_000, None), (10_000, Some(5_000.0))] {
        for (step, what) in [(1.0, "unchanged"), (1.05, "5 % step")] {
            let all = (count * 250 / n as u64).max(2);
            let spent = Kind::ALL.map(|kind| {
                timed(&series(kind, n, step, all, seed), |values| {
                    std::hint::black_box(detect(values, &Options::default()));
                })
            });
            print(&format!("{n} points, {what}: µs per series"), &spent, goal);
        }
    }
    for n in [250, 10_000] {
        for (step, what) in [(1.0, "unchanged"), (1.05, "5 % step")] {
            let all = (count * 25 / n as u64).max(1);
            let spent = Kind::ALL.map(|kind| {
                timed(&series(kind, n, step, all, seed), |values| {
                    let mut history = History::new(Options::default(), n);
                    for value in values {
                        history.append(*value);
                    }
                    std::hint::black_box(history.changes());
                }) / n as f64
            });
            let what = format!("{n} points appended one by one, {what}: µs per sample");
            print(&what, &spent, Some(10.0));
        }
    }
}

/// Microseconds of CPU per series.
fn timed(series: &[Vec<f64>], judge: impl Fn(&[f64])) -> f64 {
    let (start, mut passes) = (cpu_ns(), 0);
    loop {
        series.iter().for_each(|values| judge(values));
        passes += 1;
        let spent = cpu_ns() - start;
        if spent >= LEAST_NS {
            return spent as f64 / 1e3 / (passes * series.len()) as f64;
        }
    }
}

fn series(kind: Kind, n: usize, step: f64, count: u64, seed: u64) -> Vec<Vec<f64>> {
    let mut noise = Noise::new(seed * 1_000 + kind as u64);
    let factors: Vec<f64> = (0..n)
        .map(|place| if place < n * 3 / 5 { 1.0 } else { step })
        .collect();
    (0..count)
        .map(|_| kind.series(&mut noise, &factors))
        .collect()
}

fn rows(count: u64, seed: u64) -> String {
    let mut text = String::from("series,value\n");
    for kind in Kind::ALL {
        let all = series(kind, 250, 1.0, count, seed);
        for (place, values) in all.iter().enumerate() {
            for value in values {
                text += &format!("{kind:?}{place},{value}\n");
            }
        }
    }
    text
}

fn print(what: &str, spent: &[f64], goal: Option<f64>) {
    let mean = spent.iter().sum::<f64>() / spent.len() as f64;
    let ratio = goal.map_or(String::new(), |goal| {
        format!(", {:.2} of the goal {goal}", mean / goal)
    });
    let each: Vec<String> = Kind::ALL
        .iter()
        .zip(spent)
        .map(|(kind, spent)| format!("{kind:?} {spent:.1}"))
        .collect();
    println!("{what}: {mean:.1}{ratio} ({})", each.join(", "));
}

/// Nanoseconds that this thread has been on a processor.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .expect("Linux with scheduler statistics");
    let first = text.split(' ').next().expect("text has a first word");
    first.parse().expect("the first word is a number")
}
