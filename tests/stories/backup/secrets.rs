//! The password of the connection reaches `pg_dump`, and nobody else.

use std::collections::BTreeSet;
use std::fs;

use super::{bin, children};
use crate::support::{Cluster, Database, Pgtend, newest_major, wait_until};

const PASSWORD: &str = "hunter2-backup";

/// A server that asks for passwords over TCP, and its role `tender` with this one.
pub async fn asking(password: &str) -> (Cluster, Database) {
    let cluster = Cluster::with_tcp(newest_major(), &[]);
    let db = cluster.database().await;
    db.execute(&format!("create role tender superuser login password '{password}'")).await;
    fs::write(
        cluster.data().join("pg_hba.conf"),
        "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    cluster.reload();
    wait_until("the server to ask for passwords", async || {
        let url = db.tcp_url().replace("postgres@", "tender@");
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err_and(|error| error.code().is_none())
    })
    .await;
    (cluster, db)
}

fn program(db: &Database, databases: &str) -> Pgtend {
    let jobs = format!(
        "[stores.local.directory]\npath = \"store\"\n[jobs.nightly.backup]\nto = [{{ store = \"local\" }}]\npg_bin = \"{}\"\n",
        bin(db).display()
    );
    Pgtend::new(&format!("{databases}\n[http]\nlisten = \"{{listen}}\"\n{jobs}"))
}

#[tokio::test]
async fn the_password_is_on_no_command_line_and_in_no_word_of_ours() {
    let (cluster, db) = asking(PASSWORD).await;
    super::fill(&db, 24_000).await;
    let place = format!("127.0.0.1:{}/{}", cluster.port(), db.name());
    let given = format!("[databases.main]\nurl = \"postgresql://tender:{PASSWORD}@{place}\"");
    let by_file = format!("[databases.main]\nurl = \"postgresql://tender@{place}\"\npassword_file = \"password\"");
    let by_passfile = format!("[databases.main]\nurl = \"postgresql://tender@{place}\"");
    for databases in [given, by_file, by_passfile] {
        let program = program(&db, &databases);
        program.file("password", PASSWORD);
        program.file(".pgpass", &format!("127.0.0.1:*:*:tender:{PASSWORD}\n"));
        let (program, hold) = program.holding("backup.middle");
        let process = program.start(["run", "nightly", "--json", "--log-level", "trace"]);
        hold.reached().await;
        assert_eq!(children(process.pid(), "pg_dump").len(), 1);
        let mut seen = BTreeSet::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            assert!(!line.contains(PASSWORD), "{line}");
            seen.insert(line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned());
        }
        assert!(seen.contains("pg_dump"), "{seen:?}");
        hold.go_on();
        let output = process.wait().await.exits(0);
        for text in [&output.stdout, &output.stderr] {
            assert!(!text.contains(PASSWORD), "{text}");
        }
        let history: String = db.scalar("select coalesce(string_agg(run::text, e'\\n'), '') from pgtend.run").await;
        assert!(!history.contains(PASSWORD), "{history}");
        let id = output.json()[0]["details"]["backup"].as_str().unwrap().to_owned();
        let manifest =
            fs::read_to_string(program.folder().join("store/nightly").join(id).join("manifest.json")).unwrap();
        assert!(!manifest.contains(PASSWORD), "{manifest}");
    }
}

#[tokio::test]
async fn a_password_that_is_wrong_for_the_dump_alone_is_told_in_the_servers_words() {
    let (cluster, db) = asking(PASSWORD).await;
    let url = format!("postgresql://tender@127.0.0.1:{}/{}", cluster.port(), db.name());
    let program = program(&db, &format!("[databases.main]\nurl = \"{url}\"\npassword_file = \"password\""));
    program.file("password", PASSWORD);
    let (program, hold) = program.holding("runner.apply");
    let process = program.start(["run", "nightly", "--json"]);
    hold.reached().await;
    hold.go_on();
    process.wait().await.exits(0);
    // Between the lock and the dump somebody changed it: the run has its sessions, pg_dump has none.
    let (program, hold) = program.holding("runner.apply");
    std::fs::remove_file(program.folder().join("go-runner.apply")).unwrap();
    std::fs::remove_file(program.folder().join("go-runner.apply.reached")).unwrap();
    let process = program.start(["run", "nightly", "--json"]);
    hold.reached().await;
    program.file("password", "hunter2-wrong");
    hold.go_on();
    let output = process.wait().await.exits(1);
    let error = output.json()[0]["error"].to_string();
    assert!(error.contains("password authentication failed"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
