//! What detection is worth on this installation: its own past is judged once more, by the very code
//! that judges its days, where nothing is known to have changed; and steps of known size are planted
//! into copies of its series. What comes of it is a rate of false alarms with its upper limit, and
//! the share of steps that is found.
//!
//! Changes that nobody has recorded count as false alarms, so that the rate errs to the worse.

mod replay;

use driftline_schemas::{Component, Event, EventName};
use driftline_stats::binomial;
use driftline_stats::noise::Noise;
use serde_json::{Value, json};

use crate::columns::Columns;
use crate::compare::{
    CompareOptions, CompareRunsError, RunCompareOptions, Verdict, Window, compare, compare_runs,
};
use crate::engine::{Engine, EngineError};
use crate::nightly::{self, NightlyOptions, points, runs};

/// Confidence of the intervals of rates.
const CONFIDENCE: f64 = 0.95;
/// Steps of time that are left out around what is known to have happened.
const MARGIN_STEPS: i64 = 6;
/// Compared windows are a part of the longest stretch, within these bounds in seconds.
const PAIRS_OF_STRETCH: i64 = 8;
const PAIR_S: (i64, i64) = (600, 6 * 3_600);
const SECOND_US: i64 = 1_000_000;

/// What is replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidateOptions {
    /// Equal seeds over equal tables give equal results.
    pub seed: u64,
    /// The past that is replayed.
    pub whole: Window,
    /// How days are analysed; its day is not looked at.
    pub nightly: NightlyOptions,
    /// Days at most.
    pub nights: usize,
    /// Pairs of windows, and of load runs, at most.
    pub pairs: usize,
    /// Series at most, chosen at random.
    pub series: usize,
    /// The sizes of planted steps, in percent.
    pub effects_pct: Vec<f64>,
    /// Steps of each size.
    pub planted: usize,
}

/// How often something was, of how many times that it could have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// How often it was.
    pub hits: u64,
    /// How often it could have been.
    pub trials: u64,
}

/// The power for one size of step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Power {
    /// The size, in percent of the level.
    pub effect_pct: f64,
    /// Steps that were planted, and found.
    pub found: Rate,
}

/// What the past says of detection.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// The past that was held.
    pub whole: Option<Window>,
    /// Length of a point, in seconds.
    pub step_s: i64,
    /// The days that were replayed.
    pub nights: Vec<Window>,
    /// Times at which something is known to have happened.
    pub known: usize,
    /// Of a series on a day: that it was said to have changed.
    pub series_alarms: Rate,
    /// Of a day: that it had a finding.
    pub night_alarms: Rate,
    /// Of a series in two adjacent windows: that it was said to have moved.
    pub compare_alarms: Rate,
    /// Of two load runs of one scenario with nothing known between them: that one was said to be
    /// better or worse.
    pub run_alarms: Rate,
    /// By size of step, ascending.
    pub power: Vec<Power>,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            whole: Window {
                from_us: 0,
                until_us: 0,
            },
            nightly: NightlyOptions::default(),
            nights: 14,
            pairs: 20,
            series: 2_000,
            effects_pct: vec![2.0, 5.0, 10.0, 20.0, 50.0],
            planted: 100,
        }
    }
}

impl Rate {
    fn add(&mut self, hits: usize, trials: usize) {
        self.hits += hits as u64;
        self.trials += trials as u64;
    }

    /// The share; `None` of nothing.
    pub fn share(&self) -> Option<f64> {
        (self.trials > 0).then(|| self.hits as f64 / self.trials as f64)
    }

    /// The interval of the share at 95 %, by Clopper and Pearson.
    pub fn interval(&self) -> (f64, f64) {
        binomial::interval(self.hits, self.trials, CONFIDENCE)
    }

    fn to_json(self) -> Value {
        let (lo, hi) = self.interval();
        json!({
            "hits": self.hits,
            "trials": self.trials,
            "share": self.share(),
            "ci_lo": lo,
            "ci_hi": hi,
        })
    }
}

impl Validation {
    /// Whether there was nothing to judge detection by.
    pub fn is_empty(&self) -> bool {
        self.series_alarms.trials == 0
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let power = |power: &Power| {
            let mut found = power.found.to_json();
            found["effect_pct"] = json!(power.effect_pct);
            found
        };
        json!({
            "from_us": self.whole.map(|whole| whole.from_us),
            "until_us": self.whole.map(|whole| whole.until_us),
            "step_s": self.step_s,
            "nights": self.nights.len(),
            "known_events": self.known,
            "false_alarms": {
                "series_per_night": self.series_alarms.to_json(),
                "nights": self.night_alarms.to_json(),
                "compared_windows": self.compare_alarms.to_json(),
                "compared_runs": self.run_alarms.to_json(),
            },
            "power": self.power.iter().map(power).collect::<Vec<_>>(),
        })
    }

    /// The event that keeps the result.
    pub fn event(&self, seed: u64, now_us: i64) -> Event {
        let rate = self.series_alarms;
        let (_, upper) = rate.interval();
        Event {
            ts_us: now_us,
            name: EventName::DetectionValidated,
            component: Component::Driftline,
            subject: "detection".to_owned(),
            message: format!(
                "{} false alarms in {} unchanged series: upper limit {:.2} per 1,000",
                rate.hits,
                rate.trials,
                1_000.0 * upper
            ),
            attributes: vec![
                ("false_alarms".to_owned(), rate.hits.to_string()),
                ("judged".to_owned(), rate.trials.to_string()),
                ("upper_limit".to_owned(), upper.to_string()),
                ("seed".to_owned(), seed.to_string()),
                ("result".to_owned(), self.to_json().to_string()),
            ],
        }
    }
}

