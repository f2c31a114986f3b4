//! CSV files of series, and of runs: what is wrong with one is said with its line and column.
//!
//! The file named `-` is what comes from stdin. A value that is empty, NaN or infinite is a missing one: it keeps its place, so that indices in
//! the result are those of the file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};

/// A series as it stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeriesInput {
    pub(super) name: String,
    /// Seconds since 1970.
    pub(super) timestamps: Vec<i64>,
    /// NaN where a value is missing.
    pub(super) values: Vec<f64>,
    /// Where the series is to be held against its own earlier days: how far its samples are apart, in
    /// seconds, and whether it ends at a weekend.
    pub(super) days: Option<Days>,
}

/// What is known of a series that may follow the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) step_s: i64,
    pub(super) weekend: bool,
}

impl SeriesInput {
    /// The distance of its samples in seconds, where all distances are that or some times as much.
    pub(super) fn step_s(&self) -> Option<i64> {
        let apart = || self.timestamps.windows(2).map(|pair| pair[1] - pair[0]);
        let step = apart().min()?;
        (step > 0 && apart().all(|apart| apart % step == 0)).then_some(step)
    }
}

/// Both sides of a comparison, each a list of runs, each a list of values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CaseInput {
    pub(super) name: String,
    pub(super) a: Vec<Vec<f64>>,
    pub(super) b: Vec<Vec<f64>>,
}

/// A file that cannot be read as what it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: csv::Error,
    },
    #[error("cannot open {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: the first line must be {wanted}")]
    Header { path: PathBuf, wanted: &'static str },
    #[error("{path}, line {line}, column {column}: {reason}")]
    Field {
        path: PathBuf,
        line: u64,
        column: &'static str,
        reason: String,
    },
}

/// Rows of a file with named columns.
struct Rows {
    path: PathBuf,
    reader: csv::Reader<BufReader<Box<dyn Read>>>,
    /// Where each of the wanted columns stands.
    places: Vec<usize>,
    columns: &'static [&'static str],
    record: StringRecord,
    line: u64,
}

impl Rows {
    fn open(
        path: &Path,
        columns: &'static [&'static str],
        wanted: &'static str,
    ) -> Result<Self, InputError> {
        let file: Box<dyn Read> = match path.as_os_str() == "-" {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(path).map_err(|source| InputError::Open {
                path: path.to_owned(),
                source,
            })?),
        };
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .from_reader(BufReader::with_capacity(1 << 16, file));
        let header = reader.headers().map_err(|source| InputError::Read {
            path: path.to_owned(),
            source,
        })?;
        let place = |column: &&str| header.iter().position(|name| name.trim() == *column);
        let places: Option<Vec<usize>> = columns.iter().map(place).collect();
        let places = places.ok_or_else(|| InputError::Header {
            path: path.to_owned(),
            wanted,
        })?;
        Ok(Self {
            path: path.to_owned(),
            reader,
            places,
            columns,
            record: StringRecord::new(),
            line: 1,
        })
    }

    /// Goes to the next row; `false` at the end.
    fn advance(&mut self) -> Result<bool, InputError> {
        let read = self.reader.read_record(&mut self.record);
        let there = read.map_err(|source| InputError::Read {
            path: self.path.clone(),
            source,
        })?;
        if let Some(position) = self.record.position() {
            self.line = position.line();
        }
        Ok(there)
    }

    fn text(&self, column: usize) -> Result<&str, InputError> {
        let field = self.record.get(self.places[column]).map(str::trim);
        field.ok_or_else(|| self.wrong(column, "it is missing".to_owned()))
    }

    fn time(&self, column: usize) -> Result<i64, InputError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| {
            let reason = format!("{text:?} is no time in whole seconds since 1970");
            self.wrong(column, reason)
        })
    }

    /// NaN where it is missing.
    fn value(&self, column: usize) -> Result<f64, InputError> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        let value: f64 = text
            .parse()
            .map_err(|_| self.wrong(column, format!("{text:?} is no number")))?;
        Ok(if value.is_finite() { value } else { f64::NAN })
    }

    fn wrong(&self, column: usize, reason: String) -> InputError {
        InputError::Field {
            path: self.path.clone(),
            line: self.line,
            column: self.columns[column],
            reason,
        }
    }
}

