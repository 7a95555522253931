//! What is proven, and what is told of it.

use super::{error, job, prove, scratches, setting};
use crate::backup::restored::odd_database;
use crate::backup::{fill, json};
use crate::backup_commands::{back_up, change_manifest, flip};
use crate::support::{Cluster, newest_major, on_each_major};

const QUERIES: &str = r#"queries = [
  "select count(*) = 501 from \"Größe \"\"und\"\" Maß\".\"Ελληνικά table\"",
  "select twice(21) = 42 and (select last_value from \"Odd seq\") = 41",
  "select count(*) > 0 from events",
]"#;

#[tokio::test]
async fn a_backup_of_odd_names_is_proven_on_its_server_and_on_a_newer_one() {
    on_each_major(async |db| {
        odd_database(&db).await;
        let newest = Cluster::shared(newest_major()).database().await;
        for (server, format) in
            [(db.cluster().database().await, "custom"), (newest.clone(), "custom"), (newest, "plain")]
        {
            let setting = setting(&db, &server, &format!("row_counts = true\nformat = \"{format}\""), QUERIES);
            let id = back_up(&setting).await;
            // What is in the database by now is not what was dumped.
            db.execute("insert into events (at) values ('2026-01-07'); delete from empty_one").await;
            let run = prove(&setting, &db, 0).await;
            let target = &run["details"]["targets"][0];
            let tables = setting.manifest(&id)["row_counts"].as_object().unwrap().len();
            let rows: u64 =
                setting.manifest(&id)["row_counts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
            assert_eq!((&run["outcome"], &run["database"]), (&"succeeded".into(), &"scratch".into()), "{run}");
            assert_eq!((&target["backup"], &target["store"]), (&id.as_str().into(), &"local".into()), "{run}");
            assert_eq!(target["tables_compared"].as_u64(), Some(tables as u64), "{run}");
            assert_eq!(target["rows_compared"].as_u64(), Some(rows), "{run}");
            assert_eq!((&target["queries"], &target["error"]), (&3.into(), &().into()), "{run}");
            assert!(target["tested_at"].is_string() && target["duration_seconds"].as_f64() > Some(0.0), "{run}");
            let proof = json(&setting.folder(&id).join("restored.json"));
            let list = setting.program.run(["backup", "list", "--json"]).await.exits(0).json();
            assert_eq!(list[0]["restored"]["at"], proof["at"], "{list:?}");
            assert_eq!((&proof["id"], &proof["job"]), (&id.as_str().into(), &job(&db).into()), "{proof}");
            assert_eq!((&proof["at"], &proof["rows_compared"]), (&target["tested_at"], &rows.into()), "{proof}");
            assert_eq!(proof["queries"].as_array().unwrap().len(), 3, "{proof}");
            assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
            // The history is where the work was.
            assert_eq!(server.outcomes(&job(&db)).await.last().unwrap(), "succeeded");
            let tables: Vec<String> = server
                .column(
                    "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace",
                )
                .await;
            assert!(tables.is_empty(), "the database of the config stays as it is: {tables:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn on_its_own_server_owners_are_restored_too() {
    on_each_major(async |db| {
        db.execute("create table t (n int)").await;
        let server = db.cluster().database().await;
        let setting = setting(
            &db,
            &server,
            "",
            "queries = [\"select tableowner = 'postgres' from pg_tables where tablename = 't'\"]",
        );
        back_up(&setting).await;
        let run = prove(&setting, &db, 0).await;
        assert_eq!(run["details"]["targets"][0]["owners"], true, "{run}");
        assert_eq!(
            run["details"]["targets"][0]["tables_compared"],
            serde_json::Value::Null,
            "there are no counts: {run}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_backup_that_was_restored_stays_until_a_newer_one_was_and_then_goes_with_its_proof() {
    on_each_major(async |db| {
        let setting = setting(&db, &db, "", "");
        let config = std::fs::read_to_string(setting.program.config()).unwrap();
        setting
            .program
            .configure(&config.replace("{ store = \"local\" }", "{ store = \"local\", keep = { last = 1 } }"));
        let first = back_up(&setting).await;
        prove(&setting, &db, 0).await;
        assert!(setting.folder(&first).join("restored.json").exists());
        // However many are newer: none of them has been had again.
        for _ in 0..3 {
            back_up(&setting).await;
        }
        assert!(setting.folder(&first).join("manifest.json").exists(), "{:?}", setting.files());
        let plan = setting.program.run(["plan", "nightly", "--json"]).await.exits(0).json();
        let why = |step: &&serde_json::Value| step["target"] == format!("local: {first}");
        let kept = plan.iter().find(why).expect("a step about it");
        assert!(kept["reason"].to_string().contains("the newest that was restored"), "{plan:?}");
        prove(&setting, &db, 0).await;
        back_up(&setting).await;
        let left = setting.files();
        // Those of the same second are called after it: FIRST-2.
        let of_first = format!("/{first}/");
        assert!(left.iter().all(|file| !file.contains(&of_first)), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn damage_is_found_and_from_then_on_the_one_before_is_the_newest_good_one() {
    on_each_major(async |db| {
        fill(&db, 500).await;
        let server = db.cluster().database().await;
        let setting = setting(&db, &server, "", "");
        let first = back_up(&setting).await;
        let second = back_up(&setting).await;
        flip(&setting, &second);
        let run = prove(&setting, &db, 1).await;
        assert!(error(&run).contains("SHA-256") && error(&run).contains(&second), "{run}");
        assert_eq!(json(&setting.folder(&second).join("verified.json"))["good"], false);
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
        let run = prove(&setting, &db, 0).await;
        assert_eq!(run["details"]["backup"], first.as_str(), "{run}");
        assert!(run["details"]["warnings"].to_string().contains(&second), "{run}");
    })
    .await;
}

#[tokio::test]
async fn what_is_proven_is_a_backup_of_the_database_that_the_config_names() {
    on_each_major(async |db| {
        let server = db.cluster().database().await;
        let setting = setting(&db, &server, "", "");
        let (first, second) = (back_up(&setting).await, back_up(&setting).await);
        change_manifest(&setting, &second, |manifest| manifest["system_identifier"] = "7".into());
        let run = prove(&setting, &db, 0).await;
        assert_eq!(run["details"]["backup"], first.as_str(), "{run}");
        change_manifest(&setting, &first, |manifest| manifest["system_identifier"] = "7".into());
        let run = prove(&setting, &db, 1).await;
        assert!(error(&run).contains("no backup of the database that the config names"), "{run}");
        assert!(setting.program.run(["check"]).await.exits(0).stdout.contains("no backup of the database"));
        // Where the database is lost, its backups are what there is.
        let config = std::fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&config.replacen(&db.url(), "postgresql://nobody@127.0.0.1:1/nothing", 1));
        let run = prove(&setting, &db, 0).await;
        assert_eq!(run["details"]["backup"], second.as_str(), "{run}");
    })
    .await;
}
