//! Backups in a bucket: what is left there when something goes wrong, and how much memory it takes.

use std::fs;

use super::{Setting, bin};
use crate::support::s3::{Fault, Harm, Op, S3Server};
use crate::support::{Cluster, Database, Pgtend, newest_major, on_each_major};

/// The job `nightly`, to a directory and a bucket.
pub fn both(db: &Database, server: &S3Server, to: &str, bucket: &str) -> Setting {
    let config = format!(
        "[databases.main]\nurl = \"{}\"\n[http]\nlisten = \"{{listen}}\"\n[stores.local.directory]\npath = \"store\"\n{}{bucket}\n\
         [jobs.nightly.backup]\nto = {to}\ncompression = \"none\"\npg_bin = \"{}\"\n",
        db.url(),
        server.config("offsite"),
        bin(db).display()
    );
    let mut program = Pgtend::new(&config);
    for (name, value) in server.env() {
        program = program.env(name, value);
    }
    let store = program.folder().join("store");
    Setting { program, store }
}

const BOTH: &str = "[{ store = \"local\" }, { store = \"offsite\" }]";
pub const OFFSITE: &str = "[{ store = \"offsite\" }]";

/// So many mebibytes that no packing makes smaller.
pub async fn bulk(db: &Database, mebibytes: u32) {
    db.execute(&format!(
        "create table bulk (piece text);
         alter table bulk alter piece set storage external;
         insert into bulk select p from (select string_agg(md5(random()::text || k), '') as p from generate_series(1, 32768) k) one,
                                        generate_series(1, {mebibytes})"
    ))
    .await;
}

