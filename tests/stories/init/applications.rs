//! On the database of each application: every partitioned table, every column with an end, every materialized view and every
//! table that only grows is found; and nothing is switched on that deletes, but for sessions that have ended.

use serde_json::Value;

use super::{Proposed, set};
use crate::support::{Database, on_each_major, on_newest_or_all};

const NONE: [&str; 0] = [];

/// How many rows each table has, views left out.
async fn rows(db: &Database) -> Vec<(String, i64)> {
    let tables: Vec<String> = db
        .column(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
             WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'pgtend') ORDER BY 1",
        )
        .await;
    let mut rows = Vec::new();
    for table in tables {
        let count = db.count(&table).await;
        rows.push((table, count));
    }
    rows
}

/// Runs all that is switched on: every row is there afterwards, but for those of `sessions` that have ended.
async fn run_all(db: &Database, proposed: &Proposed, sessions: Option<&str>) {
    let left = match sessions {
        Some(table) => db.count(&format!("{table} WHERE expires_at > now()")).await,
        None => 0,
    };
    let before = rows(db).await;
    let jobs = proposed.jobs();
    let records =
        proposed.program.run(["run"].into_iter().chain(jobs.iter().copied()).chain(["--json"])).await.exits(0).json();
    assert_eq!(records.len(), jobs.len());
    let deleted = |record: &Value| record["details"]["rows_deleted"].as_i64().unwrap_or_default();
    let after = rows(db).await;
    for (table, count) in &before {
        let now = after.iter().find(|(name, _)| name == table).unwrap_or_else(|| panic!("{table} is gone")).1;
        if Some(table.as_str()) == sessions {
            assert_eq!(count - now, records.iter().map(deleted).sum::<i64>());
            assert!(now < *count && now >= left, "{now} of {count} are left, {left} have not ended");
        } else {
            assert_eq!(now, *count, "{table}");
        }
    }
}

#[tokio::test]
async fn lukhas() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "400")]);
        let proposed = Proposed::of(&db).await;
        proposed.is_sound().await;
        assert_eq!(proposed.jobs(), ["partitions", "sessions", "statistics"], "{}", proposed.text);
        let partitioned = set(&["public.test_results", "public.test_runs"]);
        assert_eq!(proposed.tables_on("partitions", "partitions"), partitioned);
        assert_eq!(proposed.tables("old-partitions", "retention"), partitioned);
        assert_eq!(proposed.tables_on("sessions", "expire"), set(&["public.sessions"]));
        assert_eq!(proposed.tables("expired", "expire"), set(&NONE));
        assert_eq!(
            proposed.tables("old-rows", "retention"),
            set(&["public.consciousness_reviews", "public.coverage_data"])
        );
        assert!(proposed.says("Rows of public.test_results refer to it"), "{}", proposed.text);
        assert!(!proposed.text.contains("healix_memories"));
        run_all(&db, &proposed, Some("public.sessions")).await;
        assert_eq!(db.count("pg_inherits WHERE inhparent = 'test_runs'::regclass").await, 2 + 1 + 12);
    })
    .await;
}

