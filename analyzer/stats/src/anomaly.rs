//! A streaming, causal, contextual anomaly detector for one series.
//!
//! What an anomaly means, and grouping over a fleet, is left to others.

mod daily;
mod pattern;
mod tail;

use daily::Daily;
use pattern::Pattern;
use tail::Tail;

/// Streams.
pub const STREAMS: usize = 10;

/// Options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// c
    pub threshold: f64,
    /// growth per decade
    pub growth: f64,
    /// hold
    pub hold: u64,
    /// hold as part of history
    pub hold_part: f64,
    /// escalate
    pub escalate: f64,
    /// memory
    pub memory: f64,
    /// warm
    pub warm: u64,
    /// handicap per stream
    pub handicap: [f64; STREAMS],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threshold: 3.75,
            growth: 0.5,
            hold: 200,
            hold_part: 0.0,
            escalate: 99.0,
            memory: 8000.0,
            warm: 100,
            handicap: [0.0; STREAMS],
        }
    }
}

/// Direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// above
    Up,
    /// below
    Down,
}

/// Anomaly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anomaly {
    /// index
    pub index: u64,
    /// score
    pub score: f64,
    /// expected
    pub expected: f64,
    /// direction
    pub direction: Direction,
}

/// Detector.
#[derive(Debug, Clone)]
pub struct Detector {
    options: Options,
    seen: u64,
    used: u64,
    short: Ewma,
    long: Ewma,
    activity: Ewma,
    surprise: Ewma,
    previous: f64,
    tails: Vec<Tail>,
    daily: Daily,
    fine: Pattern,
    coarse: Pattern,
    last: Option<(u64, f64)>,
    /// scores
    pub scores: [f64; STREAMS],
}

#[derive(Debug, Clone)]
struct Ewma {
    a: f64,
    w: f64,
    m: f64,
}
impl Ewma {
    fn new(n: f64) -> Self {
        Self {
            a: 1.0 / n,
            w: 0.0,
            m: 0.0,
        }
    }
    fn push(&mut self, x: f64) -> f64 {
        self.w = self.w * (1.0 - self.a) + 1.0;
        self.m += (x - self.m) / self.w;
        self.m
    }
}

impl Detector {
    /// New.
    pub fn new(options: Options) -> Self {
        let e = |k: &str, d: f64| {
            std::env::var(k)
                .ok()
                .and_then(|v| v.parse().ok())
                .unwrap_or(d)
        };
        Self {
            options,
            seen: 0,
            used: 0,
            short: Ewma::new(e("SH", 8.0)),
            long: Ewma::new(e("LO", 1000.0)),
            activity: Ewma::new(e("AC", 10.0)),
            surprise: Ewma::new(e("SU", 30.0)),
            previous: 0.0,
            tails: (0..STREAMS)
                .map(|s| {
                    Tail::new(
                        options.memory,
                        options.warm + if s == 9 { options.warm } else { 0 },
                    )
                })
                .collect(),
            daily: Daily::new(),
            fine: Pattern::new(1, 20),
            coarse: Pattern::new(4, 20),
            last: None,
            scores: [0.0; STREAMS],
        }
    }
    /// Push.
    pub fn push(&mut self, timestamp_s: i64, value: f64) -> Option<Anomaly> {
        let index = self.seen;
        self.seen += 1;
        if !value.is_finite() {
            return None;
        }
        let x = value.clamp(-1e150, 1e150);
        if self.used == 0 {
            self.previous = x;
            self.short.push(x);
            self.long.push(x);
        }
        let jump = x - self.short.m;
        let away = x - self.long.m;
        let activity = self.activity.push((x - self.previous).abs());
        let env = self.daily.envelope(timestamp_s, x);
        let (up, down) = env.map_or((0.0, 0.0), |e| (x - e.high, e.low - x));
        let fine = self.fine.novelty(x);
        let coarse = self.coarse.novelty(x);
        let floor = 1e-9 * x.abs().max(self.long.m.abs());
        let r = [jump, -jump, away, -away, activity, up, down, fine, coarse];
        let mut best = 0.0_f64;
        for (s, v) in r.iter().enumerate() {
            self.scores[s] = self.tails[s].rank(*v, floor);
            if s < 9 {
                best = best.max(self.scores[s]);
            }
        }
        let long = self.surprise.push(
            self.scores[..5]
                .iter()
                .copied()
                .fold(0.0, f64::max)
                .min(8.0),
        );
        self.scores[9] = self.tails[9].rank(long, 1e-3);
        self.used += 1;
        let expected = self.short.m;
        self.short.push(x);
        self.long.push(x);
        self.previous = x;
        let _ = best;
        let score = self
            .scores
            .iter()
            .zip(&self.options.handicap)
            .map(|(s, h)| s - h)
            .fold(0.0, f64::max);
        let bar = self.options.threshold + self.options.growth * ((self.used as f64).log10() - 3.0);
        if score < bar {
            return None;
        }
        let hold = self
            .options
            .hold
            .max((self.options.hold_part * self.used as f64) as u64);
        if let Some((at, s)) = self.last
            && self.used - at <= hold
            && score < s + self.options.escalate
        {
            return None;
        }
        self.last = Some((self.used, score));
        Some(Anomaly {
            index,
            score,
            expected,
            direction: if x >= expected {
                Direction::Up
            } else {
                Direction::Down
            },
        })
    }
}

/// Detect.
pub fn detect(timestamps_s: &[i64], values: &[f64], options: Options) -> Vec<Anomaly> {
    let mut d = Detector::new(options);
    timestamps_s
        .iter()
        .zip(values)
        .filter_map(|(t, v)| d.push(*t, *v))
        .collect()
}
