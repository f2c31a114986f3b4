//! What the optimizer can do to a server: a closed set of typed actions, each with its exact
//! inverse. There is no free SQL: every command is made here of quoted identifiers and of values
//! that were checked against a range.
//!
//! Performing them is left to [`postgres`], [`redis`] and [`crate::warm`]; whether one may be
//! performed to [`crate::gate`].

pub mod hypothetical;
pub mod inverse;
pub mod plan;
pub mod postgres;
pub mod redis;
pub mod sql;
pub mod statement;
pub mod value;

use std::collections::BTreeSet;
use std::fmt;

use driftline_schemas::metric::Component;
use serde::{Deserialize, Serialize};

pub use self::inverse::Inverse;
pub use self::plan::Plan;
pub use self::value::{RedisParameter, Setting, TableOption};
use crate::recommendation::fingerprint;

/// The longest identifier that PostgreSQL keeps whole, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 63;
/// What the names of our indexes begin with.
pub const INDEX_PREFIX: &str = "driftline_";
/// Most columns of an index of ours.
pub const INDEX_COLUMNS_MAX: usize = 4;
/// Most keys of one warming.
pub const WARM_KEYS_MAX: usize = 5_000;
/// The longest key that is warmed, in bytes.
pub const WARM_KEY_BYTES_MAX: usize = 512;
/// The longest literal of a predicate, in bytes.
const LITERAL_BYTES_MAX: usize = 256;

/// Why an action is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// A name that no object can have.
    #[error(
        "{name:?} is no identifier of 1 to {IDENTIFIER_BYTES_MAX} bytes without control characters"
    )]
    Identifier {
        /// The name.
        name: String,
    },
    /// A value outside of what is allowed.
    #[error("{what} may not be {value}: allowed is {allowed}")]
    Value {
        /// The option, setting or parameter.
        what: String,
        /// The value.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// Too many or too few of something, or twice the same.
    #[error("{what}: {count} is not allowed; allowed are 1 to {max}, each once")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The most.
        max: usize,
    },
}

/// A table, with its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// Which rows an index holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    /// The column.
    pub column: String,
    /// What is asked of it.
    pub test: PredicateTest,
}

/// What a predicate asks of its column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredicateTest {
    /// It is null.
    IsNull,
    /// It is not null.
    IsNotNull,
    /// It is true.
    IsTrue,
    /// It is not true.
    IsNotTrue,
    /// It equals a literal, which is quoted.
    Equals(String),
}

/// A key worth warming.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmKey {
    /// The key.
    pub key: String,
    /// How often it was asked for, per second.
    pub rate_per_s: f64,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Creates a b-tree index concurrently, under our prefix.
    CreateIndex {
        /// The table.
        table: TableName,
        /// Its columns, in order.
        columns: Vec<String>,
        /// Which rows; all without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predicate: Option<Predicate>,
    },
    /// Drops an index concurrently; its definition is saved first.
    DropIndex {
        /// The table.
        table: TableName,
        /// The index, which is in the table's schema.
        index: String,
    },
    /// Gathers a table's statistics.
    Analyze {
        /// The table.
        table: TableName,
    },
    /// Removes a table's dead rows, without locking it.
    Vacuum {
        /// The table.
        table: TableName,
    },
    /// Sets a storage option of a table.
    SetTableOption {
        /// The table.
        table: TableName,
        /// The option.
        option: TableOption,
        /// Its value.
        value: f64,
    },
    /// Sets a setting of the server, by ALTER SYSTEM and a reload.
    SetSetting {
        /// The setting.
        setting: Setting,
        /// Its value: bytes, seconds, a ratio or a count.
        value: f64,
    },
    /// Sets a parameter of Redis, by CONFIG SET.
    RedisConfigSet {
        /// The parameter.
        parameter: RedisParameter,
        /// Its value: bytes as a whole number, or a word.
        value: String,
    },
    /// Loads keys into the cache, in the order in which they are given.
    Warm {
        /// The pattern of the loader, as it is configured.
        pattern: String,
        /// The keys, the most wanted first.
        keys: Vec<WarmKey>,
    },
}

/// The kinds of actions, as the allow-list names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// [`Action::CreateIndex`].
    CreateIndex,
    /// [`Action::DropIndex`].
    DropIndex,
    /// [`Action::Analyze`].
    Analyze,
    /// [`Action::Vacuum`].
    Vacuum,
    /// [`Action::SetTableOption`].
    TableOption,
    /// [`Action::SetSetting`].
    Setting,
    /// [`Action::RedisConfigSet`].
    RedisConfig,
    /// [`Action::Warm`].
    Warm,
}

