//! Jobs that say different things of one table, and keeps that are hardly meant: refused before anything goes, by name.

use serde_json::Value;

use crate::support::{Database, Pgtend, on_each_major};

/// Errors and warnings that `check` prints, as `severity job: message`.
async fn findings(program: &Pgtend, code: i32) -> Vec<String> {
    let lines = program.run(["check", "--json"]).await.exits(code).json();
    let shown = lines.iter().filter(|line| line["severity"] != "ok").map(|line| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {} {}", text("severity"), text("job"), text("message"), text("mend"))
    });
    shown.collect()
}

#[track_caller]
fn says(found: &[String], what: &str) {
    assert!(found.iter().any(|line| line.contains(what)), "{what:?} is not in {found:#?}");
}

async fn run(program: &Pgtend, job: &str, code: i32) -> Value {
    program.run(["run", job, "--json"]).await.exits(code).json().remove(0)
}

#[tokio::test]
async fn rows_that_another_job_counts_do_not_go_before_they_are_counted() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE error_log (id int, created_at timestamptz); CREATE INDEX ON error_log (created_at);
             CREATE TABLE error_days (day date, n bigint, UNIQUE (day));
             INSERT INTO error_log SELECT n, now() - n * interval '1 day' FROM generate_series(1, 200) n;",
        )
        .await;
        let config = |keep: &str| {
            format!(
                "[jobs.errors.summarize]\ntable = 'error_log'\ninto = 'error_days'\nolder_than = '90 days'\ntime = 'created_at'\n\
                 date = 'day'\nby = []\ncount = 'n'\n\
                 [jobs.old.retention]\ntables = [{{ table = 'error_log', keep = '{keep}', column = 'created_at' }}]\n"
            )
        };
        let program = Pgtend::tending(&db, &config("30 days"));
        let why = "job errors counts rows of public.error_log when they are 90 days old, and by job old (keep 30 days) they would \
                   go uncounted";
        says(&findings(&program, 1).await, &format!("error old: {why}"));
        let plan = program.run(["plan", "old", "--json"]).await.exits(0).json();
        assert_eq!(plan[0]["action"], "refuse", "{plan:?}");
        assert!(plan[0]["reason"].as_str().unwrap().contains(why), "{plan:?}");
        let record = run(&program, "old", 1).await;
        assert!(record["error"].as_str().unwrap().contains(why), "{record}");
        assert_eq!(db.count("error_log").await, 200);
        // Kept for longer than that, what is left goes after it was counted.
        program.configure_tending(&db, &config("100 days"));
        run(&program, "errors", 0).await;
        run(&program, "old", 0).await;
        let counted: i64 = db.scalar("SELECT sum(n)::bigint FROM error_days").await;
        assert_eq!(counted + db.count("error_log").await, 200);
    })
    .await;
}

#[tokio::test]
async fn of_two_keeps_of_one_table_the_longer_counts() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE events (id int, created_at timestamptz); CREATE INDEX ON events (created_at);
             INSERT INTO events SELECT n, now() - n * interval '1 month' FROM generate_series(0, 20) n;",
        )
        .await;
        let of = |job: &str, keep: &str| {
            format!(
                "[jobs.{job}.retention]\ntables = [{{ table = 'events', keep = '{keep}', column = 'created_at' }}]\n"
            )
        };
        let program = Pgtend::tending(&db, &format!("{}{}", of("law", "12 months"), of("tidy", "6 months")));
        let why = "job law keeps rows of public.events for 1 year, and job tidy for 6 months only";
        says(&findings(&program, 1).await, &format!("error tidy: {why}"));
        let record = run(&program, "tidy", 1).await;
        assert!(record["error"].as_str().unwrap().contains(why), "{record}");
        assert_eq!(db.count("events").await, 21);
        run(&program, "law", 0).await;
        assert_eq!(db.count("events").await, 12);
    })
    .await;
}

#[tokio::test]
async fn twelve_minutes_are_not_taken_for_twelve_months() {
    on_each_major(async |db| {
        months(&db).await;
        let program = Pgtend::tending(&db, &retention("table = 'months', keep = '12m'"));
        let why = "keep is 12 minutes, shorter than one partition";
        let found = findings(&program, 1).await;
        says(&found, why);
        says(&found, "did you mean \"1 year\"?");
        let record = run(&program, "old", 1).await;
        assert!(record["error"].as_str().unwrap().contains(why), "{record}");
        assert_eq!(db.count("months").await, 6);
        // Rows that are not in partitions may be meant to go so soon; who wrote it is asked.
        db.execute("CREATE TABLE tokens (made timestamptz); CREATE INDEX ON tokens (made)").await;
        program.configure_tending(&db, &retention("table = 'tokens', keep = '12m', column = 'made'"));
        says(
            &findings(&program, 0).await,
            "warning old: public.tokens: keep is 12 minutes: whatever is older goes did you mean",
        );
        let record = run(&program, "old", 0).await;
        assert!(record["details"]["warnings"].to_string().contains("keep is 12 minutes"), "{record}");
    })
    .await;
}

