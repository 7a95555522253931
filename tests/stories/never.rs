//! Tables of which nothing may go, whatever a job says.

use crate::support::{Database, Pgtend, on_each_major};

/// Accounts and what hangs on them, link by link; a log by months, and another without.
const APPLICATION: &str = "
    CREATE TABLE accounts (id int PRIMARY KEY, created_at timestamptz NOT NULL);
    CREATE TABLE members (id int PRIMARY KEY, account int REFERENCES accounts ON DELETE CASCADE);
    CREATE TABLE \"Le Λedger\" (id int, member int REFERENCES members ON DELETE CASCADE, owner int REFERENCES members ON DELETE SET NULL);
    CREATE TABLE log (id int, at timestamptz NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE log_2020 PARTITION OF log FOR VALUES FROM ('2020-01-01Z') TO ('2021-01-01Z');
    CREATE TABLE log_2021 PARTITION OF log FOR VALUES FROM ('2021-01-01Z') TO ('2022-01-01Z');
    CREATE TABLE letters (id int, created_at timestamptz NOT NULL);
    CREATE TABLE policies (table_name text, retention_days int, archive_enabled bool DEFAULT true, delete_enabled bool DEFAULT false,
        last_run_at timestamptz);
    CREATE SCHEMA archive;
    INSERT INTO accounts VALUES (1, '2020-01-01Z'); INSERT INTO members VALUES (1, 1); INSERT INTO \"Le Λedger\" VALUES (1, 1, 1);
    INSERT INTO log VALUES (1, '2020-06-01Z'); INSERT INTO letters VALUES (1, '2020-01-01Z');
    INSERT INTO policies VALUES ('letters', 30)";

fn tending(db: &Database, never: &str, jobs: &str) -> Pgtend {
    Pgtend::new(&format!(
        "[databases.main]\nurl = \"{}\"\nnever = [{never}]\n[http]\nlisten = \"{{listen}}\"\n{jobs}",
        db.url()
    ))
}

/// What a run of the only job says went wrong, and that it has taken nothing.
async fn refused(db: &Database, never: &str, job: &str) -> String {
    let program = tending(db, never, &format!("[jobs.tidy]\n[jobs.tidy.{job}"));
    let said = program.run(["check"]).await.exits(1).stdout;
    let record = program.run(["run", "tidy", "--json"]).await.exits(1).json().remove(0);
    assert!(["failed", "partial"].contains(&record["outcome"].as_str().unwrap()), "{record}");
    let error = record["details"]["failures"][0]["error"].as_str().unwrap_or_else(|| panic!("{record}")).to_owned();
    assert!(said.contains(error.split(';').next().unwrap()), "check says the same: {said}\n{error}");
    for table in ["accounts", "members", "\"Le Λedger\"", "log", "letters"] {
        assert_eq!(db.count(table).await, 1, "{table}");
    }
    assert_eq!(db.count("pg_inherits").await, 2);
    error
}

#[tokio::test]
async fn a_config_that_contradicts_itself_is_not_read() {
    on_each_major(async |db| {
        for job in [
            "expire]\ntables = [{ table = 'letters', column = 'created_at' }]",
            "retention]\ntables = [{ table = 'letters', keep = '1 year', column = 'created_at' }]",
            "summarize]\ntable = 'letters'\ninto = 'a_day'\nolder_than = '1 year'\ntime = 'created_at'\ndate = 'day'\nby = []\ncount = 'n'",
        ] {
            for never in ["'letters'", "'accounts', 'public.let*'"] {
                let program = tending(&db, never, &format!("[jobs.tidy]\n[jobs.tidy.{job}\n"));
                let said = program.run(["run", "tidy"]).await.exits(2).stderr;
                assert!(said.contains("letters is one of the tables of which nothing may go"), "{said}");
            }
        }
        // What takes nothing is as welcome as ever.
        let program = tending(&db, "'*'", "[jobs.tidy.vacuum]\ntables = ['*']\n[jobs.watch.health]\n");
        program.run(["check", "--offline"]).await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn what_only_the_database_knows_is_refused_there() {
    on_each_major(async |db| {
        db.execute(APPLICATION).await;
        // A table of policies that somebody has added one to.
        let said = refused(&db, "'letters'", "retention.policies]\ntable = 'policies'\nto = 'archive'\n").await;
        assert!(said.contains("public.letters is one of the tables of which nothing may go"), "{said}");
        // Another name for a part of it, and for the whole of which it is a part.
        for (never, named) in [("'log'", "log_2020"), ("'log_2021'", "log")] {
            let entry = format!("expire]\ntables = [{{ table = '{named}', column = 'at' }}]");
            let said = refused(&db, never, &entry).await;
            assert!(said.contains(&format!("public.{} is one of", never.trim_matches('\''))), "{said}");
        }
        let said = refused(&db, "'log_2021'", "retention]\ntables = [{ table = 'log', keep = '1 year' }]").await;
        assert!(said.contains("public.log_2021 is one of"), "{said}");
        // What a foreign key takes along, two links away, or changes.
        let accounts = "expire]\ntables = [{ table = 'accounts', column = 'created_at' }]";
        let said = refused(&db, r#"'"Le Λedger"'"#, accounts).await;
        assert!(said.contains("would go or change with those of public.accounts (constraint"), "{said}");
        db.execute("ALTER TABLE \"Le Λedger\" DROP COLUMN member").await;
        let said = refused(&db, r#"'"Le Λedger"'"#, accounts).await;
        assert!(said.contains("_owner_fkey"), "{said}");
        // One that only refuses changes nothing, and rows that move take none along.
        db.execute("ALTER TABLE \"Le Λedger\" DROP COLUMN owner").await;
        tending(&db, r#"'"Le Λedger"'"#, &format!("[jobs.tidy]\n[jobs.tidy.{accounts}"))
            .run(["run", "tidy"])
            .await
            .exits(0);
        assert_eq!((db.count("accounts").await, db.count("\"Le Λedger\"").await), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn a_name_that_no_table_has_is_told() {
    on_each_major(async |db| {
        db.execute("CREATE TABLE accounts ()").await;
        let said =
            tending(&db, "'acounts', 'accounts', 'nothing.*'", "[jobs.watch.health]\n").run(["check"]).await.exits(0);
        assert!(said.stdout.contains("never names public.acounts, and there is no such table"), "{}", said.stdout);
        assert!(!said.stdout.contains("accounts,"), "{}", said.stdout);
    })
    .await;
}
