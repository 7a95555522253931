//! What a daemon serves: health, status, runs on request.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Cluster, Daemon, Database, Pgtend, newest_major};

const JOBS: &str = r#"
[jobs.hello]
schedule = "@yearly"
[jobs.hello.sql]
statements = ["select 1"]

[jobs.off]
enabled = false
[jobs.off.sql]
statements = ["select 2"]
"#;

fn with_token(db: &Database, jobs: &str) -> Pgtend {
    let program = Pgtend::tending(db, jobs);
    let file = program.file("token", "s3cr3t-token\n");
    let config = std::fs::read_to_string(program.config()).unwrap();
    program.configure(&config.replace("[http]", &format!("[http]\ntoken_file = \"{}\"", file.display())));
    program
}

async fn run(daemon: &Daemon, job: &str, authorization: &str) -> (u16, String) {
    let header = format!("Authorization: {authorization}");
    let answer = daemon.http_post(&format!("/api/jobs/{job}/run"), &[&header]).await;
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    (answer.status, body["error"].as_str().map_or_else(|| body["accepted"].to_string(), Into::into))
}

#[tokio::test]
async fn health_is_the_process_and_readiness_its_databases() {
    let cluster = Cluster::stopped(newest_major(), &[]);
    let db = Database::named(cluster.clone(), "postgres");
    let program = Pgtend::tending(&db, JOBS);
    let daemon = program.daemon();
    daemon.wait_for_log("out of reach").await;
    assert_eq!(daemon.http_get("/healthz").await.status, 200);
    let away = daemon.http_get("/readyz").await;
    assert_eq!(away.status, 503);
    assert!(away.body.starts_with("main: "), "{}", away.body);
    daemon.wait_for_metric("pgtend_up", &[("database", "main")], 0.0).await;
    assert!(daemon.http_get("/").await.body.contains("database main</strong>: "));

    cluster.start();
    let daemon = daemon.ready().await;
    daemon.wait_for_metric("pgtend_up", &[("database", "main")], 1.0).await;
}

#[tokio::test]
async fn the_status_has_each_job_and_each_database() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = with_token(&db, JOBS);
    let daemon = program.daemon().ready().await;
    assert_eq!(run(&daemon, "hello", "Bearer s3cr3t-token").await.0, 202);
    db.wait_for_ended("hello", 1).await;
    let status = daemon
        .wait_for("the run in the status", async || {
            let status: Value = serde_json::from_str(&daemon.http_get("/api/status").await.body).unwrap();
            status["jobs"][0]["last_outcome"].is_string().then_some(status)
        })
        .await;
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["host"].as_str().unwrap().ends_with(&format!("(pid {})", daemon.pid())));
    assert_eq!(status["databases"]["main"]["up"], true);
    assert_eq!(status["databases"]["main"]["standby"], false);
    let hello = &status["jobs"][0];
    let is = |field: &str, value: Value| assert_eq!(hello[field], value, "{field}");
    is("job", "hello".into());
    is("kind", "sql".into());
    is("database", "main".into());
    is("enabled", true.into());
    is("schedule", "@yearly".into());
    is("timezone", "UTC".into());
    is("last_outcome", "succeeded".into());
    is("last_trigger", "http".into());
    is("last_error", Value::Null);
    is("running_since", Value::Null);
    is("consecutive_failures", 0.into());
    is("lag_seconds", 0.0.into());
    for time in ["last_started_at", "last_finished_at", "last_success_at", "next_run_at"] {
        let text = hello[time].as_str().unwrap_or_else(|| panic!("{time}: {hello}"));
        assert!(chrono::DateTime::parse_from_rfc3339(text).is_ok(), "{time}: {text}");
    }
    let off = &status["jobs"][1];
    assert_eq!((&off["enabled"], &off["next_run_at"]), (&Value::from(false), &Value::Null));
}

