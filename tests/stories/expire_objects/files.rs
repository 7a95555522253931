//! Objects that are files in a directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::support::on_each_major;

/// The job, and the directory, with files in it.
fn directory(db: &Database) -> (Pgtend, PathBuf) {
    let program = Pgtend::tending(db, &format!("[stores.offsite.directory]\npath = \"files\"\n{}", job(&tables())));
    let folder = program.folder().join("files");
    fs::create_dir_all(folder.join("reports")).unwrap();
    for file in ["reports/a b.pdf", "reports/live", "one", "two", "Ω%"] {
        fs::write(folder.join(file), "x").unwrap();
    }
    fs::write(program.folder().join("outside"), "x").unwrap();
    (program, folder)
}

async fn insert(db: &Database, addresses: &[String]) {
    let client = db.client().await;
    for (n, address) in (1_i32..).zip(addresses) {
        let insert = "INSERT INTO artifacts VALUES ($1, $2, now() - interval '1 day')";
        client.execute(insert, &[&n, address]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_by_path_and_by_url_and_nothing_outside_does() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let (program, folder) = directory(&db);
        symlink(program.folder().join("outside"), folder.join("link")).unwrap();
        symlink(program.folder(), folder.join("up")).unwrap();
        let root = folder.display();
        let good = [
            "reports/a b.pdf".to_owned(),
            format!("{root}/one"),
            format!("file://{root}/two"),
            "Ω%".into(),
            "reports/not there".into(),
            "reports/live".into(),
        ];
        insert(&db, &good).await;
        db.execute(&format!("INSERT INTO artifacts VALUES (50, 'file://{root}/reports/live', NULL)")).await;
        let bad = [
            "../outside",
            "reports/../../outside",
            "link",
            "up/outside",
            "reports",
            "/etc/hostname",
            "reports//live",
            "s3://x/one",
        ];
        for (n, address) in (100..).zip(bad) {
            db.execute(&format!("INSERT INTO artifacts VALUES ({n}, '{address}', now() - interval '1 day')")).await;
        }
        let record = run(&program, 1).await;
        assert_eq!(record["outcome"], "partial", "{record}");
        // That one was not there is seen here, and counts for nothing.
        let counts = ["rows_deleted", "objects_deleted", "objects_kept", "objects_failed"];
        let counts = counts.map(|name| record["details"][name].as_u64());
        assert_eq!(counts, [Some(6), Some(4), Some(1), Some(8)], "{record}");
        let there = ["reports/a b.pdf", "one", "two", "Ω%", "reports/live", "../outside"]
            .map(|file| folder.join(file).exists());
        assert_eq!(there, [false, false, false, false, true, true]);
        assert!(folder.join("link").is_symlink());
        assert_eq!(rows(&db).await, [50, 100, 101, 102, 103, 104, 105, 106, 107]);
    })
    .await;
}

/// A file system that is not mounted looks like one from which all is gone.
#[tokio::test(flavor = "multi_thread")]
async fn rows_stay_where_the_directory_is_missing() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let (program, folder) = directory(&db);
        insert(&db, &["one".into(), "two".into()]).await;
        fs::rename(&folder, program.folder().join("unmounted")).unwrap();
        let record = run(&program, 1).await;
        assert!(failure(&record).contains("is its file system mounted?"), "{record}");
        assert_eq!(rows(&db).await, [1, 2]);
        let checked = program.run(["check"]).await.exits(1).stdout;
        assert!(checked.contains("store offsite: there is no directory"), "{checked}");
        assert!(!folder.exists(), "and none is made");
        fs::rename(program.folder().join("unmounted"), &folder).unwrap();
        program.run(["check"]).await.exits(0);
        run(&program, 0).await;
        assert_eq!(rows(&db).await.len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_between_file_and_row_is_finished_by_the_next() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let (program, folder) = directory(&db);
        insert(&db, &["one".into(), "two".into()]).await;
        let (program, hold) = program.holding("objects.removed");
        let killed = program.start(["run", "artifacts"]);
        hold.reached().await;
        drop(killed);
        crate::support::wait_until("it to be gone", async || db.backends("pgtend/artifacts%").await.is_empty()).await;
        assert_eq!((rows(&db).await.len(), folder.join("one").exists()), (2, false));
        hold.go_on();
        let record = run(&program, 0).await;
        assert_eq!((rows(&db).await.len(), &record["details"]["rows_deleted"]), (0, &2.into()), "{record}");
    })
    .await;
}