/// Series of a file, one after the other.
pub(super) struct SeriesReader {
    rows: RowReader,
    /// The first row of the next series.
    next: Option<SeriesInput>,
    seen: HashSet<String>,
}

impl SeriesReader {
    pub(super) fn open(path: &Path) -> Result<Self, InputError> {
        let mut reader = Self {
            rows: RowReader::open(path)?,
            next: None,
            seen: HashSet::new(),
        };
        if reader.rows.advance()? {
            reader.next = Some(reader.begin()?);
        }
        Ok(reader)
    }

    /// The next series, whole.
    pub(super) fn read(&mut self) -> Result<Option<SeriesInput>, InputError> {
        let Some(mut series) = self.next.take() else {
            return Ok(None);
        };
        while self.rows.advance()? {
            if self.rows.series()? != series.name {
                self.next = Some(self.begin()?);
                break;
            }
            let last = series.timestamps.last().copied();
            series.timestamps.push(self.rows.timestamp(last)?);
            series.values.push(self.rows.value()?);
        }
        Ok(Some(series))
    }

    fn begin(&mut self) -> Result<SeriesInput, InputError> {
        let name = self.rows.series()?.to_owned();
        if !self.seen.insert(name.clone()) {
            let reason = format!(
                "series {name} was complete above; keep its rows together, or let them come mixed with --stream"
            );
            return Err(self.rows.rows.wrong(0, reason));
        }
        Ok(SeriesInput {
            name,
            timestamps: vec![self.rows.timestamp(None)?],
            values: vec![self.rows.value()?],
            days: None,
        })
    }
}

/// Rows of a file whose series may be mixed, one after the other.
pub(super) struct RowReader {
    rows: Rows,
}

impl RowReader {
    pub(super) fn open(path: &Path) -> Result<Self, InputError> {
        let columns = &["series", "timestamp", "value"];
        let rows = Rows::open(path, columns, "series,timestamp,value")?;
        Ok(Self { rows })
    }

    /// Waits for the next row; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool, InputError> {
        self.rows.advance()
    }

    pub(super) fn series(&self) -> Result<&str, InputError> {
        match self.rows.text(0)? {
            "" => Err(self.rows.wrong(0, "a series needs a name".to_owned())),
            name => Ok(name),
        }
    }

    /// The time, which is no earlier than the last of its series.
    pub(super) fn timestamp(&self, last: Option<i64>) -> Result<i64, InputError> {
        let at_s = self.rows.time(1)?;
        if last.is_some_and(|last| at_s < last) {
            let reason =
                "it lies before the last one of its series; sort the file by series and timestamp";
            return Err(self.rows.wrong(1, reason.to_owned()));
        }
        Ok(at_s)
    }

    pub(super) fn value(&self) -> Result<f64, InputError> {
        self.rows.value(2)
    }

    pub(super) fn too_many(&self, most: usize) -> InputError {
        self.rows.wrong(
            0,
            format!("more than {most} series grow at once; split the input"),
        )
    }
}

