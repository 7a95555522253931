//! What `plan`, `check` and the metrics say of backups.

use super::buckets::both;
use super::{bin, fill, setting};
use crate::support::s3::{Fault, Harm, Op, S3Server};
use crate::support::{Cluster, Pgtend, majors, newest_major, on_each_major};

#[tokio::test]
async fn a_plan_says_what_it_takes_and_changes_nothing() {
    on_each_major(async |db| {
        fill(&db, 500).await;
        let setting = setting(&db, "");
        let plan = setting.program.run(["plan", "--json"]).await.exits(0).json();
        assert_eq!((plan.len(), plan[0]["action"].as_str()), (1, Some("backup")), "{plan:?}");
        let detail = &plan[0]["detail"];
        assert_eq!(detail["memory_bytes"].as_u64(), Some(3 * (8 << 20) + (32 << 20)), "{detail}");
        assert_eq!(detail["part_size"].as_u64(), Some(8 << 20), "{detail}");
        assert!(plan[0]["target"].as_str().unwrap().ends_with("/store"), "{plan:?}");
        // Autovacuum may come between the two.
        crate::support::wait_until("plan and server to agree on the size", async || {
            let size: i64 = db.scalar("select pg_database_size(current_database())").await;
            let plan = setting.program.run(["plan", "--json"]).await.exits(0).json();
            plan[0]["detail"]["expected_bytes"].as_i64() == Some(size)
        })
        .await;
        assert!(!setting.store.exists(), "a plan makes nothing");
    })
    .await;
}

#[tokio::test]
async fn a_pg_dump_that_is_too_old_is_told_with_the_package_to_install() {
    let (oldest, newest) = (majors::majors()[0], newest_major());
    if oldest == newest {
        println!("there is one major only, and nothing older");
        return;
    }
    let (old, new) = (Cluster::shared(oldest).database().await, Cluster::shared(newest).database().await);
    let jobs = super::jobs(&old, "to = [{ store = \"local\" }]");
    let program = Pgtend::tending(&new, &jobs);
    let run = program.run(["run", "nightly", "--json"]).await.exits(1).json().remove(0);
    let said = [run["error"].as_str().unwrap().to_owned(), program.run(["check"]).await.exits(1).stdout];
    for said in said {
        for words in
            [new.cluster().version(), &format!("postgresql-client-{newest}"), "pg_bin", old.cluster().version()]
        {
            assert!(said.contains(words), "{words} in {said}");
        }
    }
    assert!(!program.folder().join("store/nightly").exists());
    // A newer one than the server is right.
    let jobs = super::jobs(&new, "to = [{ store = \"local\" }]");
    Pgtend::tending(&old, &jobs).run(["run", "nightly"]).await.exits(0);
    // Without `pg_bin` the usual places are looked at, and then the PATH.
    let path = format!("{}:/usr/bin:/bin", bin(&new).display());
    let jobs = "[stores.local.directory]\npath = \"store\"\n[jobs.nightly.backup]\nto = [{ store = \"local\" }]\n";
    let program = Pgtend::tending(&new, jobs).env("PATH", &path);
    let run = program.run(["run", "nightly", "--json"]).await.exits(0).json().remove(0);
    assert_eq!(run["details"]["pg_dump"], new.cluster().version(), "{run}");
}

