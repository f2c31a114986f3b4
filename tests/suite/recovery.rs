//! Producer and sink die at named steps and at random, with blocks in flight and compaction running;
//! then the table is held against the producer's own books.
//!
//! `DRIFTLINE_CYCLES` sets the number of cycles (50 here; 1,000 is one command in the README), and
//! `DRIFTLINE_SEED` repeats a run. The seed is printed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::broker::Broker;
use crate::ledger::{Books, assert_exactly_once, committed};
use crate::process::{DEADLINE, Running, driftline, example, poll};

// Rollups wait for the end of a minute: their steps are hit when a cycle meets one.
const SINK_STEPS: [&str; 9] = [
    "files-written",
    "watermarks-written",
    "committed",
    "acknowledged",
    "compacting",
    "compacted",
    "trimming",
    "rolling-up",
    "rolled-up",
];
/// The last one is met with a broker only.
const PRODUCER_STEPS: [&str; 3] = ["appended", "synced", "shipped"];
/// Broker kills in the ordinary suite at most.
const BROKER_KILLS: u64 = 3;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

/// Commits and merges as often as possible, so that kills meet them.
fn write_config(dir: &Path, brokers: Option<&str>) -> String {
    let mut config = "[spool]\ntrim_lag_s = 0\n[sink]\ncommit_seconds = 0.05\npoll_ms = 5\nbatch_rows = 2000\ncompact_files = 3\nvacuum_seconds = 3600\n".to_owned();
    if let Some(brokers) = brokers {
        config += &format!("[kafka]\nbrokers = \"{brokers}\"\npartitions = 3\n");
    }
    let path = dir.join("driftline.toml");
    std::fs::write(&path, config).expect("write the configuration");
    path.display().to_string()
}

struct Rig<'a> {
    dir: &'a Path,
    config: String,
    brokers: Option<String>,
    random: Random,
    producers: u64,
}

impl Rig<'_> {
    fn data(&self) -> String {
        self.dir.join("data").display().to_string()
    }

    fn sink(&mut self, dies: bool) -> Running {
        let mut command = driftline(&["sink", "--config", &self.config, "--data", &self.data()]);
        if dies {
            let step = SINK_STEPS[self.random.below(SINK_STEPS.len() as u64) as usize];
            let count = 1 + self.random.below(4);
            command.env("DRIFTLINE_ABORT_AT", format!("{step}:{count}"));
        }
        Running::start(&mut command, self.dir, "sink")
    }

    fn producer(&mut self, dies: bool, blocks: Option<u64>) -> Running {
        self.producers += 1;
        let ledger = self.dir.join("ledger").display().to_string();
        let seed = self.random.below(u64::MAX).to_string();
        let mut command = Command::new(example("ledger_producer"));
        command.args([&self.data(), &ledger, "producer", &seed]);
        if let Some(blocks) = blocks {
            command.arg(blocks.to_string());
        }
        command
            .env_remove("DRIFTLINE_ABORT_AT")
            .env_remove("DRIFTLINE_KAFKA_BROKERS");
        if let Some(brokers) = &self.brokers {
            command.env("DRIFTLINE_KAFKA_BROKERS", brokers);
        }
        if dies {
            let known = if self.brokers.is_some() { 3 } else { 2 };
            let step = PRODUCER_STEPS[self.random.below(known) as usize];
            command.env(
                "DRIFTLINE_ABORT_AT",
                format!("{step}:{}", 1 + self.random.below(40)),
            );
        }
        Running::start(&mut command, self.dir, "producer")
    }

    /// One cycle: both run for a moment; then one, the other or both die, by plan or by kill.
    fn cycle(&mut self) {
        let (plan_sink, plan_producer) = (self.random.below(2) == 0, self.random.below(3) == 0);
        let mut sink = self.sink(plan_sink);
        let mut producer = self.producer(plan_producer, None);
        let time = Duration::from_millis(50 + self.random.below(400));
        if plan_sink {
            sink.ended_within(time);
        } else {
            producer.ended_within(time);
        }
        if self.random.below(2) == 0 {
            sink.kill();
            producer.kill();
        } else {
            producer.kill();
            sink.kill();
        }
    }

    /// A last producer and a sink that are left in peace; then the books must balance.
    fn settle(&mut self, what: &str) {
        let sink = self.sink(false);
        let ended_well = self.producer(false, Some(20)).finish();
        assert!(
            ended_well,
            "{what}: the last producer failed: {}",
            self.output("producer")
        );
        let books = Books::read(&self.dir.join("ledger"));
        let data = self.dir.join("data");
        let all_there = || {
            let rows = committed(&data);
            books.synced.iter().all(|(stream, next)| {
                (0..*next).all(|seq| rows.contains_key(&(stream.clone(), seq)))
            })
        };
        // Asked through the table, as any reader would; the verdict below says what is missing.
        poll(DEADLINE, all_there);
        assert!(
            sink.terminate(),
            "{what}: the sink did not end well: {}",
            self.output("sink")
        );
        assert_exactly_once(&books, &committed(&data), what);
    }

    fn output(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(format!("{name}.output"))).unwrap_or_default()
    }
}

fn seed_of(test: &str, default: u64) -> u64 {
    let seed = variable("DRIFTLINE_SEED").unwrap_or(default);
    eprintln!("{test}: DRIFTLINE_SEED={seed} repeats this run");
    seed
}

#[test]
fn spool_every_block_exactly_once_through_kills() {
    let seed = seed_of("spool", 20_260_101);
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = write_config(dir.path(), None);
    let mut rig = Rig {
        dir: dir.path(),
        config,
        brokers: None,
        random: Random(seed),
        producers: 0,
    };
    let cycles = variable("DRIFTLINE_CYCLES").unwrap_or(50);
    for cycle in 0..cycles {
        rig.cycle();
        if cycle % 25 == 24 {
            rig.settle(&format!("spool, seed {seed}, after cycle {cycle}"));
        }
    }
    rig.settle(&format!("spool, seed {seed}, at the end"));
}

#[test]
fn kafka_every_block_exactly_once_through_kills_of_all_three() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let Some(kafka) = Broker::start_own() else {
        return;
    };
    let seed = seed_of("kafka", 20_260_102);
    let config = write_config(dir.path(), Some(kafka.address()));
    let mut rig = Rig {
        dir: dir.path(),
        config,
        brokers: Some(kafka.address().to_owned()),
        random: Random(seed),
        producers: 0,
    };
    let cycles = variable("DRIFTLINE_CYCLES").unwrap_or(50) / 5;
    for cycle in 0..cycles {
        rig.cycle();
        if cycle < BROKER_KILLS {
            kafka.kill();
            kafka.restart();
        }
    }
    rig.settle(&format!("kafka, seed {seed}"));
}
