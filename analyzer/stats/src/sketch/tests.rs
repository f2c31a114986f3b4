//! What a sketch promises: its error, its size, and that only the values show in its bytes.

use super::*;
use crate::noise::Noise;

const PS: [f64; 9] = [0.001, 0.01, 0.1, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999];

fn lognormal(noise: &mut Noise, n: usize, sigma: f64) -> Vec<f64> {
    (0..n).map(|_| (sigma * noise.normal()).exp()).collect()
}

fn pareto(noise: &mut Noise, n: usize, shape: f64) -> Vec<f64> {
    (0..n).map(|_| noise.uniform().powf(-1.0 / shape)).collect()
}

fn heavy_tails() -> Vec<(&'static str, Vec<f64>)> {
    let mut noise = Noise::new(20_190_827);
    let n = 50_000;
    let mut mixed = lognormal(&mut noise, n, 3.0);
    for (at, value) in mixed.iter_mut().enumerate() {
        match at % 5 {
            0 => *value = 0.0,
            1 | 2 => *value = -*value,
            _ => {}
        }
    }
    vec![
        ("pareto 1", pareto(&mut noise, n, 1.0)),
        ("pareto 0.5, no mean", pareto(&mut noise, n, 0.5)),
        ("lognormal 3", lognormal(&mut noise, n, 3.0)),
        ("lognormal 3 with zeros and negatives", mixed),
        ("normal", noise.normals(n)),
        (
            "nanoseconds",
            lognormal(&mut noise, n, 1.5)
                .iter()
                .map(|v| (v * 1e6).round())
                .collect(),
        ),
        (
            "small whole numbers",
            (0..n).map(|_| (noise.uniform() * 8.0).floor()).collect(),
        ),
    ]
}

fn assert_close(name: &str, sketch: &Sketch, values: &[f64]) {
    let exact = crate::quantiles(&mut values.to_vec(), &PS);
    let estimated = sketch.quantiles(&PS);
    for ((p, exact), estimated) in PS.iter().zip(exact).zip(estimated) {
        let (exact, estimated) = (exact.expect("a quantile"), estimated.expect("a quantile"));
        let error = (estimated - exact).abs();
        assert!(
            error <= RELATIVE_ERROR * exact.abs(),
            "{name}, p {p}: {estimated} is not {exact}"
        );
    }
}

#[test]
fn quantiles_of_heavy_tails_are_within_a_hundredth() {
    for (name, values) in heavy_tails() {
        assert_close(name, &Sketch::of(&values), &values);
    }
}

#[test]
fn so_are_those_of_few_values_and_of_merged_parts() {
    let mut noise = Noise::new(60);
    for n in 1..200 {
        let values = lognormal(&mut noise, n, 1.0);
        assert_close("few values", &Sketch::of(&values), &values);
    }
    let (name, values) = heavy_tails().swap_remove(3);
    let mut merged = Sketch::default();
    for part in values.chunks(61) {
        merged.merge(&Sketch::of(part));
    }
    assert_close(name, &merged, &values);
}

#[test]
fn neither_the_order_of_values_nor_that_of_merges_shows() {
    let mut noise = Noise::new(7);
    let mut cases = heavy_tails();
    // Spreads over more decades than a sketch keeps, so that buckets collapse.
    let wide = (0..5_000).map(|_| {
        let sign = if noise.uniform() < 0.4 { -1.0 } else { 1.0 };
        sign * 10_f64.powf(noise.uniform() * 600.0 - 300.0)
    });
    cases.push(("600 decades", wide.collect()));
    for (name, values) in cases {
        let whole = Sketch::of(&values).encode();
        let mut shuffled = values.clone();
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, (noise.next_u64() % (at as u64 + 1)) as usize);
        }
        assert_eq!(
            Sketch::of(&shuffled).encode(),
            whole,
            "{name}, in another order"
        );
        let mut one_by_one = Sketch::default();
        for value in &shuffled {
            assert!(one_by_one.add(*value));
        }
        assert_eq!(one_by_one.encode(), whole, "{name}, one by one");
        let mut parts: Vec<Sketch> = shuffled.chunks(997).map(Sketch::of).collect();
        while parts.len() > 1 {
            let at = (noise.next_u64() % parts.len() as u64) as usize;
            let taken = parts.swap_remove(at);
            let into = (noise.next_u64() % parts.len() as u64) as usize;
            parts[into].merge(&taken);
        }
        assert_eq!(parts[0].encode(), whole, "{name}, merged at random");
    }
}