#[tokio::test]
async fn a_name_that_is_not_there_is_told_before_a_dump_is_made_without_it() {
    on_each_major(async |db| {
        db.execute("create table sessions (n int); create index an_index on sessions (n)").await;
        // What was to be dumped: there is no dump.
        for lines in [
            "schemas = [\"public\", \"nope\"]",
            "tables = [\"public.sessions\", \"public.nope\"]",
            "tables = [\"public.sessions\", \"an_index\"]",
        ] {
            let setting = setting(&db, lines);
            let name = if lines.contains("an_index") { "public.an_index" } else { "nope" };
            let told = |said: &str| assert!(said.contains("there is no ") && said.contains(name), "{lines}: {said}");
            let check = setting.program.run(["check"]).await.exits(1).stdout;
            told(&check);
            assert!(!check.contains("dumps "), "{lines}: {check}");
            told(&setting.program.run(["plan"]).await.exits(1).stderr);
            let run = setting.run(1).await;
            told(run["error"].as_str().unwrap());
            assert!(!run["error"].to_string().contains("pg_dump"), "{run}");
        }
        // What was to be left out: there is one, with a word about it.
        for (key, name) in
            [("exclude_schemas", "nope"), ("exclude_tables", "public.nope"), ("exclude_table_data", "public.nope")]
        {
            // Our own schema may be yet to come.
            let there = if key == "exclude_schemas" { "pgtend" } else { "sessions" };
            let setting = setting(&db, &format!("{key} = [\"{name}\", \"{there}\"]"));
            let findings = setting.program.run(["check", "--json"]).await.exits(0).json();
            let about = |finding: &&serde_json::Value| finding["message"].to_string().contains("there is no ");
            let about: Vec<_> = findings.iter().filter(about).collect();
            assert!(about.len() == 1 && about[0]["severity"] == "warning", "{key}: {findings:#?}");
            assert!(about[0]["message"].to_string().contains(&format!("{name}, which `{key}` names")), "{about:#?}");
            let plan = setting.program.run(["plan", "--json"]).await.exits(0).json();
            assert!(plan.iter().any(|step| step["action"] == "warn" && step["target"] == name), "{plan:#?}");
            let run = setting.run(0).await;
            assert!(run["details"]["warnings"].to_string().contains(&format!("which `{key}` names")), "{run}");
        }
    })
    .await;
}

#[tokio::test]
async fn check_knows_what_a_dump_would_fail_at() {
    for major in majors::majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        db.execute(
            "create role keeper login;
             create schema pgtend authorization keeper;
             create table secret (n int); create sequence counting; create table hidden (n int);
             alter table hidden enable row level security; grant select on hidden to keeper;
             create schema closed; create table closed.inside (n int); grant select on closed.inside to keeper;",
        )
        .await;
        let jobs = super::jobs(&db, "to = [{ store = \"local\" }]\nglobals = false");
        let config = format!("[databases.main]\nurl = \"{}\"\n{jobs}", db.url_as("keeper"));
        let program = Pgtend::new(&config);
        let said = program.run(["check"]).await.exits(1).stdout;
        for words in
            ["table public.secret", "sequence public.counting", "table public.hidden", "BYPASSRLS", "schema \"closed\""]
        {
            assert!(said.contains(words), "{words} in\n{said}");
        }
        // And so it does.
        program.run(["run", "nightly"]).await.exits(1);
        db.execute(
            "grant select on all tables in schema public to keeper; grant select on all sequences in schema public to keeper;
             grant usage on schema closed to keeper; alter role keeper bypassrls;",
        )
        .await;
        let said = program.run(["check"]).await.exits(0).stdout;
        assert!(said.contains("dumps ") && said.contains("of memory"), "{said}");
        program.run(["run", "nightly"]).await.exits(0);
    }
}

