use super::traces::{cycle, mixed, scan, zipf};
use super::*;
use crate::noise::Noise;

fn options(sampling: Sampling) -> Options {
    Options {
        sampling,
        seed: 7,
        ..Options::default()
    }
}

fn curve(trace: &[u64], options: Options) -> MissRatioCurve {
    let references = trace.iter().map(|key| Reference::of(*key));
    match Reuse::of(references, options) {
        Reuse::Curve(curve) => curve,
        other => panic!("no curve: {other:?}"),
    }
}

/// A cache as a plain list, most recent first; bytes, and a lifetime in references where given.
fn simulated(trace: &[Reference], capacity: u64, ttl: Option<u64>) -> f64 {
    let mut cache: Vec<Reference> = Vec::new();
    let mut misses = 0_u64;
    for reference in trace {
        let found = cache.iter().position(|held| held.key == reference.key);
        let held = found.map(|at| cache.remove(at));
        let fresh = held.filter(|held| ttl.is_none_or(|ttl| reference.at - held.at < ttl));
        misses += u64::from(fresh.is_none());
        let at = fresh.map_or(reference.at, |held| held.at);
        cache.insert(0, Reference { at, ..*reference });
        while cache.iter().map(|held| held.size).sum::<u64>() > capacity {
            cache.pop();
        }
    }
    misses as f64 / trace.len() as f64
}

/// Mean and greatest absolute difference over sizes up to what the exact curve's trace holds.
fn error(found: &MissRatioCurve, exact: &MissRatioCurve) -> (f64, f64) {
    let differences: Vec<f64> = (1..=100)
        .map(|percent| exact.footprint * f64::from(percent) / 100.0)
        .map(|size| (found.miss_ratio(size) - exact.miss_ratio(size)).abs())
        .collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    (mean, differences.into_iter().fold(0.0, f64::max))
}

fn million() -> Vec<(&'static str, Vec<u64>)> {
    vec![
        ("zipf 1.0", zipf(100_000, 1.0, 1_000_000, 1)),
        ("zipf 0.7", zipf(200_000, 0.7, 2_000_000, 2)),
        ("scan", scan(0, 1_000_000)),
        ("loop", cycle(0, 100_000, 1_000_000)),
        (
            "mixed",
            mixed(
                &[
                    zipf(50_000, 0.9, 600_000, 3),
                    scan(1 << 32, 200_000),
                    cycle(1 << 33, 40_000, 400_000),
                ],
                5_000,
            ),
        ),
    ]
}

#[test]
fn following_every_key_is_what_a_cache_does() {
    let mut noise = Noise::new(3);
    for seed in 0..4 {
        let keys = mixed(&[zipf(300, 0.9, 3_000, seed), scan(1_000, 500)], 170);
        let sized: Vec<Reference> = keys
            .iter()
            .map(|key| Reference {
                key: *key,
                size: 1 + mix(*key) % 200,
                at: 0,
            })
            .collect();
        let exact = Reuse::of(sized.iter().copied(), options(Sampling::All));
        let exact = exact.curve().expect("references").clone();
        // Below the least object nothing hits; objects larger than the cache are the one case in
        // which a cache differs from its stack, since it cannot even hold them.
        for _ in 0..6 {
            let capacity = 200 + noise.next_u64() % 40_000;
            let want = simulated(&sized, capacity, None);
            let got = exact.miss_ratio(capacity as f64);
            assert!((got - want).abs() < 0.004, "{capacity}: {got} for {want}");
        }
        let plain: Vec<Reference> = keys.iter().map(|key| Reference::of(*key)).collect();
        let exact = curve(&keys, options(Sampling::All));
        for capacity in [0, 1, 2, 17, 100, 255] {
            let want = simulated(&plain, capacity, None);
            let got = exact.miss_ratio(capacity as f64);
            assert!((got - want).abs() < 1e-12, "{capacity}: {got} for {want}");
        }
    }
}

