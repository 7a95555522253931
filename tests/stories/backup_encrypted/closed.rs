//! Without a key, or with another's, nothing is opened, nothing is written, and nothing is called damaged.

use std::fs;

use super::{Pair, encrypted, readable, verified};
use crate::backup::{files, fill};
use crate::backup_commands::{back_up, cut_off, exists, flip, into};
use crate::support::on_each_major;

#[tokio::test]
async fn without_a_key_what_is_stored_is_compared_and_no_more() {
    on_each_major(async |db| {
        fill(&db, 1_000).await;
        for config in ["", "format = \"plain\"\ncompression = \"none\""] {
            let key = Pair::new();
            let setting = encrypted(&db, &[&key], config);
            let run = setting.run(0).await;
            let id = run["details"]["backup"].as_str().unwrap().to_owned();
            cut_off(&setting, &db);
            let how = "size, digest; not decrypted, for want of an identity";
            assert_eq!(run["details"]["targets"][0]["verified"], how, "{run}");
            assert_eq!(verified(&setting, &id).unwrap()["how"], how);
            let output = setting.program.run(["backup", "verify", &id]).await.exits(0);
            for words in ["not decrypted", "--identity", "stored as it was written"] {
                assert!(output.stdout.contains(words), "{}", output.stdout);
            }
            let output = setting.program.run(["backup", "verify", "--json"]).await.exits(0);
            assert_eq!((&output.json()[0]["good"], &output.json()[0]["how"]), (&true.into(), &how.into()));

            let around = files(setting.program.folder());
            let target = into(db.cluster(), "closed");
            for args in [
                &["backup", "fetch", &id, "dump"][..],
                &["backup", "fetch", &id, "-", "--globals"],
                &["backup", "restore", &id, "--into", &target],
                &["backup", "restore", &id, "--roles", "--into", &target],
            ] {
                let output = setting.program.run(args).await.exits(1);
                assert!(output.stdout.is_empty(), "{args:?}: {}", output.stdout);
                for words in ["encrypted", "--identity", "identity_file"] {
                    assert!(output.stderr.contains(words), "{args:?}: {}", output.stderr);
                }
            }
            assert_eq!(files(setting.program.folder()), around);
            assert!(!exists(db.cluster(), "closed").await);

            // The digest tells what a key would.
            flip(&setting, &id);
            let output = setting.program.run(["backup", "verify", &id]).await.exits(1);
            assert!(output.stderr.contains("DAMAGED") && output.stderr.contains("SHA-256"), "{}", output.stderr);
            assert_eq!(verified(&setting, &id).unwrap()["good"], false);
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_is_told_as_such_and_says_nothing_of_the_backup() {
    on_each_major(async |db| {
        fill(&db, 1_000).await;
        for config in ["", "format = \"plain\"\ncompression = \"none\""] {
            let (ours, other) = (Pair::new(), Pair::new());
            let setting = readable(&db, &[&ours], config);
            let id = back_up(&setting).await;
            let before = fs::read(setting.folder(&id).join("verified.json")).unwrap();
            let file = setting.program.file("other", &other.file()).display().to_string();
            let output = setting.program.run(["backup", "verify", &id, "--identity", &file, "--json"]).await.exits(1);
            assert!(output.json()[0]["good"].is_null(), "{}", output.stdout);
            for words in ["wrong key", &file, &ours.public, "nothing is known"] {
                assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
            }
            assert!(!output.stderr.contains("DAMAGED"), "{}", output.stderr);
            assert!(fs::read(setting.folder(&id).join("verified.json")).unwrap() == before, "nothing was learned");

            let around = files(setting.program.folder());
            let target = into(db.cluster(), "wrong");
            for args in [
                &["backup", "fetch", &id, "dump"][..],
                &["backup", "fetch", &id, "-", "--globals"],
                &["backup", "restore", &id, "--into", &target],
                &["backup", "restore", &id, "--roles", "--into", &target],
            ] {
                let output = setting.program.run(args.iter().chain(&["--identity", file.as_str()])).await.exits(1);
                assert!(output.stdout.is_empty() && output.stderr.contains("wrong key"), "{args:?}: {}", output.stderr);
            }
            assert_eq!(files(setting.program.folder()), around);
            assert!(!exists(db.cluster(), "wrong").await);

            // With that one in the config a run makes its backup, and says that it was not read back.
            setting.program.file("key", &other.file());
            let run = setting.run(1).await;
            let error = run["error"].as_str().unwrap();
            assert!(error.contains("could not be verified") && error.contains("wrong key"), "{error}");
            let newest = setting.backups().pop().unwrap();
            assert!(newest != id && verified(&setting, &newest).is_none());
            // What was changed is damage, whosever key it is.
            flip(&setting, &newest);
            let output = setting.program.run(["backup", "verify", &newest]).await.exits(1);
            assert!(output.stderr.contains("DAMAGED"), "{}", output.stderr);
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_key_is_told_without_what_it_holds() {
    use crate::support::{Cluster, newest_major};
    let db = Cluster::shared(newest_major()).database().await;
    let key = Pair::new();
    let setting = encrypted(&db, &[&key], "");
    let id = back_up(&setting).await;
    let broken = &key.secret[..60];
    setting.program.file("broken", &format!("# a key\n{broken}\n"));
    setting.program.file("public", &key.public);
    for (file, words) in
        [("broken", "line 2"), ("public", "public key"), ("nowhere", "cannot be read"), (".", "cannot be read")]
    {
        for command in [&["verify", &id][..], &["fetch", &id, "dump"]] {
            let args = [&["backup"], command, &["--identity", file, "--log-level", "trace"]].concat();
            let output = setting.program.run(args).await.exits(1);
            assert!(output.stderr.contains(words), "{file}: {}", output.stderr);
            assert!(!output.stderr.contains(broken), "{}", output.stderr);
        }
    }
    let output = setting.program.run(["backup", "list", "--json"]).await.exits(0);
    assert_eq!(output.json()[0]["encryption"], "age", "the list needs no key");
}
