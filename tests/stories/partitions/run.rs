//! Whole runs of the program.

use serde_json::{Value, json};

use crate::support::{Database, Output, Pgtend, on_each_major, wait_until};

/// A job `partitions` with these entries of `tables`.
pub fn tending(db: &Database, tables: &str) -> Pgtend {
    Pgtend::tending(db, &job("partitions", tables))
}

fn job(name: &str, tables: &str) -> String {
    format!("[jobs.{name}]\ntimeout = \"20s\"\n[jobs.{name}.partitions]\ntables = [{tables}]\n")
}

const EVENTS: &str =
    "CREATE TABLE events (id serial, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);";

/// Three months from the current one.
const THREE: &str = "{ table = \"events\", every = \"1 month\", ahead = 2 }";

pub async fn run(program: &Pgtend) -> (Output, Value) {
    let output = program.run(["run", "partitions", "--json"]).await;
    let record = output.json().pop().unwrap_or_else(|| panic!("{output:?}"));
    (output, record)
}

/// The targets of what `plan` would do.
pub async fn planned(program: &Pgtend) -> Vec<String> {
    let output = program.run(["plan", "partitions", "--json"]).await.exits(0);
    let steps = output.json().into_iter().filter(|step| step["action"] != "keep" && step["action"] != "warn");
    steps.map(|step| format!("{} {}", step["action"].as_str().unwrap(), step["target"].as_str().unwrap())).collect()
}

/// The names of the current month's partition of `events` and of the `n` after it.
async fn months(db: &Database, table: &str, n: i32) -> Vec<String> {
    db.column(&format!(
        "SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', '\"{table}_\"YYYY_MM') FROM generate_series(0, {n}) n"
    ))
    .await
}

