//! Readers, dumps and other refreshes beside ours.

use tokio_postgres::Client;

use super::{BELIEVED, COUNTED, job, run, tending, text};
use crate::support::{Database, Pgtend, on_each_major, wait_until};

/// A refresh of this view is at work until the gate is open.
const GATED: &str = "CREATE TABLE gate ();
    CREATE FUNCTION public.through_the_gate(int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN
        WHILE NOT EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_catalog.pg_sleep(0.02); END LOOP; RETURN $1;
    END $$;
    CREATE TABLE t (id int PRIMARY KEY);
    INSERT INTO t VALUES (1);
    CREATE MATERIALIZED VIEW gated AS SELECT public.through_the_gate(id) AS id FROM t WITH NO DATA;
    CREATE UNIQUE INDEX ON gated (id);
    INSERT INTO gate DEFAULT VALUES;
    REFRESH MATERIALIZED VIEW gated;
    DELETE FROM gate;
    INSERT INTO t VALUES (2);";

pub async fn gated(db: &Database) {
    db.execute(GATED).await;
}

/// Waits until the server is at work on the refresh itself, and not on what is asked before.
pub async fn wait_until_at_work(db: &Database) {
    let at_work = "pg_stat_activity WHERE datname = current_database() AND application_name = 'pgtend/views'
        AND state = 'active' AND query ~ '^REFRESH '";
    wait_until("the view to be refreshed", async || db.count(at_work).await == 1).await;
}

/// Fails rather than waits.
async fn impatient(db: &Database) -> Client {
    let client = db.client().await;
    client.batch_execute("SET lock_timeout = '1ms'").await.unwrap();
    client
}

#[tokio::test]
async fn readers_go_on_while_a_view_is_refreshed_concurrently() {
    on_each_major(async |db| {
        gated(&db).await;
        // One that has read it and is not done, and one that comes while it is at work.
        let mut early = db.client().await;
        let early = early.transaction().await.unwrap();
        early.batch_execute("SELECT FROM gated").await.unwrap();
        let program = tending(&db, r#"views = ["gated"]"#);
        let running = program.start(["run", "views", "--json"]);
        wait_until_at_work(&db).await;
        let held = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'gated'::regclass AND granted AND mode = 'ExclusiveLock')";
        wait_until("the refresh to have its lock", async || db.scalar(held).await).await;
        let late = impatient(&db).await;
        for reader in [&late, early.client()] {
            let row = reader.query_one("SELECT count(*) FROM gated", &[]).await.expect("read it beside");
            assert_eq!(row.get::<_, i64>(0), 1);
        }
        db.execute("INSERT INTO gate DEFAULT VALUES").await;
        let record = running.wait().await.exits(0).json().remove(0);
        assert_eq!(record["details"]["views"]["public.gated"]["how"], "concurrently", "{record}");
        assert_eq!(late.query_one("SELECT count(*) FROM gated", &[]).await.unwrap().get::<_, i64>(0), 2);
    })
    .await;
}

/// A plain one has to wait for whoever has read the view, and nobody may come to wait behind it.
#[tokio::test]
async fn readers_never_queue_behind_a_plain_refresh_that_waits() {
    on_each_major(async |db| {
        db.execute(COUNTED).await;
        db.execute("INSERT INTO t VALUES (31, 1)").await;
        let mut early = db.client().await;
        let early = early.transaction().await.unwrap();
        early.batch_execute("SELECT FROM counted").await.unwrap();
        let pid: i32 = early.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let program = tending(&db, "views = [\"counted\"]\nconcurrently = \"never\"");
        let running = program.start(["run", "views", "--json"]);
        let line = running.wait_for_log("lock not had in time").await;
        assert!(line.contains(&format!("pid {pid}")), "{line}");
        // It gives way in less than a second each time, so that whoever comes is through by then.
        let late = db.client().await;
        late.batch_execute("SET lock_timeout = '3s'").await.unwrap();
        for _ in 0..5 {
            late.query_one(BELIEVED, &[]).await.expect("read it beside");
        }
        early.commit().await.unwrap();
        running.wait().await.exits(0);
        assert_eq!(db.scalar::<i64>(BELIEVED).await, 31);
    })
    .await;
}

#[tokio::test]
async fn a_plain_refresh_that_keeps_readers_waiting_for_too_long_is_given_up() {
    on_each_major(async |db| {
        gated(&db).await;
        db.execute("DROP INDEX gated_id_idx; CREATE INDEX ON gated (id)").await;
        let program = tending(&db, "views = [\"gated\"]\nrefresh_timeout = \"300ms\"");
        let record = run(&program, 1).await;
        let error = text(&record["error"]);
        for words in ["refresh_timeout", "300 ms", "CREATE UNIQUE INDEX CONCURRENTLY ON \"public\".\"gated\" (\"id\")"]
        {
            assert!(error.contains(words), "{words} is not in {error}");
        }
        assert_eq!(record["outcome"], "failed");
        assert_eq!(db.count("gated").await, 1, "it holds what it held");
    })
    .await;
}

/// A dump holds what it has read, and a plain refresh would wait for it with all readers behind.
#[tokio::test]
async fn a_plain_refresh_waits_for_a_dump_of_ours_and_one_beside_readers_does_not() {
    on_each_major(async |db| {
        db.execute(COUNTED).await;
        let dump = db.client().await;
        let key = pgtend::pg::exclusion::key();
        dump.query_one("SELECT pg_advisory_lock_shared($1) IS NULL", &[&key]).await.unwrap();
        run(&tending(&db, "views = [\"counted\"]"), 0).await;
        let program = tending(&db, "views = [\"counted\"]\nconcurrently = \"never\"");
        let running = program.start(["run", "views", "--json"]);
        let line = running.wait_for_log("lock not had in time").await;
        assert!(line.contains("a dump"), "{line}");
        drop(dump);
        running.wait().await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn a_view_whose_refreshes_leave_dead_rows_is_vacuumed() {
    on_each_major(async |db| {
        db.execute(
            "CREATE ROLE sweeper NOLOGIN; CREATE TABLE t AS SELECT n, 0 AS at FROM generate_series(1, 3000) n; GRANT SELECT ON t TO sweeper;
             CREATE MATERIALIZED VIEW v WITH (autovacuum_enabled = off) AS SELECT n, at FROM t; CREATE UNIQUE INDEX ON v (n);
             ALTER MATERIALIZED VIEW v OWNER TO sweeper;",
        )
        .await;
        let program = tending(&db, "views = [\"v\"]");
        db.execute("UPDATE t SET at = 1").await;
        run(&program, 0).await;
        let dead = async || db.scalar::<i64>("SELECT pg_stat_get_dead_tuples('v'::regclass)").await;
        wait_until("the server to count the dead", async || dead().await >= 3000).await;
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["warnings"], serde_json::Value::Null, "{record}");
        wait_until("the server to count none", async || dead().await == 0).await;
        let plan = program.run(["plan", "views"]).await.exits(0).stdout;
        assert!(!plan.contains("vacuum"), "{plan}");
        db.execute("DROP MATERIALIZED VIEW v; DROP OWNED BY sweeper; DROP ROLE sweeper").await;
    })
    .await;
}

/// What keeps every session's jobs apart keeps those of two daemons apart too, and by hand somebody may refresh as well.
#[tokio::test]
async fn a_refresh_by_hand_is_waited_for() {
    on_each_major(async |db| {
        gated(&db).await;
        let other = db.client().await;
        let hand = async { other.batch_execute("REFRESH MATERIALIZED VIEW CONCURRENTLY gated").await };
        let ours = async {
            wait_until("the other one to be at work", async || {
                db.scalar("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'gated'::regclass AND mode = 'ExclusiveLock' AND granted)").await
            })
            .await;
            let program = Pgtend::tending(&db, &job("views = [\"gated\"]"));
            let running = program.start(["run", "views", "--json"]);
            running.wait_for_log("lock not had in time").await;
            db.execute("INSERT INTO gate DEFAULT VALUES").await;
            running.wait().await.exits(0);
        };
        let (by_hand, ()) = tokio::join!(hand, ours);
        by_hand.unwrap();
        assert_eq!(db.count("gated").await, 2);
    })
    .await;
}
