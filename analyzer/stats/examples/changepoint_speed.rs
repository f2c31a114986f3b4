//! CPU time of the change-point detector per series and per appended sample, over all kinds of
//! generated noise: `changepoint_speed [SERIES PER KIND] [SEED]`.
//!
//! Linux only: times are those of the thread itself (`/proc/thread-self/schedstat`), so that a busy
//! machine disturbs them little. The goals beside them are those of `docs/detection.md`; a peer on
//! the same machine is timed by `benches/peers/change_points.py`.

use driftline_stats::changepoint::{History, Options, detect};
use driftline_stats::noise::{Kind, Noise};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let mut number = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (count, seed) = (number(200), number(1));
    for (n, goal) in [(250, Some(33.0)), (1_000, None), (10_000, Some(5_000.0))] {
        for step in [1.0, 1.05] {
            let share = (count * 250 / n as u64).max(2);
            let spent = Kind::ALL.map(|kind| {
                let series = series(kind, n, step, share, seed);
                let start = cpu_ns();
                for values in &series {
                    std::hint::black_box(detect(values, &Options::default()));
                }
                (cpu_ns() - start) as f64 / 1e3 / share as f64
            });
            let what = if step > 1.0 { "5 % step" } else { "unchanged" };
            print(&format!("{n} points, {what}: µs per series"), &spent, goal);
        }
    }
    for n in [250, 1_000, 10_000] {
        for step in [1.0, 1.05] {
            let share = (count * 25 / n as u64).max(1);
            let spent = Kind::ALL.map(|kind| {
                let series = series(kind, n, step, share, seed);
                let start = cpu_ns();
                for values in &series {
                    let mut history = History::new(Options::default(), n);
                    for value in values {
                        history.append(*value);
                    }
                    std::hint::black_box(history.changes());
                }
                (cpu_ns() - start) as f64 / 1e3 / share as f64 / n as f64
            });
            let what = if step > 1.0 { "5 % step" } else { "unchanged" };
            print(
                &format!("{n} points appended one by one, {what}: µs per sample"),
                &spent,
                Some(10.0),
            );
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

fn print(what: &str, spent: &[f64], goal: Option<f64>) {
    let mean = spent.iter().sum::<f64>() / spent.len() as f64;
    let ratio = goal.map_or(String::new(), |goal| {
        format!(", {:.2} of the goal {goal}", mean / goal)
    });
    let kinds = Kind::ALL.iter().zip(spent);
    let each: Vec<String> = kinds
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
