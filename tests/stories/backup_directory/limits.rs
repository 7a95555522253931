//! The spool has an end, which is looked at before a dump, and kept while it grows.

use std::fs;

use super::{DIRECTORY, at_work, dumps, hold, setting, spool, spooled, tables, workers_wait};
use crate::backup::fill;
use crate::support::{Cluster, newest_major, on_each_major, wait_until};

#[tokio::test]
async fn a_dump_that_cannot_fit_is_not_begun() {
    on_each_major(async |db| {
        fill(&db, 500).await;
        let setting = setting(&db, "");
        let config = fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&config.replace("1 GB", "2 MB"));
        let size: i64 = db.scalar("select pg_database_size(current_database())").await;
        assert!(size > 2_000_000);
        let run = setting.run(1).await;
        let error = run["error"].as_str().unwrap();
        assert!(
            error.contains("may take 2.0 MB (`spool_max`)") && error.contains("the database has as much"),
            "{error}"
        );
        assert_eq!((setting.files(), spooled(&setting)), (Vec::new(), Vec::new()));
        let said = setting.program.run(["check"]).await.exits(1).stdout;
        assert!(said.contains("`spool_max`") && said.contains("use the format \"custom\""), "{said}");
        // With room enough `check` and `plan` say what it takes and where.
        setting.program.configure(&config);
        let said = setting.program.run(["check"]).await.exits(0).stdout;
        assert!(said.contains("are free, until it is stored"), "{said}");
        let plan = setting.program.run(["plan", "--json"]).await.exits(0).json().remove(0);
        assert_eq!((&plan["detail"]["jobs"], &plan["detail"]["spool_max_bytes"]), (&2.into(), &1_000_000_000.into()));
        assert!(plan["reason"].as_str().unwrap().contains("/spool, where it may take 1.0 GB"), "{plan}");
    })
    .await;
}

#[tokio::test]
async fn without_a_spool_it_lies_in_a_folder_of_its_own_among_temporary_files() {
    use std::os::unix::fs::PermissionsExt as _;
    on_each_major(async |db| {
        tables(&db, 1).await;
        let mut setting = crate::backup::setting(&db, "format = \"directory\"");
        let folder = setting.program.folder().join("temporary");
        fs::create_dir(&folder).unwrap();
        setting.program = setting.program.env("TMPDIR", &folder.display().to_string());
        let said = setting.program.run(["check"]).await.exits(0).stdout;
        let warning = format!("spool is not set: a dump lies in {} until it is stored", folder.display());
        assert!(said.contains(&warning) && said.contains("set `spool` to a folder"), "{said}");
        let plan = setting.program.run(["plan", "--json"]).await.exits(0).json().remove(0);
        assert!(plan["reason"].as_str().unwrap().contains("where it may take half of what is free"), "{plan}");
        let (process, held) = at_work(&db, &setting).await;
        let names = super::names(&folder);
        assert!(names.len() == 1 && names[0].starts_with("pgtend-spool-nightly-"), "{names:?}");
        assert_eq!(fs::metadata(folder.join(&names[0])).unwrap().permissions().mode() & 0o777, 0o700);
        drop(held);
        process.wait().await.exits(0);
        assert_eq!((setting.backups().len(), super::names(&folder)), (1, Vec::new()));
        // What is said of the spool is kept.
        let config = fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&config.replace("format = ", "spool = \"spool\"\nformat = "));
        let said = setting.program.run(["check"]).await.exits(0).stdout;
        assert!(said.contains("spool_max is not set: a dump may take half of what is free in "), "{said}");
        assert!(!said.contains("spool is not set"), "{said}");
        setting.run(0).await;
        assert_eq!((spooled(&setting), super::names(&folder)), (Vec::new(), Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn a_dump_that_outgrows_its_limit_is_given_up_with_all_its_workers() {
    on_each_major(async |db| {
        tables(&db, 1).await;
        let setting = setting(&db, "");
        // A small one, so that the next seems to fit.
        setting.run(0).await;
        let before = setting.files();
        let config = fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&config.replace("1 GB", "3 MB"));
        fill(&db, 20_000).await;
        // The dump would wait here for ever.
        let _held = hold(&db, &["held_1"]).await;
        let run = setting.run(1).await;
        let error = run["error"].as_str().unwrap();
        assert!(error.contains("may take 3.0 MB there; raise `spool_max`"), "{error}");
        assert_eq!((setting.files(), spooled(&setting)), (before, Vec::new()));
        wait_until("the workers to be gone", async || dumps(&spool(&setting)).is_empty()).await;
        wait_until("the dump's sessions to end", async || db.backends("pgtend/nightly (dump)").await.is_empty()).await;
    })
    .await;
}

#[tokio::test]
async fn while_it_is_made_it_is_closed_to_others_and_told_how_far_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let db = Cluster::shared(newest_major()).database().await;
    tables(&db, 1).await;
    fill(&db, 4_000).await;
    let mut setting = setting(&db, "");
    setting.program = setting.program.env("PGTEND_HURRY", "30");
    let (process, held) = at_work(&db, &setting).await;
    process.wait_for_log("dumped into the spool, nothing stored yet").await;
    let names = spooled(&setting);
    assert!(names.len() == 1 && names[0].starts_with("pgtend-spool-nightly-"), "{names:?}");
    let mode = |path: std::path::PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(spool(&setting)), mode(spool(&setting).join(&names[0]))), (0o700, 0o700));
    drop(held);
    process.wait().await.exits(0);
    assert_eq!((setting.backups().len(), spooled(&setting)), (1, Vec::new()));
}