/// All cases of a file, in the order in which they begin.
pub(super) fn read_cases(path: &Path) -> Result<Vec<CaseInput>, InputError> {
    let columns = &["case", "arm", "run", "value"];
    let mut rows = Rows::open(path, columns, "case,arm,run,value")?;
    let mut cases: Vec<CaseInput> = Vec::new();
    let mut seen = HashSet::new();
    // The names of the runs of the last case, side by side with its values.
    let mut runs: [Vec<String>; 2] = Default::default();
    while rows.advance()? {
        let name = rows.text(0)?;
        if cases.last().is_none_or(|case| case.name != name) {
            if !seen.insert(name.to_owned()) {
                let reason = format!("case {name} was complete above; keep its rows together");
                return Err(rows.wrong(0, reason));
            }
            runs = Default::default();
            cases.push(CaseInput {
                name: name.to_owned(),
                a: Vec::new(),
                b: Vec::new(),
            });
        }
        let case = cases.last_mut().expect("one was just pushed");
        let (side, names) = match rows.text(1)? {
            "A" => (&mut case.a, &mut runs[0]),
            "B" => (&mut case.b, &mut runs[1]),
            other => return Err(rows.wrong(1, format!("{other:?} is neither A nor B"))),
        };
        let run = rows.text(2)?;
        let place = names.iter().position(|name| name == run);
        let place = place.unwrap_or_else(|| {
            names.push(run.to_owned());
            side.push(Vec::new());
            names.len() - 1
        });
        let value = rows.value(3)?;
        if value.is_finite() {
            side[place].push(value);
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("it can be written");
        file
    }

    fn all(text: &str) -> Result<Vec<SeriesInput>, String> {
        let file = file(text);
        let read = || {
            let mut reader = SeriesReader::open(file.path())?;
            let mut all = Vec::new();
            while let Some(series) = reader.read()? {
                all.push(series);
            }
            Ok(all)
        };
        read().map_err(|error: InputError| {
            let text = error.to_string();
            text.replace(&file.path().display().to_string(), "FILE")
        })
    }

    #[test]
    fn series_come_one_by_one_and_missing_values_keep_their_place() {
        let text = "series,timestamp,value\na,1,1.5\na,2,\na,2,inf\nb,1,2\n";
        let read = all(text).expect("they can be read");
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].timestamps, [1, 2, 2]);
        assert_eq!(read[0].values[0], 1.5);
        assert!(read[0].values[1].is_nan() && read[0].values[2].is_nan());
        assert_eq!((read[1].name.as_str(), read[1].values[0]), ("b", 2.0));
        assert_eq!(all("series,timestamp,value\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        let wrong = |text: &str| all(text).expect_err("it is wrong");
        assert_eq!(
            wrong("a,b\n1,2\n"),
            "FILE: the first line must be series,timestamp,value"
        );
        assert_eq!(
            wrong("series,timestamp,value\na,1,2\na,2,x\n"),
            "FILE, line 3, column value: \"x\" is no number"
        );
        assert!(wrong("series,timestamp,value\na,y,2\n").contains("line 2, column timestamp"));
        assert!(
            wrong("series,timestamp,value\na,2,2\na,1,2\n").contains("line 3, column timestamp")
        );
        assert!(
            wrong("series,timestamp,value\na,1,2\nb,1,2\na,2,2\n")
                .contains("line 4, column series")
        );
        assert!(wrong("series,timestamp,value\na,1\n").contains("column value: it is missing"));
    }

    /// Of those that were read only the names are kept, to tell one whose rows lie apart.
    #[test]
    fn a_million_series_are_read_one_by_one() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut rows = std::io::BufWriter::new(file.as_file());
        writeln!(rows, "series,timestamp,value").expect("it can be written");
        for number in 0..1_000_000 {
            writeln!(rows, "s{number},{number},1.5\ns{number},{number},2").expect("likewise");
        }
        writeln!(rows, "s7,0,1").expect("likewise");
        rows.flush().expect("likewise");
        let mut reader = SeriesReader::open(file.path()).expect("a header and a row");
        for number in 0..999_999 {
            let series = reader.read().expect("in order").expect("one more");
            assert_eq!(series.timestamps, [number, number]);
        }
        let error = reader.read().expect_err("s7 comes again").to_string();
        let wanted = "line 2000002, column series: series s7 was complete above";
        assert!(error.contains(wanted), "{error}");
    }

    #[test]
    fn cases_keep_their_runs_apart() {
        let read = |text: &str| read_cases(file(text).path());
        let cases = read("case,arm,run,value\nc,A,1,1\nc,B,1,2\nc,A,2,3\nc,A,1,4\nd,B,1,5\n")
            .expect("they can be read");
        assert_eq!(cases[0].a, [vec![1.0, 4.0], vec![3.0]]);
        assert_eq!(cases[0].b, [vec![2.0]]);
        assert_eq!((cases[1].name.as_str(), cases[1].a.len()), ("d", 0));
        assert!(read("case,arm,run,value\nc,C,1,1\n").is_err());
    }
}
