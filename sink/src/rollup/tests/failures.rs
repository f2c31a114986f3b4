//! Bounds, other writers, histories of any sort and death at any step.

use std::process::Command;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tight_bounds_cost_passes_and_change_no_row() {
    let mut lake = Lake::new();
    commit_minutes(&mut lake, &mut Noise::new(5), 0, 25).await;
    let stop = AtomicBool::new(false);
    let steps = Steps::default();
    let mut samples = Table::open(lake.data(), TableName::Samples, None)
        .await
        .expect("open")
        .expect("a table");
    let mut target = Table::open_or_create(lake.data(), TableName::Samples1m)
        .await
        .expect("create");
    let mut roller = Roller::new(Resolution::Minute);
    // A minute holds twelve samples: its series have to be divided.
    roller.limits = Limits {
        rows_held: 5,
        rows_per_pass: 60,
        shares: 4,
    };
    let now_us = START + 25 * 60 * SECOND + 20 * SECOND;
    let mut passes = 0;
    for late in [false, true] {
        if late {
            let rows: Vec<Row> = (0..25)
                .map(|at| ("x", START + at * 60 * SECOND, 1.0))
                .collect();
            lake.commit(&rows).await;
            samples.refresh().await.expect("refresh");
        }
        loop {
            passes += 1;
            let pass = Pass {
                source: &samples,
                target: &mut target,
                now_us,
                closed_us: now_us - 15 * SECOND,
                stop: &stop,
                steps: &steps,
            };
            if roller.pass(pass).await.expect("a pass") {
                break;
            }
        }
    }
    assert!(passes > 8, "{passes}");
    lake.round(now_us, false).await;
    lake.check(now_us).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_two_writers_on_one_snapshot_one_does_nothing() {
    let mut lake = Lake::new();
    commit_minutes(&mut lake, &mut Noise::new(7), 0, 90).await;
    let now_us = START + 90 * 60 * SECOND + 20 * SECOND;
    let (stop, steps) = (AtomicBool::new(false), Steps::default());
    for round in 0..2 {
        let samples = Table::open(lake.data(), TableName::Samples, None)
            .await
            .expect("open")
            .expect("a table");
        let mut targets = Vec::new();
        for _ in 0..2 {
            targets.push(
                Table::open_or_create(lake.data(), TableName::Samples1m)
                    .await
                    .expect("open"),
            );
        }
        let mut done = Vec::new();
        for target in &mut targets {
            let pass = Pass {
                source: &samples,
                target,
                now_us,
                closed_us: now_us,
                stop: &stop,
                steps: &steps,
            };
            done.push(
                Roller::new(Resolution::Minute)
                    .pass(pass)
                    .await
                    .expect("a pass"),
            );
        }
        assert_eq!(done, [true, false]);
        targets[0].refresh().await.expect("refresh");
        let named = data_files_of(&targets[0]).len();
        let day = targets[0].root().join("date=2026-01-01");
        let stands = std::fs::read_dir(day).expect("the day").count();
        // What the first round wrote and the second replaced stands until the vacuum.
        assert_eq!(stands - named, round, "files of the loser are removed");
        lake.commit(&[("x", START + 5 * SECOND, 1.0)]).await;
    }
    lake.round(now_us + 60 * SECOND, false).await;
    lake.check(now_us + 60 * SECOND).await;
}

/// Random commits, late ones among them, merges of the source under a snapshot that is being read,
/// and rounds: after each round every closed bucket is what the samples say.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_history_leads_to_what_the_samples_say() {
    for seed in 0..2 {
        let mut noise = Noise::new(100 + seed);
        let mut lake = Lake::new();
        lake.config.compact_files = 3;
        let mut now = START + 20 * 3600 * SECOND;
        for _ in 0..8 {
            for _ in 0..=noise.next_u64() % 3 {
                let back = if noise.uniform() < 0.3 {
                    30_000.0
                } else {
                    300.0
                };
                let rows: Vec<Row> = (0..50)
                    .map(|_| {
                        let label = LABELS[(noise.next_u64() % 3) as usize];
                        let ago = (noise.uniform() * back) as i64 - 60;
                        (label, now - ago * SECOND, noise.normal())
                    })
                    .collect();
                lake.commit(&rows).await;
            }
            now += (noise.uniform() * 7_200.0) as i64 * SECOND;
            let samples = Table::open(lake.data(), TableName::Samples, None)
                .await
                .expect("open")
                .expect("a table");
            let mut other = Table::open_or_create(lake.data(), TableName::Samples)
                .await
                .expect("open");
            compact_once(&mut other, 2, now / 1_000, &Steps::default())
                .await
                .expect("merge");
            let mut target = Table::open_or_create(lake.data(), TableName::Samples1m)
                .await
                .expect("open");
            let pass = Pass {
                source: &samples,
                target: &mut target,
                now_us: now,
                closed_us: now - 15 * SECOND,
                stop: &AtomicBool::new(false),
                steps: &Steps::default(),
            };
            assert!(
                Roller::new(Resolution::Minute)
                    .pass(pass)
                    .await
                    .expect("a pass")
            );
            lake.round(now, noise.uniform() < 0.3).await;
            lake.check(now).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_source_that_was_made_anew_is_read_anew() {
    let mut lake = Lake::new();
    let mut noise = Noise::new(8);
    commit_minutes(&mut lake, &mut noise.clone(), 0, 120).await;
    let now = START + 120 * 60 * SECOND + 20 * SECOND;
    lake.round(now, false).await;
    std::fs::remove_dir_all(TableName::Samples.dir(lake.data())).expect("remove");
    lake.blocks = 0;
    commit_minutes(&mut lake, &mut noise, 0, 60).await;
    lake.commit(&[("x", START + 3 * SECOND, 1.0)]).await;
    lake.round(now + 60 * SECOND, false).await;
    let hour = |rows: Rows| -> Rows {
        let first = |key: &(SeriesKey, i64)| key.1 < START + 3_600 * SECOND;
        rows.into_iter().filter(|(key, _)| first(key)).collect()
    };
    let minutes = naive(lake.data()).await.into_iter();
    let expected: Rows = minutes
        .map(|(key, rollup)| (key, rollup.encode()))
        .collect();
    let found = lake.rows(Resolution::Minute).await;
    assert_eq!(found.len(), 120 * 3, "what the new source lacks stays");
    assert_eq!(hour(found), expected);
}

/// The test runs itself as the process that dies.
#[test]
fn killed_at_any_step_it_neither_loses_nor_doubles_a_row() {
    const CHILD: &str = "DRIFTLINE_TEST_ROLLUP_CHILD";
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let now = START + 26 * 3600 * SECOND;
    if let Ok(data) = std::env::var(CHILD) {
        let plan = std::env::var("DRIFTLINE_ABORT_AT").expect("a plan");
        let steps = Arc::new(plan.parse().expect("a plan"));
        let clock = Clock::new(move || now);
        runtime().block_on(async {
            let config = SinkConfig::default();
            let maintenance = Maintenance::open(Path::new(&data), config, clock, steps).await;
            maintenance
                .expect("open")
                .round(false, &false.into())
                .await
                .expect("round");
        });
        panic!("the plan {plan} was not reached");
    }
    for plan in ["rolling-up:1", "rolled-up:1", "rolled-up:4", "rolling-up:7"] {
        runtime().block_on(async {
            let mut lake = Lake::new();
            let mut noise = Noise::new(9);
            commit_minutes(&mut lake, &mut noise, 0, 150).await;
            lake.round(START + 100 * 60 * SECOND, false).await;
            // Late rows of three hours, and minutes that have closed since.
            let late = [1, 61, 99].map(|minute| ("x", START + minute * 60 * SECOND, 5.0));
            lake.commit(&late).await;
            let status = Command::new(std::env::current_exe().expect("this program"))
                .args([
                    "--exact",
                    "rollup::tests::failures::killed_at_any_step_it_neither_loses_nor_doubles_a_row",
                ])
                .env(CHILD, lake.data())
                .env("DRIFTLINE_ABORT_AT", plan)
                .output()
                .expect("start the child");
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&status.status),
                Some(6),
                "{plan}"
            );
            lake.config.vacuum_seconds = 0;
            lake.round(now, true).await;
            lake.check(now).await;
            let table = Table::open(lake.data(), TableName::Samples1m, None)
                .await
                .expect("open")
                .expect("a table");
            let files = std::fs::read_dir(table.root().join("date=2026-01-01"))
                .expect("the day")
                .count();
            assert_eq!(
                files,
                data_files_of(&table).len(),
                "{plan}: orphans are removed"
            );
        });
    }
}
