//! SIGKILL on the way: of pg_dump, of the server's part in the dump, of the daemon; early, half-way, and shortly before
//! the end.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;

use super::buckets::{OFFSITE, both, bulk};
use super::{Setting, children, signal};
use crate::support::s3::S3Server;
use crate::support::{Cluster, Database, majors_for_long, wait_until};

#[derive(Debug, Clone, Copy)]
enum Victim {
    PgDump,
    /// The server ends all its sessions then, and recovers.
    Backend,
    Daemon,
}

fn stored(server: &S3Server) -> BTreeMap<String, Bytes> {
    server.objects().into_iter().map(|(key, object)| (key, object.bytes)).collect()
}

/// Runs the job in a daemon, up to this chunk of the stream, and kills.
async fn kill(setting: Setting, server: &S3Server, db: &Database, victim: Victim, chunk: u32) -> Setting {
    let point = format!("backup.chunk-{chunk}");
    let (program, hold) = setting.program.holding(&point);
    for file in [format!("go-{point}"), format!("go-{point}.reached")] {
        let _ = fs::remove_file(program.folder().join(file));
    }
    let daemon = program.daemon().ready().await;
    program.run(["trigger", "nightly"]).await.exits(0);
    hold.reached().await;
    if chunk > 20 {
        wait_until("a part to be in the bucket", async || {
            server.uploads().iter().any(|upload| !upload.parts.is_empty())
        })
        .await;
    }
    let dumps = children(daemon.pid(), "pg_dump");
    assert_eq!(dumps.len(), 1, "pg_dump is at work");
    match victim {
        Victim::PgDump => signal(dumps[0], libc::SIGKILL),
        Victim::Backend => {
            let backends = db.backends("pgtend/nightly (dump)").await;
            assert_eq!(backends.len(), 1, "it is at work on the server");
            signal(u32::try_from(backends[0]).unwrap(), libc::SIGKILL);
            wait_until("the server to have recovered", async || {
                let Ok(client) = db.try_client_as("postgres").await else { return false };
                let sql = "select count(*) from pg_stat_activity where application_name = 'pgtend/nightly (dump)'";
                client.query_one(sql, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 0)
            })
            .await;
        }
        Victim::Daemon => daemon.signal(libc::SIGKILL),
    }
    if matches!(victim, Victim::Daemon) {
        drop(daemon);
        db.wait_until_unlocked().await;
        wait_until("the dump's session to end", async || db.backends("pgtend/nightly (dump)").await.is_empty()).await;
    } else {
        hold.go_on();
        // Its run comes to its end first.
        daemon.stop().await.exits(0);
    }
    Setting { program: program.env("PGTEND_TESTPOINTS", ""), ..setting }
}

#[tokio::test]
async fn whoever_is_killed_and_whenever_it_is_no_backup_and_nothing_of_it_stays() {
    for major in majors_for_long() {
        let db = Cluster::own(major).database().await;
        // 48 chunks, and a little more.
        bulk(&db, 12).await;
        let server = S3Server::start();
        let mut setting = both(&db, &server, OFFSITE, "part_size = \"5 MiB\"");
        setting.run(0).await;
        let mut before = stored(&server);
        for (percent, chunk) in [(10, 5), (50, 24), (98, 47)] {
            for victim in [Victim::PgDump, Victim::Backend, Victim::Daemon] {
                eprintln!("{victim:?} at {percent} %");
                setting = kill(setting, &server, &db, victim, chunk).await;
                let complete = |stored: &BTreeMap<String, Bytes>| {
                    stored.keys().filter(|key| key.ends_with("manifest.json")).count()
                };
                let now = stored(&server);
                assert_eq!(complete(&now), complete(&before), "{victim:?} at {percent} %");
                // Of the second in which a run begins an upload may be its own.
                server.age_uploads(std::time::Duration::from_secs(2));
                let run = setting.run(0).await;
                let id = run["details"]["backup"].as_str().expect("an id");
                let after = stored(&server);
                assert_eq!(complete(&after), complete(&before) + 1);
                assert!(
                    before.iter().all(|(key, bytes)| after.get(key) == Some(bytes)),
                    "the older ones are as they were"
                );
                let strange: Vec<_> = after
                    .keys()
                    .filter(|key| !before.contains_key(*key) && !key.contains(&format!("/{id}/")))
                    .collect();
                assert!(strange.is_empty() && server.uploads().is_empty(), "{strange:?} {:?}", server.uploads());
                before = after;
            }
        }
    }
}
