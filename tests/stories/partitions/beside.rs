//! Partitions made while others are at work: nobody waits long, and nobody is failed for our sake.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use pgtend::kinds::Applied;
use pgtend::kinds::partitions::create::create;
use pgtend::run::Counted;
use tokio::task::JoinHandle;

use super::{context, insist, july, make, partition};
use crate::support::{Database, on_each_major, wait_until};

const EVENTS: &str =
    "CREATE TABLE events (id serial, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE events_2026_06 PARTITION OF events FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z');";

/// An application whose every statement fails when it waits for a lock for a second, and which dies of one that does.
pub struct Application {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    sessions: Vec<JoinHandle<()>>,
}

impl Application {
    pub async fn at(db: &Database, statements: &[&str]) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut sessions = Vec::new();
        for statement in statements {
            let (client, statement) = (db.client().await, statement.to_string());
            // More than a transaction of ours may take.
            client.batch_execute("SET lock_timeout = '3s'").await.unwrap();
            let (stop, done) = (stop.clone(), done.clone());
            #[expect(clippy::disallowed_methods, reason = "it is waited for")]
            sessions.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.batch_execute(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
                    done.fetch_add(1, Ordering::Relaxed);
                    // A pace, so that the machine is left something for everybody else.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }));
        }
        let application = Self { stop, done, sessions };
        application.works().await;
        application
    }

    /// Waits until each has done something more.
    pub async fn works(&self) {
        let before = self.done.load(Ordering::Relaxed);
        wait_until("the application to go on", async || self.done.load(Ordering::Relaxed) > before + 20).await;
    }

    /// None of its statements failed.
    pub async fn end(self) {
        self.works().await;
        self.stop.store(true, Ordering::Relaxed);
        for session in self.sessions {
            session.await.unwrap();
        }
    }
}

/// It locks every partition.
const READ: &str = "SELECT FROM events LIMIT 1";
const WRITE: &str = "INSERT INTO events (at) VALUES ('2026-06-15Z')";

