//! lukhas: test runs by month, and their results, which point at them.

use super::{Job, NO_PARTITION, changed, fingerprint, mid, month, partitions, shipped, sqlstate};
use crate::support::{Database, on_each_major};

const NAME: &str = "lukhas-partitions";

/// The months from two before the current one to so many after it.
fn load(db: &Database, months_ahead: &str) -> Job {
    db.load("lukhas.sql", &[("rows", "100"), ("months_ahead", months_ahead)]);
    Job::new(db, NAME, &shipped("lukhas.toml"))
}

/// A run of such a time and a result of it.
fn insert(at: &str) -> String {
    format!(
        "WITH run AS (INSERT INTO test_runs (team_id, total_tests, created_at)
            SELECT id, 1, {at} FROM teams LIMIT 1 RETURNING id, created_at)
         INSERT INTO test_results (test_run_id, test_name, status, created_at) SELECT id, 'x', 'passed', created_at FROM run"
    )
}

#[tokio::test]
async fn inserts_of_a_year_that_failed_before_a_run_succeed_after_it() {
    on_each_major(async |db| {
        let job = load(&db, "0");
        let (runs, results) = (fingerprint(&db, "test_runs").await, fingerprint(&db, "test_results").await);
        let old = (partitions(&db, "test_runs").await, partitions(&db, "test_results").await);
        for ahead in 1..=12 {
            assert_eq!(sqlstate(&db, &insert(&mid(ahead))).await, NO_PARTITION, "{ahead} months ahead");
        }
        job.program.run(["check"]).await.exits(0);
        let creates = job.creates().await;
        assert_eq!(creates[0], format!("public.test_runs_{}", month(&db, 1).await), "what is pointed at comes first");
        assert!(creates[12..].iter().all(|name| name.starts_with("public.test_results_2")), "{creates:?}");

        job.makes(24).await;
        for ahead in 0..=12 {
            assert_eq!(sqlstate(&db, &insert(&mid(ahead))).await, "", "{ahead} months ahead");
        }
        assert_eq!(sqlstate(&db, &insert(&mid(13))).await, NO_PARTITION, "what nobody asked for");
        db.execute("DELETE FROM test_runs WHERE total_tests = 1").await;
        let kept = (fingerprint(&db, "test_runs").await, fingerprint(&db, "test_results").await);
        assert_eq!(kept, (runs, results), "no row was touched, and results go with their runs as before");
        let all = (partitions(&db, "test_runs").await, partitions(&db, "test_results").await);
        assert!(old.0.iter().all(|name| all.0.contains(name)) && old.1.iter().all(|name| all.1.contains(name)));
    })
    .await;
}

#[tokio::test]
async fn in_a_new_month_too_a_result_belongs_to_the_run_of_its_very_time() {
    on_each_major(async |db| {
        let job = load(&db, "0");
        job.makes(24).await;
        let at = mid(3);
        let result = |offset| {
            format!(
                "INSERT INTO test_runs (team_id, total_tests, created_at, lane) SELECT id, 1, {at}, 'new' FROM teams LIMIT 1;
                 INSERT INTO test_results (test_run_id, test_name, status, created_at)
                 SELECT id, 'x', 'passed', created_at + interval '{offset}' FROM test_runs WHERE lane = 'new'"
            )
        };
        assert_eq!(sqlstate(&db, &result("1 second")).await, "23503");
        assert_eq!(sqlstate(&db, &result("0")).await, "");
    })
    .await;
}

#[tokio::test]
async fn months_before_the_current_one_are_not_made() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "100"), ("months_back", "0"), ("months_ahead", "0")]);
        let job = Job::new(&db, NAME, &shipped("lukhas.toml"));
        job.makes(24).await;
        assert_eq!(sqlstate(&db, &insert(&mid(-1))).await, NO_PARTITION);
    })
    .await;
}

#[tokio::test]
async fn partitions_are_known_by_their_bounds_and_a_taken_name_is_no_partition() {
    on_each_major(async |db| {
        let job = load(&db, "0");
        let (one, two) = (month(&db, 1).await, month(&db, 2).await);
        db.execute(&format!(
            "CREATE TABLE test_runs_{one} (note text); CREATE VIEW test_results_{one} AS SELECT 1 AS n;
             CREATE TABLE \"test-runs-2020\" (); CREATE TABLE test_runs_1 (); CREATE TABLE test_runs_{two}_backup ();
             CREATE SCHEMA attic;
             CREATE TABLE attic.test_runs_old_2019 PARTITION OF test_runs FOR VALUES FROM ('{}-01Z') TO ('{}-01Z')",
            two.replace('_', "-"),
            month(&db, 3).await.replace('_', "-"),
        ))
        .await;
        let creates = job.creates().await;
        assert!(!creates.contains(&format!("public.test_runs_{one}")), "{creates:?}");
        assert!(!creates.contains(&format!("public.test_runs_{two}")), "{creates:?}");
        // Twelve of each, but for the month that the attic holds.
        job.makes(23).await;
        for ahead in 0..=12 {
            assert_eq!(sqlstate(&db, &insert(&mid(ahead))).await, "", "{ahead} months ahead");
        }
        assert_eq!(db.count("attic.test_runs_old_2019").await, 1);
        assert_eq!(db.count(&format!("test_runs_{one}")).await, 0);
    })
    .await;
}

#[tokio::test]
async fn twenty_months_ahead_skip_none() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "100"), ("months_ahead", "0")]);
        let job = Job::new(&db, NAME, &changed("lukhas.toml", "ahead = 12", "ahead = 20"));
        job.makes(40).await;
        for ahead in 0..=20 {
            assert_eq!(sqlstate(&db, &insert(&mid(ahead))).await, "", "{ahead} months ahead");
        }
    })
    .await;
}

