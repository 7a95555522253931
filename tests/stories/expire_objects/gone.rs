//! What goes, and what that is told like.

use super::*;
use crate::support::moto::Moto;
use crate::support::s3::Op;
use crate::support::{Cluster, newest_major, on_each_major, on_newest_or_all};
use pgtend::store::Key;

/// Keys that are odd, and the address of each; `{}` is the endpoint.
const ODD: &[(&str, &str)] = &[
    ("pg/a b.txt", "s3://backups/pg/a b.txt"),
    ("pg/what?why#how", "s3://backups/pg/what?why#how"),
    ("pg/100%", "pg/100%"),
    ("pg/a+b&c=d", "pg/a+b&c=d"),
    ("pg//two", "s3://backups/pg//two"),
    ("pg/Ωμέγα 😀", "{}/backups/pg/%CE%A9%CE%BC%CE%AD%CE%B3%CE%B1%20%F0%9F%98%80"),
    ("pg/plus+plus", "{}/backups/pg/plus%2Bplus"),
    ("pg/twice%20", "{}/backups/pg/twice%2520"),
    ("pg/it's \"quoted\"", "pg/it's \"quoted\""),
    ("pg/new\nline", "pg/new\nline"),
    ("pg/.hidden/x", "pg/.hidden/x"),
];

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_with_their_objects_whatever_those_are_called() {
    on_each_major(async |db| {
        for index in ["", NO_INDEX] {
            db.execute(&format!("{ARTIFACTS}{index}")).await;
            let server = S3Server::start();
            let client = db.client().await;
            for (n, (key, address)) in (1_i32..).zip(ODD) {
                server.plant(key, b"odd");
                let address = address.replace("{}", &server.endpoint());
                let insert = "INSERT INTO artifacts VALUES ($1, $2, now() - interval '1 day')";
                client.execute(insert, &[&n, &address]).await.unwrap();
            }
            db.execute(
                "INSERT INTO artifacts VALUES (101, NULL, now() - interval '1 day'), (102, '', now() - interval '1 day'),
                 (103, 's3://backups/pg/gone already', now() - interval '1 day'),
                 (201, 's3://backups/pg/later', now() + interval '1 day'), (202, 's3://backups/pg/never', NULL)",
            )
            .await;
            for key in ["pg/later", "pg/never", "pg/nobody's", "elsewhere/a b.txt", "pg"] {
                server.plant(key, b"stays");
            }
            let before = objects(&server);
            let program = tending(&db, &server, &tables());
            let plan = program.run(["plan", "--json"]).await.exits(0).json();
            let step = plan.iter().find(|step| step["action"] == "delete_rows").expect("a step");
            assert_eq!(step["detail"]["rows"], ODD.len() + 3, "{step}");
            assert_eq!(step["detail"]["objects"]["store"], "offsite", "{step}");
            assert!(step["reason"].as_str().unwrap().contains("objects in store offsite go first"), "{step}");
            assert_eq!((objects(&server), server.asked_at_all()), (before, 0), "a plan does not touch the store");

            let record = run(&program, 0).await;
            let details = &record["details"];
            assert_eq!(details["rows_deleted"], ODD.len() + 3, "{record}");
            // A bucket does not say that there was nothing.
            assert_eq!(details["objects_deleted"], ODD.len() + 1, "{record}");
            assert_eq!(details["tables"]["public.artifacts"]["objects_deleted"], ODD.len() + 1, "{record}");
            assert_eq!(rows(&db).await, [201, 202]);
            let left = ["elsewhere/a b.txt", "pg", "pg/later", "pg/never", "pg/nobody's"];
            assert_eq!(objects(&server).into_iter().collect::<Vec<_>>(), left);
            assert_eq!((server.asked(Op::Head), server.asked(Op::Get)), (0, 0), "to delete is all that it has to be allowed");
            assert_eq!(run(&program, 0).await["details"]["rows_deleted"], Value::Null, "there is nothing left to do");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_go_in_batches_of_a_hundred_at_most() {
    on_newest_or_all(async |db| {
        for index in ["", NO_INDEX] {
            for batch in ["", "batch = { rows = 7 }", "batch = { rows = 50000, target = '20s', pause = '0s' }"] {
                db.execute(&format!("{ARTIFACTS}{index}")).await;
                let server = S3Server::start();
                ended(&db, &server, 450).await;
                let record = run(&tending(&db, &server, &format!("{}\n{batch}", tables())), 0).await;
                assert_eq!(record["details"]["rows_deleted"], 450, "{record}");
                assert_eq!(record["details"]["objects_deleted"], 450, "{record}");
                assert_eq!((rows(&db).await.len(), objects(&server).len()), (0, 0));
                assert_eq!(server.asked(Op::Delete), 450, "each once");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_have_objects_and_its_neighbour_none() {
    on_each_major(async |db| {
        db.execute(&format!("{ARTIFACTS} CREATE TABLE sessions AS SELECT now() - interval '1 day' AS expires_at;"))
            .await;
        let server = S3Server::start();
        ended(&db, &server, 3).await;
        let program = tending(&db, &server, &format!("tables = [{{ table = 'sessions' }}, {OBJECTS}]"));
        let record = run(&program, 0).await;
        assert_eq!((&record["details"]["rows_deleted"], objects(&server).len()), (&4.into(), 0), "{record}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_answers_late_is_not_hurried_and_nothing_stays() {
    let db = Cluster::shared(newest_major()).database().await;
    for index in ["", NO_INDEX] {
        db.execute(&format!("{ARTIFACTS}{index}")).await;
        let server = S3Server::start();
        ended(&db, &server, 120).await;
        server.fail(crate::support::s3::Fault::new(Op::Delete, crate::support::s3::Harm::Late(400)).always());
        // An object may take some 1.7 s and a batch 3.3 s, in which not all of a hundred can be done.
        let program =
            tending(&db, &server, &format!("{}\nbatch = {{ target = '20s' }}", tables())).env("PGTEND_HURRY", "3");
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["rows_deleted"], 120, "{record}");
        assert_eq!((objects(&server).len(), server.asked(Op::Delete)), (0, 120));
    }
}

/// A server that is not ours.
#[tokio::test(flavor = "multi_thread")]
async fn another_server_deletes_them_too() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute(ARTIFACTS).await;
    let moto = Moto::start(1000);
    let (store, settings) = (moto.store(), moto.settings());
    let endpoint = settings.endpoint.expect("its address");
    let client = db.client().await;
    for (n, key) in (1_i32..).zip(["plain", "with space", "ünï+cödé", "100%"]) {
        let name = Key::new(key);
        store.put(&name, bytes::Bytes::from_static(b"x")).await.unwrap();
        // Its key is the percent-encoded name, which a URL encodes once more.
        let address = format!("{endpoint}/backups/pg/{}", name.as_str().replace('%', "%25"));
        let insert = "INSERT INTO artifacts VALUES ($1, $2, now() - interval '1 day')";
        client.execute(insert, &[&n, &address]).await.unwrap();
    }
    store.put(&Key::new("stays"), bytes::Bytes::from_static(b"x")).await.unwrap();
    let config = format!(
        "[stores.offsite.s3]\nbucket = \"backups\"\nprefix = \"pg\"\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"\npath_style = true\n"
    );
    let program = Pgtend::tending(&db, &format!("{config}{}", job(&tables())))
        .env("AWS_ACCESS_KEY_ID", "any")
        .env("AWS_SECRET_ACCESS_KEY", "any");
    assert_eq!(run(&program, 0).await["details"]["objects_deleted"], 4);
    for key in ["plain", "with space", "ünï+cödé", "100%"] {
        assert_eq!(store.size(&Key::new(key)).await.unwrap(), None, "{key}");
    }
    assert_eq!(store.size(&Key::new("stays")).await.unwrap(), Some(1));
    program.run(["check"]).await.exits(0);
}
