//! What else happened at a finding's time: marks such as deploys, and other findings. They are
//! suspects, no more.

use super::Finding;
use crate::columns::Columns;
use crate::compare::Window;
use crate::engine::{Engine, EngineError};

/// A mark counts as a suspect when it lies at most this long before the onset.
const BEFORE_US: i64 = 3_600 * 1_000_000;
/// Suspects of a finding at most; the nearest are kept.
const MOST_CAUSES: usize = 5;

/// Something that happened near a finding's onset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// When, in µs since 1970.
    pub ts_us: i64,
    /// In words.
    pub what: String,
}

/// What people and tools said that they did, and what the optimizer did.
const MARKS: &str = "
SELECT CAST(ts AS BIGINT) AS ts_us,
    coalesce('optimizer, ' || label(attributes, 'action') || ': ' || message, message) AS message
FROM events
WHERE (
        (name = 'Marked' AND subject IN ('deploy', 'config', 'note'))
        OR (name IN ('ApplySucceeded', 'RevertSucceeded') AND label(attributes, 'action') IS NOT NULL)
    )
    AND ts >= $from AND ts < $until
ORDER BY ts, message";

/// Every mark of a stretch of time.
pub async fn marks(engine: &Engine, whole: Window) -> Result<Vec<Cause>, EngineError> {
    let rows = engine.collect(MARKS, &whole.options()).await?;
    let columns = Columns::new("marks", &rows)?;
    let (ts_us, what) = (columns.integers("ts_us")?, columns.texts("message")?);
    let mark = |row: usize| Cause {
        ts_us: ts_us.value(row),
        what: what.value(row).to_owned(),
    };
    Ok((0..columns.rows()).map(mark).collect())
}

/// Names suspects: marks within the hour before the onset, where an onset is only known to a step,
/// and findings that began within two steps of it.
pub(crate) fn suspect(findings: &mut [Finding], marks: &[Cause], step_s: i64) {
    let step_us = step_s * 1_000_000;
    let others: Vec<(String, i64, String)> = findings
        .iter()
        .map(|finding| (finding.id.clone(), finding.onset_us, finding.title.clone()))
        .collect();
    for finding in findings {
        let onset = finding.onset_us;
        let near = |mark: &&Cause| {
            mark.ts_us >= onset - BEFORE_US - step_us && mark.ts_us <= onset + step_us
        };
        let mut causes: Vec<Cause> = marks.iter().filter(near).cloned().collect();
        for (id, ts_us, title) in &others {
            if *id != finding.id && (ts_us - onset).abs() <= 2 * step_us {
                causes.push(Cause {
                    ts_us: *ts_us,
                    what: format!("at the same time: {title}"),
                });
            }
        }
        causes.sort_by_key(|cause| ((cause.ts_us - onset).abs(), cause.what.clone()));
        causes.truncate(MOST_CAUSES);
        finding.causes = causes;
    }
}
