//! Backups of another system in the job's place: made before pg_upgrade, or by somebody who shares the prefix; and those of a
//! job that there is no more.

use std::fs;

use super::{back_up, change_manifest, exists, into};
use crate::backup::setting;
use crate::support::on_each_major;

#[tokio::test]
async fn which_of_two_databases_is_restored_is_no_guess() {
    on_each_major(async |db| {
        db.execute("create table t (n int); insert into t values (1)").await;
        let setting = setting(&db, "");
        let (ours, other) = (back_up(&setting).await, back_up(&setting).await);
        change_manifest(&setting, &other, |manifest| manifest["system_identifier"] = "7".into());
        let name = format!("guess of {}", db.name().chars().take(20).collect::<String>());
        let target = into(db.cluster(), &name);
        for args in [vec!["restore", "--into", &target], vec!["fetch", "latest", "app.dump"]] {
            let refused = setting.program.run([vec!["backup"], args].concat()).await.exits(1);
            for words in ["2 databases", &ours, &other, "of system 7", "by its id"] {
                assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
            }
        }
        assert!(!exists(db.cluster(), &name).await && !setting.program.folder().join("app.dump").exists());
        // To look at one harms nobody.
        let verified = setting.program.run(["backup", "verify"]).await.exits(0);
        assert!(verified.stderr.contains("2 databases") && verified.stdout.contains(&other), "{}", verified.stderr);
        setting.program.run(["backup", "restore", &ours, "--into", &target]).await.exits(0);

        let said = setting.program.run(["check"]).await.exits(0).stdout;
        assert!(said.contains("1 backup in the place of this job is of another database"), "{said}");
        let plan = setting.program.run(["plan", "--json"]).await.exits(0).json();
        let told = |step: &&serde_json::Value| step["reason"].to_string().contains("is of another database");
        assert_eq!(plan.iter().filter(told).map(|step| &step["action"]).collect::<Vec<_>>(), ["keep"], "{plan:?}");
        db.cluster().database().await.execute(&format!("drop database \"{name}\"")).await;
    })
    .await;
}

#[tokio::test]
async fn the_backups_of_a_job_that_the_config_has_no_more_are_listed() {
    on_each_major(async |db| {
        let setting = setting(&db, "");
        let id = back_up(&setting).await;
        let config = fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&config.replace("jobs.nightly", "jobs.weekly"));
        let list = async |args: &[&str], code| {
            let args = ["backup", "list"].into_iter().chain(args.iter().copied());
            setting.program.run(args).await.exits(code)
        };
        let listed = list(&["--job", "nightly", "--store", "local", "--json"], 0).await.json();
        assert_eq!((listed.len(), &listed[0]["id"]), (1, &id.as_str().into()), "{listed:?}");
        let table = list(&["nightly", "--store", "local"], 0).await.stdout;
        assert!(table.contains(&id) && table.contains("nightly"), "{table}");
        assert!(list(&["--job", "nightly"], 2).await.stderr.contains("weekly"));
        assert_eq!(list(&["--job", "weekly", "--store", "local"], 0).await.stdout, "no backups\n");
    })
    .await;
}
