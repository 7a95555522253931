//! Beside others: who has a lock, who holds on to dead rows, who drops a table meanwhile.

use super::{fails, kill_rows, run, statements, tidying, times, with_dead};
use crate::support::{Cluster, Database, majors, newest_major, on_each_major, wait_until};

#[tokio::test]
async fn a_table_that_somebody_locks_is_tried_again_and_the_others_are_done_meanwhile() {
    on_each_major(async |db| {
        with_dead(&db, "busy", 500).await;
        with_dead(&db, "free", 100).await;
        let mut client = db.client().await;
        let held = client.transaction().await.unwrap();
        held.batch_execute("lock table busy in share update exclusive mode").await.unwrap();
        let program = tidying(&db, "vacuum", "");
        let process = program.start(["run", "tidy", "--json"]);
        process.wait_for_log("lock not had in time").await;
        process.wait_until("the other table to be vacuumed", async || times(&db, "free").await == (1, 0)).await;
        assert_eq!(times(&db, "busy").await, (0, 0));
        held.rollback().await.unwrap();
        let record = process.wait().await.exits(0).json().remove(0);
        assert_eq!(record["outcome"], "succeeded", "{record}");
        assert!(record["details"]["lock_timeouts"].as_u64().unwrap() >= 1, "{record}");
        assert_eq!(times(&db, "busy").await, (1, 0));
    })
    .await;
}

#[tokio::test]
async fn whoever_keeps_a_table_locked_to_the_end_is_named() {
    on_each_major(async |db| {
        with_dead(&db, "busy", 500).await;
        with_dead(&db, "free", 100).await;
        let mut client = db.client().await;
        let held = client.transaction().await.unwrap();
        held.batch_execute("lock table busy in access exclusive mode").await.unwrap();
        let program = tidying(&db, "analyze", "");
        let text = std::fs::read_to_string(program.config()).unwrap();
        program.configure(&text.replace("lock_timeout", "timeout = '2s'\nlock_timeout"));
        let record = fails(&program, "partial").await;
        let error = record["error"].as_str().unwrap();
        assert!(
            error.contains("public.busy") && error.contains("story") && error.contains("lock table busy"),
            "{error}"
        );
        assert_eq!(times(&db, "free").await, (0, 1));
    })
    .await;
}

/// As a dump does.
#[tokio::test]
async fn a_snapshot_that_keeps_dead_rows_is_named_by_the_plan_and_by_the_run() {
    on_each_major(async |db| {
        with_dead(&db, "t", 0).await;
        let client = db.client().await;
        client.batch_execute("begin isolation level repeatable read; select count(*) from t as a_dump").await.unwrap();
        kill_rows(&db, "t", 1000).await;
        // A plan names who has held on for a minute.
        let hasty = tidying(&db, "vacuum", "").env("PGTEND_HURRY", "60000");
        let lines = hasty.run(["plan", "tidy", "--json"]).await.exits(0).json();
        let warning = lines.iter().find(|line| line["action"] == "warn").expect("a warning");
        let words = warning["reason"].as_str().unwrap();
        assert!(words.contains("as a_dump") && words.contains("cannot be removed"), "{words}");

        let program = tidying(&db, "vacuum", "");
        let details = run(&program).await;
        assert_eq!((&details["dead_tuples_before"], &details["dead_tuples_after"]), (&1000.into(), &1000.into()));
        assert_eq!(details["tables_held_back"], 1, "{details}");
        let warnings = details["warnings"].to_string();
        assert!(warnings.contains("public.t: 1000 dead rows stay") && warnings.contains("as a_dump"), "{warnings}");

        client.batch_execute("commit").await.unwrap();
        let details = run(&program).await;
        assert_eq!(
            (&details["dead_tuples_after"], &details["warnings"]),
            (&0.into(), &serde_json::Value::Null),
            "{details}"
        );
        // Statistics are not about that.
        client.batch_execute("begin isolation level repeatable read; select count(*) from t").await.unwrap();
        let program = tidying(&db, "analyze", "").env("PGTEND_HURRY", "60000");
        assert!(
            program
                .run(["plan", "tidy", "--json"])
                .await
                .exits(0)
                .json()
                .iter()
                .all(|line| line["action"] == "analyze")
        );
    })
    .await;
}

/// What the next plan and run say of dead rows that stay.
async fn held_by(db: &Database) -> (String, String) {
    let hasty = tidying(db, "vacuum", "").env("PGTEND_HURRY", "60000");
    let lines = hasty.run(["plan", "tidy", "--json"]).await.exits(0).json();
    let planned = lines.iter().filter(|line| line["action"] == "warn").map(|line| line["reason"].to_string()).collect();
    (planned, run(&tidying(db, "vacuum", "")).await["warnings"].to_string())
}

