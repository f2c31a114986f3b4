//! The runs of each scenario and target in order of time, and which of them are accepted.

use std::collections::HashMap;

use super::MOST_RUNS;
use crate::columns::Columns;
use crate::engine::{Engine, EngineError, QueryOptions};
use crate::nightly::id;
use crate::rule::timestamp;

/// The completed runs of one scenario against one target, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) scenario: String,
    pub(crate) scenario_hash: String,
    pub(crate) target: String,
    pub(crate) runs: Vec<PastRun>,
}

/// A run, and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastRun {
    pub(crate) run: String,
    pub(crate) started_us: i64,
    /// Whether its numbers can be believed.
    pub(crate) trusted: bool,
    pub(crate) said: Said,
}

/// What findings say of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing that speaks against it.
    Nothing,
    /// That it was worse.
    Worse {
        /// The finding.
        id: String,
        /// When somebody said that it is fixed, in µs since 1970.
        fixed_us: Option<i64>,
    },
    /// That it was worse, and somebody took it as the new level.
    Accepted,
}

impl History {
    /// The last accepted runs before a place, in order of time.
    pub(crate) fn accepted(&self, before: usize) -> Vec<&PastRun> {
        let past = &self.runs[..before];
        let first = past
            .iter()
            .rposition(|run| run.said == Said::Accepted)
            .unwrap_or(0);
        let counts = |place: &usize| {
            let run = &past[*place];
            let worse = matches!(run.said, Said::Worse { .. });
            run.trusted && !worse && (run.said == Said::Accepted || self.open(*place).is_none())
        };
        let places: Vec<usize> = (first..before).filter(counts).collect();
        let late = &places[places.len().saturating_sub(MOST_RUNS)..];
        late.iter().map(|place| &past[*place]).collect()
    }

    /// The finding that is open when a run begins.
    pub(crate) fn open(&self, place: usize) -> Option<&str> {
        let past = &self.runs[..place];
        let accepted = |run: &PastRun| run.said == Said::Accepted;
        let first = past.iter().rposition(accepted).unwrap_or(0);
        let started_us = self.runs[place].started_us;
        past[first..].iter().rev().find_map(|run| match &run.said {
            Said::Worse { id, fixed_us } => fixed_us
                .is_none_or(|fixed_us| started_us < fixed_us)
                .then_some(id.as_str()),
            _ => None,
        })
    }
}

/// The id of the finding that a run is worse than the one before.
pub(crate) fn pair_id(before: &str, run: &str) -> String {
    id("run", &[before, run])
}

/// The id of the finding that a run is worse than the accepted ones before it.
pub(crate) fn baseline_id(run: &str) -> String {
    id("run", &["accepted runs", run])
}

/// Every scenario and target with runs that began before a time in µs since 1970.
pub(crate) async fn read(engine: &Engine, until_us: i64) -> Result<Vec<History>, EngineError> {
    let said = said(engine).await?;
    let sql = "SELECT run, scenario, coalesce(scenario_hash, '') AS scenario_hash, \
                   coalesce(target, '') AS target, CAST(started AS BIGINT) AS started_us, \
                   generator IN ('ok', 'imported') AND recording = 'ok' AS trusted \
               FROM runs WHERE ended = 'completed' AND started < $until \
               ORDER BY scenario_hash, target, started, run";
    let options = QueryOptions {
        parameters: vec![("until".to_owned(), timestamp(until_us))],
        timeout: None,
    };
    let rows = engine.collect(sql, &options).await?;
    let columns = Columns::new("runs", &rows)?;
    let [run, scenario, hash, target] =
        columns.each_text(["run", "scenario", "scenario_hash", "target"])?;
    let (started_us, trusted) = (
        columns.integers("started_us")?,
        columns.booleans("trusted")?,
    );
    let mut all: Vec<History> = Vec::new();
    for row in 0..columns.rows() {
        let same = |history: &History| {
            history.scenario_hash == hash.value(row) && history.target == target.value(row)
        };
        if !all.last().is_some_and(same) {
            all.push(History {
                scenario: String::new(),
                scenario_hash: hash.value(row).to_owned(),
                target: target.value(row).to_owned(),
                runs: Vec::new(),
            });
        }
        let history = all.last_mut().expect("one was just pushed");
        // A scenario may have got another name; the last one counts.
        scenario.value(row).clone_into(&mut history.scenario);
        let run = run.value(row);
        let before = history.runs.last();
        let pair = before.and_then(|before| said.get(&pair_id(&before.run, run)));
        let against_all = said.get(&baseline_id(run));
        history.runs.push(PastRun {
            run: run.to_owned(),
            started_us: started_us.value(row),
            trusted: trusted.value(row),
            said: against_all.or(pair).cloned().unwrap_or(Said::Nothing),
        });
    }
    Ok(all)
}

/// What is held of runs that were worse, by the finding's id.
async fn said(engine: &Engine) -> Result<HashMap<String, Said>, EngineError> {
    let sql = "SELECT id, state, CAST(changed AS BIGINT) AS changed_us FROM findings \
               WHERE id LIKE 'run-%' AND severity = 'regression' ORDER BY id";
    let rows = engine.collect(sql, &QueryOptions::default()).await?;
    let columns = Columns::new("findings", &rows)?;
    let [ids, states] = columns.each_text(["id", "state"])?;
    let changed_us = columns.integers("changed_us")?;
    let said = (0..columns.rows()).map(|row| {
        let id = ids.value(row).to_owned();
        let said = match states.value(row) {
            "accepted" => Said::Accepted,
            "superseded" => Said::Nothing,
            state => Said::Worse {
                id: id.clone(),
                fixed_us: (state == "fixed").then(|| changed_us.value(row)),
            },
        };
        (id, said)
    });
    Ok(said.collect())
}
