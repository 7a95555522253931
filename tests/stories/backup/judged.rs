//! What is said of a backup by programs that end badly, and what is made of it.

use super::{bin, json, replace_programs, setting};
use crate::support::{Cluster, newest_major, on_each_major};

/// `pg_restore` that does this with what it is given.
async fn judged_by(script: &str) -> (super::Setting, serde_json::Value) {
    let db = Cluster::shared(newest_major()).database().await;
    let setting = setting(&db, "");
    let script = format!("cat > /dev/null\n{script}");
    replace_programs(&setting, &db, &[("pg_restore", &script)]);
    let run = setting.run(1).await;
    (setting, run)
}

#[tokio::test]
async fn a_pg_restore_that_was_killed_or_had_no_memory_says_nothing_of_the_backup() {
    for (script, words) in [
        ("kill -KILL $$", "was killed (signal 9)"),
        ("echo 'pg_restore: error: out of memory' >&2; exit 1", "out of memory"),
        ("echo 'pg_restore: error while loading shared libraries' >&2; exit 127", "shared libraries"),
    ] {
        let (setting, run) = judged_by(script).await;
        let error = run["error"].as_str().unwrap();
        assert!(error.contains("could not be verified") && error.contains(words), "{script}: {error}");
        let [id] = setting.backups().try_into().expect("one backup");
        assert!(!setting.folder(&id).join("verified.json").exists(), "{script}");
        let list = setting.program.run(["backup", "list", "--json"]).await.exits(0).json();
        assert_eq!(list[0]["state"], "unverified", "{script}: {list:?}");
    }
}

#[tokio::test]
async fn a_complaint_about_what_was_written_is_damage_and_takes_no_backup_away() {
    on_each_major(async |db| {
        let setting = setting(&db, "to = [{ store = \"local\", keep = { last = 2 } }]");
        setting.run(0).await;
        let [first] = setting.backups().try_into().expect("one backup");
        let complains = "cat > /dev/null; echo 'pg_restore: error: did not find magic string' >&2; exit 1";
        replace_programs(&setting, &db, &[("pg_restore", complains)]);
        let run = setting.run(1).await;
        assert!(run["error"].as_str().unwrap().contains("magic string"), "{run}");
        let second = run["details"]["backup"].as_str().unwrap();
        let said = json(&setting.folder(second).join("verified.json"));
        assert_eq!((&said["good"], &said["intact"]), (&false.into(), &true.into()), "{said}");
        let ours = setting.program.folder().join("programs").display().to_string();
        let config = std::fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&config.replace(&ours, &bin(&db).display().to_string()));
        // It takes no place among the two, and goes with the older of them.
        setting.run(0).await;
        let all = setting.backups();
        assert!(all.len() == 3 && all.contains(&first) && all.contains(&second.to_owned()), "{all:?}");
        for _ in 0..2 {
            setting.run(0).await;
        }
        // Not by their ids: one of the same second may have that of one that is gone.
        let good = |id: &String| json(&setting.folder(id).join("verified.json"))["good"].clone();
        let left: Vec<_> = setting.backups().iter().map(good).collect();
        assert_eq!(left, [true, true]);
    })
    .await;
}

#[tokio::test]
async fn globals_without_an_end_are_not_waited_for() {
    let db = Cluster::shared(newest_major()).database().await;
    let setting = setting(&db, "");
    replace_programs(&setting, &db, &[("pg_dumpall", "exec yes 'CREATE ROLE one;'")]);
    let run = setting.run(1).await;
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("the globals are larger than") && error.contains("globals = false"), "{error}");
    assert!(setting.files().is_empty(), "{:?}", setting.files());
}
