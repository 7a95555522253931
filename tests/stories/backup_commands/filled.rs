//! What is not to be filled is left as it is, and what went wrong half-way is told with what it has left.

use super::{back_up, cut_off, exists, flip, into};
use crate::backup::{fill, setting};
use crate::support::{Cluster, Database, newest_major, on_each_major, wait_until};

#[tokio::test]
async fn a_database_that_holds_anything_is_refused_untouched() {
    on_each_major(async |db| {
        fill(&db, 10).await;
        let setting = setting(&db, "");
        back_up(&setting).await;
        let things = [
            ("create table mine (n int)", "table public.mine"),
            ("create schema \"My Own\"", "schema My Own"),
            ("create type mood as enum ('good')", "type public.mood"),
            ("create domain short as text", "type public.short"),
            ("create function one() returns int language sql return 1", "function public.one()"),
            ("create view v as select 1 as one", "view public.v"),
            ("create sequence s", "sequence public.s"),
            ("select lo_create(42)", "large object 42"),
            ("create publication p", "publication p"),
            ("create collation mine from \"C\"", "collation public.mine"),
            ("alter default privileges grant select on tables to public", "default privileges"),
        ];
        for (thing, told) in things {
            let target = db.cluster().database().await;
            target.execute(&thing.replace("return 1", "as 'select 1'")).await;
            let args = ["backup", "restore", "--roles", "--into", &target.url()];
            let output = setting.program.run(args).await.exits(1);
            assert!(
                output.stderr.contains("is not empty") && output.stderr.contains(told),
                "{thing}: {}",
                output.stderr
            );
            assert!(!output.stderr.contains("DROP DATABASE"), "nothing of it is ours to drop: {}", output.stderr);
            let tables: i64 = target.scalar("select count(*) from pg_class where relname = 'filling'").await;
            assert_eq!(tables, 0, "{thing}");
        }
        // The very database that was dumped, too.
        let output = setting.program.run(["backup", "restore", "--into", &db.url()]).await.exits(1);
        assert!(output.stderr.contains("is not empty") && output.stderr.contains("more"), "{}", output.stderr);
        assert_eq!(db.count("filling").await, 10);
    })
    .await;
}

#[tokio::test]
async fn what_comes_with_template1_does_not_count() {
    on_each_major(async |db| {
        let cluster = Cluster::own(db.cluster().major());
        let template = Database::named(cluster.clone(), "template1");
        // With types, functions, operators and a view: whichever the installation has.
        let extensions: Vec<String> = template
            .column("select name::text from pg_available_extensions where name in ('hstore', 'citext', 'pg_stat_statements', 'ltree')")
            .await;
        for extension in &extensions {
            template.execute(&format!("create extension {extension}")).await;
        }
        eprintln!("with {extensions:?}");
        let source = cluster.database().await;
        fill(&source, 10).await;
        let setting = setting(&source, "");
        back_up(&setting).await;
        let empty = cluster.database().await;
        for url in [empty.url(), into(&cluster, "made")] {
            setting.program.run(["backup", "restore", "--into", &url]).await.exits(0);
        }
        for name in [empty.name(), "made"] {
            let there = Database::named(cluster.clone(), name);
            assert_eq!(there.count("filling").await, 10);
            assert_eq!(there.count("pg_extension").await, 1 + i64::try_from(extensions.len()).unwrap());
        }
        // A schema that somebody made for an extension is the extension's, too, and what is in it besides is not.
        if let Some(extension) = extensions.first() {
            let target = cluster.database().await;
            let schema = format!("create schema tools; alter extension {extension} set schema tools");
            target.execute(&schema).await;
            let refused = async || {
                let output = setting.program.run(["backup", "restore", "--into", &target.url()]).await;
                output.stderr.contains("is not empty")
            };
            target.execute("create table tools.mine (n int)").await;
            assert!(refused().await);
            target.execute("drop table tools.mine").await;
            assert!(!refused().await);
        }
    })
    .await;
}

