//! Which backups stay in a store.

use std::fs;

use super::{Setting, fill, setting};
use crate::support::on_each_major;

async fn again(setting: &Setting, times: usize) -> Vec<String> {
    for _ in 0..times {
        setting.run(0).await;
    }
    setting.backups()
}

#[tokio::test]
async fn without_keep_nothing_goes_and_with_it_the_oldest_do() {
    on_each_major(async |db| {
        let keeps = setting(&db, "");
        let all = again(&keeps, 4).await;
        assert_eq!(all.len(), 4);
        let config = fs::read_to_string(keeps.program.config()).unwrap();
        let config = config.replace("{ store = \"local\" }", "{ store = \"local\", keep = { last = 2 } }");
        keeps.program.configure(&config);
        // Somebody else's, and without a manifest of ours: none of it is touched.
        fs::write(keeps.store.join("nightly").join("notes.txt"), "mine").unwrap();
        fs::create_dir_all(keeps.store.join("nightly/2020-01-01T000000Z")).unwrap();
        fs::write(keeps.store.join("nightly/2020-01-01T000000Z/keys.txt"), "mine").unwrap();
        let plan = keeps.program.run(["plan", "--json"]).await.exits(0).json();
        let actions: Vec<_> = plan.iter().map(|step| step["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["backup", "delete_backup", "delete_backup", "delete_backup", "keep"]);
        let run = keeps.run(0).await;
        let left = keeps.backups();
        assert_eq!((left.len(), &left[0]), (2, &all[3]), "{run}");
        assert_eq!(run["details"]["backups_deleted"], 3);
        assert_eq!(run["details"]["targets"][0]["backups"], 2);
        assert!(keeps.store.join("nightly/notes.txt").exists());
        assert!(keeps.store.join("nightly/2020-01-01T000000Z/keys.txt").exists());
        // Nothing of those that went is left.
        assert_eq!(keeps.files().iter().filter(|file| file.contains("app.dump")).count(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_fails_deletes_nothing() {
    on_each_major(async |db| {
        let setting = setting(&db, "to = [{ store = \"local\", keep = { last = 1 } }]");
        let config = fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&config.replace(", keep = { last = 1 }", ""));
        let all = again(&setting, 3).await;
        setting
            .program
            .configure(&config.replace("[jobs.nightly.backup]", "[jobs.nightly.backup]\ntables = [\"nowhere\"]"));
        let run = setting.run(1).await;
        assert_eq!(run["outcome"], "failed", "what is not tried is not done: {run}");
        assert_eq!(setting.backups(), all, "{run}");
        setting.program.configure(&config);
        setting.run(0).await;
        // The one before was verified, and so was the new one; the plan was made before that.
        assert_eq!(setting.backups().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_dump_that_is_much_smaller_than_usual_is_told() {
    on_each_major(async |db| {
        fill(&db, 4_000).await;
        let setting = setting(&db, "");
        again(&setting, 3).await;
        db.execute("truncate filling").await;
        let run = setting.run(0).await;
        let warnings = run["details"]["warnings"].to_string();
        assert!(warnings.contains("of what is usual"), "{run}");
        assert!(run["details"]["targets"][0]["size_ratio"].as_f64().unwrap() < 0.5, "{run}");
    })
    .await;
}
