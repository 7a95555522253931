//! Round trips: what was dumped is there again, row by row.

use super::{back_up, cut_off, exists, into, two_stores};
use crate::backup::restored::{fingerprint, odd_database};
use crate::backup::{bin, jobs, setting};
use crate::support::s3::S3Server;
use crate::support::{Cluster, Database, Pgtend, majors, newest_major, on_each_major};

#[tokio::test]
async fn every_format_and_packing_is_restored_into_what_is_empty_or_missing() {
    on_each_major(async |db| {
        odd_database(&db).await;
        let before = fingerprint(&db).await;
        let server = S3Server::start();
        let ways = [("custom", "zstd:1"), ("custom", "gzip:6"), ("custom", "none"), ("plain", "zstd:3"), ("plain", "gzip:1"), ("plain", "none")];
        for (n, (format, compression)) in ways.into_iter().enumerate() {
            let setting = two_stores(&db, &server, &format!("format = \"{format}\"\ncompression = \"{compression}\""));
            let id = back_up(&setting).await;
            cut_off(&setting, &db);
            // One from the directory into a database of an odd name that is not there, one from the bucket into an empty one.
            let name = format!("it's \"Ω\" \\ {n} of {}", db.name().chars().take(8).collect::<String>());
            let output = setting.program.run(["backup", "restore", "--store", "local", "--into", &into(db.cluster(), &name)]).await;
            let said = output.exits(0).stdout;
            assert!(said.contains("which was made") && said.contains("tables") && said.contains(&id), "{said}");
            let made = Database::named(db.cluster().clone(), &name);
            assert_eq!(fingerprint(&made).await, before, "{format} {compression}");

            let empty = db.cluster().database().await;
            empty.execute("create extension if not exists plpgsql").await;
            let args = ["backup", "restore", &id, "--store", "offsite", "--json", "--into", &empty.url()];
            let told = setting.program.run(args).await.exits(0).json().remove(0);
            assert_eq!(fingerprint(&empty).await, before, "{format} {compression}");
            let tables: i64 = empty
                .scalar("select count(*) from pg_class where relkind in ('r', 'p') and oid >= 16384 and relnamespace::regnamespace::text !~ '^pg_|information'")
                .await;
            assert_eq!(told["tables"].as_i64(), Some(tables), "{told}");
            assert_eq!(told["bytes"], setting.manifest(&id)["objects"][0]["raw_size"], "{told}");
            assert_eq!((&told["created"], &told["error"], &told["backup"]), (&false.into(), &().into(), &id.as_str().into()), "{told}");
            assert!(told["duration_seconds"].is_f64() && told["database"] == empty.name(), "{told}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_is_made_as_the_one_that_was_dumped() {
    on_each_major(async |db| {
        // As no other database of the server is.
        let odd = Database::named(db.cluster().clone(), &format!("latin {}", db.name()));
        let postgres = Database::named(db.cluster().clone(), "postgres");
        postgres
            .execute(&format!("create database \"{}\" template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'POSIX'", odd.name()))
            .await;
        odd.execute("create table t (x text); insert into t values ('grün')").await;
        let jobs = jobs(&odd, "to = [{ store = \"local\" }]");
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{jobs}", into(odd.cluster(), odd.name())));
        program.run(["run", "nightly"]).await.exits(0);
        let name = format!("again {}", db.name());
        program.run(["backup", "restore", "--into", &into(odd.cluster(), &name)]).await.exits(0);
        let like = |name: &str| format!("select pg_encoding_to_char(encoding)::text || ' ' || datcollate::text || ' ' || datctype::text from pg_database where datname = '{name}'");
        assert_eq!(postgres.scalar::<String>(&like(&name)).await, postgres.scalar::<String>(&like(odd.name())).await);
        let again = Database::named(odd.cluster().clone(), &name);
        assert_eq!(again.scalar::<String>("select x from t").await, "grün");
    })
    .await;
}

#[tokio::test]
async fn an_older_dump_goes_into_a_newer_server_and_a_newer_one_is_refused() {
    let (oldest, newest) = (majors::majors()[0], newest_major());
    let (old, new) = (Cluster::shared(oldest).database().await, Cluster::shared(newest).database().await);
    if oldest == newest {
        eprintln!("not told: there is one major only");
        return;
    }
    odd_database(&old).await;
    let before = fingerprint(&old).await;
    let setting = setting(&old, "");
    back_up(&setting).await;
    setting.program.run(["backup", "restore", "--into", &new.url()]).await.exits(0);
    assert_eq!(fingerprint(&new).await, before);

    let other = crate::backup::setting(&new, "");
    back_up(&other).await;
    let name = format!("never {}", old.name());
    let output = other.program.run(["backup", "restore", "--into", &into(old.cluster(), &name)]).await.exits(1);
    for words in [&format!("is PostgreSQL {oldest}"), new.cluster().version(), "newer only"] {
        assert!(output.stderr.contains(words), "{words} in {}", output.stderr);
    }
    assert!(!exists(old.cluster(), &name).await);
    // Programs that are too old for the dump are told before anything is made.
    let config = std::fs::read_to_string(other.program.config()).unwrap();
    other.program.configure(&config.replace(&bin(&new).display().to_string(), &bin(&old).display().to_string()));
    for command in [&["verify"][..], &["restore", "--into", &into(new.cluster(), &name)]] {
        let output = other.program.run(["backup"].iter().chain(command)).await.exits(1);
        assert!(output.stderr.contains(&format!("postgresql-client-{newest}")), "{}", output.stderr);
    }
    assert!(!exists(new.cluster(), &name).await);
}

/// A host has often nothing but the newest client; then the dump of an older server has settings that it does not know.
#[tokio::test]
async fn a_dump_by_newer_programs_goes_back_into_the_older_server() {
    let (oldest, newest) = (majors::majors()[0], newest_major());
    // With a role of its own.
    let (old, new) = (Cluster::own(oldest).database().await, Cluster::shared(newest).database().await);
    odd_database(&old).await;
    let before = fingerprint(&old).await;
    for format in ["custom", "plain"] {
        let config = jobs(&new, &format!("to = [{{ store = \"local\" }}]\nformat = \"{format}\""));
        let program = Pgtend::tending(&old, &config);
        program.run(["run", "nightly"]).await.exits(0);
        let empty = old.cluster().database().await;
        program.run(["backup", "restore", "--into", &empty.url()]).await.exits(0);
        assert_eq!(fingerprint(&empty).await, before, "{format}");
        // An error is psql's to tell, and nobody waits for more of the dump.
        let owner = format!("somebody_{oldest}_{format}");
        old.execute(&format!("create role {owner}; create table owned (n int); alter table owned owner to {owner}"))
            .await;
        program.run(["run", "nightly"]).await.exits(0);
        old.execute(&format!("drop table owned; drop role {owner}")).await;
        let empty = old.cluster().database().await;
        let output = program.run(["backup", "restore", "--into", &empty.url()]).await.exits(1);
        assert!(output.stderr.contains(&owner) && output.stderr.contains("DROP DATABASE"), "{}", output.stderr);
    }
}
