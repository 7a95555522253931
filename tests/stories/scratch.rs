//! A throwaway server for the tests of this process, and a database a test.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use pgtend::kinds::drive::drive;
use pgtend::kinds::expire::Expire;
use pgtend::kinds::{Context, Ended, Kind, Mode, Reporter, Stop, Stopper};
use pgtend::pg::{Access, Conninfo, Database, Limits, Link, Sessions, connect};
use pgtend::run::{JobName, Report, Step};
use tokio::time::Instant;

struct Server {
    dir: tempfile::TempDir,
    /// Ends the server when this process ends, because its standard input does.
    _keeper: Child,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let dir = tempfile::Builder::new().prefix("pgt").tempdir_in("/tmp").unwrap();
    assert!(Command::new("chown").arg("nobody").arg(dir.path()).status().unwrap().success());
    let script = format!(
        "cd {dir} && {bin}/initdb -N -A trust -U postgres --no-locale -E UTF8 --no-instructions -D data >log 2>&1 || exit 1
         {bin}/postgres -D data -p 1 -k {dir} -c listen_addresses= -c fsync=off -c shared_buffers=16MB -c max_connections=60 \\
             -c max_prepared_transactions=5 -c autovacuum=off >>log 2>&1 </dev/null &
         cat >/dev/null; kill -QUIT $!; wait; rm -rf {dir}",
        dir = dir.path().display(),
        bin = bin(),
    );
    let keeper = as_nobody(&script);
    Server { dir, _keeper: keeper }
});

/// A standby of the server, made when first asked for.
static STANDBY: LazyLock<Child> = LazyLock::new(|| {
    let script = format!(
        "cd {dir} && {bin}/pg_basebackup -h {dir} -p 1 -U postgres -D standby -R -c fast >>log 2>&1 || exit 1
         {bin}/postgres -D standby -p 2 -k {dir} -c listen_addresses= -c fsync=off -c wal_receiver_status_interval=1 \\
             -c max_connections=60 -c max_prepared_transactions=5 >>log 2>&1 </dev/null &
         cat >/dev/null; kill -QUIT $!",
        dir = SERVER.dir.path().display(),
        bin = bin(),
    );
    as_nobody(&script)
});

fn bin() -> String {
    std::env::var("PGBIN").unwrap_or_else(|_| "/usr/lib/postgresql/15/bin".into())
}

/// Runs a shell script that ends when its standard input does, and so with this process at the latest.
fn as_nobody(script: &str) -> Child {
    Command::new("setpriv")
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh", "-c", script])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

pub struct Scratch {
    pub name: String,
    pub sql: Link,
}

pub struct Job {
    pub kind: Expire,
    pub cx: Context,
    pub stopper: Stopper,
}

fn conninfo(port: u16, database: &str, user: &str) -> Conninfo {
    let host = SERVER.dir.path().display();
    Conninfo::parse(&format!("host={host} port={port} user={user} dbname={database}"), None).unwrap()
}

async fn link(database: &str, user: &str) -> Link {
    patiently(conninfo(1, database, user)).await
}

async fn patiently(info: Conninfo) -> Link {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match connect(&info, "test", Limits::new(Duration::MAX, Duration::MAX)).await {
            Ok((link, _)) => {
                // As anybody's connection is: the story's tables are made over it.
                link.client.batch_execute("RESET ALL").await.unwrap();
                return link;
            }
            // The server is starting.
            Err(error) if Instant::now() > deadline => panic!("{error:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

impl Scratch {
    pub async fn new(ddl: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let admin = link("postgres", "postgres").await;
        admin.client.batch_execute(&format!("CREATE DATABASE {name} STRATEGY file_copy")).await.unwrap();
        let sql = link(&name, "postgres").await;
        sql.client.batch_execute(ddl).await.unwrap();
        Self { name, sql }
    }

    /// Another session of the application.
    pub async fn session(&self) -> Link {
        link(&self.name, "postgres").await
    }

    /// A session on the standby, which is there from now on.
    pub async fn standby(&self) -> Link {
        LazyLock::force(&STANDBY);
        patiently(conninfo(2, "postgres", "postgres")).await
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.sql.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub fn job(&self, config: &str) -> Job {
        self.job_as("postgres", config)
    }

    pub fn job_as(&self, user: &str, config: &str) -> Job {
        self.job_at(user, config, "2026-06-15T12:00:00Z", chrono_tz::Tz::UTC, Duration::from_secs(60))
    }

    pub fn job_at(&self, user: &str, config: &str, now: &str, timezone: chrono_tz::Tz, timeout: Duration) -> Job {
        let kind: Expire = toml::from_str(config).unwrap();
        assert_eq!(kind.validate(), []);
        let now: DateTime<Utc> = now.parse().unwrap();
        let database = Arc::new(Database::new("main", conninfo(1, &self.name, user), 1).unwrap());
        let (stopper, stop) = Stop::pair();
        let deadline = Instant::now() + timeout;
        let lock_timeout = Duration::from_millis(100);
        let pg = Sessions::new(database, "sessions", Access::ReadWrite, lock_timeout, deadline);
        let report = Reporter::default();
        let cx = Context {
            job: JobName("sessions".into()),
            run: None,
            now,
            timezone,
            pg,
            stop,
            report,
            deadline,
            lock_timeout,
            apart: None,
            timeout: std::time::Duration::from_secs(3600),
            kept: Arc::default(),
            stores: Arc::default(),
        };
        Job { kind, cx, stopper }
    }
}

impl Job {
    pub async fn run(&self) -> (Ended, Report) {
        let ended = drive(&self.kind, &self.cx, Mode::Apply).await.unwrap();
        (ended, self.cx.report.snapshot())
    }

    pub async fn plan(&self) -> Vec<Step> {
        drive(&self.kind, &self.cx, Mode::Rehearse).await.unwrap().steps
    }

    /// The plan's lines, without notes.
    pub async fn actions(&self) -> Vec<Step> {
        self.plan().await.into_iter().filter(|step| !matches!(step.action, "keep" | "warn")).collect()
    }

    pub async fn check(&self) -> String {
        let found = self.kind.check(&self.cx).await.unwrap();
        found.iter().map(|f| format!("{}: {} -> {}\n", f.severity, f.message, f.mend)).collect()
    }
}
