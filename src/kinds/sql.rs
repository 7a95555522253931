//! Chores of a team's own, in SQL: under the same lock, history, metrics and alerts as everything else.

use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use super::{Applied, Context, Kind, StopStyle};
use crate::pg::{Session, explain, split, waits};
use crate::run::{Finding, Plan, Step};

/// Runs statements of your own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// The statements, in order. Either these or `file`.
    #[serde(default)]
    pub statements: Vec<String>,
    /// A file of statements, beside this config file; read again for each run. psql's backslash commands are not SQL.
    pub file: Option<PathBuf>,
    /// All statements in one transaction, so that either all happen or none (the default); with `false`, each on its own,
    /// as VACUUM, CREATE INDEX CONCURRENTLY and the like need it: those that went well before one fails stay done.
    #[serde(default = "yes")]
    pub transaction: bool,
}

/// The first words of all statements of PostgreSQL 13 to 19, sorted.
#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "ABORT", "ALTER", "ANALYSE", "ANALYZE", "BEGIN", "CALL", "CHECKPOINT", "CLOSE", "CLUSTER", "COMMENT", "COMMIT", "COPY",
    "CREATE", "DEALLOCATE", "DECLARE", "DELETE", "DISCARD", "DO", "DROP", "END", "EXECUTE", "EXPLAIN", "FETCH", "GRANT",
    "IMPORT", "INSERT", "LISTEN", "LOAD", "LOCK", "MERGE", "MOVE", "NOTIFY", "PREPARE", "REASSIGN", "REFRESH", "REINDEX",
    "RELEASE", "REPACK", "RESET", "REVOKE", "ROLLBACK", "SAVEPOINT", "SECURITY", "SELECT", "SET", "SHOW", "START", "TABLE",
    "TRUNCATE", "UNLISTEN", "UPDATE", "VACUUM", "VALUES", "WAIT", "WITH",
];

fn yes() -> bool {
    true
}

/// Statements that are run as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The number of the first, counted from 1.
    first: usize,
    statements: Vec<String>,
}

impl Sql {
    fn scripts(&self) -> Result<Vec<Script>> {
        let text = match &self.file {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("read the statements in {}", file.display()))?
            }
            None => String::new(),
        };
        let texts = self.statements.iter().map(String::as_str).chain([text.as_str()]);
        let statements: Vec<String> = texts.flat_map(split::statements).map(Into::into).collect();
        if self.transaction {
            return Ok(if statements.is_empty() { Vec::new() } else { vec![Script { first: 1, statements }] });
        }
        Ok(statements.into_iter().enumerate().map(|(i, one)| Script { first: i + 1, statements: vec![one] }).collect())
    }
}

impl Kind for Sql {
    type Action = Script;

    const STOP: StopStyle = StopStyle::AtOnce;
    const IN_ORDER: bool = true;

    fn resolve(&mut self, folder: &Path) {
        self.file = self.file.take().map(|file| folder.join(file));
    }

    fn validate(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.statements.is_empty() == self.file.is_none() {
            let which =
                if self.file.is_some() { "both `statements` and `file`" } else { "neither `statements` nor `file`" };
            findings.push(Finding::error(format!("a sql job has {which}"), "give one of them"));
            return findings;
        }
        let scripts = match self.scripts() {
            Ok(scripts) => scripts,
            Err(error) => {
                findings.push(Finding::error(explain(&error), "the path is relative to the config file it stands in"));
                return findings;
            }
        };
        if scripts.is_empty() {
            findings.push(Finding::error("a sql job has no statement in it", "write one, or take the job out"));
        }
        for (n, statement) in
            scripts.iter().flat_map(|script| script.statements.iter().enumerate().map(|(i, s)| (script.first + i, s)))
        {
            let word = split::first_word(statement);
            if !word.is_empty() && COMMANDS.binary_search(&word.as_str()).is_err() {
                findings.push(Finding::warning(
                    format!("statement {n} begins with {word}, which no command of PostgreSQL is known to do"),
                    "mend it, or a run fails there with a syntax error; a server that knows it takes it as it is",
                ));
            }
            if matches!(word.as_str(), "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT") {
                findings.push(Finding::error(
                    format!("statement {n} is {word}, but transactions are pgtend's part"),
                    "leave it out; `transaction = true` (the default) makes one transaction of all statements, `false` one of each",
                ));
            }
        }
        findings
    }