/// An error quotes what the server said, and the server quotes what anybody wrote.
#[tokio::test]
async fn the_page_names_the_jobs_and_lets_no_markup_through() {
    let db = Cluster::shared(newest_major()).database().await;
    let jobs = "[jobs.loud.sql]\nstatements = [\"DO $$ BEGIN RAISE '<script>alert(1)</script>'; END $$\"]\n";
    let program = Pgtend::tending(&db, jobs);
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    let page = daemon
        .wait_for("the failure on the page", async || {
            let page = daemon.http_get("/").await;
            page.body.contains("alert(1)").then_some(page)
        })
        .await;
    assert!(page.headers.to_lowercase().contains("content-type: text/html"), "{}", page.headers);
    assert!(page.body.contains("<th scope=\"row\">loud<"), "{}", page.body);
    assert!(page.body.contains("&lt;script&gt;") && !page.body.contains("<script>"), "{}", page.body);
    let policy = "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'";
    assert!(page.headers.to_lowercase().contains(policy), "{}", page.headers);
}

#[tokio::test]
async fn without_a_token_file_nothing_can_be_triggered() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let daemon = program.daemon().ready().await;
    for authorization in ["Bearer anything", "Bearer ", "Basic Og=="] {
        let (status, why) = run(&daemon, "hello", authorization).await;
        assert_eq!(status, 403, "{why}");
        assert!(why.contains("token_file"), "{why}");
    }
    assert_eq!(db.runs("hello").await, []);
}

#[tokio::test]
async fn with_the_token_a_job_is_run_and_without_it_none() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = with_token(&db, JOBS);
    let daemon = program.daemon().ready().await;
    assert_eq!(daemon.http_post("/api/jobs/hello/run", &[]).await.status, 401);
    for wrong in
        ["Bearer s3cr3t-toke", "Bearer s3cr3t-token2", "Bearer", "s3cr3t-token", "Basic s3cr3t-token", "Bearer "]
    {
        assert_eq!(run(&daemon, "hello", wrong).await.0, 401, "{wrong}");
    }
    // Nor does a stranger learn which jobs there are.
    assert_eq!(run(&daemon, "nothing", "Bearer wrong").await.0, 401);
    assert_eq!(db.runs("hello").await, []);

    assert_eq!(run(&daemon, "hello", "Bearer s3cr3t-token").await, (202, r#"["hello"]"#.into()));
    assert_eq!(db.wait_for_ended("hello", 1).await[0].trigger, "http");
    // The name of the scheme has no case.
    for scheme in ["bearer", "BEARER "] {
        assert_eq!(run(&daemon, "hello", &format!("{scheme} s3cr3t-token")).await.0, 202, "{scheme}");
    }
    // Somebody asked for it: that it is disabled concerns its schedule.
    assert_eq!(run(&daemon, "off", "Bearer s3cr3t-token").await.0, 202);
    db.wait_for_ended("off", 1).await;
    let (status, why) = run(&daemon, "nothing", "Bearer s3cr3t-token").await;
    assert_eq!(status, 404);
    assert!(why.contains("\"nothing\""), "{why}");
    assert_eq!(daemon.http_get("/api/jobs/hello/run").await.status, 405);
    assert!(!daemon.log().contains("s3cr3t"));
}

/// A browser keeps no bearer token: it signs in, and runs jobs by the buttons that only then are there.
#[tokio::test]
async fn whoever_signs_in_on_the_page_may_run_jobs_and_nobody_else() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = with_token(&db, JOBS);
    let daemon = program.daemon().ready().await;
    let button = "action=\"/jobs/hello/run\"";
    let page = daemon.http_get("/").await.body;
    assert!(page.contains("action=\"/sign-in\"") && !page.contains(button), "{page}");
    assert_eq!(daemon.http_form("/jobs/hello/run", "", &[]).await.status, 401);
    let forged = daemon.http_form("/jobs/hello/run", "", &["Cookie: pgtend=s3cr3t-token"]).await;
    assert_eq!(forged.status, 401);
    assert_eq!(daemon.http_form("/sign-in", "token=wrong", &[]).await.status, 401);
    let elsewhere = daemon.http_form("/sign-in", "token=s3cr3t-token", &["Origin: http://elsewhere.example"]).await;
    assert_eq!((elsewhere.status, elsewhere.headers.contains("et-cookie")), (403, false));

    let signed_in = daemon.http_form("/sign-in", "token=s3cr3t-token", &["Sec-Fetch-Site: same-origin"]).await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.headers);
    let set = signed_in.headers.lines().find(|line| line.to_lowercase().starts_with("set-cookie:")).unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && !set.contains("s3cr3t"), "{set}");
    let cookie = format!("Cookie: {}", set.split_once(": ").unwrap().1.split(';').next().unwrap());

    let theirs = daemon.http_form("/jobs/hello/run", "", &[&cookie, "Sec-Fetch-Site: cross-site"]).await;
    assert_eq!(theirs.status, 403);
    assert_eq!(db.runs("hello").await, []);
    let run = daemon.http_form("/jobs/hello/run", "", &[&cookie, "Sec-Fetch-Site: same-origin"]).await;
    assert!(run.status == 303 && run.headers.contains("/#job-hello"), "{}", run.headers);
    assert_eq!(db.wait_for_ended("hello", 1).await[0].trigger, "http");
    assert_eq!(daemon.http_form("/jobs/nothing/run", "", &[&cookie]).await.status, 404);

    // After a restart nobody knows of it.
    daemon.stop().await.exits(0);
    let daemon = program.daemon().ready().await;
    assert_eq!(daemon.http_form("/jobs/hello/run", "", &[&cookie]).await.status, 401);
}

