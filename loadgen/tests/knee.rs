//! The search of the breaking point against simulated targets whose truth is known in closed form:
//! how often the interval holds the true knee, how often those of the Universal Scalability Law hold
//! its parameters, and what is said where there is no knee to be found. Everything is seeded.

#[path = "knee/worlds.rs"]
mod worlds;

use driftline_loadgen::knee::{
    Estimate, Judgement, Knee, Reason, SearchConfig, SearchOptions, UslFit, UslPoint, Verdict,
    find, svg, text,
};
use driftline_loadgen::threshold::{Comparison, Measure, Threshold};
use worlds::{Law, Line, ScaledServer, p95_below};

const RUNS: u64 = 200;

fn options() -> SearchOptions {
    SearchOptions {
        start_rate: 10.0,
        highest_rate: 10_000.0,
        ..SearchOptions::default()
    }
}

fn search(options: SearchOptions, bound_s: f64, world: &mut dyn worlds::World) -> Knee {
    let config = SearchConfig::new(options, &[p95_below(bound_s)]).expect("the options fit");
    find(config, |plan, monitor| {
        Ok::<_, ()>(world.run(plan, monitor))
    })
    .expect("worlds do not fail")
}

/// Figures over many searches.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    found: u64,
    covered: u64,
    below: u64,
    errors: Vec<f64>,
    widths: Vec<f64>,
    steps: u64,
    seconds: f64,
}

impl Tally {
    fn take(&mut self, knee: &Knee, truth: f64) {
        self.runs += 1;
        self.found += u64::from(knee.verdict == Verdict::Found);
        self.steps += knee.steps.len() as u64;
        self.seconds += knee
            .steps
            .iter()
            .map(|step| step.report.seconds)
            .sum::<f64>();
        if let (Some(rate), Some((low, high))) = (knee.rate, knee.interval) {
            assert!(
                low <= rate && rate <= high,
                "{rate} outside {low} to {high}"
            );
            self.covered += u64::from(low <= truth && truth <= high);
            self.below += u64::from(truth < low);
            self.errors.push((rate / truth - 1.0).abs());
            self.widths.push((high - low) / rate);
        }
    }

    fn judge(mut self, name: &str) {
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (error, width) = (median(&mut self.errors), median(&mut self.widths));
        println!(
            "{name}: {} of {} found, interval holds the truth in {} (below it in {}), median error {:.2} %, worst {:.1} %, median width {:.1} %, {:.1} steps and {:.0} s a search",
            self.found,
            self.runs,
            self.covered,
            self.below,
            error * 100.0,
            self.errors.last().map_or(0.0, |it| it * 100.0),
            width * 100.0,
            self.steps as f64 / self.runs as f64,
            self.seconds / self.runs as f64,
        );
        assert!(
            self.covered * 10 >= self.runs * 9,
            "{name}: covered {}",
            self.covered
        );
        assert!(error <= 0.05, "{name}: median error {error}");
        assert!(
            self.found * 100 >= self.runs * 95,
            "{name}: found {}",
            self.found
        );
    }
}

#[test]
fn the_interval_holds_the_knee_of_a_server_under_the_law() {
    let mut tally = Tally::default();
    let mut law = LawTally::default();
    for seed in 0..RUNS {
        let mut world = ScaledServer::random(seed);
        let knee = search(options(), world.bound_s(), &mut world);
        tally.take(&knee, world.knee());
        law.take(knee.usl.as_ref(), &world.law);
    }
    law.judge("law over searches");
    tally.judge("server under the law");
}

#[test]
fn the_interval_holds_the_knee_of_a_queue_simulated_request_by_request() {
    let mut tally = Tally::default();
    for seed in 0..RUNS {
        let mut world = Line::random(seed);
        let knee = search(options(), world.bound_s, &mut world);
        tally.take(&knee, world.knee());
    }
    tally.judge("single queue");
}

/// How often intervals hold the law's parameters.
#[derive(Debug, Default)]
struct LawTally {
    fits: u64,
    sigma: u64,
    kappa: u64,
    lambda: u64,
    peaks: u64,
    peaks_held: u64,
}

