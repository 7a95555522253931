//! The AI code review application: an audit log that is immutable, chained and partitioned.

use super::{Job, NO_PARTITION, changed, fingerprint, mid, month, partitions, shipped, sqlstate};
use crate::support::{Database, on_each_major};

const NAME: &str = "code-review-partitions";
const LOG: &str = "audits.audit_log";

/// With the current month as the last that has a partition, of so many.
async fn load(db: &Database, months: i32, variables: &[(&str, &str)]) -> Job {
    let day = async |n| month(db, n).await.replace('_', "-") + "-01";
    let (from, to) = (day(1 - months).await, day(1).await);
    let own = [("rows", "60"), ("partitions_from", from.as_str()), ("partitions_to", to.as_str())];
    db.load("code-review.sql", &[&own[..], variables].concat());
    Job::new(db, NAME, &shipped("code-review.toml"))
}

/// The next link of the chain.
fn insert(at: &str) -> String {
    format!(
        "INSERT INTO {LOG} (entity, action, prev_hash, signature, ts)
         SELECT 'policy', 'create', signature, md5(signature), {at} FROM {LOG} ORDER BY id DESC LIMIT 1"
    )
}

/// Links that do not name the one before.
const BROKEN: &str = "(SELECT prev_hash, lag(signature) OVER (ORDER BY id) AS before FROM audits.audit_log) l WHERE prev_hash IS DISTINCT FROM before";

#[tokio::test]
async fn a_log_whose_months_ended_with_2025_is_written_again_after_one_run() {
    on_each_major(async |db| {
        db.load("code-review.sql", &[("rows", "60")]);
        let job = Job::new(&db, NAME, &shipped("code-review.toml"));
        std::fs::create_dir(job.program.folder().join("artifacts")).unwrap();
        let old = partitions(&db, LOG).await;
        assert_eq!(
            (old.len(), old[0].as_str(), old[12].as_str()),
            (13, "audits.audit_log_2024_12", "audits.audit_log_2025_12")
        );
        for ahead in 0..=12 {
            assert_eq!(sqlstate(&db, &insert(&mid(ahead))).await, NO_PARTITION, "{ahead} months ahead");
        }
        let found = job.program.run(["check"]).await.exits(0).stdout;
        assert!(
            found.contains("audits.audit_log has no partition for now: inserts fail until the job has run"),
            "{found}"
        );
        let before = fingerprint(&db, LOG).await;
        job.makes(13).await;
        assert_eq!(fingerprint(&db, LOG).await, before);
        for ahead in 0..=12 {
            assert_eq!(sqlstate(&db, &insert(&mid(ahead))).await, "", "{ahead} months ahead");
        }
        assert_eq!(db.count(BROKEN).await, 0, "the chain goes on");
        assert_eq!(db.scalar::<i64>("SELECT max(id) FROM audits.audit_log").await, 60 + 26, "by the one sequence");
        // What was refused before is not made room for.
        assert_eq!(sqlstate(&db, &insert(&mid(-1))).await, NO_PARTITION);
        assert_eq!(partitions(&db, LOG).await[..13], old);
        assert_eq!(
            sqlstate(
                &db,
                "INSERT INTO audits.audit_log (entity, action, actor_id) VALUES ('a', 'b', gen_random_uuid())"
            )
            .await,
            "23503"
        );
        job.program.run(["check"]).await.exits(0);
    })
    .await;
}

/// What a session of the application would make of a bare date is of no account.
#[tokio::test]
async fn months_join_without_a_gap_whatever_zone_the_database_is_in() {
    on_each_major(async |db| {
        for zone in ["America/New_York", "Asia/Kolkata"] {
            let db = db.cluster().database().await;
            db.execute(&format!(
                "ALTER DATABASE \"{}\" SET timezone = '{zone}'; ALTER DATABASE \"{0}\" SET datestyle = 'German, DMY'",
                db.name()
            ))
            .await;
            let job = load(&db, 3, &[]).await;
            let next = format!("{}-01 00:00Z", month(&db, 1).await.replace('_', "-"));
            let last = format!("('{next}'::timestamptz - interval '1 microsecond')");
            assert_eq!(sqlstate(&db, &insert(&last)).await, "");
            assert_eq!(sqlstate(&db, &insert(&format!("'{next}'"))).await, NO_PARTITION);
            job.makes(12).await;
            assert_eq!(sqlstate(&db, &insert(&format!("'{next}'"))).await, "");
            assert_eq!(db.count(&format!("audits.audit_log_{}", month(&db, 1).await)).await, 1);
        }
    })
    .await;
}

