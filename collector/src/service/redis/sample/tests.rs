//! Tests of what is made of sampled keys.

use super::*;
use crate::recorder::Recorder;
use crate::testing::{Row, rows, value};

fn looked(key: &str, memory: u64) -> Looked {
    Looked {
        key: key.as_bytes().to_vec(),
        drawn: true,
        memory: Some(memory),
        ttl_ms: Some(-1),
        ..Looked::default()
    }
}

fn taken(
    sampler: &mut Sampler,
    config: &SampleConfig,
    keys: Vec<Looked>,
    complete: bool,
) -> Vec<Row> {
    let size = keys.len() as f64;
    let sampled = Sampled {
        db: 0,
        size,
        keys,
        complete,
    };
    let second = sampler.rounds.get(&0).map_or(0, VecDeque::len) as i64;
    sampler.take(
        config,
        &[sampled],
        Lfu::default(),
        100.0,
        second * 60_000_000,
    );
    let record = |recorder: &mut Recorder| {
        let instance = "main";
        sampler.record(config, &mut Samples { recorder, instance });
        Ok(())
    };
    rows(record).expect("recorded")
}

#[test]
fn patterns_have_keys_ttls_and_memory() {
    let mut keys: Vec<Looked> = (0..8).map(|n| looked(&format!("user:{n}"), 100)).collect();
    for key in &mut keys[..2] {
        key.ttl_ms = Some(3_000);
    }
    keys.push(Looked {
        memory: None,
        ..looked("queue", 0)
    });
    let rows = taken(
        &mut Sampler::default(),
        &SampleConfig::default(),
        keys,
        true,
    );
    let labels = "db=0,pattern=user:*,service.instance.id=main";
    assert_eq!(value(&rows, "redis.pattern.keys", labels), 8.0);
    assert_eq!(value(&rows, "redis.pattern.expires", labels), 2.0);
    assert_eq!(value(&rows, "redis.pattern.ttl", labels), 3.0);
    assert_eq!(value(&rows, "redis.pattern.memory", labels), 100.0);
    assert_eq!(
        value(&rows, "redis.sample.keys", "db=0,service.instance.id=main"),
        9.0
    );
    let queue = "db=0,pattern=queue,service.instance.id=main";
    assert_eq!(value(&rows, "redis.pattern.expires", queue), 0.0);
    assert!(
        !rows
            .iter()
            .any(|row| row.0 == "redis.pattern.memory" && row.1 == queue)
    );
}

#[test]
fn rounds_add_up_until_one_holds_all_keys() {
    let (mut sampler, config) = (Sampler::default(), SampleConfig::default());
    let keys = |rows: &[Row]| value(rows, "redis.sample.keys", "db=0,service.instance.id=main");
    for round in 1..=15_u32 {
        let rows = taken(
            &mut sampler,
            &config,
            vec![looked("a:1", 1), looked("a:2", 1)],
            false,
        );
        assert_eq!(keys(&rows), f64::from(2 * round.min(10)));
    }
    let rows = taken(&mut sampler, &config, vec![looked("a:1", 1)], true);
    assert_eq!(keys(&rows), 1.0);
}

#[test]
fn big_keys_are_found_by_memory_and_by_length() {
    let config = SampleConfig::default();
    let mut sampler = Sampler::default();
    let list = Looked {
        kind: Some("list".to_owned()),
        length: Some(9_000),
        ..looked("jobs:1", 30_000)
    };
    let text = Looked {
        kind: Some("string".to_owned()),
        ..looked("blob:1", 400_000)
    };
    let bigger = Looked {
        memory: Some(500_000),
        ..Looked {
            key: b"blob:2".to_vec(),
            ..text.clone()
        }
    };
    let keys = vec![list, text, bigger, looked("small:1", 100_000)];
    let rows = taken(&mut sampler, &config, keys, true);
    let blob = "db=0,pattern=blob:*,service.instance.id=main,type=string";
    assert_eq!(value(&rows, "redis.key.memory", blob), 500_000.0);
    let jobs = "db=0,pattern=jobs:*,service.instance.id=main,type=list";
    assert_eq!(value(&rows, "redis.key.length", jobs), 9_000.0);
    let big = rows.iter().filter(|row| row.0 == "redis.key.memory");
    assert_eq!(big.count(), 2, "at the limit is not above it: {rows:?}");
    assert!(!rows.iter().any(|row| row.1.contains("key=")), "{rows:?}");
    assert_eq!(sampler.followed(0).len(), 3);
    let named = SampleConfig {
        keys: true,
        ..config
    };
    let keys = vec![looked("blob:1", 400_000), looked("blob:2", 500_000)];
    let rows = taken(&mut sampler, &named, keys, true);
    let first = "db=0,key=blob:1,pattern=blob:*,service.instance.id=main,type=unknown";
    assert_eq!(value(&rows, "redis.key.memory", first), 400_000.0);
    let rows = taken(&mut sampler, &named, vec![looked("blob:1", 10)], true);
    assert!(
        !rows.iter().any(|row| row.0 == "redis.key.memory"),
        "it is small again"
    );
}

#[test]
fn the_hottest_keys_are_followed_and_have_a_share() {
    let config = SampleConfig {
        top: 2,
        keys: true,
        ..SampleConfig::default()
    };
    let counted = |key: &str, counter| Looked {
        counter: Some(counter),
        ..looked(key, 10)
    };
    let mut sampler = Sampler::default();
    let keys = || {
        vec![
            counted("a:1", 255),
            counted("a:2", 40),
            counted("a:3", 6),
            counted("a:4", 0),
        ]
    };
    let rows = taken(&mut sampler, &config, keys(), true);
    let first = "db=0,key=a:1,pattern=a:*,service.instance.id=main";
    assert_eq!(value(&rows, "redis.key.frequency", first), 255.0);
    // The others take (35 × 10 + 1) ÷ 60 and 11 ÷ 60 accesses per second of 100.
    let share = value(&rows, "redis.key.share", first);
    assert!((share - (1.0 - 362.0 / 6_000.0)).abs() < 1e-9, "{share}");
    assert_eq!(sampler.followed(0), [b"a:1".to_vec(), b"a:2".to_vec()]);
    assert_eq!(
        rows.iter()
            .filter(|row| row.0 == "redis.key.frequency")
            .count(),
        2
    );
}

#[test]
fn databases_are_looked_at_by_their_size() {
    let plan = Sampler::plan(&[(0, 9_000.0), (1, 1_000.0), (2, 0.0), (9, 1.0)], 1_000);
    assert_eq!(plan, [(0, 900), (1, 100), (9, 10)]);
    let many: Vec<(u32, f64)> = (0..100).map(|db| (db, 1.0)).collect();
    assert_eq!(Sampler::plan(&many, 1_000).len(), MAX_DATABASES);
    assert_eq!(Sampler::plan(&[], 1_000), []);
}