impl LawTally {
    fn take(&mut self, fit: Option<&UslFit>, truth: &Law) {
        let Some(fit) = fit else { return };
        let holds = |estimate: &Estimate, truth: f64| {
            u64::from(estimate.low <= truth && truth <= estimate.high)
        };
        self.fits += 1;
        self.lambda += holds(&fit.lambda, truth.lambda);
        self.sigma += holds(&fit.sigma, truth.sigma);
        self.kappa += holds(&fit.kappa, truth.kappa);
        if let Some(peak) = &fit.peak {
            self.peaks += 1;
            self.peaks_held += holds(&peak.concurrency, truth.peak());
        }
    }

    fn judge(&self, name: &str) {
        println!("{name}: {self:?}");
        assert!(self.fits * 10 >= RUNS * 9, "{name}: fitted {}", self.fits);
        for (parameter, held) in [
            ("sigma", self.sigma),
            ("kappa", self.kappa),
            ("lambda", self.lambda),
        ] {
            let share = held as f64 / self.fits as f64;
            assert!(
                (0.90..=0.98).contains(&share),
                "{name}: {parameter} held in {share:.3}"
            );
        }
    }
}

#[test]
fn intervals_of_the_law_hold_its_parameters_in_a_closed_model() {
    let mut tally = LawTally::default();
    for seed in 0..RUNS {
        let (truth, points) = worlds::closed_points(seed, 0.02);
        tally.take(UslFit::of(&points, seed, 1_000).as_ref(), &truth);
    }
    tally.judge("law over a closed model");
}

#[test]
fn without_coherency_the_law_foresees_no_peak() {
    let law = Law {
        lambda: 100.0,
        sigma: 0.05,
        kappa: 0.0,
    };
    let (mut without, mut fits) = (0, 0);
    for seed in 0..40 {
        let points: Vec<UslPoint> = worlds::points_of(&law, seed, 0.02);
        let fit = UslFit::of(&points, seed, 500).expect("it fits");
        fits += 1;
        without += u32::from(fit.peak.is_none());
    }
    assert!(without * 100 >= fits * 90, "{without} of {fits}");
}

#[test]
fn a_limited_generator_never_reports_a_knee() {
    for seed in 0..40 {
        let mut world = ScaledServer::random(seed);
        // It gives up below the true knee, in a different place each time.
        world.generator_rate = world.knee() * (0.2 + 0.015 * seed as f64);
        let knee = search(options(), world.bound_s(), &mut world);
        assert_eq!(knee.verdict, Verdict::GeneratorLimited, "seed {seed}");
        assert_eq!(
            (knee.rate, knee.interval, &knee.reason),
            (None, None, &None)
        );
        assert!(
            knee.held_rate
                .is_none_or(|held| held <= world.generator_rate)
        );
        assert!(text(&knee).starts_with("No breaking point: the generator"));
    }
}

#[test]
fn a_target_that_never_saturates_is_not_reached() {
    for seed in 0..20 {
        let mut world = ScaledServer::random(seed);
        world.law = Law {
            lambda: 100.0,
            sigma: 0.0,
            kappa: 0.0,
        };
        let highest_rate = 300.0;
        let options = SearchOptions {
            highest_rate,
            ..options()
        };
        let knee = search(options, 0.5, &mut world);
        assert_eq!(knee.verdict, Verdict::NotReached, "seed {seed}");
        assert_eq!((knee.rate, knee.held_rate), (None, Some(highest_rate)));
        assert!(knee.usl.is_none_or(|usl| usl.peak.is_none()), "seed {seed}");
    }
}

#[test]
fn one_stalled_step_does_not_fool_the_search() {
    let mut tally = Tally::default();
    for seed in 0..60 {
        let mut world = ScaledServer::random(seed);
        world.stalled_step = Some(1 + seed as usize % 12);
        let knee = search(options(), world.bound_s(), &mut world);
        tally.take(&knee, world.knee());
    }
    tally.judge("one stalled step");
}

