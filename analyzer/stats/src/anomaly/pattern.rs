//! How far the latest short window is from every window kept so far: novelty of shape. It ranks nothing.

/// Points of a window.
const POINTS: usize = 5;
/// Windows kept.
const KEPT: usize = 256;
/// A past window is kept if it is farther from its nearest than is typical; the typical distance adapts at this rate.
const ADAPT: f64 = 0.01;

type Shape = [f64; POINTS];

/// Windows of `POINTS × pool` samples, each point the mean of `pool` samples.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pool: usize,
    recent: Vec<f64>,
    next: usize,
    seen: usize,
    kept: Vec<Shape>,
    oldest: usize,
    typical: f64,
    waiting: Vec<Shape>,
    wait_next: usize,
}

impl Pattern {
    /// `gap`: windows enter the memory only so many samples later, lest each window find itself.
    pub(super) fn new(pool: usize, gap: usize) -> Self {
        Self {
            pool,
            recent: vec![0.0; POINTS * pool],
            next: 0,
            seen: 0,
            kept: Vec::new(),
            oldest: 0,
            typical: 0.0,
            waiting: Vec::with_capacity(gap),
            wait_next: 0,
        }
    }

    /// The mean absolute distance per point to the nearest kept window; 0 while nothing is kept.
    pub(super) fn novelty(&mut self, value: f64) -> f64 {
        let length = self.recent.len();
        self.recent[self.next] = value;
        self.next = (self.next + 1) % length;
        self.seen += 1;
        if self.seen < length {
            return 0.0;
        }
        let shape = self.shape();
        let distance = self.nearest(&shape);
        self.remember(shape);
        distance.unwrap_or(0.0)
    }

    fn shape(&self) -> Shape {
        let length = self.recent.len();
        std::array::from_fn(|point| {
            let sum: f64 = (0..self.pool)
                .map(|k| self.recent[(self.next + point * self.pool + k) % length])
                .sum();
            sum / self.pool as f64
        })
    }

    fn nearest(&self, shape: &Shape) -> Option<f64> {
        self.kept
            .iter()
            .map(|kept| distance(kept, shape))
            .min_by(f64::total_cmp)
            .map(|total| total / POINTS as f64)
    }

    /// Keeps a window once it is no longer recent, and only if it adds to what is kept.
    fn remember(&mut self, shape: Shape) {
        if self.waiting.len() < self.waiting.capacity() {
            self.waiting.push(shape);
            return;
        }
        let ready = std::mem::replace(&mut self.waiting[self.wait_next], shape);
        self.wait_next = (self.wait_next + 1) % self.waiting.len();
        let Some(away) = self.nearest(&ready) else {
            self.kept.push(ready);
            return;
        };
        self.typical += (away - self.typical) * ADAPT;
        if away < self.typical {
            return;
        }
        if self.kept.len() < KEPT {
            self.kept.push(ready);
        } else {
            self.kept[self.oldest] = ready;
            self.oldest = (self.oldest + 1) % KEPT;
        }
    }
}

fn distance(a: &Shape, b: &Shape) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    #[test]
    fn a_repeated_shape_is_near_and_a_new_one_is_far() {
        let mut pattern = Pattern::new(2, 20);
        let mut noise = Noise::new(3);
        let saw = |i: usize| (i % 30) as f64;
        let mut last = f64::NAN;
        for i in 0..900 {
            last = pattern.novelty(saw(i) + 0.1 * noise.normal());
        }
        assert!(last < 1.0, "{last}");
        // The level 15 itself is ordinary; staying on it is not.
        for _ in 0..10 {
            last = pattern.novelty(15.0);
        }
        assert!(last > 1.5, "{last}");
    }

    #[test]
    fn memory_is_bounded_and_the_first_windows_are_not_judged() {
        let mut pattern = Pattern::new(1, 20);
        let mut noise = Noise::new(9);
        for i in 0..20_000 {
            let novelty = pattern.novelty(noise.normal());
            assert!(novelty.is_finite());
            assert!(i >= POINTS + 19 || novelty == 0.0, "{i}");
        }
        assert_eq!(pattern.kept.len(), KEPT);
        assert_eq!(pattern.waiting.len(), 20);
    }
}