/// It outlives its session, and whoever made it is long gone.
#[tokio::test]
async fn a_prepared_transaction_that_keeps_dead_rows_is_named_with_what_ends_it() {
    for major in majors() {
        let db = Cluster::with(major, &[("max_prepared_transactions", "2")]).database().await;
        with_dead(&db, "t", 0).await;
        db.client().await.batch_execute("begin; create table p (); prepare transaction 'left behind'").await.unwrap();
        kill_rows(&db, "t", 1000).await;
        let (planned, said) = held_by(&db).await;
        for words in [&planned, &said] {
            assert!(words.contains("prepared transaction 'left behind' of postgres"), "{planned}\n{said}");
        }
        assert!(said.contains("public.t: 1000 dead rows stay") && said.contains("ROLLBACK PREPARED"), "{said}");
        db.execute("rollback prepared 'left behind'").await;
        let (planned, said) = held_by(&db).await;
        assert_eq!((planned.as_str(), said.as_str()), ("", "null"));
    }
}

/// By hot_standby_feedback a standby's readers keep rows on the primary, and its slot does when the standby is gone.
#[tokio::test]
async fn a_standby_and_the_slot_that_it_leaves_behind_are_named() {
    let primary = Cluster::own(newest_major());
    let db = primary.database().await;
    with_dead(&db, "t", 0).await;
    db.execute("select pg_create_physical_replication_slot('left_slot')").await;
    let copy = Database::named(primary.standby(), db.name());
    for setting in
        ["hot_standby_feedback = on", "wal_receiver_status_interval = '1s'", "primary_slot_name = 'left_slot'"]
    {
        copy.execute(&format!("alter system set {setting}")).await;
    }
    copy.execute("select pg_reload_conf()").await;
    let reader = copy.client().await;
    reader.batch_execute("begin isolation level repeatable read; select count(*) from t").await.unwrap();
    let fed = "select count(*) from pg_replication_slots where xmin is not null and active";
    wait_until("the standby to say what it reads", async || db.scalar::<i64>(fed).await == 1).await;

    kill_rows(&db, "t", 1000).await;
    let (_, said) = held_by(&db).await;
    assert!(said.contains("1000 dead rows stay") && said.contains("by hot_standby_feedback"), "{said}");

    drop(reader);
    copy.cluster().stop();
    let idle = "select count(*) from pg_replication_slots where xmin is not null and not active";
    wait_until("its slot to be left", async || db.scalar::<i64>(idle).await == 1).await;
    let (planned, said) = held_by(&db).await;
    for words in [&planned, &said] {
        assert!(words.contains("replication slot left_slot, which nobody reads"), "{planned}\n{said}");
    }
    db.execute("select pg_drop_replication_slot('left_slot')").await;
    assert_eq!(held_by(&db).await.1, "null");
}

#[tokio::test]
async fn a_table_that_is_dropped_or_renamed_meanwhile_is_nobodys_failure() {
    on_each_major(async |db| {
        for (table, dead) in [("first", 900), ("second", 800), ("third", 700)] {
            with_dead(&db, table, dead).await;
        }
        let (program, hold) = tidying(&db, "vacuum", "").holding("vacuum.table");
        assert_eq!(statements(&program).await.len(), 3);
        let process = program.start(["run", "tidy", "--json"]);
        // It has looked at the first, and not at the others.
        hold.reached().await;
        db.execute("drop table first; drop table second; alter table third rename to renamed").await;
        hold.go_on();
        let record = process.wait().await.exits(0).json().remove(0);
        assert_eq!(record["outcome"], "succeeded", "{record}");
        assert_eq!(record["details"]["tables_vacuumed"], 1, "{record}");
        assert_eq!(times(&db, "renamed").await, (1, 0));
    })
    .await;
}

/// An ALTER TABLE would wait for hours, and behind it whoever reads the table.
#[tokio::test]
async fn who_wants_to_alter_a_table_has_it_and_the_vacuum_begins_again() {
    on_each_major(async |db| {
        with_dead(&db, "t", 500).await;
        // Each page takes a tenth of a second: some seconds in all.
        db.execute("insert into t select generate_series(1, 200000)").await;
        let name: String = db.scalar("select quote_ident(current_database())").await;
        db.execute(&format!(
            "alter database {name} set vacuum_cost_delay = '100ms'; alter database {name} set vacuum_cost_limit = 1;
             alter database {name} set vacuum_cost_page_hit = 100; alter database {name} set vacuum_cost_page_miss = 100"
        ))
        .await;
        let program = tidying(&db, "vacuum", "");
        let mut process = program.start(["run", "tidy", "--json"]);
        let at_it = "select count(*) from pg_stat_progress_vacuum where datname = current_database()";
        process.wait_until("the table to be vacuumed", async || db.scalar::<i64>(at_it).await == 1).await;
        let client = db.client().await;
        client.batch_execute("set lock_timeout = '30s'; alter table t add column more int").await.expect("has the table");
        process.wait_for_log("somebody else waited for the table").await;
        process.wait_until("it to be tried again", async || db.scalar::<i64>(at_it).await == 1).await;
        assert!(process.runs());
    })
    .await;
}
