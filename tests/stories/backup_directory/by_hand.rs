//! What the manual says to do without pgtend.

use super::{DIRECTORY, setting, spooled};
use crate::backup::restored::{fingerprint, odd_database};
use crate::backup::shell;
use crate::support::{Database, on_each_major, on_newest_or_all};

/// More large objects than go into one entry of the table of contents, since PostgreSQL 17.
async fn large_objects(db: &Database) {
    db.execute("select lo_from_bytea(0, convert_to(repeat(n::text, n), 'UTF8')) from generate_series(1, 1500) n").await;
}

#[tokio::test]
async fn a_tar_is_restored_with_the_standard_tools_alone_as_it_comes_or_by_several_workers() {
    on_newest_or_all(async |db| {
        odd_database(&db).await;
        large_objects(&db).await;
        let before = fingerprint(&db).await;
        for (config, unpack, object) in [
            ("", "zstd -dc", "app.dir.tar.zst"),
            ("compression = \"gzip:6\"\njobs = 1", "gzip -dc", "app.dir.tar.gz"),
            ("compression = \"none\"\njobs = 3", "cat", "app.dir.tar"),
        ] {
            let setting = setting(&db, config);
            let run = setting.run(0).await;
            assert_eq!(run["outcome"], "succeeded", "{run}");
            let id = run["details"]["backup"].as_str().expect("an id");
            assert_eq!(spooled(&setting), Vec::<String>::new());
            let manifest = setting.manifest(id);
            assert_eq!((&manifest["format"], &manifest["objects"][0]["name"]), (&"directory".into(), &object.into()));
            for line in [
                format!("{unpack} {object} | pg_restore --format=tar --exit-on-error --dbname \"$URL\""),
                format!(
                    "mkdir app.dir; {unpack} {object} | tar -xC app.dir; \
                     pg_restore --jobs=4 --exit-on-error --dbname \"$URL\" app.dir; rm -r app.dir"
                ),
            ] {
                let scratch = db.cluster().database().await;
                shell(&scratch, &line, &setting.folder(id));
                assert_eq!(fingerprint(&scratch).await, before, "{line}");
            }
            // The table of contents comes first, and nothing was packed twice.
            let listed = format!("test \"$({unpack} {object} | tar -t | head -1)\" = toc.dat");
            shell(&db, &listed.replace("| head -1", "| sed -n 1p"), &setting.folder(id));
            shell(&db, &format!("! {unpack} {object} | tar -t | grep -E '[.](gz|zst)$'"), &setting.folder(id));
        }
    })
    .await;
}

#[cfg(feature = "encrypt")]
#[tokio::test]
async fn an_encrypted_one_is_opened_first() {
    use crate::backup_encrypted::{Pair, readable, verified};
    on_each_major(async |db| {
        odd_database(&db).await;
        let before = fingerprint(&db).await;
        let key = Pair::new();
        let setting = readable(&db, &[&key], DIRECTORY);
        let id = setting.run(0).await["details"]["backup"].as_str().expect("an id").to_owned();
        assert_eq!(setting.manifest(&id)["objects"][0]["name"], "app.dir.tar.zst.age");
        assert!(verified(&setting, &id).unwrap()["how"].as_str().unwrap().contains("decryption"));
        let scratch = db.cluster().database().await;
        let key = setting.program.folder().join("key");
        let line = format!(
            "mkdir app.dir; age -d -i '{}' app.dir.tar.zst.age | zstd -dc | tar -xC app.dir; \
             pg_restore --jobs=4 --exit-on-error --dbname \"$URL\" app.dir",
            key.display()
        );
        shell(&scratch, &line, &setting.folder(&id));
        assert_eq!(fingerprint(&scratch).await, before);
        let scratch = db.cluster().database().await;
        setting.program.run(["backup", "restore", "--into", &scratch.url()]).await.exits(0);
        assert_eq!(fingerprint(&scratch).await, before);
    })
    .await;
}
