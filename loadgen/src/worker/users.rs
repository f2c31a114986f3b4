//! The virtual users of a closed model: who is active, who thinks, who may leave. It knows nothing
//! of requests.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scenario::Think;

/// How long a user pauses after an iteration: the same in every run of the same seed.
pub(crate) fn pause_ns(think: Think, seed: u64, number: u64, iteration: u64) -> u64 {
    let from = think.from.as_nanos() as u64;
    let to = think.to.as_nanos() as u64;
    if to <= from {
        return from;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ number.rotate_left(32));
    random.set_stream(iteration);
    random.random_range(from..=to)
}

/// The users of a worker, in its own count from 0.
#[derive(Debug, Default)]
pub(crate) struct Users {
    users: Vec<User>,
    /// Users below this number are wanted.
    wanted: u32,
    present: u32,
    /// When those who think go on.
    thinking: BinaryHeap<Reverse<(u64, u32)>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct User {
    is_present: bool,
    iterations: u64,
}

impl Users {
    /// Changes how many are wanted: new ones come, and those above leave after their iteration and
    /// its pause.
    pub(crate) fn want(&mut self, wanted: u32, now_ns: u64) {
        self.wanted = wanted;
        if self.users.len() < wanted as usize {
            self.users.resize(wanted as usize, User::default());
        }
        for (number, user) in (0..wanted).zip(&mut self.users) {
            if !user.is_present {
                user.is_present = true;
                self.present += 1;
                self.thinking.push(Reverse((now_ns, number)));
            }
        }
        if wanted == 0 {
            // The run is over: nobody's thoughts are waited for.
            while let Some(Reverse((_, number))) = self.thinking.pop() {
                self.leave(number);
            }
        }
    }

    /// The next user whose pause is over, and the number of the iteration that it begins.
    pub(crate) fn next(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        while let Some(&Reverse((at_ns, number))) = self.thinking.peek()
            && at_ns <= now_ns
        {
            self.thinking.pop();
            if let Some(iteration) = self.go_on(number) {
                return Some((number, iteration));
            }
        }
        None
    }

    /// When the next user's pause is over.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.thinking.peek().map(|&Reverse((at_ns, _))| at_ns)
    }

    /// A user goes on without a pause: the number of its next iteration, or none where it leaves.
    pub(crate) fn go_on(&mut self, number: u32) -> Option<u64> {
        if number >= self.wanted {
            self.leave(number);
            return None;
        }
        let user = &mut self.users[number as usize];
        user.iterations += 1;
        Some(user.iterations - 1)
    }

    /// Iterations that a user has begun.
    pub(crate) fn iterations(&self, number: u32) -> u64 {
        self.users[number as usize].iterations
    }

    /// A user pauses after an iteration, or leaves.
    pub(crate) fn think(&mut self, number: u32, until_ns: u64) {
        match number < self.wanted {
            true => self.thinking.push(Reverse((until_ns, number))),
            false => self.leave(number),
        }
    }

    /// Active users.
    pub(crate) fn present(&self) -> u32 {
        self.present
    }

    fn leave(&mut self, number: u32) {
        let user = &mut self.users[number as usize];
        self.present -= u32::from(user.is_present);
        user.is_present = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_within_bounds_and_repeatable() {
        let think = Think {
            from: std::time::Duration::from_millis(1),
            to: std::time::Duration::from_millis(3),
        };
        let pauses: Vec<u64> = (0..100).map(|at| pause_ns(think, 7, 3, at)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| (1_000_000..=3_000_000).contains(pause))
        );
        assert!(pauses.iter().any(|&pause| pause != pauses[0]));
        assert_eq!(pauses[9], pause_ns(think, 7, 3, 9));
    }

    #[test]
    fn users_come_think_and_leave() {
        let mut users = Users::default();
        users.want(2, 5);
        assert_eq!(users.next_ns(), Some(5));
        assert_eq!(users.next(4), None);
        assert_eq!(users.next(5), Some((0, 0)));
        assert_eq!(users.next(5), Some((1, 0)));
        assert_eq!(users.next(5), None);
        assert_eq!(users.present(), 2);

        users.think(0, 20);
        assert_eq!(users.go_on(1), Some(1));
        // One is not wanted any more; it ends its iteration first.
        users.want(1, 10);
        assert_eq!(users.present(), 2);
        assert_eq!(users.go_on(1), None);
        assert_eq!(users.present(), 1);
        assert_eq!(users.next(20), Some((0, 1)));

        // Wanted again before it was seen to leave: there is still only one of it.
        users.want(0, 30);
        users.want(1, 31);
        assert_eq!(users.next(31), None);
        assert_eq!(users.go_on(0), Some(2));
        users.think(0, 100);
        users.want(0, 40);
        assert_eq!((users.present(), users.next_ns()), (0, None));
    }
}
