//! Waiting for those who have the table open: for long where it keeps nobody waiting, and not a moment longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use pgtend::kinds::StopReason;
use pgtend::run::Counted;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::dying::{past, said_to_be_ours, tending};
use super::*;
use crate::partitions::beside::Application;
use crate::support::{Process, on_each_major, wait_until};

const READ: &str = "SELECT FROM events LIMIT 1";
const WRITE: &str = "INSERT INTO events (at) VALUES ('2026-06-15Z')";
const TABLES: &str = "{ table = 'events', keep = '1 month' }";

/// Sessions that wait for one of pgtend's.
const STUCK: &str = "pg_stat_activity a WHERE a.datname = current_database() AND a.application_name NOT LIKE 'pgtend%'
    AND EXISTS (SELECT FROM unnest(pg_blocking_pids(a.pid)) AS b(pid) JOIN pg_stat_activity o ON o.pid = b.pid WHERE o.application_name LIKE 'pgtend/%')";

/// What pgtend's session waits for.
async fn waits_for(db: &Database, event: &str, statement: &str) {
    wait_until(&format!("{statement} to wait for a {event}"), async || {
        db.count(&format!(
            "pg_stat_activity WHERE datname = current_database() AND application_name = 'pgtend/retention' AND wait_event = '{event}' AND query LIKE '%{statement}%'"
        ))
        .await
            > 0
    })
    .await;
}

/// Until it is told to end, one thing after the other.
struct Meanwhile(Arc<AtomicBool>, JoinHandle<()>);

impl Meanwhile {
    #[expect(clippy::disallowed_methods, reason = "it is waited for")]
    fn go<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Arc<AtomicBool>) -> F) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let work = work(stop.clone());
        Self(stop, tokio::spawn(work))
    }

    async fn end(self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.await.unwrap();
    }
}

