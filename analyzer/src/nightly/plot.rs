//! What a finding looks like: the series that moved, with the level and the spread that were usual
//! before and the level since. Drawing is left to the caller.

use driftline_stats::{mad, median};

use super::{Finding, PointSeries};

/// Plots of a finding at most: of the members that moved the most.
pub(super) const MOST_PLOTS: usize = 4;
/// Half the width of the band, in standard deviations estimated by the MAD: of normal noise it holds
/// 99.7 % of the points.
const BAND_SIGMAS: f64 = 3.0;

/// A series of a finding, as it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// The finding's id.
    pub finding: String,
    /// The name of the evidence.
    pub name: String,
    /// Where.
    pub host: String,
    /// The unit of the values.
    pub unit: String,
    /// The start of each point's step, in seconds since 1970.
    pub at_s: Vec<i64>,
    /// The points.
    pub values: Vec<f64>,
    /// Where the level before begins, an index of the points.
    pub from: usize,
    /// The first point of the level since.
    pub change: usize,
    /// Where the level since ends, exclusive.
    pub until: usize,
    /// The level before.
    pub before: Option<f64>,
    /// The level since.
    pub after: Option<f64>,
    /// What was usual before: the level, three standard deviations either way.
    pub band: Option<(f64, f64)>,
}

impl Plot {
    /// The plot of a series that changed its level at `change` and had kept it since `from`, up to
    /// `until`.
    pub(super) fn of(series: &PointSeries, from: usize, change: usize, until: usize) -> Self {
        let usual = &series.values[from..change];
        let (before, spread) = (median(usual), mad(usual));
        let band = before
            .zip(spread)
            .map(|(center, spread)| (center - BAND_SIGMAS * spread, center + BAND_SIGMAS * spread));
        Self {
            finding: String::new(),
            name: series.name(),
            host: series.host.clone(),
            unit: series.unit.clone(),
            at_s: series.at_s.clone(),
            values: series.values.clone(),
            from,
            change,
            until,
            before,
            after: median(&series.values[change..until]),
            band,
        }
    }
}

/// The plots of a finding that was told earlier, whose series are read again. Its members changed at
/// its onset, as far as what was told of it says.
pub fn plots(finding: &Finding, series: &[PointSeries]) -> Vec<Plot> {
    let onset_s = finding.onset_us.div_euclid(1_000_000);
    let host = finding
        .scope
        .iter()
        .find_map(|(key, value)| (key == "host").then_some(value.as_str()));
    let mut plots = Vec::new();
    for evidence in finding.evidence.iter().take(MOST_PLOTS) {
        let is_it = |series: &&PointSeries| {
            let name = series.name();
            let here = host.is_none_or(|host| host == series.host);
            (here && name == evidence.name) || format!("{name} on {}", series.host) == evidence.name
        };
        let Some(series) = series.iter().find(is_it) else {
            continue;
        };
        let change = series.at_s.partition_point(|at_s| *at_s < onset_s);
        let mut plot = Plot::of(series, 0, change, series.values.len());
        plot.finding.clone_from(&finding.id);
        plot.name.clone_from(&evidence.name);
        plots.push(plot);
    }
    plots
}

#[cfg(test)]
mod tests {
    use super::super::{Evidence, Severity};
    use super::*;

    fn series() -> PointSeries {
        PointSeries {
            component: "host".to_owned(),
            host: "h1".to_owned(),
            metric: "m".to_owned(),
            labels: "a=b".to_owned(),
            unit: "s".to_owned(),
            better: "lower".to_owned(),
            at_s: (0..10).map(|n| n * 60).collect(),
            values: vec![1.0, 2.0, 3.0, 2.0, 1.0, 9.0, 8.0, 9.0, 10.0, 9.0],
        }
    }

    #[test]
    fn the_band_is_what_was_usual_before() {
        let plot = Plot::of(&series(), 0, 5, 10);
        assert_eq!((plot.before, plot.after), (Some(2.0), Some(9.0)));
        let (lo, hi) = plot.band.expect("a band");
        let half = BAND_SIGMAS * driftline_stats::robust::MAD_TO_SIGMA;
        assert!((lo - (2.0 - half)).abs() < 1e-12 && (hi - (2.0 + half)).abs() < 1e-12);
        // Nothing before is no band.
        assert_eq!(Plot::of(&series(), 0, 0, 10).band, None);
    }

    #[test]
    fn what_was_told_is_found_again_among_the_series() {
        let evidence = |name: &str| Evidence {
            name: name.to_owned(),
            unit: "s".to_owned(),
            before: None,
            after: None,
            effect_pct: None,
            interval_pct: None,
            p_value: 0.001,
        };
        let mut finding = Finding {
            id: "change-1".to_owned(),
            severity: Severity::Regression,
            title: String::new(),
            onset_us: 290 * 1_000_000,
            scope: vec![("host".to_owned(), "h1".to_owned())],
            evidence: vec![evidence("m{a=b}"), evidence("unknown")],
            causes: Vec::new(),
            sql: String::new(),
        };
        let found = plots(&finding, &[series()]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].change, found[0].after), (5, Some(9.0)));
        finding.scope[0].1 = "h2".to_owned();
        assert!(plots(&finding, &[series()]).is_empty());
        finding.scope.clear();
        finding.evidence = vec![evidence("m{a=b} on h1")];
        assert_eq!(plots(&finding, &[series()]).len(), 1);
    }
}
