//! A case: samples and events written as rows of text.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use driftline_analyzer::Lake;
use driftline_schemas::{
    Better, Category, Component, Event, EventName, Labels, MetricDef, MetricKind, MetricRef,
    SampleBatch, Series, metric_named,
};

/// The window's start: some midnight.
pub(crate) const START_US: i64 = 1_700_006_400_000_000;
/// Samples of one row at most: a row is meant to be short.
const MOST_SAMPLES: usize = 1_000_000;

/// Rows of one case, by host.
#[derive(Default)]
pub(crate) struct Case {
    samples: BTreeMap<String, Vec<(Series, i64, f64)>>,
    events: BTreeMap<String, Vec<Event>>,
}

/// Reads a case's folder.
pub(crate) fn read(place: &Path) -> Result<Case, String> {
    let mut case = Case::default();
    for (line, row) in rows(&place.join("samples.csv"), 6)? {
        case.sample(&row)
            .map_err(|reason| format!("samples.csv, line {line}: {reason}"))?;
    }
    let events = place.join("events.csv");
    if events.exists() {
        for (line, row) in rows(&events, 7)? {
            case.event(&row)
                .map_err(|reason| format!("events.csv, line {line}: {reason}"))?;
        }
    }
    Ok(case)
}

impl Case {
    /// The tables that hold it.
    pub(crate) fn lake(&self) -> Result<Lake, String> {
        let batches: Vec<(&str, SampleBatch)> = self
            .samples
            .iter()
            .map(|(host, rows)| (host.as_str(), SampleBatch::from_rows(rows.iter().cloned())))
            .collect();
        let samples = batches.iter().map(|(host, batch)| (*host, batch));
        let events = self.events.iter();
        let events = events.map(|(host, events)| (host.as_str(), events.as_slice()));
        Lake::of_hosts(samples, events).map_err(|error| error.to_string())
    }

    /// Another case besides, its hosts told apart by a name.
    #[allow(
        dead_code,
        reason = "only the program that measures rules adds cases up"
    )]
    pub(crate) fn add(&mut self, name: &str, other: Self) {
        let renamed = |host: String| format!("{name}-{host}");
        for (host, rows) in other.samples {
            self.samples.insert(renamed(host), rows);
        }
        for (host, events) in other.events {
            self.events.insert(renamed(host), events);
        }
    }

    fn sample(&mut self, row: &[String]) -> Result<(), String> {
        let [at, host, component, metric, labels, value] = row else {
            return Err("a row has at, host, component, metric, labels, value".to_owned());
        };
        let component = component_of(component)?;
        let series = Series {
            metric: metric_of(component, metric)?,
            labels: Labels::new(&pairs(labels)?),
        };
        let line = Line::read(value)?;
        let times = Times::read(at)?;
        let rows = self.samples.entry(host.clone()).or_default();
        for second in times.all()? {
            let value = line.at(second - times.from);
            rows.push((series.clone(), START_US + second * 1_000_000, value));
        }
        Ok(())
    }

    fn event(&mut self, row: &[String]) -> Result<(), String> {
        let [at, host, component, name, subject, message, attributes] = row else {
            return Err(
                "a row has at, host, component, name, subject, message, attributes".to_owned(),
            );
        };
        let second: i64 = at.parse().map_err(|_| format!("at {at:?} is no number"))?;
        let Ok(name) = name.parse::<EventName>();
        let attributes = pairs(attributes)?;
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), unescaped(value));
        self.events.entry(host.clone()).or_default().push(Event {
            ts_us: START_US + second * 1_000_000,
            name,
            component: component_of(component)?,
            subject: subject.clone(),
            message: message.clone(),
            attributes: attributes.iter().map(owned).collect(),
        });
        Ok(())
    }
}

fn component_of(text: &str) -> Result<Component, String> {
    text.parse::<Component>().map_err(|error| error.to_string())
}

/// What the catalogue knows keeps its definition; the other components bring their own metrics.
fn metric_of(component: Component, name: &str) -> Result<MetricRef, String> {
    if let Some(known) = metric_named(name) {
        if known.component != component {
            return Err(format!("{name} is a metric of {}", known.component));
        }
        return Ok(MetricRef::Known(known.id));
    }
    if !matches!(component, Component::Prometheus | Component::Otlp) {
        return Err(format!("nothing emits {component}/{name}"));
    }
    Ok(MetricRef::Custom(Arc::new(MetricDef {
        name: name.to_owned(),
        component,
        unit: "1".to_owned(),
        kind: if name.ends_with("_total") {
            MetricKind::Counter
        } else {
            MetricKind::Gauge
        },
        category: Category::Throughput,
        better: Better::Neither,
    })))
}

