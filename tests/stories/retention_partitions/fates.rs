//! What becomes of partitions that are too old.

use pgtend::run::Counted;

use super::*;
use crate::support::on_each_major;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_is_dropped_and_a_second_run_has_nothing_to_do() {
    on_each_major(async |db| {
        db.execute(&events(1..=7)).await;
        let tables_ = "{ table = 'events', keep = '2 months' }";
        let steps = job(&db, tables_).plan().await;
        let drop = &steps[0];
        assert_eq!((drop.action, drop.target.as_str()), ("drop_partition", "public.events_1"));
        assert!(
            drop.reason.starts_with("ends 2026-02-01, before the cutoff 2026-04-15 12:00 (keep 2 months); "),
            "{drop:?}"
        );
        assert_eq!(drop.detail["bound"], "FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')");
        assert!(drop.detail["bytes"].as_u64().unwrap() > 0, "{drop:?}");
        let report = succeed(&db, tables_).await;
        assert_eq!(report.counts[&(Counted::PartitionsDropped, "public.events".into())], 3);
        assert_eq!(
            tables(&db, "events\\_%").await,
            [
                "public.events_4 attached",
                "public.events_5 attached",
                "public.events_6 attached",
                "public.events_7 attached"
            ]
        );
        assert_eq!(db.count("events").await, 4);
        assert_eq!(planned(&db, tables_).await, [""; 0]);
        assert_eq!(succeed(&db, tables_).await.total(Counted::PartitionsDropped), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_detached_lives_on_with_its_comment_and_its_bounds() {
    on_each_major(async |db| {
        db.execute(&format!("{} COMMENT ON TABLE events_1 IS 'it''s of January'; CREATE VIEW january AS SELECT * FROM events_1;", events(1..=6))).await;
        let report = succeed(&db, "{ table = 'events', keep = '4 months', action = 'detach' }").await;
        assert_eq!(report.counts[&(Counted::PartitionsDetached, "public.events".into())], 1);
        assert_eq!(tables(&db, "events\\_1").await, ["public.events_1"]);
        assert_eq!((db.count("january").await, db.count("events").await), (1, 5));
        let said = comment(&db, "events_1").await.unwrap();
        assert_eq!(said, "it's of January\n\nWas a partition of public.events FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')");
        assert_eq!(planned(&db, "{ table = 'events', keep = '4 months' }").await, [""; 0], "nobody drops it for its comment");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_moves_to_its_schema() {
    on_each_major(async |db| {
        let tables_ = "{ table = 'events', keep = '3 months', action = 'archive', to = 'old' }";
        db.execute(&events(1..=6)).await;
        let failed = fail(&db, tables_).await;
        assert!(
            failed[0].contains("there is no schema \"old\"") && failed[0].contains("CREATE SCHEMA \"old\""),
            "{failed:?}"
        );
        db.execute("CREATE SCHEMA old; CREATE VIEW old.events_1 AS SELECT 1").await;
        let failed = fail(&db, tables_).await;
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(
            failed[0].starts_with("public.events_1: ") && failed[0].contains("something has its name there"),
            "{failed:?}"
        );
        assert_eq!(tables(&db, "events\\_%").await[..2], ["old.events_2", "public.events_1 attached"]);
        db.execute("DROP VIEW old.events_1").await;
        let report = succeed(&db, tables_).await;
        assert_eq!(report.counts[&(Counted::PartitionsArchived, "public.events".into())], 1);
        assert_eq!(tables(&db, "events\\_%").await[..3], ["old.events_1", "old.events_2", "public.events_3 attached"]);
        assert_eq!((db.count("old.events_1").await, db.count("events").await), (1, 4));
        assert!(comment(&db, "old.events_1").await.unwrap().starts_with("Was a partition of public.events FOR VALUES"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_partitioned_itself_goes_with_all_that_is_under_it() {
    on_each_major(async |db| {
        db.execute(
            "CREATE SCHEMA old; CREATE TABLE events (at timestamptz, n int) PARTITION BY RANGE (at);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z') PARTITION BY HASH (n);
             CREATE TABLE events_1_a PARTITION OF events_1 FOR VALUES WITH (modulus 2, remainder 0);
             CREATE TABLE events_1_b PARTITION OF events_1 FOR VALUES WITH (modulus 2, remainder 1);
             CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z') PARTITION BY HASH (n);
             CREATE TABLE events_2_a PARTITION OF events_2 FOR VALUES WITH (modulus 1, remainder 0);
             CREATE TABLE events_6 PARTITION OF events FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z');
             INSERT INTO events SELECT '2026-01-02Z', n FROM generate_series(1, 100) n;",
        )
        .await;
        succeed(&db, "{ table = 'events', keep = '3 months', action = 'archive', to = 'old', max_partitions = 1 }").await;
        assert_eq!(tables(&db, "events\\_1%").await, ["old.events_1", "old.events_1_a attached", "old.events_1_b attached"]);
        assert_eq!(db.count("old.events_1").await, 100);
        succeed(&db, "{ table = 'events', keep = '3 months' }").await;
        assert_eq!(tables(&db, "events\\_2%").await, [""; 0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_the_like_keep_a_partition_from_being_dropped() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{} CREATE VIEW v AS SELECT id FROM events_1; CREATE MATERIALIZED VIEW m AS SELECT id FROM events_2;
             CREATE FUNCTION f(events_3) RETURNS int LANGUAGE sql AS 'SELECT 1';
             CREATE TABLE other (id int, at timestamptz, FOREIGN KEY (id, at) REFERENCES events_4);",
            events(1..=6)
        ))
        .await;
        let failed = fail(&db, "{ table = 'events', keep = '1 month' }").await;
        let expect = [
            "view public.v depends on public.events_1",
            "materialized view public.m depends on",
            "function public.f(public.events_3) depends on",
            "other_id_at_fkey on table public.other depends on",
        ];
        assert_eq!(failed.len(), 4, "{failed:#?}");
        for (failed, expect) in failed.iter().zip(expect) {
            assert!(failed.contains(expect), "{failed} / {expect}");
        }
        assert_eq!(attached(&db).await.len(), 6);
        // What reads the whole table is in nobody's way.
        db.execute("DROP VIEW v; CREATE VIEW v AS SELECT id FROM events").await;
        let (_, report) = job(&db, "{ table = 'events', keep = '1 month' }").run().await;
        assert_eq!(report.total(Counted::PartitionsDropped), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_comes_after_the_plan_keeps_the_partition_where_it_is() {
    on_each_major(async |db| {
        db.execute(&events(1..=6)).await;
        let job = job(&db, "{ table = 'events', keep = '4 months' }");
        let kind: Retention = toml::from_str("tables = [{ table = 'events', keep = '4 months' }]").unwrap();
        let plan = kind.plan(&job.cx).await.unwrap();
        db.execute("CREATE VIEW v AS SELECT id FROM events_1").await;
        let error = kind.apply(&job.cx, &plan.actions[0]).await.unwrap_err();
        assert!(format!("{error:#}").contains("view public.v depends on it"), "{error:#}");
        db.execute("DROP VIEW v; CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER no BEFORE DELETE ON events EXECUTE FUNCTION no()").await;
        let plan = kind.plan(&job.cx).await.unwrap();
        assert_eq!(kind.step(&plan.actions[0]).action, "refuse");
        assert_eq!(attached(&db).await.len(), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_deleted_is_not_dropped_whatever_the_trigger_does() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{} CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';",
            events(1..=6)
        ))
        .await;
        for (on, each, scope) in [
            ("events", "ROW", "public.events: "),
            ("events", "STATEMENT", "public.events: "),
            ("events_1", "ROW", "public.events_1: "),
            ("events_1", "STATEMENT", "public.events_1: "),
        ] {
            db.execute(&format!(
                "CREATE TRIGGER no BEFORE DELETE OR UPDATE ON {on} FOR EACH {each} EXECUTE FUNCTION no()"
            ))
            .await;
            let failed = fail(&db, "{ table = 'events', keep = '4 months' }").await;
            assert!(
                failed[0].starts_with(scope) && failed[0].contains("trigger no stands on deleting"),
                "{on} {each}: {failed:?}"
            );
            for action in ["action = 'detach'", "action = 'archive', to = 'public'"] {
                let failed = fail(&db, &format!("{{ table = 'events', keep = '4 months', {action} }}")).await;
                assert!(failed[0].starts_with(scope), "{on} {each}: {failed:?}");
            }
            assert_eq!(attached(&db).await.len(), 6);
            db.execute(&format!("ALTER TABLE {on} DISABLE TRIGGER no")).await;
            let goes = planned(&db, "{ table = 'events', keep = '4 months' }").await;
            // A trigger that is off on the parent is on the partitions before 15.
            assert!(goes == ["drop_partition public.events_1"] || db.cluster().major() < 15, "{goes:?}");
            db.execute(&format!("DROP TRIGGER no ON {on}")).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_rows_say_no_real_time_stays_and_an_empty_one_goes() {
    on_each_major(async |db| {
        db.execute(&format!("{SCHEMA} {} ALTER TABLE events ADD made timestamptz; TRUNCATE events_2", events(1..=6)))
            .await;
        let made = "{ table = 'events', keep = '3 months', newest = 'made' }";
        let steps = job(&db, made).plan().await;
        let kept = "its newest made is NULL in every row";
        assert!(steps.iter().any(|step| step.target == "public.events_1" && step.reason.ends_with(kept)), "{steps:#?}");
        succeed(&db, made).await;
        assert_eq!(attached(&db).await, ["events_1", "events_3", "events_4", "events_5", "events_6"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_real_time_keeps_a_partition_whatever_its_key_says() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE events (month text, made timestamptz, day date) PARTITION BY LIST (month);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES IN ('2026-01', '2026-02');
             CREATE TABLE events_3 PARTITION OF events FOR VALUES IN ('2026-03');
             CREATE TABLE events_6 PARTITION OF events FOR VALUES IN ('2026-06');
             INSERT INTO events VALUES ('2026-02', '2026-02-02Z', '2026-02-02'), ('2026-03', '2026-04-20Z', '2026-04-14'), ('2026-03', NULL, NULL);",
        )
        .await;
        let made = "{ table = 'events', keep = '2 months', key_format = '%Y-%m', timezone = 'UTC', newest = 'made' }";
        let steps = job(&db, made).plan().await;
        assert!(steps.iter().any(|step| step.action == "keep" && step.target == "public.events_3" && step.reason.ends_with("but its newest made is 2026-04-20 00:00:00+00")), "{steps:#?}");
        assert_eq!(planned(&db, made).await, ["drop_partition public.events_1"]);
        // The 14th is over, the 15th is not.
        let day = "{ table = 'events', keep = '2 months', key_format = '%Y-%m', timezone = 'UTC', newest = 'day' }";
        assert_eq!(planned(&db, day).await, ["drop_partition public.events_1", "drop_partition public.events_3"]);
        db.execute("UPDATE events SET day = '2026-04-15' WHERE month = '2026-03'").await;
        assert_eq!(planned(&db, day).await, ["drop_partition public.events_1"]);
        succeed(&db, made).await;
        assert_eq!(attached(&db).await, ["events_3", "events_6"]);
        let failed = fail(&db, "{ table = 'events', keep = '1 day', key_format = '%Y-%m', timezone = 'UTC', newest = 'month' }").await;
        assert!(failed[0].contains("column \"month\" of public.events is text"), "{failed:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_several_values_texts_and_numbers_go_by_what_they_mean() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE events (m text COLLATE \"C\", n int) PARTITION BY RANGE (m);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2025-12') TO ('2025-13');
             CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-01') TO ('2026-02');
             CREATE TABLE events_6 PARTITION OF events FOR VALUES FROM ('2026-06') TO ('2026-07');
             INSERT INTO events VALUES ('2025-12', 1), ('2026-06', 1);
             CREATE TABLE numbers (m int) PARTITION BY LIST (m);
             CREATE TABLE numbers_1 PARTITION OF numbers FOR VALUES IN (202601, 202605);
             CREATE TABLE numbers_2 PARTITION OF numbers FOR VALUES IN (202512, 202602);
             CREATE TABLE numbers_3 PARTITION OF numbers FOR VALUES IN (202511, NULL);
             CREATE TABLE numbers_6 PARTITION OF numbers FOR VALUES IN (202606);
             INSERT INTO numbers VALUES (202605), (202602), (NULL);",
        )
        .await;
        succeed(&db, "{ table = 'events', keep = '3 months', key_format = '%Y-%m', timezone = 'UTC' }, { table = 'numbers', keep = '3 months', key_format = '%Y%m', timezone = 'UTC' }").await;
        assert_eq!(attached(&db).await, ["events_6"]);
        assert_eq!(tables(&db, "numbers\\_%").await, ["public.numbers_1 attached", "public.numbers_3 attached", "public.numbers_6 attached"]);
        let failed = fail(&db, "{ table = 'events', keep = '1 month', key_format = '%Y_%m', timezone = 'UTC' }").await;
        assert!(failed[0].contains("cannot be read by key_format \"%Y_%m\""), "{failed:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_of_another_zone_are_refused() {
    on_each_major(async |db| {
        db.execute(&events(1..=6)).await;
        let failed = fail(&db, "{ table = 'events', keep = '1 month', timezone = 'Europe/Berlin' }").await;
        assert!(failed[0].contains("set timezone to the zone that they were made in"), "{failed:?}");
        assert_eq!(attached(&db).await.len(), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_check_finds_is_what_a_run_would_refuse() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{} CREATE TABLE events_rest PARTITION OF events DEFAULT; CREATE VIEW v AS SELECT id FROM events_1;
             CREATE TABLE other (id int, at timestamptz, FOREIGN KEY (id, at) REFERENCES events);",
            events(1..=6)
        ))
        .await;
        let found = job(&db, "{ table = 'events', keep = '4 months' }, { table = 'events', keep = '4 months', where = 'x' }").check().await;
        let said: Vec<String> = found.iter().map(|f| format!("{}: {} / {}", f.severity, f.message, f.mend)).collect();
        for expect in [
            "warning: public.other refers to public.events (constraint other_id_at_fkey) without an index",
            "warning: beside its default partition public.events_rest no partition of public.events can be detached concurrently",
            "error: ends 2026-02-01, before the cutoff 2026-02-15 12:00 (keep 4 months): view public.v depends on public.events_1",
            "error: public.events is partitioned, and where and age_from are about single rows",
        ] {
            assert!(said.iter().any(|said| said.starts_with(expect)), "{expect}: {said:#?}");
        }
        assert!(found.iter().all(|finding| finding.span.is_some()));
        // One that begins with the first column of the key finds the rows well enough.
        for (column, missing) in [("at", true), ("id", false)] {
            db.execute(&format!("DROP INDEX IF EXISTS one; CREATE INDEX one ON other ({column})")).await;
            let found = job(&db, "{ table = 'events', keep = '4 months' }").check().await;
            assert_eq!(found.iter().any(|found| found.message.contains("without an index")), missing, "{column}");
        }
    })
    .await;
}
