//! Finds what moved together in a CSV of series and writes one row per member that moved.
//!
//! `fleet INPUT OUTPUT [--period SAMPLES]`; input `series,timestamp,value`, the rows of a series
//! contiguous and in order. A series' name gives its labels: a list of `key=value`, or parts
//! between `|`, `/`, `,` or `;`, where the place is the key. Samples are put on the grid of the
//! typical distance; without `--period` the cycle is one day.
//!
//! `fleet --scale SERIES SAMPLES` measures the search on noise of that size instead.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;

use driftline_stats::fleet::{FleetSeries, Label, Options, detect};
use driftline_stats::noise::Noise;

const DAY_S: i64 = 86_400;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, series, samples] = arguments.as_slice()
        && flag == "--scale"
    {
        measure(series.parse()?, samples.parse()?);
        return Ok(());
    }
    let [input, output, rest @ ..] = arguments.as_slice() else {
        return Err("usage: fleet INPUT OUTPUT [--period SAMPLES]".into());
    };
    let rows = read(&fs::read_to_string(input)?)?;
    let step = typical_step(&rows).unwrap_or(1);
    let period = match rest {
        [flag, samples] if flag == "--period" => Some(samples.parse()?),
        _ => usize::try_from(DAY_S / step).ok(),
    };
    let fleet = on_grid(rows, step);
    let options = Options {
        period,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        ..Options::default()
    };
    let events = detect(&fleet, &options);
    let mut text = String::from(
        "series,changepoint_index,effect_pct,ci_lo,ci_hi,p_value,direction,event_id\n",
    );
    for event in &events {
        let labels: Vec<String> = event
            .constraint
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        eprintln!(
            "#{} at {}: {} {:+.2} % [{:+.2}, {:+.2}], p {:.1e}, {} members, purity {:.2}, cost {:.2}",
            event.rank,
            event.index,
            labels.join(" "),
            100.0 * event.effect,
            100.0 * event.ci_lo,
            100.0 * event.ci_hi,
            event.p_value,
            event.members.len(),
            event.purity,
            event.cost
        );
        for member in event.members.iter().filter(|member| member.moved) {
            let direction = if member.effect > 0.0 { "up" } else { "down" };
            text += &format!(
                "{},{},{:.4},{:.4},{:.4},{:.3e},{direction},{}\n",
                fleet[member.series].name,
                event.index,
                100.0 * member.effect,
                100.0 * member.ci_lo,
                100.0 * member.ci_hi,
                event.p_value,
                event.rank
            );
        }
    }
    fs::File::create(output)?.write_all(text.as_bytes())?;
    Ok(())
}

/// Times the search over `series` series of services with five hosts and two metrics, one service of
/// which moves.
fn measure(series: usize, samples: usize) {
    let mut noise = Noise::new(1);
    let fleet: Vec<FleetSeries> = (0..series)
        .map(|i| {
            let (service, host, metric) = (i / 10, i / 2 % 5, i % 2);
            let values = (0..samples)
                .map(|t| {
                    let moved = if service == 3 && t >= samples / 2 {
                        1.03
                    } else {
                        1.0
                    };
                    moved * (0.02 * noise.normal()).exp()
                })
                .collect();
            let text = format!("service=s{service}|host=h{host}|metric=m{metric}");
            FleetSeries {
                labels: labels(&text),
                name: text,
                values,
                weight: 1.0,
            }
        })
        .collect();
    for threads in [
        1,
        std::thread::available_parallelism().map_or(1, usize::from),
    ] {
        let options = Options {
            period: Some(96),
            threads,
            ..Options::default()
        };
        let start = std::time::Instant::now();
        let events = detect(&fleet, &options);
        let elapsed = start.elapsed();
        println!(
            "{series} series x {samples}, {threads} threads: {elapsed:.2?}, {} events",
            events.len()
        );
    }
}

type Rows = Vec<(String, Vec<(i64, f64)>)>;

fn read(text: &str) -> Result<Rows, Box<dyn Error>> {
    let mut rows: Rows = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let wrong = || format!("line {}: expected series,timestamp,value", number + 1);
        // A name may hold commas: the two numbers come last.
        let mut fields = line.rsplitn(3, ',');
        let value = fields
            .next()
            .and_then(|v| v.trim().parse().ok())
            .unwrap_or(f64::NAN);
        let time = fields
            .next()
            .and_then(|t| t.trim().parse().ok())
            .ok_or_else(wrong)?;
        let name = fields.next().ok_or_else(wrong)?;
        match rows.last_mut() {
            Some((last, samples)) if last == name => samples.push((time, value)),
            _ => rows.push((name.to_owned(), vec![(time, value)])),
        }
    }
    Ok(rows)
}

/// The median distance of neighbouring samples.
fn typical_step(rows: &Rows) -> Option<i64> {
    let mut steps: Vec<i64> = rows
        .iter()
        .flat_map(|(_, samples)| samples.windows(2).map(|pair| pair[1].0 - pair[0].0))
        .filter(|step| *step > 0)
        .collect();
    let middle = steps.len() / 2;
    (!steps.is_empty()).then(|| *steps.select_nth_unstable(middle).1)
}

fn on_grid(rows: Rows, step: i64) -> Vec<FleetSeries> {
    let start = rows
        .iter()
        .flat_map(|(_, s)| s.iter().map(|(t, _)| *t))
        .min()
        .unwrap_or(0);
    rows.into_iter()
        .map(|(name, samples)| {
            let mut values = BTreeMap::new();
            for (time, value) in samples {
                values.insert(usize::try_from((time - start) / step).unwrap_or(0), value);
            }
            let length = values.keys().next_back().map_or(0, |last| last + 1);
            let values = (0..length)
                .map(|i| values.get(&i).copied().unwrap_or(f64::NAN))
                .collect();
            FleetSeries {
                labels: labels(&name),
                name,
                values,
                weight: 1.0,
            }
        })
        .collect()
}

/// The labels in a series' name. Between the braces of `metric{key="value",…}` and in lists the
/// parts are split at the first of `|`, `;`, `,`, `/` that occurs; a part `key=value` names its key,
/// any other has its place as key.
fn labels(name: &str) -> Vec<Label> {
    let (head, inner) = match name.split_once('{') {
        Some((head, inner)) => (head, inner.trim_end_matches('}')),
        None => ("", name),
    };
    let mut found: Vec<Label> = Vec::new();
    if !head.is_empty() {
        found.push(("metric".to_owned(), head.to_owned()));
    }
    let separator = ['|', ';', ',', '/']
        .into_iter()
        .find(|s| inner.contains(*s))
        .unwrap_or('|');
    for (place, part) in inner.split(separator).enumerate() {
        let part = part.trim();
        match part.split_once('=') {
            Some((key, value)) => {
                found.push((
                    key.trim().to_owned(),
                    value.trim().trim_matches('"').to_owned(),
                ));
            }
            None if !part.is_empty() => found.push((format!("part{}", place + 1), part.to_owned())),
            None => {}
        }
    }
    found
}