pub async fn partitions(db: &Database, table: &str) -> Vec<String> {
    db.column(&format!("SELECT relname::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = '{table}'::regclass AND pg_get_expr(relpartbound, c.oid) <> 'DEFAULT' ORDER BY 1")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_of_the_next_year_find_their_partitions_and_a_second_run_has_nothing_to_do() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "100")]);
        let program = tending(
            &db,
            "{ table = \"test_results\", every = \"1 month\", ahead = 12 }, { table = \"test_runs\", every = \"1 month\", ahead = 12 }",
        );
        let plan = planned(&program).await;
        // The fixture has the current month and the next; what is referred to comes first.
        assert_eq!(plan.len(), 22, "{plan:?}");
        assert!(plan[..11].iter().all(|step| step.starts_with("create_partition public.test_runs_")), "{plan:?}");
        let (output, record) = run(&program).await;
        output.exits(0);
        assert_eq!((&record["outcome"], &record["details"]["partitions_created"]), (&json!("succeeded"), &json!(22)));
        db.execute(
            "INSERT INTO test_runs (team_id, total_tests, created_at)
             SELECT id, 1, now() + n * interval '1 month' FROM generate_series(0, 12) n, (SELECT id FROM teams LIMIT 1) t;
             INSERT INTO test_results (test_run_id, created_at, test_name, status) SELECT id, created_at, 'x', 'passed' FROM test_runs;",
        )
        .await;
        assert_eq!(planned(&program).await, [""; 0]);
        let (output, record) = run(&program).await;
        output.exits(0);
        assert_eq!(record["details"].get("partitions_created"), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_tended_spoils_no_other() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} CREATE TABLE hashed (at timestamptz) PARTITION BY HASH (at); CREATE TABLE plain (at timestamptz);
             CREATE TABLE full_ (at timestamptz) PARTITION BY RANGE (at); CREATE TABLE full_rest PARTITION OF full_ DEFAULT;
             INSERT INTO full_ VALUES (now());"
        ))
        .await;
        let others = ["missing", "hashed", "plain", "full_"];
        let mut tables: Vec<_> = others.iter().map(|table| format!("{{ table = \"{table}\", default_rows = \"refuse\", ahead = 0 }}")).collect();
        tables.push(THREE.into());
        let program = tending(&db, &tables.join(", "));
        let (output, record) = run(&program).await;
        output.exits(1);
        assert_eq!((&record["outcome"], &record["details"]["partitions_created"]), (&json!("partial"), &json!(3)));
        let failures = record["details"]["failures"].as_array().unwrap();
        assert_eq!(failures.len(), 4, "{failures:?}");
        for (failure, table) in failures.iter().zip(others) {
            assert!(failure["target"].as_str().unwrap().starts_with(&format!("public.{table}")), "{failure}");
        }
        assert_eq!(partitions(&db, "events").await, months(&db, "events", 2).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_making_and_attaching_it_leaves_nothing_and_the_next_run_does_all() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let program = tending(&db, THREE);
        let reached = program.folder().join("hold.reached");
        let program = program
            .env("PGTEND_TESTPOINTS", &format!("partitions.attach=hold:{}", reached.with_extension("").display()));
        let process = program.start(["run", "partitions"]);
        process.wait_until("the run to have made a table", async || reached.exists()).await;
        // A kill -9.
        drop(process);
        wait_until("the server to see it", async || {
            db.count("pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgtend%'").await
                == 0
        })
        .await;
        assert_eq!(db.count("pg_class WHERE relname LIKE 'events\\_2%'").await, 0);
        let (output, _) = run(&program.env("PGTEND_TESTPOINTS", "")).await;
        output.exits(0);
        assert_eq!(partitions(&db, "events").await, months(&db, "events", 2).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_a_reader_of_the_default_partition_and_does_the_rest_meanwhile() {
    on_each_major(async |db| {
        db.execute(&format!("{EVENTS} CREATE TABLE events_rest PARTITION OF events DEFAULT; CREATE TABLE other (at date) PARTITION BY RANGE (at);")).await;
        let reader = db.client().await;
        reader.batch_execute("BEGIN; SELECT FROM events_rest").await.unwrap();
        let program = tending(&db, &format!("{THREE}, {{ table = \"other\", ahead = 1 }}"));
        let process = program.start(["run", "partitions", "--json"]);
        process.wait_for_log("lock not had in time").await;
        process.wait_until("the other table's partitions", async || partitions(&db, "other").await.len() == 2).await;
        assert_eq!(partitions(&db, "events").await, [""; 0]);
        reader.batch_execute("COMMIT").await.unwrap();
        let output = process.wait().await.exits(0);
        assert_eq!(output.json()[0]["details"]["partitions_created"], 5);
        assert_eq!(partitions(&db, "events").await, months(&db, "events", 2).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_waits_for_the_attach_writes_into_the_new_partition() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} CREATE TABLE events_rest PARTITION OF events DEFAULT; INSERT INTO events (at) VALUES (now())"
        ))
        .await;
        let program = tending(&db, "{ table = \"events\", ahead = 0 }");
        let hold = program.folder().join("hold");
        let program = program.env("PGTEND_TESTPOINTS", &format!("partitions.locked=hold:{}", hold.display()));
        let process = program.start(["run", "partitions"]);
        process.wait_until("the run to have its locks", async || program.folder().join("hold.reached").exists()).await;
        let writer = db.client().await;
        let write = writer.batch_execute("INSERT INTO events (at) VALUES (now())");
        let go_on = async {
            wait_until("the writer to wait", async || {
                db.count("pg_locks WHERE NOT granted AND relation = 'events'::regclass").await > 0
            })
            .await;
            std::fs::write(&hold, "").unwrap();
        };
        let (written, ()) = tokio::join!(write, go_on);
        written.unwrap();
        process.wait().await.exits(0);
        assert_eq!((db.count(&months(&db, "events", 0).await[0]).await, db.count("events_rest").await), (2, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_jobs_for_one_table_at_once_make_each_partition_once() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let program = Pgtend::tending(&db, &(job("one", THREE) + &job("two", THREE)));
        let (one, two) = (program.start(["run", "one", "--json"]), program.start(["run", "two", "--json"]));
        let (one, two) = tokio::join!(one.wait(), two.wait());
        let created =
            |output: Output| output.exits(0).json()[0]["details"]["partitions_created"].as_u64().unwrap_or_default();
        assert_eq!(created(one) + created(two), 3);
        assert_eq!(partitions(&db, "events").await, months(&db, "events", 2).await);
    })
    .await;
}

/// Between making and attaching: whoever changes the columns waits for the end, others need not, and all of it arrives.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_of_the_table_meanwhile_reaches_the_new_partition() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let program = tending(&db, "{ table = \"events\", ahead = 0 }");
        let hold = program.folder().join("hold");
        let program = program.env("PGTEND_TESTPOINTS", &format!("partitions.attach=hold:{}", hold.display()));
        let process = program.start(["run", "partitions"]);
        process.wait_until("the run to have made a table", async || program.folder().join("hold.reached").exists()).await;
        db.execute(
            "CREATE INDEX later ON events (at); CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
             CREATE TRIGGER kept AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION keep();",
        )
        .await;
        let other = db.client().await;
        let add = other.batch_execute("ALTER TABLE events ADD COLUMN more text NOT NULL DEFAULT 'x'");
        let go_on = async {
            wait_until("the ALTER TABLE to wait", async || {
                db.count("pg_locks WHERE NOT granted AND relation = 'events'::regclass").await > 0
            })
            .await;
            std::fs::write(&hold, "").unwrap();
        };
        let (added, ()) = tokio::join!(add, go_on);
        added.unwrap();
        process.wait().await.exits(0);
        let name = months(&db, "events", 0).await.remove(0);
        let found: String = db
            .scalar(&format!(
                "SELECT (SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)
                     || (SELECT count(*) FROM pg_index WHERE indrelid = c.oid)
                     || (SELECT string_agg(tgname, ' ') FROM pg_trigger WHERE tgrelid = c.oid)
                 FROM pg_class c WHERE relname = '{name}'"
            ))
            .await;
        assert_eq!(found, "id at more2kept");
    })
    .await;
}

