//! What cannot be counted is refused before a row is touched, with what to do about it.

use super::*;
use crate::support::{Cluster, newest_major, on_newest_or_all};

/// A change to the tables, and what is said then; the mend, where it is SQL that does, is tried.
async fn refused(db: &Database, change: &str, keys: &str, expect: &[&str], mend: &str) {
    db.execute(&format!("DROP TABLE IF EXISTS error_log, error_log_summary CASCADE; {ERRORS} {}", old(10, 10, "db")))
        .await;
    db.execute(change).await;
    let program = tending(db, keys);
    let check = program.run(["check"]).await.exits(1).stdout;
    let record = run(&program, 1).await;
    assert_eq!(record["outcome"], "failed", "{record}");
    for expect in expect {
        assert!(check.contains(expect), "{change}: {check} does not say {expect}");
        assert!(failure(&record).contains(expect), "{change}: {} does not say {expect}", failure(&record));
    }
    assert_eq!(db.count("error_log").await, 10);
    if !mend.is_empty() {
        assert!(failure(&record).contains(mend), "{}", failure(&record));
        db.execute(mend).await;
        run(&program, 0).await;
        assert_eq!(counted(db).await, (10, 0), "after {mend}");
    }
}

const UNIQUE: &str =
    "CREATE UNIQUE INDEX CONCURRENTLY ON \"public\".\"error_log_summary\" (\"date\", \"category\", \"code\");";
