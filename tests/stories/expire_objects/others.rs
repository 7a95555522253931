//! Other rows with the same object, and others at work on the same rows.

use super::*;
use crate::support::s3::{Fault, Harm, Op};
use crate::support::{on_each_major, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_another_row_has_stays_and_goes_with_the_last_of_them() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!("{ARTIFACTS}{index} ALTER TABLE artifacts ALTER storage_key TYPE varchar(500);")).await;
            let server = S3Server::start();
            let endpoint = server.endpoint();
            // What lives names the objects in other ways than what ended.
            db.execute(&format!(
                "INSERT INTO artifacts VALUES (1, 's3://backups/pg/same', now() - interval '1 day'), (2, 's3://backups/pg/same', NULL),
                 (3, 'pg/by url', now() - interval '1 day'), (4, '{endpoint}/backups/pg/by%20url', now() + interval '1 day'),
                 (5, '{endpoint}/backups/pg/plain', now() - interval '1 day'), (6, 'pg/plain', NULL),
                 (7, 's3://backups/pg/both', now() - interval '1 day'), (8, 'pg/both', now() - interval '2 days'),
                 (9, 'pg/Both', NULL), (10, 'pg/case', now() - interval '1 day'), (11, 'pg/CASE', NULL)"
            ))
            .await;
            for key in ["same", "by url", "plain", "both", "Both", "case", "CASE"] {
                server.plant(&format!("pg/{key}"), b"x");
            }
            let program = tending(&db, &server, &tables());
            let record = run(&program, 0).await;
            assert_eq!(record["details"]["rows_deleted"], 6, "{record}");
            assert_eq!(record["details"]["objects_deleted"], 2, "{record}");
            assert_eq!(record["details"]["objects_kept"], 3, "{record}");
            assert_eq!(rows(&db).await, [2, 4, 6, 9, 11]);
            let left: Vec<_> = objects(&server).into_iter().collect();
            assert_eq!(left, ["pg/Both", "pg/CASE", "pg/by url", "pg/plain", "pg/same"]);
            db.execute("UPDATE artifacts SET expires_at = now() - interval '1 hour'").await;
            run(&program, 0).await;
            assert_eq!((rows(&db).await.len(), objects(&server).len()), (0, 0));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_in_another_partition_keeps_an_object_too() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE artifacts (id int, kind text, storage_key text, expires_at timestamptz) PARTITION BY LIST (kind);
             CREATE TABLE artifacts_log PARTITION OF artifacts FOR VALUES IN ('log');
             CREATE TABLE artifacts_patch PARTITION OF artifacts FOR VALUES IN ('patch');
             INSERT INTO artifacts VALUES (1, 'log', 'pg/1', now() - interval '1 day'), (2, 'patch', 'pg/1', NULL),
                 (3, 'log', 'pg/3', now() - interval '1 day'), (4, 'patch', 'pg/3', now() - interval '1 day')",
        )
        .await;
        let server = S3Server::start();
        server.plant("pg/1", b"x");
        server.plant("pg/3", b"x");
        let record = run(&tending(&db, &server, &tables()), 0).await;
        assert_eq!((rows(&db).await, objects(&server)), (vec![2], ["pg/1".to_owned()].into()), "{record}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_renewed_before_its_turn_keeps_its_object() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!("{ARTIFACTS}{index}")).await;
            let server = S3Server::start();
            ended(&db, &server, 20).await;
            let application = db.client().await;
            application
                .batch_execute("BEGIN; UPDATE artifacts SET expires_at = now() + interval '1 day' WHERE id = 7")
                .await
                .unwrap();
            let program = tending(&db, &server, &tables());
            let running = program.start(["run", "artifacts", "--json"]);
            running.wait_until("the others to be gone", async || db.count("artifacts").await == 1).await;
            application.batch_execute("COMMIT").await.unwrap();
            let record = running.wait().await.exits(0).json().remove(0);
            assert_eq!((rows(&db).await, objects(&server)), (vec![7], ["pg/7".to_owned()].into()), "{record}");
        }
    })
    .await;
}