#[test]
fn one_key_in_a_hundred_is_enough() {
    for (name, trace) in million() {
        let exact = curve(&trace, options(Sampling::All));
        for sampling in [Sampling::Rate(0.01), Sampling::Keys(1_024)] {
            let (mean, most) = error(&curve(&trace, options(sampling)), &exact);
            println!("{name:9} {sampling:?}: mean {mean:.4}, greatest {most:.4}");
            assert!(mean <= 0.02, "{name} {sampling:?}: {mean}");
        }
    }
}

#[test]
fn a_trace_of_some_keys_says_what_following_them_says() {
    let trace = zipf(50_000, 0.8, 200_000, 4);
    let options = options(Sampling::Rate(0.05));
    let followed = curve(&trace, options);
    let threshold = ReuseSampler::new(options).threshold;
    let taken = |key: &&u64| mix(**key ^ options.seed) <= threshold;
    let mut sampler = ReuseSampler::new(Options {
        sampling: Sampling::Taken(followed.rate),
        ..options
    });
    for key in trace.iter().filter(taken) {
        sampler.add(Reference::of(*key));
    }
    let others = trace.len() - trace.iter().filter(taken).count();
    sampler.left_out(others as u64);
    assert_eq!(sampler.finish(), Reuse::Curve(followed));

    let few = Reuse::of(
        [Reference::of(1)],
        Options {
            sampling: Sampling::Taken(0.5),
            ..options
        },
    );
    let (references, keys) = (1, 1);
    assert_eq!(few, Reuse::TooFewKeys { references, keys });
}

#[test]
fn a_fixed_number_of_keys_bounds_the_memory() {
    let mut sampler = ReuseSampler::new(options(Sampling::Keys(500)));
    let mut most = (0, 0);
    for key in zipf(200_000, 0.6, 400_000, 9) {
        sampler.add(Reference::of(key));
        most.0 = most.0.max(sampler.keys());
        most.1 = most.1.max(sampler.stack.capacity());
    }
    assert_eq!(most.0, 500);
    assert!(most.1 <= 1_024, "{most:?}");
    assert!(sampler.greatest.len() <= 500);
    // 512 keys would be met at this rate of those that occur.
    let rate = sampler.rate();
    assert!((0.002..0.005).contains(&rate), "{rate}");
}

#[test]
fn intervals_cover_the_exact_ratio() {
    let traces = [
        zipf(40_000, 1.0, 200_000, 4),
        mixed(
            &[zipf(20_000, 0.8, 150_000, 5), cycle(1 << 33, 5_000, 50_000)],
            2_000,
        ),
    ];
    let (mut covered, mut gains, mut cases, mut width) = (0, 0, 0, 0.0);
    for trace in &traces {
        let exact = curve(trace, options(Sampling::All));
        for seed in 0..30 {
            let sampled = Options {
                seed,
                ..options(Sampling::Rate(0.03))
            };
            let found = curve(trace, sampled);
            for share in [0.02, 0.1, 0.3, 0.6] {
                let size = exact.footprint * share;
                let truth = exact.miss_ratio(size);
                let interval = found.miss_ratio_interval(size, 0.95);
                covered += u32::from(interval.lo <= truth && truth <= interval.hi);
                let truth = exact.gain(size, 0.25, 0.95);
                assert_eq!((truth.lo, truth.hi), (truth.value, truth.value));
                let gain = found.gain(size, 0.25, 0.95);
                gains += u32::from(gain.lo <= truth.value && truth.value <= gain.hi);
                cases += 1;
                width += interval.hi - interval.lo;
            }
        }
    }
    let share = |count: u32| f64::from(count) / f64::from(cases);
    let width = width / f64::from(cases);
    println!(
        "covered {}, gains {}, width {width}",
        share(covered),
        share(gains)
    );
    assert!((0.88..=1.0).contains(&share(covered)), "{}", share(covered));
    assert!((0.88..=1.0).contains(&share(gains)), "{}", share(gains));
    assert!(width < 0.15, "{width}");
}

