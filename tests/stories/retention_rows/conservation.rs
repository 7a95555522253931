//! Whatever happens meanwhile, and wherever a run ends: each row is in the log or in the archive, once.

use super::*;
use crate::support::wait_until;

const IN_BATCHES: &str = "batch = { rows = 100, pause = '0s' }\n";

/// Rows that are all old, of many days.
async fn prepare(db: &Database, rows: u32, index: bool) {
    db.execute("DROP SCHEMA IF EXISTS archive CASCADE; DROP TABLE IF EXISTS log").await;
    db.execute(&log(0)).await;
    db.execute(&format!(
        "INSERT INTO log (kind, size, created_at)
             SELECT 'note', n, now() - interval '40 days' - n % 977 * interval '1 hour' FROM generate_series(1, {rows}) n"
    ))
    .await;
    if !index {
        db.execute("DROP INDEX log_created_at").await;
    }
}

/// Every id ever given out is in exactly one of the two places.
async fn once(db: &Database, rows: i64) {
    let both = "(SELECT id FROM log UNION ALL SELECT id FROM archive.log) AS both_places";
    assert_eq!(db.count(both).await, rows);
    assert_eq!(db.scalar::<i64>(&format!("SELECT count(DISTINCT id) FROM {both}")).await, rows);
}

async fn gone(db: &Database) {
    wait_until("the killed run's sessions to be gone", async || db.backends("pgtend/old%").await.is_empty()).await;
}

fn archiving() -> String {
    format!("{}{IN_BATCHES}", keeping(TO_ARCHIVE))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_at_any_step_has_moved_each_row_once_and_the_next_finishes() {
    on_each_major(async |db| {
        for (point, index, first) in [
            ("retention.rows", true, 0),
            ("archive.created", true, 0),
            ("batch.begins", true, 0),
            ("batch.committed", true, 100),
            ("batch.committed", false, 100),
        ] {
            prepare(&db, 1_000, index).await;
            let (program, hold) = Pgtend::tending(&db, &archiving()).holding(point);
            let killed = program.start(["run", "old"]);
            hold.reached().await;
            drop(killed);
            gone(&db).await;
            assert_eq!(places(&db).await, (1_000 - first, first), "at {point}");
            let record = run(&Pgtend::tending(&db, &archiving()), 0).await;
            assert_eq!(record["details"]["rows_archived"], 1_000 - first, "after {point}");
            once(&db, 1_000).await;
            assert_eq!(places(&db).await, (0, 1_000));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_between_two_batches_is_replaced() {
    on_each_major(async |db| {
        prepare(&db, 1_000, true).await;
        let (program, hold) = Pgtend::tending(&db, &archiving()).holding("batch.committed");
        let running = program.start(["run", "old", "--json"]);
        hold.reached().await;
        assert!(db.terminate("pgtend/old").await > 0);
        hold.go_on();
        assert_eq!(running.wait().await.exits(0).json()[0]["details"]["rows_archived"], 1_000);
        once(&db, 1_000).await;
    })
    .await;
}

/// Several sessions write old and young rows, and make old ones young, while the job runs again and again in three
/// processes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_beside_writers_and_other_runs() {
    on_each_major(async |db| {
        prepare(&db, 2_000, true).await;
        let jobs = format!(
            "{}{}",
            archiving(),
            // The same table by another job: the lock of a job does not keep it away.
            archiving().replace("jobs.old", "jobs.also")
        );
        let program = Pgtend::tending(&db, &jobs);
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let db = db.clone();
                #[expect(clippy::disallowed_methods, reason = "it is waited for below")]
                tokio::spawn(async move {
                    let client = db.client().await;
                    let mut young = 0_i64;
                    for round in 0..60 {
                        let insert = format!(
                            "INSERT INTO log (kind, size, created_at) VALUES ('note', {round}, now() - interval '50 days'),
                                 ('note', {round}, now())"
                        );
                        client.batch_execute(&insert).await.unwrap();
                        let update = format!(
                            "UPDATE log SET created_at = now(), note = 'extended'
                             WHERE id = (SELECT id FROM log WHERE note <> 'extended' AND created_at < now() - interval '30 days'
                                         ORDER BY id DESC OFFSET {writer} LIMIT 1)
               AND note <> 'extended'"
                        );
                        young += i64::try_from(client.execute(&update, &[]).await.unwrap()).unwrap();
                    }
                    young
                })
            })
            .collect();
        let (first, second, third) = tokio::join!(
            program.run(["run", "old"]),
            program.run(["run", "also"]),
            program.run(["run", "old"]),
        );
        // The third finds the lock held, or has nothing left to do.
        assert!([first.code(), second.code(), third.code()].iter().all(|code| [0, 3].contains(code)));
        let mut young = 0;
        for writer in writers {
            young += writer.await.unwrap();
        }
        once(&db, 2_000 + 3 * 60 * 2).await;
        run(&program, 0).await;
        once(&db, 2_000 + 3 * 60 * 2).await;
        assert_eq!(db.count("log WHERE note = 'extended'").await, young, "a row made young has stayed");
        assert_eq!(db.count("archive.log WHERE note = 'extended'").await, 0);
        assert_eq!(db.count("log WHERE created_at < now() - interval '30 days'").await, 0);
    })
    .await;
}

/// A row is made young while the batch that found it old waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_made_young_while_its_batch_waits_stays() {
    on_each_major(async |db| {
        prepare(&db, 200, true).await;
        let mut application = db.client().await;
        let change = application.transaction().await.unwrap();
        change.batch_execute("UPDATE log SET created_at = now() WHERE id = 7").await.unwrap();
        let program = Pgtend::tending(&db, &archiving().replace("timeout", "lock_timeout = '10s'\ntimeout"));
        let running = program.start(["run", "old", "--json"]);
        wait_until("all others to have moved", async || places(&db).await == (1, 199) || places(&db).await == (2, 199))
            .await;
        change.commit().await.unwrap();
        assert_eq!(running.wait().await.exits(0).json()[0]["details"]["rows_archived"], 199);
        assert_eq!(db.column::<i64>("SELECT id FROM log").await, [7]);
        once(&db, 200).await;
    })
    .await;
}
