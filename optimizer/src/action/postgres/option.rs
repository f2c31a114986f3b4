//! Options of tables and settings of the server: read, set, restored, and compared with what we
//! left.

use tokio::time::Instant;

use super::{Observed, POLL, Postgres};
use crate::action::{Setting, TableName, TableOption, sql};
use crate::server::{self, ServerError};

/// The file that ALTER SYSTEM writes.
const AUTO_CONF: &str = "postgresql.auto.conf";

/// What the server says of a setting.
#[derive(Debug)]
pub(super) struct SettingNow {
    /// Its value in our unit.
    pub(super) value: f64,
    /// Its text as ALTER SYSTEM set it, in the server's unit; `None` if it did not.
    pub(super) altered: Option<String>,
    /// Where it comes from.
    pub(super) source: String,
    /// When it can change.
    pub(super) context: String,
    /// Whether the file that it comes from may be seen.
    pub(super) file_known: bool,
    /// The unit of the text.
    pub(super) unit: Option<String>,
}

/// A table's option as it is set; `None` if it is not.
pub(super) async fn table_option(
    postgres: &Postgres<'_>,
    table: &TableName,
    option: TableOption,
) -> Result<Option<String>, ServerError> {
    let row = postgres
        .row(
            "SELECT (SELECT o.option_value FROM pg_options_to_table(c.reloptions) o \
                     WHERE o.option_name = $3) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2",
            &[&table.schema, &table.name, &option.as_str()],
        )
        .await?;
    let row = row.ok_or_else(|| postgres.unexpected(format!("there is no table {table}")))?;
    Ok(row.get(0))
}

/// A setting as it is, without what this session set.
pub(super) async fn setting(
    postgres: &Postgres<'_>,
    setting: Setting,
) -> Result<SettingNow, ServerError> {
    let row = postgres
        .row(
            "SELECT setting, unit, source, sourcefile, context FROM pg_settings WHERE name = $1",
            &[&setting.as_str()],
        )
        .await?;
    let unexpected = |problem: String| postgres.unexpected(problem);
    let name = setting.as_str();
    let row = row.ok_or_else(|| unexpected(format!("there is no setting {name}")))?;
    let (text, unit): (String, Option<String>) = (row.get(0), row.get(1));
    let file: Option<String> = row.get(3);
    let source: String = row.get(2);
    let value = setting
        .read(&text, unit.as_deref())
        .ok_or_else(|| unexpected(format!("{name} is {text:?} in {unit:?}")))?;
    let altered = file.as_deref().is_some_and(|f| f.ends_with(AUTO_CONF));
    Ok(SettingNow {
        value,
        altered: altered.then_some(text),
        file_known: file.is_some() || source != "configuration file",
        source,
        context: row.get(4),
        unit,
    })
}

/// Sets a setting, and waits until the server has taken it.
pub(super) async fn set(
    postgres: &Postgres<'_>,
    which: Setting,
    value: f64,
) -> Result<String, ServerError> {
    let text = which.write(value);
    postgres.execute(&sql::set_setting(which, &text)).await?;
    reloaded(postgres, which, |now| same(now.value, value)).await?;
    Ok(format!("{} is {text}", which.as_str()))
}

/// Gives a setting back what ALTER SYSTEM had set, if it had.
pub(super) async fn restore(
    postgres: &Postgres<'_>,
    which: Setting,
    previous: Option<&str>,
) -> Result<String, ServerError> {
    let command = previous.map_or_else(
        || sql::reset_setting(which),
        |value| sql::set_setting(which, value),
    );
    postgres.execute(&command).await?;
    reloaded(postgres, which, |now| now.altered.as_deref() == previous).await?;
    Ok(format!("{} is as it was", which.as_str()))
}

/// Whether our value of a setting is as we left it.
pub(super) async fn observe_setting(
    postgres: &Postgres<'_>,
    which: Setting,
    value: f64,
    previous: Option<&str>,
) -> Result<Observed, ServerError> {
    let now = setting(postgres, which).await?;
    let read = |text: &str| which.read(text, now.unit.as_deref());
    if now.altered.is_some() && same(now.value, value) {
        return Ok(Observed::Ours);
    }
    let before = match (now.altered.as_deref(), previous) {
        (None, None) => true,
        (Some(now), Some(previous)) => read(now) == read(previous),
        _ => false,
    };
    if before {
        return Ok(Observed::AsBefore);
    }
    Ok(Observed::Changed(format!(
        "{} is {} now, from {}",
        which.as_str(),
        which.write(now.value),
        now.source
    )))
}

/// What an option that is `now` says of our value and the previous one.
pub(super) fn compare(now: Option<&str>, ours: &str, previous: Option<&str>) -> Observed {
    match now {
        Some(now) if now == ours => Observed::Ours,
        now if now == previous => Observed::AsBefore,
        Some(now) => Observed::Changed(format!("it is {now} now")),
        None => Observed::Changed("it is not set any more".to_owned()),
    }
}

/// Asks for a reload until it has had its effect: the server reloads when it gets to it.
async fn reloaded(
    postgres: &Postgres<'_>,
    which: Setting,
    done: impl Fn(&SettingNow) -> bool,
) -> Result<(), ServerError> {
    let deadline = Instant::now() + postgres.config.lock_timeout;
    postgres.rows("SELECT pg_reload_conf()", &[]).await?;
    loop {
        let now = setting(postgres, which).await?;
        if done(&now) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let waited = server::shown(postgres.config.lock_timeout);
            return Err(postgres.unexpected(format!(
                "{} is still {} from {} after a reload and {waited}",
                which.as_str(),
                which.write(now.value),
                now.source
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Equal but for rounding to the server's unit.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-3 * b.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_neither_ours_nor_the_previous_was_changed_by_others() {
        let see = |now, previous| compare(now, "0.01", previous);
        assert_eq!(see(Some("0.01"), None), Observed::Ours);
        assert_eq!(see(None, None), Observed::AsBefore);
        assert_eq!(see(Some("0.2"), Some("0.2")), Observed::AsBefore);
        assert!(matches!(
            see(Some("0.3"), Some("0.2")),
            Observed::Changed(_)
        ));
        assert!(matches!(see(None, Some("0.2")), Observed::Changed(_)));
    }
}
