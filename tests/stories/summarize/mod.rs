//! Rows of old days are counted in a summary and deleted: none is lost, and none is counted twice.

mod dying;
mod full;
mod nulls;
mod others;
mod refused;
mod statements;

use serde_json::Value;

use crate::support::{Database, Pgtend, on_each_major};

/// The tables of the application Helix, as far as they are counted.
const ERRORS: &str = "
CREATE TABLE error_log (id bigserial PRIMARY KEY, code int NOT NULL, category varchar(50) NOT NULL, message text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX error_log_created_at ON error_log (created_at);
CREATE TABLE error_log_summary (id serial PRIMARY KEY, date date NOT NULL, category varchar(50) NOT NULL, code int NOT NULL,
    count int NOT NULL DEFAULT 0, UNIQUE (date, category, code));
";

const SUMMARIZE: &str = "table = 'error_log'\ninto = 'error_log_summary'\nolder_than = '90 days'\ntime = 'created_at'
date = 'date'\nby = ['category', 'code']\ncount = 'count'\n";

/// Tried without an index too, block by block.
const NO_INDEX: &str = "DROP INDEX error_log_created_at;";

/// A job `errors` with these keys.
fn tending(db: &Database, keys: &str) -> Pgtend {
    Pgtend::tending(db, &job("errors", keys))
}

fn job(name: &str, keys: &str) -> String {
    format!("[jobs.{name}]\ntimeout = \"30s\"\n[jobs.{name}.summarize]\n{keys}\n")
}

/// `rows` rows of `category`, from 92 days ago backwards, `per_day` a day.
fn old(rows: u32, per_day: u32, category: &str) -> String {
    format!(
        "INSERT INTO error_log (code, category, created_at)
         SELECT n % 3, '{category}', now() - interval '92 days' - n / {per_day} * interval '1 day' FROM generate_series(1, {rows}) n;"
    )
}

/// One run of `errors`, with this exit status.
async fn run(program: &Pgtend, status: i32) -> Value {
    program.run(["run", "errors", "--json"]).await.exits(status).json().remove(0)
}

/// What `plan` would do, notes left out.
async fn planned(program: &Pgtend) -> Vec<Value> {
    let steps = program.run(["plan", "errors", "--json"]).await.exits(0).json();
    steps.into_iter().filter(|step| step["action"] != "keep" && step["action"] != "warn").collect()
}

/// How many rows were counted, and how many are in the log.
async fn counted(db: &Database) -> (i64, i64) {
    let sum = db.scalar("SELECT coalesce(sum(count), 0)::bigint FROM error_log_summary").await;
    (sum, db.count("error_log").await)
}

/// Why the run's only target failed.
fn failure(record: &Value) -> &str {
    record["details"]["failures"][0]["error"].as_str().unwrap_or_else(|| panic!("no failure in {record}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_days_are_counted_and_the_rest_stays() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!("DROP TABLE IF EXISTS error_log, error_log_summary; {ERRORS} {index}")).await;
            // The day that holds the instant 90 days ago stays whole; so does the day before of a moment later.
            db.execute(
                "CREATE OR REPLACE VIEW border AS SELECT (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '90 days') AT TIME ZONE 'UTC' AS at;
                 INSERT INTO error_log (code, category, created_at)
                 SELECT 7, 'db', at - interval '1 microsecond' FROM border UNION ALL SELECT 7, 'db', at - interval '1 day' FROM border UNION ALL
                 SELECT 7, 'db', at FROM border UNION ALL SELECT 8, 'db', at - interval '1 hour' FROM border UNION ALL SELECT 7, 'db', now();
                 INSERT INTO error_log_summary (date, category, code, count) SELECT (at - interval '1 day')::date, 'db', 7, 40 FROM border;",
            )
            .await;
            let program = tending(&db, SUMMARIZE);
            let plan = planned(&program).await;
            assert_eq!(plan.len(), 1, "{plan:?}");
            assert_eq!((&plan[0]["action"], &plan[0]["target"]), (&"summarize_rows".into(), &"public.error_log".into()));
            assert_eq!((&plan[0]["detail"]["rows"], &plan[0]["detail"]["into"]), (&3.into(), &"public.error_log_summary".into()));

            let record = run(&program, 0).await;
            assert_eq!((&record["outcome"], &record["details"]["rows_summarized"]), (&"succeeded".into(), &3.into()));
            assert_eq!(record["details"]["tables"]["public.error_log"]["rows_summarized"], 3);
            assert_eq!(record["details"].get("rows_deleted"), None);
            let kept: Vec<String> = db.column(
                "SELECT concat_ws(' ', b.at::date - s.date, category, code, count) FROM error_log_summary s, border b ORDER BY 1",
            ).await;
            assert_eq!(kept, ["1 db 7 42", "1 db 8 1"], "added to what was there");
            assert_eq!(db.scalar::<i64>("SELECT count(*) FROM error_log, border WHERE created_at >= at").await, 2);

            // Applied twice, there is nothing to do.
            assert_eq!(planned(&program).await, [Value::Null; 0]);
            assert_eq!(run(&program, 0).await["details"].get("rows_summarized"), None);
            assert_eq!(counted(&db).await, (43, 2));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_those_of_the_zone_of_the_job() {
    on_each_major(async |db| {
        // Both nights of daylight saving, and the hour in which Berlin is a day ahead.
        let rows = "INSERT INTO log SELECT at::timestamptz FROM unnest(ARRAY['2025-03-29 22:59:59Z', '2025-03-29 23:00Z', '2025-03-30 21:59:59Z',
            '2025-03-30 22:00Z', '2025-10-25 21:59:59Z', '2025-10-25 22:00Z', '2025-10-26 22:59:59Z', '2025-10-26 23:00Z', '2025-06-01 23:30Z']) at;";
        let keys = "table = 'log'\ninto = 'days'\nolder_than = '1 day'\ntime = 'at'\ndate = 'day'\nby = []\ncount = 'n'\n";
        for (zone, expect) in [
            ("UTC", "2025-03-29 2, 2025-03-30 2, 2025-06-01 1, 2025-10-25 2, 2025-10-26 2"),
            ("Europe/Berlin", "2025-03-29 1, 2025-03-30 2, 2025-03-31 1, 2025-06-02 1, 2025-10-25 1, 2025-10-26 2, 2025-10-27 1"),
        ] {
            db.execute(&format!(
                "DROP TABLE IF EXISTS log, days; CREATE TABLE log (at timestamptz); CREATE TABLE days (day date PRIMARY KEY, n bigint);
                 INSERT INTO log SELECT (date_trunc('day', now() AT TIME ZONE '{zone}') - interval '1 day') AT TIME ZONE '{zone}'; {rows}"
            ))
            .await;
            let jobs = format!("[jobs.errors]\ntimezone = '{zone}'\n[jobs.errors.summarize]\n{keys}");
            run(&Pgtend::tending(&db, &jobs), 0).await;
            let days: String =
                db.scalar("SELECT string_agg(concat_ws(' ', day, n), ', ' ORDER BY day) FROM days").await;
            assert_eq!(days, expect, "in {zone}");
            assert_eq!(db.count("log").await, 1, "the first instant of yesterday is of a day that is not yet old");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_may_be_a_wall_clock_or_a_date() {
    on_each_major(async |db| {
        for (sql, at) in [("timestamp", "(now() AT TIME ZONE 'Asia/Tokyo')"), ("date", "(now() AT TIME ZONE 'Asia/Tokyo')::date")] {
            db.execute(&format!(
                "DROP TABLE IF EXISTS log, days; CREATE TABLE log (at {sql}); CREATE INDEX ON log (at);
                 CREATE TABLE days (day date, n smallint NOT NULL DEFAULT 0, UNIQUE (day));
                 INSERT INTO log SELECT date_trunc('day', {at}) - n * interval '12 hours' FROM generate_series(-1, 6) n;"
            ))
            .await;
            let keys = "table = 'log'\ninto = 'days'\nolder_than = '1 day'\ntime = 'at'\ndate = 'day'\nby = []\ncount = 'n'\n";
            let jobs = format!("[jobs.errors]\ntimezone = 'Asia/Tokyo'\n[jobs.errors.summarize]\n{keys}");
            run(&Pgtend::tending(&db, &jobs), 0).await;
            let days: Vec<String> = db
                .column("SELECT concat_ws(' ', (now() AT TIME ZONE 'Asia/Tokyo')::date - day, n) FROM days ORDER BY day DESC")
                .await;
            assert_eq!(days, ["2 2", "3 2"], "of type {sql}");
            assert_eq!(db.count("log").await, 4);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_log_is_counted_leaf_by_leaf() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE error_log (code int, category varchar(50), created_at timestamptz) PARTITION BY LIST (category);
             CREATE TABLE error_log_db PARTITION OF error_log FOR VALUES IN ('db');
             CREATE TABLE error_log_rest PARTITION OF error_log DEFAULT PARTITION BY RANGE (code);
             CREATE TABLE error_log_rest_1 PARTITION OF error_log_rest DEFAULT;
             CREATE TABLE error_log_summary (category varchar(80), code int, date date, count bigint, note text) PARTITION BY LIST (category);
             CREATE TABLE summary_1 PARTITION OF error_log_summary DEFAULT;
             ALTER TABLE error_log_summary ADD UNIQUE (code, category, date);",
        )
        .await;
        db.execute(&format!("{} {} INSERT INTO error_log VALUES (1, 'db', now());", old(30, 10, "db"), old(30, 10, "net"))).await;
        let record = run(&tending(&db, &format!("{SUMMARIZE}where = 'error_log.code <> 2'")), 0).await;
        assert_eq!(record["details"]["tables"]["public.error_log"]["rows_summarized"], 40, "{record}");
        assert_eq!(counted(&db).await, (40, 21));
        assert_eq!(db.scalar::<i64>("SELECT count(*) FROM error_log WHERE code = 2").await, 20);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_that_postgresql_takes_will_do() {
    on_each_major(async |db| {
        let long = "ω".repeat(31) + "x";
        for (table, column) in
            [("Error Log", "Category"), ("er\"ror'log", "ca\"te;--"), ("σφάλματα", "κατηγορία"), (long.as_str(), "select")]
        {
            let (log, by) = (table.replace('"', "\"\""), column.replace('"', "\"\""));
            let sum = format!("{}s", log.chars().take(28).collect::<String>());
            db.execute(&format!(
                "DROP SCHEMA IF EXISTS \"My Schema\" CASCADE; CREATE SCHEMA \"My Schema\"; SET search_path = \"My Schema\";
                 CREATE TABLE \"{log}\" (\"{by}\" text, \"at {by}\" timestamptz);
                 CREATE TABLE \"{sum}\" (\"{by}\" text, \"n {by}\" int, \"day {by}\" date, UNIQUE (\"{by}\", \"day {by}\"));
                 INSERT INTO \"{log}\" VALUES ('a', '2025-01-01 12:00Z'), ('a', '2025-01-01 13:00Z'), (NULL, '2025-01-01 13:00Z'), ('a', 'infinity');"
            ))
            .await;
            let name = |name: &str| format!("'''\"{name}\"'''");
            let keys = format!(
                "table = '''\"My Schema\".\"{log}\"'''\ninto = '''\"My Schema\".\"{sum}\"'''\nolder_than = '1 month'\n\
                 time = {}\ndate = {}\nby = [{}]\ncount = {}\n",
                name(&format!("at {by}")),
                name(&format!("day {by}")),
                name(&by),
                name(&format!("n {by}")),
            );
            let record = run(&tending(&db, &keys), 0).await;
            assert_eq!(record["details"]["rows_summarized"], 3, "{record}");
            let sums = format!("SELECT array_agg(\"n {by}\" ORDER BY \"n {by}\") FROM \"My Schema\".\"{sum}\"");
            assert_eq!(db.scalar::<Vec<i32>>(&sums).await, [1, 2]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_time_are_counted_for_whoever_asks_and_kept() {
    on_each_major(async |db| {
        db.execute(&format!("{ERRORS} ALTER TABLE error_log ALTER created_at DROP NOT NULL; {}", old(2, 1, "db")))
            .await;
        db.execute("INSERT INTO error_log (code, category, created_at) VALUES (1, 'db', NULL)").await;
        let program = tending(&db, SUMMARIZE);
        let plan = program.run(["plan", "errors"]).await.exits(0).stdout;
        assert!(plan.contains("1 row without a time: NULL is never old"), "{plan}");
        run(&program, 0).await;
        assert_eq!(counted(&db).await, (2, 1));
        let check = program.run(["check"]).await.exits(0);
        assert!(check.stdout.contains("has 1 row without a time, and NULL is never old"), "{}", check.stdout);
    })
    .await;
}
