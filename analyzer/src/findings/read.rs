//! A finding read back from what was told of it.

use driftline_schemas::label_pairs;
use serde::Deserialize;

use crate::columns::{Columns, optional};
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::nightly::{Cause, Evidence, Finding, Severity};
use crate::rule::text;

#[derive(Deserialize)]
struct ToldEvidence {
    name: String,
    unit: String,
    before: Option<f64>,
    after: Option<f64>,
    effect_pct: Option<f64>,
    ci_lo_pct: Option<f64>,
    ci_hi_pct: Option<f64>,
    p_value: f64,
}

#[derive(Deserialize)]
struct ToldCause {
    ts_us: i64,
    what: String,
}

/// What was told last of a finding; `None` where there is none of this id. Of many members the first
/// twenty were told.
pub async fn read(engine: &Engine, id: &str) -> Result<Option<Finding>, EngineError> {
    let sql = "SELECT title, severity, scope, evidence, causes, sql, \
                   CAST(onset AS BIGINT) AS onset_us, effect_pct \
               FROM findings WHERE id = $id";
    let options = QueryOptions {
        parameters: vec![("id".to_owned(), text(id))],
        timeout: None,
    };
    let rows = engine.collect(sql, &options).await?;
    let columns = Columns::new("findings", &rows)?;
    if columns.rows() == 0 {
        return Ok(None);
    }
    let of = |column: &str| Ok::<_, EngineError>(columns.texts(column)?.value(0).to_owned());
    let unreadable = |column: &str| EngineError::Column {
        rule: "findings".to_owned(),
        column: column.to_owned(),
    };
    let evidence: Vec<ToldEvidence> =
        serde_json::from_str(&of("evidence")?).map_err(|_| unreadable("evidence"))?;
    let causes: Vec<ToldCause> =
        serde_json::from_str(&of("causes")?).map_err(|_| unreadable("causes"))?;
    let severity = Severity::parse(&of("severity")?).ok_or_else(|| unreadable("severity"))?;
    let onset_us = columns.integers("onset_us")?.value(0);
    let mut evidence: Vec<Evidence> = evidence.into_iter().map(Evidence::from).collect();
    // A change so large that JSON has no number for it was told as none.
    if let (Some(first), Some(effect)) = (
        evidence.first_mut(),
        optional(&columns.floats("effect_pct")?, 0),
    ) {
        first.effect_pct.get_or_insert(effect);
    }
    Ok(Some(Finding {
        id: id.to_owned(),
        severity,
        title: of("title")?,
        onset_us,
        scope: label_pairs(&of("scope")?).ok_or_else(|| unreadable("scope"))?,
        evidence,
        causes: causes
            .into_iter()
            .map(|cause| Cause {
                ts_us: cause.ts_us,
                what: cause.what,
            })
            .collect(),
        sql: of("sql")?,
    }))
}

impl From<ToldEvidence> for Evidence {
    fn from(told: ToldEvidence) -> Self {
        Self {
            name: told.name,
            unit: told.unit,
            before: told.before,
            after: told.after,
            effect_pct: told.effect_pct,
            interval_pct: told.ci_lo_pct.zip(told.ci_hi_pct),
            p_value: told.p_value,
        }
    }
}