/// The role and the database say everything otherwise than is good for the work (pg_partman, test_no_search_path;
/// pg-partsmith, a server at UTC+14).
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_role_and_of_the_database_change_nothing() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} CREATE TABLE events_rest PARTITION OF events DEFAULT; INSERT INTO events (at) VALUES (now());
             CREATE SCHEMA evil; CREATE TABLE evil.pg_class (oid oid);
             CREATE FUNCTION evil.count(\"any\") RETURNS bigint LANGUAGE internal AS 'int8up';"
        ))
        .await;
        // Its own settings are from before.
        let (admin, name) = (db.client().await, db.name());
        for (setting, value) in [
            ("timezone", "'Pacific/Kiritimati'"),
            ("datestyle", "'German, DMY'"),
            ("search_path", "evil, pg_catalog"),
            ("default_transaction_isolation", "'serializable'"),
            ("default_transaction_read_only", "on"),
            ("statement_timeout", "'500ms'"),
            ("lock_timeout", "0"),
            ("idle_in_transaction_session_timeout", "'500ms'"),
            ("quote_all_identifiers", "on"),
        ] {
            admin.batch_execute(&format!("ALTER DATABASE \"{name}\" SET {setting} = {value}")).await.unwrap();
        }
        let program = tending(&db, THREE);
        run(&program).await.0.exits(0);
        assert_eq!(planned(&program).await, [""; 0]);
        admin.batch_execute("SET timezone = 'UTC'; SET datestyle = 'ISO'").await.unwrap();
        let bounds = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class
            WHERE relname = to_char(now() AT TIME ZONE 'UTC', '\"events_\"YYYY_MM')";
        let bound: String = admin.query_one(bounds, &[]).await.unwrap().get(0);
        assert_eq!(bound.matches("-01 00:00:00+00'").count(), 2, "{bound}");
    })
    .await;
}
