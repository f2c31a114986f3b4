//! Which sessions hold up others: those at the head of the queues. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

/// A session that waits, and whom for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) pid: i32,
    pub(super) blocked_by: Vec<i32>,
}

/// For each session that waits for nobody itself, how many it holds up, directly or through others;
/// the worst first. A circle, which the server will break, counts for none.
pub(super) fn heads(waiting: &[Waiting]) -> Vec<(i32, usize)> {
    let by_pid: HashMap<i32, &Waiting> = waiting.iter().map(|one| (one.pid, one)).collect();
    let mut held: BTreeMap<i32, usize> = BTreeMap::new();
    for one in waiting {
        let mut visited = HashSet::from([one.pid]);
        let mut next = one.blocked_by.clone();
        while let Some(pid) = next.pop() {
            if !visited.insert(pid) {
                continue;
            }
            match by_pid.get(&pid) {
                Some(blocker) => next.extend(&blocker.blocked_by),
                // A prepared transaction has no session: 0.
                None => *held.entry(pid).or_default() += 1,
            }
        }
    }
    let mut heads: Vec<(i32, usize)> = held.into_iter().collect();
    heads.sort_by_key(|(pid, count)| (std::cmp::Reverse(*count), *pid));
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(pid: i32, blocked_by: &[i32]) -> Waiting {
        Waiting {
            pid,
            blocked_by: blocked_by.to_vec(),
        }
    }

    #[test]
    fn the_heads_of_queues_are_found() {
        assert_eq!(heads(&[]), []);
        let queue = [waiting(2, &[1]), waiting(3, &[2, 1]), waiting(4, &[3]), waiting(6, &[5])];
        assert_eq!(heads(&queue), [(1, 3), (5, 1)]);
        assert_eq!(heads(&[waiting(1, &[2]), waiting(2, &[1])]), [], "a deadlock");
    }
}
