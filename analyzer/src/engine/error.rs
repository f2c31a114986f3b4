//! What went wrong with a query, in words for the person who asked.

use datafusion::common::utils::datafusion_strsim::normalized_levenshtein;
use datafusion::error::DataFusionError;

use crate::lake::LakeError;
use crate::rule::RuleError;

/// How much a name must resemble a wrong one to be suggested.
const SIMILAR: f64 = 0.5;
/// Marks an error of our own inside of DataFusion's.
const TIMED_OUT: &str = "driftline: the time is up after";

/// A query that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The statement would change something.
    #[error(
        "{statement} … is refused: queries only read; tables are written by the sink, and results are saved with --format"
    )]
    Refused {
        /// Its first words.
        statement: String,
    },
    /// The statement is wrong.
    #[error("{message}")]
    Sql {
        /// What is wrong with it.
        message: String,
    },
    /// It took too long.
    #[error(
        "the query was given up after {seconds} s; narrow it to fewer series or a shorter time, or raise query.timeout_s"
    )]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// It needs more memory than allowed, and could not spill.
    #[error(
        "the query needs more than {limit_mib} MiB of memory; narrow it to fewer series or a shorter time, or raise query.memory_bytes ({detail})"
    )]
    Memory {
        /// The limit.
        limit_mib: usize,
        /// Who needed it.
        detail: String,
    },
    /// More series than are looked at together.
    #[error(
        "{series} series are more than the {limit} that an analysis holds in memory; leave out labels that differ from request to request, or look at less history; SELECT component, metric, count(*) FROM series GROUP BY component, metric ORDER BY 3 DESC names the metrics that have most"
    )]
    TooManySeries {
        /// How many there are.
        series: i64,
        /// How many are looked at.
        limit: i64,
    },
    /// Parquet files that cannot become a table.
    #[error("cannot read {place} as table {name}: {reason}")]
    Files {
        /// The table's name.
        name: String,
        /// What was given.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The tables could not be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A query file is not in order.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A column of a result is not what the query file promises.
    #[error("query {rule} returned no usable column {column}; restore the file as it was released")]
    Column {
        /// The query file.
        rule: String,
        /// The column.
        column: String,
    },
    /// The engine itself failed.
    #[error("the query failed: {}", plain(.0))]
    Engine(#[from] DataFusionError),
}

/// The error that ends a stream whose time is up.
pub(super) fn timed_out(seconds: u64) -> DataFusionError {
    DataFusionError::Execution(format!("{TIMED_OUT} {seconds}"))
}

/// Finds the cause in DataFusion's error.
pub(super) fn explain(
    error: DataFusionError,
    memory_bytes: usize,
    tables: &[String],
) -> EngineError {
    let message = plain(&error);
    match error.find_root() {
        DataFusionError::ResourcesExhausted(detail) => EngineError::Memory {
            limit_mib: memory_bytes >> 20,
            detail: detail.lines().next().unwrap_or_default().to_owned(),
        },
        DataFusionError::Execution(text) if text.starts_with(TIMED_OUT) => {
            let seconds = text.rsplit(' ').next().and_then(|word| word.parse().ok());
            EngineError::Timeout {
                seconds: seconds.unwrap_or_default(),
            }
        }
        DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::SQL(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_) => EngineError::Sql {
            message: suggest_table(message, tables),
        },
        DataFusionError::Execution(_) | DataFusionError::ArrowError(..) => {
            EngineError::Sql { message }
        }
        _ => EngineError::Engine(error),
    }
}

/// The message without the words that only a developer of the engine needs.
pub(super) fn plain(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let mut text = text.as_str();
    for prefix in [
        "Error during planning: ",
        "Schema error: ",
        "SQL error: ",
        "Execution error: ",
        "This feature is not implemented: ",
        "Arrow error: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    if let Some(inner) = text.strip_prefix("ParserError(\"") {
        text = inner.trim_end_matches("\")");
    }
    let mut chars = text.chars();
    let second_is_lower = text.chars().nth(1).is_some_and(char::is_lowercase);
    match chars.next() {
        Some(first) if second_is_lower || text.starts_with("A ") => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// After "table 'a.b.c' not found", which tables there are.
fn suggest_table(message: String, tables: &[String]) -> String {
    let Some(name) = message
        .strip_prefix("table '")
        .and_then(|rest| rest.strip_suffix("' not found"))
    else {
        return message;
    };
    let name = name.rsplit('.').next().unwrap_or(name);
    let nearest = tables
        .iter()
        .map(|table| (normalized_levenshtein(name, table), table))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, table)) if likeness > SIMILAR => {
            format!("no table is named {name}; did you mean {table}?")
        }
        _ => format!("no table is named {name}; there are {}", tables.join(", ")),
    }
}
