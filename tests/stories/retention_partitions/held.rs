//! `pgtend.hold`, and the roles that may not do everything.

use pgtend::run::Counted;

use super::*;
use crate::support::{Cluster, majors, on_each_major};

const TABLES: &str = "{ table = 'events', keep = '3 months' }";

async fn hold(db: &Database, relation: &str, until: &str) {
    db.execute(&format!("INSERT INTO pgtend.hold VALUES ('{relation}', 'the audit', {until})")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_stays_and_says_so() {
    on_each_major(async |db| {
        db.execute(&format!("{SCHEMA}{}", events(1..=6))).await;
        hold(&db, "public.events_1", "NULL").await;
        hold(&db, "events_2", "'2026-06-15 11:59Z'").await;
        hold(&db, "events_9", "NULL").await;
        let steps = job(&db, TABLES).plan().await;
        let said: Vec<String> =
            steps.iter().map(|step| format!("{} {}: {}", step.action, step.target, step.reason)).collect();
        assert!(said[0].starts_with("drop_partition public.events_2"), "{said:#?}");
        assert!(
            said.iter().any(|said| said.starts_with("keep public.events_1: ends 2026-02-01")
                && said.ends_with("but is held: the audit")),
            "{said:#?}"
        );
        assert!(
            said.iter().any(|said| said
                .starts_with("warn public.events_9: a row of pgtend.hold names it, and there is no such table")),
            "{said:#?}"
        );
        let report = succeed(&db, TABLES).await;
        assert_eq!(report.fields["held"], serde_json::json!(["public.events_1"]));
        assert_eq!(attached(&db).await, ["events_1", "events_3", "events_4", "events_5", "events_6"]);
        hold(&db, "public.events", "'2027-01-01Z'").await;
        db.execute("DELETE FROM pgtend.hold WHERE relation = 'public.events_1'").await;
        let steps = job(&db, TABLES).plan().await;
        assert!(
            steps.iter().any(|step| step.reason == "it is held until 2027-01-01 00:00:00Z: the audit"),
            "{steps:#?}"
        );
        assert_eq!(planned(&db, TABLES).await, [""; 0]);
        db.execute("TRUNCATE pgtend.hold").await;
        assert_eq!(succeed(&db, TABLES).await.total(Counted::PartitionsDropped), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_comes_after_the_plan_is_heard() {
    on_each_major(async |db| {
        for way in ["", "CREATE TABLE events_rest PARTITION OF events DEFAULT;"] {
            db.execute(&format!("DROP TABLE IF EXISTS events; {SCHEMA} TRUNCATE pgtend.hold; {} {way}", events(1..=6)))
                .await;
            let job = job(&db, TABLES);
            let plan = job.kind.plan(&job.cx).await.unwrap();
            hold(&db, "events", "NULL").await;
            assert_eq!(job.kind.apply(&job.cx, &plan.actions[0]).await.unwrap(), Applied::Done);
            let report = job.cx.report.snapshot();
            assert!(
                report.warnings[0].contains("public.events_1: it stays, since public.events is held: the audit"),
                "{report:?}"
            );
            assert_eq!(report.total(Counted::PartitionsDropped), 0);
            db.execute("UPDATE pgtend.hold SET relation = 'the events_2'").await;
            let error = job.kind.apply(&job.cx, &plan.actions[1]).await.unwrap_err();
            assert!(format!("{error:#}").contains("a row of pgtend.hold cannot be understood"), "{error:#}");
            assert_eq!(db.count("events").await, 6);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_that_cannot_be_read_or_understood_hold_everything() {
    for major in majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        db.execute(&format!(
            "CREATE ROLE tender LOGIN; CREATE SCHEMA AUTHORIZATION tender; {} ALTER TABLE events OWNER TO tender;
             DO $$ BEGIN FOR m IN 1..6 LOOP EXECUTE format('ALTER TABLE events_%s OWNER TO tender', m); END LOOP; END $$;",
            events(1..=6)
        ))
        .await;
        let refused = async |expect: &str| {
            let job = job_as(&db, "tender", TABLES, Duration::from_secs(30));
            let (ended, report) = job.run().await;
            assert_eq!(ended.outcome(), Outcome::Failed);
            assert!(report.failures[0].error.contains(expect), "{expect}: {report:#?}");
            assert_eq!(attached(&db).await.len(), 6);
            let found = job_as(&db, "tender", TABLES, Duration::from_secs(30)).check().await;
            assert!(found.iter().any(|f| format!("{} {}", f.message, f.mend).contains(expect)), "{expect}: {found:#?}");
        };
        // Neither there nor ours to make.
        let database = db.name();
        refused(&format!("GRANT CREATE ON DATABASE \"{database}\" TO tender;")).await;
        db.execute("CREATE SCHEMA pgtend").await;
        refused("GRANT USAGE, CREATE ON SCHEMA pgtend TO tender;").await;
        db.execute(SCHEMA).await;
        refused("GRANT USAGE ON SCHEMA pgtend TO tender; GRANT SELECT ON pgtend.hold TO tender;").await;
        db.execute("GRANT USAGE ON SCHEMA pgtend TO tender").await;
        refused("GRANT SELECT ON pgtend.hold TO tender;").await;
        // Row security would hide holds without a word.
        db.execute("GRANT SELECT ON pgtend.hold TO tender; ALTER TABLE pgtend.hold ENABLE ROW LEVEL SECURITY; INSERT INTO pgtend.hold VALUES ('events', 'x')").await;
        refused("row-level security").await;
        db.execute("ALTER TABLE pgtend.hold DISABLE ROW LEVEL SECURITY; TRUNCATE pgtend.hold").await;
        for strange in ["a.b.c", "my events", "", "\"open"] {
            hold(&db, strange, "NULL").await;
            refused(&format!("relation is {strange:?} (reason \"the audit\")")).await;
            db.execute("TRUNCATE pgtend.hold").await;
        }
        let locker = db.client().await;
        locker.batch_execute("BEGIN; LOCK TABLE pgtend.hold").await.unwrap();
        refused("55P03").await;
        locker.batch_execute("ROLLBACK").await.unwrap();
        db.execute("ALTER TABLE pgtend.hold RENAME COLUMN until TO til").await;
        refused("42703").await;
        db.execute("ALTER TABLE pgtend.hold RENAME COLUMN til TO until; INSERT INTO pgtend.hold VALUES ('events', 'x', '-infinity'), ('events_2', 'y', 'infinity')").await;
        let (ended, _) = job_as(&db, "tender", TABLES, Duration::from_secs(30)).run().await;
        assert_eq!(ended.outcome(), Outcome::Succeeded);
        assert_eq!(attached(&db).await, ["events_2", "events_3", "events_4", "events_5", "events_6"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_database_holds_nothing() {
    on_each_major(async |db| {
        db.execute(&events(1..=6)).await;
        assert_eq!(planned(&db, TABLES).await, ["drop_partition public.events_1", "drop_partition public.events_2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_may_not_do_it_are_told_what_to_grant() {
    for major in majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        db.execute(&format!(
            "{SCHEMA} CREATE ROLE tender LOGIN; CREATE ROLE app; CREATE ROLE other; CREATE SCHEMA old;
             GRANT USAGE ON SCHEMA pgtend TO tender; GRANT SELECT ON pgtend.hold TO tender;
             {} ALTER TABLE events OWNER TO app;
             DO $$ BEGIN FOR m IN 1..6 LOOP EXECUTE format('ALTER TABLE events_%s OWNER TO app', m); END LOOP; END $$;
             ALTER TABLE events_2 OWNER TO other; COMMENT ON TABLE events_2 IS 'the other''s'; REVOKE ALL ON events FROM app;",
            events(1..=6)
        ))
        .await;
        let refused = async |tables: &str, target: &str, expect: &str| {
            let (_, report) = job_as(&db, "tender", tables, Duration::from_secs(30)).run().await;
            assert!(
                report.failures.iter().any(|f| f.target == target && f.error.contains(expect)),
                "{expect}: {report:#?}"
            );
            let found = job_as(&db, "tender", tables, Duration::from_secs(30)).check().await;
            assert!(found.iter().any(|f| format!("{} {}", f.message, f.mend).contains(expect)), "{expect}: {found:#?}");
        };
        refused(TABLES, "public.events", "GRANT \"app\" TO tender;").await;
        db.execute("GRANT app TO tender").await;
        refused(TABLES, "public.events", "GRANT TRUNCATE ON \"public\".\"events\" TO \"app\";").await;
        db.execute("GRANT TRUNCATE ON events TO app").await;
        let archive = "{ table = 'events', keep = '3 months', action = 'archive', to = 'old' }";
        refused(archive, "public.events", "GRANT USAGE, CREATE ON SCHEMA \"old\" TO \"app\";").await;
        assert_eq!(attached(&db).await.len(), 6);
        // One of another owner keeps no other.
        refused(TABLES, "public.events_2", "GRANT \"other\" TO").await;
        assert_eq!(attached(&db).await, ["events_2", "events_3", "events_4", "events_5", "events_6"]);
        db.execute("GRANT other TO tender; GRANT USAGE, CREATE ON SCHEMA old TO app, other").await;
        let (ended, report) = job_as(&db, "tender", archive, Duration::from_secs(30)).run().await;
        assert_eq!(ended.outcome(), Outcome::Succeeded, "{report:#?}");
        assert!(comment(&db, "old.events_2").await.unwrap().starts_with("the other's\n\nWas a partition"));
        assert_eq!(
            db.scalar::<String>("SELECT tableowner::text FROM pg_tables WHERE tablename = 'events_2'").await,
            "other"
        );
    }
}
