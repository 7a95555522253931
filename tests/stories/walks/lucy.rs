//! Lucy: nothing is ever lost. Months are made, and statistics; in the second year old months go to the bucket.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::Value;

use super::calendar::each_day;
use super::upkeep::Upkeep;
use super::{Application, Walk};

const LUCY: Application = Application {
    name: "lucy",
    owner: "lucy",
    attributes: "",
    on_the_newest: true,
    writer: "lucy",
    rights: "CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    backup: "lucy-backup",
    restore_test: "lucy-restore-test",
    in_order: &[],
    variables: |_| vec![("months_back", "14".into())],
    never: &[
        "workspaces",
        "users",
        "channels",
        "agents",
        "heartbeats",
        "schedules",
        "integrations",
        "integration_credentials",
        "patterns",
        "feature_flags",
        "rate_limits",
        "approvals",
    ],
    proves_each_month: false,
    last_days: 4,
};

/// The months that somebody wants to keep. Where the file's figures are examples, shorter ones, so that in two years something
/// comes of them.
const KEPT: [(&str, u32); 3] = [("cost_log", 20), ("webhook_deliveries", 13), ("audit_log", 24)];

#[tokio::test(flavor = "multi_thread")]
async fn lucy_is_looked_after_for_two_years() {
    let mut walk = Walk::begin(&LUCY).await;
    walk.is_fit().await;
    let mut shipped = None;
    while walk.day().await {
        if walk.is_months_edge() || walk.is_at_its_end() {
            rows_are_where_they_belong(&walk, shipped.is_some()).await;
            months_are_there(&walk, shipped.is_some()).await;
            walk.is_unharmed().await;
            walk.is_kept_up("lucy-health", &Upkeep { vacuumed: "", analyzed: "p" }).await;
        }
        if walk.is_to_be_proven() {
            walk.is_proven().await;
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
        ("lucy-backup", walk.backups(each_day)),
        ("lucy-health", days),
        ("lucy-old-partitions", days - shipped.unwrap_or(days)),
        ("lucy-partitions", days),
        ("lucy-statistics", days),
    ])
    .await;
    numbers_are_told(&walk, shipped.is_some()).await;
    assert_eq!(i64::try_from(walk.offsite("lucy-backup")), Ok(walk.backups(each_day)));
    walk.is_fit().await;
    exports_come_back(&walk).await;
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

/// What is not in the database is in the bucket, by the numbers that are told there; row for row at the end. Of the immutable log an
/// anchor says how much.
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

/// The exports of a table by name (`public.cost_log_2026_04/2028-06-15T070000Z`), each with its manifest; the oldest month first.
fn exports(walk: &Walk, table: &str) -> BTreeMap<String, Value> {
    let of_table = format!("public.{table}_");
    let found = walk.bucket.objects().into_iter().filter_map(|(key, stored)| {
        let name = key.split_once("/exports/")?.1.strip_suffix("/manifest.json")?;
        let manifest = serde_json::from_slice(&stored.bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
        name.starts_with(&of_table).then(|| (name.to_owned(), manifest))
    });
    found.collect()
}

/// How many rows of a table are in the exports, by their manifests.
fn exported(walk: &Walk, table: &str) -> i64 {
    let rows = exports(walk, table).into_iter();
    rows.map(|(name, manifest)| manifest["content"]["rows"].as_i64().unwrap_or_else(|| panic!("{name}: {manifest}")))
        .sum()
}

/// The oldest and the newest month that went, of each table, come back as tables that hold what was written in that month.
async fn exports_come_back(walk: &Walk) {
    for (table, _) in KEPT {
        let names: Vec<String> = exports(walk, table).into_keys().collect();
        for name in names.first().into_iter().chain(names.last()) {
            let url = walk.db.url().replace(' ', "%20");
            walk.program.run(["backup", "restore", name, "--store", "offsite", "--into", &url]).await.exits(0);
            let partition = name.split('/').next().expect("a partition");
            let month = partition.strip_prefix(&format!("public.{table}_")).expect("a month");
            walk.holds(partition, table, &format!("to_char(at, 'YYYY_MM') = '{month}'")).await;
            assert!(walk.db.count(partition).await > 0, "{name} is empty");
            walk.db.execute(&format!("DROP TABLE {partition}")).await;
        }
    }
}

/// What the history counts is what has left, and what was made.
async fn numbers_are_told(walk: &Walk, months_go: bool) {
    let newest = format!("date_trunc('month', {}) + interval '12 months'", walk.last("lucy-partitions"));
    let months = |from: &str| {
        format!("SELECT count(*) FROM generate_series('{from}'::timestamptz, {newest}, interval '1 month')")
    };
    // Those after the fixture's last.
    walk.has_told("lucy-partitions", "partitions_created", 3 * walk.one::<i64>(&months("2027-07-01")).await).await;
    if months_go {
        let there = "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('cost_log'::regclass, 'webhook_deliveries'::regclass, 'audit_log'::regclass)";
        // Those there ever were, from the fixture's first.
        let gone = 3 * walk.one::<i64>(&months("2026-04-01")).await - walk.one::<i64>(there).await;
        walk.has_told("lucy-old-partitions", "partitions_dropped", gone).await;
    }
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
        // Yesterday's month among them, which was none of the fixture's.
        let yesterday = (walk.now - TimeDelta::days(1)).format("%Y-%m").to_string();
        let known: bool = walk
            .one(&format!(
                "SELECT coalesce(bool_or('{yesterday}' = ANY (most_common_vals::text::text[])), false) FROM pg_stats
                 WHERE tablename = '{table}' AND attname = 'year_month' AND inherited"
            ))
            .await;
        assert!(known, "{}: the statistics of {table} know nothing of {yesterday}", walk.now);
    }
}
