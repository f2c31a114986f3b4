//! Load-test runs with known answers, for measuring comparisons.

use super::Noise;

/// Both sides of a comparison: runs interleaved in pairs, lognormal latencies with a few slow
/// requests.
#[derive(Debug, Clone, Copy)]
pub struct LoadRuns {
    /// Of each side.
    pub runs: usize,
    /// Of each run.
    pub requests: usize,
    /// Standard deviation of the runs' effects on the log scale.
    pub run_deviation: f64,
    /// Part of the effects' variance that the runs of a pair have in common.
    pub shared: f64,
    /// Shift of all requests of the second side, on the log scale.
    pub shift: f64,
    /// Shift of its slow requests alone.
    pub tail: f64,
    /// Part of the requests that is slow: 2.5 to 6.5 times as slow.
    pub slow: f64,
}

impl Default for LoadRuns {
    fn default() -> Self {
        Self {
            runs: 5,
            requests: 150,
            run_deviation: 0.0,
            shared: 0.78,
            shift: 0.0,
            tail: 0.0,
            slow: 0.028,
        }
    }
}

impl LoadRuns {
    /// Both sides' runs, with a spread and a level of latencies of their own.
    pub fn draw(&self, noise: &mut Noise) -> [Vec<Vec<f64>>; 2] {
        let spread = 0.15 + 0.35 * noise.uniform();
        let level = 1.0 + 3.0 * noise.uniform();
        let mut sides = [Vec::new(), Vec::new()];
        for _ in 0..self.runs {
            let drift = self.run_deviation * self.shared.sqrt() * noise.normal();
            for (side, runs) in sides.iter_mut().enumerate() {
                let changed = side as f64;
                let own = self.run_deviation * (1.0 - self.shared).sqrt() * noise.normal();
                let center = level + drift + own + changed * self.shift;
                let request = |noise: &mut Noise| {
                    let body = center + spread * noise.normal();
                    if noise.uniform() < self.slow {
                        (body + (2.5 + 4.0 * noise.uniform()).ln() + changed * self.tail).exp()
                    } else {
                        body.exp()
                    }
                };
                runs.push((0..self.requests).map(|_| request(noise)).collect());
            }
        }
        sides
    }
}
