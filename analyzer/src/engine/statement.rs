//! Which statements are run: those that read.

use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast;

use super::EngineError;

/// The one statement of a text.
pub(super) fn parse(sql: &str) -> Result<Statement, EngineError> {
    let mut statements = DFParser::parse_sql(sql).map_err(|error| EngineError::Sql {
        message: super::error::plain(&error),
    })?;
    let statement = statements.pop_front().ok_or_else(|| EngineError::Sql {
        message: "there is no statement; write one, such as select * from samples limit 5"
            .to_owned(),
    })?;
    if !statements.is_empty() {
        return Err(EngineError::Sql {
            message: format!(
                "there are {} statements; ask them one by one",
                statements.len() + 1
            ),
        });
    }
    if reads(&statement) {
        return Ok(statement);
    }
    Err(refused(&statement.to_string()))
}

/// What the grammar does not show, a plan does.
pub(super) fn check(plan: &LogicalPlan) -> Result<(), EngineError> {
    let options = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    options
        .verify_plan(plan)
        .map_err(|error| refused(&error.message()))
}

fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => matches!(
            **statement,
            ast::Statement::Query(_)
                | ast::Statement::Explain { .. }
                | ast::Statement::ExplainTable { .. }
                | ast::Statement::ShowTables { .. }
                | ast::Statement::ShowColumns { .. }
                | ast::Statement::ShowFunctions { .. }
                | ast::Statement::ShowVariable { .. }
        ),
        Statement::Explain(explain) => reads(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

/// Names the statement by its first words.
fn refused(statement: &str) -> EngineError {
    let words: Vec<&str> = statement.split_whitespace().take(3).collect();
    EngineError::Refused {
        statement: words.join(" "),
    }
}
