//! What the history says, in a form that a story can compare.

use tokio_postgres::error::SqlState;

use super::daemon::Daemon;
use super::database::Database;

/// The runs of a job, in the order they began: `25 00:30 schedule succeeded`, being day, hour and minute (in UTC) of
/// `due_at`, or `-`; then trigger, outcome (`running` without one), and ` #2` for an attempt after the first.
pub async fn runs(db: &Database, job: &str) -> Vec<String> {
    let sql = "select concat_ws(' ', coalesce(to_char(due_at at time zone 'UTC', 'DD HH24:MI'), '-'), trigger,
                                coalesce(outcome, 'running'), case when attempt > 1 then '#' || attempt end)
               from pgtend.run where job = $1 order by id";
    match db.client().await.query(sql, &[&job]).await {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        // Nothing has ever run.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Vec::new(),
        Err(error) => panic!("{error:?}\nin: {sql}"),
    }
}

/// Waits until the history of the job is this, and nothing else, and the last run has let go of the job.
pub async fn wait_for_runs(db: &Database, daemon: &Daemon, job: &str, expected: &[&str]) {
    let what = format!("the runs of {job} to be {expected:?}");
    let mut seen = Vec::new();
    daemon
        .wait_until(&what, async || {
            let now = runs(db, job).await;
            if now != seen {
                // Shown only when the story fails.
                eprintln!("{job}: {now:?}");
                seen.clone_from(&now);
            }
            now == expected && (now.last().is_some_and(|run| run.contains(" running")) || db.is_let_go(job).await)
        })
        .await;
}