/// They have privileges of their own, and `pg_read_all_data` is none of them.
#[tokio::test]
async fn check_knows_the_large_objects_that_a_dump_would_fail_at() {
    for major in majors::majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        // One that only `app` may read, one that everybody may, one that its owner has closed to itself.
        db.execute(
            "create role keeper login; create role app; create role \"Third Party\"; grant pg_read_all_data to keeper;
             create schema pgtend authorization keeper; create schema other;
             select lo_from_bytea(70001, 'of app'), lo_from_bytea(70002, 'of all'), lo_from_bytea(70003, 'of nobody');
             alter large object 70001 owner to app; alter large object 70002 owner to app;
             alter large object 70003 owner to \"Third Party\"; revoke all on large object 70003 from \"Third Party\";
             grant select on large object 70002 to public;",
        )
        .await;
        let tend = |keys: &str| {
            let jobs = super::jobs(&db, &format!("to = [{{ store = \"local\" }}]\nglobals = false\n{keys}"));
            Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{jobs}", db.url_as("keeper")))
        };
        let program = tend("");
        if major < 19 {
            let said = program.run(["check"]).await.exits(1).stdout;
            for words in [
                "role keeper may not read 2 large objects, 70001 of role app among them",
                "GRANT SELECT ON LARGE OBJECT 70001 TO keeper",
                "GRANT app TO keeper",
            ] {
                assert!(said.contains(words), "{words} in\n{said}");
            }
            // And so it does.
            let record = program.run(["run", "nightly", "--json"]).await.exits(1).json().remove(0);
            assert!(record["error"].to_string().contains("large object"), "{record}");
        }
        // Of chosen schemas a dump has none of them; of all but some it has.
        tend("schemas = [\"other\"]").run(["check"]).await.exits(0);
        if major < 19 {
            tend("exclude_schemas = [\"other\"]").run(["check"]).await.exits(1);
        }

        // A membership that is not inherited reads nothing by itself.
        db.execute(if major < 16 {
            "alter role keeper noinherit; grant app to keeper; grant select on large object 70003 to keeper"
        } else {
            "grant app to keeper with inherit false, set true; grant select on large object 70003 to keeper"
        })
        .await;
        if major < 19 {
            // The one right of `keeper` that was inherited before 16 is that to tables, of which there are none.
            let said = program.run(["check"]).await.exits(1).stdout;
            assert!(said.contains("may not read large object 70001 of role app"), "{said}");
        }
        db.execute("alter role keeper inherit; revoke app from keeper; grant select on large object 70001 to keeper")
            .await;
        let said = program.run(["check"]).await.exits(0).stdout;
        assert!(!said.contains("large object 7"), "{said}");
        let record = program.run(["run", "nightly", "--json"]).await.exits(0).json().remove(0);
        let scratch = db.cluster().database().await;
        let folder = program.folder().join("store/nightly").join(record["details"]["backup"].as_str().unwrap());
        super::shell(&scratch, "zstd -dc app.dump.zst | pg_restore --exit-on-error --dbname \"$URL\"", &folder);
        let objects = "select convert_from(lo_get(oid), 'UTF8') from pg_largeobject_metadata order by oid";
        assert_eq!(scratch.column::<String>(objects).await, ["of app", "of all", "of nobody"]);
    }
}

#[tokio::test]
async fn a_store_that_does_not_delete_is_a_warning_unless_something_is_to_be_deleted_there() {
    let db = Cluster::shared(newest_major()).database().await;
    let server = S3Server::start();
    server.fail(Fault::new(Op::Delete, Harm::Refuse(403, "AccessDenied")).always());
    for (keep, code, severity) in [("", 0, "warning"), (", keep = { last = 3 }", 1, "error")] {
        let setting = both(&db, &server, &format!("[{{ store = \"offsite\"{keep} }}]"), "");
        let findings = setting.program.run(["check", "--json"]).await.exits(code).json();
        let about: Vec<_> = findings.iter().filter(|f| f["message"].to_string().contains("AccessDenied")).collect();
        assert!(about.len() == 1 && about[0]["severity"] == severity, "{findings:#?}");
        // Such a run makes its backup, and says of what it could not delete.
        setting.run(0).await;
    }
    let setting = both(&db, &server, "[{ store = \"offsite\", keep = { last = 1 } }]", "");
    let run = setting.run(1).await;
    assert!(run["outcome"] == "partial" && run["error"].to_string().contains("was not deleted"), "{run}");
    assert_eq!(server.objects().keys().filter(|key| key.ends_with("manifest.json")).count(), 3, "{run}");
}

