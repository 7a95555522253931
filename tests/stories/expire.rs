//! Rows whose time is over go; every other row stays.

mod locks;
mod meanwhile;
mod refused;

use std::time::Duration;

use pgtend::run::{Counted, Outcome};

use crate::scratch::Scratch;

const SESSIONS: &str = "CREATE TABLE sessions (id int PRIMARY KEY, expires_at timestamptz, note text);
    CREATE INDEX sessions_expires_at ON sessions (expires_at);";
const EXPIRE_SESSIONS: &str = "tables = [{ table = 'sessions' }]";

/// `count` sessions that ended one after the other up to a second before noon of 15 June 2026, which is now.
fn ended(count: u32) -> String {
    format!(
        "INSERT INTO sessions SELECT n, '2026-06-15 12:00Z'::timestamptz - n * interval '1 s' FROM generate_series(1, {count}) n;"
    )
}

/// Sessions that live: one ends now, one later, one never.
const LIVING: &str = "INSERT INTO sessions VALUES (-1, '2026-06-15 12:00Z'), (-2, '2026-06-15 12:00:01Z'), (-3, 'infinity'), (-4, NULL);";

#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions_go_and_living_ones_stay() {
    for index in ["", "DROP INDEX sessions_expires_at;"] {
        let db = Scratch::new(&format!("{SESSIONS}{index}{}{LIVING}", ended(2_000))).await;
        db.sql.client.batch_execute("INSERT INTO sessions VALUES (0, '-infinity')").await.unwrap();
        let plan = db.job(EXPIRE_SESSIONS).actions().await;
        assert_eq!(plan.len(), 1);
        assert_eq!(plan[0].detail["rows"], 2_001);
        assert_eq!(
            plan[0].detail["access"],
            if index.is_empty() { "index sessions_expires_at" } else { "block ranges" }
        );

        let (ended, report) = db.job(EXPIRE_SESSIONS).run().await;
        assert_eq!(ended.outcome(), Outcome::Succeeded);
        assert_eq!(report.total(Counted::RowsDeleted), 2_001);
        assert_eq!(report.counts.keys().next().unwrap().1, "public.sessions");
        assert_eq!(db.number("SELECT sum(id) FROM sessions").await, -10);
        assert_eq!(db.job(EXPIRE_SESSIONS).actions().await, [], "a second run has nothing to do");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_neighbours_of_a_partition_keep_their_rows() {
    let db = Scratch::new(
        "CREATE TABLE sessions (id int, kind text, expires_at timestamptz) PARTITION BY LIST (kind);
         CREATE TABLE sessions_a PARTITION OF sessions FOR VALUES IN ('a');
         CREATE TABLE sessions_b PARTITION OF sessions FOR VALUES IN ('b') PARTITION BY RANGE (id);
         CREATE TABLE sessions_b_1 PARTITION OF sessions_b DEFAULT;
         CREATE INDEX ON sessions (expires_at);
         INSERT INTO sessions SELECT n, 'a', '2026-01-01Z' FROM generate_series(1, 30) n;
         INSERT INTO sessions SELECT n, 'b', CASE WHEN n % 10 = 0 THEN '2026-01-01Z'::timestamptz ELSE 'infinity' END FROM generate_series(1, 30) n;",
    )
    .await;
    let job = db.job(EXPIRE_SESSIONS);
    let targets: Vec<_> = job.actions().await.into_iter().map(|step| step.target).collect();
    assert_eq!(targets, ["public.sessions_a", "public.sessions_b_1"]);
    let (_, report) = job.run().await;
    assert_eq!(
        report.counts.iter().map(|((_, table), n)| (table.as_str(), *n)).collect::<Vec<_>>(),
        [("public.sessions", 33)]
    );
    assert_eq!(db.number("SELECT count(*) FROM sessions WHERE kind = 'b' AND id % 10 <> 0").await, 27);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_by_inheritance_are_tables_of_their_own() {
    let db = Scratch::new(&format!(
        "{SESSIONS}CREATE TABLE sessions_old () INHERITS (sessions); {} INSERT INTO sessions_old SELECT * FROM sessions WHERE id > 7;",
        ended(10)
    ))
    .await;
    let steps = db.job(EXPIRE_SESSIONS).actions().await;
    let rows: Vec<_> = steps.iter().map(|step| (step.target.as_str(), step.detail["rows"].as_u64().unwrap())).collect();
    assert_eq!(rows, [("public.sessions", 10), ("public.sessions_old", 3)]);
    let (_, report) = db.job(EXPIRE_SESSIONS).run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 13);
    assert_eq!(db.number("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_an_index_is_read_once_and_not_once_a_batch() {
    let db = Scratch::new(&format!("{SESSIONS}DROP INDEX sessions_expires_at;{}{LIVING}", ended(20_000))).await;
    db.sql.client.batch_execute("SELECT pg_stat_reset()").await.unwrap();
    let config = "tables = [{ table = 'sessions' }]\nbatch = { rows = 500, pause = '1ms' }";
    let (_, report) = db.job(config).run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 20_000);
    until(&db, "SELECT n_tup_del FROM pg_stat_user_tables", 20_000).await;
    let read = db.number("SELECT seq_tup_read FROM pg_stat_user_tables").await;
    // Once to count for the plan, once to delete, and the ends of ranges twice; forty batches would read 800,000.
    assert!(read < 70_000, "{read} rows were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_that_postgresql_takes_will_do() {
    let long = "ω".repeat(31) + "x";
    for (table, column) in
        [("Sessions", "Expires At"), ("se\"ss'ions", "ex\"pires;--"), ("συνεδρίες", "λήγει"), (long.as_str(), "select")]
    {
        let (quoted, time) = (table.replace('"', "\"\""), column.replace('"', "\"\""));
        let db = Scratch::new(&format!(
            "CREATE SCHEMA \"My Schema\"; CREATE TABLE \"My Schema\".\"{quoted}\" (\"{time}\" timestamptz);
             INSERT INTO \"My Schema\".\"{quoted}\" VALUES ('2026-01-01Z'), ('infinity')"
        ))
        .await;
        let config = format!("tables = [{{ table = '''\"My Schema\".\"{quoted}\"''', column = '''\"{time}\"''' }}]");
        let (ended, report) = db.job(&config).run().await;
        assert_eq!((ended.outcome(), report.total(Counted::RowsDeleted)), (Outcome::Succeeded, 1), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_time_are_counted_and_kept() {
    let db = Scratch::new(&format!("{SESSIONS}{LIVING}")).await;
    let plan = db.job(EXPIRE_SESSIONS).plan().await;
    assert!(
        plan.iter().any(|step| step.action == "keep" && step.reason == "1 row without a time: NULL never ends"),
        "{plan:?}"
    );
    assert!(
        db.job(EXPIRE_SESSIONS).check().await.contains("1 row have no time")
            || db.job(EXPIRE_SESSIONS).check().await.contains("1 row")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grace_where_and_expression_say_which_rows() {
    let db = Scratch::new(
        "CREATE TABLE message (id int, state text, created_at timestamp, ttl int);
         INSERT INTO message VALUES (1, 'read', '2026-06-14 11:00', 3600), (2, 'new', '2026-06-14 11:00', 3600),
             (3, 'read', '2026-06-15 11:30', 3600), (4, 'read', '2026-06-15 06:00', 3600), (5, 'read', '2026-06-14 11:00', NULL);",
    )
    .await;
    let config =
        "tables = [{ table = 'message', expression = \"created_at + ttl * interval '1 second' -- when it ends\",
        where = \"message.state = 'read' -- or else\", grace = '12h' }]";
    let (ended, report) = db.job(config).run().await;
    assert_eq!((ended.outcome(), report.total(Counted::RowsDeleted)), (Outcome::Succeeded, 1), "{report:?}");
    assert_eq!(db.number("SELECT count(*) FROM message WHERE id = 1").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_on_the_expression_is_used() {
    let db = Scratch::new(
        "CREATE TABLE key (made timestamptz, days int);
         CREATE INDEX key_ends ON key ((made AT TIME ZONE 'UTC' + days * interval '1 day')) WHERE days IS NOT NULL;
         INSERT INTO key SELECT '2026-01-01Z', 1 FROM generate_series(1, 10);",
    )
    .await;
    let config = "tables = [{ table = 'key', expression = \"made AT TIME ZONE 'UTC' + days * interval '1 day'\", where = 'days IS NOT NULL' }]";
    assert_eq!(db.job(config).actions().await[0].detail["access"], "index key_ends");
    assert_eq!(db.job(config).run().await.1.total(Counted::RowsDeleted), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_without_a_zone_are_read_in_the_zone_of_the_job() {
    let db = Scratch::new(
        "CREATE TABLE t (id int, expires_at timestamp); CREATE INDEX ON t (expires_at); CREATE TABLE d (id int, expires_at date);
         INSERT INTO t VALUES (1, '2026-06-15 13:59:59'), (2, '2026-06-15 14:00'); CREATE INDEX ON d (expires_at);
         INSERT INTO d VALUES (1, '2026-06-15'), (2, '2026-06-16');",
    )
    .await;
    let config = "tables = [{ table = 't' }, { table = 'd' }]";
    // Noon in UTC is two in the afternoon in Berlin.
    let job =
        db.job_at("postgres", config, "2026-06-15T12:00:00Z", chrono_tz::Tz::Europe__Berlin, Duration::from_secs(60));
    assert!(job.actions().await.iter().all(|step| step.detail["access"].as_str().unwrap().starts_with("index")));
    assert_eq!(job.run().await.1.total(Counted::RowsDeleted), 2);
    assert_eq!(db.number("SELECT (SELECT id FROM t)::bigint + (SELECT id FROM d)").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_part_of_a_table_goes_block_by_block_and_a_small_one_by_the_index() {
    let db = Scratch::new(&format!(
        "{SESSIONS} INSERT INTO sessions SELECT n, '2026-06-15 12:00Z'::timestamptz + (n * 7919 % 100000 - 50000) * interval '1 s', 'x'
         FROM generate_series(1, 100000) n; ANALYZE sessions;"
    ))
    .await;
    assert_eq!(db.job(EXPIRE_SESSIONS).actions().await[0].detail["access"], "block ranges");
    assert!(!db.job(EXPIRE_SESSIONS).check().await.contains("no index"));
    let late = "tables = [{ table = 'sessions', grace = '13h' }]";
    assert_eq!(db.job(late).actions().await[0].detail["access"], "index sessions_expires_at");
    assert_eq!(db.job(late).run().await.1.total(Counted::RowsDeleted), 3_200);
    assert_eq!(db.job(EXPIRE_SESSIONS).run().await.1.total(Counted::RowsDeleted), 46_800);
    assert_eq!(db.number("SELECT count(*) FROM sessions WHERE expires_at >= '2026-06-15 12:00Z'").await, 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_would_nearly_empty_a_table_says_so_and_so_does_the_run() {
    // More than is counted, so that it goes by the statistics.
    let db = Scratch::new(&format!("{SESSIONS}{}{LIVING}", ended(120_000))).await;
    let warned = async || db.job(EXPIRE_SESSIONS).plan().await.into_iter().filter(|step| step.action == "warn").count();
    assert_eq!(warned().await, 0, "nothing is known of the table's size");
    db.sql.client.batch_execute("ANALYZE sessions").await.unwrap();
    assert_eq!(warned().await, 1);
    let (_, report) = db.job(EXPIRE_SESSIONS).run().await;
    assert_eq!(report.total(Counted::RowsDeleted), 120_000);
    let [said] = report.warnings.as_slice() else { panic!("{:?}", report.warnings) };
    assert!(said.starts_with("public.sessions: takes about 1") && said.contains("of about 120004 rows"), "{said}");
}

/// Waits until a query gives a number.
async fn until(db: &Scratch, sql: &str, number: i64) {
    let link = db.session().await;
    let asked = tokio::time::Instant::now();
    loop {
        let is: i64 = link.client.query_one(sql, &[]).await.unwrap().get(0);
        if is == number {
            return;
        }
        assert!(asked.elapsed() < Duration::from_secs(20), "{sql} gives {is} and never {number}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
