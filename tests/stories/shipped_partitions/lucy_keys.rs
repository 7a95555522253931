//! Lucy: every form that year_month may have, in tables with partitions and without. Where the plan alone matters, and not
//! what the server makes of it, one major is enough.

use super::{Job, NO_PARTITION, changed, mid, month, partitions, shipped, sqlstate, unquoted};
use crate::support::{Cluster, Database, newest_major, on_each_major, on_newest_or_all};

const NAME: &str = "lucy-partitions";
const TABLES: [&str; 3] = ["cost_log", "audit_log", "webhook_deliveries"];
/// Each with the format that the job file gives it.
const KEYS: [(&str, Option<&str>); 5] = [
    ("text-list", Some("%Y-%m")),
    ("text-range", Some("%Y-%m")),
    ("integer-list", Some("%Y%m")),
    ("integer-range", Some("%Y%m")),
    ("date-range", None),
];

/// The shipped job, changed for such a key as its comments say.
fn job(db: &Database, format: Option<&str>) -> Job {
    let config = match format {
        Some("%Y-%m") => shipped("lucy.toml"),
        Some(format) => changed("lucy.toml", "\"%Y-%m\"", &format!("\"{format}\"")),
        None => changed("lucy.toml", ", key_format = \"%Y-%m\"", ""),
    };
    Job::new(db, NAME, &config)
}

/// A row of each table, of the month so many after the current one.
fn insert(key: &str, months: i32) -> String {
    let at = format!("({} AT TIME ZONE 'UTC')", mid(months));
    let month = match key.split_once('-').unwrap().0 {
        "text" => format!("to_char({at}, 'YYYY-MM')"),
        "integer" => format!("to_char({at}, 'YYYYMM')::int"),
        _ => format!("date_trunc('month', {at})::date"),
    };
    let of = |table: &str, columns: &str, values: &str| {
        format!(
            "INSERT INTO {table} (workspace_id, year_month, {columns}) SELECT id, {month}, {values} FROM workspaces LIMIT 1;"
        )
    };
    of("cost_log", "model, cost_usd", "'m', 1")
        + &of("audit_log", "actor, action", "'a', 'b'")
        + &of("webhook_deliveries", "url", "'u'")
}

#[tokio::test]
async fn whatever_the_key_inserts_of_a_year_that_failed_succeed_after_a_run() {
    on_newest_or_all(async |db| {
        for (key, format) in KEYS {
            eprintln!("{key}");
            let db = db.cluster().database().await;
            db.load("lucy.sql", &[("rows", "60"), ("key", key)]);
            let job = job(&db, format);
            for ahead in 1..=12 {
                assert_eq!(sqlstate(&db, &insert(key, ahead)).await, NO_PARTITION, "{key}, {ahead} months ahead");
            }
            job.program.run(["check"]).await.exits(0);
            job.makes(36).await;
            for ahead in -2..=12 {
                assert_eq!(sqlstate(&db, &insert(key, ahead)).await, "", "{key}, {ahead} months ahead");
            }
            assert_eq!(sqlstate(&db, &insert(key, 13)).await, NO_PARTITION);
            let next = month(&db, 5).await;
            assert!(partitions(&db, "audit_log").await.contains(&format!("audit_log_{next}")));
            assert_eq!(db.count(&format!("cost_log_{next}")).await, 1, "and in the right one");
            let again = format!("INSERT INTO cost_log SELECT * FROM cost_log_{next}");
            assert_eq!(sqlstate(&db, &again).await, "23505", "the primary key is there");
        }
    })
    .await;
}

#[tokio::test]
async fn tables_without_any_partition_are_where_a_development_database_begins() {
    for (key, format) in KEYS {
        eprintln!("{key}");
        let db = Cluster::shared(newest_major()).database().await;
        db.load("lucy.sql", &[("rows", "60"), ("key", key), ("partitions", "off")]);
        let job = job(&db, format);
        assert_eq!(sqlstate(&db, &insert(key, 0)).await, NO_PARTITION);
        job.makes(39).await;
        for ahead in 0..=12 {
            assert_eq!(sqlstate(&db, &insert(key, ahead)).await, "", "{key}, {ahead} months ahead");
        }
        assert_eq!(sqlstate(&db, &insert(key, -1)).await, NO_PARTITION);
    }
}

