//! Views on views.

use super::{job, run, tending, text, would};
use crate::support::{Pgtend, on_each_major};

/// Two schemas, a plain view in between, and names that lie against the order.
const CHAIN: &str = "CREATE SCHEMA app;
    CREATE TABLE app.orders (id int PRIMARY KEY, amount int);
    INSERT INTO app.orders SELECT n, n FROM generate_series(1, 10) n;
    CREATE MATERIALIZED VIEW app.z_daily AS SELECT id % 2 AS odd, sum(amount) AS amount FROM app.orders GROUP BY 1;
    CREATE UNIQUE INDEX ON app.z_daily (odd);
    CREATE VIEW between AS SELECT odd, amount * 2 AS twice FROM app.z_daily;
    CREATE MATERIALIZED VIEW a_total AS SELECT sum(twice) AS total FROM between;
    CREATE MATERIALIZED VIEW aside AS SELECT 1 AS one;
    INSERT INTO app.orders VALUES (11, 100);";

#[tokio::test]
async fn a_view_on_a_view_comes_after_it_whatever_they_are_called_and_whatever_stands_between() {
    on_each_major(async |db| {
        db.execute(CHAIN).await;
        for views in [r#"["a_total", "app.z_daily", "aside"]"#, r#"["*"]"#] {
            let program = tending(&db, &format!("views = {views}"));
            let order = ["refresh_view public.aside", "refresh_view app.z_daily", "refresh_view public.a_total"];
            let mut expected = order;
            let mut planned = would(&program).await;
            let place = |line: &str| planned.iter().position(|other| other == line).expect(line);
            assert!(place(order[1]) < place(order[2]), "{planned:?}");
            planned.sort();
            expected.sort_unstable();
            assert_eq!(planned, expected);
        }
        let record = run(&tending(&db, r#"views = ["*"]"#), 0).await;
        assert_eq!(record["details"]["views_refreshed"], 3, "{record}");
        assert_eq!(db.scalar::<i64>("SELECT total::bigint FROM a_total").await, 310);
        let views = &record["details"]["views"];
        assert_eq!(views["app.z_daily"]["how"], "concurrently", "{views}");
        // One row of two has changed: it goes and comes.
        assert_eq!(
            (&views["app.z_daily"]["rows_written"], &views["app.z_daily"]["rows_removed"]),
            (&1.into(), &1.into())
        );
        assert_eq!(views["public.a_total"]["how"], "plainly", "{views}");
        assert_eq!(views["public.a_total"]["rows_written"], 1, "{views}");
        assert!(views["public.a_total"]["seconds"].is_number(), "{views}");
        assert_eq!(views["public.a_total"]["made_from"], serde_json::Value::Null, "nobody asked for it");
    })
    .await;
}

#[tokio::test]
async fn of_all_views_those_that_are_excluded_are_left() {
    on_each_major(async |db| {
        db.execute(CHAIN).await;
        let program = tending(
            &db,
            r#"views = ["*"]
            exclude = ["app.*", "asi?e"]"#,
        );
        assert_eq!(would(&program).await, ["refresh_view public.a_total"]);
        let found = program.run(["check"]).await.exits(0).stdout;
        assert!(found.contains("app.z_daily") && !found.contains("aside"), "what a_total is made from: {found}");
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["views_refreshed"], 1, "{record}");
    })
    .await;
}

#[tokio::test]
async fn what_is_made_from_a_view_that_fails_is_left_and_named_and_the_rest_is_done() {
    on_each_major(async |db| {
        db.execute(CHAIN).await;
        db.execute("UPDATE app.orders SET amount = NULL WHERE id = 1; CREATE FUNCTION app.fails(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF $1 IS NULL THEN RAISE 'no amount'; END IF; RETURN $1; END $$;
            CREATE MATERIALIZED VIEW app.broken AS SELECT sum(app.fails(amount)) AS n FROM app.orders WITH NO DATA;
            CREATE VIEW on_broken AS SELECT n FROM app.broken;
            CREATE MATERIALIZED VIEW above AS SELECT n FROM on_broken WITH NO DATA;
            CREATE MATERIALIZED VIEW summit AS SELECT n FROM above WITH NO DATA;").await;
        let record = run(&tending(&db, r#"views = ["*"]"#), 1).await;
        assert_eq!(record["outcome"], "partial", "{record}");
        assert_eq!(record["details"]["views_refreshed"], 3, "{record}");
        let failures = record["details"]["failures"].as_array().unwrap();
        let targets: Vec<_> = failures.iter().map(|failure| text(&failure["target"])).collect();
        assert_eq!(targets, ["app.broken", "public.above", "public.summit"]);
        assert!(text(&failures[0]["error"]).contains("no amount (SQLSTATE P0001"), "{failures:?}");
        assert!(text(&failures[1]["error"]).contains("made from app.broken, which was not refreshed"), "{failures:?}");
        assert!(text(&failures[2]["error"]).contains("which was not refreshed"), "{failures:?}");
    })
    .await;
}

/// A view that waits for its lock goes to the end of the queue, and what is made from it must not overtake it.
#[tokio::test]
async fn what_is_made_from_a_locked_view_waits_for_it() {
    on_each_major(async |db| {
        db.execute(CHAIN).await;
        let mut holder = db.client().await;
        let held = holder.transaction().await.unwrap();
        // CREATE INDEX holds it as a long one would; no reader minds.
        held.batch_execute("CREATE INDEX ON app.z_daily (amount)").await.unwrap();
        let program = tending(&db, r#"views = ["*"]"#);
        let running = program.start(["run", "views", "--json"]);
        running.wait_for_log("not yet: it comes after app.z_daily").await;
        held.commit().await.unwrap();
        let record = running.wait().await.exits(0).json().remove(0);
        assert_eq!(record["details"]["views_refreshed"], 3, "{record}");
        assert_eq!(db.scalar::<i64>("SELECT total::bigint FROM a_total").await, 310);
        let timeouts = &record["details"]["tables"];
        assert!(timeouts["app.z_daily"]["lock_timeouts"].as_i64() >= Some(1), "{record}");
        assert_eq!(timeouts["public.a_total"], serde_json::Value::Null, "it waited for no lock: {record}");
    })
    .await;
}

#[tokio::test]
async fn a_view_that_is_locked_to_the_end_is_named_with_who_holds_it() {
    on_each_major(async |db| {
        db.execute(CHAIN).await;
        let mut holder = db.client().await;
        let held = holder.transaction().await.unwrap();
        held.batch_execute("CREATE INDEX ON app.z_daily (amount)").await.unwrap();
        let pid: i32 = held.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let program =
            Pgtend::tending(&db, &job(r#"views = ["*"]"#).replace("[jobs", "[jobs.views]\ntimeout = \"2s\"\n[jobs"));
        let record = run(&program, 1).await;
        assert_eq!(record["outcome"], "partial", "{record}");
        let failures = record["details"]["failures"].as_array().unwrap();
        assert_eq!(failures.len(), 2, "{record}");
        let error = |target: &str| text(&failures.iter().find(|f| f["target"] == target).unwrap()["error"]).to_owned();
        let locked = error("app.z_daily");
        assert!(locked.contains("lock was not had before") && locked.contains(&format!("pid {pid}")), "{locked}");
        assert!(error("public.a_total").contains("it comes after app.z_daily"), "{record}");
    })
    .await;
}
