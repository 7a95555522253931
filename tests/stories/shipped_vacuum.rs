//! The shipped jobs that vacuum and analyze, each on the database of its application.

use serde_json::Value;

use crate::shipped_partitions::{shipped, text};
use crate::support::{Database, Pgtend, on_each_major};

async fn run(program: &Pgtend, job: &str) -> Value {
    let mut record = program.run(["run", job, "--json"]).await.exits(0).json().remove(0);
    assert_eq!(record["outcome"], "succeeded", "{record}");
    record["details"].take()
}

/// Tables of which something else is true.
async fn but(db: &Database, kinds: &str, is: &str) -> Vec<String> {
    db.column(&format!(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ({kinds}) and n.nspname in ('public', 'archive') and not ({is}) order by 1"
    ))
    .await
}

const VACUUMED: &str = "pg_stat_get_vacuum_count(c.oid) = 1";
const ANALYZED: &str = "pg_stat_get_analyze_count(c.oid) = 1";

#[tokio::test]
async fn all_of_autosdlc_is_vacuumed_once_the_archive_and_views_included_and_no_parent() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "500")]);
        let program = Pgtend::tending(&db, &shipped("autosdlc.toml"));
        program.run(["check"]).await.exits(0);
        // What the retention moves makes tables in the archive, and dead rows.
        for job in ["autosdlc-queue", "autosdlc-retention"] {
            run(&program, job).await;
        }
        assert!(db.count("archive.audit_logs").await > 0);
        // The fixture has analyzed all of it once.
        db.execute("select pg_stat_reset()").await;
        let details = run(&program, "autosdlc-vacuum").await;
        assert_eq!(but(&db, "'r', 'm'", &format!("{VACUUMED} and {ANALYZED}")).await, [""; 0], "{details}");
        assert_eq!(but(&db, "'p'", &format!("pg_stat_get_vacuum_count(c.oid) = 0 and {ANALYZED}")).await, [""; 0]);
        assert_eq!(details["dead_tuples_after"], 0, "{details}");

        // Six hours are not over, and nothing was said of its doing nothing.
        let lines = program.run(["plan", "autosdlc-statistics", "--json"]).await.exits(0).json();
        let fresh =
            lines.iter().all(|line| line["action"] == "keep" && text(&line["reason"]).contains("within the last 5 h"));
        assert!(fresh && !lines.is_empty(), "{lines:?}");
        let later = ["plan", "autosdlc-statistics", "--json", "--at", "2099-01-01"];
        let lines = program.run(later).await.exits(0).json();
        assert!(
            lines.iter().any(|line| line["action"] == "analyze" && line["target"] == "archive.audit_logs"),
            "{lines:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_dump_that_keeps_what_autosdlc_deleted_is_named() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "500")]);
        let program = Pgtend::tending(&db, &shipped("autosdlc.toml"));
        let client = db.client().await;
        client
            .batch_execute("begin isolation level repeatable read; select count(*) from agent_outputs as a_dump")
            .await
            .unwrap();
        for job in ["autosdlc-queue", "autosdlc-retention"] {
            run(&program, job).await;
        }
        let details = run(&program, "autosdlc-vacuum").await;
        let warnings = details["warnings"].to_string();
        assert!(warnings.contains("dead rows stay") && warnings.contains("as a_dump"), "{details}");
        assert!(details["dead_tuples_after"].as_u64().unwrap() > 100, "{details}");
    })
    .await;
}

/// Of what autovacuum does, the one thing that it does not.
#[tokio::test]
async fn the_three_tables_of_lucy_have_statistics_of_their_own() {
    on_each_major(async |db| {
        db.load("lucy.sql", &[("rows", "300")]);
        let program = Pgtend::tending(&db, &shipped("lucy.toml"));
        program.run(["check"]).await.exits(0);
        run(&program, "lucy-partitions").await;
        let of_parents = "select string_agg(distinct tablename::text, ' ') from pg_stats where inherited and attname = 'workspace_id'";
        db.execute("delete from pg_statistic where stainherit; select pg_stat_reset()").await;
        assert_eq!(db.scalar::<Option<String>>(of_parents).await, None);
        let details = run(&program, "lucy-statistics").await;
        assert_eq!(db.scalar::<Option<String>>(of_parents).await.as_deref(), Some("audit_log cost_log webhook_deliveries"));
        let lines = program.run(["plan", "lucy-statistics", "--json"]).await.exits(0).json();
        assert_eq!(lines.len(), 3, "{lines:?}");
        if db.cluster().major() >= 18 {
            assert_eq!(details["tables_analyzed"], 3, "{details}");
            assert_eq!(but(&db, "'r'", "pg_stat_get_analyze_count(c.oid) = 0").await, [""; 0]);
        } else {
            assert!(details["tables_analyzed"].as_u64().unwrap() > 3 * 13, "{details}");
            assert!(lines.iter().all(|line| text(&line["reason"]).contains("before 18 analyzes too")), "{lines:?}");
        }
    })
    .await;
}