/// Both ways to end a year go on without a gap and without an overlap.
#[tokio::test]
async fn a_december_that_ends_with_a_month_13_is_followed_by_january() {
    for (key, format) in [("text-range", Some("%Y-%m")), ("integer-range", Some("%Y%m"))] {
        let db = Cluster::shared(newest_major()).database().await;
        let december: i32 = db.scalar("SELECT 12 - extract(month FROM now() AT TIME ZONE 'UTC')::int").await;
        db.load(
            "lucy.sql",
            &[("rows", "60"), ("key", key), ("december", "13"), ("months_ahead", &december.to_string())],
        );
        job(&db, format).makes(3 * usize::try_from(12 - december).unwrap()).await;
        let bound = "SELECT pg_get_expr(relpartbound, c.oid) FROM pg_class c WHERE relname LIKE 'cost\\_log\\_%\\_01' AND relispartition ORDER BY relname DESC LIMIT 1";
        if december < 12 {
            let bound: String = db.scalar(bound).await;
            assert!(bound.contains("13") && bound.contains("02"), "{bound}");
        }
        for ahead in 0..=12 {
            assert_eq!(sqlstate(&db, &insert(key, ahead)).await, "", "{key}, {ahead} months ahead");
        }
    }
}

#[tokio::test]
async fn a_format_that_fits_neither_key_nor_partitions_makes_nothing() {
    for (key, format, why) in [
        ("text-list", None, "add key_format"),
        ("text-list", Some("%Y_%m"), "which is no time of key_format %Y_%m"),
        ("text-list", Some("%Y%m"), "which is no time of key_format %Y%m"),
        ("text-list", Some("epoch"), "text, which cannot be epoch"),
        ("text-range", Some("%Y_%m"), "cannot be read"),
        ("integer-list", Some("%Y-%m"), "integer, which cannot be %Y-%m"),
        ("integer-list", Some("%Y"), "finer"),
        ("integer-list", Some("epoch"), "a list cannot name each value"),
        ("integer-range", Some("%Y-%m"), "integer, which cannot be %Y-%m"),
        ("date-range", Some("%Y-%m"), "remove key_format"),
    ] {
        eprintln!("{key} with {format:?}");
        let db = Cluster::shared(newest_major()).database().await;
        db.load("lucy.sql", &[("rows", "60"), ("key", key)]);
        let job = job(&db, format);
        let output = job.program.run(["check"]).await;
        assert!(output.code() > 0, "{}", output.stdout);
        let said = unquoted(&format!("{}{}", output.stdout, output.stderr));
        assert!(said.contains(why), "{said}");
        assert!(job.run().await.code() > 0);
        for table in TABLES {
            assert_eq!(partitions(&db, table).await.len(), 3);
        }
    }
}

#[tokio::test]
async fn a_range_of_text_is_refused_where_its_collation_says_nothing_of_months() {
    on_each_major(async |db| {
        if !db.scalar::<bool>("SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'en-x-icu')").await {
            return;
        }
        db.load("lucy.sql", &[("rows", "60"), ("key", "text-range"), ("partitions", "off")]);
        db.execute(
            "DROP TABLE cost_log; CREATE TABLE cost_log (year_month text COLLATE \"en-x-icu\") PARTITION BY RANGE (year_month)",
        )
        .await;
        let said = job(&db, Some("%Y-%m")).fails().await;
        assert!(said.contains("COLLATE C would"), "{said}");
        assert_eq!(partitions(&db, "cost_log").await, [""; 0]);
        assert_eq!(partitions(&db, "audit_log").await.len(), 13, "the others have theirs");
    })
    .await;
}
