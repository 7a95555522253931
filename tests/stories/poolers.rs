//! PgBouncer between pgtend and its database.

use crate::support::{Cluster, Database, PgBouncer, Pgtend, newest_major, runs};

const JOBS: &str =
    "[jobs.chore]\nschedule = '* * * * * *'\n[jobs.chore.sql]\nstatements = ['INSERT INTO done DEFAULT VALUES']\n";
const WHY: &str = "pooler in transaction (or statement) mode";

async fn database() -> Database {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table done (at timestamptz default now())").await;
    db
}

fn behind(pooler: &PgBouncer) -> Pgtend {
    Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n[http]\nlisten = \"{{listen}}\"\n{JOBS}", pooler.url()))
}

/// One server connection for all; as many as there are clients; two that are taken in turns; and one for each statement.
/// Each shows in another way.
const POOLS: [(&str, &[(&str, &str)]); 4] = [
    ("transaction", &[("default_pool_size", "1")]),
    ("transaction", &[]),
    ("transaction", &[("min_pool_size", "2"), ("default_pool_size", "2"), ("server_round_robin", "1")]),
    ("statement", &[]),
];

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_by_every_command() {
    for (mode, settings) in POOLS {
        let db = database().await;
        let pooler = PgBouncer::start(&db, mode, settings);
        let program = behind(&pooler);

        let [record] = program.run(["run", "chore", "--json"]).await.exits(1).json().try_into().expect("one record");
        assert_eq!(record["outcome"], "failed");
        assert!(record["error"].as_str().unwrap().contains(WHY), "{record}");

        let findings = program.run(["check", "--json"]).await.exits(1).json();
        let found = findings.iter().find(|finding| finding["message"].as_str().unwrap().contains(WHY));
        let found = found.unwrap_or_else(|| panic!("{findings:?}"));
        assert_eq!(found["severity"], "error");
        assert!(found["mend"].as_str().unwrap().contains("session mode"), "{found}");

        for command in [&["plan"][..], &["status"], &["history"], &["trigger", "chore"]] {
            let output = program.run(command).await.exits(1);
            assert!(output.stderr.contains(WHY), "{command:?}: {}", output.stderr);
        }
        assert_eq!(db.count("done").await, 0);
    }
}

#[tokio::test]
async fn a_daemon_behind_a_pooler_in_transaction_mode_says_so_and_leaves_its_sessions_alone() {
    let db = database().await;
    let pooler = PgBouncer::start(&db, "transaction", &[("default_pool_size", "3")]);
    let program = behind(&pooler);
    let daemon = program.daemon();
    daemon.wait_for_log("out of reach").await;
    assert!(daemon.log().contains(WHY));
    let failed = [("job", "chore"), ("outcome", "failed")];
    daemon
        .wait_until("a run that failed", async || daemon.metric("pgtend_job_runs_total", &failed).await > Some(0.0))
        .await;
    assert_eq!(daemon.metric("pgtend_up", &[("database", "main")]).await, Some(0.0));
    assert_eq!(daemon.http_get("/readyz").await.status, 503);
    daemon.stop().await.exits(0);
    assert_eq!(db.count("done").await, 0);

    // The server's sessions belong to the application: what is set in one stays, for whoever gets it next.
    let config: tokio_postgres::Config = pooler.url().parse().unwrap();
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    let ask = async {
        client.simple_query("SELECT current_setting('statement_timeout'), current_setting('row_security')").await
    };
    let answer = tokio::select! { answer = ask => answer.unwrap(), _ = connection => panic!("the pooler hung up") };
    let row = answer.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some((row.get(0).unwrap(), row.get(1).unwrap())),
        _ => None,
    });
    assert_eq!(row, Some(("0", "on")));
    let locks = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                 where d.datname = current_database() and l.locktype = 'advisory'";
    assert_eq!(db.scalar::<i64>(locks).await, 0);
}

#[tokio::test]
async fn a_pooler_in_session_mode_is_as_good_as_the_server() {
    let db = database().await;
    let pooler = PgBouncer::start(&db, "session", &[]);
    let program = behind(&pooler);
    program.run(["check"]).await.exits(0);
    program.run(["plan"]).await.exits(0);
    program.run(["run", "chore"]).await.exits(0);
    assert_eq!(runs(&db, "chore").await, ["- cli succeeded"]);

    let daemon = program.daemon().ready().await;
    daemon
        .wait_until("scheduled runs", async || {
            runs(&db, "chore").await.iter().filter(|run| run.ends_with("schedule succeeded")).count() > 1
        })
        .await;
    // The clock may ring at the same moment, and then one of the two is skipped.
    daemon
        .wait_until("a run that was asked for", async || {
            program.run(["trigger", "chore", "--wait"]).await.status.code() == Some(0)
        })
        .await;
    program.run(["status"]).await.exits(0);
    daemon.stop().await.exits(0);
    assert!(runs(&db, "chore").await.contains(&"- notify succeeded".to_string()));
}
