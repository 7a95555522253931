//! Tables and indexes: what they are called, how large they are, what nobody needs.

use super::{labels, of, readings, run, warnings, watching};
use crate::support::{Database, on_each_major, wait_until};

/// Names that no concatenated text would find, and what no list of tables has.
#[tokio::test]
async fn names_of_any_letters_views_and_whole_trees_have_their_sizes() {
    on_each_major(async |db| {
        db.execute(
            r#"create schema "My Schema";
               create table "My Schema"."Odd ""Name"".x" (id int primary key, doc text);
               alter table "My Schema"."Odd ""Name"".x" alter doc set storage external;
               insert into "My Schema"."Odd ""Name"".x" select n, repeat('x', 10000) from generate_series(1, 50) n;
               create materialized view counted with (autovacuum_enabled = off) as select n from generate_series(1, 10000) n;
               create table events (id int, at date, primary key (id, at)) partition by range (at);
               create temp table of_mine (n int)"#,
        )
        .await;
        db.execute(
            "do $$ begin for n in 0..499 loop
                 execute format('create table events_%s partition of events for values from (%L) to (%L)',
                                n, date '2020-01-01' + n, date '2020-01-02' + n);
             end loop; end $$;
             insert into events select n, date '2020-01-01' + n % 500 from generate_series(1, 5000) n",
        )
        .await;
        let program = watching(&db, "collect = ['table_sizes', 'index_usage']");
        let record = run(&program, 0).await;
        assert_eq!(record["outcome"], "succeeded", "{record}");
        let read = readings(&db).await;

        let odd = r#""My Schema"."Odd ""Name"".x""#;
        let label = labels(&read, "table_size_bytes").into_iter().find(|label| label.contains("Odd")).unwrap();
        let total = format!("select pg_total_relation_size('{odd}'::regclass)::float8");
        assert_eq!(of(&read, "table_size_bytes", &label), Some(db.scalar(&total).await), "{label}");
        let toast = "select pg_total_relation_size(reltoastrelid)::float8 from pg_class where relname like 'Odd%x'";
        assert_eq!(of(&read, "table_toast_bytes", &label), Some(db.scalar(toast).await));
        let indexes = format!("select pg_indexes_size('{odd}'::regclass)::float8");
        assert_eq!(of(&read, "table_index_bytes", &label), Some(db.scalar(&indexes).await));

        let view = "select pg_total_relation_size('counted')::float8";
        assert_eq!(of(&read, "table_size_bytes", "public.counted"), Some(db.scalar(view).await));

        // All of the tree under the name of its root, and no leaf.
        let tree = "select sum(pg_total_relation_size(relid))::float8 from pg_partition_tree('events')";
        let size: f64 = db.scalar(tree).await;
        assert!(size > 500.0 * 8192.0, "{size}");
        assert_eq!(of(&read, "table_size_bytes", "public.events"), Some(size));
        let heap = "select sum(pg_table_size(relid))::float8 from pg_partition_tree('events')";
        assert_eq!(of(&read, "table_heap_bytes", "public.events"), Some(db.scalar(heap).await));
        let leaves = labels(&read, "table_size_bytes").iter().any(|label| label.contains("events_"));
        assert!(!leaves, "{:?}", labels(&read, "table_size_bytes"));
        let parts = labels(&read, "index_size_bytes").iter().any(|label| label.contains("events_1"));
        assert!(of(&read, "index_size_bytes", "public.events_pkey") > Some(0.0) && !parts, "{read:?}");
        assert!(of(&read, "schema_size_bytes", "My Schema").is_some(), "{:?}", labels(&read, "schema_size_bytes"));
    })
    .await;
}

#[tokio::test]
async fn beyond_the_bounds_all_is_one_sum() {
    on_each_major(async |db| {
        db.execute(
            "do $$ begin for n in 1..30 loop
                 execute format('create table t%s (n int primary key) with (autovacuum_enabled = off)', n);
                 execute format('insert into t%s select generate_series(1, %s)', n, n * 300);
             end loop; end $$",
        )
        .await;
        let program = watching(&db, "collect = ['table_sizes', 'index_usage']\ntables = 3\nindexes = 2");
        run(&program, 0).await;
        let read = readings(&db).await;
        assert_eq!(labels(&read, "table_size_bytes").len(), 4, "{read:?}");
        assert_eq!(labels(&read, "index_size_bytes").len(), 3, "{read:?}");
        assert!(of(&read, "table_size_bytes", "public.t30").is_some(), "{read:?}");
        // The sum is of all there is; the reading itself was not yet written when it was taken.
        let tables: f64 = db
            .scalar(
                "select sum(pg_total_relation_size(c.oid))::float8 from pg_class c
                 where relkind = 'r' and relnamespace = 'public'::regnamespace",
            )
            .await;
        let ours: f64 =
            read.iter().filter(|((name, _), _)| name == "pgtend_table_size_bytes").map(|(_, size)| size).sum();
        assert!(ours >= tables, "{ours} of {tables}");
        assert_eq!(of(&read, "schema_size_bytes", "public"), Some(tables));
    })
    .await;
}

async fn unused(db: &Database) -> (f64, f64) {
    let read = readings(db).await;
    (of(&read, "unused_indexes", "").unwrap(), of(&read, "unused_index_bytes", "").unwrap())
}

