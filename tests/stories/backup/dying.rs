//! Whatever dies, and whenever: there is a whole backup, or there is none; the next run clears away what is left.

use serde_json::Value;

use super::{Setting, children, fill, setting, signal};
use crate::support::{Database, Hold, Process, newest_major, on_each_major, on_newest_or_all, wait_for, wait_until};

/// A setting with one good backup, and a run that is held at a point.
async fn held(db: &Database, backup: &str, point: &str) -> (Setting, String, Process, Hold) {
    let mut setting = setting(db, backup);
    let first = setting.run(0).await["details"]["backup"].as_str().expect("an id").to_owned();
    // The next one is of another second, and so of another name.
    let (program, hold) = setting.program.holding(point);
    setting.program = program;
    let process = setting.program.start(["run", "nightly", "--json"]);
    hold.reached().await;
    (setting, first, process, hold)
}

/// Nothing of the run is a backup, the older one is as it was, and the next run leaves nothing else behind.
async fn nothing_remains(setting: Setting, first: &str) {
    assert_eq!(setting.backups(), [first], "what died is no backup");
    let setting = Setting { program: setting.program.env("PGTEND_TESTPOINTS", ""), ..setting };
    let next = setting.run(0).await["details"]["backup"].as_str().expect("an id").to_owned();
    assert_eq!(setting.backups().len(), 2);
    let folders: Vec<String> = setting.files().iter().map(|file| file.split('/').nth(1).unwrap().to_owned()).collect();
    assert!(folders.iter().all(|folder| folder == first || *folder == next), "{:?}", setting.files());
    assert!(setting.files().iter().all(|file| !file.contains("/.")), "{:?}", setting.files());
}

fn error(output: &[Value]) -> String {
    assert_eq!(output[0]["outcome"], "failed", "{output:?}");
    output[0]["error"].as_str().expect("an error").to_owned()
}

#[tokio::test]
async fn pg_dump_that_is_killed_leaves_no_backup() {
    on_each_major(async |db| {
        fill(&db, 24_000).await;
        for point in ["backup.dumping", "backup.middle"] {
            let (setting, first, process, hold) = held(&db, "compression = \"none\"", point).await;
            let pids = children(process.pid(), "pg_dump");
            assert_eq!(pids.len(), 1, "one pg_dump at {point}");
            signal(pids[0], libc::SIGKILL);
            wait_until("pg_dump to be gone", async || children(process.pid(), "pg_dump").is_empty()).await;
            hold.go_on();
            let output = process.wait().await.exits(1);
            let error = error(&output.json());
            assert!(error.contains("pg_dump was killed"), "{error}");
            nothing_remains(setting, &first).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_is_terminated_leaves_no_backup() {
    on_each_major(async |db| {
        fill(&db, 24_000).await;
        let (setting, first, process, hold) = held(&db, "", "backup.middle").await;
        assert_eq!(db.terminate("pgtend/nightly (dump)").await, 1);
        hold.go_on();
        let output = process.wait().await.exits(1);
        let error = error(&output.json());
        assert!(error.contains("pg_dump ended with status 1"), "{error}");
        nothing_remains(setting, &first).await;
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_is_killed_at_any_point_leaves_no_half_backup() {
    on_newest_or_all(async |db| {
        fill(&db, 24_000).await;
        for point in ["backup.begun", "backup.dumping", "backup.middle", "backup.dumped", "backup.completed"] {
            eprintln!("killed at {point}");
            let (setting, first, process, _hold) = held(&db, "", point).await;
            let dumps = children(process.pid(), "pg_dump");
            process.signal(libc::SIGKILL);
            drop(process);
            // What it started ends by itself, and so does the server's part in it.
            let gone = async || dumps.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}/fd/1")).exists());
            wait_until("pg_dump to end", gone).await;
            wait_until("the dump's session to end", async || db.backends("pgtend/nightly (dump)").await.is_empty())
                .await;
            db.wait_until_unlocked().await;
            nothing_remains(setting, &first).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_is_killed_after_the_manifest_leaves_a_backup_that_is_not_yet_verified() {
    on_each_major(async |db| {
        let (setting, first, process, _hold) = held(&db, "", "backup.complete").await;
        process.signal(libc::SIGKILL);
        drop(process);
        db.wait_until_unlocked().await;
        let all = setting.backups();
        assert_eq!((all.len(), &all[0]), (2, &first));
        assert!(!setting.folder(&all[1]).join("verified.json").exists());
        let setting = Setting { program: setting.program.env("PGTEND_TESTPOINTS", ""), ..setting };
        setting.run(0).await;
        assert_eq!(setting.backups().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_the_dump_at_once_and_takes_it_back() {
    on_each_major(async |db| {
        fill(&db, 2_000).await;
        let setting = setting(&db, "");
        // A table that is locked: the dump waits for it.
        let client = db.client().await;
        client.batch_execute("begin; lock table filling in access exclusive mode").await.unwrap();
        let process = setting.program.start(["run", "nightly", "--json"]);
        wait_until("pg_dump to wait for the lock", async || {
            let waiting: i64 = db
                .scalar("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pgtend/nightly (dump)' and wait_event_type = 'Lock'")
                .await;
            waiting == 1
        })
        .await;
        process.signal(libc::SIGTERM);
        let output = process.wait().await.exits(1);
        assert_eq!(output.json()[0]["outcome"], "cancelled", "{output:?}");
        wait_until("the dump's session to end", async || db.backends("pgtend/%").await.is_empty()).await;
        assert_eq!(setting.files(), Vec::<String>::new(), "nothing is left in the store");
    })
    .await;
}

#[tokio::test]
async fn a_timeout_ends_the_dump_and_a_locked_table_does_not_keep_it_waiting_for_ever() {
    let cluster = crate::support::Cluster::shared(newest_major());
    let db = cluster.database().await;
    fill(&db, 100).await;
    let client = db.client().await;
    client.batch_execute("begin; lock table filling in access exclusive mode").await.unwrap();
    let waits = setting(&db, "lock_wait = \"300ms\"");
    let run = waits.run(1).await;
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("pg_dump ended with status 1") && error.contains("filling"), "{error}");
    assert_eq!(waits.files(), Vec::<String>::new());

    let times_out = setting(&db, "");
    let config = std::fs::read_to_string(times_out.program.config()).unwrap();
    times_out.program.configure(&config.replace("lock_timeout = \"1s\"", "timeout = \"2s\""));
    let run = times_out.run(1).await;
    assert_eq!(run["outcome"], "timed_out", "{run}");
    assert_eq!(times_out.files(), Vec::<String>::new());
    wait_for("no session of ours", async || db.backends("pgtend/%").await.is_empty().then_some(())).await;
}
