//! Helix: the whole database as SQL, to a directory that keeps thirty days.

use std::fs;

use super::{Job, contents, stand_in};
use crate::backup::{bin, shell};
use crate::shipped_partitions::{STORES, alone};
use crate::support::{Cluster, Database, majors, on_each_major};

const NAME: &str = "helix-backup";

fn load(db: &Database) -> Job {
    db.load("helix.sql", &[("rows", "1000")]);
    Job::shipped(db, "helix.toml", NAME)
}

/// How the file says that it is brought back.
fn restore() -> String {
    let text = alone("helix.toml");
    let line = text.lines().find_map(|line| line.strip_prefix("#     gzip -dc ")).expect("the line that restores it");
    format!("gzip -dc {}", line.replace("-d helix", "-d \"$URL\""))
}

#[tokio::test]
async fn the_line_of_the_file_brings_back_every_row_or_nothing() {
    on_each_major(async |db| {
        let job = load(&db);
        let before = contents(&db).await;
        let details = job.run().await;
        let id = job.ids("local").remove(0);
        let folder = job.folder("local", &id);
        let scratch = db.cluster().database().await;
        shell(&scratch, &restore(), &folder);
        assert_eq!(contents(&scratch).await, before);
        // The line that says complete is not the last one any more.
        shell(&db, "gzip -dc app.sql.gz | tail -n 2 | grep -q '^.unrestrict '", &folder);
        assert!(details["targets"][0]["verified"].as_str().unwrap().contains("end marker"), "{details}");
        // Where something is already, psql alone goes on behind each error, and says that all is well.
        let half = db.cluster().database().await;
        half.execute("CREATE TABLE projects (id int)").await;
        shell(&half, &format!("! {}", restore()), &folder);
        let tables = "pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
        assert_eq!(half.count(tables).await, 1, "all of it, or nothing");
        shell(&half, "gzip -dc app.sql.gz | psql -X -q \"$URL\" 2>errors.txt", &folder);
        assert!(
            half.count(tables).await > 1 && fs::read_to_string(folder.join("errors.txt")).unwrap().contains("ERROR")
        );
    })
    .await;
}

/// Nothing that is packed well, and nothing that is pruned for it.
#[tokio::test]
async fn a_dump_of_nothing_is_no_backup() {
    on_each_major(async |db| {
        let job = load(&db);
        job.run().await;
        let first = job.ids("local");
        let there = fs::read_to_string(job.program.config()).unwrap();
        job.program.configure(&there.replace(&format!("/{}?", db.name()), "/not_there?"));
        let output = job.program.run(["run", NAME, "--json"]).await.exits(1);
        assert!(
            format!("{}{}", output.stdout, output.stderr).contains("database \\\"not_there\\\" does not exist"),
            "{output:?}"
        );
        job.program.configure(&there);
        for (script, says) in [
            ("exit 0", "(0 bytes) is no whole dump"),
            // Cut where a connection might be, with nobody to say so.
            ("\"$REAL\" \"$@\" | head -c 50000", "is no whole dump"),
            ("\"$REAL\" --format=plain --dbname=\"host=/nowhere\"", "pg_dump ended with status 1"),
        ] {
            job.use_programs(Some(&stand_in(&job, &db, script)));
            let (outcome, error) = job.fails().await;
            assert!(outcome == "failed" && error.contains(says), "{script}: {error}");
        }
        assert_eq!(job.ids("local"), first);
        job.use_programs(Some(&bin(&db)));
        job.run().await;
        assert_eq!(job.ids("local").len(), 2);
    })
    .await;
}

/// Not with the application's own roles, and with what the file names.
#[tokio::test]
async fn a_reader_that_is_not_meant_for_it_is_told_and_the_files_grants_are_enough() {
    for major in majors() {
        let db = Cluster::own(major).database().await;
        db.load("helix.sql", &[("rows", "200"), ("roles", "on")]);
        db.execute(&format!(
            "ALTER ROLE helix_readonly LOGIN; CREATE ROLE pgtend LOGIN; CREATE SCHEMA pgtend AUTHORIZATION helix_readonly;
             CREATE TABLE later (n int); GRANT CREATE ON DATABASE \"{}\" TO pgtend;",
            db.name()
        ))
        .await;
        let reader = Job::with(&db, &db.url_as("helix_readonly"), "helix.toml", NAME, STORES);
        let (fine, found) = reader.check().await;
        assert!(!fine && found.contains("sequence") && found.contains("public.later"), "{found}");
        let (_, error) = reader.fails().await;
        assert!(error.contains("permission denied"), "{error}");
        assert!(reader.ids("local").is_empty());

        db.execute("DROP SCHEMA pgtend CASCADE").await;
        let job = Job::with(&db, &db.url_as("pgtend"), "helix.toml", NAME, STORES);
        for grant in crate::shipped_retention::grants(&alone("helix.toml")) {
            db.execute(&grant).await;
        }
        let (fine, found) = job.check().await;
        assert!(fine, "{found}");
        job.run().await;
        let scratch = db.cluster().database().await;
        shell(&scratch, &restore(), &job.folder("local", &job.ids("local")[0]));
        assert_eq!(contents(&scratch).await, contents(&db).await);
        assert!(scratch.scalar::<bool>("SELECT has_table_privilege('helix_readonly', 'users', 'SELECT')").await);
    }
}
