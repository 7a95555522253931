//! What is in the stores, and which of it is meant.

use std::fs;

use super::{back_up, change_manifest, cut_off, flip, two_stores};
use crate::backup::setting;
use crate::support::s3::S3Server;
use crate::support::{Cluster, Pgtend, newest_major, on_each_major};

#[tokio::test]
async fn a_list_has_what_is_in_every_store_and_needs_no_database() {
    on_each_major(async |db| {
        let server = S3Server::start();
        let setting = two_stores(&db, &server, "");
        let ids = [back_up(&setting).await, back_up(&setting).await, back_up(&setting).await];
        cut_off(&setting, &db);
        flip(&setting, &ids[1]);
        let damaged = setting.program.run(["backup", "verify", &ids[1], "--store", "local"]).await.exits(1);
        assert!(damaged.stderr.contains("DAMAGED") && damaged.stderr.contains("app.dump.zst"), "{}", damaged.stderr);
        fs::remove_file(setting.folder(&ids[2]).join("verified.json")).unwrap();

        let listed = setting.program.run(["backup", "list", "--json"]).await.exits(0).json();
        assert_eq!(listed.len(), 6);
        let state = |store: &str, id: &str| {
            let found = listed.iter().find(|one| one["store"] == store && one["id"] == id).expect("listed");
            found["state"].as_str().unwrap().to_owned()
        };
        let local = ids.each_ref().map(|id| state("local", id));
        assert_eq!(local, ["verified", "damaged", "unverified"]);
        assert_eq!(ids.each_ref().map(|id| state("offsite", id)), ["verified"; 3]);
        let first = &listed[0];
        assert_eq!(first["id"], ids[2], "the newest first");
        let manifest = setting.manifest(&ids[2]);
        for (field, value) in manifest.as_object().unwrap() {
            assert_eq!(&first[field], value, "{field}");
        }
        let sum = |field: &str| -> u64 {
            manifest["objects"].as_array().unwrap().iter().map(|object| object[field].as_u64().unwrap()).sum()
        };
        assert_eq!((first["size"].as_u64(), first["raw_size"].as_u64()), (Some(sum("size")), Some(sum("raw_size"))));
        assert!(first["duration_seconds"].is_f64() && first["place"].as_str().unwrap().ends_with("/store"), "{first}");
        let good = listed.iter().find(|one| one["state"] == "verified").unwrap();
        assert_eq!(good["verified"]["good"], true, "{good}");

        let table = setting.program.run(["backup", "list", "nightly", "--store", "local"]).await.exits(0).stdout;
        let line = |id: &str| {
            // Of two in one second, one begins as the other does.
            table.lines().find(|line| line.starts_with(&format!("{id} "))).expect("a line").to_owned()
        };
        assert_eq!(table.lines().count(), 4, "{table}");
        assert!(line(&ids[1]).contains("DAMAGED") && line(&ids[1]).contains("SHA-256"), "{table}");
        assert!(line(&ids[2]).contains("not verified") && line(&ids[2]).contains(db.name()), "{table}");

        // One store that cannot be asked, and one manifest that cannot be read: the others are there all the same.
        fs::write(setting.folder(&ids[0]).join("manifest.json"), "{").unwrap();
        drop(server);
        let config = fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&config.replace("path_style = true", "path_style = true\nattempts = 1"));
        let output = setting.program.run(["backup", "list", "--json"]).await.exits(1);
        assert_eq!(output.json().len(), 2, "{}", output.stdout);
        assert!(output.stderr.contains("store offsite") && output.stderr.contains(&ids[0]), "{}", output.stderr);
    })
    .await;
}

#[tokio::test]
async fn where_there_is_nothing_that_is_said() {
    let db = Cluster::shared(newest_major()).database().await;
    let setting = setting(&db, "");
    let output = setting.program.run(["backup", "list"]).await.exits(0);
    assert_eq!(output.stdout.trim(), "no backups");
    assert_eq!(setting.program.run(["backup", "list", "--json"]).await.exits(0).stdout, "");
    for command in [&["verify"][..], &["fetch", "latest", "x"], &["restore", "--into", "dbname=nowhere"]] {
        let output = setting.program.run(["backup"].iter().chain(command)).await.exits(1);
        assert!(output.stderr.contains("job nightly in store local: there is no backup"), "{}", output.stderr);
    }
}

/// Who looks does not want to wait for as long as a backup would.
#[tokio::test]
async fn a_store_that_is_away_is_soon_given_up_and_not_said_to_be_empty() {
    let db = Cluster::shared(newest_major()).database().await;
    let server = S3Server::start();
    let setting = two_stores(&db, &server, "");
    drop(server);
    let output = setting.program.run(["backup", "list", "nightly", "--store", "offsite"]).await.exits(1);
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains("tried 3 times"), "{}", output.stderr);
    let said = setting.program.run(["check"]).await.exits(1).stdout;
    assert!(said.contains("tried 3 times"), "{said}");
    let said = setting.program.run(["plan", "nightly"]).await.exits(0).stdout;
    assert!(said.contains("tried 3 times"), "{said}");
}

