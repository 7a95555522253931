//! Several stores, some of which fail; and what a store does to what it was given.

use std::fs;

use serde_json::json;

use super::{Setting, backups, files, fill, setting};
use crate::support::{Database, on_each_major};

/// Two directories; the second is `second`, relative to the config.
fn two(db: &Database, second: &str, backup: &str) -> Setting {
    let text = super::jobs(db, &format!("to = [{{ store = \"local\" }}, {{ store = \"second\" }}]\n{backup}"));
    let config = format!(
        "[databases.main]\nurl = \"{}\"\n[http]\nlisten = \"{{listen}}\"\n[stores.second.directory]\npath = \"{second}\"\n{text}",
        db.url()
    );
    let program = crate::support::Pgtend::new(&config);
    let store = program.folder().join("store");
    Setting { program, store }
}

#[tokio::test]
async fn both_stores_get_the_same_backup() {
    on_each_major(async |db| {
        fill(&db, 5_000).await;
        let setting = two(&db, "second", "");
        let run = setting.run(0).await;
        let second = setting.program.folder().join("second");
        assert_eq!(files(&second), setting.files());
        let id = run["details"]["backup"].as_str().unwrap();
        for name in ["app.dump.zst", "globals.sql.zst", "manifest.json"] {
            let read = |store: &std::path::Path| fs::read(store.join("nightly").join(id).join(name)).unwrap();
            assert!(read(&setting.store) == read(&second), "{name}");
        }
        assert_eq!(run["details"]["targets"].as_array().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_store_that_fails_makes_the_run_partial_and_spoils_no_other() {
    on_each_major(async |db| {
        fill(&db, 5_000).await;
        // A file where its directory should be.
        let setting = two(&db, "pgtend.toml/second", "");
        let run = setting.run(1).await;
        assert_eq!(run["outcome"], "partial", "{run}");
        assert_eq!(setting.backups().len(), 1);
        let error = run["error"].as_str().unwrap();
        assert!(error.contains("pgtend.toml/second"), "{error}");
        let targets = &run["details"]["targets"];
        assert_eq!((&targets[0]["error"], targets[1]["error"].is_string()), (&json!(null), true), "{targets}");
        assert_eq!(run["details"]["failures"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_is_full_ends_that_upload_alone() {
    let db = crate::support::Cluster::shared(crate::support::newest_major()).database().await;
    fill(&db, 24_000).await;
    let Some(small) = SmallDisk::mount() else {
        // Who may not mount cannot fill a disk of a file system of its own; the pipeline's own test has a store that ends.
        eprintln!("not told: no file system can be mounted here");
        return;
    };
    let setting = two(&db, &small.0.display().to_string(), "compression = \"none\"");
    let run = setting.run(1).await;
    assert_eq!(run["outcome"], "partial", "{run}");
    assert!(run["error"].as_str().unwrap().contains("No space left"), "{run}");
    assert_eq!(setting.backups().len(), 1);
    assert_eq!(files(&small.0), Vec::<String>::new(), "the room is given back");
}

/// A file system of two megabytes.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = crate::support::keeper::new_folder("d");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m", "pgtend-story"]).arg(&folder);
        mount.output().ok()?.status.success().then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn where_no_store_takes_it_the_run_has_failed() {
    on_each_major(async |db| {
        let setting = setting(&db, "");
        fs::write(&setting.store, "no directory").unwrap();
        let run = setting.run(1).await;
        assert_eq!(run["outcome"], "failed", "{run}");
        assert!(run["error"].as_str().unwrap().contains("store"), "{run}");
    })
    .await;
}

#[tokio::test]
async fn a_flipped_byte_is_seen_when_the_backup_is_read_back() {
    on_each_major(async |db| {
        fill(&db, 5_000).await;
        for compression in ["zstd:1", "gzip:1", "none"] {
            let setting = setting(&db, &format!("compression = \"{compression}\""));
            let first = setting.run(0).await["details"]["backup"].as_str().unwrap().to_owned();
            // Once the dump is in its place, and before it is read back.
            let (program, hold) = setting.program.holding("backup.complete");
            let setting = Setting { program, ..setting };
            let process = setting.program.start(["run", "nightly", "--json"]);
            hold.reached().await;
            let id = setting.backups().pop().unwrap();
            let dump =
                setting.files().into_iter().find(|file| file.contains(&id) && file.contains("app.dump")).unwrap();
            let dump = setting.store.join(dump);
            let mut bytes = fs::read(&dump).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&dump, bytes).unwrap();
            hold.go_on();
            let run = process.wait().await.exits(1).json().remove(0);
            assert_eq!(run["outcome"], "failed", "{compression}: {run}");
            assert!(run["error"].as_str().unwrap().contains("SHA-256"), "{compression}: {run}");
            let verified = super::json(&setting.folder(&id).join("verified.json"));
            assert_eq!(verified["good"], false);
            assert_eq!(backups(&setting.store)[0], first);
        }
    })
    .await;
}