    async fn plan(&self, _: &Context) -> Result<Plan<Script>> {
        Ok(Plan { actions: self.scripts()?, ..Plan::default() })
    }

    fn step(&self, script: &Script) -> Step {
        let n = script.statements.len();
        let target = match n {
            1 => format!("statement {}", script.first),
            _ => format!("statements {} to {}", script.first, script.first + n - 1),
        };
        let reason = if n == 1 { "as the config says" } else { "as the config says, in one transaction" };
        let detail = json!({ "statements": n, "transaction": self.transaction });
        Step { action: "execute", target, reason: reason.into(), detail, sql: Some(script.statements.join(";\n")) }
    }

    async fn apply(&self, cx: &Context, script: &Script) -> Result<Applied> {
        // One session for all: a SET is meant for the statements after it.
        let mut kept = cx.kept.lock().await;
        let session = match kept.take() {
            Some(session) => session,
            None => {
                let session = cx.session().await?;
                session.by_their_path().await?;
                // What is theirs may well be worth compiling.
                session.batch_execute("RESET jit").await?;
                session
            }
        };
        let rows = match self.run(cx, &session, script).await {
            Ok(rows) => rows,
            Err(Failed { n, error, blockers })
                if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && leaves_half(script) =>
            {
                let waited = crate::period::human(session.lock_timeout);
                session.close().await;
                let by = blockers.map(|by| format!(", which {by}")).unwrap_or_default();
                return Err(error).with_context(|| {
                    format!(
                        "statement {n} waited {waited} for others{by}, and is not tried again, since what it had begun may be left behind: \
                         SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid names an index to DROP first; give the job \
                         a lock_timeout as long as the transactions that it has to wait for"
                    )
                });
            }
            Err(Failed { n, error, blockers }) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                session.batch_execute("ROLLBACK").await?;
                let by = blockers.map(|by| format!(", which is held by {by}")).unwrap_or_default();
                let waited = crate::period::human(session.lock_timeout);
                *kept = Some(session);
                return Ok(Applied::Locked(format!("statement {n} waited {waited} for a lock{by}")));
            }
            Err(Failed { n, error, .. }) => {
                let hint = match error.code() {
                    Some(code) if *code == SqlState::ACTIVE_SQL_TRANSACTION => "; set `transaction = false` for it",
                    _ => "",
                };
                session.close().await;
                // Where there is but one, the failure bears its name already.
                return Err(error).with_context(|| match script.statements.len() {
                    1 => format!("failed{hint}"),
                    _ => format!("statement {n} failed, so the whole transaction was undone{hint}"),
                });
            }
        };
        *kept = Some(session);
        let mut report = cx.report.lock();
        let before = report.fields.get("rows_affected").and_then(serde_json::Value::as_u64).unwrap_or_default();
        report.fields.insert("rows_affected".into(), json!(before + rows));
        let run = report.fields.get("statements").and_then(serde_json::Value::as_u64).unwrap_or_default();
        report.fields.insert("statements".into(), json!(run + script.statements.len() as u64));
        Ok(Applied::Done)
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        session.by_their_path().await?;
        let mut findings = Vec::new();
        let scripts = self.scripts()?;
        for (n, statement) in scripts.iter().flat_map(|script| (script.first..).zip(&script.statements)) {
            let word = split::first_word(statement);
            let changes_rows = matches!(word.as_str(), "INSERT" | "UPDATE" | "DELETE" | "MERGE");
            if !changes_rows && !matches!(word.as_str(), "SELECT" | "WITH" | "VALUES") {
                break;
            }
            // EXPLAIN looks at tables, columns and privileges, and does nothing.
            if let Err(error) = session.batch_execute(&format!("EXPLAIN {statement}")).await
                && let Some(mend) = mend(&error)
            {
                findings.push(Finding::error(format!("statement {n}: {}", explain(&error.into())), mend));
            }
            // The others may stand on what this one makes, or sets.
            if !changes_rows {
                break;
            }
        }
        session.close().await;
        Ok(findings)
    }
}

/// Whether a statement that gives up waiting leaves something half done, as `CREATE INDEX CONCURRENTLY` does: the next try would
/// meet with it. <https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY>
fn leaves_half(script: &Script) -> bool {
    let [statement] = script.statements.as_slice() else { return false };
    let mut words = statement.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    matches!(split::first_word(statement).as_str(), "CREATE" | "DROP" | "REINDEX" | "ALTER")
        && words.any(|word| word.eq_ignore_ascii_case("concurrently"))
}

