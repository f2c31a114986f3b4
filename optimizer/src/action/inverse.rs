//! What undoes an action exactly. It is made before the action is performed and kept in the log, so
//! that it can be undone by whoever reads the log.

use serde::{Deserialize, Serialize};

use super::sql;
use super::{RedisParameter, Setting, TableName, TableOption};

/// What undoes an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Inverse {
    /// Drops the index that was created.
    DropIndex {
        /// The index.
        index: TableName,
    },
    /// Creates the index again that was dropped.
    RecreateIndex {
        /// The index.
        index: TableName,
        /// What `pg_get_indexdef` said of it.
        definition: String,
    },
    /// Restores a table's option.
    RestoreTableOption {
        /// The table.
        table: TableName,
        /// The option.
        option: TableOption,
        /// What it was; `None` if it was not set.
        previous: Option<String>,
    },
    /// Restores a setting.
    RestoreSetting {
        /// The setting.
        setting: Setting,
        /// What ALTER SYSTEM had set it to; `None` if it had not.
        previous: Option<String>,
    },
    /// Restores a parameter of Redis.
    RestoreRedis {
        /// The parameter.
        parameter: RedisParameter,
        /// What it was.
        previous: String,
    },
    /// Removes the keys that warming wrote, where they are unchanged; which those are is in the log.
    UnlinkWarmed {
        /// The loader's pattern.
        pattern: String,
    },
    /// There is nothing to undo.
    Nothing {
        /// Why not.
        why: String,
    },
}

impl Inverse {
    /// What a person would type.
    pub fn command(&self) -> String {
        match self {
            Self::DropIndex { index } => sql::drop_index(index),
            Self::RecreateIndex { index, definition } => {
                sql::recreate_index(index, definition).unwrap_or_else(|| definition.clone())
            }
            Self::RestoreTableOption {
                table,
                option,
                previous,
            } => previous.as_ref().map_or_else(
                || sql::reset_option(table, *option),
                |value| sql::set_option(table, *option, value),
            ),
            Self::RestoreSetting { setting, previous } => {
                let command = previous.as_ref().map_or_else(
                    || sql::reset_setting(*setting),
                    |value| sql::set_setting(*setting, value),
                );
                format!("{command}; SELECT pg_reload_conf()")
            }
            Self::RestoreRedis {
                parameter,
                previous,
            } => format!("CONFIG SET {} {previous:?}", parameter.as_str()),
            Self::UnlinkWarmed { pattern } => {
                format!("UNLINK each key of {pattern} that was warmed and is unchanged")
            }
            Self::Nothing { why } => format!("-- nothing to undo: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_set_is_reset_and_what_was_is_set_again() {
        let inverse = |previous: Option<&str>| Inverse::RestoreSetting {
            setting: Setting::MaxWalSize,
            previous: previous.map(str::to_owned),
        };
        assert!(
            inverse(None)
                .command()
                .starts_with("ALTER SYSTEM RESET max_wal_size")
        );
        assert!(
            inverse(Some("2048"))
                .command()
                .starts_with("ALTER SYSTEM SET max_wal_size = '2048'")
        );
    }
}
