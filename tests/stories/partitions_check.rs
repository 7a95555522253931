//! `check` says what would go wrong with partitions, and the gauges how far they reach.

use chrono::{DateTime, Utc};
use pgtend::kinds::partitions::policy::Partitions;
use pgtend::kinds::partitions::{check, observe};
use pgtend::run::{Finding, GaugeName};

use crate::partitions_survey::session_as;
use crate::support::{Database, on_each_major};

fn config(tables: &str) -> Partitions {
    toml::from_str(&format!("tables = [{tables}]")).unwrap()
}

fn now() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

async fn findings(db: &Database, role: &str, config: &Partitions) -> Vec<Finding> {
    check::check(&session_as(db, role).await, config, chrono_tz::Tz::UTC, now()).await.unwrap()
}

async fn said(db: &Database, role: &str, tables: &str) -> Vec<String> {
    let found = findings(db, role, &config(tables)).await;
    found.iter().map(|found| format!("{}: {} -> {}", found.severity, found.message, found.mend)).collect()
}

const EVENTS: &str = "create table events (id int, created_at timestamptz, primary key (id, created_at))
        partition by range (created_at);
    create table events_11 partition of events for values from ('2026-11-01 00:00Z') to ('2026-12-01 00:00Z');
    create table events_12 partition of events for values from ('2026-12-01 00:00Z') to ('2027-01-01 00:00Z');";

#[tokio::test]
async fn a_table_that_is_well_is_told_until_when() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let said = said(&db, "postgres", "{ table = 'events', ahead = 1 }").await;
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("ok: public.events has partitions for another "), "{said:?}");
        assert!(said[0].contains("the first insert would fail at 2027-01-01 00:00:00Z"), "{said:?}");
    })
    .await;
}

#[tokio::test]
async fn each_finding_has_the_place_of_its_table_and_one_table_spoils_no_other() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} create table plain (); create table over (k date) partition by range (k);
             create table box (k int) partition by hash (k);"
        ))
        .await;
        let entries = [
            "{ table = 'gone' }",
            "{ table = 'plain' }",
            "{ table = 'over' }",
            "{ table = 'box' }",
            "{ table = 'events' }",
        ];
        let text = format!("tables = [{}]", entries.join(", "));
        let found = findings(&db, "postgres", &toml::from_str(&text).unwrap()).await;
        let about: Vec<_> = found.iter().map(|found| &text[found.span.clone().unwrap()]).collect();
        assert_eq!(about, entries, "{found:?}");
        let parts = [
            "there is no table public.gone",
            "public.plain is a table, not a partitioned one",
            "public.over has no partition for now: inserts fail",
            "public.box: no partition can be made: ",
            "public.events has partitions for another",
        ];
        for (found, part) in found.iter().zip(parts) {
            assert!(found.message.starts_with(part), "{}", found.message);
        }
    })
    .await;
}

#[tokio::test]
async fn what_others_would_notice_of_new_partitions_is_told() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} create table log (k date) partition by range (k);
             create table log_all partition of log for values from (minvalue) to (maxvalue);
             create table log_default partition of log default;
             alter table log enable row level security;
             create publication \"By leaf\" for table log, events;
             create publication whole for table log with (publish_via_partition_root = true);"
        ))
        .await;
        let said = said(&db, "postgres", "{ table = 'log' }, { table = 'events' }").await.join("\n");
        for part in [
            "public.log_all reaches without end (MAXVALUE)",
            "public.log has row security and 2 of its partitions have not",
            "public.log is published by \"By leaf\" partition by partition",
            "ALTER PUBLICATION \"By leaf\" SET (publish_via_partition_root = true);",
            "public.log is published and has no replica identity",
            "public.events is published by \"By leaf\" partition by partition",
        ] {
            assert!(said.contains(part), "{part} in:\n{said}");
        }
        assert!(!said.contains("public.events is published and has no replica identity"), "{said}");
        assert!(!said.contains("whole"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn an_epoch_that_will_not_fit_is_told_long_before() {
    on_each_major(async |db| {
        db.execute("create table seconds (k int) partition by range (k)").await;
        let said =
            said(&db, "postgres", "{ table = 'seconds', every = '1 year', ahead = 40, key_format = 'epoch' }").await;
        let told =
            said.iter().any(|line| line.contains("public.seconds: not every partition can be made: 2038 has no value"));
        assert!(told, "{said:?}");
    })
    .await;
}

#[tokio::test]
async fn the_gauges_say_how_far_and_how_many_and_nothing_of_what_is_not_known() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} create table events_default partition of events default;
             insert into events select n, '2030-01-01' from generate_series(1, 5) n;
             create table over (k date) partition by range (k);
             create table box (k int) partition by hash (k);"
        ))
        .await;
        let config = config("{ table = 'events' }, { table = 'gone' }, { table = 'box' }, { table = 'over' }");
        let session = session_as(&db, "postgres").await;
        let gauges = observe::observe(&session, &config, chrono_tz::Tz::UTC, now()).await.unwrap();
        let gauges: Vec<_> =
            gauges.gauges.iter().map(|gauge| (gauge.name, gauge.table.as_str(), gauge.value)).collect();
        let horizon = GaugeName::PartitionHorizon;
        assert_eq!(
            gauges,
            [
                (horizon, "public.events", 1_798_761_600.0),
                (GaugeName::DefaultPartitionRows, "public.events", 5.0),
                (horizon, "public.over", 1_795_262_400.0),
            ]
        );
    })
    .await;
}
