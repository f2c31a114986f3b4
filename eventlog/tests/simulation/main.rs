//! The spool under random histories on a disk that misbehaves: appends, syncs, reads, commits and
//! trims among power losses, killed processes, failing syncs and full disks.
//!
//! `DRIFTLINE_SEED=n` replays one history, `DRIFTLINE_SEEDS=n` sets how many are run. What a
//! history does and what must hold in it is in `world`.

mod happened;
mod ledger;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use happened::Happened;
use world::World;

/// Histories in the ordinary suite; an unoptimised build takes a tenth, for it is ten times slower.
const SEEDS: u64 = if cfg!(debug_assertions) {
    1_000
} else {
    10_000
};

/// Threads that share the seeds.
const THREADS: u64 = 2;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_shown_is_taken_back() {
    if let Some(seed) = from_environment("DRIFTLINE_SEED") {
        println!("seed {seed}: {:?}", World::new(seed).run());
        return;
    }
    let seeds = from_environment("DRIFTLINE_SEEDS").unwrap_or(SEEDS);
    let workers: Vec<_> = (0..THREADS)
        .map(|first| thread::spawn(move || run_every(first, seeds)))
        .collect();
    let mut happened = Happened::default();
    for worker in workers {
        match worker.join() {
            Ok(part) => happened.add(&part),
            Err(cause) => resume_unwind(cause),
        }
    }
    println!("{seeds} seeds: {happened:?}");
    if seeds >= SEEDS {
        happened.assert_all_at_least(seeds / 100);
    }
}

/// Runs every `THREADS`-th seed, and names the one that fails.
fn run_every(first: u64, seeds: u64) -> Happened {
    let mut happened = Happened::default();
    for seed in (first..seeds).step_by(THREADS as usize) {
        match catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
            Ok(part) => happened.add(&part),
            Err(cause) => {
                eprintln!("seed {seed} failed; replay it with DRIFTLINE_SEED={seed}");
                resume_unwind(cause);
            }
        }
    }
    happened
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
    )
}