/// Reports on the table, of which one always begins before the one before has ended.
async fn reports(db: &Database) -> Meanwhile {
    let clients = [db.client().await, db.client().await];
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM events";
    clients[0].batch_execute(begin).await.unwrap();
    Meanwhile::go(async move |stop| {
        for (one, other) in [(0, 1), (1, 0)].into_iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            clients[other].batch_execute(begin).await.unwrap();
            // Longer than any lock of ours is waited for.
            clients[other].batch_execute("SELECT pg_sleep(0.5)").await.unwrap();
            clients[one].batch_execute("COMMIT").await.unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn all_go_beside_reports_that_never_cease_and_nobody_waits_for_us() {
    on_each_major(async |db| {
        db.execute(&events(1..=6)).await;
        let reports = reports(&db).await;
        let application = Application::at(&db, &[READ, WRITE]).await;
        let watching = db.client().await;
        let looks = Arc::new(AtomicU32::new(0));
        let looked = looks.clone();
        let watcher = Meanwhile::go(async move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let stuck: i64 =
                    watching.query_one(&format!("SELECT count(*) FROM {STUCK}"), &[]).await.unwrap().get(0);
                assert_eq!(stuck, 0, "somebody waits for us");
                looked.fetch_add(1, Ordering::Relaxed);
                // A pace, so that the machine is left something for everybody else.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let (ended, report) = job(&db, TABLES).run().await;
        assert_eq!((ended.outcome(), report.total(Counted::PartitionsDropped)), (Outcome::Succeeded, 4), "{report:#?}");
        assert!(looks.load(Ordering::Relaxed) > 20);
        watcher.end().await;
        application.end().await;
        reports.end().await;
    })
    .await;
}

/// A run of the real program, which is in the middle of waiting as soon as the story says so.
struct Waiting {
    /// What is in its way.
    open: tokio_postgres::Client,
    process: Process,
}

/// The three waits there are: of CONCURRENTLY, for whom it left pending to let go of the partition, and of FINALIZE.
const WAITS: [&str; 3] = ["CONCURRENTLY", "pg_locks", "FINALIZE"];

async fn waiting(db: &Database, wait: &str) -> Waiting {
    db.execute(&past()).await;
    let open = db.client().await;
    open.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM events").await.unwrap();
    if wait != "CONCURRENTLY" {
        let hand = db.client().await;
        hand.batch_execute("COMMENT ON TABLE events_1 IS 'mine'; SET lock_timeout = '50ms'").await.unwrap();
        assert!(hand.batch_execute("ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY").await.is_err());
    }
    if wait == "FINALIZE" {
        // It has nothing to do with the table; it is only old.
        open.batch_execute("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class").await.unwrap();
    }
    let program = tending(db, "");
    let config = std::fs::read_to_string(program.config()).unwrap();
    // So long that nothing but the wait itself ends it before the story's patience does.
    program.configure(&format!("shutdown_timeout = \"10m\"\n{}", config.replace("20s", "20m")));
    let process = program.start(["run", "retention", "--json"]);
    match wait {
        "pg_locks" => {
            let statement = "Who has had table";
            wait_until("it to wait for those who have the partition open", async || {
                db.count(&format!("pg_stat_activity WHERE datname = current_database() AND application_name = 'pgtend/retention' AND query LIKE '%{statement}%' AND state = 'idle'")).await > 0
            })
            .await;
        }
        statement => waits_for(db, "virtualxid", statement).await,
    }
    Waiting { open, process }
}

/// The next run finishes it, once it can.
async fn finished_by_the_next(db: &Database, wait: &str, open: tokio_postgres::Client) {
    db.wait_until_unlocked().await;
    assert_eq!(pending(db).await, 1, "{wait}");
    open.batch_execute("COMMIT").await.unwrap();
    let program = tending(db, "");
    for _ in 0..3 {
        program.run(["run", "retention"]).await.exits(0);
    }
    assert_eq!((pending(db).await, db.count("events").await), (0, 5), "{wait}");
    // What somebody else had begun is finished, and no more.
    let left = if wait == "CONCURRENTLY" { vec![] } else { vec!["public.events_1".to_owned()] };
    assert_eq!(tables(db, "events\\__").await, left, "{wait}");
    db.execute("DROP TABLE IF EXISTS events_1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_while_it_waits_it_stops() {
    on_each_major(async |db| {
        for wait in WAITS {
            let Waiting { open, process } = waiting(&db, wait).await;
            process.signal(libc::SIGTERM);
            let output = process.wait().await;
            let record: Value = output.json().pop().unwrap_or_else(|| panic!("{output:?}"));
            assert_eq!(record["outcome"], "cancelled", "{wait}: {record}");
            assert!(
                record["details"]["left_for_next_time"].as_str().unwrap().contains("public.events_1"),
                "{wait}: {record}"
            );
            finished_by_the_next(&db, wait, open).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_waits_its_statement_dies_with_it() {
    on_each_major(async |db| {
        for wait in WAITS {
            let Waiting { open, process } = waiting(&db, wait).await;
            if wait == "CONCURRENTLY" {
                said_to_be_ours(&db, "events_1").await;
            }
            drop(process);
            wait_until("the server to see it", async || db.backends("pgtend%").await.is_empty()).await;
            finished_by_the_next(&db, wait, open).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_transaction_without_end_the_other_tables_get_their_turn() {
    on_each_major(async |db| {
        db.execute(&events(1..=6)).await;
        db.execute(&events(1..=6).replace("events", "others")).await;
        let open = db.client().await;
        open.batch_execute(&format!("BEGIN; {READ}")).await.unwrap();
        let both = "{ table = 'events', keep = '1 month' }, { table = 'others', keep = '1 month' }";
        let (stopper, stop) = Stop::pair();
        let mut job = job_as(&db, "postgres", both, Duration::from_secs(12));
        job.cx.stop = stop;
        // As the runner does.
        let timeout = async {
            tokio::time::sleep_until(job.cx.deadline).await;
            stopper.stop(StopReason::TimedOut);
            std::future::pending().await
        };
        let (ended, report) = tokio::select! { ran = job.run() => ran, never = timeout => never };
        assert_eq!(ended.outcome(), Outcome::Partial, "{report:#?}");
        assert_eq!(report.total(Counted::PartitionsDropped), 4, "{report:#?}");
        assert_eq!(db.count("pg_inherits WHERE inhparent = 'others'::regclass").await, 2);
        let failures: Vec<_> = report.failures.iter().map(|f| (f.target.as_str(), f.error.as_str())).collect();
        assert_eq!(failures.len(), 4, "{report:#?}");
        for (target, error) in &failures {
            let first = *target == "public.events_1";
            assert!(
                error.contains(&if first { pid(&open).await } else { "public.events_1 is to be finished".into() }),
                "{target}: {error}"
            );
            assert!(!first || error.contains("in its transaction for 00:"), "its age: {error}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_what_we_hold_while_we_wait_has_it_at_once() {
    on_each_major(async |db| {
        let key = pgtend::pg::exclusion::key();
        for wanted in
            ["SELECT FROM events", "SELECT FROM events_1", "ANALYZE events", "SELECT pg_advisory_lock_shared(KEY)"]
        {
            db.execute(&format!("DROP TABLE IF EXISTS events; {}", events(1..=6))).await;
            // A snapshot from before, in which the partition is still there.
            let old = db.client().await;
            old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM events_2").await.unwrap();
            let (reader, hand) = (db.client().await, db.client().await);
            reader.batch_execute(&format!("BEGIN; {READ}")).await.unwrap();
            hand.batch_execute("SET lock_timeout = '50ms'").await.unwrap();
            assert!(hand.batch_execute("ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY").await.is_err());
            reader.batch_execute("COMMIT; SET lock_timeout = '1s'").await.unwrap();
            let job = job(&db, TABLES);
            let run = async { job.run().await };
            let others = async {
                // So long that in a deadlock it is no more PostgreSQL's choice whom it fails: whoever comes last.
                wait_until("FINALIZE to have waited for longer than deadlock_timeout", async || {
                    db.count("pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.datname = current_database() AND a.query LIKE '%FINALIZE%' AND l.locktype = 'virtualxid' AND clock_timestamp() - l.waitstart > '1200ms'").await > 0
                })
                .await;
                let client = if wanted.contains("FROM events") { &old } else { &reader };
                let wanted = wanted.replace("KEY", &key.to_string());
                client.batch_execute(&wanted).await.unwrap_or_else(|e| panic!("{wanted}: {e:?}"));
                wait_until("it to have given way", async || job.cx.report.snapshot().total(Counted::LockTimeouts) > 0)
                    .await;
                assert_eq!(pending(&db).await, 1);
                old.batch_execute("COMMIT; SELECT pg_advisory_unlock_all()").await.unwrap();
                reader.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
            };
            let ((ended, report), ()) = tokio::join!(run, others);
            assert_eq!(ended.outcome(), Outcome::Succeeded, "{wanted}: {report:#?}");
            assert_eq!(attached(&db).await, ["events_5", "events_6"]);
            db.execute("DROP TABLE events_1").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_look_it_waits_no_longer_than_for_a_lock() {
    on_each_major(async |db| {
        let role = format!("lone_{}", db.name());
        db.execute(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 1; {}", events(1..=6))).await;
        db.execute(&format!("ALTER TABLE events OWNER TO {role}; GRANT CREATE, USAGE ON SCHEMA public TO {role}; CREATE SCHEMA pgtend")).await;
        db.execute(SCHEMA).await;
        db.execute(&format!("GRANT USAGE ON SCHEMA pgtend TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA pgtend TO {role}; DO $$ DECLARE t text; BEGIN FOR t IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'events'::regclass LOOP EXECUTE format('ALTER TABLE %s OWNER TO {role}', t); END LOOP; END $$")).await;
        let open = db.client().await;
        open.batch_execute(&format!("BEGIN; {READ}")).await.unwrap();
        let once = job_as(&db, &role, TABLES, Duration::from_secs(3_600));
        let plan = once.kind.plan(&once.cx).await.unwrap();
        let Applied::Locked(by) = once.kind.apply(&once.cx, &plan.actions[0]).await.unwrap() else { panic!("{open:?}") };
        assert!(by.contains("it could not be seen whether others wait for it"), "{by}");
        assert!(by.contains(&pid(&open).await), "{by}");
        drop((plan, once));
        open.batch_execute("COMMIT").await.unwrap();
        // It may have one connection, and the server has yet to see the end of the last.
        let sessions = format!("pg_stat_activity WHERE usename = '{role}'");
        wait_until("the role's last session to end", async || db.count(&sessions).await == 0).await;
        let (ended, report) = job_as(&db, &role, TABLES, Duration::from_secs(30)).run().await;
        assert_eq!((ended.outcome(), attached(&db).await.len()), (Outcome::Succeeded, 2), "{report:#?}");
        // Nobody saw who began it: it is nobody's to drop.
        assert!(report.warnings[0].contains("left as a table of its own; to drop it: DROP TABLE"), "{report:#?}");
        assert_eq!(tables(&db, "events\\_1").await, ["public.events_1"]);
    })
    .await;
}
