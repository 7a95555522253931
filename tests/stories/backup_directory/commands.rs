//! `pgtend backup`, of dumps of the directory format.

use std::fs;

use super::{DIRECTORY, setting, spool, spooled};
use crate::backup::restored::{fingerprint, odd_database};
use crate::backup::{fill, jobs, shell};
use crate::backup_commands::{back_up, change_manifest, cut_off, dump_file, exists, flip, into, two_stores};
use crate::support::s3::S3Server;
use crate::support::{Cluster, Pgtend, majors, newest_major, on_newest_or_all};

#[tokio::test]
async fn it_is_restored_from_each_store_by_one_worker_or_several() {
    on_newest_or_all(async |db| {
        odd_database(&db).await;
        let before = fingerprint(&db).await;
        let server = S3Server::start();
        for compression in ["zstd:1", "gzip:1", "none"] {
            let setting = two_stores(&db, &server, &format!("{DIRECTORY}compression = \"{compression}\""));
            let id = back_up(&setting).await;
            cut_off(&setting, &db);
            for (store, jobs) in [("local", &[][..]), ("offsite", &["--jobs", "1"]), ("offsite", &["--jobs", "3"])] {
                let said = setting.program.run(["backup", "verify", &id, "--store", store]).await.exits(0).stdout;
                assert!(said.contains("good") && said.contains("pg_restore"), "{said}");
                let empty = db.cluster().database().await;
                let url = empty.url();
                let args = [&["backup", "restore", &id, "--store", store, "--into", &url], jobs].concat();
                setting.program.run(args).await.exits(0);
                assert_eq!(fingerprint(&empty).await, before, "{compression} {store} {jobs:?}");
                assert_eq!(spooled(&setting), Vec::<String>::new());
            }
            // What is fetched is the tar, for `pg_restore` as it is.
            let file = setting.program.folder().join("app.dir.tar");
            setting.program.run(["backup", "fetch", &id, "app.dir.tar", "--store", "local"]).await.exits(0);
            assert_eq!(
                fs::metadata(&file).unwrap().len(),
                setting.manifest(&id)["objects"][0]["raw_size"].as_u64().unwrap()
            );
            let scratch = db.cluster().database().await;
            shell(&scratch, "pg_restore --exit-on-error --dbname \"$URL\" app.dir.tar", setting.program.folder());
            assert_eq!(fingerprint(&scratch).await, before, "{compression}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_damaged_one_is_known_before_several_workers_touch_a_database() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 2_000).await;
    let setting = setting(&db, "compression = \"none\"");
    let id = back_up(&setting).await;
    let whole = flip(&setting, &id);
    let output = setting.program.run(["backup", "verify", &id]).await.exits(1);
    assert!(output.stderr.contains("DAMAGED") && output.stderr.contains("SHA-256"), "{}", output.stderr);
    let name = format!("never {}", db.name());
    let args = ["backup", "restore", &id, "--into", &into(db.cluster(), &name)];
    let output = setting.program.run(args).await.exits(1);
    assert!(output.stderr.contains("SHA-256") && !output.stderr.contains("DROP DATABASE"), "{}", output.stderr);
    assert!(!exists(db.cluster(), &name).await && spooled(&setting).is_empty());
    // Cut off behind its table of contents, with the digest of that: it is no whole dump all the same.
    for cut in [whole.len() / 2, whole.len() - 9_000] {
        plant(&setting, &id, &whole[..cut]);
        let output = setting.program.run(["backup", "verify", &id]).await.exits(1);
        assert!(output.stderr.contains("DAMAGED"), "{}", output.stderr);
        setting.program.run(args).await.exits(1);
        assert!(!exists(db.cluster(), &name).await && spooled(&setting).is_empty());
    }
}

/// Puts something else in the place of the dump, with its right size and digest.
fn plant(setting: &crate::backup::Setting, id: &str, bytes: &[u8]) {
    let file = dump_file(setting, id);
    fs::write(&file, bytes).unwrap();
    let digest = std::process::Command::new("sha256sum").arg(&file).output().unwrap().stdout;
    let digest = String::from_utf8(digest).unwrap()[..64].to_owned();
    change_manifest(setting, id, |manifest| {
        manifest["objects"][0]["sha256"] = digest.into();
        manifest["objects"][0]["size"] = bytes.len().into();
        manifest["objects"][0]["raw_size"] = bytes.len().into();
    });
}

#[tokio::test]
async fn a_tar_that_leads_elsewhere_is_refused() {
    let db = Cluster::shared(newest_major()).database().await;
    let setting = setting(&db, "compression = \"none\"");
    let id = back_up(&setting).await;
    let aside = setting.program.folder().join("aside");
    for (args, name) in
        [("-P --transform=s,x,../../aside,", "../../aside"), ("-P --transform=s,x,/tmp/pgtend-aside,", "/tmp/pgtend")]
    {
        shell(&db, &format!("echo harm >x; tar -cf harm.tar {args} x; rm x"), setting.program.folder());
        plant(&setting, &id, &fs::read(setting.program.folder().join("harm.tar")).unwrap());
        let name_of_db = format!("never {}", db.name());
        let args = ["backup", "restore", &id, "--into", &into(db.cluster(), &name_of_db)];
        let output = setting.program.run(args).await.exits(1);
        assert!(output.stderr.contains(name) && output.stderr.contains("no file of a dump"), "{}", output.stderr);
        assert!(!aside.exists() && !std::path::Path::new("/tmp/pgtend-aside").exists());
        assert!(!exists(db.cluster(), &name_of_db).await && spooled(&setting).is_empty());
    }
}

#[tokio::test]
async fn several_workers_need_a_spool_with_room_and_one_does_not() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 4_000).await;
    let tight = setting(&db, "");
    let id = back_up(&tight).await;
    let config = fs::read_to_string(tight.program.config()).unwrap();
    tight.program.configure(&config.replace("spool_max = \"1 GB\"", "spool_max = \"1 MB\""));
    let empty = db.cluster().database().await;
    let output = tight.program.run(["backup", "restore", &id, "--into", &empty.url()]).await.exits(1);
    for words in ["spool_max", "1.0 MB", "--jobs 1"] {
        assert!(output.stderr.contains(words), "{words} in {}", output.stderr);
    }
    tight.program.run(["backup", "restore", &id, "--jobs", "1", "--into", &empty.url()]).await.exits(0);
    assert_eq!(empty.count("filling").await, 4_000);
    assert!(spooled(&tight).is_empty());
    // A job that has become another one still has its older backups.
    tight.program.configure(&config.replace(DIRECTORY, ""));
    let empty = db.cluster().database().await;
    let output = tight.program.run(["backup", "restore", &id, "--jobs", "2", "--into", &empty.url()]).await.exits(2);
    assert!(output.stderr.contains("no `spool`"), "{}", output.stderr);
    tight.program.run(["backup", "restore", &id, "--into", &empty.url()]).await.exits(0);
    assert_eq!(empty.count("filling").await, 4_000);
    let custom = back_up(&tight).await;
    let output =
        tight.program.run(["backup", "restore", &custom, "--jobs", "2", "--into", &empty.url()]).await.exits(2);
    assert!(output.stderr.contains("format \"custom\""), "{}", output.stderr);
}

#[tokio::test]
async fn a_dump_by_newer_programs_goes_back_into_the_older_server() {
    let (oldest, newest) = (majors::majors()[0], newest_major());
    let (old, new) = (Cluster::shared(oldest).database().await, Cluster::shared(newest).database().await);
    odd_database(&old).await;
    let before = fingerprint(&old).await;
    let program =
        Pgtend::tending(&old, &jobs(&new, &format!("to = [{{ store = \"local\" }}]\n{DIRECTORY}row_counts = true")));
    program.run(["run", "nightly"]).await.exits(0);
    for target in [old.cluster().database().await, new.cluster().database().await] {
        program.run(["backup", "restore", "--into", &target.url()]).await.exits(0);
        assert_eq!(fingerprint(&target).await, before);
    }
}

#[tokio::test]
async fn a_restore_that_is_ended_leaves_nothing_in_the_spool() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 4_000).await;
    let mut setting = setting(&db, "");
    let id = back_up(&setting).await;
    let (program, hold) = setting.program.holding("backup.reading");
    setting.program = program;
    let name = format!("never {}", db.name());
    let process = setting.program.start(["backup", "restore", &id, "--into", &into(db.cluster(), &name)]);
    hold.reached().await;
    assert_eq!(spooled(&setting).len(), 1, "{}", spool(&setting).display());
    process.signal(libc::SIGTERM);
    process.wait().await.exits(1);
    assert!(spooled(&setting).is_empty() && !exists(db.cluster(), &name).await);
}