/// Whoever renews a row while its object is being deleted waits, and finds a row with its object, or none.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_renewed_while_its_object_goes_is_gone_with_it_or_has_it_still() {
    on_each_major(async |db| {
        for fails in [false, true] {
            db.execute(ARTIFACTS).await;
            let server = S3Server::start();
            ended(&db, &server, 2).await;
            if fails {
                // One of the two, so that the deletion of rows is taken back and done again for the other.
                server.fail(Fault::new(Op::Delete, Harm::Refuse(403, "AccessDenied")));
            }
            let (program, hold) = tending(&db, &server, &tables()).holding("objects.removed");
            let running = program.start(["run", "artifacts", "--json"]);
            hold.reached().await;
            let renewing = async {
                let client = db.client().await;
                client.execute("UPDATE artifacts SET expires_at = now() + interval '1 day'", &[]).await.unwrap()
            };
            let letting_go = async {
                wait_until("the application to wait", async || {
                    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                                 AND application_name = 'story' AND wait_event_type = 'Lock'";
                    db.scalar::<i64>(waits).await == 1
                })
                .await;
                hold.go_on();
                running.wait().await
            };
            let (renewed, output) = tokio::join!(renewing, letting_go);
            let record = output.exits(i32::from(fails)).json().remove(0);
            assert_eq!(renewed, u64::from(fails), "{record}");
            let left: BTreeSet<String> = rows(&db).await.into_iter().map(|id| format!("pg/{id}")).collect();
            assert_eq!((left.len(), &left), (usize::from(fails), &objects(&server)), "{record}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_keeps_locked_keeps_its_object_and_is_told() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let server = S3Server::start();
        ended(&db, &server, 5).await;
        let application = db.client().await;
        application.batch_execute("BEGIN; SELECT FROM artifacts WHERE id = 3 FOR SHARE").await.unwrap();
        let program =
            Pgtend::tending(&db, &format!("{}{}", server.config("offsite"), job(&tables()).replace("60s", "4s")));
        let program = server.env().into_iter().fold(program, |program, (name, value)| program.env(name, value));
        let record = run(&program, 1).await;
        assert_eq!(record["outcome"], "timed_out", "{record}");
        assert!(record["details"]["lock_timeouts"].as_u64() > Some(0), "{record}");
        assert_eq!((rows(&db).await, objects(&server)), (vec![3], ["pg/3".to_owned()].into()), "{record}");
    })
    .await;
}

/// A URL may be written in many ways, and nobody can look for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_stays_that_another_row_has_under_a_url_of_another_spelling() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let server = S3Server::start();
        let endpoint = server.endpoint();
        let odd = endpoint.replace("http://", "HTTP://");
        db.execute(&format!(
            "INSERT INTO artifacts VALUES (1, 'pg/scheme', now() - interval '1 day'), (2, '{odd}/backups/pg/scheme', NULL),
             (3, '{endpoint}/backups/pg/a%20b', now() - interval '1 day'), (4, '{endpoint}/backups/%70g/a%20b', NULL),
             (5, 's3://backups/pg/x~y', now() - interval '1 day'), (6, '{endpoint}/backups/pg/x%7ey', NULL),
             (7, 'pg/x!(z)', now() - interval '1 day'), (8, '{endpoint}/backups/pg/x%21(z)', NULL),
             (11, 'pg/{{x', now() - interval '1 day'), (12, '{endpoint}/backups/pg/{{x', NULL),
             (9, 'pg/free', now() - interval '1 day'), (10, '{endpoint}/backups/pg/%66ree/not', NULL)"
        ))
        .await;
        for key in ["scheme", "a b", "x~y", "x!(z)", "{x", "free"] {
            server.plant(&format!("pg/{key}"), b"x");
        }
        let program = tending(&db, &server, &tables());
        let record = run(&program, 0).await;
        assert_eq!((&record["details"]["rows_deleted"], &record["details"]["objects_kept"]), (&6.into(), &5.into()), "{record}");
        let left: Vec<_> = objects(&server).into_iter().collect();
        assert_eq!(left, ["pg/a b", "pg/scheme", "pg/x!(z)", "pg/x~y", "pg/{x"]);
        // Such a row is not understood itself, and stays with its object.
        db.execute("UPDATE artifacts SET expires_at = now() - interval '1 hour'").await;
        let record = run(&program, 1).await;
        assert!(record["error"].as_str().unwrap().contains("not written as URLs usually are"), "{record}");
        assert_eq!((rows(&db).await, objects(&server).len()), (vec![2, 4, 6, 8, 10, 12], 5));
        assert!(program.run(["check"]).await.exits(0).stdout.contains("not written as URLs usually are"));
    })
    .await;
}
