//! What `check` and the config say before anything goes.

use super::*;
use crate::support::on_each_major;
use crate::support::s3::{Fault, Harm, Op};

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_whether_the_store_deletes_and_writes_nothing() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let server = S3Server::start();
        server.plant("pg/1", b"x");
        let program = tending(&db, &server, &tables());
        let said = program.run(["check"]).await.exits(0).stdout;
        assert!(said.contains(" 0 errors, 0 warnings"), "{said}");
        let asked = [Op::Put, Op::Get, Op::Head, Op::Delete].map(|op| server.asked(op));
        assert_eq!((asked, objects(&server).len()), ([0, 0, 0, 1], 1));
        server.fail(Fault::new(Op::Delete, Harm::Refuse(403, "AccessDenied")));
        let said = program.run(["check"]).await.exits(1).stdout;
        assert!(
            said.contains("AccessDenied") && said.contains("let this daemon delete from s3://backups/pg"),
            "{said}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_looks_at_the_column_its_index_and_its_addresses() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let server = S3Server::start();
        let program = tending(&db, &server, &tables());
        for (change, status, says) in [
            (
                "DROP INDEX artifacts_key",
                0,
                "each batch reads all of public.artifacts to see whether other rows have the same objects",
            ),
            (
                "CREATE INDEX artifacts_key ON artifacts (storage_key) WHERE expires_at IS NULL",
                0,
                "CREATE INDEX CONCURRENTLY ON \"public\".\"artifacts\" (\"storage_key\");",
            ),
            (
                "INSERT INTO artifacts VALUES (1, 'pg/a', NULL), (2, 's3://elsewhere/a', NULL), (3, NULL, NULL)",
                0,
                "public.artifacts: 1 of 2 rows name objects that are not to be touched, such as \"s3://elsewhere/a\": it is not in s3://backups/pg",
            ),
            (
                "ALTER TABLE artifacts ALTER storage_key TYPE bytea USING ''",
                1,
                "which is to hold addresses, is of type bytea",
            ),
            ("ALTER TABLE artifacts RENAME storage_key TO storage_keys", 1, "the nearest is \"storage_keys\""),
        ] {
            db.execute(change).await;
            let said = program.run(["check"]).await.exits(status).stdout;
            assert!(said.contains(says), "{change}: {said}");
        }
        let record = run(&program, 1).await;
        assert!(failure(&record).contains("has no column \"storage_key\""), "{record}");
        assert_eq!(server.asked(Op::Delete), 5, "those of check");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_backups_too_is_warned_of() {
    on_each_major(async |db| {
        db.execute(ARTIFACTS).await;
        let server = S3Server::start();
        let keys = format!("{}\n[jobs.nightly.backup]\nto = [{{ store = \"offsite\" }}]", tables());
        let said = tending(&db, &server, &keys).run(["check", "--offline"]).await.exits(0).stdout;
        assert!(said.contains("a row may name a backup"), "{said}");
        let program = tending(&db, &server, &tables().replace("offsite", "offsit"));
        let said = program.run(["check", "--offline"]).await.exits(2).stderr;
        assert!(said.contains("there is no store `offsit`; did you mean `offsite`?"), "{said}");
    })
    .await;
}

/// A role that may do all that is needed, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn the_privileges_of_expire_suffice() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{ARTIFACTS} DROP ROLE IF EXISTS artifacts_tender; CREATE ROLE artifacts_tender LOGIN; GRANT SELECT, UPDATE, DELETE ON artifacts TO artifacts_tender;
             GRANT CREATE ON DATABASE \"{}\" TO artifacts_tender",
            db.name()
        ))
        .await;
        let server = S3Server::start();
        ended(&db, &server, 3).await;
        let config = format!(
            "[databases.main]\nurl = \"{}\"\n[http]\nlisten = \"{{listen}}\"\n{}{}",
            db.url_as("artifacts_tender"),
            server.config("offsite"),
            job(&tables())
        );
        let program = server.env().into_iter().fold(Pgtend::new(&config), |program, (name, value)| program.env(name, value));
        program.run(["check"]).await.exits(0);
        run(&program, 0).await;
        assert_eq!((rows(&db).await.len(), objects(&server).len()), (0, 0));
        db.execute("DROP OWNED BY artifacts_tender CASCADE; DROP ROLE artifacts_tender").await;
    })
    .await;
}