#[tokio::test]
async fn autosdlc() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "300")]);
        let proposed = Proposed::of(&db).await;
        proposed.is_sound().await;
        assert_eq!(proposed.jobs(), ["partitions", "sessions", "statistics", "views"], "{}", proposed.text);
        assert_eq!(proposed.tables_on("partitions", "partitions"), set(&["public.agent_outputs_partitioned"]));
        // What is old is found, and nothing of it goes unasked.
        assert_eq!(proposed.tables("old-partitions", "retention"), set(&["public.agent_outputs_partitioned"]));
        // New ones are called like those there are.
        assert!(proposed.text.contains("name = \"agent_outputs_%Y_%m\""), "{}", proposed.text);
        assert_eq!(proposed.tables_on("sessions", "expire"), set(&["public.sessions"]));
        assert_eq!(proposed.tables("expired", "expire"), set(&["public.agent_messages", "public.api_keys"]));
        let rows = proposed.all["jobs"]["expired"]["expire"]["tables"].as_array().unwrap();
        let revoked = rows.iter().find(|row| row.get("column").and_then(toml::Value::as_str) == Some("revoked_at"));
        assert_eq!(revoked.expect("keys that were revoked")["table"].as_str(), Some("public.api_keys"));
        assert!(
            proposed.says("public.api_keys, revoked_at: what was done with it before may be asked"),
            "{}",
            proposed.text
        );
        assert_eq!(proposed.tables_on("views", "refresh"), set(&["public.project_task_stats"]));
        assert_eq!(
            proposed.tables("views", "refresh"),
            set(&["public.agent_performance_daily", "public.project_task_stats"])
        );
        assert!(
            proposed
                .text
                .contains("CREATE UNIQUE INDEX ON \"public\".\"agent_performance_daily\" (\"agent_id\", \"date\");")
        );
        let logs = ["agent_messages", "agent_outputs", "agent_status_history", "audit_logs", "message_queue"];
        let found = proposed.tables("old-rows", "retention");
        assert!(logs.iter().all(|log| found.contains(&format!("public.{log}"))), "{found:?}");
        let never = ["agents", "tasks", "projects", "users", "organizations", "test_suites", "workflow_executions"];
        assert!(never.iter().all(|table| !found.contains(&format!("public.{table}"))), "{found:?}");
        // The policies that it has, and where the one table without a time takes its age from.
        let policies = &proposed.all["jobs"]["policies"]["retention"]["policies"];
        assert_eq!(policies["table"].as_str(), Some("public.data_retention_policies"));
        assert_eq!(policies["to"].as_str(), Some("archive"));
        assert_eq!(policies["except"][0]["age_from"]["table"].as_str(), Some("public.test_suites"));
        assert!(proposed.says("agent_status_history: 30 days, then deleted"), "{}", proposed.text);
        run_all(&db, &proposed, Some("public.sessions")).await;
    })
    .await;
}

#[tokio::test]
async fn helix() {
    on_each_major(async |db| {
        db.load("helix.sql", &[("rows", "300")]);
        let proposed = Proposed::of(&db).await;
        proposed.is_sound().await;
        assert_eq!(proposed.jobs(), NONE, "{}", proposed.text);
        assert_eq!(proposed.tables("expired", "expire"), set(&["public.github_credentials", "public.rag_knowledge"]));
        assert!(proposed.says("a row that holds a refresh token is needed when the other one is over"));
        let logs = proposed.tables("old-rows", "retention");
        for log in ["llm_token_usage", "tool_audit_log", "error_log", "error_log_summary"] {
            assert!(logs.contains(&format!("public.{log}")), "{log} is not in {logs:?}");
        }
        for never in ["users", "projects", "github_credentials", "cancelled_projects", "archived_projects"] {
            assert!(!logs.contains(&format!("public.{never}")), "{logs:?}");
        }
        // Results of prompts have the shape of a log, and are kept for ever: nothing shows that, so that nothing is on.
        assert!(logs.contains("public.prompt_test_results"), "{logs:?}");
        // The time of a call is when it was, not when it was written down.
        assert!(
            proposed
                .text
                .contains("{ table = \"public.llm_token_usage\", keep = \"HOW LONG\", column = \"timestamp\" }")
        );
        assert!(proposed.says("public.error_log_summary looks like a summary of it"));
    })
    .await;
}

#[tokio::test]
async fn lucy_in_whatever_way_its_key_says_the_month() {
    on_newest_or_all(async |db| {
        for (key, format) in [
            ("text-list", Some("%Y-%m")),
            ("text-range", Some("%Y-%m")),
            ("integer-list", Some("%Y%m")),
            ("integer-range", Some("%Y%m")),
            ("date-range", None),
        ] {
            let db = db.cluster().database().await;
            db.load(
                "lucy.sql",
                &[("rows", "40"), ("key", key), ("defaults", if key == "date-range" { "on" } else { "off" })],
            );
            let proposed = Proposed::of(&db).await;
            proposed.is_sound().await;
            assert_eq!(proposed.jobs(), ["partitions", "statistics"], "{key}: {}", proposed.text);
            let three = set(&["public.audit_log", "public.cost_log", "public.webhook_deliveries"]);
            assert_eq!(proposed.tables_on("partitions", "partitions"), three, "{key}");
            assert_eq!(proposed.tables("old-partitions", "retention"), three, "{key}");
            for row in proposed.on["jobs"]["partitions"]["partitions"]["tables"].as_array().unwrap() {
                assert_eq!(row["every"].as_str(), Some("1 month"), "{key}");
                assert_eq!(row.get("key_format").and_then(toml::Value::as_str), format, "{key}");
            }
            assert!(proposed.says("It refuses DELETE, by trigger \"audit_log_is_immutable\""), "{}", proposed.text);
            assert_eq!(proposed.tables("old-rows", "retention"), set(&NONE), "{key}");
            if key != "date-range" {
                run_all(&db, &proposed, None).await;
                assert_eq!(db.count("pg_inherits WHERE inhparent = 'cost_log'::regclass").await, 3 + 12, "{key}");
            }
        }
        // Without a partition nothing says what the key is to mean.
        let db = db.cluster().database().await;
        db.load("lucy.sql", &[("rows", "40"), ("partitions", "off")]);
        let proposed = Proposed::of(&db).await;
        proposed.is_sound().await;
        assert_eq!(proposed.jobs(), ["statistics"]);
        assert_eq!(proposed.tables("partitions", "partitions").len(), 3);
    })
    .await;
}

