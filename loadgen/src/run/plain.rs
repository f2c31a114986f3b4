//! One line a second, for logs and pipes.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::Health;
use super::progress::{Progress, View};
use crate::scenario::quantity::human_ns;

/// Writes a progress line at a time to standard error, or wherever it is told to.
pub struct PlainView<W: Write = io::Stderr> {
    out: W,
    has_failed: bool,
}

impl PlainView {
    /// Writes to standard error.
    pub fn new() -> Self {
        Self::to(io::stderr())
    }
}

impl Default for PlainView {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Write> PlainView<W> {
    /// Writes to `out`.
    pub fn to(out: W) -> Self {
        Self {
            out,
            has_failed: false,
        }
    }
}

impl<W: Write> View for PlainView<W> {
    fn show(&mut self, progress: &Progress) {
        if self.has_failed {
            return;
        }
        // Nobody reads it any more; the run itself goes on.
        if let Err(error) = writeln!(self.out, "{}", line(progress)) {
            self.has_failed = true;
            tracing::warn!(%error, "progress is not shown any more");
        }
    }
}

/// A progress line.
fn line(progress: &Progress) -> String {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let stage = match progress.stage() {
        Some(stage) if !progress.is_draining => format!("stage {}", stage.name),
        _ => "draining".to_owned(),
    };
    let ns = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| human_ns(ns as f64));
    let mut line = format!(
        "{:>5.0} of {:.0} s  {stage}  {:.0}/s  p50 {}  p95 {}  p99 {}  errors {}  active {}  connections {}  waiting {}",
        seconds(progress.elapsed_ns),
        seconds(progress.total_ns()),
        progress.rate_per_s,
        ns(progress.recent.p50_ns),
        ns(progress.recent.p95_ns),
        ns(progress.recent.p99_ns),
        progress.failed - progress.dropped,
        progress.generator.active,
        progress.generator.connections,
        progress.generator.waiting,
    );
    let mut add = |text: std::fmt::Arguments<'_>| {
        line.write_fmt(text).expect("a string takes every text");
    };
    if progress.dropped > 0 {
        add(format_args!("  dropped {}", progress.dropped));
    }
    if progress.generator.lost > 0 {
        add(format_args!("  not recorded {}", progress.generator.lost));
    }
    if progress.lost_processes > 0 {
        add(format_args!("  lost processes {}", progress.lost_processes));
    }
    for broken in progress
        .thresholds
        .iter()
        .filter(|one| one.passed == Some(false))
    {
        add(format_args!("  {}", broken.text));
    }
    if progress.health != Health::Ok {
        add(format_args!("  generator limited"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing;

    #[test]
    fn a_line_says_what_matters() {
        let mut out = Vec::new();
        PlainView::to(&mut out).show(&testing::progress());
        let text = String::from_utf8(out).expect("it is text");
        assert_eq!(
            text,
            "   12 of 30 s  stage peak  498/s  p50 2 ms  p95 8 ms  p99 20 ms  errors 7  active 3  \
             connections 64  waiting 1  dropped 2  p95 300 ms < 200ms: failed  generator limited\n"
        );
    }

    #[test]
    fn a_run_without_answers_can_be_shown() {
        let empty = line(&Progress::default());
        assert!(empty.contains("p95 -"), "{empty}");
    }
}
