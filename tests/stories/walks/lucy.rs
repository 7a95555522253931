//! Lucy: nothing is ever lost. Months are made, and statistics; in the second year old months go to the bucket.

use chrono::TimeDelta;
use serde_json::Value;

use super::{Application, Walk};

const LUCY: Application = Application {
    name: "lucy",
    owner: "lucy",
    attributes: "",
    variables: |_| vec![("months_back", "14".into())],
    never: &["workspaces", "users"],
    proves_each_month: false,
    last_days: 4,
};

/// The months that somebody wants to keep. Where the file's figures are examples, shorter ones, so that in two years something
/// comes of them.
const KEPT: [(&str, u32); 3] = [("cost_log", 20), ("webhook_deliveries", 13), ("audit_log", 24)];

#[tokio::test]
async fn lucy_is_looked_after_for_two_years() {
    let mut walk = Walk::begin(&LUCY).await;
    walk.is_fit().await;
    let mut shipped = None;
    while walk.day().await {
        if walk.is_months_edge() || walk.is_at_its_end() {
            rows_are_where_they_belong(&walk, shipped.is_some()).await;
            months_are_there(&walk, shipped.is_some()).await;
            walk.is_unharmed().await;
        }
        if walk.is_half_year() {
            walk.by_hand("lucy-restore-test", TimeDelta::minutes(30)).await;
        }
        // For a year nothing leaves, as shipped; then somebody wants it, and has other figures.
        if shipped.is_none() && walk.days() >= 365 {
            walk.reconfigure(|text| {
                let text = text.replace("[jobs.lucy-old-partitions]\nenabled = false", "[jobs.lucy-old-partitions]");
                text.replace("keep = \"36 months\"", "keep = \"20 months\"")
                    .replace("keep = \"84 months\"", "keep = \"24 months\"")
            });
            shipped = Some(walk.daily_runs());
        }
    }
    let days = walk.daily_runs();
    walk.history_tells(&[
        ("lucy-backup", walk.backups_made("lucy-backup")),
        ("lucy-health", days),
        ("lucy-old-partitions", days - shipped.unwrap_or(days)),
        ("lucy-partitions", days),
        ("lucy-statistics", days),
    ])
    .await;
    walk.comes_back("lucy-backup", &["offsite"]).await;
}

/// Which months are kept, as a condition on a time of the month.
fn kept(walk: &Walk, keep: u32, months_go: bool) -> String {
    if !months_go {
        return "true".into();
    }
    let run = walk.last("lucy-old-partitions");
    format!("date_trunc('month', at) + interval '1 month' > {run} - interval '{keep} months'")
}

/// What is not in the database is in the bucket, row for row, and of the immutable log an anchor says how much.
async fn rows_are_where_they_belong(walk: &Walk, months_go: bool) {
    walk.keeps("tasks", "true").await;
    walk.keeps("task_steps", "true").await;
    for (table, keep) in KEPT {
        let kept = kept(walk, keep, months_go);
        walk.keeps(table, &kept).await;
        let gone: i64 =
            walk.one(&format!("SELECT count(*) FROM walk.ledger WHERE \"table\" = '{table}' AND NOT ({kept})")).await;
        assert_eq!(exported(walk, table), gone, "{table}");
        assert!(gone > 0 || !months_go, "{table}: nothing has gone, so that nothing was seen to");
        if table == "audit_log" {
            let anchored = "SELECT coalesce(sum(rows), 0)::bigint FROM pgtend.anchor WHERE relation LIKE '%audit_log%'";
            assert_eq!(walk.one::<i64>(anchored).await, gone, "anchored");
        }
    }
    let deleted: i64 = walk.one("SELECT count(*) FROM tasks WHERE deleted_at IS NOT NULL").await;
    assert!(deleted > 0, "soft deletes stay");
}

/// How many rows of a table are in the exports, by their manifests.
fn exported(walk: &Walk, table: &str) -> i64 {
    let of_table = format!("/exports/public.{table}_");
    let manifests =
        walk.bucket.objects().into_iter().filter(|(key, _)| key.contains(&of_table) && key.ends_with("manifest.json"));
    let rows = manifests.map(|(key, stored)| {
        let manifest: Value = serde_json::from_slice(&stored.bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
        manifest["content"]["rows"].as_i64().unwrap_or_else(|| panic!("{key}: {manifest}"))
    });
    rows.sum()
}

/// Each month from the first to the twelfth after the day's, but for those that went; and statistics of the tables that are
/// partitioned, which autovacuum never makes.
async fn months_are_there(walk: &Walk, months_go: bool) {
    let last = walk.last("lucy-partitions");
    for (table, keep) in KEPT {
        let expected = format!(
            "SELECT to_char(at, '\"{table}_\"YYYY_MM') FROM generate_series(
                 '2026-04-01'::timestamptz, date_trunc('month', {last}) + interval '12 months', '1 month') AS at WHERE {}",
            kept(walk, keep, months_go)
        );
        let actual = format!("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{table}'::regclass");
        walk.same(&format!("the months of {table}"), &expected, &actual).await;
        let known: i64 =
            walk.one(&format!("SELECT count(*) FROM pg_stats WHERE tablename = '{table}' AND inherited")).await;
        assert!(known > 0, "{table} has no statistics of its own");
    }
}
