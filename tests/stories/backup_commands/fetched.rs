//! The dump in a file: all of it and right, or no file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{back_up, cut_off, dump_file, flip, two_stores};
use crate::backup::{files, fill, setting};
use crate::support::s3::S3Server;
use crate::support::{Cluster, newest_major, on_each_major};

#[tokio::test]
async fn a_fetched_dump_is_what_the_standard_tools_make_of_the_stored_one() {
    on_each_major(async |db| {
        fill(&db, 1_000).await;
        for (format, compression, tool) in [
            ("custom", "zstd:1", "zstd"),
            ("custom", "gzip:6", "gzip"),
            ("custom", "none", "cat"),
            ("plain", "zstd:3", "zstd"),
            ("plain", "gzip:1", "gzip"),
            ("plain", "none", "cat"),
        ] {
            let setting = setting(&db, &format!("format = \"{format}\"\ncompression = \"{compression}\""));
            let id = back_up(&setting).await;
            cut_off(&setting, &db);
            let file = setting.program.folder().join("the dump");
            let path = file.display().to_string();
            let output = setting.program.run(["backup", "fetch", &id, &path]).await.exits(0);
            assert!(output.stdout.contains(&path), "{}", output.stdout);
            let mut unpack = Command::new(tool);
            if tool != "cat" {
                unpack.arg("-dc");
            }
            let expect = unpack.arg(dump_file(&setting, &id)).output().unwrap().stdout;
            assert!(!expect.is_empty() && fs::read(&file).unwrap() == expect, "{format} {compression}");
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

            // What is there is not written over.
            fs::write(&file, "mine").unwrap();
            let output = setting.program.run(["backup", "fetch", &id, &path]).await.exits(2);
            assert!(output.stderr.contains("--force"), "{}", output.stderr);
            assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
            setting.program.run(["backup", "fetch", "latest", &path, "--force"]).await.exits(0);
            assert!(fs::read(&file).unwrap() == expect);
            fs::remove_file(&file).unwrap();

            // A wrong digest leaves no file, nor anything else, and what was there before stays.
            flip(&setting, &id);
            let around = files(setting.program.folder());
            let output = setting.program.run(["backup", "fetch", &id, &path]).await.exits(1);
            assert!(output.stderr.contains("SHA-256") && output.stderr.contains("app."), "{}", output.stderr);
            assert_eq!(files(setting.program.folder()), around);
            fs::write(&file, "mine").unwrap();
            setting.program.run(["backup", "fetch", &id, &path, "--force"]).await.exits(1);
            assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        }
    })
    .await;
}

#[tokio::test]
async fn a_dump_goes_to_a_program_and_a_wrong_one_is_told_at_its_end() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 1_000).await;
    let server = S3Server::start();
    let setting = two_stores(&db, &server, "format = \"plain\"");
    let id = back_up(&setting).await;
    let output = setting.program.run(["backup", "fetch", &id, "-", "--store", "offsite"]).await.exits(0);
    assert!(output.stdout.starts_with("--\n-- PostgreSQL database dump"), "{}", &output.stdout[..200]);
    assert!(output.stdout.contains("-- PostgreSQL database dump complete"));
    let roles = setting.program.run(["backup", "fetch", &id, "-", "--store", "offsite", "--globals"]).await.exits(0);
    assert!(roles.stdout.contains("CREATE ROLE postgres"), "{}", roles.stdout);
    server.tamper(&format!("pg/nightly/{id}/app.sql.zst"), |bytes| bytes.truncate(bytes.len() - 7));
    let output = setting.program.run(["backup", "fetch", &id, "-", "--store", "offsite"]).await.exits(1);
    assert!(output.stderr.contains("must not be used"), "{}", output.stderr);
    // A folder that is not there, a file that cannot be one.
    for (file, code) in [("/nowhere/at/all", 1), ("/dev/null", 2), ("/", 2)] {
        setting.program.run(["backup", "fetch", &id, file, "--store", "local", "--force"]).await.exits(code);
    }
}

#[tokio::test]
async fn a_fetch_that_is_ended_leaves_nothing() {
    let db = Cluster::shared(newest_major()).database().await;
    fill(&db, 4_000).await;
    let setting = setting(&db, "");
    let id = back_up(&setting).await;
    let (program, hold) = setting.program.holding("backup.reading");
    let process = program.start(["backup", "fetch", &id, "dump"]);
    hold.reached().await;
    assert!(
        files(program.folder()).iter().any(|file| file.starts_with(".dump.pgtend-")),
        "{:?}",
        files(program.folder())
    );
    process.signal(libc::SIGINT);
    let output = process.wait().await.exits(1);
    assert!(output.stderr.contains("SIGINT"), "{}", output.stderr);
    let left = files(program.folder());
    assert!(!left.iter().any(|file| file.contains("dump.pgtend") || file == "dump"), "{left:?}");
}