/// `key=value,key=value`, with a backslash before what is part of a key or value.
fn pairs(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let pairs: Vec<(&str, &str)> = split(text, ',')
        .into_iter()
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let at = split(pair, '=').first().map(|key| key.len());
            let at = at.filter(|at| *at < pair.len());
            at.map(|at| (&pair[..at], &pair[at + 1..]))
                .ok_or_else(|| format!("{pair:?} is not key=value"))
        })
        .collect::<Result<_, _>>()?;
    Ok(pairs)
}

/// Parts between unescaped separators.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        if !escaped && c == separator {
            parts.push(&text[from..at]);
            from = at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    parts.push(&text[from..]);
    parts
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for c in text.chars() {
        if c != '\\' || escaped {
            out.push(c);
            escaped = false;
        } else {
            escaped = true;
        }
    }
    out
}

/// `30`, or `from..until/step`.
struct Times {
    from: i64,
    until: i64,
    step: i64,
}

impl Times {
    fn read(text: &str) -> Result<Self, String> {
        let form = || format!("at {text:?} is neither a number nor from..until/step");
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| form());
        let Some((from, rest)) = text.split_once("..") else {
            let from = number(text)?;
            return Ok(Self {
                from,
                until: from + 1,
                step: 1,
            });
        };
        let (until, step) = rest.split_once('/').ok_or_else(form)?;
        let step = number(step)?;
        if step <= 0 {
            return Err(form());
        }
        Ok(Self {
            from: number(from)?,
            until: number(until)?,
            step,
        })
    }

    fn all(&self) -> Result<impl Iterator<Item = i64> + use<>, String> {
        let count = usize::try_from((self.until - self.from + self.step - 1) / self.step);
        let count = count.unwrap_or_default();
        if count == 0 || count > MOST_SAMPLES {
            return Err(format!("{count} samples in one row"));
        }
        let (from, step) = (self.from, self.step);
        Ok((0..count).map(move |n| from + step * n as i64))
    }
}

/// `5`, `5+0.2*t`, `5-0.2*t`.
struct Line {
    start: f64,
    slope: f64,
}

impl Line {
    fn read(text: &str) -> Result<Self, String> {
        let form = || format!("value {text:?} is neither a number nor a line such as 5+0.2*t");
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let number = |text: &str| text.parse::<f64>().map_err(|_| form());
        let Some(slope) = text.strip_suffix("*t") else {
            return Ok(Self {
                start: number(&text)?,
                slope: 0.0,
            });
        };
        // The sign that parts start and slope is the last one that no exponent owns.
        let signs = slope.char_indices().skip(1);
        let sign = signs
            .filter(|(at, c)| "+-".contains(*c) && !slope[..*at].ends_with(['e', 'E']))
            .map(|(at, _)| at)
            .last();
        let at = sign.ok_or_else(form)?;
        Ok(Self {
            start: number(&slope[..at])?,
            slope: number(&slope[at..])?,
        })
    }

    fn at(&self, seconds: i64) -> f64 {
        self.start + self.slope * seconds as f64
    }
}

/// The rows of a file behind its heads, with their lines.
pub(crate) fn rows(file: &Path, columns: usize) -> Result<Vec<(usize, Vec<String>)>, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut rows = Vec::new();
    for (number, line) in lines.skip(1) {
        let row = cells(line);
        if columns > 0 && row.len() != columns {
            let name = file.display();
            let found = row.len();
            return Err(format!(
                "{name}, line {}: {found} columns, not {columns}",
                number + 1
            ));
        }
        rows.push((number + 1, row));
    }
    Ok(rows)
}

/// A line's cells: commas part them outside of double quotes; a double quote inside is doubled.
pub(crate) fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push(&mut cells, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => push(&mut cells, c),
        }
    }
    cells
}

fn push(cells: &mut [String], c: char) {
    if let Some(last) = cells.last_mut() {
        last.push(c);
    }
}
