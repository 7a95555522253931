//! The shipped job of the AI code review application: artifacts in a bucket, of which some are temporary.

use super::*;
use crate::shipped_partitions::{alone, fingerprint};
use crate::support::on_each_major;

const NAME: &str = "code-review-artifacts";
const DUE: &str = "expires_at < now() - interval '1 minute'";

fn program(db: &Database, server: &S3Server) -> Pgtend {
    let backups = "[stores.offsite.directory]\npath = \"offsite\"\n";
    let program =
        Pgtend::tending(db, &format!("{}\n{backups}{}", alone("code-review.toml"), server.config("artifacts")));
    server.env().into_iter().fold(program, |program, (name, value)| program.env(name, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_artifacts_go_with_their_objects_and_permanent_ones_keep_theirs() {
    on_each_major(async |db| {
        db.load("code-review.sql", &[("rows", "500"), ("artifacts", "s3://backups/pg/")]);
        let server = S3Server::start();
        let key = |uri: &str| uri.strip_prefix("s3://backups/").expect("in the bucket").to_owned();
        for uri in db.column::<String>("SELECT s3_uri FROM production.artifacts").await {
            server.plant(&key(&uri), b"artifact");
        }
        // It may name any bucket, or what is none of the application's.
        server.plant("secrets/key", b"secret");
        db.execute(
            "INSERT INTO production.artifacts (s3_uri, expires_at) VALUES ('s3://backups/secrets/key', now() - interval '1 day'),
             ('s3://somebody-elses/pg/key', now() - interval '1 day')",
        )
        .await;
        let due = db.count(&format!("production.artifacts WHERE {DUE}")).await;
        let living = format!("(SELECT * FROM production.artifacts WHERE NOT ({DUE}) OR expires_at IS NULL)");
        let before = (fingerprint(&db, &living).await, db.count("production.analysis_sessions").await);
        let had = db.column::<String>(&format!("SELECT DISTINCT s3_uri FROM {living} l")).await;

        let program = program(&db, &server);
        let checked = program.run(["check"]).await.stdout;
        assert!(checked.contains("CREATE INDEX CONCURRENTLY ON \"production\".\"artifacts\" (\"s3_uri\");"), "{checked}");
        let record = program.run(["run", NAME, "--json"]).await.exits(1).json().remove(0);
        assert_eq!(record["outcome"], "partial", "{record}");
        assert!(failure(&record).contains("2 rows stay, since the objects they name are not to be touched"), "{record}");
        assert_eq!(record["details"]["rows_deleted"], due - 2, "{record}");
        assert!(record["details"]["objects_kept"].as_u64() > Some(0), "{record}");
        assert_eq!(db.count(&format!("production.artifacts WHERE {DUE}")).await, 2);
        assert_eq!((fingerprint(&db, &living).await, db.count("production.analysis_sessions").await), before);
        let mut expected: BTreeSet<String> = had.iter().map(|uri| key(uri)).collect();
        expected.insert("secrets/key".into());
        assert_eq!(objects(&server), expected, "each that a living artifact has, and no other");

        db.execute("DELETE FROM production.artifacts WHERE s3_uri !~ '^s3://backups/pg/'").await;
        program.run(["run", NAME]).await.exits(0);
        assert_eq!(objects(&server), expected);
    })
    .await;
}