#[test]
fn a_loop_is_all_or_nothing() {
    let exact = curve(&cycle(0, 200, 20_000), options(Sampling::All));
    assert_eq!(exact.miss_ratio(199.0), 1.0);
    assert_eq!(exact.miss_ratio(200.0), 0.01);
    assert_eq!(exact.floor(), 0.01);
    assert_eq!(exact.working_set(0.5), Some(200.0));
    assert_eq!((exact.distinct_keys, exact.footprint), (200.0, 200.0));
    let gain = exact.gain(190.0, 0.1, 0.95);
    assert!((gain.value - 0.99).abs() < 1e-12, "{gain:?}");
    assert_eq!(exact.gain(100.0, 0.1, 0.95).value, 0.0);
    // Without the misses of an empty cache, a loop that fits has none.
    let warmed = Options {
        warm_up: 200,
        ..options(Sampling::All)
    };
    assert_eq!(curve(&cycle(0, 200, 20_000), warmed).floor(), 0.0);
}

#[test]
fn sizes_in_bytes_are_sampled_like_objects() {
    let trace: Vec<Reference> = zipf(50_000, 0.9, 300_000, 6)
        .into_iter()
        .map(|key| Reference {
            key,
            size: 100 + mix(key ^ 99) % 4_000,
            at: 0,
        })
        .collect();
    let of = |sampling| Reuse::of(trace.iter().copied(), options(sampling));
    let (exact, found) = (of(Sampling::All), of(Sampling::Rate(0.05)));
    let (exact, found) = (
        exact.curve().expect("a curve"),
        found.curve().expect("a curve"),
    );
    let (mean, _) = error(found, exact);
    assert!(mean <= 0.02, "{mean}");
    assert!((found.footprint / exact.footprint - 1.0).abs() < 0.1);
}

#[test]
fn a_lifetime_turns_late_references_into_misses() {
    let keys = zipf(400, 0.9, 5_000, 8);
    let trace: Vec<Reference> = (0_u64..)
        .zip(keys)
        .map(|(at, key)| Reference { key, size: 1, at })
        .collect();
    let ttl = Some(700);
    let limited = Options {
        ttl,
        ..options(Sampling::All)
    };
    let found = Reuse::of(trace.iter().copied(), limited);
    let found = found.curve().expect("references");
    let unbounded = simulated(&trace, 1_000, ttl);
    assert!((found.floor() - unbounded).abs() < 1e-12);
    let forever = Reuse::of(trace.iter().copied(), options(Sampling::All));
    assert!(found.floor() > forever.curve().expect("references").floor() + 0.1);
    for capacity in [20, 60, 150] {
        let want = simulated(&trace, capacity, ttl);
        let got = found.miss_ratio(capacity as f64);
        assert!(
            got >= want - 1e-12 && got < want + 0.05,
            "{capacity}: {got} for {want}"
        );
    }
}

#[test]
fn without_a_trace_there_is_no_answer() {
    assert_eq!(Reuse::of([], Options::default()), Reuse::NoTrace);
    let few = Reuse::of((0..50).map(Reference::of), options(Sampling::Rate(0.1)));
    assert!(
        matches!(few, Reuse::TooFewKeys { references: 50, .. }),
        "{few:?}"
    );
    assert!(few.curve().is_none());
    // A rate that is no number follows nothing.
    let none = Reuse::of(
        (0..9_999).map(Reference::of),
        options(Sampling::Rate(f64::NAN)),
    );
    assert!(matches!(none, Reuse::TooFewKeys { .. }), "{none:?}");
}

#[test]
fn equal_seeds_give_equal_curves() {
    let trace = zipf(20_000, 0.9, 50_000, 2);
    let of = |seed| {
        let sampled = Options {
            seed,
            ..options(Sampling::Keys(400))
        };
        curve(&trace, sampled)
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}
