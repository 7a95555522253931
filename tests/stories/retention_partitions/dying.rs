//! The real program, killed half-way: whatever the instant, either the old state is there or the new, and the next run
//! finishes the work.

use serde_json::Value;

use super::*;
use crate::support::{Hold, Output, Pgtend, on_each_major, wait_until};

/// Months of 2020, a row in each, and the current one with five.
pub fn past() -> String {
    let months: String = (1..=3)
        .map(|m| {
            format!(
                "CREATE TABLE events_{m} PARTITION OF events FOR VALUES FROM ('2020-{m:02}-01Z') TO ('2020-{:02}-01Z');
                 INSERT INTO events (at) VALUES ('2020-{m:02}-02Z'); COMMENT ON TABLE events_{m} IS 'month {m}';",
                m + 1
            )
        })
        .collect();
    format!(
        "DROP TABLE IF EXISTS events; CREATE TABLE events (id serial, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);{months}
         SET TimeZone = 'UTC'; DO $$ BEGIN EXECUTE format('CREATE TABLE events_now PARTITION OF events FOR VALUES FROM (%L) TO (%L)', date_trunc('day', now()) - interval '9 days', date_trunc('day', now()) + interval '9 days'); END $$;
         INSERT INTO events (at) SELECT now() FROM generate_series(1, 5);"
    )
}

pub fn tending(db: &Database, action: &str) -> Pgtend {
    Pgtend::tending(
        db,
        &format!(
            "[jobs.retention]\ntimeout = \"20s\"\n[jobs.retention.retention]\ntables = [{{ table = \"events\", keep = \"1 year\", max_partitions = 1{action} }}]\n"
        ),
    )
}

async fn run(program: &Pgtend) -> (Output, Value) {
    let output = program.run(["run", "retention", "--json"]).await;
    let record = output.json().pop().unwrap_or_else(|| panic!("{output:?}"));
    (output, record)
}

/// Runs the one job of the config, and kills the program where it says that it has come to this point.
pub async fn killed(db: &Database, program: Pgtend, point: &str) -> Pgtend {
    let (program, hold): (Pgtend, Hold) = program.holding(point);
    let process = program.start(["run", "retention"]);
    hold.reached().await;
    // A kill -9.
    drop(process);
    wait_until("the server to see it", async || {
        db.count("pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgtend%'").await == 0
    })
    .await;
    program.env("PGTEND_TESTPOINTS", "")
}

/// The mark of a partition says that its detaching is ours.
pub async fn said_to_be_ours(db: &Database, partition: &str) {
    wait_until("the mark to say that the detaching is ours", async || {
        comment(db, partition).await.is_some_and(|comment| comment.contains("\"begun\":true"))
    })
    .await;
}

