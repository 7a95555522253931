//! With a key all is as it is without encryption.

use std::fs;
use std::process::{Command, Stdio};

use super::{Pair, readable, verified};
use crate::backup::{files, fill, setting};
use crate::backup_commands::{back_up, cut_off, dump_file, into, two_stores};
use crate::support::s3::S3Server;
use crate::support::{Cluster, Database, newest_major, on_each_major};

#[tokio::test]
async fn each_packing_is_read_back_and_opens_with_each_key_and_with_the_standard_tools() {
    on_each_major(async |db| {
        fill(&db, 1_000).await;
        let (ours, safe) = (Pair::new(), Pair::new());
        for (format, compression, ends, tool) in [
            ("custom", "zstd:1", "app.dump.zst.age", "zstd"),
            ("custom", "gzip:6", "app.dump.gz.age", "gzip"),
            ("custom", "none", "app.dump.age", "cat"),
            ("plain", "zstd:3", "app.sql.zst.age", "zstd"),
            ("plain", "gzip:1", "app.sql.gz.age", "gzip"),
            ("plain", "none", "app.sql.age", "cat"),
        ] {
            let config = format!("format = \"{format}\"\ncompression = \"{compression}\"");
            let setting = readable(&db, &[&ours, &safe], &config);
            let id = back_up(&setting).await;
            cut_off(&setting, &db);
            let manifest = setting.manifest(&id);
            assert_eq!(manifest["encryption"], "age", "{manifest}");
            assert_eq!(manifest["recipients"], serde_json::json!([ours.public, safe.public]), "{manifest}");
            assert_eq!(manifest["objects"][0]["name"], ends, "{manifest}");
            let names: Vec<&str> =
                manifest["objects"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
            for name in &names {
                let stored = fs::read(setting.folder(&id).join(name)).unwrap();
                assert!(
                    name.rsplit('.').next() == Some("age") && stored.starts_with(b"age-encryption.org/v1\n"),
                    "{name}"
                );
                for word in [&b"filling"[..], b"PGDMP", b"CREATE ROLE"] {
                    assert!(!stored.windows(word.len()).any(|window| window == word), "{name} can be read");
                }
            }
            let found = verified(&setting, &id).unwrap();
            let how = found["how"].as_str().unwrap();
            assert!(found["good"] == true && how.contains("decryption") && how.contains("decompression"), "{found}");

            let safe_file = setting.program.file("from the safe", &safe.file()).display().to_string();
            let output = setting.program.run(["backup", "verify", "--identity", &safe_file]).await.exits(0);
            assert!(output.stdout.contains("good") && output.stdout.contains("decryption"), "{}", output.stdout);
            setting.program.run(["backup", "fetch", &id, "dump"]).await.exits(0);
            setting.program.run(["backup", "fetch", &id, "again", "--identity", &safe_file]).await.exits(0);
            let fetched = fs::read(setting.program.folder().join("dump")).unwrap();
            assert!(fetched == fs::read(setting.program.folder().join("again")).unwrap());
            // What the manual says to do by hand.
            let Ok(mut age) = Command::new("age")
                .args(["-d", "-i", &safe_file])
                .arg(dump_file(&setting, &id))
                .stdout(Stdio::piped())
                .spawn()
            else {
                eprintln!("there is no program age");
                continue;
            };
            let mut unpack = Command::new(tool);
            if tool != "cat" {
                unpack.arg("-dc");
            }
            let unpacked = unpack.stdin(age.stdout.take().unwrap()).output().unwrap().stdout;
            assert!(age.wait().unwrap().success() && unpacked == fetched, "{format} {compression}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_restore_brings_back_the_rows_and_the_roles() {
    on_each_major(async |db| {
        let major = db.cluster().major();
        let (from, cluster) = (Cluster::own(major), Cluster::own(major));
        for (format, compression) in [("custom", "zstd"), ("plain", "gzip"), ("custom", "none")] {
            let source = from.database().await;
            fill(&source, 3_000).await;
            let owner = format!("keeper_{format}_{compression}");
            source.execute(&format!("create role {owner}; alter table filling owner to {owner}")).await;
            let key = Pair::new();
            let config = format!("format = \"{format}\"\ncompression = \"{compression}\"");
            let setting = readable(&source, &[&key], &config);
            back_up(&setting).await;
            cut_off(&setting, &source);
            let globals = setting.program.run(["backup", "fetch", "latest", "-", "--globals"]).await.exits(0);
            assert!(globals.stdout.contains(&format!("CREATE ROLE {owner}")), "{}", globals.stdout);
            let name = format!("again_{format}_{compression}");
            let args = ["backup", "restore", "--roles", "--into", &into(&cluster, &name)];
            setting.program.run(args).await.exits(0);
            let again = Database::named(cluster.clone(), &name);
            let same = "select md5(string_agg(t::text, '' order by id)) || count(*) || (select relowner::regrole::text \
                        from pg_class where relname = 'filling') from filling t";
            assert_eq!(again.scalar::<String>(same).await, source.scalar::<String>(same).await);
            source.execute(&format!("drop table filling; drop role {owner}")).await;
        }
    })
    .await;
}

/// Larger than a part of a bucket, and than what is read at once.
#[tokio::test]
async fn a_bucket_has_what_the_directory_has() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 60_000).await;
    let server = S3Server::start();
    let key = Pair::new();
    let config = format!("encrypt_to = [{:?}]\nidentity_file = \"key\"\ncompression = \"none\"", key.public);
    let setting = two_stores(&db, &server, &config);
    setting.program.file("key", &key.file());
    let id = back_up(&setting).await;
    let stored = &server.objects()[&format!("pg/nightly/{id}/app.dump.age")].bytes;
    assert!(stored.len() > 9 << 20 && stored.as_ref() == fs::read(dump_file(&setting, &id)).unwrap());
    for store in ["local", "offsite"] {
        let output = setting.program.run(["backup", "verify", &id, "--store", store]).await.exits(0);
        assert!(output.stdout.contains("decryption"), "{}", output.stdout);
    }
}

/// A job that is encrypted from some day on has backups of both kinds, and no key stands in the way of the older ones.
#[tokio::test]
async fn what_was_not_encrypted_is_read_as_before() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 500).await;
    let plain = setting(&db, "");
    let id = back_up(&plain).await;
    assert!(plain.manifest(&id).get("encryption").is_none() && plain.manifest(&id).get("recipients").is_none());
    let key = Pair::new();
    let config = fs::read_to_string(plain.program.config()).unwrap();
    let line = format!("[jobs.nightly.backup]\nencrypt_to = [{:?}]\nidentity_file = \"nowhere\"", key.public);
    plain.program.configure(&config.replace("[jobs.nightly.backup]", &line));
    plain.program.run(["backup", "verify", &id]).await.exits(0);
    plain.program.run(["backup", "fetch", &id, "dump"]).await.exits(0);
    // Nobody can read the key now: the dump is made, and is not called verified.
    let run = plain.run(1).await;
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("could not be verified") && error.contains("nowhere"), "{error}");
    let newest = plain.backups().pop().unwrap();
    assert!(newest != id && verified(&plain, &newest).is_none(), "{:?}", files(&plain.store));
    plain.program.file("key", &key.file());
    let args = ["backup", "verify", &newest, "--identity", "key"];
    plain.program.run(args).await.exits(0);
    assert_eq!(verified(&plain, &newest).unwrap()["good"], true);
}
