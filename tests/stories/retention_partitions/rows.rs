//! Old rows in the default partition, and in partitions that are too wide to go.

use pgtend::run::Counted;

use super::*;
use crate::support::on_each_major;

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_of_the_default_partition_are_deleted_and_no_others() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{SCHEMA} {} CREATE TABLE events_rest PARTITION OF events DEFAULT;
             INSERT INTO events (at) VALUES ('2019-01-01Z'), ('2025-12-31 23:59:59.999999Z'), ('2027-01-01Z'), ('2026-07-02Z');",
            events(1..=6)
        ))
        .await;
        let tables_ = "{ table = 'events', keep = '4 months' }";
        let steps = job(&db, tables_).plan().await;
        let rows = steps.iter().find(|step| step.action == "delete_rows").unwrap();
        assert_eq!((rows.target.as_str(), rows.reason.as_str()), ("public.events_rest", "the default partition: 2 rows are of before 2026-02-15 12:00:00Z"));
        let report = succeed(&db, tables_).await;
        assert_eq!((report.total(Counted::RowsDeleted), report.total(Counted::PartitionsDropped)), (2, 1));
        assert_eq!((db.count("events_rest").await, db.count("events").await), (2, 7));
        assert_eq!(planned(&db, tables_).await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_too_wide_loses_its_old_rows() {
    on_each_major(async |db| {
        db.execute(SCHEMA).await;
        db.execute(
            "CREATE TABLE events (id serial, at timestamp) PARTITION BY RANGE (at);
             CREATE TABLE events_early PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-06-01');
             CREATE TABLE events_6 PARTITION OF events FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
             INSERT INTO events (at) SELECT '2026-01-01'::timestamp + n * interval '1 day' FROM generate_series(0, 164) n;",
        )
        .await;
        let tables_ = "{ table = 'events', keep = '2 months', timezone = 'Europe/Berlin' }";
        let report = succeed(&db, tables_).await;
        // By the wall clock of Berlin it is the 15th of April, 14 h.
        assert_eq!(report.total(Counted::RowsDeleted), 105);
        assert_eq!(db.scalar::<String>("SELECT min(at)::text FROM events").await, "2026-04-16 00:00:00");
        assert_eq!(db.count("events").await, 60);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_time_are_read_by_their_format_and_what_does_not_fit_stays() {
    on_each_major(async |db| {
        let (v7, v4) = ("018f0000-0000-7000-8000-00000000000", "018f0000-0000-4000-8000-00000000000");
        db.execute(&format!(
            "{SCHEMA} CREATE TABLE texts (m text) PARTITION BY LIST (m); CREATE TABLE texts_rest PARTITION OF texts DEFAULT;
             INSERT INTO texts VALUES ('2026-03'), ('2025-12'), ('2026-04'), ('2025-1'), ('2025-13'), ('0000-01'), ('2025-01x'), ('none'), (NULL), ('2025-01' || chr(10));
             CREATE TABLE days (d char(12) COLLATE \"C\") PARTITION BY RANGE (d); CREATE TABLE days_rest PARTITION OF days DEFAULT;
             INSERT INTO days VALUES ('2026.04.14'), ('2026.04.15'), ('2025.02.28'), ('2025.02.29'), ('2024.02.29'), ('2025-02-28');
             CREATE TABLE numbers (m int) PARTITION BY LIST (m); CREATE TABLE numbers_rest PARTITION OF numbers DEFAULT;
             INSERT INTO numbers VALUES (202603), (202604), (5), (-202501), (20250101), (NULL);
             CREATE TABLE epochs (s bigint) PARTITION BY RANGE (s); CREATE TABLE epochs_rest PARTITION OF epochs DEFAULT;
             INSERT INTO epochs VALUES (1735689600), (1781481600), (9223372036854775807), (-9223372036854775807);
             CREATE TABLE uuids (u uuid) PARTITION BY RANGE (u); CREATE TABLE uuids_rest PARTITION OF uuids DEFAULT;
             INSERT INTO uuids VALUES ('{v7}1'), ('{v4}1'), ('019ee000-0000-7000-8000-000000000001');"
        ))
        .await;
        let all: i64 = db.scalar("SELECT sum(n)::bigint FROM (SELECT count(*) FROM texts UNION ALL SELECT count(*) FROM days UNION ALL SELECT count(*) FROM numbers UNION ALL SELECT count(*) FROM epochs UNION ALL SELECT count(*) FROM uuids) AS c(n)").await;
        let table = |name: &str, format: &str| format!("{{ table = '{name}', keep = '2 months', key_format = '{format}', timezone = 'UTC' }}");
        let tables_ = [table("texts", "%Y-%m"), table("days", "%Y.%m.%d"), table("numbers", "%Y%m"), table("epochs", "epoch"), table("uuids", "uuidv7")].join(", ");
        let steps = job(&db, &tables_).plan().await;
        assert!(steps.iter().any(|step| step.target == "public.texts_rest" && step.action == "keep" && step.reason == "7 rows have a key that says no time, and never go"), "{steps:#?}");
        let report = succeed(&db, &tables_).await;
        assert_eq!(report.fields["rows_without_time"]["public.texts_rest"], 7);
        let left = async |table: &str, column: &str| -> String { db.scalar(&format!("SELECT coalesce(string_agg(coalesce({column}::text, 'NULL'), ' ' ORDER BY {column} COLLATE \"C\"), '') FROM (SELECT {column}::text FROM {table}) AS t")).await };
        assert!(steps.iter().any(|step| step.target == "public.numbers_rest" && step.reason == "4 rows have a key that says no time, and never go"), "{steps:#?}");
        assert_eq!(left("texts", "m").await, "0000-01 2025-01\n 2025-01x 2025-1 2025-13 2026-04 none NULL");
        assert_eq!(left("days", "d").await, "2025-02-28 2025.02.29 2026.04.15");
        assert_eq!(left("numbers", "m").await, "-202501 20250101 202604 5 NULL");
        assert_eq!(left("epochs", "s").await, "-9223372036854775807 1781481600 9223372036854775807");
        assert_eq!(left("uuids", "u").await, format!("{v4}1 019ee000-0000-7000-8000-000000000001"));
        assert_eq!(report.total(Counted::RowsDeleted), 2 + 3 + 1 + 1 + 1);
        assert_eq!(all, 29);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_held_immutable_or_only_to_be_detached_stay() {
    on_each_major(async |db| {
        db.execute(&format!("{SCHEMA} {} CREATE TABLE events_rest PARTITION OF events DEFAULT; INSERT INTO events (at) VALUES ('2019-01-01Z');", events(6..=6))).await;
        let drop = "{ table = 'events', keep = '4 months' }";
        succeed(&db, "{ table = 'events', keep = '4 months', action = 'detach' }").await;
        for held in ["events", "events_rest"] {
            db.execute(&format!("INSERT INTO pgtend.hold VALUES ('{held}', 'audit')")).await;
            succeed(&db, drop).await;
            db.execute("TRUNCATE pgtend.hold").await;
        }
        // A hold that comes after the plan.
        let job = job(&db, drop);
        let plan = job.kind.plan(&job.cx).await.unwrap();
        db.execute("INSERT INTO pgtend.hold VALUES ('events_rest', 'audit')").await;
        assert_eq!(job.kind.apply(&job.cx, &plan.actions[0]).await.unwrap(), Applied::Done);
        assert!(job.cx.report.snapshot().warnings[0].contains("its rows stay, since public.events_rest is held: audit"));
        db.execute("TRUNCATE pgtend.hold; CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'").await;
        for on in ["events", "events_rest"] {
            db.execute(&format!("CREATE TRIGGER no BEFORE DELETE ON {on} FOR EACH ROW EXECUTE FUNCTION no()")).await;
            let report = succeed(&db, drop).await;
            assert!(report.warnings.iter().any(|said| said.contains("trigger no stands on deleting them, and they stay")), "{report:#?}");
            db.execute(&format!("DROP TRIGGER no ON {on}")).await;
        }
        assert_eq!(db.count("events_rest").await, 1);
        succeed(&db, drop).await;
        assert_eq!(db.count("events_rest").await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_are_archived_where_partitions_are() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{SCHEMA} CREATE SCHEMA old; {} CREATE TABLE events_rest PARTITION OF events DEFAULT;
             INSERT INTO events (at) VALUES ('2019-01-01Z'), ('2019-01-02Z'), ('2027-01-01Z');",
            events(1..=6)
        ))
        .await;
        let tables_ = "{ table = 'events', keep = '4 months', action = 'archive', to = 'old' }";
        let report = succeed(&db, tables_).await;
        assert_eq!((report.total(Counted::RowsArchived), report.total(Counted::PartitionsArchived)), (2, 1));
        assert_eq!((db.count("old.events").await, db.count("old.events_1").await, db.count("events").await), (2, 1, 6));
        assert_eq!(planned(&db, tables_).await, [""; 0]);
        // One that does not take them as they are: nothing moves.
        db.execute("ALTER TABLE events ADD note text; INSERT INTO events (at) VALUES ('2019-01-03Z')").await;
        let failed = fail(&db, tables_).await;
        assert!(failed[0].starts_with("public.events_rest: the default partition: "), "{failed:?}");
        assert_eq!((db.count("old.events").await, db.count("events").await), (2, 7));
    })
    .await;
}
