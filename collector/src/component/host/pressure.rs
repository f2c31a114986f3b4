//! Pressure stall information: for how long tasks waited for CPU, memory or I/O.

use std::time::Duration;

use driftline_schemas as schemas;
use driftline_schemas::metric::catalogue::id;

use crate::component::{Component, ComponentError};
use crate::config::HostConfig;
use crate::procfile::{Line, ProcFile, lines};
use crate::recorder::Recorder;

/// The file of each resource, as errors and labels name it.
const RESOURCES: [(&str, &str); 3] = [
    ("cpu", "/proc/pressure/cpu"),
    ("memory", "/proc/pressure/memory"),
    ("io", "/proc/pressure/io"),
];

/// The host's pressure.
#[derive(Debug)]
pub(crate) struct Pressure {
    files: [ProcFile; 3],
    buffer: Vec<u8>,
    interval: Duration,
}

impl Pressure {
    pub(crate) fn new(config: &HostConfig) -> Self {
        let files = RESOURCES
            .map(|(resource, _)| ProcFile::new(config.proc.join("pressure").join(resource)));
        Self {
            files,
            buffer: Vec::new(),
            interval: config.interval,
        }
    }
}

impl Component for Pressure {
    fn component(&self) -> schemas::Component {
        schemas::Component::Host
    }

    fn subject(&self) -> &'static str {
        "host.pressure"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect(&mut self, out: &mut Recorder) -> Result<(), ComponentError> {
        for (file, (resource, name)) in self.files.iter_mut().zip(RESOURCES) {
            let text = file.read(&mut self.buffer).map_err(explain)?;
            for stall in stalls(name, text) {
                let stall = stall?;
                let labels = &mut [
                    ("system.pressure.resource", resource),
                    ("system.pressure.type", stall.kind),
                ];
                out.record(
                    const { id("system.pressure.stall_time") },
                    labels,
                    stall.total_s,
                );
                out.record(
                    const { id("system.pressure.stall_ratio") },
                    labels,
                    stall.avg10 / 100.0,
                );
            }
        }
        Ok(())
    }
}

/// One line of a pressure file, of the host or of a control group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stall<'a> {
    /// `some` or `full`.
    pub(crate) kind: &'a str,
    /// Percent of the last ten seconds.
    pub(crate) avg10: f64,
    /// Seconds in all.
    pub(crate) total_s: f64,
}

/// The lines of a pressure file.
pub(crate) fn stalls<'a>(
    file: &'static str,
    text: &'a str,
) -> impl Iterator<Item = Result<Stall<'a>, ComponentError>> {
    lines(file, text).map(|line| stall(&line))
}

fn stall<'a>(line: &Line<'a>) -> Result<Stall<'a>, ComponentError> {
    const EXPECTED: &str = "some or full with avg10= and total=";
    let mut fields = line.fields();
    let kind = fields.word(EXPECTED)?;
    if !matches!(kind, "some" | "full") {
        return Err(line.malformed(EXPECTED));
    }
    let (mut avg10, mut total_us) = (None, None);
    while let Some(field) = fields.next() {
        match field.split_once('=') {
            Some(("avg10", value)) => avg10 = value.parse().ok().filter(|n: &f64| n.is_finite()),
            Some(("total", value)) => total_us = crate::procfile::parse_u64(value),
            _ => {}
        }
    }
    match (avg10, total_us) {
        (Some(avg10), Some(total)) => Ok(Stall {
            kind,
            avg10,
            total_s: total as f64 / 1e6,
        }),
        _ => Err(line.malformed(EXPECTED)),
    }
}

/// Kernels that were built with pressure information may still have it switched off.
pub(crate) fn explain(error: ComponentError) -> ComponentError {
    match error {
        ComponentError::Unreadable { path, source, .. } => ComponentError::Unreadable {
            path,
            source,
            remedy: "pressure information needs Linux 4.20 with CONFIG_PSI; start the kernel with psi=1",
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read() {
        let text = "some avg10=63.19 avg60=30.03 avg300=11.53 total=57694079\n\
                    full avg10=0.04 avg60=0.04 avg300=0.15 total=6157582\n";
        let found: Result<Vec<_>, _> = stalls("/proc/pressure/io", text).collect();
        assert_eq!(
            found.expect("well formed"),
            [
                Stall {
                    kind: "some",
                    avg10: 63.19,
                    total_s: 57.694_079
                },
                Stall {
                    kind: "full",
                    avg10: 0.04,
                    total_s: 6.157_582
                },
            ]
        );
    }

    #[test]
    fn malformed_pressure_is_located() {
        let good = "some avg10=0.00 total=1";
        for bad in [
            "none avg10=0.00 total=1",
            "full avg10=x total=1",
            "full avg10=0.00",
            "",
        ] {
            let text = format!("{good}\n{bad}\n");
            let error = stalls("/proc/pressure/cpu", &text)
                .nth(1)
                .expect("two lines")
                .expect_err(bad);
            assert!(
                error.to_string().starts_with("/proc/pressure/cpu:2"),
                "{error}"
            );
        }
    }
}
