//! Somebody detaches a partition by hand, to keep it, in the moment that retention has it in hand: it is never dropped,
//! whatever mark of ours is on it.

use serde_json::Value;

use super::dying::{killed, past, tending};
use super::*;
use crate::support::{Pgtend, on_each_major};

const BY_HAND: &str = "ALTER TABLE events DETACH PARTITION events_1";

async fn run(program: &Pgtend) -> Value {
    program.run(["run", "retention", "--json"]).await.exits(0).json().pop().expect("a record")
}

/// One run is enough to see what becomes of it, two to see that it stays so.
async fn stays(db: &Database, program: &Pgtend) -> Value {
    let record = run(program).await;
    run(program).await;
    assert_eq!((tables(db, "events\\_1").await, db.count("events_1").await), (vec!["public.events_1".to_owned()], 1));
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_somebody_detaches_between_our_mark_and_our_detach_is_theirs() {
    on_each_major(async |db| {
        db.execute(&past()).await;
        let (program, hold) = tending(&db, "").holding("retention.marked");
        let process = program.start(["run", "retention", "--json"]);
        hold.reached().await;
        db.execute(BY_HAND).await;
        hold.go_on();
        let record = process.wait().await.exits(0).json().pop().unwrap();
        let warnings = record["details"]["warnings"].to_string();
        assert!(warnings.contains("public.events_1: it stays, since somebody else has detached it"), "{record}");
        assert_eq!(comment(&db, "events_1").await.unwrap(), "month 1", "our mark is off it");
        stays(&db, &program.env("PGTEND_TESTPOINTS", "")).await;
    })
    .await;
}

/// Theirs is interrupted and pending; ours cannot begin.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_somebody_begins_to_detach_concurrently_is_finished_and_kept() {
    on_each_major(async |db| {
        db.execute(&past()).await;
        let (program, hold) = tending(&db, "").holding("retention.marked");
        let process = program.start(["run", "retention", "--json"]);
        hold.reached().await;
        let (reader, hand) = (db.client().await, db.client().await);
        reader.batch_execute("BEGIN; SELECT FROM events").await.unwrap();
        hand.batch_execute("SET lock_timeout = '50ms'").await.unwrap();
        assert!(hand.batch_execute(&format!("{BY_HAND} CONCURRENTLY")).await.is_err());
        reader.batch_execute("COMMIT").await.unwrap();
        hold.go_on();
        let record = process.wait().await.exits(0).json().pop().unwrap();
        assert!(record["details"]["warnings"].to_string().contains("left as a table of its own"), "{record}");
        assert!(comment(&db, "events_1").await.unwrap().starts_with("month 1\n\nWas a partition of public.events"));
        stays(&db, &program.env("PGTEND_TESTPOINTS", "")).await;
    })
    .await;
}

/// The next run finds a table with our mark, and cannot tell who has detached it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_detached_by_hand_after_a_run_was_killed_is_left_and_told() {
    on_each_major(async |db| {
        for how in ["", " CONCURRENTLY"] {
            db.execute(&past()).await;
            let program = killed(&db, tending(&db, ""), "retention.marked").await;
            db.execute(&format!("{BY_HAND}{how}")).await;
            let warnings = stays(&db, &program).await["details"]["warnings"].to_string();
            for said in
                ["public.events_1", "is left as it is", "to keep it: COMMENT ON TABLE", "to drop it: DROP TABLE"]
            {
                assert!(warnings.contains(said), "{said}: {warnings}");
            }
            // Its comment taken off, it is nobody's business any more.
            db.execute("COMMENT ON TABLE events_1 IS NULL").await;
            let record = stays(&db, &program).await;
            assert!(!record["details"].to_string().contains("events_1"), "{record}");
            db.execute("DROP TABLE events_1").await;
        }
    })
    .await;
}

/// Between the detach and the word that it was ours there is but a moment. What is killed there is not dropped; it is told.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_it_could_say_so_even_ours_is_left_and_told() {
    on_each_major(async |db| {
        db.execute(&past()).await;
        let program = killed(&db, tending(&db, ""), "retention.unsaid").await;
        let record = stays(&db, &program).await;
        assert!(record["details"]["warnings"].to_string().contains("cannot be told"), "{record}");
    })
    .await;
}
