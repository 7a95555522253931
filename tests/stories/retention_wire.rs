//! The wire to the server is cut at the first message of a run, some messages later, and so on, until a run comes through
//! whole. Whatever was lost, a message or the answer to it: each row is in one place, and the next run finishes.

use crate::support::{Cluster, Cut, Database, Pgtend, Proxy, majors_for_long, newest_major, wait_until};

const ROWS: i64 = 30;

/// A log of old rows, a summary, an archive, and a table of months, each with as many rows.
async fn prepare(db: &Database, keys: &str) {
    db.execute(
        "DROP SCHEMA IF EXISTS archive CASCADE; DROP TABLE IF EXISTS results, runs, months, months_1, log, sums",
    )
    .await;
    db.execute(&format!(
        "CREATE SCHEMA archive;
         CREATE TABLE log (id bigint PRIMARY KEY, kind text, created_at timestamptz);
         INSERT INTO log SELECT n, 'k' || n % 3, '2026-01-01Z'::timestamptz + n * interval '1 hour' FROM generate_series(1, {ROWS}) n;
         CREATE TABLE sums (day date, kind text, n int NOT NULL, UNIQUE (day, kind));
         CREATE TABLE months (id bigint, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE months_1 PARTITION OF months FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
         CREATE TABLE months_2 PARTITION OF months FOR VALUES FROM ('2026-02-01Z') TO ('2099-01-01Z');
         INSERT INTO months SELECT id, created_at FROM log; INSERT INTO months SELECT id, now() FROM log; {keys}"
    ))
    .await;
}

/// How many of the old rows are somewhere, and how many of them are where they should end.
type Places = (i64, i64);

async fn cut_everywhere(job: &str, extra: &str, places: impl AsyncFn(&Database) -> Places) {
    let jobs = format!("[jobs.old]\ntimeout = '1m'\n{job}");
    for major in majors_for_long() {
        // Each takes a while, since a run tries for some time to reach a server that is gone: a sample of them.
        let step = if major == newest_major() { 9 } else { 35 };
        let db = Cluster::shared(major).database().await;
        let mut at = 1;
        loop {
            prepare(&db, extra).await;
            let cut = Cut { at, heard: at % 2 == 0 };
            let proxy = Proxy::before(&db, cut);
            let program = Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{jobs}", proxy.url()));
            let first = program.run(["run", "old"]).await;
            let came_through = !proxy.has_cut();
            drop(proxy);
            wait_until("the sessions to be gone", async || db.backends("pgtend%").await.is_empty()).await;
            let (somewhere, _) = places(&db).await;
            assert_eq!(somewhere, ROWS, "{cut:?} on {major}: a row was lost or doubled; {first:?}");
            Pgtend::tending(&db, &jobs).run(["run", "old"]).await.exits(0);
            assert_eq!(places(&db).await, (ROWS, ROWS), "{cut:?} on {major}: after the second run");
            if came_through {
                break;
            }
            at += step;
        }
        assert!(at > 20, "a run has more messages than {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_rows_are_in_one_of_the_two_tables_wherever_it_is_cut() {
    let job = "[jobs.old.retention]\ntables = [{ table = 'log', keep = '1 month', column = 'created_at', action = 'archive', to = 'archive.log' }]\nbatch = { rows = 10, pause = '0s' }\n";
    cut_everywhere(job, "", async |db| {
        let made = db.scalar::<bool>("SELECT to_regclass('archive.log') IS NOT NULL").await;
        let archived = if made { db.count("archive.log").await } else { 0 };
        (db.count("log").await + archived, archived)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn summarized_rows_are_in_the_log_or_counted_wherever_it_is_cut() {
    let job = "[jobs.old.summarize]\ntable = 'log'\ninto = 'sums'\nolder_than = '30 days'\ntime = 'created_at'\ndate = 'day'\nby = ['kind']\ncount = 'n'\nbatch = { rows = 10, pause = '0s' }\n";
    cut_everywhere(job, "", async |db| {
        let counted = db.scalar::<i64>("SELECT coalesce(sum(n), 0)::bigint FROM sums").await;
        (db.count("log").await + counted, counted)
    })
    .await;
}

/// The rows of a partition are dropped as a whole or not at all, and those of the other are never touched. Cut between a
/// DETACH and its answer, nobody can tell whose it was: then the table stays, with a mark that says no more than what was
/// meant.
async fn partitions(db: &Database) -> Places {
    let young = db.count("months_2").await;
    let there = db.scalar::<bool>("SELECT to_regclass('months_1') IS NOT NULL").await;
    let old = if there { db.count("months_1").await } else { ROWS };
    let in_doubt = "SELECT EXISTS (SELECT FROM pg_class c WHERE relname = 'months_1' AND NOT relispartition AND obj_description(c.oid, 'pg_class') LIKE 'pgtend: to be dropped%\"bound\"%' AND obj_description(c.oid, 'pg_class') NOT LIKE '%\"begun\":true%')";
    let ended = !there || db.scalar::<bool>(in_doubt).await;
    (if old == ROWS { young } else { 0 }, if ended { young } else { 0 })
}

const MONTHS: &str = "[jobs.old.retention]\ntables = [{ table = 'months', keep = '1 month' }]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_goes_concurrently_goes_whole_wherever_it_is_cut() {
    cut_everywhere(MONTHS, "", partitions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_others_could_refer_to_goes_whole_wherever_it_is_cut() {
    let extra = "CREATE TABLE results (id bigint, at timestamptz, FOREIGN KEY (id, at) REFERENCES months);";
    cut_everywhere(MONTHS, extra, partitions).await;
}