#[tokio::test(flavor = "multi_thread")]
async fn open_transactions_that_read_and_write_the_parent_are_not_even_noticed() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let (reader, writer) = (db.client().await, db.client().await);
        reader.batch_execute(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {READ}")).await.unwrap();
        writer.batch_execute(&format!("BEGIN; {WRITE}")).await.unwrap();
        let application = Application::at(&db, &[READ, WRITE]).await;
        let cx = context(&db);
        for month in 7..=12 {
            let (from, to) = (format!("2026-{month:02}-01"), format!("2026-{month:02}-28"));
            let said = insist(&cx, &partition(&cx, "events", &format!("events_{month}"), &from, &to).await).await;
            // On a busy machine a transaction may take longer than it may, but never for want of a lock.
            assert!(!said.iter().any(|by| by.contains("55P03")), "{said:?}");
        }
        application.end().await;
        reader.batch_execute("COMMIT").await.unwrap();
        writer.batch_execute("INSERT INTO events (at) VALUES ('2026-07-02Z'); COMMIT").await.unwrap();
        assert_eq!(db.count("events_7").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_default_partition_is_named_and_everybody_else_goes_on() {
    on_each_major(async |db| {
        db.execute(&format!("{EVENTS} CREATE TABLE events_rest PARTITION OF events DEFAULT; INSERT INTO events (at) VALUES ('2026-07-01Z')")).await;
        let reader = db.client().await;
        reader.batch_execute("BEGIN; SELECT FROM events_rest").await.unwrap();
        let pid: i32 = reader.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let application = Application::at(&db, &[READ, WRITE]).await;
        let cx = context(&db);
        let partition = july(&cx, "events").await;
        for _ in 0..3 {
            let Applied::Locked(by) = create(&cx, &partition).await.unwrap() else { panic!("it was not locked") };
            assert!(by.contains(&format!("pid {pid} (postgres, story) holds public.events_rest")), "{by}");
        }
        application.works().await;
        assert_eq!(db.count("pg_class WHERE relname = 'events_2026_07'").await, 0);
        reader.batch_execute("COMMIT").await.unwrap();
        insist(&cx, &partition).await;
        application.end().await;
        assert_eq!((db.count("events_2026_07").await, db.count("events_rest").await), (1, 0));
        assert_eq!(cx.report.snapshot().total(Counted::PartitionsCreated), 1);
    })
    .await;
}

/// Before anything is made its rows are looked for, and that has to wait too.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_default_partition_to_itself_is_waited_for() {
    on_each_major(async |db| {
        db.execute(&format!("{EVENTS} CREATE TABLE events_rest PARTITION OF events DEFAULT; INSERT INTO events (at) VALUES ('2026-07-01Z')")).await;
        let cx = context(&db);
        let partition = july(&cx, "events").await;
        let owner = db.client().await;
        owner.batch_execute("BEGIN; LOCK TABLE events_rest IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let applied = create(&cx, &partition).await;
        assert!(matches!(applied, Ok(Applied::Locked(_))), "{applied:?}");
        owner.batch_execute("COMMIT").await.unwrap();
        insist(&cx, &partition).await;
    })
    .await;
}

/// The others' bounds are read where nobody can keep them from it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_another_partition_to_itself_is_in_nobodys_way() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z');"
        ))
        .await;
        let cx = context(&db);
        let partition = july(&cx, "events").await;
        let owner = db.client().await;
        owner.batch_execute("BEGIN; LOCK TABLE events_old IN ACCESS EXCLUSIVE MODE").await.unwrap();
        make(&cx, &partition).await;
        owner.batch_execute("COMMIT").await.unwrap();
        assert_eq!(cx.report.snapshot().warnings, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_of_a_referenced_table_is_named_and_others_write_it() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE teams (id int PRIMARY KEY, n int); INSERT INTO teams SELECT n, 0 FROM generate_series(1, 3) n;
             CREATE TABLE events (team int REFERENCES teams, at timestamptz) PARTITION BY RANGE (at);
             CREATE TABLE events_2026_06 PARTITION OF events FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z');",
        )
        .await;
        let writer = db.client().await;
        writer.batch_execute("BEGIN; UPDATE teams SET n = n + 1 WHERE id = 1").await.unwrap();
        let application = Application::at(
            &db,
            &["UPDATE teams SET n = n + 1 WHERE id = 2", READ, "INSERT INTO events VALUES (3, '2026-06-15Z')"],
        )
        .await;
        let cx = context(&db);
        let partition = july(&cx, "events").await;
        let Applied::Locked(by) = create(&cx, &partition).await.unwrap() else { panic!("it was not locked") };
        assert!(by.contains("holds public.teams"), "{by}");
        writer.batch_execute("COMMIT").await.unwrap();
        insist(&cx, &partition).await;
        application.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_make_one_partition_and_both_are_content() {
    on_each_major(async |db| {
        for default in [
            "",
            "CREATE TABLE events_rest PARTITION OF events DEFAULT; INSERT INTO events (at) VALUES ('2026-07-01Z');",
        ] {
            db.execute(&format!("DROP TABLE IF EXISTS events; {EVENTS} {default}")).await;
            let (one, two) = (context(&db), context(&db));
            let partition = july(&one, "events").await;
            tokio::join!(insist(&one, &partition), insist(&two, &partition));
            let counted = [&one, &two].map(|cx| cx.report.snapshot().total(Counted::PartitionsCreated));
            assert_eq!(counted.iter().sum::<u64>(), 1, "{counted:?}");
            assert_eq!(
                db.count("pg_inherits i JOIN pg_class ON oid = inhrelid WHERE relname = 'events_2026_07'").await,
                1
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_dump_goes_on_and_is_whole() {
    on_each_major(async |db| {
        db.execute(&format!("{EVENTS} INSERT INTO events (at) SELECT '2026-06-15Z' FROM generate_series(1, 100000)")).await;
        let mut dump = db.cluster().program("pg_dump");
        dump.args(["--dbname", &db.conninfo()]).stdout(Stdio::piped());
        // Nobody reads what it writes, so it stands still in the middle, with all its locks.
        let dump = dump.spawn().unwrap();
        let locked = "pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'pg_dump' AND a.query LIKE 'COPY%' AND l.relation = 'events'::regclass";
        wait_until("the dump to have its locks", async || db.count(locked).await > 0).await;
        let application = Application::at(&db, &[READ, WRITE]).await;
        let cx = context(&db);
        insist(&cx, &july(&cx, "events").await).await;
        application.end().await;
        assert_eq!(db.count(locked).await, 1, "the dump still runs");
        let output = tokio::task::spawn_blocking(move || dump.wait_with_output().unwrap()).await.unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("\t2026-06-15 ")).count(), 100_000);
    })
    .await;
}