/// Points of a run that detaches concurrently, and of one that does it under a lock.
const POINTS: [(&str, &str); 6] = [
    ("", "retention.marked"),
    ("", "retention.detached"),
    ("", "retention.finish"),
    ("CREATE TABLE events_rest PARTITION OF events DEFAULT;", "retention.detach"),
    ("CREATE TABLE events_rest PARTITION OF events DEFAULT;", "retention.detached"),
    ("CREATE TABLE events_rest PARTITION OF events DEFAULT;", "retention.finish"),
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_drops_the_next_run_drops_it_once_and_nothing_else() {
    on_each_major(async |db| {
        for (default, point) in POINTS.into_iter().chain([("", "retention.drop")]) {
            db.execute(&format!("{}{default}", past())).await;
            let program = killed(&db, tending(&db, ""), point).await;
            // The rows are in the table, or in the table that was detached; in neither case are they lost yet.
            let out_of_sight =
                if attached(&db).await.contains(&"events_1".to_owned()) { 0 } else { db.count("events_1").await };
            assert_eq!(db.count("events").await + out_of_sight, 8, "{point}");
            let (output, record) = run(&program).await;
            output.exits(0);
            assert_eq!(record["details"]["partitions_dropped"], 1, "{point}: {record}");
            assert_eq!((db.count("events").await, tables(&db, "events\\_1").await), (7, vec![]), "{point}");
            assert_eq!(comment(&db, "events_2").await.unwrap(), "month 2");
            for _ in 0..2 {
                run(&program).await.0.exits(0);
            }
            let (_, record) = run(&program).await;
            assert_eq!(record["details"].get("partitions_dropped"), None, "{point}: {record}");
            assert_eq!(db.count("events").await, 5, "{point}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_archives_every_row_is_kept_and_so_are_the_comments() {
    on_each_major(async |db| {
        for (default, point) in POINTS {
            db.execute(&format!("DROP SCHEMA IF EXISTS old CASCADE; CREATE SCHEMA old; {}{default}", past())).await;
            let program = killed(&db, tending(&db, ", action = \"archive\", to = \"old\""), point).await;
            for _ in 0..3 {
                run(&program).await.0.exits(0);
            }
            assert_eq!(tables(&db, "events\\__").await, ["old.events_1", "old.events_2", "old.events_3"], "{point}");
            for m in 1..=3 {
                assert_eq!(db.count(&format!("old.events_{m}")).await, 1, "{point}");
                assert!(
                    comment(&db, &format!("old.events_{m}")).await.unwrap().starts_with(&format!(
                        "month {m}\n\nWas a partition of public.events FOR VALUES FROM ('2020-0{m}-01 "
                    )),
                    "{point}"
                );
            }
            assert_eq!(db.count("events").await, 5);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_daemon_left_is_finished_only_if_it_would_be_begun_today() {
    on_each_major(async |db| {
        db.execute(&past()).await;
        let program = killed(&db, tending(&db, ""), "retention.detached").await;
        assert_eq!(tables(&db, "events\\_1").await, ["public.events_1"]);
        // The policy says otherwise by now; somebody wants it held; somebody has taken it back.
        program.configure_tending(&db, "[jobs.retention.retention]\ntables = [{ table = \"events\", keep = \"90 years\" }]");
        let output = program.run(["plan", "retention"]).await.exits(0);
        assert!(output.stdout.contains("public.events_1") && output.stdout.contains("after the cutoff; to take it back: ALTER TABLE"), "{output:?}");
        run(&program).await.0.exits(0);
        program.configure_tending(&db, "[jobs.retention.retention]\ntables = [{ table = \"events\", keep = \"1 year\", action = \"detach\", max_partitions = 1 }]");
        run(&program).await.0.exits(0);
        assert_eq!(tables(&db, "events\\__").await, ["public.events_1", "public.events_2", "public.events_3 attached"]);
        program.configure_tending(&db, "[jobs.retention.retention]\ntables = [{ table = \"events\", keep = \"1 year\" }]");
        db.execute("INSERT INTO pgtend.hold VALUES ('events_1', 'audit')").await;
        run(&program).await.0.exits(0);
        assert_eq!(tables(&db, "events\\__").await, ["public.events_1", "public.events_2"], "the third went, being attached");
        let attach: String = db.scalar("SELECT 'ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES FROM (''2020-01-01Z'') TO (''2020-02-01Z'')'").await;
        db.execute(&format!("TRUNCATE pgtend.hold; {attach}")).await;
        program.configure_tending(&db, "[jobs.retention.retention]\ntables = [{ table = \"events\", keep = \"90 years\" }]");
        run(&program).await.0.exits(0);
        assert_eq!(comment(&db, "events_1").await.unwrap(), "month 1", "it stays, and has its comment back");
        assert_eq!(db.count("events").await, 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_pending_the_next_run_finishes_it() {
    on_each_major(async |db| {
        db.execute(&past()).await;
        let (program, hold) = tending(&db, "").holding("retention.marked");
        let process = program.start(["run", "retention"]);
        hold.reached().await;
        let reader = db.client().await;
        reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM events").await.unwrap();
        hold.go_on();
        said_to_be_ours(&db, "events_1").await;
        drop(process);
        wait_until("the server to see it", async || db.backends("pgtend%").await.is_empty()).await;
        assert_eq!((pending(&db).await, db.count("events").await), (1, 7));
        let program = program.env("PGTEND_TESTPOINTS", "");
        let output = program.run(["plan", "retention"]).await.exits(0);
        assert!(output.stdout.contains("its detaching was begun by an earlier run and not finished"), "{output:?}");
        reader.batch_execute("COMMIT").await.unwrap();
        let (output, record) = run(&program).await;
        output.exits(0);
        assert_eq!(record["details"]["partitions_dropped"], 1);
        assert_eq!((pending(&db).await, db.count("events").await, tables(&db, "events\\_1").await.len()), (0, 7, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_gets_newer_rows_after_its_detach_is_not_dropped() {
    on_each_major(async |db| {
        db.execute(&format!("{} ALTER TABLE events ADD made timestamptz; UPDATE events SET made = at;", past())).await;
        let (program, hold) = tending(&db, ", newest = \"made\"").holding("retention.detached");
        let process = program.start(["run", "retention", "--json"]);
        hold.reached().await;
        // It goes on writing to the partition by its name.
        db.execute("INSERT INTO events_1 (at, made) VALUES ('2020-01-03Z', now())").await;
        hold.go_on();
        let output = process.wait().await.exits(1);
        let error = output.json()[0]["details"]["failures"][0]["error"].as_str().unwrap().to_owned();
        assert!(
            error.contains("it is detached, and not dropped") && error.contains("its newest \"made\" is"),
            "{error}"
        );
        assert_eq!(db.count("events_1").await, 2);
        // The error says how to take it back.
        let (_, attach) = error.split_once("to take it back: ").unwrap();
        let attach = attach.split("): its newest").next().unwrap();
        db.execute(attach).await;
        assert_eq!(db.count("events").await, 9);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_locked_before_any_partition() {
    on_each_major(async |db| {
        db.execute(&format!("{} CREATE TABLE events_rest PARTITION OF events DEFAULT;", past())).await;
        let (program, hold) = tending(&db, "").holding("retention.locked");
        let process = program.start(["run", "retention"]);
        hold.reached().await;
        // A reader that has the partition and wants the table would otherwise be in our way, and we in its.
        let locked = "SELECT relation::regclass::text FROM pg_locks JOIN pg_stat_activity a USING (pid) WHERE datname = current_database() AND application_name = 'pgtend/retention' AND mode = 'AccessExclusiveLock' AND locktype = 'relation'";
        assert_eq!(db.column::<String>(locked).await, ["events"]);
        hold.go_on();
        process.wait().await.exits(0);
        assert_eq!(db.count("events").await, 7);
    })
    .await;
}

/// Where no key points at it there are no rows to be looked for, and no reason to keep anybody waiting for that long.
#[tokio::test(flavor = "multi_thread")]
async fn a_detach_that_looks_for_no_rows_has_no_more_time_than_any_change_of_the_schema() {
    on_each_major(async |db| {
        db.execute(&format!("{} CREATE TABLE events_rest PARTITION OF events DEFAULT;", past())).await;
        let (program, hold) = tending(&db, ", detach_timeout = '5m'").holding("retention.locked");
        let process = program.start(["run", "retention", "--json"]);
        hold.reached().await;
        // It stands still here, and the server ends its session, which it is told to do after twice that time.
        let locks =
            "SELECT count(*) FROM pg_locks WHERE relation = 'events'::regclass AND mode = 'AccessExclusiveLock'";
        process.wait_until("the table to be free", async || db.scalar::<i64>(locks).await == 0).await;
        hold.go_on();
        process.wait().await.exits(0);
        assert_eq!(db.count("events").await, 7);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_at_once_do_it_once() {
    on_each_major(async |db| {
        db.execute(&past()).await;
        let (program, hold) = tending(&db, "").holding("retention.marked");
        let one = program.start(["run", "retention"]);
        hold.reached().await;
        let (two, three) = (program.start(["run", "retention"]), program.start(["run", "retention"]));
        let (two, three) = tokio::join!(two.wait(), three.wait());
        two.exits(3);
        three.exits(3);
        hold.go_on();
        one.wait().await.exits(0);
        assert_eq!(db.count("events").await, 7);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_as_of_another_time_drops_as_of_that_time() {
    on_each_major(async |db| {
        db.execute(&past()).await;
        let program = tending(&db, "");
        let at = async |time: &str| program.run(["plan", "retention", "--at", time, "--json"]).await.exits(0).json();
        let then = at("2021-02-28T23:59:59Z").await;
        assert_eq!((&then[0]["action"], &then[0]["target"]), (&"drop_partition".into(), &"public.events_1".into()));
        assert!(
            then.iter().any(|step| step["target"] == "public.events_2"
                && step["reason"].as_str().unwrap().contains("goes on 2021-03-01")),
            "{then:#?}"
        );
        let before = at("2021-01-31T23:59:59Z").await;
        assert!(before.iter().all(|step| step["action"] == "keep"), "{before:#?}");
    })
    .await;
}

/// What pgtend keeps of an immutable table.
#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_table_leaves_an_anchor() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{} ALTER TABLE events ADD hash bytea, ADD note text; UPDATE events SET hash = '\\x0a0b', note = 'x';
             INSERT INTO events (at, hash) VALUES ('2020-01-30Z', '\\xff'); TRUNCATE events_now;
             CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
             CREATE TRIGGER no BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION no();",
            past()
        ))
        .await;
        let keys = ", immutable = \"drop-after-export\", export = \"offsite\"";
        let program = tending(&db, keys);
        let config = std::fs::read_to_string(program.config()).unwrap();
        program.configure(&format!("{config}\n[stores.offsite.directory]\npath = \"store\"\n"));
        let output = program.run(["plan", "retention"]).await.exits(0);
        assert!(output.stdout.contains("export_partition  public.events_1"), "{output:?}");
        let program = killed(&db, program, "retention.drop").await;
        assert_eq!(db.count("pgtend.anchor").await, 0);
        let (output, record) = run(&program).await;
        output.exits(0);
        assert_eq!(record["details"]["partitions_dropped"], 1);
        let anchor: Value = db.scalar("SELECT to_jsonb(a) - 'id' - 'dropped_at' FROM pgtend.anchor a").await;
        assert_eq!(
            anchor,
            serde_json::json!({
                "relation": "public.events", "partition": "public.events_1", "rows": 2,
                "bounds": "FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00')",
                "last": { "at": "2020-01-30T00:00:00+00:00", "id": 9, "hash": "\\xff" },
            })
        );
        assert_eq!(tables(&db, "events\\_1").await.len(), 0);
    })
    .await;
}