/// Section 4: row triggers are cloned to new partitions, those for each statement are not.
#[tokio::test]
async fn a_new_month_is_as_immutable_as_the_triggers_make_the_others() {
    on_each_major(async |db| {
        for (triggers, direct) in [("row", "P0001"), ("statement", "")] {
            let db = db.cluster().database().await;
            let job = load(&db, 2, &[("triggers", triggers)]).await;
            job.makes(12).await;
            db.execute(&insert(&mid(1))).await;
            let next = month(&db, 1).await;
            for sql in ["DELETE FROM audits.audit_log", "UPDATE audits.audit_log SET action = 'x'"] {
                assert_eq!(sqlstate(&db, sql).await, "P0001");
                assert_eq!(
                    sqlstate(
                        &db,
                        &format!("BEGIN; {}; ROLLBACK", sql.replace("audit_log", &format!("audit_log_{next}")))
                    )
                    .await,
                    direct
                );
            }
        }
    })
    .await;
}

/// Section 4: out of a default partition nothing can be deleted.
#[tokio::test]
async fn entries_in_a_default_partition_go_to_their_month_and_the_chain_is_as_it_was() {
    on_each_major(async |db| {
        for triggers in ["row", "statement"] {
            let db = db.cluster().database().await;
            let job = load(&db, 2, &[("triggers", triggers), ("defaults", "on")]).await;
            for ahead in [1, 1, 2, 14] {
                db.execute(&insert(&mid(ahead))).await;
            }
            let before = fingerprint(&db, LOG).await;
            let (one, two) = (month(&db, 1).await, month(&db, 2).await);
            let refusing = changed("code-review.toml", "ahead = 12 }", "ahead = 12, default_rows = \"refuse\" }");
            let refusing = Job::new(&db, NAME, &refusing);
            let said = refusing.fails().await;
            assert!(said.contains("2 rows of its period") && said.contains("1 rows of its period"), "{said}");
            assert!(said.contains("lie in the default partition audits.audit_log_default"), "{said}");
            assert_eq!(db.count("audits.audit_log_default").await, 4);

            // The other ten months have been made.
            job.makes(2).await;
            assert_eq!(fingerprint(&db, LOG).await, before, "id and ts are those they were");
            assert_eq!(db.count(BROKEN).await, 0);
            let counts = [one, two.clone(), "default".into()]
                .map(async |name| db.count(&format!("audits.audit_log_{name}")).await);
            let [one, two, rest] = counts;
            assert_eq!((one.await, two.await, rest.await), (2, 1, 1));
            assert_eq!(sqlstate(&db, &insert(&mid(1))).await, "");
            assert_eq!(db.scalar::<i64>("SELECT max(id) FROM audits.audit_log").await, 65, "the sequence goes on");
            let direct = if triggers == "row" { "P0001" } else { "" };
            assert_eq!(sqlstate(&db, "DELETE FROM audits.audit_log").await, "P0001");
            assert_eq!(sqlstate(&db, "BEGIN; DELETE FROM audits.audit_log_default; ROLLBACK").await, direct);
        }
    })
    .await;
}

#[tokio::test]
async fn the_other_audit_table_is_not_taken_for_this_one() {
    on_each_major(async |db| {
        let _ = load(&db, 2, &[]).await;
        let wrong = changed("code-review.toml", "table = \"audits.audit_log\"", "table = \"auth.audit_logs\"");
        let job = Job::new(&db, NAME, &wrong);
        assert!(job.fails().await.contains("auth.audit_logs is a table, not a partitioned one"));
        let bare =
            Job::new(&db, NAME, &changed("code-review.toml", "table = \"audits.audit_log\"", "table = \"audit_log\""));
        let said = bare.fails().await;
        assert!(said.contains("is it table = 'audits.audit_log'?"), "{said}");
    })
    .await;
}