#[tokio::test]
async fn what_is_not_said_is_no_guess_where_there_are_several() {
    let (url, stores) = (
        "postgresql://nobody@127.0.0.1:1/nothing",
        "[stores.a.directory]\npath = \"a\"\n[stores.b.directory]\npath = \"b\"\n",
    );
    let program = Pgtend::new(&format!(
        "[databases.one]\nurl = \"{url}\"\n[databases.two]\nurl = \"{url}\"\n{stores}\
         [jobs.nightly]\ndatabases = [\"*\"]\n[jobs.nightly.backup]\nto = [{{ store = \"a\" }}, {{ store = \"b\" }}]\n\
         [jobs.weekly]\ndatabase = \"one\"\n[jobs.weekly.backup]\nto = [{{ store = \"a\" }}]\n\
         [jobs.other]\ndatabase = \"one\"\n[jobs.other.sql]\nstatements = [\"select 1\"]\n"
    ));
    let file = program.folder().join("out").display().to_string();
    for command in [&["verify"][..], &["fetch", "latest", &file], &["restore", "--into", "dbname=x"]] {
        let said = async |more: &[&str], code: i32| {
            program.run(["backup"].iter().chain(command).chain(more)).await.exits(code).stderr
        };
        let checks: [(&[&str], &[&str]); 7] = [
            (&[], &["which job", "--job nightly", "--job weekly"]),
            (&["--job", "nightly"], &["which database", "--database one", "--database two"]),
            (&["--job", "nightly", "--database", "two"], &["which store", "--store a", "--store b"]),
            (&["--job", "nightly", "--database", "three"], &["one, two"]),
            (&["--job", "nightly@one", "--store", "c"], &["\"c\"", "a, b"]),
            (&["--job", "nihgtly"], &["nihgtly", "nightly, weekly"]),
            (&["--job", "other"], &["sql", "nightly, weekly"]),
        ];
        for (more, words) in checks {
            let said = said(more, 2).await;
            for word in words {
                assert!(said.contains(word), "{more:?}: {word} in {said}");
            }
        }
        // What is said is enough: now it is the backup that is missing.
        for more in [
            &["--job", "weekly"][..],
            &["--job", "nightly@two", "--store", "b"],
            &["--database", "two", "--store", "b"],
        ] {
            assert!(said(more, 1).await.contains("there is no backup"), "{more:?}");
        }
    }
    program.run(["backup", "list", "weekly"]).await.exits(0);
    program.run(["backup", "list", "daily"]).await.exits(2);
    program.run(["backup", "list", "weekly", "--store", "b"]).await.exits(2);
    program.run(["backup"]).await.exits(2);
    program.run(["backup", "restore", "--job", "weekly"]).await.exits(2);
}

#[tokio::test]
async fn the_latest_is_what_the_manifests_say_and_not_what_the_names_say() {
    on_each_major(async |db| {
        let setting = setting(&db, "globals = false");
        let ids = [back_up(&setting).await, back_up(&setting).await, back_up(&setting).await];
        // Whatever they are called, the first began last, and the third before all others.
        change_manifest(&setting, &ids[0], |manifest| manifest["started_at"] = "2031-01-01T00:00:00Z".into());
        change_manifest(&setting, &ids[2], |manifest| manifest["started_at"] = "2001-01-01T00:00:00Z".into());
        let verify = async || setting.program.run(["backup", "verify", "--json"]).await;
        assert_eq!(verify().await.exits(0).json()[0]["id"], ids[0]);
        let bytes = flip(&setting, &ids[0]);
        let found = verify().await.exits(1).json().remove(0);
        assert_eq!((&found["id"], &found["good"]), (&ids[0].as_str().into(), &false.into()), "{found}");
        // What is known to be damaged is not the latest any more; it can still be named.
        let output = verify().await.exits(0);
        assert_eq!(output.json()[0]["id"], ids[1]);
        assert!(output.stderr.contains(&ids[0]) && output.stderr.contains("damaged"), "{}", output.stderr);
        fs::write(super::dump_file(&setting, &ids[0]), bytes).unwrap();
        setting.program.run(["backup", "verify", &ids[0]]).await.exits(0);
        assert_eq!(verify().await.exits(0).json()[0]["id"], ids[0]);
        // Backups of another database under the same name are told.
        change_manifest(&setting, &ids[1], |manifest| manifest["system_identifier"] = "1".into());
        let output = verify().await.exits(0);
        assert!(output.stderr.contains("of 2 databases"), "{}", output.stderr);
        // A folder without a manifest is no backup, and an id that is not there is told with those that are.
        fs::remove_file(setting.folder(&ids[0]).join("manifest.json")).unwrap();
        let output = setting.program.run(["backup", "verify", &ids[0]]).await.exits(1);
        assert!(output.stderr.contains("no manifest"), "{}", output.stderr);
        let output = setting.program.run(["backup", "verify", "2001-01-01T000000Z"]).await.exits(1);
        assert!(output.stderr.contains(&ids[1]) && output.stderr.contains(&ids[2]), "{}", output.stderr);
    })
    .await;
}
