//! The ground the other stories stand on.

use tokio_postgres::error::SqlState;

use crate::support::{
    Cluster, Database, PgBouncer, Pgtend, Process, daemon, majors, newest_major, on_each_major, program, wait_until,
};

#[tokio::test]
async fn every_major_answers_as_itself() {
    on_each_major(async |db| {
        let version: String = db.scalar("show server_version_num").await;
        assert_eq!(version.parse::<u32>().unwrap() / 10_000, db.cluster().major());
    })
    .await;
}

#[tokio::test]
async fn a_database_belongs_to_one_story() {
    on_each_major(async |one| {
        let other = one.cluster().database().await;
        one.execute("create table mine ()").await;
        assert_ne!(one.name(), other.name());
        assert!(other.scalar::<bool>("select to_regclass('mine') is null").await);
    })
    .await;
}

#[tokio::test]
async fn a_restart_ends_connections_and_keeps_data() {
    for major in majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        let client = db.client().await;
        db.execute("create table kept as select 1 as n").await;
        cluster.restart();
        assert!(client.query("select 1", &[]).await.is_err(), "the connection outlived the server");
        assert_eq!(db.count("kept").await, 1);
    }
}

#[tokio::test]
async fn a_server_comes_back_from_kill_9() {
    for major in majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        db.execute("create table kept as select 1 as n").await;
        cluster.kill9();
        cluster.start();
        assert_eq!(db.count("kept").await, 1);
    }
}

#[tokio::test]
async fn a_standby_follows_and_refuses_writes() {
    for major in majors() {
        let primary = Cluster::own(major);
        let db = primary.database().await;
        let standby = primary.standby();
        db.execute("create table followed as select 1 as n").await;
        let copy = Database::named(standby, db.name());
        wait_until("the table on the standby", async || {
            let Ok(client) = copy.try_client_as("postgres").await else { return false };
            client.query_one("select n from followed", &[]).await.is_ok()
        })
        .await;
        let refused = copy.client().await.batch_execute("create table t ()").await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    }
}

#[tokio::test]
async fn a_server_can_listen_on_tcp_and_take_another_pg_hba() {
    let cluster = Cluster::with_tcp(newest_major(), &[]);
    let db = cluster.database().await;
    let config: tokio_postgres::Config = db.tcp_url().parse().unwrap();
    assert!(config.connect(tokio_postgres::NoTls).await.is_ok());
    cluster.put("pg_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 reject\n");
    cluster.reload();
    wait_until("connections over TCP to be refused", async || {
        let refused = config.connect(tokio_postgres::NoTls).await.err();
        refused.is_some_and(|e| e.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION))
    })
    .await;
    assert_eq!(db.scalar::<i32>("select 1").await, 1, "the socket is open still");
}

#[tokio::test]
async fn a_pooler_shares_one_session_between_clients() {
    let db = Cluster::shared(newest_major()).database().await;
    let pooler = PgBouncer::start(&db, "transaction", &[("default_pool_size", "1")]);
    let config: tokio_postgres::Config = pooler.url().parse().unwrap();
    let mut pids = Vec::new();
    for _ in 0..2 {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        let ask = async { client.simple_query("select pg_backend_pid()").await.unwrap() };
        let answer = tokio::select! { answer = ask => answer, _ = connection => panic!("the pooler hung up") };
        let pid = answer.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_string),
            _ => None,
        });
        pids.push(pid.unwrap());
    }
    assert_eq!(pids[0], pids[1]);
}

/// A daemon of an ended test must not hold up the next, nor a server outlive the tests: both hang on one thread.
#[test]
fn children_outlive_the_thread_that_asked_for_them() {
    let cluster = std::thread::spawn(|| Cluster::own(newest_major())).join().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { assert_eq!(cluster.database().await.scalar::<i32>("select 1").await, 1) });
}

#[tokio::test]
async fn the_program_runs_with_its_own_config_alone() {
    let program = Pgtend::new("nonsense = true").env("PGTEND_TEST", "1");
    assert!(program.run(["--help"]).await.status.success());
    assert_eq!(std::fs::read_to_string(program.config()).unwrap(), "nonsense = true");
}

#[tokio::test]
async fn a_program_can_live_in_another_time() {
    let mut date = std::process::Command::new("date");
    date.args(["-u", "+%F"]).envs(program::clock(&[("FAKETIME", "@2031-05-06 12:00:00")]));
    assert_eq!(Process::start(date).wait().await.exits(0).stdout, "2031-05-06\n");
}

#[test]
fn metrics_are_summed_over_the_labels_that_were_not_named() {
    let text = "# TYPE runs counter\nruns{job=\"a\",kind=\"sql\"} 2\nruns{job=\"a\",kind=\"expire\"} 3\nruns{job=\"ab\"} 9\nup 1\n";
    assert_eq!(daemon::sum(text, "runs", &[("job", "a")]), Some(5.0));
    assert_eq!(daemon::sum(text, "runs", &[("kind", "sql")]), Some(2.0));
    assert_eq!(daemon::sum(text, "up", &[]), Some(1.0));
    assert_eq!(daemon::sum(text, "runs", &[("job", "c")]), None);
}
