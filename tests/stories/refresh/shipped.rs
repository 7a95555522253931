//! The two views of AutoSDLC, by the jobs as they are shipped.

use serde_json::Value;

use crate::shipped_partitions::alone;
use crate::shipped_retention::Jobs;
use crate::support::{Database, on_each_major};

const PERFORMANCE: &str = "autosdlc-performance";
const PROJECTS: &str = "autosdlc-projects";

fn load(db: &Database) -> Jobs {
    db.load("autosdlc.sql", &[("rows", "500")]);
    Jobs::shipped(db, "autosdlc.toml")
}

/// How many rows the view should hold and does not.
async fn stale(db: &Database, view: &str) -> i64 {
    let query: String = db.scalar(&format!("SELECT rtrim(pg_get_viewdef('{view}'::regclass), ';')")).await;
    let client = db.client().await;
    client.batch_execute("SET timezone = 'UTC'").await.unwrap();
    let sql = format!("SELECT count(*) FROM (({query}) EXCEPT (SELECT * FROM {view})) AS missing");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// The index that the file's comment gives.
fn index() -> String {
    let text = alone("autosdlc.toml");
    let line = text.lines().find(|line| line.contains("CREATE UNIQUE INDEX")).expect("the statement");
    line.trim_start_matches(['#', ' ']).into()
}

#[tokio::test]
async fn the_view_without_its_index_is_refreshed_and_with_the_one_of_the_comment_beside_its_readers() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let add = "UPDATE tasks SET completed_at = now(), started_at = now() - interval '1 hour', status = 'completed'
                   WHERE assigned_agent_id IS NOT NULL AND completed_at IS NULL";
        db.execute(add).await;
        assert!(stale(&db, "agent_performance_daily").await > 0);
        let said = jobs.words(PERFORMANCE).await;
        let near = "CREATE UNIQUE INDEX CONCURRENTLY ON public.agent_performance_daily (agent_id, date);";
        assert!(said.contains("is not unique") && said.contains(near), "{said}");
        let found = jobs.check().await;
        assert!(found.contains(near) && !found.contains("project_task_stats"), "{found}");
        let details = jobs.run(PERFORMANCE).await;
        assert_eq!(details["views"]["public.agent_performance_daily"]["how"], "plainly", "{details}");
        assert_eq!(stale(&db, "agent_performance_daily").await, 0);

        db.execute(&index()).await;
        let details = jobs.run(PERFORMANCE).await;
        assert_eq!(details["views"]["public.agent_performance_daily"]["how"], "concurrently", "{details}");
        assert!(!jobs.check().await.contains("agent_performance_daily"));
    })
    .await;
}

#[tokio::test]
async fn the_view_of_projects_is_refreshed_when_something_has_changed() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let details = jobs.run(PROJECTS).await;
        assert_eq!(details["views"]["public.project_task_stats"]["how"], "concurrently", "{details}");
        let said = jobs.words(PROJECTS).await;
        assert!(said.starts_with("keep public.project_task_stats: nothing that it is made from has changed"), "{said}");
        assert_eq!(jobs.run(PROJECTS).await["views_refreshed"], Value::Null);
        db.execute("INSERT INTO tasks (project_id, type, specification) SELECT id, 'x', '{}' FROM projects LIMIT 1")
            .await;
        crate::support::wait_until("the change to be counted", async || {
            jobs.words(PROJECTS).await.starts_with("refresh_view")
        })
        .await;
        jobs.run(PROJECTS).await;
        assert_eq!(stale(&db, "project_task_stats").await, 0);
    })
    .await;
}

/// Which day it was goes by the zone of the session.
#[tokio::test]
async fn days_are_those_of_utc_whatever_the_database_says() {
    on_each_major(async |db| {
        let jobs = load(&db);
        db.execute(&format!("ALTER DATABASE \"{}\" SET timezone = 'Pacific/Kiritimati'", db.name())).await;
        jobs.run(PERFORMANCE).await;
        assert_eq!(stale(&db, "agent_performance_daily").await, 0);
    })
    .await;
}
