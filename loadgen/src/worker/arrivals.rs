//! Arrivals and users, until `crate::schedule` is there: the same names with the same signatures,
//! for evenly spread arrivals and ramps by linear interpolation. To be replaced by
//! `pub(crate) use crate::schedule::{Arrival, Arrivals, Mix, next_change, users_at};`.

use std::time::Duration;

use super::Share;
use crate::scenario::{Load, Scenario, Stage};

/// How long a number of users in a ramp is taken to last.
const RAMP_STEP_NS: u64 = 10_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at_ns: u64,
    pub(crate) journey: u32,
}

#[derive(Debug)]
pub(crate) struct Arrivals {
    stages: Vec<Stage>,
    stage: usize,
    start_ns: u64,
    /// Of the present stage.
    number: u64,
    share: Share,
    mix: Mix,
}

impl Arrivals {
    pub(crate) fn new(scenario: &Scenario, share: Share) -> Self {
        Self {
            stages: scenario.stages.clone(),
            stage: 0,
            start_ns: 0,
            number: u64::from(share.index),
            share,
            mix: Mix::new(scenario),
        }
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let stage = self.stages.get(self.stage)?;
            if let Load::Rate { from, to, .. } = stage.load
                && let Some(s) = reaching(self.number as f64, from, to, stage.duration)
            {
                let number = self.number;
                self.number += u64::from(self.share.of);
                return Some(Arrival {
                    at_ns: self.start_ns + (s * 1e9) as u64,
                    journey: self.mix.choose(0, number),
                });
            }
            self.start_ns += stage.duration.as_nanos() as u64;
            self.number = u64::from(self.share.index);
            self.stage += 1;
        }
    }
}

/// When the integral of a linear rate reaches a number, within a stage.
fn reaching(number: f64, from: f64, to: f64, duration: Duration) -> Option<f64> {
    let lasts = duration.as_secs_f64();
    let slope = (to - from) / lasts;
    let at = if slope.abs() < 1e-9 {
        number / from
    } else {
        ((from * from + 2.0 * slope * number).sqrt() - from) / slope
    };
    (at.is_finite() && at < lasts).then_some(at)
}

#[derive(Debug, Clone)]
pub(crate) struct Mix {
    bounds: Vec<f64>,
}

impl Mix {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let total: f64 = scenario.journeys.iter().map(|journey| journey.weight).sum();
        let bounds = scenario.journeys.iter().scan(0.0, |sum, journey| {
            *sum += journey.weight / total;
            Some(*sum)
        });
        Self {
            bounds: bounds.collect(),
        }
    }

    pub(crate) fn choose(&self, stream: u64, number: u64) -> u32 {
        let mut bits = stream.rotate_left(32) ^ number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let uniform = ((bits ^ bits >> 31) >> 11) as f64 / (1_u64 << 53) as f64;
        let at = self.bounds.iter().position(|&bound| uniform < bound);
        at.unwrap_or(self.bounds.len().saturating_sub(1)) as u32
    }
}

pub(crate) fn users_at(scenario: &Scenario, share: Share, ns: u64) -> u32 {
    let mut start = 0;
    for stage in &scenario.stages {
        let lasts = stage.duration.as_nanos() as u64;
        if ns < start + lasts {
            let Load::Users { from, to } = stage.load else {
                return 0;
            };
            let part = (ns - start) as f64 / lasts as f64;
            let users = f64::from(from) + (f64::from(to) - f64::from(from)) * part;
            return share.split(users.round() as u32);
        }
        start += lasts;
    }
    0
}

pub(crate) fn next_change(scenario: &Scenario, _: Share, ns: u64) -> Option<u64> {
    let mut start = 0;
    for stage in &scenario.stages {
        let end = start + stage.duration.as_nanos() as u64;
        if ns < end {
            let is_ramp = matches!(stage.load, Load::Users { from, to } if from != to);
            return Some(if is_ramp {
                end.min(ns + RAMP_STEP_NS)
            } else {
                end
            });
        }
        start = end;
    }
    None
}
