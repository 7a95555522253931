//! Which tables, and in which order.

use super::{run, statements, tidying, times, with_dead};
use crate::support::{Cluster, Database, newest_major, on_each_major};

/// Names that need their quotes; the last is as long as a name can be.
const ODD: [&str; 4] =
    ["Capitals", r#"with "quotes" and. dots"#, "παλιές; DROP TABLE t", "ωωωωωωωωωωωωωωωωωωωωωωωωωωωωωωx"];

#[tokio::test]
async fn each_table_and_view_is_vacuumed_once_whatever_it_is_called() {
    on_each_major(async |db| {
        with_dead(&db, "t", 400).await;
        let quoted = ODD.map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
        for name in &quoted {
            db.execute(&format!("create table {name} as select generate_series(1, 10) n")).await;
        }
        assert_eq!(ODD[3].len(), 61);
        db.execute("create schema \"Archive\"; create table \"Archive\".t as select 1 n; create unlogged table u (n int)").await;
        db.execute("create materialized view seen as select * from t; create view v as select 1; create sequence s").await;
        db.execute("create foreign data wrapper w; create server far foreign data wrapper w; create foreign table f (n int) server far").await;
        // Nobody but this session can look into it.
        let client = db.client().await;
        client.batch_execute("create temp table mine as select 1 n").await.unwrap();

        let program = tidying(&db, "vacuum", "analyze = true");
        program.run(["check"]).await.exits(0);
        let planned = statements(&program).await;
        assert_eq!((planned.len(), planned[0].as_str()), (8, "VACUUM (ANALYZE) public.t"), "{planned:?}");
        let details = run(&program).await;
        assert_eq!((&details["tables_vacuumed"], &details["tables_analyzed"]), (&8.into(), &8.into()), "{details}");
        assert_eq!((&details["dead_tuples_before"], &details["dead_tuples_after"]), (&400.into(), &0.into()));
        assert_eq!(details["tables"]["*"]["tables_vacuumed"], 8, "{details}");
        assert_eq!(details["warnings"], serde_json::Value::Null, "{details}");
        let wrong: Vec<String> = db
            .column(
                "select relid::regclass::text from pg_stat_all_tables where schemaname in ('public', 'Archive')
                 and (vacuum_count, analyze_count) <> (1, 1)",
            )
            .await;
        assert_eq!(wrong, [""; 0]);
        drop(client);
    })
    .await;
}

#[tokio::test]
async fn a_tree_of_500_leaves_is_vacuumed_once_and_its_parents_are_analyzed() {
    on_each_major(async |db| {
        db.execute(
            "create table p (n int) partition by range (n);
             do $$ begin for i in 0..498 loop
                 execute format('create table p_%s partition of p for values from (%s) to (%s)', i, i * 10, (i + 1) * 10);
             end loop; end $$;
             create table q partition of p for values from (4990) to (5000) partition by range (n);
             create table q_0 partition of q for values from (4990) to (5000);
             insert into p select generate_series(0, 4999)",
        )
        .await;
        let statistics = "select count(*) from pg_stats where tablename in ('p', 'q') and inherited";
        assert_eq!(db.scalar::<i64>(statistics).await, 0, "autovacuum never comes to them");
        let program = tidying(&db, "vacuum", "analyze = true");
        let details = run(&program).await;
        assert_eq!((&details["tables_vacuumed"], &details["tables_analyzed"]), (&500.into(), &502.into()), "{details}");
        assert_eq!(db.scalar::<i64>(statistics).await, 2);
        let leaves = "select count(*) from pg_stat_user_tables where relname ~ '^[pq]_' and (vacuum_count, analyze_count) = (1, 1)";
        assert_eq!(db.scalar::<i64>(leaves).await, 500);
        assert_eq!((times(&db, "p").await, times(&db, "q").await), ((0, 1), (0, 1)));

        // By `analyze` alone too, and the parents are what is named.
        let details = run(&tidying(&db, "analyze", "tables = ['p']")).await;
        assert_eq!(details["tables_analyzed"], 502, "{details}");
        assert_eq!((times(&db, "p").await, times(&db, "p_7").await), ((0, 2), (1, 2)));
        assert_eq!(details["tables_vacuumed"], serde_json::Value::Null);
    })
    .await;
}

/// From 18 on PostgreSQL goes from a parent to what inherits from it, unless it is told not to.
#[tokio::test]
async fn what_inherits_is_vacuumed_once_too() {
    on_each_major(async |db| {
        db.execute("create table parent (n int); create table child () inherits (parent); insert into child select generate_series(1, 100)").await;
        let program = tidying(&db, "vacuum", "tables = ['parent']\nanalyze = true");
        run(&program).await;
        assert_eq!((times(&db, "parent").await, times(&db, "child").await), ((1, 1), (1, 1)));
        assert_eq!(db.scalar::<i64>("select count(*) from pg_stats where tablename = 'parent' and inherited").await, 1);
    })
    .await;
}

async fn done_so_far(db: &Database) -> Vec<String> {
    let sql = "select relname::text from pg_stat_user_tables where vacuum_count > 0 and schemaname = 'public' order by last_vacuum";
    db.column(sql).await
}

#[tokio::test]
async fn the_neediest_are_first_within_the_budget_and_the_others_come_next_time() {
    on_each_major(async |db| {
        for (table, dead) in [("idle", 0), ("needy", 500), ("tidy", 100)] {
            with_dead(&db, table, dead).await;
        }
        let program = tidying(&db, "vacuum", "budget = '1ms'\nskip_if_within = '6h'");
        let expected = ["needy", "tidy", "idle"];
        for round in 1..=3 {
            let details = run(&program).await;
            assert_eq!(done_so_far(&db).await, expected[..round], "{details}");
            let left = details["left_for_next_time"].as_str().unwrap_or_default();
            let names = expected[round..].iter().map(|name| format!("public.{name}")).collect::<Vec<_>>().join(", ");
            assert!(left.contains(&names) && left.contains("budget") == (round < 3), "{details}");
        }
        let lines = program.run(["plan", "tidy", "--json"]).await.exits(0).json();
        assert!(lines.iter().all(|line| line["action"] == "keep"), "{lines:?}");
        assert!(lines[0]["reason"].as_str().unwrap().contains("within the last 6 h"), "{lines:?}");
        run(&program).await;
        assert_eq!(times(&db, "needy").await, (1, 0));
        // Of statistics nothing was said.
        assert_eq!(statements(&tidying(&db, "analyze", "skip_if_within = '6h'")).await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_is_named_and_not_there_is_a_failure_and_the_others_are_done() {
    let db = Cluster::shared(newest_major()).database().await;
    with_dead(&db, "t", 0).await;
    let program = tidying(&db, "vacuum", "tables = ['t', 'gone', 'no_*']");
    let record = super::fails(&program, "partial").await;
    assert!(record["error"].as_str().unwrap().contains("public.gone: there is no table"), "{record}");
    assert_eq!(times(&db, "t").await, (1, 0));
    let found = program.run(["check"]).await.exits(1).stdout;
    assert!(found.contains("no table or materialized view public.gone"), "{found}");
    assert!(found.contains("warning: job tidy: no table is called like no_*"), "{found}");
}
