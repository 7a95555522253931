//! `skip_unchanged`: a view stays as it is when nothing at all says that it would be another.

use super::{BELIEVED, COUNTED, run, tending, text, would};
use crate::support::{Database, Pgtend, on_each_major, wait_until};

const SKIPPING: &str = "views = [\"*\"]\nskip_unchanged = true";

/// Waits until what was changed before is counted, so that the story is not about how late counters come.
async fn changed(db: &Database, program: &Pgtend, views: &[&str]) {
    let expected: Vec<_> = views.iter().map(|view| format!("refresh_view public.{view}")).collect();
    wait_until(&format!("{views:?} to be stale"), async || {
        let planned = would(program).await;
        planned.iter().filter(|line| line.starts_with("refresh_view")).eq(&expected)
    })
    .await;
    let _ = db;
}

async fn settled(program: &Pgtend) {
    // A view on a view may be refreshed once more, where counters come late: those of a run as late as its sessions end.
    let mut quiet = 0;
    wait_until("nothing to be left to do", async || {
        run(program, 0).await;
        let left = would(program).await.iter().any(|line| line.starts_with("refresh_view"));
        quiet = if left { 0 } else { quiet + 1 };
        quiet == 2
    })
    .await;
}

#[tokio::test]
async fn a_view_is_left_until_a_table_under_it_changes() {
    on_each_major(async |db| {
        db.execute(COUNTED).await;
        db.execute(
            "CREATE VIEW between AS SELECT n, count FROM counted WHERE n > 0;
             CREATE MATERIALIZED VIEW top AS SELECT sum(count) AS all FROM between; CREATE TABLE other (n int);
             CREATE MATERIALIZED VIEW aside AS SELECT count(*) FROM other;",
        )
        .await;
        let program = tending(&db, SKIPPING);
        settled(&program).await;
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["views_refreshed"], serde_json::Value::Null, "{record}");
        let plan = program.run(["plan", "--json"]).await.exits(0).json();
        assert!(text(&plan[0]["reason"]).contains("nothing that it is made from has changed since"), "{plan:?}");

        for change in
            ["INSERT INTO t VALUES (31, 1)", "UPDATE t SET n = 2 WHERE id = 31", "DELETE FROM t WHERE id = 31"]
        {
            db.execute(change).await;
            changed(&db, &program, &["counted", "top"]).await;
            settled(&program).await;
            assert_eq!(db.scalar::<i64>(BELIEVED).await, db.count("t").await, "{change}");
        }
        // No counter tells of a TRUNCATE.
        db.execute("TRUNCATE other; TRUNCATE t").await;
        changed(&db, &program, &["aside", "counted", "top"]).await;
        settled(&program).await;
        assert_eq!(db.count("counted").await, 0);
        // What the view is, is part of what it is made from.
        db.execute("CREATE OR REPLACE VIEW between AS SELECT n, count + 1 AS count FROM counted").await;
        changed(&db, &program, &["top"]).await;
        settled(&program).await;
        // Nor of a column that every row has from one moment to the next.
        db.execute("CREATE MATERIALIZED VIEW whole AS SELECT to_jsonb(other) AS row FROM other").await;
        settled(&program).await;
        for change in
            ["ALTER TABLE other ADD COLUMN more int DEFAULT 5", "ALTER TABLE other RENAME COLUMN more TO less"]
        {
            db.execute(change).await;
            assert!(would(&program).await.contains(&"refresh_view public.whole".into()), "{change}");
            settled(&program).await;
        }
        // Made anew under the same name, it is another.
        db.execute(
            "DROP MATERIALIZED VIEW aside; CREATE MATERIALIZED VIEW aside AS SELECT count(*) FROM other WITH DATA",
        )
        .await;
        changed(&db, &program, &["aside"]).await;
    })
    .await;
}

#[tokio::test]
async fn counters_that_began_anew_prove_nothing() {
    on_each_major(async |db| {
        db.execute(COUNTED).await;
        let program = tending(&db, SKIPPING);
        settled(&program).await;
        // The same number of changes as before, and not the same.
        db.execute("SELECT pg_stat_reset_single_table_counters('t'::regclass)").await;
        changed(&db, &program, &["counted"]).await;
        settled(&program).await;
        db.execute("SELECT pg_stat_reset()").await;
        changed(&db, &program, &["counted"]).await;
        settled(&program).await;
        db.execute(&format!("ALTER DATABASE \"{}\" SET track_counts = off", db.name())).await;
        let plan = program.run(["plan", "--json"]).await.exits(0).json();
        assert!(text(&plan[0]["reason"]).contains("track_counts is off"), "{plan:?}");
    })
    .await;
}

#[tokio::test]
async fn partitions_and_children_count_too() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
             CREATE TABLE parent (n int); CREATE TABLE child () INHERITS (parent);
             CREATE MATERIALIZED VIEW of_p AS SELECT count(*) FROM p; CREATE MATERIALIZED VIEW of_parent AS SELECT count(*) FROM parent",
        )
        .await;
        let program = tending(&db, SKIPPING);
        settled(&program).await;
        db.execute("INSERT INTO p1 VALUES (1); INSERT INTO child VALUES (1)").await;
        changed(&db, &program, &["of_p", "of_parent"]).await;
        settled(&program).await;
        db.execute("CREATE TABLE p2 AS SELECT 10 AS n; ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)").await;
        changed(&db, &program, &["of_p"]).await;
        settled(&program).await;
        assert_eq!(db.scalar::<i64>("SELECT count FROM of_p").await, 2);
    })
    .await;
}

