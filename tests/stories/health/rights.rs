//! A role that may not see everything, and a schema that somebody else has made.

use super::{job, of, readings, run};
use crate::support::{Cluster, Pgtend, newest_major};

fn as_watcher(db: &crate::support::Database, keys: &str) -> Pgtend {
    Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{}", db.url_as("watcher"), job(keys)))
}

#[tokio::test]
async fn without_pg_monitor_each_collector_fails_alone_and_names_the_grant() {
    let settings = [("archive_mode", "on"), ("archive_command", "true")];
    let cluster = Cluster::with(newest_major(), &settings);
    let db = cluster.database().await;
    db.execute("create role watcher login; create table t (n int); revoke all on t from public").await;
    db.execute("create schema pgtend authorization watcher").await;
    let program = as_watcher(&db, "");
    let checked = program.run(["check"]).await.exits(1).stdout;
    assert!(checked.contains("long_transactions, wal_archiving") || checked.contains("wal_archiving"), "{checked}");
    assert!(checked.contains("GRANT pg_monitor TO watcher"), "{checked}");

    let record = run(&program, 1).await;
    assert_eq!(record["outcome"], "partial", "{record}");
    let failures = record["details"]["failures"].as_array().unwrap();
    let targets: Vec<_> = failures.iter().map(|failure| failure["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["long_transactions", "wal_archiving"], "{record}");
    for failure in failures {
        assert!(failure["error"].as_str().unwrap().contains("GRANT pg_monitor TO watcher"), "{failure}");
    }
    let read = readings(&db).await;
    // A table that it may not read has a size all the same.
    assert!(of(&read, "table_size_bytes", "public.t").is_some(), "{read:?}");
    assert!(of(&read, "xid_age", "").is_some() && of(&read, "prepared_transactions", "").is_some(), "{read:?}");
    assert_eq!(of(&read, "oldest_transaction_seconds", ""), None, "a 0 would be a lie");
    assert_eq!(of(&read, "wal_archive_enabled", ""), Some(1.0));
    assert_eq!(of(&read, "health_collected", "wal_archiving"), Some(0.0));
    assert_eq!(of(&read, "health_collected", "table_sizes"), Some(1.0));

    db.execute("grant pg_monitor to watcher").await;
    program.run(["check"]).await.exits(0);
    assert_eq!(run(&program, 0).await["outcome"], "succeeded");
    assert!(of(&readings(&db).await, "oldest_transaction_seconds", "").is_some());
}

/// The history was made by an older version, or by hand for a role that may make nothing.
#[tokio::test]
async fn a_schema_without_the_table_gets_it_or_says_who_has_to_make_it() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    let program = super::watching(&db, "collect = ['wraparound']");
    run(&program, 0).await;
    db.execute("drop table pgtend.reading; create role watcher login").await;
    db.execute("grant usage on schema pgtend to watcher; grant all on all tables in schema pgtend to watcher").await;

    let theirs = as_watcher(&db, "collect = ['wraparound']");
    let checked = theirs.run(["check"]).await.exits(1).stdout;
    assert!(checked.contains("there is no table pgtend.reading"), "{checked}");
    let record = run(&theirs, 1).await;
    assert_eq!(record["outcome"], "failed", "{record}");
    let said = record["details"]["failures"].to_string();
    assert!(said.contains("GRANT CREATE ON SCHEMA pgtend") && said.contains("CREATE TABLE pgtend.reading"), "{said}");
    // The history is whole without it.
    assert_eq!(db.count("pgtend.run where outcome = 'failed'").await, 1);

    run(&program, 0).await;
    assert!(of(&readings(&db).await, "xid_age", "").is_some());
    let record = run(&theirs, 1).await;
    assert!(record["details"]["failures"].to_string().contains("GRANT SELECT, INSERT, UPDATE"), "{record}");
    db.execute("grant select, insert, update on pgtend.reading to watcher").await;
    assert_eq!(run(&theirs, 0).await["outcome"], "succeeded");
}