#[tokio::test]
async fn a_bucket_and_a_directory_get_the_same_bytes() {
    on_each_major(async |db| {
        bulk(&db, 20).await;
        let server = S3Server::start();
        let setting = both(&db, &server, BOTH, "");
        let run = setting.run(0).await;
        assert_eq!(run["outcome"], "succeeded", "{run}");
        let objects = server.objects();
        let keys: Vec<String> =
            objects.keys().map(|key| key.strip_prefix("pg/").expect("the prefix").to_owned()).collect();
        assert_eq!(keys, setting.files());
        for file in keys.iter().filter(|file| !file.ends_with("verified.json")) {
            let here = fs::read(setting.store.join(file)).unwrap();
            assert!(objects[&format!("pg/{file}")].bytes == here, "{file}");
        }
        assert!(server.asked(Op::Part) >= 3, "several parts");
        assert!(server.uploads().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_fails_anywhere_leaves_nothing_and_the_directory_has_its_backup() {
    let db = Cluster::shared(newest_major()).database().await;
    bulk(&db, 20).await;
    for (op, harm) in [
        (Op::Create, Harm::Refuse(403, "AccessDenied")),
        (Op::Part, Harm::Refuse(403, "AccessDenied")),
        (Op::Complete, Harm::Refuse(403, "AccessDenied")),
        (Op::Complete, Harm::OkWithError("InternalError")),
    ] {
        let words = format!("{op:?} {harm:?}");
        let server = S3Server::start();
        server.fail(Fault::new(op, harm).always());
        let setting = both(&db, &server, BOTH, "attempts = 2");
        let run = setting.run(1).await;
        assert_eq!(run["outcome"], "partial", "{words}: {run}");
        assert!(run["error"].as_str().unwrap().contains("s3://backups/pg"), "{words}: {run}");
        assert_eq!(setting.backups().len(), 1, "{words}");
        assert!(server.objects().is_empty() && server.uploads().is_empty(), "{words}: {:?}", server.uploads());
        // And it is the bucket alone that is behind.
        server.heal();
        setting.run(0).await;
        assert_eq!(server.objects().keys().filter(|key| key.ends_with("manifest.json")).count(), 1);
    }
}

#[tokio::test]
async fn a_store_that_lets_nothing_go_keeps_no_other_from_it() {
    let db = Cluster::shared(newest_major()).database().await;
    let server = S3Server::start();
    let setting = both(&db, &server, BOTH, "attempts = 2");
    for _ in 0..4 {
        setting.run(0).await;
    }
    let config = fs::read_to_string(setting.program.config()).unwrap();
    let keep = "[{ store = \"offsite\", keep = { last = 1 } }, { store = \"local\", keep = { last = 1 } }]";
    setting.program.configure(&config.replace(BOTH, keep));
    server.fail(Fault::new(Op::Delete, Harm::Refuse(503, "SlowDown")).always());
    let run = setting.run(1).await;
    assert_eq!(run["outcome"], "partial", "{run}");
    let manifests = || server.objects().keys().filter(|key| key.ends_with("manifest.json")).count();
    assert_eq!((manifests(), setting.backups().len()), (5, 2), "{run}");
    assert_eq!(run["details"]["backups_deleted"], 3, "{run}");
    // It is asked for the first of them, and not for each as often as it is patient.
    assert_eq!((server.asked(Op::Delete), run["details"]["failures"].as_array().unwrap().len()), (2, 1), "{run}");
    server.heal();
    setting.run(0).await;
    assert_eq!(manifests(), 2);
}

#[tokio::test]
async fn a_dump_that_outgrows_the_parts_says_which_setting_to_change() {
    let db = Cluster::shared(newest_major()).database().await;
    let server = S3Server::start();
    server.limit_parts(2);
    let setting = both(&db, &server, OFFSITE, "max_parts = 2\npart_size = \"5 MiB\"");
    setting.run(0).await;
    bulk(&db, 20).await;
    let run = setting.run(1).await;
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("part_size") && error.contains("offsite"), "{error}");
    assert_eq!(server.objects().keys().filter(|key| key.ends_with("manifest.json")).count(), 1);
    assert!(server.uploads().is_empty());
}

#[tokio::test]
async fn a_stop_aborts_the_upload_and_a_kill_leaves_it_to_the_next_run() {
    on_each_major(async |db| {
        bulk(&db, 20).await;
        let server = S3Server::start();
        let setting = both(&db, &server, OFFSITE, "");
        let (program, hold) = setting.program.holding("backup.dumped");
        let setting = Setting { program, ..setting };
        let process = setting.program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        assert_eq!(server.uploads().len(), 1);
        process.signal(libc::SIGTERM);
        let output = process.wait().await.exits(1);
        assert_eq!(output.json()[0]["outcome"], "cancelled");
        assert!(server.uploads().is_empty() && server.objects().is_empty());

        fs::remove_file(setting.program.folder().join("go-backup.dumped.reached")).unwrap();
        let process = setting.program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        process.signal(libc::SIGKILL);
        drop(process);
        db.wait_until_unlocked().await;
        assert_eq!(server.uploads().len(), 1);
        hold.go_on();
        // Of the second in which a run begins an upload may be its own.
        server.age_uploads(std::time::Duration::from_secs(2));
        setting.run(0).await;
        assert!(server.uploads().is_empty(), "{:?}", server.uploads());
        assert_eq!(server.objects().keys().filter(|key| key.ends_with("manifest.json")).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_a_bucket_has_changed_is_seen() {
    let db = Cluster::shared(newest_major()).database().await;
    bulk(&db, 6).await;
    let server = S3Server::start();
    let setting = both(&db, &server, OFFSITE, "");
    server.fail(Fault::new(Op::Get, Harm::FlipByte(3_000_000)).always());
    let run = setting.run(1).await;
    assert!(run["error"].as_str().unwrap().contains("SHA-256"), "{run}");
}

#[tokio::test]
async fn the_memory_it_takes_is_what_the_plan_says() {
    let db = Cluster::shared(newest_major()).database().await;
    // More than the limit, or it would be kept by a dump that is all in memory too.
    bulk(&db, 120).await;
    let server = S3Server::start();
    let Setting { mut program, .. } = both(&db, &server, BOTH, "");
    let plan = program.run(["plan", "--json"]).await.exits(0).json().remove(0);
    let said = plan["detail"]["memory_bytes"].as_u64().expect("a number");
    let mut high_water = Vec::new();
    for point in ["backup.begun", "backup.dumped"] {
        let (held, hold) = program.holding(point);
        program = held;
        let process = program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark");
        high_water.push(line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024);
        drop(process);
        db.wait_until_unlocked().await;
    }
    let (before, after) = (high_water[0], high_water[1]);
    eprintln!("{} MiB before, {} MiB after, {} MiB said", before >> 20, after >> 20, said >> 20);
    assert!(after - before <= said, "{before} before the dump, {after} after it, and {said} were said");
    // Parts are really on their way at once, or this would be a test of nothing.
    assert!(after - before > 2 * (8 << 20), "{before} before the dump, {after} after it");
}

/// Many stores refuse what the AWS SDK sends by default.
#[tokio::test]
async fn a_bucket_that_takes_no_checksums_gets_its_backups_all_the_same() {
    let db = Cluster::shared(newest_major()).database().await;
    bulk(&db, 20).await;
    let server = S3Server::start();
    server.refuse_checksums();
    let setting = both(&db, &server, "[{ store = \"offsite\", keep = { last = 1 } }]", "");
    for _ in 0..3 {
        setting.run(0).await;
    }
    assert!(server.asked(Op::Part) >= 6 && server.asked(Op::Delete) >= 3);
    assert_eq!(setting.program.run(["backup", "list", "--json"]).await.exits(0).json().len(), 2);
    setting.program.run(["backup", "verify"]).await.exits(0);
    setting.program.run(["check"]).await.exits(0);
}

#[tokio::test]
async fn keys_that_are_exchanged_while_a_daemon_runs_are_read_again() {
    let db = Cluster::shared(newest_major()).database().await;
    let server = S3Server::start();
    let setting = both(&db, &server, OFFSITE, "credentials_file = \"keys\"");
    let keys = |access: &str, secret: &str| {
        let text = format!("[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n");
        setting.program.file("keys", &text);
    };
    let [(_, access), (_, secret)] = server.env();
    keys(access, secret);
    let _daemon = setting.program.daemon().ready().await;
    let again = async |code: i32| setting.program.run(["trigger", "nightly", "--wait"]).await.exits(code);
    again(0).await;
    server.change_keys("AKIAOTHER", "another/secret");
    again(1).await;
    let error = db.runs("nightly").await.pop().unwrap().error;
    assert!(error.contains("HTTP 403"), "the old ones are good no more: {error}");
    keys("AKIAOTHER", "another/secret");
    again(0).await;
}
