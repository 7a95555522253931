//! Nobody waits for a reading, and it waits for nobody.

use super::{of, readings, run, warnings, watching};
use crate::support::on_each_major;

/// Each size is had by opening its table, which waits for whoever has locked it.
#[tokio::test]
async fn a_locked_table_is_as_large_as_it_was_last_found_and_holds_nothing_up() {
    on_each_major(async |db| {
        db.execute(
            "create table locked (n int primary key, doc text) with (autovacuum_enabled = off); insert into locked select generate_series(1, 20000);
             create table beside (n int) with (autovacuum_enabled = off); insert into beside select generate_series(1, 20000);
             create table leaves (at date) partition by range (at);
             create table leaf partition of leaves for values from ('2020-01-01') to ('2021-01-01');
             create table rest partition of leaves default; insert into leaves values ('2019-01-01')",
        )
        .await;
        db.execute("vacuum analyze locked").await;
        let program =
            watching(&db, "collect = ['table_sizes', 'index_usage', 'wraparound', 'long_transactions', 'partitions']");
        let mut client = db.client().await;
        let held = client.transaction().await.unwrap();
        held.batch_execute("lock table locked, leaves in access exclusive mode; reindex table locked").await.unwrap();
        let record = run(&program, 0).await;
        assert_eq!(record["outcome"], "succeeded", "{record}");
        assert_eq!(record["details"]["lock_timeouts"], serde_json::Value::Null, "{record}");
        let read = readings(&db).await;
        let pages = "select relpages * 8192::float8 from pg_class where relname = 'locked'";
        assert_eq!(of(&read, "table_heap_bytes", "public.locked"), Some(db.scalar(pages).await));
        let beside = "select pg_table_size('beside')::float8";
        assert_eq!(of(&read, "table_heap_bytes", "public.beside"), Some(db.scalar(beside).await));
        assert!(record["details"]["warnings"].to_string().contains("are locked (ACCESS EXCLUSIVE)"), "{record}");
        held.rollback().await.unwrap();
        assert!(!warnings(&program).await.contains("are locked"));
    })
    .await;
}

/// Who waits for such a lock lets nobody pass either.
#[tokio::test]
async fn a_table_whose_lock_somebody_waits_for_is_no_hindrance_either() {
    on_each_major(async |db| {
        db.execute(
            "create table wanted (n int); insert into wanted select generate_series(1, 20000);
             create table beside (n int) with (autovacuum_enabled = off); insert into beside select generate_series(1, 20000)",
        )
        .await;
        let mut reader = db.client().await;
        let reading = reader.transaction().await.unwrap();
        reading.batch_execute("select count(*) from wanted").await.unwrap();
        let wants = db.client().await;
        let waits = async {
            wants.batch_execute("alter table wanted add column more int").await.unwrap();
        };
        let program = watching(&db, "collect = ['table_sizes']");
        let looks = async {
            let queued = "select count(*) from pg_locks where relation = 'wanted'::regclass and not granted";
            crate::support::wait_until("the lock to be wanted", async || db.scalar::<i64>(queued).await == 1).await;
            let record = run(&program, 0).await;
            assert_eq!(record["outcome"], "succeeded", "{record}");
            let read = readings(&db).await;
            assert!(of(&read, "table_size_bytes", "public.wanted").is_some(), "{read:?}");
            let beside = "select pg_table_size('beside')::float8";
            assert_eq!(of(&read, "table_heap_bytes", "public.beside"), Some(db.scalar(beside).await));
            reading.rollback().await.unwrap();
        };
        tokio::join!(waits, looks);
    })
    .await;
}