/// Replays the past.
pub async fn validate(
    engine: &Engine,
    options: &ValidateOptions,
) -> Result<Validation, CompareRunsError> {
    let mut noise = Noise::new(options.seed);
    let mut validation = Validation {
        whole: points::span(engine, options.whole).await?,
        step_s: 0,
        nights: Vec::new(),
        known: 0,
        series_alarms: Rate::default(),
        night_alarms: Rate::default(),
        compare_alarms: Rate::default(),
        run_alarms: Rate::default(),
        power: Vec::new(),
    };
    let known = known(engine, options.whole).await?;
    validation.run_alarms = runs_alike(engine, options, &known.changes_us).await?;
    let known = known.all();
    validation.known = known.len();
    let Some(whole) = validation.whole else {
        return Ok(validation);
    };
    let (step_s, series) = nightly::series(engine, options.whole).await?;
    validation.step_s = step_s;
    let series = replay::choose(series, options.series, &mut noise);
    let clean = replay::stretches(whole, &known, MARGIN_STEPS * step_s * SECOND_US);
    let nights = replay::nights(&clean, whole, step_s, options.nights, &mut noise);
    let quiet = replay::replay(&series, step_s, &nights, &options.nightly);
    validation.series_alarms = quiet.series;
    validation.night_alarms = quiet.nights;
    for effect_pct in &options.effects_pct {
        validation.power.push(replay::power(
            &series,
            step_s,
            &nights,
            &options.nightly,
            (*effect_pct, options.planted),
            &mut noise,
        ));
    }
    let longest_s = replay::longest_us(&clean) / SECOND_US;
    let length_s = (longest_s / PAIRS_OF_STRETCH).clamp(PAIR_S.0, PAIR_S.1);
    let pairs = replay::pairs(&clean, length_s * SECOND_US, options.pairs, &mut noise);
    validation.compare_alarms = windows_alike(engine, &pairs).await?;
    validation.nights = nights;
    Ok(validation)
}

/// Times at which something is known to have happened, ascending.
#[derive(Default)]
struct Known {
    /// Marks, and findings that somebody has acknowledged or resolved. One that nobody has looked at
    /// may be a false alarm itself, and to leave it out would flatter the rate.
    changes_us: Vec<i64>,
    /// Load runs move everything, when they begin and when they end.
    runs_us: Vec<i64>,
}

impl Known {
    fn all(&self) -> Vec<i64> {
        [self.changes_us.as_slice(), &self.runs_us].concat()
    }
}

async fn known(engine: &Engine, whole: Window) -> Result<Known, EngineError> {
    let sql = "SELECT ts_us, is_run FROM ( \
                   SELECT CAST(ts AS BIGINT) AS ts_us, name <> 'Marked' AS is_run FROM events \
                   WHERE (name = 'Marked' AND subject IN ('deploy', 'config', 'note')) \
                       OR name IN ('RunStarted', 'RunFinished') \
                   UNION ALL \
                   SELECT CAST(onset AS BIGINT), false FROM findings \
                   WHERE state IN ('acknowledged', 'fixed', 'accepted') \
               ) WHERE ts_us >= CAST($from AS BIGINT) AND ts_us < CAST($until AS BIGINT) \
               ORDER BY ts_us";
    let rows = engine.collect(sql, &whole.options()).await?;
    let columns = Columns::new("known", &rows)?;
    let (ts_us, is_run) = (columns.integers("ts_us")?, columns.booleans("is_run")?);
    let mut known = Known::default();
    for row in 0..columns.rows() {
        match is_run.value(row) {
            true => known.runs_us.push(ts_us.value(row)),
            false => known.changes_us.push(ts_us.value(row)),
        }
    }
    Ok(known)
}

async fn windows_alike(engine: &Engine, pairs: &[(Window, Window)]) -> Result<Rate, EngineError> {
    let mut rate = Rate::default();
    for (a, b) in pairs {
        let shifts = compare(engine, *a, *b, &CompareOptions::default()).await?;
        let judged = shifts
            .iter()
            .filter(|shift| shift.verdict != Verdict::TooLittleData);
        let moved = judged
            .clone()
            .filter(|shift| shift.verdict != Verdict::NoChange);
        rate.add(moved.count(), judged.count());
    }
    Ok(rate)
}

/// Runs against the one before of their scenario, where no known change lies between their beginnings.
async fn runs_alike(
    engine: &Engine,
    options: &ValidateOptions,
    changes_us: &[i64],
) -> Result<Rate, CompareRunsError> {
    let mut rate = Rate::default();
    let pairs = runs::pairs(engine, options.whole).await?;
    let alike = pairs
        .iter()
        .filter_map(|pair| Some((pair.before.as_ref()?, pair.before_us?, pair)))
        .filter(|(_, before_us, pair)| {
            !changes_us
                .iter()
                .any(|at_us| (*before_us..=pair.started_us).contains(at_us))
        });
    for (before, _, pair) in alike.take(options.pairs) {
        let compared =
            compare_runs(engine, before, &pair.run, &RunCompareOptions::default()).await?;
        match compared.verdict() {
            Verdict::TooLittleData => {}
            Verdict::NoChange => rate.add(0, 1),
            _ => rate.add(1, 1),
        }
    }
    Ok(rate)
}
