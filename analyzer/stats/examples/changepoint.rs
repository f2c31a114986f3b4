//! Change points of the series of a CSV file: `changepoint --input FILE --output FILE`.
//!
//! Reads `series,timestamp,value` (a series' rows contiguous and in order), writes
//! `series,changepoint_index,effect_pct,ci_lo,ci_hi,p_value,direction`.

use driftline_stats::changepoint::{Direction, Options, detect};
use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut input = None;
    let mut output = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next();
        match argument.as_str() {
            "--input" => input = value,
            "--output" => output = value,
            // The contract names the mode; this program has one.
            "--mode" => {}
            other => return Err(format!("{other}: --input and --output are known").into()),
        }
    }
    let text = std::fs::read_to_string(input.ok_or("--input FILE is missing")?)?;
    let mut rows =
        String::from("series,changepoint_index,effect_pct,ci_lo,ci_hi,p_value,direction\n");
    let mut series = "";
    let mut values = Vec::new();
    let mut spent = Duration::ZERO;
    let (mut count, mut points) = (0_u32, 0);
    for (line, row) in text.lines().enumerate().skip(1) {
        let mut columns = row.rsplitn(3, ',');
        let value = columns.next().ok_or("no value")?;
        let name = columns
            .nth(1)
            .ok_or_else(|| format!("line {}: three columns are needed", line + 1))?;
        if name != series {
            if !values.is_empty() {
                spent += report(series, &values, &mut rows)?;
            }
            series = name;
            count += 1;
            values.clear();
        }
        points += 1;
        values.push(
            value
                .parse::<f64>()
                .map_err(|error| format!("line {}, column 3: {error}", line + 1))?,
        );
    }
    if !values.is_empty() {
        spent += report(series, &values, &mut rows)?;
    }
    std::fs::write(output.ok_or("--output FILE is missing")?, rows)?;
    eprintln!(
        "{count} series, {points} points, {:.1} µs per series",
        spent.as_secs_f64() * 1e6 / f64::from(count.max(1))
    );
    Ok(())
}

fn report(series: &str, values: &[f64], rows: &mut String) -> Result<Duration, std::fmt::Error> {
    let start = Instant::now();
    let changes = detect(values, &Options::default());
    let spent = start.elapsed();
    for change in changes {
        let percent = |share: f64| 100.0 * share;
        let (low, high) = change
            .interval
            .map_or((String::new(), String::new()), |(low, high)| {
                (percent(low).to_string(), percent(high).to_string())
            });
        let direction = match change.direction {
            Direction::Up => "up",
            Direction::Down => "down",
        };
        let effect = change
            .relative
            .map_or(String::new(), |share| percent(share).to_string());
        writeln!(
            rows,
            "{series},{},{effect},{low},{high},{},{direction}",
            change.index, change.p_value
        )?;
    }
    Ok(spent)
}
