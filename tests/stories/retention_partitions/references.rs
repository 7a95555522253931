//! Tables that refer to each other: in which order they let go, and what keeps a window.

use pgtend::run::Counted;

use super::*;
use crate::support::{on_each_major, wait_until};

/// Runs and their results by month, as `lukhas` has them: a result has the time of its run.
const PAIR: &str = "
    CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1);
    CREATE TABLE runs (id int, at timestamptz, by_user int REFERENCES users, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE results (id int, run int, at timestamptz, PRIMARY KEY (id, at), FOREIGN KEY (run, at) REFERENCES runs ON DELETE CASCADE) PARTITION BY RANGE (at);
    DO $$ BEGIN FOR m IN 1..6 LOOP
        EXECUTE format('CREATE TABLE runs_%s PARTITION OF runs FOR VALUES FROM (%L) TO (%L)', m, make_timestamptz(2026, m, 1, 0, 0, 0, 'UTC'), make_timestamptz(2026, m + 1, 1, 0, 0, 0, 'UTC'));
        EXECUTE format('CREATE TABLE results_%s PARTITION OF results FOR VALUES FROM (%L) TO (%L)', m, make_timestamptz(2026, m, 1, 0, 0, 0, 'UTC'), make_timestamptz(2026, m + 1, 1, 0, 0, 0, 'UTC'));
    END LOOP; END $$;
    INSERT INTO runs SELECT n, make_timestamptz(2026, m, 2, 0, 0, 0, 'UTC'), 1 FROM generate_series(1, 6) m, generate_series(1, 10) n;
    INSERT INTO results SELECT id, id, at FROM runs;";

/// Whether the key is still there: CASCADE would have taken it.
async fn is_guarded(db: &Database) -> bool {
    let client = db.client().await;
    let orphan = client.batch_execute("INSERT INTO results VALUES (99, 99, '2026-06-20Z')").await;
    orphan.is_err_and(|error| error.code().unwrap().code() == "23503")
}

async fn counts(db: &Database) -> (i64, i64) {
    (db.count("runs").await, db.count("results").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_a_year_before_their_runs_and_then_the_runs() {
    on_each_major(async |db| {
        db.execute(PAIR).await;
        let tables_ = "{ table = 'runs', keep = '4 months' }, { table = 'results', keep = '2 months' }";
        // The first month of both, and two more of the results.
        assert_eq!(
            planned(&db, tables_).await,
            [
                "drop_partition public.results_1",
                "drop_partition public.runs_1",
                "drop_partition public.results_2",
                "drop_partition public.results_3"
            ]
        );
        let report = succeed(&db, tables_).await;
        assert_eq!(report.counts[&(Counted::PartitionsDropped, "public.runs".into())], 1);
        assert_eq!(report.counts[&(Counted::PartitionsDropped, "public.results".into())], 3);
        assert_eq!(counts(&db).await, (50, 30));
        assert!(is_guarded(&db).await);
        assert_eq!(planned(&db, tables_).await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_of_a_window_go_in_one_run_and_detached_ones_are_in_nobodys_way() {
    on_each_major(async |db| {
        db.execute(&format!("{PAIR} CREATE SCHEMA old;")).await;
        for (action, keep) in [("drop", 4), ("detach", 3), ("archive', to = 'old", 2)] {
            let tables_ = format!("{{ table = 'runs', keep = '{keep} months', action = '{action}' }}, {{ table = 'results', keep = '{keep} months', action = '{action}' }}");
            succeed(&db, &tables_).await;
        }
        assert_eq!(tables(&db, "r%\\_%").await, ["old.results_3", "old.runs_3", "public.results_2", "public.results_4 attached", "public.results_5 attached", "public.results_6 attached", "public.runs_2", "public.runs_4 attached", "public.runs_5 attached", "public.runs_6 attached"]);
        // What lives on has no keys of its own any more, so that it holds up nobody.
        assert_eq!(db.count("pg_constraint WHERE contype = 'f' AND conrelid IN ('results_2'::regclass, 'old.results_3'::regclass, 'runs_2'::regclass)").await, 0);
        assert_eq!((db.count("results_2").await, db.count("old.results_3").await, db.count("runs_2").await), (10, 10, 10));
        assert_eq!(counts(&db).await, (30, 30));
        assert!(is_guarded(&db).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_still_refer_keep_their_window_alone() {
    on_each_major(async |db| {
        db.execute(PAIR).await;
        db.execute("DELETE FROM results WHERE at >= '2026-02-01' AND at < '2026-03-01' AND id < 10 OR at >= '2026-03-01' AND at < '2026-04-01'").await;
        let tables_ = "{ table = 'runs', keep = '2 months' }";
        let failed = fail(&db, tables_).await;
        assert_eq!(failed.len(), 2, "{failed:#?}");
        assert!(failed[0].starts_with("public.runs_1: ends 2026-02-01") && failed[0].contains("10 rows of public.results refer to it (constraint "), "{failed:#?}");
        assert!(failed[1].starts_with("public.runs_2: ends 2026-03-01") && failed[1].contains("1 row of public.results refers to it"), "{failed:#?}");
        assert_eq!(tables(&db, "runs\\_%").await.len(), 5, "the month that nothing refers to is gone");
        assert_eq!(counts(&db).await, (50, 41));
        assert!(is_guarded(&db).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_after_the_plan_are_seen_and_so_are_those_that_come_at_the_last_moment() {
    on_each_major(async |db| {
        db.execute(PAIR).await;
        db.execute("DELETE FROM results WHERE at < '2026-02-01'").await;
        let job = job(&db, "{ table = 'runs', keep = '4 months' }");
        let plan = job.kind.plan(&job.cx).await.unwrap();
        assert_eq!(job.kind.step(&plan.actions[0]).action, "drop_partition");
        db.execute("INSERT INTO results SELECT id, id, at FROM runs_1 WHERE id < 3").await;
        let error = job.kind.apply(&job.cx, &plan.actions[0]).await.unwrap_err();
        assert!(format!("{error:#}").contains("2 rows of public.results refer to it"), "{error:#}");
        assert_eq!(counts(&db).await, (60, 52));
        // A writer that has not committed yet: nobody sees its row, and DETACH waits for it and gives way.
        db.execute("DELETE FROM results WHERE at < '2026-02-01'").await;
        let writer = db.client().await;
        writer.batch_execute("BEGIN; INSERT INTO results SELECT id, id, at FROM runs_1 WHERE id < 3").await.unwrap();
        let Applied::Locked(by) = job.kind.apply(&job.cx, &plan.actions[0]).await.unwrap() else {
            panic!("not locked")
        };
        assert!(by.contains(&pid(&writer).await), "{by}");
        writer.batch_execute("COMMIT").await.unwrap();
        assert!(job.kind.apply(&job.cx, &plan.actions[0]).await.is_err());
        assert_eq!(counts(&db).await, (60, 52));
        assert!(is_guarded(&db).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_others_of_its_window_goes_after_them() {
    on_each_major(async |db| {
        db.execute(PAIR).await;
        let reader = db.client().await;
        // Somebody reads the results: their detaching stays pending, and so the runs cannot go.
        reader.batch_execute("BEGIN; SELECT FROM results_1").await.unwrap();
        let both = "{ table = 'runs', keep = '4 months' }, { table = 'results', keep = '4 months' }";
        let job = job(&db, both);
        let run = async { job.run().await };
        let go_on = async {
            wait_until("some tries", async || {
                job.cx
                    .report
                    .snapshot()
                    .counts
                    .iter()
                    .any(|((what, table), n)| *what == Counted::LockTimeouts && table == "public.runs" && *n > 1)
            })
            .await;
            assert_eq!((db.count("runs").await, db.count("results_1").await, pending(&db).await), (60, 10, 1));
            reader.batch_execute("COMMIT").await.unwrap();
        };
        let ((ended, report), ()) = tokio::join!(run, go_on);
        assert_eq!((ended.outcome(), report.total(Counted::PartitionsDropped)), (Outcome::Succeeded, 2), "{report:#?}");
        assert_eq!(counts(&db).await, (50, 50));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_for_references_that_takes_too_long_fails_once_and_names_the_index() {
    on_each_major(async |db| {

        db.execute(
            "CREATE TABLE runs (id int, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE runs_1 PARTITION OF runs FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
             CREATE TABLE runs_6 PARTITION OF runs FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z');
             INSERT INTO runs SELECT n, '2026-06-02Z' FROM generate_series(1, 1000000) n; INSERT INTO runs VALUES (0, '2026-01-02Z');
             CREATE TABLE results (run int, at timestamptz);
             INSERT INTO results SELECT id, at FROM runs_6;
             ALTER TABLE results ADD FOREIGN KEY (run, at) REFERENCES runs;
             ANALYZE runs_1; ANALYZE results;",
        )
        .await;
        let failed = fail(&db, "{ table = 'runs', keep = '2 months', detach_timeout = '50ms' }").await;
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains("detach_timeout, 50 ms") && failed[0].contains("CREATE INDEX ON \"public\".\"results\" (\"run\", \"at\")"), "{failed:?}");
        assert_eq!(db.count("pg_inherits WHERE inhparent = 'runs'::regclass").await, 2);
        assert_eq!(db.count("runs").await, 1_000_001);
        succeed(&db, "{ table = 'runs', keep = '2 months', detach_timeout = '1m' }").await;
        assert_eq!(db.count("runs").await, 1_000_000);
    })
    .await;
}
