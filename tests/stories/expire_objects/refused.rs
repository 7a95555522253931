//! Objects that cannot be deleted, or must not be: their rows stay, and the run says so.

use super::*;
use crate::support::s3::{Fault, Harm, Op};
use crate::support::{on_each_major, on_newest_or_all};

#[tokio::test(flavor = "multi_thread")]
async fn addresses_outside_the_store_are_never_touched() {
    let foreign = [
        "s3://other/pg/1",
        "s3://backups/permanent/1",
        "s3://backups/pg",
        "s3://backups/pg/",
        "s3://backups/pg/../permanent/1",
        "s3://backups/pg/a%20b",
        "https://evil.example/backups/pg/1",
        "https://backups.s3.amazonaws.com/pg/1",
        "gs://backups/pg/1",
        "permanent/1",
        "/pg/1",
        "arn:aws:s3:::backups/pg/1",
        "  s3://backups/pg/1",
    ];
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!("{ARTIFACTS}{index}")).await;
            let server = S3Server::start();
            for key in ["permanent/1", "pg", "pg/a b", "pg/a%20b", "pg/1", "pg/good"] {
                server.plant(key, b"x");
            }
            let before = objects(&server);
            let client = db.client().await;
            for (n, address) in (1_i32..).zip(foreign) {
                let insert = "INSERT INTO artifacts VALUES ($1, $2, now() - interval '1 day')";
                client.execute(insert, &[&n, &address]).await.unwrap();
            }
            let program = tending(&db, &server, &tables());
            let record = run(&program, 1).await;
            assert_eq!(record["outcome"], "failed", "nothing was done: {record}");
            assert!(failure(&record).contains("13 rows stay, since the objects they name are not to be touched, such as"));
            assert_eq!(record["details"]["objects_failed"], 13, "{record}");
            assert_eq!((server.asked_at_all(), objects(&server)), (0, before.clone()));

            // They are in nobody's way.
            db.execute("INSERT INTO artifacts VALUES (100, 'pg/good', now() - interval '1 day'), (101, NULL, now() - interval '9 days')")
                .await;
            let record = run(&program, 1).await;
            assert_eq!(record["outcome"], "partial", "{record}");
            assert_eq!((&record["details"]["rows_deleted"], rows(&db).await.len()), (&2.into(), 13), "{record}");
            assert_eq!(before.difference(&objects(&server)).collect::<Vec<_>>(), ["pg/good"]);
            let plan = program.run(["plan"]).await.exits(0).stdout;
            assert!(plan.contains("13 of 13 rows that are due name objects that are not to be touched"), "{plan}");
        }
    })
    .await;
}

