//! Whatever ends a run, wherever: there may be a row without its object, and never an object without a row; and the next
//! run finishes.

use super::*;
use crate::support::s3::{Fault, Harm, Op};
use crate::support::{on_each_major, wait_until};

async fn gone(db: &Database) {
    wait_until("its sessions to be gone", async || db.backends("pgtend/artifacts%").await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_at_any_step_leaves_no_object_without_its_row() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            // After the first batch of five, or in it: rows and objects that are left.
            for (point, left, stored) in [
                ("batch.begins", 12, 12),
                ("objects.claimed", 12, 12),
                ("objects.removed", 12, 7),
                ("batch.committed", 7, 7),
            ] {
                db.execute(&format!("{ARTIFACTS}{index}")).await;
                let server = S3Server::start();
                ended(&db, &server, 12).await;
                let keys = format!("{}\nbatch = {{ rows = 5, target = '20s' }}", tables());
                let (program, hold) = tending(&db, &server, &keys).holding(point);
                let killed = program.start(["run", "artifacts"]);
                hold.reached().await;
                drop(killed);
                gone(&db).await;
                assert_eq!((rows(&db).await.len(), objects(&server).len()), (left, stored), "at {point}");
                no_object_is_left_behind(&db, &server).await;
                let record = run(&tending(&db, &server, &keys), 0).await;
                assert_eq!(record["details"]["rows_deleted"], left, "after {point}: {record}");
                assert_eq!((rows(&db).await.len(), objects(&server).len()), (0, 0), "after {point}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_while_objects_go_loses_no_row_and_the_run_goes_on() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let server = S3Server::start();
        ended(&db, &server, 12).await;
        let (program, hold) = tending(&db, &server, &tables()).holding("objects.removed");
        let running = program.start(["run", "artifacts", "--json"]);
        hold.reached().await;
        assert_eq!(db.terminate("pgtend/artifacts").await, 1);
        wait_until("the rows to be free", async || {
            db.scalar::<i64>("SELECT count(*) FROM (SELECT FROM artifacts FOR UPDATE SKIP LOCKED) free").await == 12
        })
        .await;
        hold.go_on();
        let record = running.wait().await.exits(0).json().remove(0);
        assert_eq!(record["details"]["rows_deleted"], 12, "{record}");
        assert_eq!((rows(&db).await.len(), objects(&server).len()), (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_more_than_what_is_on_its_way_to_the_store() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let server = S3Server::start();
        ended(&db, &server, 40).await;
        // Without an answer, so that the stop comes while they are waited for.
        server.fail(Fault::new(Op::Delete, Harm::Stall).always());
        let keys = format!("{}\nbatch = {{ rows = 20, target = '20s' }}", tables());
        let program = tending(&db, &server, &keys);
        let running = program.start(["run", "artifacts", "--json"]);
        wait_until("the store to be asked", async || server.asked(Op::Delete) > 0).await;
        running.signal(libc::SIGTERM);
        let record = running.wait().await.json().remove(0);
        assert_eq!(record["outcome"], "cancelled", "{record}");
        assert!(server.asked(Op::Delete) <= 8, "no other is begun");
        assert_eq!((rows(&db).await.len(), objects(&server).len()), (40, 40));
        server.heal();
        assert_eq!(run(&tending(&db, &server, &keys), 0).await["details"]["rows_deleted"], 40);
        assert_eq!(objects(&server).len(), 0);
    })
    .await;
}
