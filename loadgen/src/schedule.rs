//! When arrivals come and how many users are active: pure functions of a scenario, its seed and a
//! share of the run. What an arrival does, and whether it is in time, is left to the worker.

mod mix;
mod ramp;
mod users;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{self, Load, Scenario};
use crate::worker::Share;
use ramp::{ARRIVAL, Ramp};

pub use mix::Mix;
pub use users::{next_change, users_at};

/// The beginning of one operation that the schedule calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Nanoseconds since the run's beginning.
    pub at_ns: u64,
    /// Index into [`Scenario::journeys`].
    pub journey: u32,
}

/// The arrivals of a share of a run, in order, in constant memory.
///
/// Evenly spread arrivals are numbered through all such stages; arrival `k` comes when the
/// integrated rate reaches `k` and belongs to the share `k mod of`, so that all shares together are
/// the schedule of the whole. In a Poisson stage each share is a process of its own with its part
/// of the rate, by inversion of the integrated rate (Çinlar: Introduction to Stochastic Processes,
/// 1975), from its own stream of the seed.
#[derive(Debug, Clone)]
pub struct Arrivals {
    share: Share,
    mix: Mix,
    random: ChaCha8Rng,
    /// Those not yet left behind, in order.
    stages: std::vec::IntoIter<OpenStage>,
    present: Option<OpenStage>,
    /// Integral of evenly spread arrivals in the stages left behind.
    even_before: u128,
    /// Number of this share's next evenly spread arrival.
    even_next: u64,
    /// Integral in the present Poisson stage, of the whole rate, at this share's next arrival.
    poisson_at: u128,
    /// Number of this share's next Poisson arrival.
    poisson_next: u64,
}

/// A stage with arrivals.
#[derive(Debug, Clone, Copy)]
struct OpenStage {
    start_ns: u64,
    ramp: Ramp,
    poisson: bool,
}

impl Arrivals {
    /// The arrivals of a share; none for a scenario without rates.
    pub fn new(scenario: &Scenario, share: Share) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(scenario.seed);
        random.set_stream(u64::from(share.index));
        let mut arrivals = Self {
            share,
            mix: Mix::new(scenario),
            random,
            stages: open_stages(scenario).into_iter(),
            present: None,
            even_before: 0,
            even_next: u64::from(share.index),
            poisson_at: 0,
            poisson_next: 0,
        };
        arrivals.enter_next();
        arrivals
    }

    /// Goes on to the next stage with arrivals. A Poisson process has no memory, so that it may
    /// begin anew in each stage.
    fn enter_next(&mut self) {
        self.present = self.stages.next();
        if self.present.is_some_and(|stage| stage.poisson) {
            self.poisson_at = self.gap();
        }
    }

    /// The integral of the whole rate until this share's next Poisson arrival: exponential with
    /// mean 1, as many times as there are shares.
    fn gap(&mut self) -> u128 {
        // In (0, 1], so that the logarithm is finite.
        let uniform = 1.0 - self.random.random::<f64>();
        (-uniform.ln() * ARRIVAL as f64) as u128 * u128::from(self.share.of)
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let stage = self.present?;
            let whole = stage.ramp.whole();
            let amount = match stage.poisson {
                true => self.poisson_at,
                // Never negative: the arrivals of stages left behind are left behind too.
                false => u128::from(self.even_next) * ARRIVAL - self.even_before,
            };
            if amount >= whole {
                if !stage.poisson {
                    self.even_before += whole;
                }
                self.enter_next();
                continue;
            }
            let (stream, number) = match stage.poisson {
                true => (u64::from(self.share.index) + 1, self.poisson_next),
                false => (0, self.even_next),
            };
            if stage.poisson {
                self.poisson_at += self.gap();
                self.poisson_next += 1;
            } else {
                self.even_next += u64::from(self.share.of);
            }
            let within = stage.ramp.reaching(amount);
            return Some(Arrival {
                // An arrival belongs to the stage that called for it, to its last nanosecond.
                at_ns: stage.start_ns + within.min(stage.ramp.duration_ns() - 1),
                journey: self.mix.choose(stream, number),
            });
        }
    }
}

fn open_stages(scenario: &Scenario) -> Vec<OpenStage> {
    let mut start_ns = 0;
    let mut stages = Vec::new();
    for stage in &scenario.stages {
        if let Load::Rate { from, to, arrival } = stage.load {
            let ramp = Ramp::new(from, to, stage.duration);
            if ramp.whole() > 0 {
                stages.push(OpenStage {
                    start_ns,
                    ramp,
                    poisson: arrival == scenario::Arrival::Poisson,
                });
            }
        }
        start_ns += stage.duration.as_nanos() as u64;
    }
    stages
}

/// Arrivals that all stages call for together: exact for evenly spread ones, the mean for Poisson
/// ones.
pub fn expected(scenario: &Scenario) -> u64 {
    let mut even = 0;
    let mut poisson = 0;
    for stage in open_stages(scenario) {
        match stage.poisson {
            true => poisson += stage.ramp.whole(),
            false => even += stage.ramp.whole(),
        }
    }
    (even.div_ceil(ARRIVAL) + (poisson + ARRIVAL / 2) / ARRIVAL) as u64
}

#[cfg(test)]
mod tests;