#[tokio::test]
async fn a_role_that_may_not_read_passwords_dumps_roles_without_them_and_says_so() {
    for major in majors::majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        db.execute("create role keeper login; create schema pgtend authorization keeper").await;
        let config = format!(
            "[databases.main]\nurl = \"{}\"\n{}",
            db.url_as("keeper"),
            super::jobs(&db, "to = [{ store = \"local\" }]")
        );
        let program = Pgtend::new(&config);
        let run = program.run(["run", "nightly", "--json"]).await.exits(0).json().remove(0);
        assert!(run["details"]["warnings"].to_string().contains("without their passwords"), "{run}");
        let id = run["details"]["backup"].as_str().unwrap();
        let manifest = super::json(&program.folder().join("store/nightly").join(id).join("manifest.json"));
        assert_eq!(manifest["role_passwords"], false);
    }
}

#[tokio::test]
async fn the_gauges_of_backups_survive_a_restart() {
    on_each_major(async |db| {
        fill(&db, 500).await;
        let setting = setting(&db, "");
        let daemon = setting.program.daemon().ready().await;
        let has = async |daemon: &crate::support::Daemon, line: &str| {
            daemon.http_get("/metrics").await.body.lines().any(|known| known.starts_with(line))
        };
        let name =
            |gauge: &str| format!("{gauge}{{database=\"main\",job=\"nightly\",kind=\"backup\",store=\"local\"}}");
        let never = format!("{} 0", name("pgtend_backup_last_success_timestamp_seconds"));
        crate::support::wait_until("a gauge that says never", async || has(&daemon, &never).await).await;
        daemon.stop().await.exits(0);

        let run = setting.run(0).await;
        let daemon = setting.program.daemon().ready().await;
        let bytes = run["details"]["bytes"].as_u64().unwrap();
        let size = format!("{} {bytes}", name("pgtend_backup_size_bytes"));
        crate::support::wait_until("the size of the last backup", async || has(&daemon, &size).await).await;
        let text = daemon.http_get("/metrics").await.body;
        for gauge in ["pgtend_backup_last_success_timestamp_seconds", "pgtend_backup_verified_timestamp_seconds"] {
            let line =
                text.lines().find(|line| line.starts_with(&name(gauge))).unwrap_or_else(|| panic!("{gauge} in {text}"));
            assert!(!line.ends_with(" 0"), "{line}");
        }
        assert!(text.contains(&format!("{} 1", name("pgtend_backups"))), "{text}");
        daemon.stop().await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn a_dump_says_how_far_it_is_by_what_the_last_one_had() {
    on_each_major(async |db| {
        fill(&db, 24_000).await;
        let setting = setting(&db, "");
        setting.run(0).await;
        let (program, hold) = setting.program.env("PGTEND_HURRY", "10").holding("backup.middle");
        let process = program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        let line = process.wait_for_log("dumping: ").await;
        let percent: u32 =
            line.split("dumping: ").nth(1).and_then(|rest| rest.split('%').next()?.parse().ok()).expect(&line);
        assert!((30..90).contains(&percent), "four of six megabytes: {line}");
        hold.go_on();
        process.wait().await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn check_counts_the_locks_that_a_dump_needs() {
    for major in majors::majors() {
        let settings =
            [("max_locks_per_transaction", "10"), ("max_connections", "20"), ("max_prepared_transactions", "2")];
        let db = Cluster::with(major, &settings).database().await;
        let setting = setting(&db, "");
        let said = setting.program.run(["check"]).await.exits(0).stdout;
        assert!(!said.contains("max_locks_per_transaction"), "{said}");
        let tables: String = (1..=230).map(|n| format!("create table t{n} (); ")).collect();
        for some in tables.split_inclusive("t100 (); ") {
            db.execute(some).await;
        }
        let said = setting.program.run(["check"]).await.exits(0).stdout;
        for words in ["locks 230 tables", "room for 220 locks", "53200", "max_locks_per_transaction = 14 or more"] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
