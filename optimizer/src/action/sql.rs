//! The text of every command to PostgreSQL, and of every command to Redis as a person reads it.
//! Identifiers and literals are quoted here and nowhere else.

use super::{Action, Predicate, PredicateTest, Setting, TableName, TableOption};

/// An identifier in double quotes.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal in single quotes; a backslash makes it an escape string, whatever the server's
/// `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\\', "\\\\").replace('\'', "''");
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{quoted}'")
}

/// A table or an index with its schema.
pub fn qualified(table: &TableName) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.name))
}

/// The command of an action. Of warming it is what one key's would be.
pub fn command(action: &Action) -> String {
    match action {
        Action::CreateIndex {
            table,
            columns,
            predicate,
        } => {
            let name = action.index_name().map(|n| n.name).unwrap_or_default();
            format!(
                "CREATE INDEX CONCURRENTLY {} {}",
                identifier(&name),
                index_tail(table, columns, predicate.as_ref())
            )
        }
        Action::DropIndex { table, index } => drop_index(&TableName::new(&table.schema, index)),
        Action::Analyze { table } => format!("ANALYZE {}", qualified(table)),
        Action::Vacuum { table } => format!("VACUUM (SKIP_LOCKED) {}", qualified(table)),
        Action::SetTableOption {
            table,
            option,
            value,
        } => set_option(table, *option, &option.write(*value)),
        Action::SetSetting { setting, value } => set_setting(*setting, &setting.write(*value)),
        Action::RedisConfigSet { parameter, value } => {
            format!("CONFIG SET {} {value}", parameter.as_str())
        }
        Action::Warm { pattern, keys } => {
            format!(
                "SET <key> <value> NX EX <ttl> for {} keys of {pattern}",
                keys.len()
            )
        }
    }
}

/// The index of an action as HypoPG wants it; `None` if the action creates none.
pub fn hypothetical_index(action: &Action) -> Option<String> {
    match action {
        Action::CreateIndex {
            table,
            columns,
            predicate,
        } => Some(format!(
            "CREATE INDEX {}",
            index_tail(table, columns, predicate.as_ref())
        )),
        _ => None,
    }
}

fn index_tail(table: &TableName, columns: &[String], predicate: Option<&Predicate>) -> String {
    let columns: Vec<_> = columns.iter().map(|c| identifier(c)).collect();
    format!(
        "ON {} USING btree ({}){}",
        qualified(table),
        columns.join(", "),
        predicate.map(condition).unwrap_or_default()
    )
}

/// Drops an index without blocking writers.
pub fn drop_index(index: &TableName) -> String {
    format!("DROP INDEX CONCURRENTLY IF EXISTS {}", qualified(index))
}

/// Sets a table's option.
pub fn set_option(table: &TableName, option: TableOption, value: &str) -> String {
    format!(
        "ALTER TABLE {} SET ({} = {})",
        qualified(table),
        option.as_str(),
        literal(value)
    )
}

/// Gives a table's option back to its default.
pub fn reset_option(table: &TableName, option: TableOption) -> String {
    format!(
        "ALTER TABLE {} RESET ({})",
        qualified(table),
        option.as_str()
    )
}

/// Sets a setting.
pub fn set_setting(setting: Setting, value: &str) -> String {
    format!("ALTER SYSTEM SET {} = {}", setting.as_str(), literal(value))
}

/// Takes a setting out of `postgresql.auto.conf`.
pub fn reset_setting(setting: Setting) -> String {
    format!("ALTER SYSTEM RESET {}", setting.as_str())
}

/// The definition that `pg_get_indexdef` gave, made concurrent; `None` if it is none of an index of
/// that name.
pub fn recreate_index(index: &TableName, definition: &str) -> Option<String> {
    let rest = definition.strip_prefix("CREATE INDEX ")?;
    let names = [identifier(&index.name), index.name.clone()];
    let named = names.iter().any(|name| {
        rest.strip_prefix(name.as_str())
            .is_some_and(|r| r.starts_with(" ON "))
    });
    named.then(|| format!("CREATE INDEX CONCURRENTLY {rest}"))
}

fn condition(predicate: &Predicate) -> String {
    let column = identifier(&predicate.column);
    match &predicate.test {
        PredicateTest::IsNull => format!(" WHERE {column} IS NULL"),
        PredicateTest::IsNotNull => format!(" WHERE {column} IS NOT NULL"),
        PredicateTest::IsTrue => format!(" WHERE {column} IS TRUE"),
        PredicateTest::IsNotTrue => format!(" WHERE {column} IS NOT TRUE"),
        PredicateTest::Equals(value) => format!(" WHERE {column} = {}", literal(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_literals_cannot_leave_their_quotes() {
        let action = Action::CreateIndex {
            table: TableName::new("s\"; DROP", "t"),
            columns: vec!["a\"b".to_owned()],
            predicate: Some(Predicate {
                column: "c".to_owned(),
                test: PredicateTest::Equals("x'; DROP TABLE t; --\\".to_owned()),
            }),
        };
        let text = command(&action);
        assert!(
            text.contains("ON \"s\"\"; DROP\".\"t\" USING btree (\"a\"\"b\")"),
            "{text}"
        );
        assert!(
            text.ends_with("WHERE \"c\" = E'x''; DROP TABLE t; --\\\\'"),
            "{text}"
        );
    }

    #[test]
    fn a_saved_definition_is_recreated_concurrently_and_nothing_else_is() {
        let index = TableName::new("public", "orders_x");
        let definition = "CREATE INDEX orders_x ON public.orders USING btree (x)";
        assert_eq!(
            recreate_index(&index, definition).as_deref(),
            Some("CREATE INDEX CONCURRENTLY orders_x ON public.orders USING btree (x)")
        );
        for other in [
            "DROP TABLE orders",
            "CREATE INDEX orders_y ON public.orders USING btree (x)",
            "CREATE UNIQUE INDEX orders_x ON public.orders USING btree (x)",
        ] {
            assert_eq!(recreate_index(&index, other), None, "{other}");
        }
    }

    #[test]
    fn commands_read_as_postgres_wants_them() {
        let table = TableName::new("public", "t");
        let option = TableOption::AutovacuumVacuumScaleFactor;
        assert_eq!(
            set_option(&table, option, "0.01"),
            "ALTER TABLE \"public\".\"t\" SET (autovacuum_vacuum_scale_factor = '0.01')"
        );
        assert_eq!(
            reset_setting(Setting::MaxWalSize),
            "ALTER SYSTEM RESET max_wal_size"
        );
    }
}
