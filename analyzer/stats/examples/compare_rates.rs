//! False alarms, power and cover of comparisons of load runs: `compare_rates [CASES] [SEED]
//! [KIND]`, the cases per spread between runs. Five interleaved runs of 150 requests per side unless said.
//!
//! This is the program behind the shares of the false-alarm budget and the prior of the run effects.

use driftline_stats::noise::{LoadRuns, Noise};
use driftline_stats::runs::{Comparison, Design, Metric, Options, Verdict, compare};

/// Standard deviations of the runs' effects: those that the goals name, and some between and beyond.
const GOALS: [f64; 3] = [0.0, 0.03, 0.06];
const OTHERS: [f64; 4] = [0.01, 0.02, 0.045, 0.1];

/// What came of the cases of one kind.
#[derive(Default, Clone, Copy)]
struct Tally {
    cases: u32,
    /// A change of the p50 or of the p99 was told; of the p50 alone; of the p99 alone.
    told: u32,
    centre: u32,
    tail: u32,
    /// The p50, the p99 was called worse.
    worse_p50: u32,
    worse_p99: u32,
    /// The interval of the p50 covers the truth.
    covered: u32,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            cases: self.cases + other.cases,
            told: self.told + other.told,
            centre: self.centre + other.centre,
            tail: self.tail + other.tail,
            worse_p50: self.worse_p50 + other.worse_p50,
            worse_p99: self.worse_p99 + other.worse_p99,
            covered: self.covered + other.covered,
        }
    }

    /// A share of the cases and its standard error, in percent.
    fn percent(self, count: u32) -> String {
        let (share, cases) = self.share(count);
        let error = (share * (1.0 - share) / cases).sqrt();
        format!("{:.2} ± {:.2} %", 100.0 * share, 100.0 * error)
    }

    /// The same, as a number.
    fn part(self, count: u32) -> String {
        let (share, cases) = self.share(count);
        let error = (share * (1.0 - share) / cases).sqrt();
        format!("{share:.4} ± {error:.4}")
    }

    fn share(self, count: u32) -> (f64, f64) {
        let cases = f64::from(self.cases);
        (f64::from(count) / cases, cases)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| {
        let word = arguments.get(place).and_then(|word| word.parse().ok());
        word.unwrap_or(default)
    };
    let (cases, seed) = (number(0, 2_000) as u32, number(1, 1));
    let only = arguments.get(2).map_or("", String::as_str);
    let kinds: [(&str, LoadRuns, Design); 6] = [
        ("as the goals", LoadRuns::default(), Design::Interleaved),
        (
            "half of the effects shared",
            shared(0.5),
            Design::Interleaved,
        ),
        ("no effects shared", shared(0.0), Design::Interleaved),
        ("apart", shared(0.0), Design::Apart),
        ("3 runs", runs(3), Design::Interleaved),
        ("10 runs", runs(10), Design::Interleaved),
    ];
    println!("{cases} cases each, seed {seed}; ± one standard error");
    for (at, (name, kind, design)) in kinds.into_iter().enumerate() {
        if !name.contains(only) {
            continue;
        }
        println!("{name}");
        let seed = 1_000 * seed + 100 * at as u64;
        let mut all = [Tally::default(); 4];
        let others = if at == 0 { &OTHERS[..] } else { &OTHERS[3..] };
        for (place, deviation) in GOALS.iter().chain(others).enumerate() {
            let base = LoadRuns {
                run_deviation: *deviation,
                ..kind
            };
            let changes = if place < GOALS.len() { 4 } else { 1 };
            let found = measured(base, design, cases, seed + place as u64, changes);
            println!(
                "  spread {:4.1} %: {}",
                100.0 * deviation,
                unchanged(found[0])
            );
            if place < GOALS.len() {
                all = std::array::from_fn(|change| all[change].plus(found[change]));
            }
        }
        let [none, small, large, tail] = all;
        let both = none.plus(small).plus(large);
        println!(
            "  0, 3, 6 %: +5 % {}, +10 % {}, tail × 2 {}; 99 % interval covers {}",
            small.part(small.worse_p50),
            large.part(large.worse_p50),
            tail.part(tail.worse_p99),
            both.part(both.covered)
        );
    }
}

fn shared(part: f64) -> LoadRuns {
    LoadRuns {
        shared: part,
        ..LoadRuns::default()
    }
}

fn runs(runs: usize) -> LoadRuns {
    LoadRuns {
        runs,
        ..LoadRuns::default()
    }
}

fn unchanged(found: Tally) -> String {
    format!(
        "false {} (p50 {}, p99 {}), covers {}",
        found.percent(found.told),
        found.percent(found.centre),
        found.percent(found.tail),
        found.part(found.covered)
    )
}

/// The first so many of: no change, all requests 5 and 10 % slower, the slow ones twice as slow.
fn measured(base: LoadRuns, design: Design, cases: u32, seed: u64, changes: usize) -> [Tally; 4] {
    let truths = [0.0, 5.0, 10.0, 0.0_f64];
    let options = Options {
        design,
        ..Options::default()
    };
    let mut tallies = [Tally::default(); 4];
    for (change, tally) in tallies.iter_mut().take(changes).enumerate() {
        let case = LoadRuns {
            shift: (truths[change] / 100.0).ln_1p(),
            tail: if change == 3 { 2.0_f64.ln() } else { 0.0 },
            ..base
        };
        // Power needs fewer cases than one alarm in a hundred.
        let cases = if change == 0 { cases } else { cases / 4 };
        let mut noise = Noise::new(10 * seed + change as u64);
        for _ in 0..cases {
            let [a, b] = case.draw(&mut noise);
            let result = compare(&a, &b, &options);
            let of = |metric| *result.get(metric).expect("every metric is compared");
            let (p50, p99) = (of(Metric::P50), of(Metric::P99));
            let (centre, tail) = (is_change(p50.verdict), is_change(p99.verdict));
            tally.cases += 1;
            tally.told += u32::from(centre || tail);
            tally.centre += u32::from(centre);
            tally.tail += u32::from(tail);
            tally.worse_p50 += u32::from(p50.verdict == Verdict::Regression);
            tally.worse_p99 += u32::from(p99.verdict == Verdict::Regression);
            tally.covered += u32::from(holds(&p50, truths[change]));
        }
    }
    tallies
}

fn is_change(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Regression | Verdict::Improvement)
}

fn holds(found: &Comparison, truth_pct: f64) -> bool {
    found.ci_lo_pct.is_some_and(|low| low <= truth_pct)
        && found.ci_hi_pct.is_some_and(|high| truth_pct <= high)
}