/// A worker asks for its table again, and does not wait: somebody in the queue for it would wait for the dump, and the worker
/// for them.
#[tokio::test]
async fn a_schema_change_in_the_queue_fails_the_dump_and_is_named() {
    on_each_major(async |db| {
        tables(&db, 2).await;
        let setting = setting(&db, "");
        let held = hold(&db, &["held_1", "held_2"]).await;
        let process = setting.program.start(["run", "nightly", "--json"]);
        // Both workers: `other`, which is smaller, comes later.
        workers_wait(&db, 2).await;
        let changing = db.client().await;
        let change = async { changing.batch_execute("alter table other add column m int").await };
        let ending = async {
            wait_until("the change to be in the queue", async || {
                let sql = "select count(*) from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock' and query ~ '^alter'";
                db.scalar::<i64>(sql).await == 1
            })
            .await;
            drop(held);
            process.wait().await.exits(1).json().remove(0)
        };
        let (changed, run) = futures_util::future::join(change, ending).await;
        changed.unwrap();
        let error = run["error"].as_str().unwrap();
        assert!(error.contains("pg_dump") && error.contains("other"), "{error}");
        assert_eq!((setting.files(), spooled(&setting)), (Vec::new(), Vec::new()));
        setting.run(0).await;
    })
    .await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_beforehand() {
    let db = Cluster::shared(newest_major()).database().await;
    let setting = setting(&db, "");
    let config = fs::read_to_string(setting.program.config()).unwrap();
    for (lines, said) in [
        ("spool = \"spool\"\nspool_max = \"1 GB\"\n", "`spool` is for `format = \"directory\"` alone"),
        ("format = \"plain\"\njobs = 2\n", "`jobs` is for"),
    ] {
        setting.program.configure(&config.replace(DIRECTORY, lines));
        let output = setting.program.run(["run", "nightly"]).await.exits(2);
        assert!(output.stderr.contains(said), "{}", output.stderr);
    }
    // Where no folder can be made, that is all that is done.
    setting.program.file("a file", "");
    setting.program.configure(&config.replace("spool = \"spool\"", "spool = \"a file/spool\""));
    let run = setting.run(1).await;
    assert!(run["error"].as_str().unwrap().contains("(`spool`)"), "{run}");
    assert_eq!(setting.files(), Vec::<String>::new());
    let (process, held) = {
        setting.program.configure(&config);
        tables(&db, 1).await;
        at_work(&db, &setting).await
    };
    process.signal(libc::SIGTERM);
    let run = process.wait().await.exits(1).json().remove(0);
    assert_eq!(run["outcome"], "cancelled", "{run}");
    assert_eq!((setting.files(), spooled(&setting)), (Vec::new(), Vec::new()));
    wait_until("the dump's sessions to end", async || db.backends("pgtend/nightly (dump)").await.is_empty()).await;
    drop(held);
}
