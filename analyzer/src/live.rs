//! The live look: every few seconds the newest points of every series, onsets among them, and what
//! belongs together as one finding that is told once.
//!
//! What an onset is, is decided by [`driftline_stats::onset`]; how findings begin and end, by
//! [`watch`], which is pure. Here they are fed from the tables. Keeping the events, telling people and
//! the clock are the caller's.

mod points;
mod untold;
mod watch;

use driftline_schemas::Event;

use crate::compare::Window;
use crate::engine::{Engine, EngineError};
use crate::nightly::{Finding, cause};

pub use points::LivePoint;
pub use untold::Untold;
pub use watch::{LiveOptions, Watch};

/// What a look came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// Series that are watched.
    pub series: usize,
    /// Series with enough of a past to be judged.
    pub warm: usize,
    /// Points that were new.
    pub points: usize,
    /// Facts for the log, in order.
    pub events: Vec<Event>,
    /// Findings that have begun.
    pub opened: Vec<Finding>,
    /// Findings that are over.
    pub ended: Vec<Finding>,
}

/// Takes up what an earlier process was watching, so that nothing is told twice: its open findings,
/// and the points of the last while, silently.
///
/// # Errors
/// When the tables cannot be read.
pub async fn resume(
    engine: &Engine,
    options: LiveOptions,
    now_us: i64,
) -> Result<Watch, EngineError> {
    let mut watch = Watch::new(options, points::open_findings(engine).await?);
    let until_s = watch.until_s(now_us);
    let all = points::read(engine, until_s - options.history_s, until_s, options.step_s).await?;
    watch.warm_up(&all, until_s);
    Ok(watch)
}

/// One look at what is new.
///
/// # Errors
/// When the tables cannot be read; the same points are looked at again the next time.
pub async fn look(watch: &mut Watch, engine: &Engine, now_us: i64) -> Result<Look, EngineError> {
    let until_s = watch.until_s(now_us);
    let from_s = watch.judged_until_s();
    if until_s <= from_s {
        return Ok(Look::default());
    }
    let step_s = watch.options().step_s;
    let all = points::read(engine, from_s, until_s, step_s).await?;
    let mut onsets = watch.take(&all, until_s);
    let mut unusual = Vec::new();
    for onset in onsets.drain(..) {
        if !(onset.tells() && points::is_usual(engine, &onset).await?) {
            unusual.push(onset);
        }
    }
    let marks = if unusual.is_empty() {
        Vec::new()
    } else {
        let whole = Window {
            from_us: (from_s - 2 * 3_600) * 1_000_000,
            until_us: now_us,
        };
        cause::marks(engine, whole).await?
    };
    Ok(Look {
        series: watch.series(),
        warm: watch.warm(),
        points: all.len(),
        ..watch.settle(unusual, &marks, now_us)
    })
}