#[tokio::test]
async fn a_missed_month_is_filled_and_so_is_the_current_one() {
    on_each_major(async |db| {
        let job = load(&db, "4");
        let (now, two) = (month(&db, 0).await, month(&db, 2).await);
        for month in [&now, &two] {
            db.execute(&format!(
                "DROP TABLE test_results_{month}; ALTER TABLE test_runs DETACH PARTITION test_runs_{month}; DROP TABLE test_runs_{month}"
            ))
            .await;
        }
        assert_eq!(sqlstate(&db, &insert("now()")).await, NO_PARTITION);
        let found = job.check().await;
        assert!(found.contains("public.test_runs has no partition for now: inserts fail"), "{found}");
        job.makes(2 * (2 + 8)).await;
        for ahead in 0..=12 {
            assert_eq!(sqlstate(&db, &insert(&mid(ahead))).await, "", "{ahead} months ahead");
        }
    })
    .await;
}

#[tokio::test]
async fn a_default_partition_that_results_point_into_is_left_alone_and_the_order_that_is_named_works() {
    on_each_major(async |db| {
        let job = load(&db, "0");
        db.execute("CREATE TABLE test_runs_rest PARTITION OF test_runs DEFAULT; CREATE TABLE test_results_rest PARTITION OF test_results DEFAULT").await;
        db.execute(&insert(&mid(1))).await;
        db.execute(&insert(&mid(1))).await;
        let next = month(&db, 1).await;
        let said = job.fails().await;
        assert!(said.contains(&format!("public.test_runs_{next}")), "{said}");
        assert!(said.contains("2 rows of its period"), "{said}");
        assert!(said.contains("foreign keys point at them from public.test_results"), "{said}");
        assert!(said.contains("insert these, then the referring rows"), "{said}");
        // At results nothing points: theirs have gone to their month.
        assert_eq!((db.count("test_runs_rest").await, db.count("test_results").await), (2, db.count("test_runs").await * 5 - 8));
        let made = partitions(&db, "test_runs").await;
        assert_eq!(made.len(), 3 + 11 + 1, "{made:?}");

        let bounds = format!("FROM ('{0}-01Z') TO ('{1}-01Z')", next.replace('_', "-"), month(&db, 2).await.replace('_', "-"));
        db.execute(&format!(
            "BEGIN; CREATE TEMPORARY TABLE r ON COMMIT DROP AS SELECT * FROM test_results WHERE created_at >= {at};
             CREATE TEMPORARY TABLE t ON COMMIT DROP AS SELECT * FROM test_runs WHERE created_at >= {at};
             DELETE FROM test_results WHERE created_at >= {at}; DELETE FROM test_runs WHERE created_at >= {at};
             CREATE TABLE test_runs_{next} PARTITION OF test_runs FOR VALUES {bounds};
             INSERT INTO test_runs SELECT * FROM t; INSERT INTO test_results SELECT * FROM r; COMMIT",
            at = mid(1),
        ))
        .await;
        job.makes(0).await;
        assert_eq!((db.count("test_runs_rest").await, db.count("test_results_rest").await), (0, 0));
        assert_eq!((db.count(&format!("test_runs_{next}")).await, db.count(&format!("test_results_{next}")).await), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn bounds_of_another_zone_are_not_mixed_with_and_once_it_is_named_they_are_continued() {
    on_each_major(async |db| {
        for zone in ["Europe/Berlin", "America/New_York"] {
            db.load("lukhas.sql", &[("rows", "20"), ("months_ahead", "0")]);
            let (from, to) = (month(&db, 0).await, month(&db, 1).await);
            db.execute(&format!(
                "SET timezone = '{zone}'; TRUNCATE test_runs, test_results;
                 DO $$ DECLARE p regclass; BEGIN
                   FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'test_results'::regclass LOOP EXECUTE 'DROP TABLE ' || p; END LOOP;
                   FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'test_runs'::regclass LOOP
                     EXECUTE format('ALTER TABLE test_runs DETACH PARTITION %s', p); EXECUTE 'DROP TABLE ' || p; END LOOP;
                 END $$;
                 CREATE TABLE test_runs_{from} PARTITION OF test_runs FOR VALUES FROM ('{0}-01') TO ('{1}-01');
                 CREATE TABLE test_results_{from} PARTITION OF test_results FOR VALUES FROM ('{0}-01') TO ('{1}-01');",
                from.replace('_', "-"),
                to.replace('_', "-")
            ))
            .await;
            let job = Job::new(&db, NAME, &shipped("lukhas.toml"));
            let said = job.fails().await;
            assert!(said.contains("begin at midnight of UTC") && said.contains("zone UTC"), "{said}");
            assert!(said.contains("set timezone to the zone that they were made in"), "{said}");
            assert_eq!(partitions(&db, "test_runs").await.len(), 1);

            let zoned = changed("lukhas.toml", "ahead = 12 }", &format!("ahead = 12, timezone = \"{zone}\" }}"));
            let job = Job::new(&db, NAME, &zoned);
            job.makes(24).await;
            let gaps = "SELECT count(*) FROM generate_series(now(), now() + interval '12 months', '1 hour') at
                WHERE NOT EXISTS (SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid,
                    regexp_matches(pg_get_expr(relpartbound, c.oid), '''(.*)''.*''(.*)''') b
                    WHERE inhparent = 'test_runs'::regclass AND b[1]::timestamptz <= at AND at < b[2]::timestamptz)";
            assert_eq!(db.scalar::<i64>(gaps).await, 0, "{zone}");
            db.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA pgtend CASCADE").await;
        }
    })
    .await;
}