#[tokio::test]
async fn the_page_shows_runs_partitions_and_what_is_wrong() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute(
        "SET timezone = 'UTC';
         CREATE TABLE events (at timestamptz NOT NULL) PARTITION BY RANGE (at);
         CREATE TABLE now PARTITION OF events FOR VALUES FROM (date_trunc('month', now(), 'UTC')) TO (date_trunc('month', now(), 'UTC') + interval '1 month');",
    )
    .await;
    let jobs = "[jobs.parts.partitions]\ntables = [{ table = 'events', every = '1 month', ahead = 3 }]\n\
                [jobs.bad.sql]\nstatements = [\"DO $$ BEGIN RAISE 'no room'; END $$\"]\n\
                [jobs.never]\nschedule = '@yearly'\n[jobs.never.sql]\nstatements = ['select 1']\n";
    let program = Pgtend::tending(&db, jobs);
    let daemon = program.daemon().ready().await;
    let shows = async |what: &str, words: &[&str]| {
        daemon
            .wait_for(what, async || {
                let page = daemon.http_get("/").await.body;
                words.iter().all(|words| page.contains(words)).then_some(page)
            })
            .await
    };
    shows("a runway that is short", &["Wrong right now", "there is no next partition", "inserts fail"]).await;
    daemon.signal(libc::SIGUSR1);
    let page =
        shows("the runs", &["4 partitions, 3 of them ahead", "no room", "The last run: 1 succeeded, 0 failed"]).await;
    assert!(page.contains("The last run: 0 succeeded, 1 failed"), "{page}");
    let page = shows("that inserts will not fail", &["reaches to"]).await;
    assert!(!page.contains("there is no next partition") && page.contains("(1) pgtend"), "{page}");
}

#[tokio::test]
async fn a_scrape_touches_no_database() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    let program = Pgtend::tending(&db, JOBS);
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    let last_run = ("pgtend_job_last_run_timestamp_seconds", [("job", "hello")]);
    daemon.wait_until("the gauge", async || daemon.metric(last_run.0, &last_run.1).await.is_some()).await;
    let known = daemon.metric(last_run.0, &last_run.1).await;
    // A server that is gone refuses at once; one that hangs lets whoever asks it hang as well.
    cluster.freeze();
    assert_eq!(daemon.metric(last_run.0, &last_run.1).await, known);
    cluster.thaw();
    cluster.stop();
    daemon.wait_for_metric("pgtend_up", &[("database", "main")], 0.0).await;
    assert_eq!(daemon.metric(last_run.0, &last_run.1).await, known);
    for path in ["/healthz", "/api/status", "/"] {
        assert_eq!(daemon.http_get(path).await.status, 200, "{path}");
    }
    assert_eq!(daemon.http_get("/readyz").await.status, 503);
}

/// Prometheus keeps its connection for the next scrape, and other clients theirs for no reason at all.
#[tokio::test]
async fn a_client_that_does_not_hang_up_does_not_keep_the_daemon() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let daemon = program.daemon().ready().await;
    let address = ("127.0.0.1", daemon.port());
    let mut kept_alive = TcpStream::connect(address).await.unwrap();
    kept_alive.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(kept_alive.read(&mut [0; 1024]).await.unwrap() > 0);
    let silent = TcpStream::connect(address).await.unwrap();
    let mut half_way = TcpStream::connect(address).await.unwrap();
    half_way.write_all(b"GET /metr").await.unwrap();
    daemon.stop().await.exits(0);
    drop((kept_alive, silent, half_way));
}