/// What no counter of this server tells.
#[tokio::test]
async fn a_view_that_may_be_another_by_itself_is_never_left() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE t (id int, at timestamptz, note text); CREATE SEQUENCE s;
             CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER other FOREIGN DATA WRAPPER nowhere;
             CREATE FOREIGN TABLE elsewhere (line text) SERVER other;
             CREATE FUNCTION mine(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT $1';
             CREATE FUNCTION sure(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
             CREATE VIEW recent AS SELECT * FROM t WHERE at > now() - interval '1 day';",
        )
        .await
        ;
        let never = [
            ("v_now", "SELECT count(*) FROM t WHERE at < now()", "now() depends on more"),
            ("v_through", "SELECT count(*) FROM recent", "now() depends on more"),
            ("v_random", "SELECT random() AS r FROM t", "random() may give something else"),
            ("v_today", "SELECT count(*) FROM t WHERE at < current_date", "asks for the time, the day or the user"),
            ("v_age", "SELECT age(at) AS a FROM t", "age() depends on more"),
            ("v_mine", "SELECT mine(id) AS m FROM t", "public.mine() depends on more"),
            ("v_sequence", "SELECT last_value FROM s", "the sequence public.s"),
            ("v_catalog", "SELECT count(*) FROM pg_class", "reads the catalog (pg_class)"),
            ("v_text", "SELECT note::timestamptz AS at FROM t", "reads text as timestamp with time zone"),
            ("v_sample", "SELECT count(*) FROM t TABLESAMPLE system (50)", "takes a sample"),
        ];
        let left = [
            ("l_day", "SELECT at::date AS day, date_trunc('hour', at) AS hour, to_char(at, 'YYYY') AS y, count(*) FROM t GROUP BY 1, 2, 3"),
            ("l_json", "SELECT jsonb_agg(t) AS j, json_build_object('a', 1) AS o, string_agg(note, ',') AS s FROM t"),
            ("l_sure", "SELECT sure(id) AS s, extract(epoch FROM at) AS e, at + interval '1 day' AS n FROM t"),
            ("l_window", "SELECT id, row_number() OVER (ORDER BY at) AS r, id::text AS i FROM t WHERE at < '2026-01-01'"),
        ];
        for (name, query) in never.iter().map(|(name, query, _)| (name, query)).chain(left.iter().map(|(a, b)| (a, b))) {
            db.execute(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
        }
        let program = tending(&db, SKIPPING);
        run(&program, 0).await;
        db.execute("CREATE MATERIALIZED VIEW v_foreign AS SELECT count(*) FROM elsewhere WITH NO DATA").await;
        let plan = program.run(["plan", "--json"]).await.exits(0).json();
        let line = |name: &str| plan.iter().find(|line| line["target"] == format!("public.{name}")).unwrap();
        let foreign = ("v_foreign", "", "public.elsewhere, whose rows are on another server");
        for (name, _, why) in never.into_iter().chain([foreign]) {
            let line = line(name);
            assert_eq!(line["action"], "refresh_view", "{line}");
            assert!(text(&line["reason"]).contains(why), "{why} is not in {line}");
        }
        for (name, _) in left {
            assert_eq!(line(name)["action"], "keep", "{}", line(name));
        }
        let found = program.run(["check"]).await.exits(0).stdout;
        assert!(found.contains("public.v_now is refreshed by each run, in spite of skip_unchanged: now()"), "{found}");
        // What is taken at its word is, as long as it is the same word.
        db.execute("CREATE OR REPLACE FUNCTION sure(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1'").await;
        assert!(would(&program).await.contains(&"refresh_view public.l_sure".into()));
    })
    .await;
}

/// Changes while it is refreshed may be too late for it, and are not forgotten.
#[tokio::test]
async fn a_change_while_the_view_is_refreshed_is_for_the_next_run() {
    on_each_major(async |db| {
        super::beside::gated(&db).await;
        db.execute("CREATE OR REPLACE FUNCTION public.through_the_gate(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
            WHILE NOT EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_catalog.pg_sleep(0.02); END LOOP; RETURN $1; END $$").await;
        let (program, hold) = tending(&db, SKIPPING).holding("refresh.begin");
        // An immutable function sees what was there as its query began: so it is held before that.
        let running = program.start(["run", "views"]);
        hold.reached().await;
        db.execute("INSERT INTO gate DEFAULT VALUES; INSERT INTO t VALUES (3)").await;
        hold.go_on();
        running.wait().await.exits(0);
        assert_eq!(db.count("gated").await, 3);
        let program = tending(&db, SKIPPING);
        changed(&db, &program, &["gated"]).await;
    })
    .await;
}

/// By default every view is refreshed each time.
#[tokio::test]
async fn without_it_nothing_is_left_out() {
    on_each_major(async |db| {
        db.execute(COUNTED).await;
        let program = tending(&db, "views = [\"*\"]");
        for _ in 0..2 {
            assert_eq!(run(&program, 0).await["details"]["views_refreshed"], 1);
        }
    })
    .await;
}
