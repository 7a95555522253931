//! lukhas among others: open transactions, half-done work of others, roles.

use super::{Job, NO_PARTITION, mid, month, partitions, shipped, sqlstate};
use crate::support::{Database, on_each_major};

const NAME: &str = "lukhas-partitions";

fn load(db: &Database) -> Job {
    db.load("lukhas.sql", &[("rows", "100"), ("months_ahead", "1")]);
    Job::new(db, NAME, &shipped("lukhas.toml"))
}

#[tokio::test]
async fn a_last_partition_without_end_is_reported_and_not_run_against() {
    on_each_major(async |db| {
        let job = load(&db);
        let two = month(&db, 2).await;
        let from = two.replace('_', "-");
        db.execute(&format!(
            "CREATE TABLE test_runs_future PARTITION OF test_runs FOR VALUES FROM ('{from}-01Z') TO (MAXVALUE)"
        ))
        .await;
        let said = job.notes().await;
        assert!(said.contains("public.test_runs_future reaches without end (MAXVALUE)"), "{said}");
        job.makes(11).await;
        assert_eq!(partitions(&db, "test_runs").await.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn with_a_reader_open_all_is_made_and_with_a_writer_open_nobody_else_waits() {
    on_each_major(async |db| {
        let job = load(&db);
        // What pg_dump does.
        let reader = db.client().await;
        reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM test_runs; SELECT count(*) FROM test_results").await.unwrap();
        let write = format!("INSERT INTO test_runs (team_id, total_tests, created_at) SELECT id, 1, {} FROM teams LIMIT 1", mid(0));
        let writer = db.client().await;
        writer.batch_execute(&format!("BEGIN; {write}")).await.unwrap();
        let run = job.program.start(["run", NAME, "--json"]);
        // A new partition of test_results has a foreign key, for which test_runs must not be written for a moment.
        run.wait_for_log("lock not had in time").await;
        run.wait_until("the partitions of test_runs", async || partitions(&db, "test_runs").await.len() == 4 + 11).await;
        let other = db.client().await;
        // Of which the job's own tries would take a part, if somebody queued behind them for long.
        other.batch_execute("SET statement_timeout = '3s'").await.unwrap();
        for _ in 0..30 {
            other.batch_execute(&write).await.unwrap();
            other.batch_execute("SELECT count(*) FROM test_results").await.unwrap();
        }
        writer.batch_execute("COMMIT").await.unwrap();
        let record = run.wait().await.exits(0).json().pop().unwrap();
        assert_eq!(record["details"]["partitions_created"], 22, "{record}");
        reader.batch_execute("COMMIT").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_month_that_is_half_detached_is_reported_with_what_finishes_it() {
    on_each_major(async |db| {
        let job = load(&db);
        let next = month(&db, 1).await;
        let reader = db.client().await;
        reader.batch_execute("BEGIN; SELECT count(*) FROM test_results").await.unwrap();
        let detach = db.client().await;
        detach.batch_execute("SET statement_timeout = '300ms'").await.unwrap();
        let error = detach.batch_execute(&format!("ALTER TABLE test_results DETACH PARTITION test_results_{next} CONCURRENTLY")).await;
        assert_eq!(error.unwrap_err().code().map(|code| code.code()), Some("57014"));
        reader.batch_execute("COMMIT").await.unwrap();
        assert!(db.scalar::<bool>(&format!("SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'test_results_{next}'::regclass")).await);

        let finalize = format!("ALTER TABLE public.test_results DETACH PARTITION public.test_results_{next} FINALIZE");
        let found = job.check().await;
        assert!(found.contains(&finalize), "{found}");
        let said = job.notes().await;
        assert!(said.contains(&finalize), "{said}");
        // The others are made all the same.
        job.makes(22).await;
        let client = db.client().await;
        client.batch_execute(&finalize).await.unwrap();
        let result = format!(
            "WITH run AS (INSERT INTO test_runs (team_id, total_tests, created_at) SELECT id, 1, {} FROM teams LIMIT 1 RETURNING id, created_at)
             INSERT INTO test_results (test_run_id, test_name, status, created_at) SELECT id, 'x', 'passed', created_at FROM run", mid(1));
        assert_eq!(sqlstate(&db, &result).await, NO_PARTITION);
        // Its name is still taken, by the table that is detached now.
        job.makes(1).await;
        assert_eq!(sqlstate(&db, &result).await, "");
    })
    .await;
}

#[tokio::test]
async fn the_privileges_that_the_file_names_are_enough_and_the_owner_owns_what_is_made() {
    on_each_major(async |db| {
        let prefix = format!("s{}", db.name().split('_').next().unwrap());
        let (owner, role, reader) = (format!("{prefix}_lukhas"), format!("{prefix}_pgtend"), format!("{prefix}_dump"));
        db.load("lukhas.sql", &[("rows", "100"), ("months_ahead", "1")]);
        db.execute(&format!(
            "CREATE ROLE {owner} LOGIN; CREATE ROLE {role} LOGIN; CREATE ROLE {reader} LOGIN;
             DO $$ DECLARE t regclass; BEGIN
               FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
                 EXECUTE format('ALTER TABLE %s OWNER TO {owner}', t); END LOOP; END $$;
             GRANT SELECT ON test_runs, test_results TO {reader};
             GRANT CREATE ON DATABASE \"{}\" TO {role}; GRANT SELECT, UPDATE, DELETE ON sessions, coverage_data, consciousness_reviews TO {role};
             GRANT pg_read_all_data, pg_monitor TO {role};
             REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {role}, {reader};",
            db.name()
        ))
        .await;
        let config = format!("[databases.main]\nurl = \"{}\"\n{}", db.url_as(&role), shipped("lukhas.toml").replace("{url}", &db.url()));
        let program = crate::support::Pgtend::new(&config);
        let job = Job { program, name: NAME };
        for grant in [format!("GRANT {owner} TO {role}"), format!("GRANT USAGE, CREATE ON SCHEMA public TO {owner}")] {
            let found = job.check().await;
            assert!(found.contains(&grant), "{found}");
            assert!(job.fails().await.contains(&grant));
            assert_eq!(partitions(&db, "test_runs").await.len(), 4);
            db.execute(&grant).await;
        }
        job.program.run(["check"]).await.exits(0);
        job.makes(22).await;
        let owners = format!("pg_class WHERE relname ~ '^test_(runs|results)_' AND relkind = 'r' AND relowner <> '{owner}'::regrole");
        assert_eq!(db.count(&owners).await, 0);
        let (one, next) = (month(&db, 7).await, month(&db, 1).await);
        assert!(db.scalar::<bool>(&format!("SELECT has_table_privilege('{reader}', 'test_runs_{one}', 'SELECT')")).await);
        assert!(!db.scalar::<bool>(&format!("SELECT has_table_privilege('{reader}', 'test_runs_{next}', 'SELECT')")).await, "what was there is left alone");
        // The owner alters, drops and dumps what is its own.
        let client = db.client_as(&owner).await;
        client.batch_execute(&format!("BEGIN; ALTER TABLE test_runs ADD COLUMN more int; DROP TABLE test_results_{one}; ROLLBACK")).await.unwrap();
        let mut dump = db.cluster().program("pg_dump");
        dump.args(["--dbname", &db.conninfo().replace("user=postgres", &format!("user={owner}")), "--schema", "public"]);
        let output = dump.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        drop(client);
        db.execute(&format!("REASSIGN OWNED BY {owner}, {role} TO postgres; DROP OWNED BY {owner}, {role}, {reader}; DROP ROLE {owner}, {role}, {reader}")).await;
    })
    .await;
}