impl ActionKind {
    /// The word of the allow-list and of events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateIndex => "create_index",
            Self::DropIndex => "drop_index",
            Self::Analyze => "analyze",
            Self::Vacuum => "vacuum",
            Self::TableOption => "table_option",
            Self::Setting => "setting",
            Self::RedisConfig => "redis_config",
            Self::Warm => "warm",
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TableName {
    /// `schema.name`.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    fn check(&self) -> Result<(), ActionError> {
        check_identifier(&self.schema)?;
        check_identifier(&self.name)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl Action {
    /// Which kind it is.
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::CreateIndex { .. } => ActionKind::CreateIndex,
            Self::DropIndex { .. } => ActionKind::DropIndex,
            Self::Analyze { .. } => ActionKind::Analyze,
            Self::Vacuum { .. } => ActionKind::Vacuum,
            Self::SetTableOption { .. } => ActionKind::TableOption,
            Self::SetSetting { .. } => ActionKind::Setting,
            Self::RedisConfigSet { .. } => ActionKind::RedisConfig,
            Self::Warm { .. } => ActionKind::Warm,
        }
    }

    /// The kind of server that it is done to.
    pub const fn component(&self) -> Component {
        match self {
            Self::RedisConfigSet { .. } | Self::Warm { .. } => Component::Redis,
            _ => Component::Postgres,
        }
    }

    /// The table whose statements it touches, where the action names it.
    pub const fn table(&self) -> Option<&TableName> {
        match self {
            Self::CreateIndex { table, .. }
            | Self::DropIndex { table, .. }
            | Self::Analyze { table }
            | Self::Vacuum { table }
            | Self::SetTableOption { table, .. } => Some(table),
            _ => None,
        }
    }

    /// What makes it the same action: everything, but for warming, whose keys change from day to day.
    pub fn identity(&self) -> String {
        match self {
            Self::Warm { pattern, .. } => format!("warm {pattern}"),
            other => format!("{other:?}"),
        }
    }

    /// Whether everything in it is within its bounds.
    pub fn check(&self) -> Result<(), ActionError> {
        match self {
            Self::CreateIndex {
                table,
                columns,
                predicate,
            } => {
                table.check()?;
                check_columns(columns)?;
                predicate.as_ref().map_or(Ok(()), Predicate::check)
            }
            Self::DropIndex { table, index } => {
                table.check()?;
                check_identifier(index)
            }
            Self::Analyze { table } | Self::Vacuum { table } => table.check(),
            Self::SetTableOption {
                table,
                option,
                value,
            } => {
                table.check()?;
                option.check(*value)
            }
            Self::SetSetting { setting, value } => setting.check(*value),
            Self::RedisConfigSet { parameter, value } => parameter.check(value),
            Self::Warm { keys, .. } => check_keys(keys),
        }
    }

    /// The index that is created or dropped. One that is created is named after the table, the
    /// columns and a fingerprint, so that ours is recognised after a crash.
    pub fn index_name(&self) -> Option<TableName> {
        let (table, columns) = match self {
            Self::CreateIndex { table, columns, .. } => (table, columns),
            Self::DropIndex { table, index } => {
                return Some(TableName::new(&table.schema, index));
            }
            _ => return None,
        };
        let hash = fingerprint(&[&self.identity()]);
        let tail = format!("_{}", &hash[..8]);
        let mut name = format!("{INDEX_PREFIX}{}_{}", table.name, columns.join("_"));
        let mut keep = IDENTIFIER_BYTES_MAX - tail.len();
        while keep < name.len() && !name.is_char_boundary(keep) {
            keep -= 1;
        }
        name.truncate(keep);
        Some(TableName::new(&table.schema, name + &tail))
    }
}

impl Predicate {
    fn check(&self) -> Result<(), ActionError> {
        check_identifier(&self.column)?;
        match &self.test {
            PredicateTest::Equals(literal)
                if literal.len() > LITERAL_BYTES_MAX || literal.contains('\0') =>
            {
                Err(ActionError::Value {
                    what: format!("the literal for {}", self.column),
                    value: format!("{} bytes long", literal.len()),
                    allowed: format!("up to {LITERAL_BYTES_MAX} bytes without NUL"),
                })
            }
            _ => Ok(()),
        }
    }
}