#[tokio::test]
async fn code_review() {
    on_each_major(async |db| {
        db.load("code-review.sql", &[("rows", "100")]);
        let proposed = Proposed::of(&db).await;
        // Its partitions ended long ago: that is what the job is for, and no mistake of the config.
        proposed.is_sound().await;
        let found = proposed.program.run(["check"]).await.exits(0).stdout;
        assert!(found.contains("audits.audit_log has no partition for now: inserts fail until the job has run"), "{found}");
        assert_eq!(proposed.jobs(), ["partitions", "statistics"], "{}", proposed.text);
        assert_eq!(proposed.tables_on("partitions", "partitions"), set(&["audits.audit_log"]));
        assert_eq!(proposed.tables("old-partitions", "retention"), set(&["audits.audit_log"]));
        // A session whose token is one to refresh by, and artifacts that are more than their rows.
        let ends = ["auth.invitations", "auth.password_resets", "auth.sessions", "production.artifacts"];
        // Whoever was locked out stays, and is let in again: a job of its own, and off.
        let unlock = proposed.all["jobs"]["unlock"]["sql"]["statements"].as_array().unwrap();
        assert_eq!(
            unlock.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>(),
            ["UPDATE \"auth\".\"users\" SET \"locked_until\" = NULL, \"failed_login_attempts\" = 0 WHERE \"locked_until\" < now()"]
        );
        assert_eq!(proposed.tables("expired", "expire"), set(&ends));
        assert!(proposed.text.contains("objects = { column = \"s3_uri\", store = \"WHICH STORE\" }"));
        // Whatever has a time and grows, such as what is never to be deleted: that only the owner can say.
        let old = proposed.tables("old-rows", "retention");
        assert!(["auth.audit_logs", "providers.usage_tracking", "providers.cost_alerts"].iter().all(|log| old.contains(*log)), "{old:?}");
        let chain = &proposed.all["jobs"]["chain"]["verify_chain"];
        assert_eq!((chain["table"].as_str(), chain["hash"].as_str()), (Some("audits.audit_log"), Some("signature")));
        assert!(proposed.text.contains("column = \"triggered_at\" }"), "{}", proposed.text);
        assert!(proposed.says("acknowledged may say that something is still to come of a row"), "{}", proposed.text);
        assert!(proposed.says("It refuses DELETE, by trigger \"audit_log_is_immutable\""), "{}", proposed.text);
        run_all(&db, &proposed, None).await;
        proposed.is_sound().await;
        // What is off is right as it stands: the one who is still locked out stays so.
        let on = proposed.text.replace("#[jobs.unlock", "[jobs.unlock");
        let on = on.replace("#schedule = \"*/15 * * * *\"", "schedule = \"*/15 * * * *\"").replace("#statements", "statements");
        proposed.program.configure(&on.replace("127.0.0.1:9934", "{listen}"));
        proposed.is_sound().await;
        proposed.program.run(["run", "unlock"]).await.exits(0);
        let locked = "SELECT email::text FROM auth.users WHERE locked_until IS NOT NULL OR failed_login_attempts > 0";
        assert_eq!(db.column::<String>(locked).await, ["user2@example.org"]);
    })
    .await;
}
