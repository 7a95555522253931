//! Transactions, slots, archiving: what keeps the server from tidying up.

use super::{of, readings, run, warnings, watching};
use crate::support::{Cluster, majors, newest_major, on_each_major, wait_until};

/// What is open is told, with how old it is, and never with its query.
#[tokio::test]
async fn what_is_open_is_told_without_what_it_asked() {
    on_each_major(async |db| {
        let keys = "collect = ['long_transactions']\nwarn = { transaction = '1ms' }";
        let program = watching(&db, keys);
        run(&program, 0).await;
        assert_eq!(of(&readings(&db).await, "oldest_transaction_seconds", ""), Some(0.0));
        let client = db.client().await;
        client.batch_execute("begin isolation level repeatable read; select 'a secret' from pg_class").await.unwrap();
        // Others' transactions go by meanwhile, in whichever database.
        for n in 0..3 {
            db.execute(&format!("create table t{n} ()")).await;
        }
        let said = warnings(&program).await;
        assert!(said.contains("story), idle in transaction: open for"), "{said}");
        assert!(!said.contains("a secret"), "{said}");
        let record = run(&program, 0).await;
        assert!(!record.to_string().contains("a secret"), "{record}");
        let read = readings(&db).await;
        assert!(of(&read, "oldest_transaction_seconds", "") > Some(0.0), "{read:?}");
        assert!(of(&read, "oldest_snapshot_xid_age", "transaction") >= Some(3.0), "{read:?}");
        assert_eq!(of(&read, "prepared_transactions", ""), Some(0.0));
    })
    .await;
}

#[tokio::test]
async fn a_prepared_transaction_that_nobody_ends_and_a_slot_that_nobody_reads_are_found() {
    let cluster = Cluster::with(newest_major(), &[("max_prepared_transactions", "5"), ("wal_level", "logical")]);
    let db = cluster.database().await;
    db.execute("create table t (n int)").await;
    let keys = "collect = ['long_transactions', 'replication_slots']
         warn = { prepared_transaction = '1ms', slot_retained = '1 kB' }";
    let program = watching(&db, keys);
    assert_eq!(warnings(&program).await, "");
    db.execute("begin; insert into t values (1); prepare transaction 'it''s left'").await;
    db.execute("select pg_create_physical_replication_slot('left_behind', true)").await;
    db.execute("insert into t select generate_series(1, 10000)").await;
    let said = warnings(&program).await;
    assert!(said.contains("prepared transaction 'it''s left' of postgres: prepared, and open for"), "{said}");
    assert!(said.contains("COMMIT PREPARED"), "{said}");
    assert!(
        said.contains("replication slot left_behind: keeps") && said.contains("nobody is connected to it"),
        "{said}"
    );
    run(&program, 0).await;
    let read = readings(&db).await;
    assert_eq!(of(&read, "prepared_transactions", ""), Some(1.0));
    assert!(of(&read, "oldest_prepared_transaction_seconds", "") > Some(0.0), "{read:?}");
    assert!(of(&read, "oldest_snapshot_xid_age", "prepared_transaction") > Some(0.0), "{read:?}");
    assert!(of(&read, "replication_slot_retained_bytes", "left_behind") > Some(1000.0), "{read:?}");
    assert_eq!(of(&read, "replication_slot_active", "left_behind"), Some(0.0));
    assert_eq!(of(&read, "replication_slot_wal_status", "left_behind"), Some(0.0));
    db.execute("rollback prepared 'it''s left'").await;
    db.execute("select pg_drop_replication_slot('left_behind')").await;
    assert_eq!(warnings(&program).await, "");
}

