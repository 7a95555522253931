//! Whoever dies while workers are at work: no backup comes of it, and the spool is empty again, at the latest after the next
//! run.

use std::fs;

use super::{at_work, dumps, names, setting, spool, spooled, tables};
use crate::backup::{Setting, children, signal};
use crate::support::{Database, on_each_major, on_newest_or_all, wait_until};

/// Nothing of the run is a backup, and the next one leaves nothing else behind.
async fn nothing_remains(setting: Setting, first: &str) {
    assert_eq!(setting.backups(), [first], "what died is no backup");
    let setting = Setting { program: setting.program.env("PGTEND_TESTPOINTS", ""), ..setting };
    let next = setting.run(0).await["details"]["backup"].as_str().expect("an id").to_owned();
    assert_eq!(setting.backups().len(), 2);
    let folders: Vec<String> = setting.files().iter().map(|file| file.split('/').nth(1).unwrap().to_owned()).collect();
    assert!(folders.iter().all(|folder| folder == first || *folder == next), "{:?}", setting.files());
    assert!(setting.files().iter().all(|file| !file.contains("/.")), "{:?}", setting.files());
    assert_eq!(spooled(&setting), Vec::<String>::new());
}

async fn with_a_backup(db: &Database) -> (Setting, String) {
    let setting = setting(db, "");
    let first = setting.run(0).await["details"]["backup"].as_str().expect("an id").to_owned();
    (setting, first)
}

#[tokio::test]
async fn a_pg_dump_of_which_anything_is_killed_leaves_no_backup_and_no_worker() {
    on_each_major(async |db| {
        tables(&db, 1).await;
        for leader in [true, false] {
            let (setting, first) = with_a_backup(&db).await;
            let (process, held) = at_work(&db, &setting).await;
            let all = dumps(&spool(&setting));
            let leaders = children(process.pid(), "pg_dump");
            assert_eq!((leaders.len(), all.len()), (1, 3), "pg_dump and two workers");
            let victim = if leader { leaders[0] } else { *all.iter().find(|pid| **pid != leaders[0]).unwrap() };
            signal(victim, libc::SIGKILL);
            let run = process.wait().await.exits(1).json().remove(0);
            let error = run["error"].as_str().unwrap();
            assert!(error.contains(if leader { "pg_dump was killed" } else { "pg_dump ended with status" }), "{error}");
            wait_until("the workers to be gone", async || dumps(&spool(&setting)).is_empty()).await;
            assert_eq!(spooled(&setting), Vec::<String>::new());
            drop(held);
            nothing_remains(setting, &first).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_workers_session_that_is_ended_leaves_no_backup() {
    on_each_major(async |db| {
        tables(&db, 1).await;
        let (setting, first) = with_a_backup(&db).await;
        let (process, held) = at_work(&db, &setting).await;
        let ended: i64 = db
            .scalar(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where application_name = 'pgtend/nightly (dump)' and datname = current_database()
                   and wait_event_type = 'Lock'",
            )
            .await;
        assert_eq!(ended, 1);
        let run = process.wait().await.exits(1).json().remove(0);
        assert!(run["error"].as_str().unwrap().contains("pg_dump ended with status 1"), "{run}");
        assert_eq!(spooled(&setting), Vec::<String>::new());
        drop(held);
        nothing_remains(setting, &first).await;
    })
    .await;
}

#[tokio::test]
async fn a_dump_whose_daemon_was_killed_is_ended_and_cleared_away_by_the_next_run() {
    on_each_major(async |db| {
        tables(&db, 1).await;
        let (setting, first) = with_a_backup(&db).await;
        let (process, held) = at_work(&db, &setting).await;
        process.signal(libc::SIGKILL);
        drop(process);
        let orphans = dumps(&spool(&setting));
        let left = spooled(&setting);
        assert_eq!((orphans.len(), left.len()), (3, 1), "it does not notice");
        db.wait_until_unlocked().await;
        // What somebody else has there, whatever it is called, stays.
        let mine = ["mine", "pgtend-spool-nightly-0123456789abcdef", "pgtend-spool-x"];
        for name in mine {
            fs::create_dir_all(spool(&setting).join(name).join("dump")).unwrap();
            fs::write(spool(&setting).join(name).join("dump/toc.dat"), "mine").unwrap();
        }
        let process = setting.program.start(["run", "nightly", "--json"]);
        wait_until("what was left to be ended", async || {
            let now = dumps(&spool(&setting));
            !now.is_empty() && orphans.iter().all(|pid| !now.contains(pid))
        })
        .await;
        assert!(!spooled(&setting).contains(&left[0]), "{:?}", spooled(&setting));
        drop(held);
        process.wait().await.exits(0);
        assert_eq!(names(&spool(&setting)), mine);
        for name in mine {
            assert_eq!(fs::read_to_string(spool(&setting).join(name).join("dump/toc.dat")).unwrap(), "mine");
            fs::remove_dir_all(spool(&setting).join(name)).unwrap();
        }
        assert_eq!((setting.backups().len(), &setting.backups()[0]), (2, &first));
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_is_killed_at_any_point_leaves_no_half_backup() {
    on_newest_or_all(async |db| {
        tables(&db, 1).await;
        crate::backup::fill(&db, 20_000).await;
        for point in ["backup.begun", "backup.spooled", "backup.dumping", "backup.middle", "backup.dumped"] {
            eprintln!("killed at {point}");
            let (mut setting, first) = with_a_backup(&db).await;
            let (program, hold) = setting.program.holding(point);
            setting.program = program;
            let process = setting.program.start(["run", "nightly", "--json"]);
            hold.reached().await;
            // Once all is stored, it is of no use any more.
            assert_eq!(spooled(&setting).len(), usize::from(point != "backup.dumped"), "{point}");
            process.signal(libc::SIGKILL);
            drop(process);
            db.wait_until_unlocked().await;
            nothing_remains(setting, &first).await;
        }
    })
    .await;
}