#[tokio::test]
async fn partitions_longer_than_keep_are_told_with_what_stays_in_them() {
    on_each_major(async |db| {
        let years: Vec<String> = db
            .column(
                "SELECT format('CREATE TABLE years_%s PARTITION OF years FOR VALUES FROM (%L) TO (%L)', n,
                     (date_trunc('year', now() AT TIME ZONE 'UTC') - n * interval '1 year') AT TIME ZONE 'UTC',
                     (date_trunc('year', now() AT TIME ZONE 'UTC') - (n - 1) * interval '1 year') AT TIME ZONE 'UTC')
                 FROM generate_series(0, 3) n",
            )
            .await;
        db.execute("CREATE TABLE years (id int, at timestamptz) PARTITION BY RANGE (at)").await;
        db.execute(&years.join("; ")).await;
        db.execute("INSERT INTO years VALUES (1, now())").await;
        let program = Pgtend::tending(&db, &retention("table = 'years', keep = '9 months'"));
        let why = "longer than keep (9 months): rows of before the cutoff";
        says(&findings(&program, 0).await, why);
        assert!(program.run(["plan", "old"]).await.exits(0).stdout.contains(why));
        let record = run(&program, "old", 0).await;
        assert!(record["details"]["warnings"].to_string().contains(why), "{record}");
    })
    .await;
}

#[tokio::test]
async fn a_text_key_without_a_zone_is_refused_and_an_error_to_check() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE logs (month text) PARTITION BY LIST (month);
             CREATE TABLE logs_0 PARTITION OF logs FOR VALUES IN ('2025-12');
             CREATE TABLE logs_1 PARTITION OF logs FOR VALUES IN ('2026-01'); CREATE TABLE logs_2 PARTITION OF logs FOR VALUES IN ('2099-01')",
        )
        .await;
        let keys = "table = 'logs', keep = '10 years', key_format = '%Y-%m'";
        let program = Pgtend::tending(&db, &retention(keys));
        says(&findings(&program, 1).await, "the key of public.logs says time without a zone");
        // And a plan and a run say the same, and let nothing go.
        let sooner = keys.replace("10 years", "1 month");
        program.configure_tending(&db, &retention(&sooner));
        let plan = program.run(["plan", "old", "--json"]).await.exits(0).json();
        assert_eq!(plan.iter().map(|step| &step["action"]).collect::<Vec<_>>(), ["refuse"], "{plan:?}");
        let record = run(&program, "old", 1).await;
        assert!(record["error"].as_str().unwrap().contains("the key of public.logs says time without a zone"), "{record}");
        assert_eq!(db.scalar::<i64>("SELECT count(*) FROM pg_inherits WHERE inhparent = 'logs'::regclass").await, 3);
        program.configure_tending(&db, &retention(&format!("{keys}, timezone = 'UTC'")));
        assert_eq!(findings(&program, 0).await, [""; 0]);
        // A job that makes its partitions says it.
        let making = "[jobs.make.partitions]\ntables = [{ table = 'logs', key_format = '%Y-%m', timezone = 'Europe/Berlin' }]\n";
        program.configure_tending(&db, &format!("{}{making}", retention("table = 'logs', keep = '10 years'")));
        let found = findings(&program, 0).await;
        assert!(!found.iter().any(|line| line.contains("without a zone")), "{found:#?}");
    })
    .await;
}

/// What a table of policies lets go is not made, and whoever else works on it is named.
#[tokio::test]
async fn policies_in_a_table_are_known_to_other_jobs_too() {
    on_each_major(async |db| {
        months(&db).await;
        db.execute(
            "CREATE TABLE policies (table_name text, retention_days int, archive_enabled bool, delete_enabled bool, last_run_at timestamptz);
             INSERT INTO policies VALUES ('months', 70, false, true);
             CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint, schedule text, command text, nodename text, nodeport int,
                                                        database text, username text, active boolean, jobname name);
             INSERT INTO cron.job VALUES (7, '0 1 * * *', 'DELETE FROM months', '', 0, current_database(), 'postgres', true, NULL)",
        )
        .await;
        let program = Pgtend::tending(
            &db,
            "[jobs.old.retention.policies]\ntable = 'policies'\n\
             [jobs.make.partitions]\ntables = [{ table = 'months', ahead = 0, behind = 12 }]\n",
        );
        says(&findings(&program, 0).await, "warning old: pg_cron works on the same in this database, by its job 7");
        let made = program.run(["plan", "make", "--json"]).await.exits(0).json();
        let made: Vec<_> = made.iter().filter(|line| line["action"] == "create_partition").collect();
        assert_eq!(made.len(), 0, "what would go at once is not made: {made:#?}");
        run(&program, "old", 0).await;
        run(&program, "make", 0).await;
        let plan = program.run(["plan", "old", "--json"]).await.exits(0).json();
        assert!(!plan.iter().any(|line| line["action"] == "drop_partition"), "{plan:#?}");
    })
    .await;
}

fn retention(keys: &str) -> String {
    format!("[jobs.old.retention]\ntables = [{{ {keys} }}]\n")
}

/// Six months up to the current one, a row in each.
async fn months(db: &Database) {
    db.execute("CREATE TABLE months (id int, at timestamptz) PARTITION BY RANGE (at)").await;
    let months = "SELECT format('CREATE TABLE months_%s PARTITION OF months FOR VALUES FROM (%L) TO (%L);
                                 INSERT INTO months VALUES (%s, %L)', n, start, stop, n, start)
                  FROM generate_series(0, 5) n, date_trunc('month', now() AT TIME ZONE 'UTC') AS month,
                       LATERAL (SELECT (month - n * interval '1 month') AT TIME ZONE 'UTC' AS start,
                                       (month - (n - 1) * interval '1 month') AT TIME ZONE 'UTC' AS stop) AS s";
    let statements: Vec<String> = db.column(months).await;
    db.execute(&statements.join("; ")).await;
}