const NO_KEY: &str = "ALTER TABLE error_log_summary DROP CONSTRAINT error_log_summary_date_category_code_key;";

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_without_a_unique_key_that_serves_is_refused_with_the_index_to_make() {
    on_newest_or_all(async |db| {
        for (key, flaw) in [
            ("", ""),
            ("CREATE UNIQUE INDEX u ON error_log_summary (date, category);", ""),
            ("CREATE UNIQUE INDEX u ON error_log_summary (date, category, code, id);", ""),
            ("CREATE INDEX u ON error_log_summary (date, category, code);", ""),
            ("CREATE UNIQUE INDEX u ON error_log_summary (date, lower(category), code);", ""),
            (
                "CREATE UNIQUE INDEX u ON error_log_summary (date, category, code) WHERE code > 0;",
                " (index u has a condition of its own)",
            ),
        ] {
            let said =
                format!("has no unique key on (\"date\", \"category\", \"code\"){flaw}, by which counts are added");
            // A key on less stays in the way of the right one.
            let mend = if key.ends_with("(date, category);") { "" } else { UNIQUE };
            refused(&db, &format!("{NO_KEY} {key}"), SUMMARIZE, &[&said], mend).await;
        }
        // One that is deferrable stands in the way of one that is not.
        for beside in ["", NO_KEY] {
            let key = "ALTER TABLE error_log_summary ADD CONSTRAINT u UNIQUE (date, category, code) DEFERRABLE;";
            let mend = "ALTER TABLE \"public\".\"error_log_summary\" DROP CONSTRAINT \"u\", ADD UNIQUE (\"date\", \"category\", \"code\");";
            refused(&db, &format!("{beside} {key}"), SUMMARIZE, &["the unique key \"u\" of public.error_log_summary is deferrable"], mend).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_do_not_fit_are_refused() {
    on_newest_or_all(async |db| {
        for (change, said, mend) in [
            ("ALTER TABLE error_log_summary ALTER date TYPE timestamptz", "column \"date\" of public.error_log_summary is of type timestamp with time zone, and must be date", "ALTER TABLE \"public\".\"error_log_summary\" ALTER COLUMN \"date\" TYPE date;"),
            ("ALTER TABLE error_log_summary ALTER code TYPE bigint", "\"code\" of public.error_log_summary is of type bigint, and must be of that of public.error_log, integer", "ALTER TABLE \"public\".\"error_log_summary\" ALTER COLUMN \"code\" TYPE integer;"),
            ("ALTER TABLE error_log_summary ALTER category TYPE varchar(20)", "is of type character varying(20), and must be of that", "ALTER TABLE \"public\".\"error_log_summary\" ALTER COLUMN \"category\" TYPE character varying(50);"),
            ("ALTER TABLE error_log_summary ALTER category TYPE varchar(50) COLLATE \"C\"", "has one collation in public.error_log and another", ""),
            ("ALTER TABLE error_log_summary ALTER count DROP DEFAULT, ALTER count TYPE real", "is of type real, and must be bigint, integer", "ALTER TABLE \"public\".\"error_log_summary\" ALTER COLUMN \"count\" TYPE bigint;"),
            ("ALTER TABLE error_log_summary ADD host text NOT NULL", "column \"host\" of public.error_log_summary needs a value and has no default", ""),
            ("ALTER TABLE error_log_summary DROP count, ADD count int GENERATED ALWAYS AS (1) STORED", "column \"count\" of public.error_log_summary is generated", ""),
            ("ALTER TABLE error_log_summary RENAME count TO n", "public.error_log_summary has no column \"count\"", ""),
            ("ALTER TABLE error_log RENAME code TO kode", "public.error_log has no column \"code\"", ""),
            ("ALTER TABLE error_log RENAME created_at TO at", "public.error_log has no column \"created_at\"", ""),
            ("ALTER TABLE error_log ALTER created_at DROP DEFAULT, ALTER created_at TYPE text", "must be timestamptz, timestamp or date; name another column with time", ""),
            ("DROP TABLE error_log_summary", "there is no table public.error_log_summary", "CREATE TABLE \"public\".\"error_log_summary\" (\"date\" date NOT NULL, \"category\" character varying(50), \"code\" integer, \"count\" bigint NOT NULL, UNIQUE (\"date\", \"category\", \"code\"));"),
            ("DROP TABLE error_log_summary; CREATE VIEW error_log_summary AS SELECT 1", "public.error_log_summary is a view, and counts are kept in tables only", ""),
            ("ALTER TABLE error_log ADD date date; DROP TABLE error_log_summary; CREATE TABLE error_log_summary (count int, UNIQUE (date, category, code)) INHERITS (error_log)", "public.error_log_summary is a part of public.error_log", ""),
        ] {
            let (change, drop_view) = (change.to_owned(), change.contains("VIEW"));
            // A check says mends on a line of its own.
            let said: Vec<_> = said.split("; ").collect();
            refused(&db, &change, SUMMARIZE, &said, mend).await;
            if drop_view {
                db.execute("DROP VIEW error_log_summary").await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_is_told_the_grant() {
    on_each_major(async |db| {
        db.execute(&format!("{ERRORS} {}", old(10, 10, "db"))).await;
        let role = format!("counter_{}", db.cluster().port());
        db.execute(&format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE \"{}\" TO {role}", db.name())).await;
        let url = db.url_as(&role);
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{url}\"\n{}", job("errors", SUMMARIZE)));
        let mut granted = Vec::new();
        // Each refusal is mended by what it says, until there is none.
        for expect in [
            "lacks SELECT, INSERT, UPDATE on public.error_log_summary, and USAGE on sequence",
            "lacks SELECT, UPDATE, DELETE on public.error_log",
        ] {
            let check = program.run(["check"]).await.exits(1).stdout;
            let record = run(&program, 1).await;
            let said = failure(&record);
            assert!(said.contains(expect) && check.contains(expect), "{said}\n{check}");
            let grants = said[said.find("GRANT").unwrap_or_else(|| panic!("no GRANT in {said}"))..].to_owned();
            db.execute(&grants).await;
            granted.push(grants);
        }
        run(&program, 0).await;
        assert_eq!(counted(&db).await, (10, 0), "after {granted:?}");
        db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_security_on_either_table_is_refused() {
    on_each_major(async |db| {
        let role = format!("hidden_{}", db.cluster().port());
        db.execute(&format!("{ERRORS} {} CREATE ROLE {role} LOGIN", old(10, 10, "db"))).await;
        db.execute(&format!(
            "GRANT CREATE ON DATABASE \"{}\" TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
            db.name()
        ))
        .await;
        let url = db.url_as(&role);
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{url}\"\n{}", job("errors", SUMMARIZE)));
        for table in ["error_log", "error_log_summary"] {
            db.execute(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")).await;
            let record = run(&program, 1).await;
            let said = format!("row security hides rows of public.{table} from role \"{role}\"");
            assert!(failure(&record).contains(&said), "{}", failure(&record));
            assert!(program.run(["check"]).await.exits(1).stdout.contains(&said));
            assert_eq!(counted(&db).await, (0, 10));
            db.execute(&format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")).await;
        }
        db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_swallows_a_row_of_the_summary_takes_everything_back() {
    on_each_major(async |db| {
        for (index, event, nulls) in [("", "INSERT", "NOT NULL"), (NO_INDEX, "INSERT", "NOT NULL"), ("", "UPDATE", "NOT NULL"), ("", "UPDATE", "NULL")] {
            db.execute(&format!("DROP TABLE IF EXISTS error_log, error_log_summary; {ERRORS} {index} {}", old(10, 10, "db"))).await;
            if nulls == "NULL" {
                db.execute(
                    "ALTER TABLE error_log ALTER category DROP NOT NULL; ALTER TABLE error_log_summary ALTER category DROP NOT NULL;
                     UPDATE error_log SET category = NULL",
                )
                .await;
            }
            db.execute(&format!(
                "INSERT INTO error_log_summary (date, category, code) SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date, category, code FROM error_log;
                 CREATE OR REPLACE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
                 CREATE TRIGGER swallow BEFORE {event} ON error_log_summary FOR EACH ROW WHEN (new.code = 1) EXECUTE FUNCTION swallow();"
            ))
            .await;
            let program = tending(&db, SUMMARIZE);
            let record = run(&program, 1).await;
            assert!(failure(&record).contains("fewer rows arrived than were sent"), "{}", failure(&record));
            assert_eq!(counted(&db).await, (0, 10), "{event} {nulls}");
            db.execute("DROP TRIGGER swallow ON error_log_summary").await;
            run(&program, 0).await;
            assert_eq!(counted(&db).await, (10, 0));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_leaves_a_count_as_it_was_takes_everything_back() {
    on_each_major(async |db| {
        for (nulls, body, counts) in [
            ("NOT NULL", "RETURN OLD", false),
            ("NULL", "RETURN OLD", false),
            ("NOT NULL", "NEW.count := least(NEW.count, 41); RETURN NEW", false),
            // Of the kind that everybody has, and must not stand in the way.
            ("NOT NULL", "NEW.seen_at := now(); RETURN NEW", true),
            ("NULL", "NEW.seen_at := now(); RETURN NEW", true),
        ] {
            db.execute(&format!(
                "DROP TABLE IF EXISTS error_log, error_log_summary; {ERRORS} {} ALTER TABLE error_log ALTER category DROP NOT NULL;
                 ALTER TABLE error_log_summary ALTER category DROP NOT NULL, ADD seen_at timestamptz;",
                old(10, 10, "db")
            ))
            .await;
            if nulls == "NULL" {
                db.execute("UPDATE error_log SET category = NULL").await;
            }
            db.execute(&format!(
                "INSERT INTO error_log_summary (date, category, code, count)
                     SELECT (created_at AT TIME ZONE 'UTC')::date, category, code, 40 FROM error_log WHERE code = 1 LIMIT 1;
                 CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$;
                 CREATE TRIGGER touch BEFORE UPDATE ON error_log_summary FOR EACH ROW EXECUTE FUNCTION touch();"
            ))
            .await;
            let program = tending(&db, SUMMARIZE);
            let record = run(&program, i32::from(!counts)).await;
            if counts {
                assert_eq!(counted(&db).await, (50, 0), "{nulls} {body}");
                continue;
            }
            assert!(failure(&record).contains("fewer rows arrived than were sent"), "{}", failure(&record));
            assert_eq!(counted(&db).await, (40, 10), "{nulls} {body}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_a_crash_would_empty_is_refused() {
    on_each_major(async |db| {
        let why = "public.error_log_summary is not logged: the server empties it after a crash";
        let mend = "ALTER TABLE public.error_log_summary SET LOGGED;";
        refused(&db, "ALTER TABLE error_log_summary SET UNLOGGED", SUMMARIZE, &[why], mend).await;
        // A log that is emptied then too has nothing to lose.
        db.execute(&format!("DROP TABLE error_log, error_log_summary; {ERRORS} {}", old(10, 10, "db"))).await;
        db.execute("ALTER TABLE error_log_summary SET UNLOGGED; ALTER TABLE error_log SET UNLOGGED").await;
        run(&tending(&db, SUMMARIZE), 0).await;
        assert_eq!(counted(&db).await, (10, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_of_the_summary_that_refuses_a_group_is_named_and_nothing_is_lost() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{ERRORS} {} CREATE TABLE category (name varchar(50) PRIMARY KEY);
             ALTER TABLE error_log_summary ADD CONSTRAINT known FOREIGN KEY (category) REFERENCES category;",
            old(10, 10, "db")
        ))
        .await;
        let program = tending(&db, SUMMARIZE);
        let record = run(&program, 1).await;
        assert!(
            failure(&record).contains("constraint known of public.error_log_summary refuses what arrives there"),
            "{}",
            failure(&record)
        );
        assert_eq!(counted(&db).await, (0, 10));
        db.execute("INSERT INTO category VALUES ('db')").await;
        run(&program, 0).await;
        assert_eq!(counted(&db).await, (10, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_refer_to_stay_and_the_rest_is_counted() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{ERRORS} {} CREATE TABLE ticket (error bigint REFERENCES error_log); CREATE TABLE note (error bigint REFERENCES error_log ON DELETE CASCADE);
             CREATE INDEX ON note (error); INSERT INTO ticket VALUES (3); INSERT INTO note VALUES (4), (4), (3);",
            old(10, 10, "db")
        ))
        .await;
        let record = run(&tending(&db, SUMMARIZE), 0).await;
        assert_eq!(counted(&db).await, (9, 1));
        assert_eq!(db.count("note").await, 1);
        assert_eq!(record["details"]["rows_of_referencing_tables"]["public.note"], 2);
        let warnings = record["details"]["warnings"].to_string();
        assert!(warnings.contains("1 row that are old stay, because rows of public.ticket refer to them"), "{warnings}");
    })
    .await;
}

/// To PostgreSQL `CET` is an hour from UTC, summer and winter, where it stands in an expression.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_days_are_others_to_the_server_is_refused() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute(&format!("{ERRORS} {}", old(10, 10, "db"))).await;
    let jobs = |zone: &str| format!("[jobs.errors]\ntimezone = '{zone}'\n[jobs.errors.summarize]\n{SUMMARIZE}");
    let program = Pgtend::tending(&db, &jobs("CET"));
    let record = run(&program, 1).await;
    assert!(failure(&record).contains("by the server's reckoning"), "{}", failure(&record));
    assert!(program.run(["check"]).await.exits(1).stdout.contains("by the server's reckoning"));
    assert_eq!(counted(&db).await, (0, 10));
    for zone in ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu"] {
        Pgtend::tending(&db, &jobs(zone)).run(["check"]).await.exits(0);
    }
}