fn check_identifier(name: &str) -> Result<(), ActionError> {
    let good =
        (1..=IDENTIFIER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    if good {
        Ok(())
    } else {
        let name = name.chars().take(IDENTIFIER_BYTES_MAX).collect();
        Err(ActionError::Identifier { name })
    }
}

fn check_columns(columns: &[String]) -> Result<(), ActionError> {
    let distinct: BTreeSet<_> = columns.iter().collect();
    if columns.is_empty() || columns.len() > INDEX_COLUMNS_MAX || distinct.len() != columns.len() {
        return Err(ActionError::Count {
            what: "columns of an index",
            count: columns.len(),
            max: INDEX_COLUMNS_MAX,
        });
    }
    columns.iter().try_for_each(|name| check_identifier(name))
}

fn check_keys(keys: &[WarmKey]) -> Result<(), ActionError> {
    let distinct: BTreeSet<_> = keys.iter().map(|key| &key.key).collect();
    if keys.is_empty() || keys.len() > WARM_KEYS_MAX || distinct.len() != keys.len() {
        return Err(ActionError::Count {
            what: "keys of a warming",
            count: keys.len(),
            max: WARM_KEYS_MAX,
        });
    }
    let bad = |key: &&WarmKey| {
        key.key.is_empty()
            || key.key.len() > WARM_KEY_BYTES_MAX
            || !key.rate_per_s.is_finite()
            || key.rate_per_s < 0.0
    };
    keys.iter().find(bad).map_or(Ok(()), |key| {
        Err(ActionError::Value {
            what: "a key to warm".to_owned(),
            value: key.key.chars().take(64).collect(),
            allowed: format!("1 to {WARM_KEY_BYTES_MAX} bytes, asked for 0 or more times a second"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(columns: &[&str]) -> Action {
        Action::CreateIndex {
            table: TableName::new("public", "orders"),
            columns: columns.iter().map(|&c| c.to_owned()).collect(),
            predicate: None,
        }
    }

    #[test]
    fn an_index_has_our_prefix_and_a_name_that_postgres_keeps_whole() {
        let short = index(&["a"]).index_name().expect("an index").name;
        assert!(short.starts_with("driftline_orders_a_"), "{short}");
        let long = Action::CreateIndex {
            table: TableName::new("public", "ö".repeat(31)),
            columns: vec!["ü".repeat(31), "b".to_owned()],
            predicate: None,
        };
        assert_eq!(long.check(), Ok(()));
        let name = long.index_name().expect("an index").name;
        assert!(name.len() <= IDENTIFIER_BYTES_MAX, "{name}");
        assert_ne!(index(&["a"]).index_name(), index(&["b"]).index_name());
    }

    #[test]
    fn malformed_actions_are_refused() {
        let warm = |keys: Vec<WarmKey>| Action::Warm {
            pattern: "p:*".to_owned(),
            keys,
        };
        let key = |key: &str, rate_per_s| WarmKey {
            key: key.to_owned(),
            rate_per_s,
        };
        for bad in [
            index(&[]),
            index(&["a", "a"]),
            index(&["a", "b", "c", "d", "e"]),
            index(&["a\0b"]),
            index(&[""]),
            Action::Analyze {
                table: TableName::new("public", "x".repeat(64)),
            },
            Action::SetSetting {
                setting: Setting::MaxWalSize,
                value: f64::NAN,
            },
            Action::SetTableOption {
                table: TableName::new("public", "t"),
                option: TableOption::Fillfactor,
                value: 5.0,
            },
            Action::RedisConfigSet {
                parameter: RedisParameter::MaxmemoryPolicy,
                value: "rm -rf".to_owned(),
            },
            warm(Vec::new()),
            warm(vec![key("a", 1.0), key("a", 1.0)]),
            warm(vec![key("a", f64::INFINITY)]),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert_eq!(warm(vec![key("a", 1.0)]).check(), Ok(()));
    }

    #[test]
    fn warming_the_same_pattern_is_the_same_action_whatever_the_keys() {
        let warm = |key: &str| Action::Warm {
            pattern: "p:*".to_owned(),
            keys: vec![WarmKey {
                key: key.to_owned(),
                rate_per_s: 1.0,
            }],
        };
        assert_eq!(warm("a").identity(), warm("b").identity());
    }
}