/// What to do about a statement that cannot be explained; nothing where it may yet go well, say after a lock is free.
fn mend(error: &tokio_postgres::Error) -> Option<&'static str> {
    match error.code()?.code() {
        "42501" => Some("grant it to the role, or take the statement out"),
        // Syntax, and names that mean nothing.
        code if code.starts_with("42") || code.starts_with("3F") => Some("mend the statement, or make what it names"),
        _ => None,
    }
}

/// Which statement failed, and whom it waited for.
struct Failed {
    n: usize,
    error: tokio_postgres::Error,
    blockers: Option<String>,
}

impl Sql {
    /// Runs a script; gives the rows it touched.
    async fn run(&self, cx: &Context, session: &Session, script: &Script) -> Result<u64, Failed> {
        let last = script.first + script.statements.len() - 1;
        let failed = |n| move |error| Failed { n, error, blockers: None };
        if self.transaction {
            session.batch_execute("BEGIN").await.map_err(failed(script.first))?;
        }
        let mut rows = 0;
        for (n, statement) in (script.first..).zip(&script.statements) {
            let (done, blockers) = waits::watched(&cx.pg, session, execute(session, statement)).await;
            rows += done.map_err(|error| Failed { n, error, blockers })?;
        }
        if self.transaction {
            // What is deferred to the commit fails here.
            session.batch_execute("COMMIT").await.map_err(failed(last))?;
        }
        Ok(rows)
    }
}

/// Runs one statement as a message of its own; gives the rows it touched. Rows that it returns are read and let go.
async fn execute(session: &Session, statement: &str) -> Result<u64, tokio_postgres::Error> {
    let mut rows = 0;
    let mut messages = pin!(session.simple_query_raw(statement).await?);
    while let Some(message) = messages.try_next().await? {
        if let SimpleQueryMessage::CommandComplete(n) = message {
            rows += n;
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(toml: &str) -> Sql {
        toml::from_str(toml).unwrap()
    }

    fn mistakes(toml: &str) -> String {
        sql(toml).validate().iter().map(|f| format!("{}; {}", f.message, f.mend)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_job_says_either_statements_or_a_file() {
        assert!(mistakes("").contains("neither"));
        assert!(mistakes("statements = ['SELECT 1']\nfile = 'x.sql'").contains("both"));
        assert!(mistakes("file = '/nowhere/x.sql'").contains("/nowhere/x.sql"));
        assert!(mistakes("statements = [' -- nothing']").contains("no statement"));
        assert_eq!(mistakes("statements = ['SELECT 1; SELECT 2']"), "");
    }

    #[test]
    fn transactions_are_not_the_statements_part() {
        assert!(mistakes("statements = ['SELECT 1', 'COMMIT']").contains("statement 2 is COMMIT"));
        assert_eq!(mistakes("statements = ['DO $$ BEGIN COMMIT; END $$']"), "");
    }

    #[test]
    fn a_statement_that_begins_like_none_is_a_warning() {
        assert!(COMMANDS.is_sorted());
        for (statement, word) in [("selec 1", "SELEC"), ("SELECT 1; updat t SET n = 1", "UPDAT")] {
            let found = sql(&format!("statements = ['{statement}']")).validate();
            assert!(found.len() == 1 && found[0].severity == crate::run::Severity::Warning, "{found:?}");
            assert!(found[0].message.contains(&format!("begins with {word},")), "{found:?}");
        }
        let right =
            "statements = ['(SELECT 1) UNION (SELECT 2)', '/* aside */ vacuum', 'do $$ begin end $$', 'table t']";
        assert_eq!(mistakes(right), "");
    }

    #[test]
    fn one_transaction_is_one_action_and_otherwise_each_statement_is() {
        assert_eq!(sql("statements = ['a; b', 'c']").scripts().unwrap().len(), 1);
        let each = sql("statements = ['a; b', 'c']\ntransaction = false").scripts().unwrap();
        assert_eq!(
            each.iter().map(|s| (s.first, s.statements[0].as_str())).collect::<Vec<_>>(),
            [(1, "a"), (2, "b"), (3, "c")]
        );
    }
}