/// More than a batch of them, all of one time.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_stay_hide_no_others() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!(
                "{ARTIFACTS}{index} INSERT INTO artifacts SELECT n, 's3://' || CASE n % 4 WHEN 0 THEN 'backups/pg/' ELSE 'other/' END || n,
                 '2020-01-01Z'::timestamptz + n / 100 * interval '1 s' FROM generate_series(1, 400) n"
            ))
            .await;
            let server = S3Server::start();
            let record = run(&tending(&db, &server, &format!("{}\nbatch = {{ rows = 9 }}", tables())), 1).await;
            assert_eq!(record["outcome"], "partial", "{record}");
            assert_eq!((&record["details"]["rows_deleted"], &record["details"]["objects_failed"]), (&100.into(), &300.into()));
            assert!(failure(&record).contains("300 rows stay, since the objects they name"), "{record}");
            assert_eq!(db.count("artifacts WHERE storage_key LIKE 's3://backups/%'").await, 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_object_the_store_does_not_let_go_stays_until_it_does() {
    on_each_major(async |db| {
        for (harm, says) in [
            (Harm::Refuse(403, "AccessDenied"), "let these credentials do s3:DeleteObject there"),
            (Harm::Refuse(403, "ObjectLocked"), "ObjectLocked"),
            (Harm::Refuse(405, "MethodNotAllowed"), "HTTP 405"),
            (Harm::Refuse(404, "NoSuchBucket"), "make the bucket"),
            // Of somebody who knows nothing of objects.
            (Harm::Refuse(404, "NotFound"), "HTTP 404"),
        ] {
            db.execute(ARTIFACTS).await;
            let server = S3Server::start();
            ended(&db, &server, 6).await;
            server.fail(Fault::new(Op::Delete, harm).times(2));
            let program = tending(&db, &server, &tables());
            let record = run(&program, 1).await;
            assert_eq!(record["outcome"], "partial", "{record}");
            let said = failure(&record);
            assert!(
                said.contains("2 rows stay, since their objects could not be deleted, such as \"s3://backups/pg/"),
                "{said}"
            );
            assert!(said.contains("store offsite: ") && said.contains(says), "{said}");
            let counts =
                ["rows_deleted", "objects_deleted", "objects_failed"].map(|name| record["details"][name].as_u64());
            assert_eq!(counts, [Some(4), Some(4), Some(2)], "{record}");
            let left: BTreeSet<String> = rows(&db).await.into_iter().map(|id| format!("pg/{id}")).collect();
            assert_eq!((left.len(), left), (2, objects(&server)));
            assert_eq!(run(&program, 0).await["details"]["rows_deleted"], 2);
            assert_eq!(objects(&server).len(), 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_now_and_then_is_asked_again() {
    on_each_major(async |db| {
        for harm in [Harm::Refuse(503, "SlowDown"), Harm::Reset, Harm::LoseAnswer] {
            db.execute(ARTIFACTS).await;
            let server = S3Server::start();
            ended(&db, &server, 4).await;
            server.fail(Fault::new(Op::Delete, harm).times(2));
            let record = run(&tending(&db, &server, &tables()), 0).await;
            assert_eq!((rows(&db).await.len(), objects(&server).len()), (0, 0), "{record}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_left_alone_and_nothing_is_lost() {
    on_newest_or_all(async |db| {
        for index in ["", NO_INDEX] {
            for (harm, says) in [
                (Harm::Stall, "it did not answer within"),
                (Harm::Refuse(500, "InternalError"), "InternalError"),
                (Harm::Reset, "DeleteObject s3://backups/pg/"),
            ] {
                db.execute(&format!(
                    "{ARTIFACTS}{index} INSERT INTO artifacts VALUES (0, NULL, now() - interval '9 days');"
                ))
                .await;
                let server = S3Server::start();
                ended(&db, &server, 200).await;
                server.fail(Fault::new(Op::Delete, harm).always());
                let program = tending(&db, &server, &tables()).env("PGTEND_HURRY", "3");
                let record = run(&program, 1).await;
                // The row without an object may have gone with the first batch.
                assert!(["partial", "failed"].contains(&record["outcome"].as_str().unwrap()), "{record}");
                let said = failure(&record);
                assert!(said.contains(says) && said.contains("left alone until the next run"), "{said}");
                assert!(server.asked(Op::Delete) < 200, "asked {} times", server.asked(Op::Delete));
                assert_eq!((db.count("artifacts WHERE id > 0").await, objects(&server).len()), (200, 200));
                server.heal();
                run(&program, 0).await;
                assert_eq!((rows(&db).await.len(), objects(&server).len()), (0, 0));
            }
        }
    })
    .await;
}

/// The database says no before the store is asked.
#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_row_keeps_its_object() {
    on_each_major(async |db| {
        for (what, says) in [
            (
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id = 2 THEN RETURN NULL; END IF; RETURN OLD; END $$;
                 CREATE TRIGGER keep BEFORE DELETE ON artifacts FOR EACH ROW EXECUTE FUNCTION keep();",
                "a BEFORE DELETE trigger kept them",
            ),
            (
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept by law'; END $$;
                 CREATE CONSTRAINT TRIGGER keep AFTER DELETE ON artifacts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.id = 2)
                 EXECUTE FUNCTION keep();",
                "kept by law",
            ),
        ] {
            let db = db.cluster().database().await;
            db.execute(&format!("{ARTIFACTS}{what}")).await;
            let server = S3Server::start();
            ended(&db, &server, 3).await;
            let record = run(&tending(&db, &server, &tables()), 1).await;
            assert!(failure(&record).contains(says), "{record}");
            assert!(objects(&server).contains("pg/2"), "{record}");
            let left: BTreeSet<String> = rows(&db).await.into_iter().map(|id| format!("pg/{id}")).collect();
            assert_eq!(left, objects(&server), "{record}");
        }
    })
    .await;
}