#[test]
fn a_broken_target_is_not_called_a_knee() {
    let mut world = ScaledServer::random(1);
    world.error_share = 0.9;
    let knee = search(options(), world.bound_s(), &mut world);
    assert_eq!(
        (knee.verdict, knee.rate, knee.safe_rate),
        (Verdict::TargetFailed, None, None)
    );
    assert_eq!(knee.reason, Some(Reason::Errors));
    assert_eq!(knee.steps.len(), 2, "confirmed once, and then given up");
}

#[test]
fn a_start_above_the_knee_is_left_downwards() {
    let mut world = ScaledServer::random(5);
    let start_rate = world.knee() * 5.0;
    let knee = search(
        SearchOptions {
            start_rate,
            ..options()
        },
        world.bound_s(),
        &mut world,
    );
    let (low, high) = knee.interval.expect("found");
    assert!(low <= world.knee() && world.knee() <= high);
}

#[test]
fn without_thresholds_the_knee_is_where_throughput_stops_following() {
    let mut world = ScaledServer::random(3);
    let config = SearchConfig::new(options(), &[]).expect("the options fit");
    let knee = find(config, |plan, monitor| {
        Ok::<_, ()>(worlds::World::run(&mut world, plan, monitor))
    })
    .expect("worlds do not fail");
    let most = world.law.throughput(world.law.peak());
    assert!(
        (knee.rate.expect("found") / most - 1.0).abs() < 0.08,
        "{:?} of {most}",
        knee.interval
    );
    assert_eq!(knee.reason, Some(Reason::ThroughputFlat));
}

#[test]
fn an_error_of_a_step_ends_the_search() {
    let config = SearchConfig::new(options(), &[]).expect("the options fit");
    assert_eq!(find(config, |_, _| Err("refused")), Err("refused"));
}

#[test]
fn thresholds_of_an_endpoint_judge_it_alone() {
    let mut world = ScaledServer::random(7);
    let of_endpoint = |endpoint| Threshold {
        endpoint: Some(endpoint),
        ..p95_below(world.bound_s())
    };
    let limits = [
        of_endpoint(0),
        Threshold {
            measure: Measure::Mean,
            comparison: Comparison::AtMost,
            text: "mean <= 1000s".to_owned(),
            bound: 1e12,
            ..p95_below(1.0)
        },
    ];
    let config = SearchConfig::new(options(), &limits).expect("the options fit");
    let truth = world.knee();
    let knee = find(config, |plan, monitor| {
        Ok::<_, ()>(worlds::World::run(&mut world, plan, monitor))
    })
    .expect("worlds do not fail");
    let (low, high) = knee.interval.expect("found");
    assert!(
        low <= truth && truth <= high,
        "{truth} outside {low} to {high}"
    );
}

#[test]
fn a_result_is_written_alike_each_time_and_survives_json() {
    let run = || {
        let mut world = ScaledServer::random(2);
        search(options(), world.bound_s(), &mut world)
    };
    let knee = run();
    let json = serde_json::to_string(&knee).expect("it is plain");
    let back: Knee = serde_json::from_str(&json).expect("it was written so");
    assert_eq!((back.verdict, back.rate.is_some()), (Verdict::Found, true));
    assert_eq!(json, serde_json::to_string(&run()).expect("it is plain"));
    let chart = svg(&knee);
    assert_eq!(chart, svg(&run()));
    assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>"));
    assert!(!chart.contains("<script") && !chart.contains("NaN") && !chart.contains("inf"));
    assert_eq!(chart.matches("<circle").count(), 2 * knee.steps.len());
    assert!(chart.contains("class=\"band\"") && chart.contains("prefers-color-scheme:dark"));
    let words = text(&knee);
    assert!(
        words.starts_with("Breaking point: ") && words.contains("Safe operating rate"),
        "{words}"
    );
    assert_eq!(
        words.matches("good\n").count(),
        knee.steps
            .iter()
            .filter(|it| it.judgement == Judgement::Good)
            .count()
    );
    if let Ok(directory) = std::env::var("KNEE_SHOW") {
        std::fs::write(format!("{directory}/knee.svg"), &chart).expect("the directory is there");
        println!("{words}");
    }
}
