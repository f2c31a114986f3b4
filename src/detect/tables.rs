//! Series out of the tables, in the points that the analysis of a day judges.

use std::time::Duration;

use driftline_analyzer::nightly::{PointSeries, series};
use driftline_analyzer::{At, Window};

use super::input::{Days, SeriesInput};
use crate::cli::Settings;
use crate::{facts, query};

/// Every series of the last while; of one metric where one is named.
pub(super) fn read(
    settings: &Settings,
    last: Duration,
    metric: Option<&str>,
) -> anyhow::Result<Vec<SeriesInput>> {
    let until_us = facts::now_us();
    let whole = Window {
        from_us: until_us.saturating_sub(i64::try_from(last.as_micros())?),
        until_us,
    };
    let weekend = settings.config.nightly.calendar()?.is_weekend(until_us);
    let (step_s, all) = query::runtime()?.block_on(async {
        let engine = query::open(settings, At::Latest, &[]).await?;
        anyhow::Ok(series(&engine, whole).await?)
    })?;
    let wanted = |series: &PointSeries| metric.is_none_or(|metric| series.metric == metric);
    let named = all.into_iter().filter(wanted).map(|series| SeriesInput {
        name: name(&series),
        timestamps: series.at_s,
        values: series.values,
        days: Some(Days { step_s, weekend }),
    });
    Ok(named.collect())
}

/// The name that the fleet reads its labels from.
fn name(series: &PointSeries) -> String {
    let PointSeries {
        metric,
        host,
        labels,
        ..
    } = series;
    match labels.as_str() {
        "" => format!("{metric}{{host={host}}}"),
        labels => format!("{metric}{{host={host},{labels}}}"),
    }
}