#[tokio::test]
async fn it_stops_at_the_first_error_and_says_what_is_left() {
    on_each_major(async |db| {
        let cluster = Cluster::own(db.cluster().major());
        let source = cluster.database().await;
        source
            .execute(
                "create role lost; create table a_first (n int); insert into a_first values (1);
                 create table b_owned (n int); alter table b_owned owner to lost; create table c_last (n int)",
            )
            .await;
        for format in ["custom", "plain"] {
            let setting = setting(&source, &format!("format = \"{format}\""));
            let id = back_up(&setting).await;
            cut_off(&setting, &source);
            // On another server that role is not there.
            let target = db.cluster();
            let name = format!("half {format} {}", db.name());
            let args = ["backup", "restore", "--json", "--into", &into(target, &name)];
            let output = setting.program.run(args).await.exits(1);
            for words in
                ["role \"lost\" does not exist", &id, "was made by this command", &format!("DROP DATABASE \"{name}\"")]
            {
                assert!(output.stderr.contains(words), "{format}: {words} in {}", output.stderr);
            }
            let told = output.json().remove(0);
            assert_eq!((&told["created"], &told["tables"]), (&true.into(), &().into()), "{told}");
            assert!(told["error"].as_str().unwrap().contains("lost"), "{told}");
            assert!(told["left"].as_str().unwrap().contains("DROP DATABASE"), "{told}");
            let half = Database::named(target.clone(), &name);
            let tables: i64 = half.scalar("select count(*) from pg_class where relname = 'c_last'").await;
            assert_eq!(tables, 0, "{format}: nothing comes after the error");
            // An empty one is not called ours.
            let empty = target.database().await;
            let output = setting.program.run(["backup", "restore", "--into", &empty.url()]).await.exits(1);
            assert!(output.stderr.contains("was empty") && !output.stderr.contains("was made by"), "{}", output.stderr);
        }
    })
    .await;
}

#[tokio::test]
async fn a_damaged_dump_is_told_and_must_not_be_used() {
    on_each_major(async |db| {
        fill(&db, 4_000).await;
        for config in
            ["compression = \"none\"", "", "compression = \"gzip:1\"", "format = \"plain\"\ncompression = \"none\""]
        {
            let setting = setting(&db, config);
            let id = back_up(&setting).await;
            cut_off(&setting, &db);
            flip(&setting, &id);
            let target = db.cluster().database().await;
            let output = setting.program.run(["backup", "restore", "--into", &target.url()]).await.exits(1);
            for words in ["must not be used", "SHA-256", "DROP DATABASE"] {
                assert!(output.stderr.contains(words), "{config}: {words} in {}", output.stderr);
            }
            // Damaged roles are seen before any is made.
            let globals = setting.files().into_iter().find(|file| file.contains("globals")).unwrap();
            let globals = setting.store.join(globals);
            let mut bytes = std::fs::read(&globals).unwrap();
            bytes[40] ^= 1;
            std::fs::write(&globals, bytes).unwrap();
            let name = format!("never of {}", db.name());
            let args = ["backup", "restore", "--roles", "--into", &into(db.cluster(), &name)];
            let output = setting.program.run(args).await.exits(1);
            assert!(output.stderr.contains("globals.sql") && output.stderr.contains("SHA-256"), "{}", output.stderr);
            assert!(!exists(db.cluster(), &name).await);
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_that_cannot_be_one_is_told_before_anything_is_made() {
    let db = Cluster::shared(newest_major()).database().await;
    let setting = setting(&db, "");
    back_up(&setting).await;
    let restore =
        async |url: &str, code: i32| setting.program.run(["backup", "restore", "--into", url]).await.exits(code).stderr;
    let said = restore("postgresql://postgres:hunter2@localhost:port/app", 2).await;
    assert!(said.contains("--into") && !said.contains("hunter2"), "{said}");
    let said = restore("main", 2).await;
    assert!(said.contains("--into"), "{said}");
    let said = restore(&db.cluster().conninfo(""), 2).await;
    assert!(said.contains("names no database"), "{said}");
    let said = restore("postgresql://postgres@127.0.0.1:1/app", 1).await;
    assert!(said.contains("cannot connect"), "{said}");
    let standby = Cluster::own(newest_major()).standby();
    let said = restore(&into(&standby, "other"), 1).await;
    assert!(said.contains("standby"), "{said}");
}

/// Ctrl-C ends `pg_restore` too, and says what is left.
#[tokio::test]
async fn a_restore_that_is_ended_leaves_nobody_at_work() {
    on_each_major(async |db| {
        fill(&db, 24_000).await;
        let setting = setting(&db, "compression = \"none\"");
        back_up(&setting).await;
        let (program, hold) = setting.program.holding("backup.reading");
        let name = format!("ended {}", db.name());
        let process = program.start(["backup", "restore", "--into", &into(db.cluster(), &name)]);
        hold.reached().await;
        let pid = process.pid();
        wait_until("pg_restore to be there", async || !crate::backup::children(pid, "pg_restore").is_empty()).await;
        let child = crate::backup::children(pid, "pg_restore")[0];
        process.signal(libc::SIGTERM);
        let output = process.wait().await.exits(1);
        assert!(output.stderr.contains("SIGTERM") && output.stderr.contains("DROP DATABASE"), "{}", output.stderr);
        wait_until("pg_restore to be gone", async || {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            !String::from_utf8_lossy(&line).contains("pg_restore")
        })
        .await;
        let left = Database::named(db.cluster().clone(), &name);
        wait_until("its session to be gone", async || {
            let n: i64 = left.scalar("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pgtend/restore'").await;
            n == 0
        })
        .await;
    })
    .await;
}