/// What refuses rows, what a foreign key looks by, and what has been scanned are not unused.
#[tokio::test]
async fn only_an_index_that_nothing_needs_is_unused() {
    on_each_major(async |db| {
        db.execute(
            "create table parents (id int primary key, name text unique, span int4range, exclude using gist (span with &&));
             create table children (id int, parent int references parents, n int, note text);
             create index on children (parent);
             create index used on children (n);
             create table log (at date, n int, primary key (at, n)) partition by range (at);
             create table log_1 partition of log for values from ('2020-01-01') to ('2021-01-01');
             create table log_2 partition of log for values from ('2021-01-01') to ('2022-01-01');
             create index scanned on log (n);
             insert into children select n, null, n from generate_series(1, 1000) n;
             insert into log select '2020-02-01', n from generate_series(1, 1000) n; analyze",
        )
        .await;
        // Scanned in one of its parts alone.
        db.execute(
            "set enable_seqscan = off; set enable_bitmapscan = off;
             select * from children where n = 7; select * from log_1 where n = 7",
        )
        .await;
        let counted = "select count(*) filter (where pg_stat_get_numscans(indexrelid) > 0) from pg_index
                       where indexrelid::regclass::text in ('used', 'log_1_n_idx')";
        wait_until("scans to be counted", async || db.scalar::<i64>(counted).await == 2).await;
        let program = watching(&db, "collect = ['index_usage']\nwarn = { unused_index = '1 kB' }");
        run(&program, 0).await;
        let read = readings(&db).await;
        for (name, column) in [("index_tuples_read", "idx_tup_read"), ("index_tuples_fetched", "idx_tup_fetch")] {
            for (index, parts) in [("used", "'used'"), ("scanned", "'log_1_n_idx', 'log_2_n_idx'")] {
                let sum = format!("select sum({column})::float8 from pg_stat_user_indexes where indexrelname in ({parts})");
                assert_eq!(of(&read, name, &format!("public.{index}")), Some(db.scalar(&sum).await), "{name} of {index}");
            }
        }
        assert!(of(&read, "index_tuples_read", "public.scanned") >= Some(1.0), "{read:?}");
        // Of the tables of pgtend itself some have indexes that nobody has used yet.
        let (before, bytes) = unused(&db).await;
        assert!(!warnings(&program).await.contains("public."), "{}", warnings(&program).await);
        db.execute("create index idle on children (note, n)").await;
        let said = warnings(&program).await;
        assert!(said.contains("public.idle (") && said.contains("no query on this server"), "{said}");
        run(&program, 0).await;
        let size: f64 = db.scalar("select pg_relation_size('idle')::float8").await;
        let (now, now_bytes) = unused(&db).await;
        assert!(now >= before && now_bytes >= bytes && now_bytes >= size, "{now} of {before}");
    })
    .await;
}

#[tokio::test]
async fn an_index_that_was_never_finished_is_found() {
    on_each_major(async |db| {
        db.execute("create table t (n int); insert into t values (1), (1)").await;
        let program = watching(&db, "collect = ['index_usage']");
        assert!(!warnings(&program).await.contains("invalid"));
        let failed = db.client().await.batch_execute("create unique index concurrently broken on t (n)").await;
        failed.unwrap_err();
        let said = warnings(&program).await;
        assert!(said.contains("invalid indexes") && said.contains("public.broken"), "{said}");
        run(&program, 0).await;
        assert_eq!(of(&readings(&db).await, "invalid_indexes", ""), Some(1.0));
    })
    .await;
}

/// Of every table whose key is a time, not only those that a job makes partitions of; and as that job says, where one does.
#[tokio::test]
async fn rows_in_default_partitions_and_ends_of_partitions_are_told_of_all_tables() {
    on_each_major(async |db| {
        db.execute(
            "create table by_day (at timestamptz, n int) partition by range (at);
             create table by_day_all partition of by_day for values from ('2000-01-01 00:00Z') to ('2100-01-01 00:00Z');
             create table by_day_rest partition of by_day default;
             insert into by_day values ('1999-01-01', 1), ('1999-01-02', 2);
             create table ended (at date) partition by range (at);
             create table ended_1 partition of ended for values from ('2020-01-01') to ('2021-01-01');
             create table by_tenant (tenant int, n int) partition by list (tenant);
             create table by_tenant_rest partition of by_tenant default;
             insert into by_tenant values (1, 1);
             create table by_month (month int, n int) partition by list (month);
             create table by_month_rest partition of by_month default;
             insert into by_month values (202001, 1)",
        )
        .await;
        let jobs = "[jobs.watch.health]\ncollect = ['partitions']
             [jobs.ahead.partitions]\ntables = [{ table = 'by_month', every = '1 month', ahead = 2, key_format = '%Y%m' }]";
        let program = crate::support::Pgtend::tending(&db, jobs);
        let said = warnings(&program).await;
        assert!(said.contains("public.by_day (2)") && said.contains("public.by_month (1)"), "{said}");
        assert!(said.contains("public.ended (none for now)") && !said.contains("tenant"), "{said}");
        run(&program, 0).await;
        let read = readings(&db).await;
        assert_eq!(of(&read, "default_partition_rows", "public.by_day"), Some(2.0));
        assert_eq!(of(&read, "partition_horizon_timestamp_seconds", "public.by_day"), Some(4_102_444_800.0));
        assert!(of(&read, "partition_horizon_timestamp_seconds", "public.by_month").is_some(), "{read:?}");
        assert_eq!(of(&read, "default_partition_rows", "public.by_tenant"), None);
    })
    .await;
}
