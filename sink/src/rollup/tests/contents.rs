//! What the tables hold, through late rows, replays and retention.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn closed_buckets_hold_what_the_samples_hold() {
    let mut lake = Lake::new();
    commit_minutes(&mut lake, &mut Noise::new(1), 0, 26 * 60).await;
    // Ten minutes and a bit before the end of the samples: the last buckets are open.
    let now = START + (26 * 60 - 10) * 60 * SECOND + 20 * SECOND;
    lake.round(now, false).await;
    lake.check(now).await;
    let [minutes, hours, days] = lake.all_rows().await.map(|rows| rows.len());
    assert_eq!((minutes, hours, days), ((26 * 60 - 10) * 3, 25 * 3, 3));
    lake.round(now + 24 * 3600 * SECOND, false).await;
    lake.check(now + 24 * 3600 * SECOND).await;
    assert_eq!(lake.rows(Resolution::Day).await.len(), 6);
}

/// The numbers themselves, by other formulas than those of the code.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_hour_agrees_with_its_values() {
    let mut lake = Lake::new();
    let mut noise = Noise::new(2);
    let values: Vec<f64> = noise
        .normals(3_600)
        .iter()
        .map(|v| (v * 1.5).exp())
        .collect();
    for (block, values) in values.chunks(600).enumerate() {
        let start = START + block as i64 * 600 * SECOND;
        let rows = values
            .iter()
            .zip(0..)
            .map(|(value, at)| ("x", start + at * SECOND, *value));
        lake.commit(&rows.collect::<Vec<_>>()).await;
    }
    lake.round(START + 3600 * SECOND + 20 * SECOND, false).await;
    let rows = lake.rows(Resolution::Hour).await;
    let hour = Rollup::decode(rows.values().next().expect("an hour")).expect("a rollup");
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|v| v * v).sum();
    let m2 = squares - sum * sum / 3_600.0;
    assert_eq!((rows.len(), hour.count()), (1, 3_600));
    assert!((hour.moments().sum / sum - 1.0).abs() < 1e-12);
    assert!((hour.moments().m2 / m2 - 1.0).abs() < 1e-9);
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!((hour.min(), hour.max()), (sorted[0], sorted[3_599]));
    assert_eq!(
        (hour.moments().first, hour.moments().last),
        (values[0], values[3_599])
    );
    for p in [0.5, 0.95, 0.99, 0.999] {
        let exact = driftline_stats::quantile(&mut sorted, p).expect("a quantile");
        let estimated = hour.sketch().quantile(p).expect("a quantile");
        assert!(
            (estimated / exact - 1.0).abs() <= 0.01,
            "p {p}: {estimated} is not {exact}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn late_rows_reopen_their_buckets_and_no_others() {
    let mut lake = Lake::new();
    let mut noise = Noise::new(3);
    commit_minutes(&mut lake, &mut noise, 0, 150).await;
    let now = START + 150 * 60 * SECOND + 20 * SECOND;
    lake.round(now, false).await;
    let before = lake.rows(Resolution::Minute).await;
    // A series of old, one that is new, and one on another day.
    let late = [
        ("x", START + 61 * SECOND, 7.0),
        ("new", START + 62 * 60 * SECOND, 8.0),
        ("x", START - SECOND, 9.0),
    ];
    lake.commit(&late).await;
    let now = now + 60 * SECOND;
    lake.round(now, false).await;
    lake.check(now).await;
    let after = lake.rows(Resolution::Minute).await;
    let changed: Vec<i64> = after
        .iter()
        .filter(|(key, row)| before.get(key) != Some(row))
        .map(|((_, bucket), _)| (bucket - START) / (60 * SECOND))
        .collect();
    assert_eq!(changed, [62, -1, 1], "the minutes, by series");
    // Merged files hold other buckets too, which must survive the next late row.
    let mut table = Table::open(lake.data(), TableName::Samples1m, None)
        .await
        .expect("open")
        .expect("a table");
    let merged = compact_once(&mut table, 2, now / 1_000, &Steps::default())
        .await
        .expect("merge");
    assert!(merged.is_some_and(|merged| merged.files >= 2));
    lake.commit(&[("y", START + 90 * 60 * SECOND, 1.0)]).await;
    lake.round(now + 60 * SECOND, false).await;
    lake.check(now + 60 * SECOND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_replay_in_another_order_and_with_merged_files_gives_the_same_rows() {
    let lake = Lake::new();
    let mut noise = Noise::new(4);
    let mut blocks: Vec<Vec<Row>> = Vec::new();
    for block in 0..24 {
        // Blocks of both streams overlap in time, and rows of one time disagree.
        let start = START + block * 90 * SECOND;
        let rows = (0..40).map(|at| ("x", start + (at / 2) * 10 * SECOND, noise.normal()));
        blocks.push(rows.collect());
    }
    let now = START + 3 * 3600 * SECOND;
    for (seq, rows) in (1..).zip(&blocks) {
        commit_block(lake.data(), seq, rows).await;
        if seq % 8 == 0 {
            lake.round(now, false).await;
        }
    }
    lake.round(now + 25 * 3600 * SECOND, false).await;
    let first = lake.all_rows().await;
    assert!(first.iter().all(|rows| !rows.is_empty()));
    for table in TableName::ROLLUPS {
        std::fs::remove_dir_all(table.dir(lake.data())).expect("remove");
    }
    lake.round(now + 25 * 3600 * SECOND, false).await;
    assert_eq!(lake.all_rows().await, first, "over files that were merged");
    let mut again = Lake::new();
    again.config.compact_files = 1_000;
    for seq in (1..=blocks.len()).rev() {
        commit_block(again.data(), seq as u64, &blocks[seq - 1]).await;
    }
    again.round(now + 25 * 3600 * SECOND, false).await;
    assert_eq!(again.all_rows().await, first, "in reverse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rollups_outlive_their_samples_and_late_rows_of_retired_days_change_nothing() {
    const DAY: i64 = US_PER_DAY;
    let mut lake = Lake::new();
    let mut noise = Noise::new(6);
    for day in 0..4 {
        commit_minutes(&mut lake, &mut noise, day * 1_440, 20).await;
    }
    let now = START + 4 * DAY + 3600 * SECOND;
    lake.round(now, true).await;
    lake.check(now).await;
    let whole = lake.all_rows().await;
    lake.config.retention_days = 2;
    lake.config.vacuum_seconds = 0;
    lake.round(now + 60 * SECOND, true).await;
    let samples = Table::open(lake.data(), TableName::Samples, None)
        .await
        .expect("open")
        .expect("a table");
    let left: std::collections::BTreeSet<String> = data_files_of(&samples)
        .into_iter()
        .map(|file| file.date)
        .collect();
    assert_eq!(
        left.into_iter().collect::<Vec<_>>(),
        ["2026-01-03", "2026-01-04"]
    );
    assert_eq!(lake.all_rows().await, whole);
    // Late rows of a day that is gone are no reason to forget the day; those of a day that is kept
    // are taken in.
    lake.commit(&[
        ("x", START + 60 * SECOND, 1e6),
        ("x", START + 3 * DAY + 60 * SECOND, 1e6),
    ])
    .await;
    lake.round(now + 120 * SECOND, false).await;
    let after = lake.all_rows().await;
    for (before, after) in whole.iter().zip(&after) {
        let changed: Vec<i64> = after
            .iter()
            .filter(|(key, row)| before.get(key) != Some(row))
            .map(|((_, bucket), _)| (bucket - START) / DAY)
            .collect();
        assert_eq!((changed, after.len()), (vec![3], before.len()));
    }
    // The minutes have a retention of their own, which the hours survive in turn.
    lake.config.retention_1m_days = 1;
    lake.round(now + 180 * SECOND, true).await;
    let [minutes, hours, days] = lake.all_rows().await;
    assert!(minutes.keys().all(|(_, bucket)| *bucket >= START + 3 * DAY) && !minutes.is_empty());
    assert_eq!([hours, days], after[1..]);
}
