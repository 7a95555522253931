//! A primary and its standby, each of which may be dumped.

use std::fs;

use super::buckets::{OFFSITE, both, bulk};
use super::{Setting, replace_programs, setting};
use crate::support::s3::S3Server;
use crate::support::{Cluster, Database, majors, wait_until};

#[tokio::test]
async fn runs_on_a_primary_and_its_standby_spoil_nothing_of_each_other() {
    for major in majors() {
        let primary = Cluster::own(major);
        let db = primary.database().await;
        bulk(&db, 20).await;
        let copy = Database::named(primary.standby(), db.name());
        let server = S3Server::start();
        let on_primary = both(&db, &server, OFFSITE, "");
        for point in ["backup.dumped", "backup.completed"] {
            let held = both(&copy, &server, OFFSITE, "");
            let (program, hold) = held.program.holding(point);
            let process = program.start(["run", "nightly", "--json"]);
            hold.reached().await;
            // Of the second in which a run begins an upload may be its own.
            server.age_uploads(std::time::Duration::from_secs(2));
            on_primary.run(0).await;
            hold.go_on();
            let run = process.wait().await.exits(0).json().remove(0);
            let id = run["details"]["backup"].as_str().expect("an id");
            let (_, sign) = id.split_once("Z-s").expect("the sign of a standby");
            assert_eq!(sign.len(), 6, "{id}");
            let program = on_primary.program.run(["backup", "verify", id]).await.exits(0);
            assert!(program.stdout.contains("is good"), "{}", program.stdout);
        }
        let listed = on_primary.program.run(["backup", "list", "--json"]).await.exits(0).json();
        let standby = listed.iter().filter(|backup| backup["standby"] == true).count();
        assert_eq!((listed.len(), standby), (4, 2), "{listed:?}");
        assert!(server.uploads().is_empty());
        // What the standby's own run has left is its next one's to clear away, and not the primary's, for a day.
        let left = both(&copy, &server, OFFSITE, "");
        let (program, hold) = left.program.holding("backup.dumped");
        let process = program.start(["run", "nightly"]);
        hold.reached().await;
        process.signal(libc::SIGKILL);
        drop(process);
        assert_eq!(server.uploads().len(), 1);
        server.age_uploads(std::time::Duration::from_secs(2));
        let run = on_primary.run(0).await;
        assert_eq!(server.uploads().len(), 1, "{run}");
        both(&copy, &server, OFFSITE, "").run(0).await;
        assert!(server.uploads().is_empty(), "{:?}", server.uploads());
    }
}

#[tokio::test]
async fn a_dump_that_replay_cancels_is_no_backup_and_says_what_helps() {
    for major in majors() {
        let settings = [("max_standby_streaming_delay", "0"), ("hot_standby_feedback", "off")];
        let primary = Cluster::with(major, &settings);
        let db = primary.database().await;
        bulk(&db, 20).await;
        let copy = Database::named(primary.standby(), db.name());
        let setting: Setting = setting(&copy, "");
        // It stands still when the table is on its way: the server has more to say than fits between them.
        let script = "folder=$(dirname \"$0\")\n\
                      case \"$*\" in *--version*) real \"$@\";; esac\n\
                      mkfifo \"$folder/pipe\"\n\
                      (head -c 1000000; touch \"$folder/reached\"; while ! [ -e \"$folder/go\" ]; do sleep 0.05; done; cat) \
                      < \"$folder/pipe\" &\n\
                      (real \"$@\") > \"$folder/pipe\"; code=$?\n\
                      wait\nexit $code";
        replace_programs(&setting, &copy, &[("pg_dump", script)]);
        let folder = setting.program.folder().join("programs");
        let process = setting.program.start(["run", "nightly", "--json"]);
        wait_until("the dump to stand still", async || folder.join("reached").exists()).await;
        db.execute("drop table bulk").await;
        wait_until("the replay to wait for the dump", async || {
            copy.scalar("select exists (select from pg_locks where not granted and mode = 'AccessExclusiveLock')").await
        })
        .await;
        fs::write(folder.join("go"), "").expect("let it go on");
        let run = process.wait().await.exits(1).json().remove(0);
        let error = run["error"].as_str().expect("an error");
        for words in ["hot_standby_feedback", "max_standby_streaming_delay", "conflict with recovery"] {
            assert!(error.contains(words), "{words}: {error}");
        }
        assert_eq!(run["outcome"], "failed", "{run}");
        assert_eq!(setting.files(), Vec::<String>::new());
    }
}
