//! lukhas: the whole database to a bucket and a directory, and a week of it in the directory.

use std::collections::BTreeSet;
use std::fs;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Job, contents, stand_in};
use crate::backup::shell;
use crate::shipped_partitions::{STORES, shipped, sqlstate};
use crate::support::s3::{Fault, Harm, Op};
use crate::support::{Clock, Cluster, Database, Pgtend, S3Server, keeper, newest_major, on_each_major};

const NAME: &str = "lukhas-backup";

fn load(db: &Database) -> Job {
    db.load("lukhas.sql", &[("rows", "2000")]);
    Job::shipped(db, "lukhas.toml", NAME)
}

/// The bucket is one, and the directory beside the config.
fn to_a_bucket(db: &Database, server: &S3Server, more: &str) -> Job {
    db.load("lukhas.sql", &[("rows", "2000")]);
    let stores = format!("{}{more}\n[stores.local.directory]\npath = \"local\"\n", server.config("offsite"));
    let mut job = Job::with(db, &db.url(), "lukhas.toml", NAME, &stores);
    for (name, value) in server.env() {
        job.program = job.program.env(name, value);
    }
    job
}

/// What gzip packed is not packed already, and has one name in both places.
#[tokio::test]
async fn the_bucket_and_the_directory_both_bring_back_every_row() {
    on_each_major(async |db| {
        let server = S3Server::start();
        let job = to_a_bucket(&db, &server, "");
        let (fine, found) = job.check().await;
        assert!(fine && found.contains("job lukhas-backup: dumps "), "{found}");
        let before = contents(&db).await;
        let details = job.run().await;
        assert_eq!(contents(&db).await, before);

        let [id] = job.ids("local").try_into().expect("one backup");
        assert_eq!(details["backup"], id.as_str());
        let fetched = keeper::new_folder("fetched");
        for (key, object) in server.objects() {
            let name = key.strip_prefix(&format!("pg/{NAME}/{id}/")).unwrap_or_else(|| panic!("{key} is not of {id}"));
            fs::write(fetched.join(name), &object.bytes).unwrap();
        }
        let names = |folder: &std::path::Path| -> BTreeSet<String> {
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        assert_eq!(names(&fetched), names(&job.folder("local", &id)));
        for folder in [fetched, job.folder("local", &id)] {
            let scratch = db.cluster().database().await;
            // The roles first, as on a fresh server: here they are there already.
            shell(&scratch, "gzip -dc globals.sql.gz | grep -q 'CREATE ROLE postgres'", &folder);
            // The file's own gzip is all the packing there is.
            shell(&scratch, "test \"$(gzip -dc app.dump.gz | head -c 5)\" = PGDMP", &folder);
            shell(&scratch, "gzip -dc app.dump.gz | pg_restore --exit-on-error --dbname \"$URL\"", &folder);
            assert_eq!(contents(&scratch).await, before);
            let orphan =
                "INSERT INTO test_results (test_run_id, test_name, status) VALUES (gen_random_uuid(), 'x', 'passed')";
            assert_eq!(sqlstate(&scratch, orphan).await, "23503", "the foreign key of all months is there");
            // And it is tended as the first one was.
            let plan = Pgtend::tending(&scratch, &shipped("lukhas.toml")).run(["plan", "lukhas-partitions"]).await;
            assert!(plan.exits(0).stdout.contains("create_partition"));
        }
        let manifest = job.manifest("local", &id);
        assert!(manifest["options"].as_array().unwrap().iter().any(|option| option == "--compress=0"), "{manifest}");
        assert!(details["ratio"].as_f64().unwrap() > 2.0, "{details}");
    })
    .await;
}

#[tokio::test]
async fn two_on_one_day_are_two_and_none_is_written_over() {
    on_each_major(async |db| {
        let job = load(&db);
        job.run().await;
        let first = job.ids("local").remove(0);
        let read = |store: &str| fs::read(job.folder(store, &first).join("app.dump.gz")).unwrap();
        let before = (read("local"), read("offsite"));
        db.execute("DELETE FROM sessions").await;
        job.run().await;
        for store in ["local", "offsite"] {
            let ids = job.ids(store);
            assert_eq!((ids.len(), &ids[0]), (2, &first), "{store}");
        }
        assert!((read("local"), read("offsite")) == before);
    })
    .await;
}

/// The week counts from the newest good backup, and the bucket keeps all.
#[tokio::test]
async fn the_directory_keeps_a_week_and_thirty_days_that_fail_take_nothing_of_it() {
    let clock = Clock::at("2026-03-01T00:59:00Z");
    let db = Cluster::by(&clock, newest_major()).database().await;
    db.load("lukhas.sql", &[("rows", "20")]);
    let job = Job::shipped(&db, "lukhas.toml", NAME);
    let job = Job { program: job.program.by(&clock), ..job };
    let first: DateTime<Utc> = "2026-03-01T01:00:00Z".parse().unwrap();
    let day = |n: i64| (first + TimeDelta::days(n)).to_rfc3339();
    let days = |store: &str| -> Vec<i64> {
        let of = |id: String| (id[..10].parse::<chrono::NaiveDate>().expect("a day") - first.date_naive()).num_days();
        job.ids(store).into_iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
    };
    for n in 0..=9 {
        clock.set(&day(n));
        job.run().await;
        if n == 2 {
            clock.set("2026-03-03T15:00:00Z");
            job.run().await;
        }
        let kept: Vec<i64> = (0.max(n - 7)..=n).collect();
        assert_eq!((days("local"), days("offsite")), (kept, (0..=n).collect()));
    }
    assert!(job.ids("local").iter().any(|id| id.starts_with("2026-03-03T15")), "it was of within a week");
    let week = job.ids("local");
    // What was to be dumped is not there, or not the program that does it.
    job.use_programs(Some(&job.program.folder().join("nowhere")));
    for n in 10..40 {
        clock.set(&day(n));
        let (outcome, _) = job.fails().await;
        assert_eq!(outcome, "failed");
    }
    assert_eq!(job.ids("local"), week);
    job.use_programs(None);
    clock.set(&day(40));
    job.run().await;
    assert_eq!(days("local"), [3, 4, 5, 6, 7, 8, 9, 40], "the newest of each of eight days that have one");
    assert_eq!(days("offsite").len(), 11);
}

/// Whatever is wrong with the dump, there is no good backup of it, and all others stay.
#[tokio::test]
async fn a_dump_that_failed_is_not_taken_for_one() {
    on_each_major(async |db| {
        let job = load(&db);
        job.run().await;
        let first = job.ids("local");
        let nowhere = job.program.folder().join("nowhere");
        job.use_programs(Some(&nowhere));
        let major = db.cluster().major();
        for said in [job.fails().await.1, job.check().await.1] {
            assert!(said.contains(&format!("postgresql-client-{major}")) && said.contains("nowhere"), "{said}");
        }
        for (script, says) in [
            (
                "echo 'pg_dump: error: out of luck' >&2; exit 1",
                "pg_dump ended with status 1: pg_dump: error: out of luck",
            ),
            ("\"$REAL\" \"$@\"; exit 1", "pg_dump ended with status 1"),
            ("exit 0", "pg_dump ended well, but what it wrote (0 bytes) is no whole dump"),
            ("echo no dump", "is no whole dump"),
        ] {
            job.use_programs(Some(&stand_in(&job, &db, script)));
            let (outcome, error) = job.fails().await;
            assert!(outcome == "failed" && error.contains(says), "{script}: {error}");
            assert_eq!((job.ids("local"), job.ids("offsite")), (first.clone(), first.clone()), "{script}");
        }
        // The beginning of one, and status 0: there is a table of contents, and pg_restore --list is content with it.
        job.use_programs(Some(&stand_in(&job, &db, "\"$REAL\" \"$@\" | head -c 100000")));
        let (outcome, error) = job.fails().await;
        assert!(outcome == "failed" && error.contains("pg_restore"), "{error}");
        let cut = job.ids("local").pop().unwrap();
        // Not by a pipe, whose other end pg_restore does not read to the end.
        let list = "gzip -dc app.dump.gz >cut.dump; pg_restore --list cut.dump >/dev/null; rm cut.dump";
        shell(&db, list, &job.folder("local", &cut));
        assert_eq!(crate::backup::json(&job.folder("local", &cut).join("verified.json"))["good"], false);
        // It counts for nothing, and goes with those of its age where anything is ever deleted: its bytes are what was written.
        job.use_programs(None);
        job.run().await;
        let (local, offsite) = (job.ids("local"), job.ids("offsite"));
        assert_eq!((local.len(), &local[0], local.contains(&cut)), (3, &first[0], true));
        assert_eq!((offsite.len(), offsite.contains(&cut)), (3, true));
    })
    .await;
}

/// What happened in one place is no reason to delete in the other.
#[tokio::test]
async fn a_bucket_that_takes_nothing_is_told_and_the_directory_has_its_backup() {
    on_each_major(async |db| {
        let server = S3Server::start();
        let job = to_a_bucket(&db, &server, "attempts = 2");
        job.run().await;
        let there: Vec<String> = server.objects().into_keys().collect();
        server.fail(Fault::new(Op::Put, Harm::Refuse(403, "AccessDenied")).always());
        server.fail(Fault::new(Op::Create, Harm::Refuse(403, "AccessDenied")).always());
        let (outcome, error) = job.fails().await;
        assert!(outcome == "partial" && error.contains("s3://backups/pg"), "{error}");
        assert_eq!(server.objects().into_keys().collect::<Vec<_>>(), there);
        assert!(server.uploads().is_empty());
        assert_eq!(job.ids("local").len(), 2);
    })
    .await;
}

/// An empty database makes a good dump, and is none that anybody wants.
#[tokio::test]
async fn a_database_that_lost_its_rows_is_told_though_its_dump_is_good() {
    on_each_major(async |db| {
        let job = load(&db);
        for _ in 0..3 {
            job.run().await;
        }
        db.execute("TRUNCATE test_runs, test_results, coverage_data, consciousness_reviews, sessions").await;
        let details = job.run().await;
        let warnings = details["warnings"].to_string();
        for store in ["local", "offsite"] {
            assert!(warnings.contains(&format!("/{store}: the dump has ")), "{warnings}");
        }
        assert!(warnings.contains("of what is usual here"), "{warnings}");
        assert_eq!(job.ids("local").len(), 4, "and nothing went for it");
    })
    .await;
}

#[tokio::test]
async fn the_privileges_that_the_file_names_are_enough() {
    for major in crate::support::majors() {
        let db = Cluster::own(major).database().await;
        db.load("lukhas.sql", &[("rows", "100")]);
        db.execute(&format!(
            "CREATE ROLE lukhas PASSWORD 'of lukhas'; CREATE ROLE pgtend LOGIN; GRANT CREATE ON DATABASE \"{}\" TO pgtend;
             REVOKE ALL ON SCHEMA public FROM PUBLIC;
             DO $$ DECLARE t regclass; BEGIN
               FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
                 EXECUTE format('ALTER TABLE %s OWNER TO lukhas', t); END LOOP; END $$",
            db.name()
        ))
        .await;
        let job = Job::with(&db, &db.url_as("pgtend"), "lukhas.toml", NAME, STORES);
        let (fine, found) = job.check().await;
        assert!(!fine && found.contains("GRANT pg_read_all_data TO pgtend"), "{found}");
        let (_, error) = job.fails().await;
        assert!(error.contains("permission denied"), "{error}");
        for grant in crate::shipped_retention::grants(&shipped("lukhas.toml")) {
            db.execute(&grant).await;
        }
        let (fine, found) = job.check().await;
        assert!(fine, "{found}");
        job.run().await;
        let scratch = db.cluster().database().await;
        let folder = job.folder("local", &job.ids("local")[0]);
        // Who may read everything may read the digests of passwords, as the file says.
        assert_eq!(job.manifest("local", &job.ids("local")[0])["role_passwords"], true);
        shell(&scratch, "gzip -dc globals.sql.gz | grep -q \"ALTER ROLE lukhas .* PASSWORD 'SCRAM\"", &folder);
        shell(&scratch, "gzip -dc app.dump.gz | pg_restore --exit-on-error --dbname \"$URL\"", &folder);
        assert_eq!(contents(&scratch).await, contents(&db).await);
    }
}
