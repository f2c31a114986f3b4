//! Finds the anomalies of every series of a CSV file `series,timestamp,value` (epoch seconds, a
//! series' rows contiguous and in order) and
//! writes `series,changepoint_index,score,expected,direction`. For trying and measuring the
//! detector; the product has its own readers.

use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write};

use driftline_stats::anomaly::{Detector, Direction, Options};

const USAGE: &str = "usage: anomaly [--mode anomaly] --input FILE --output FILE";

fn main() -> Result<(), Box<dyn Error>> {
    let mut input = None;
    let mut output = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match name.as_str() {
            "--input" => input = Some(value),
            "--output" => output = Some(value),
            "--mode" if value == "anomaly" => {}
            _ => return Err(USAGE.into()),
        }
    }
    let text = fs::read_to_string(input.ok_or(USAGE)?)?;
    let mut out = BufWriter::new(fs::File::create(output.ok_or(USAGE)?)?);
    writeln!(out, "series,changepoint_index,score,expected,direction")?;
    let mut series = "";
    let mut detector = Detector::new(Options::default());
    for (number, line) in text.lines().enumerate().skip(1) {
        let mut fields = line.split(',');
        let (Some(name), Some(timestamp_s), Some(value)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("line {}: expected three columns", number + 1).into());
        };
        if name != series {
            series = name;
            detector = Detector::new(Options::default());
        }
        let timestamp_s: f64 = timestamp_s
            .parse()
            .map_err(|error| format!("line {}: timestamp: {error}", number + 1))?;
        let value: f64 = value
            .parse()
            .map_err(|error| format!("line {}: value: {error}", number + 1))?;
        if let Some(found) = detector.push(timestamp_s as i64, value) {
            let direction = match found.direction {
                Direction::Up => "up",
                Direction::Down => "down",
            };
            writeln!(
                out,
                "{name},{},{:.3},{},{direction}",
                found.index, found.score, found.expected
            )?;
        }
    }
    out.flush()?;
    Ok(())
}