#[test]
fn its_size_is_bounded_and_the_greatest_values_stay_exact() {
    let mut sketch = Sketch::default();
    let mut values = Vec::new();
    for exponent in -3_060..=3_080 {
        let value = 10_f64.powf(f64::from(exponent) / 10.0);
        values.extend([value, -value]);
    }
    sketch.merge(&Sketch::of(&values));
    assert!(sketch.positive.0.len() <= MAX_BUCKETS && sketch.negative.0.len() <= MAX_BUCKETS);
    assert_eq!(sketch.count(), values.len() as u64);
    // The promise holds over the greatest 35 decades, hence over the upper 5 % of each sign.
    for p in [0.0, 0.01, 0.025, 0.975, 0.99, 1.0] {
        let exact = crate::quantile(&mut values.clone(), p).expect("a quantile");
        let estimated = sketch.quantile(p).expect("a quantile");
        assert!((estimated / exact - 1.0).abs() <= RELATIVE_ERROR, "p {p}");
    }
    assert!(sketch.encode().len() < 3 * 2 * MAX_BUCKETS);
}

#[test]
fn a_minute_of_noise_takes_a_byte_a_value() {
    let values: Vec<f64> = Noise::new(5).normals(60).iter().map(|v| 20.0 + v).collect();
    let bytes = Sketch::of(&values).encode().len();
    assert!(bytes <= 70, "{bytes} bytes");
    let constant = Sketch::of(&[5.0; 60]).encode().len();
    assert!(constant <= 12, "{constant} bytes");
}

#[test]
fn unusual_values_have_defined_answers() {
    let empty = Sketch::default();
    assert_eq!(
        (empty.count(), empty.quantile(0.5), empty.min()),
        (0, None, None)
    );
    assert_eq!(Sketch::decode(&empty.encode()), Ok(empty.clone()));
    let mut sketch = Sketch::of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    assert_eq!(sketch, empty);
    assert!(!sketch.add(f64::NAN) && !sketch.add(f64::INFINITY));
    let constant = Sketch::of(&[0.1; 9]);
    assert_eq!(constant.quantile(0.5), Some(0.1), "a constant is exact");
    assert_eq!(constant.quantile(f64::NAN), None);
    assert_eq!(constant.quantile(1.01), None);
    let extremes = Sketch::of(&[f64::MAX, -f64::MAX, 0.0, -0.0, 1e-310]);
    assert_eq!(extremes.quantile(0.0), Some(-f64::MAX));
    assert_eq!(extremes.quantile(0.5), Some(0.0));
    assert_eq!(extremes.quantile(1.0), Some(f64::MAX));
    let zeros = [Sketch::of(&[0.0, -0.0]), Sketch::of(&[-0.0, 0.0])];
    assert_eq!(zeros[0].encode(), zeros[1].encode());
}

#[test]
fn what_was_encoded_is_decoded_and_counts_never_overflow() {
    for (name, values) in heavy_tails() {
        let sketch = Sketch::of(&values);
        assert_eq!(Sketch::decode(&sketch.encode()), Ok(sketch), "{name}");
    }
    let mut sketch = Sketch::of(&[1.0, -2.0, 0.0]);
    for _ in 0..80 {
        sketch.merge(&sketch.clone());
    }
    assert_eq!(sketch.count(), u64::MAX);
    assert!(sketch.quantile(0.5).is_some_and(f64::is_finite));
}

/// Damaged bytes are refused or are the bytes of some sketch; they neither panic nor allocate more
/// than they can fill.
#[test]
fn damaged_bytes_never_decode_to_something_else() {
    let mut noise = Noise::new(99);
    let samples: Vec<Vec<u8>> = [
        Sketch::of(&noise.normals(300)),
        Sketch::of(&[4.0; 7]),
        Sketch::default(),
        Sketch::of(&lognormal(&mut noise, 3_000, 30.0)),
    ]
    .iter()
    .map(Sketch::encode)
    .collect();
    for bytes in &samples {
        for end in 0..bytes.len() {
            assert!(Sketch::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let long = [bytes.as_slice(), &[0]].concat();
        assert!(Sketch::decode(&long).is_err());
    }
    let mut accepted = 0;
    for round in 0..60_000 {
        let mut bytes = samples[round % samples.len()].clone();
        for _ in 0..=noise.next_u64() % 4 {
            let at = (noise.next_u64() % bytes.len() as u64) as usize;
            bytes[at] = noise.next_u64() as u8;
        }
        if let Ok(sketch) = Sketch::decode(&bytes) {
            assert_eq!(sketch.encode(), bytes);
            assert!(sketch.quantile(0.5).is_none_or(f64::is_finite));
            accepted += 1;
        }
    }
    assert!(accepted > 0, "some damage only changes counts");
    let huge = [1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(Sketch::decode(&huge).is_err());
    assert_eq!(Sketch::decode(&[2, 0]), Err(SketchError::Version(2)));
}
