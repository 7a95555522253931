//! A password goes to the server, and nowhere else.

use std::fs;

use crate::support::{Cluster, Pgtend, newest_major};

/// What no output may hold. Special characters, so that an encoded form would be seen too.
const PASSWORD: &str = "hunter2-p@ss";
const ENCODED: &str = "hunter2-p%40ss";

const JOBS: &str = r#"
[jobs.good]
schedule = "@yearly"
[jobs.good.sql]
statements = ["select 1"]
[jobs.bad.sql]
statements = ["select 1/0"]
"#;

/// A server that asks for the password over TCP, and a url with one in it.
async fn asking(password: &str) -> (Cluster, Pgtend, crate::support::Database) {
    let cluster = Cluster::with_tcp(newest_major(), &[]);
    let db = cluster.database().await;
    db.execute(&format!("create role tender superuser login password '{PASSWORD}'")).await;
    let hba = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(cluster.data().join("pg_hba.conf"), hba).unwrap();
    cluster.reload();
    // The server rereads in its own time, and until it has, it asks nobody.
    let asked = async || {
        let url = db.tcp_url().replace("postgres@", "tender@");
        match tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
            Ok(_) => false,
            Err(error) => error.code().is_none(),
        }
    };
    crate::support::wait_until("the server to ask for passwords", asked).await;
    let url = format!("postgresql://tender:{password}@127.0.0.1:{}/{}", cluster.port(), db.name());
    let program = Pgtend::new(&format!("[databases.main]\nurl = \"{url}\"\n[http]\nlisten = \"{{listen}}\"\n{JOBS}"));
    (cluster, program, db)
}

/// Of both forms, the part that they share.
fn keeps_secret(what: &str, text: &str) {
    let secret = PASSWORD.split('@').next().unwrap();
    assert!(ENCODED.starts_with(secret));
    let place = text.lines().find(|line| line.contains(secret));
    assert_eq!(place, None, "the password is in {what}");
}

#[tokio::test]
async fn the_password_of_a_url_is_nowhere_to_be_seen() {
    let (_cluster, program, db) = asking(ENCODED).await;
    let daemon = program.daemon_with(["--log-level", "trace"]).ready().await;
    daemon.signal(libc::SIGUSR1);
    daemon.signal(libc::SIGUSR2);
    db.wait_for_ended("good", 1).await;
    db.wait_for_ended("bad", 1).await;
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("config reloaded").await;
    for path in ["/", "/metrics", "/api/status", "/readyz"] {
        keeps_secret(path, &daemon.http_get(path).await.body);
    }
    let commands = [
        "run good bad",
        "run good bad --json",
        "plan",
        "plan --json",
        "check",
        "check --json",
        "status --json",
        "history --json",
        "trigger good --wait",
        "schema",
    ];
    for command in commands {
        for form in ["text", "json"] {
            let process = program.start(command.split(' ').chain(["--log-level", "trace", "--log-format", form]));
            let arguments = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
            keeps_secret("the process list", &String::from_utf8_lossy(&arguments));
            let output = process.wait().await;
            assert!([Some(0), Some(1)].contains(&output.status.code()), "{command}: {output:?}");
            keeps_secret(command, &output.stdout);
            keeps_secret(command, &output.stderr);
        }
    }
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{file}", daemon.pid())).unwrap();
        keeps_secret(file, &String::from_utf8_lossy(&text));
    }
    let history = "select string_agg(r::text, e'\\n') from (select run::text from pgtend.run union all \
                   select request::text from pgtend.request) as r";
    keeps_secret("the history", &db.scalar::<String>(history).await);
    let seen = "select string_agg(a::text, e'\\n') from pg_stat_activity a";
    keeps_secret("pg_stat_activity", &db.scalar::<String>(seen).await);
    let output = daemon.stop().await.exits(0);
    keeps_secret("the log", &output.stderr);
    assert!(output.stderr.contains("TRACE") || output.stderr.contains("DEBUG"), "the log says too little to be a test");
}

#[tokio::test]
async fn a_password_that_is_refused_is_not_repeated() {
    let wrong = format!("{}-wrong", PASSWORD.split('@').next().unwrap());
    let (_cluster, program, db) = asking(&wrong).await;
    for command in ["run good", "run good --json", "check", "check --json", "plan", "status"] {
        let output = program.run(command.split(' ').chain(["--log-level", "trace"])).await.exits(1);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains("28P01") || said.contains("password authentication failed"), "{command}: {said}");
        keeps_secret(command, &said);
    }
    let daemon = program.daemon_with(["--log-level", "trace"]);
    daemon.wait_for_log("out of reach").await;
    for path in ["/", "/metrics", "/api/status", "/readyz"] {
        keeps_secret(path, &daemon.http_get(path).await.body);
    }
    keeps_secret("the log", &daemon.stop().await.exits(0).stderr);
    drop(db);
}

/// A mistake in a url is explained without quoting all of it.
#[tokio::test]
async fn a_url_that_is_wrong_is_explained_without_its_password() {
    let urls = [
        format!("postgresql://tender:{ENCODED}@localhost:port/app"),
        format!("postgresql://tender:{ENCODED}@localhost/app?sslmod=require"),
        format!("host=localhost password={PASSWORD} frobnicate=1"),
        format!("postgresql://tender:{PASSWORD}@localhost/app"),
        format!("tender:{PASSWORD}@localhost/app"),
    ];
    for url in urls {
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{url}\"\n{JOBS}"));
        for command in ["check", "check --json", "run good"] {
            let output = program.run(command.split(' ').chain(["--log-level", "trace"])).await;
            assert!([Some(1), Some(2)].contains(&output.status.code()), "{url}: {output:?}");
            keeps_secret(command, &output.stdout);
            keeps_secret(command, &output.stderr);
        }
    }
}