/// PostgreSQL counts no failure where there is no such program.
#[tokio::test]
async fn an_archive_command_that_is_missing_is_found_by_what_waits() {
    let settings = [("archive_mode", "on"), ("archive_command", "/nowhere/archive %p")];
    let cluster = Cluster::with(newest_major(), &settings);
    let db = cluster.database().await;
    let program = watching(&db, "collect = ['wal_archiving']\nwarn = { archive_waiting = '1ms' }");
    assert!(!warnings(&program).await.contains("waiting"));
    db.execute("create table t (n int)").await;
    db.execute("select pg_switch_wal()").await;
    wait_until("the server to try", async || cluster.log().contains("/nowhere/archive")).await;
    let said = warnings(&program).await;
    assert!(
        said.contains("1 segments are waiting to be archived") && said.contains("none was ever archived"),
        "{said}"
    );
    run(&program, 0).await;
    let read = readings(&db).await;
    assert_eq!(of(&read, "wal_archive_failures", ""), Some(0.0), "the very trap");
    assert_eq!(of(&read, "wal_archive_waiting_segments", ""), Some(1.0));
    assert!(of(&read, "wal_archive_oldest_waiting_seconds", "") > Some(0.0), "{read:?}");
    assert_eq!(of(&read, "wal_archive_last_success_timestamp_seconds", ""), Some(0.0));
}

#[tokio::test]
async fn what_was_archived_is_told_and_a_server_that_archives_nothing_is_left_alone() {
    let cluster = Cluster::with(newest_major(), &[("archive_mode", "on"), ("archive_command", "true")]);
    let db = cluster.database().await;
    let program = watching(&db, "collect = ['wal_archiving']");
    db.execute("create table t (n int)").await;
    db.execute("select pg_switch_wal()").await;
    let archived = "select last_archived_time is not null from pg_stat_archiver";
    wait_until("a segment to be archived", async || db.scalar::<bool>(archived).await).await;
    run(&program, 0).await;
    let read = readings(&db).await;
    assert!(of(&read, "wal_archive_last_success_timestamp_seconds", "") > Some(1e9), "{read:?}");
    assert_eq!(of(&read, "wal_archive_enabled", ""), Some(1.0));

    let db = Cluster::shared(newest_major()).database().await;
    let program = watching(&db, "collect = ['wal_archiving']");
    run(&program, 0).await;
    let read = readings(&db).await;
    assert_eq!(of(&read, "wal_archive_enabled", ""), Some(0.0));
    assert_eq!(of(&read, "wal_archive_oldest_waiting_seconds", ""), None);
    assert_eq!(warnings(&program).await, "");
    let program = watching(&db, "collect = ['wal_archiving']\nwarn = { archive_off = true }");
    assert!(warnings(&program).await.contains("archive_mode is off: no WAL is archived"));
    run(&program, 0).await;
    assert_eq!(of(&readings(&db).await, "health_findings", "wal_archiving"), Some(1.0));

    // Switched on, and without anything to archive with, which is a matter of a reload.
    for major in majors() {
        let cluster = Cluster::with(major, &[("archive_mode", "on"), ("archive_command", "")]);
        let program = watching(&cluster.database().await, "collect = ['wal_archiving']\nwarn = { archive_off = true }");
        let said = warnings(&program).await;
        assert!(said.contains("neither archive_command nor archive_library is set"), "{said}");
    }
}

#[tokio::test]
async fn the_oldest_table_is_named() {
    on_each_major(async |db| {
        db.execute("create table t (n int)").await;
        let program = watching(&db, "collect = ['wraparound']\nwarn = { wraparound_ratio = 0.0000000001 }");
        let said = warnings(&program).await;
        assert!(said.contains("transaction ids are") && said.contains("the oldest is "), "{said}");
        run(&program, 0).await;
        let read = readings(&db).await;
        let age: f64 =
            db.scalar("select age(datfrozenxid)::float8 from pg_database where datname = current_database()").await;
        let ours = of(&read, "xid_age", "").unwrap();
        // Other stories on the server take numbers too.
        assert!(ours <= age && ours > 0.0, "{ours} of {age}");
        assert!((of(&read, "xid_age_ratio", "").unwrap() - ours / 2e8).abs() < 1e-12, "{read:?}");
    })
    .await;
}
