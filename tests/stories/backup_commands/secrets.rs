//! The password of the target reaches the programs, and nobody else.

use std::collections::BTreeSet;
use std::fs;

use super::{back_up, cut_off};
use crate::backup::secrets::asking;
use crate::backup::{children, fill, setting};
use crate::support::{Cluster, newest_major, wait_until};

const PASSWORD: &str = "hunter2-restore";

#[tokio::test]
async fn the_password_of_the_target_is_on_no_command_line_and_in_no_word_of_ours() {
    let (cluster, db) = asking(PASSWORD).await;
    fill(&db, 2_000).await;
    let place = format!("127.0.0.1:{}", cluster.port());
    let (given, bare) = (format!("tender:{PASSWORD}@{place}"), format!("tender@{place}"));
    for (format, program_name) in [("custom", "pg_restore"), ("plain", "psql")] {
        let mut setting = setting(&db, &format!("format = \"{format}\""));
        back_up(&setting).await;
        cut_off(&setting, &db);
        setting.program.file("password", PASSWORD);
        setting.program.file("passfile", &format!("127.0.0.1:*:*:tender:{PASSWORD}\n"));
        let (program, hold) = setting.program.holding("backup.reading");
        setting.program = program;
        let ways: [(&str, &[&str]); 4] = [
            (&given, &[]),
            (&bare, &["--password-file", "password"]),
            (&bare, &["PGPASSFILE"]),
            (&bare, &["PGPASSWORD"]),
        ];
        for (n, (who, more)) in ways.into_iter().enumerate() {
            let folder = setting.program.folder().to_owned();
            for file in ["go-backup.reading", "go-backup.reading.reached"] {
                let _ = fs::remove_file(folder.join(file));
            }
            let url = format!("postgresql://{who}/{format}_{n}");
            let passfile = folder.join("passfile").display().to_string();
            let (more, variable) = match more {
                ["PGPASSFILE"] => (&[][..], Some(("PGPASSFILE", passfile.as_str()))),
                ["PGPASSWORD"] => (&[][..], Some(("PGPASSWORD", PASSWORD))),
                more => (more, None),
            };
            if let Some((name, value)) = variable {
                setting.program = setting.program.env(name, value);
            }
            let args = ["backup", "restore", "--json", "--log-level", "trace", "--into", &url];
            let process = setting.program.start(args.iter().chain(more));
            hold.reached().await;
            let pid = process.pid();
            wait_until("the program to be there", async || !children(pid, program_name).is_empty()).await;
            let mut seen = BTreeSet::new();
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                // What somebody writes on our own command line is theirs to answer for.
                if entry.file_name().to_str() == Some(&pid.to_string()) {
                    continue;
                }
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                assert!(!line.contains(PASSWORD), "{line}");
                seen.insert(
                    line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned(),
                );
            }
            assert!(seen.contains(program_name), "{seen:?}");
            hold.go_on();
            let output = process.wait().await.exits(0);
            for text in [&output.stdout, &output.stderr, &cluster.log()] {
                assert!(!text.contains(PASSWORD), "{text}");
            }
            if variable.is_some() {
                setting.program = setting.program.env("PGPASSWORD", "").env("PGPASSFILE", "");
            }
        }
        let wrong = format!("postgresql://tender:hunter2-wrong@{place}/x");
        let output =
            setting.program.run(["backup", "restore", "--log-level", "trace", "--into", &wrong]).await.exits(1);
        assert!(output.stderr.contains("28P01") && !output.stderr.contains("hunter2"), "{}", output.stderr);
    }
}

/// A statement that fails may hold a password of the application's.
#[tokio::test]
async fn a_statement_that_fails_is_told_without_the_password_in_it() {
    let db = Cluster::shared(newest_major()).database().await;
    let cluster = Cluster::own(newest_major());
    let source = cluster.database().await;
    source
        .execute(
            "create role lost; create foreign data wrapper fdw; create server far foreign data wrapper fdw;
             create user mapping for lost server far options (password 'hunter2-mapped')",
        )
        .await;
    for format in ["custom", "plain"] {
        let setting = setting(&source, &format!("format = \"{format}\""));
        back_up(&setting).await;
        let target = db.cluster().database().await;
        let args = ["backup", "restore", "--log-level", "trace", "--into", &target.url()];
        let output = setting.program.run(args).await.exits(1);
        assert!(output.stderr.contains("\"lost\" does not exist"), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }
}
