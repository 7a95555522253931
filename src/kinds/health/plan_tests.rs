use chrono::TimeZone as _;
use proptest::prelude::*;

use super::*;
use crate::kinds::health::facts::{
    Age, Archiving, Holder, Holds, Index, Queries, Query, Relations, Replication, Slot, Standby, Table, Transactions,
    Waiting, Wraparound,
};

fn health(config: &str) -> Health {
    toml::from_str(config).unwrap()
}

fn facts() -> Facts {
    Facts {
        now: chrono::Utc.with_ymd_and_hms(2026, 11, 29, 12, 0, 0).unwrap(),
        role: "watcher".into(),
        ..Facts::default()
    }
}

/// What is published of a gauge: label and value, in order.
fn published(plan: &Plan<Action>, name: GaugeName) -> Vec<(String, f64)> {
    let Action::Publish { gauges, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    gauges.iter().filter(|gauge| gauge.name == name).map(|gauge| (gauge.table.clone(), gauge.value)).collect()
}

fn value(plan: &Plan<Action>, name: GaugeName, label: &str) -> Option<f64> {
    published(plan, name).into_iter().find(|(of, _)| of == label).map(|(_, value)| value)
}

fn warned(plan: &Plan<Action>) -> String {
    let warned = plan.notes.iter().filter(|note| note.action == "warn");
    warned.map(|note| format!("{}: {}\n", note.target, note.reason)).collect()
}

fn refused(plan: &Plan<Action>) -> Vec<String> {
    plan.actions[1..].iter().map(|action| format!("{}: {}", action.step().target, action.step().reason)).collect()
}

fn table(name: &str, heap: i64, dead: i64) -> Table {
    let schema = name.split('.').next().unwrap().into();
    Table { schema, name: name.into(), heap, indexes: 10, toast: 1, live: 1_000, dead }
}

fn tables(tables: Vec<Table>) -> Facts {
    Facts { relations: Some(Ok(Relations { tables, ..Relations::default() })), ..facts() }
}

#[test]
fn the_largest_keep_their_names_and_the_others_are_one_sum() {
    let facts =
        tables(vec![table("a.small", 1, 0), table("b.large", 300, 0), table("a.middle", 20, 7), table("c.tiny", 0, 2)]);
    let plan = plan(&health("collect = ['table_sizes']\ntables = 2"), &facts);
    let sizes = [("b.large", 311.0), ("a.middle", 31.0), ("other", 23.0)];
    assert_eq!(published(&plan, GaugeName::TableSize), sizes.map(|(name, size)| (name.to_string(), size)));
    assert_eq!(value(&plan, GaugeName::TableHeap, "other"), Some(1.0));
    assert_eq!(value(&plan, GaugeName::TableIndexes, "other"), Some(20.0));
    assert_eq!(value(&plan, GaugeName::TableDead, "a.middle"), Some(7.0));
    let schemas = [("b", 311.0), ("a", 43.0), ("other", 11.0)];
    assert_eq!(published(&plan, GaugeName::SchemaSize), schemas.map(|(name, size)| (name.to_string(), size)));
    assert_eq!(warned(&plan), "");
    assert_eq!(value(&plan, GaugeName::HealthCollected, "table_sizes"), Some(1.0));
    assert_eq!(value(&plan, GaugeName::HealthFindings, "table_sizes"), Some(0.0));
}

#[test]
fn there_is_no_sum_of_nothing() {
    let plan = plan(&health("collect = ['table_sizes']"), &tables(vec![table("a.b", 1, 0)]));
    assert_eq!(published(&plan, GaugeName::TableSize), [("a.b".to_string(), 12.0)]);
}

#[test]
fn dead_rows_are_found_where_they_are_many() {
    let facts = tables(vec![table("a.dead", 1, 10_000), table("a.few", 1, 9_999)]);
    let said = warned(&plan(&health("collect = ['table_sizes']"), &facts));
    assert!(said.contains("a.dead (10000 beside 1000 living)") && !said.contains("a.few"), "{said}");
    assert_eq!(warned(&plan(&health("collect = ['table_sizes']\nwarn = { dead_ratio = 11.0 }"), &facts)), "");
}

#[test]
fn sizes_of_what_is_locked_are_told_to_be_old_and_once() {
    let mut facts = tables(vec![]);
    facts.relations.as_mut().unwrap().as_mut().unwrap().locked = 3;
    for collect in ["['table_sizes', 'index_usage']", "['index_usage']"] {
        let said = warned(&plan(&health(&format!("collect = {collect}")), &facts));
        assert_eq!(said.matches("3 tables or indexes are locked").count(), 1, "{said}");
    }
}

#[test]
fn an_index_that_something_needs_is_not_unused() {
    let index = |name: &str, scans, needed, invalid| Index {
        name: name.into(),
        bytes: 100_000_000,
        scans,
        needed,
        invalid,
        ..Index::default()
    };
    let relations = Relations {
        indexes: vec![
            index("a.pkey", 0, true, 0),
            index("a.used", 1, false, 0),
            index("a.unused", 0, false, 0),
            index("a.broken", 0, false, 1),
        ],
        ..Relations::default()
    };
    let facts = Facts { relations: Some(Ok(relations)), ..facts() };
    let plan = plan(&health("collect = ['index_usage']\nindexes = 1"), &facts);
    assert_eq!(value(&plan, GaugeName::UnusedIndexes, ""), Some(1.0));
    assert_eq!(value(&plan, GaugeName::UnusedIndexSize, ""), Some(100_000_000.0));
    assert_eq!(value(&plan, GaugeName::InvalidIndexes, ""), Some(1.0));
    assert_eq!(published(&plan, GaugeName::IndexSize).len(), 2);
    assert_eq!(value(&plan, GaugeName::IndexScans, OTHER), Some(1.0));
    let said = warned(&plan);
    assert!(said.contains("a.unused (100.0 MB)") && said.contains("CONCURRENTLY: a.broken"), "{said}");
    assert!(!said.contains("a.pkey") && !said.contains("a.used"), "{said}");
}

#[test]
fn half_of_the_indexes_with_names_are_those_that_are_scanned_least() {
    let index = |name: &str, bytes, scans, needed| Index {
        name: name.into(),
        bytes,
        scans,
        read: 2 * scans,
        fetched: scans,
        needed,
        ..Index::default()
    };
    let indexes = vec![
        index("a.huge", 900, 50, false),
        index("a.large", 800, 60, false),
        index("a.middle", 700, 70, false),
        index("a.pkey", 600, 0, true),
        index("a.rare", 500, 1, false),
        index("a.unused", 20, 0, false),
        index("a.tiny", 10, 0, false),
    ];
    let facts = Facts { relations: Some(Ok(Relations { indexes, ..Relations::default() })), ..facts() };
    let check = |most: u32, expect: &[&str]| {
        let plan = plan(&health(&format!("collect = ['index_usage']\nindexes = {most}")), &facts);
        let named: Vec<String> = published(&plan, GaugeName::IndexSize).into_iter().map(|(name, _)| name).collect();
        assert_eq!(named, expect, "{most}");
        let sum = |name| published(&plan, name).iter().map(|(_, value)| value).sum::<f64>();
        assert_eq!((sum(GaugeName::IndexScans), sum(GaugeName::IndexRead)), (181.0, 362.0), "{most}");
        assert_eq!(sum(GaugeName::IndexFetched), 181.0, "{most}");
    };
    check(0, &["other"]);
    check(1, &["a.unused", "other"]);
    check(4, &["a.huge", "a.large", "a.unused", "a.tiny", "other"]);
    // What stands on something comes after those that nobody needs.
    check(5, &["a.huge", "a.large", "a.pkey", "a.unused", "a.tiny", "other"]);
    check(7, &["a.huge", "a.large", "a.middle", "a.pkey", "a.rare", "a.unused", "a.tiny"]);
}

#[test]
fn several_statements_together_are_as_if_they_were_one() {
    // 1, 1, 4 and 10 seconds.
    let twice = Query { id: 1, calls: 2, seconds: 2.0, min: 1.0, max: 1.0, stddev: 0.0 };
    let spread = Query { id: 2, calls: 2, seconds: 14.0, min: 4.0, max: 10.0, stddev: 3.0 };
    let never = Query { id: 3, ..Query::default() };
    let plan = plan(
        &health("collect = ['slow_queries']\nqueries = 0"),
        &Facts { queries: Some(Ok(Queries::Of(vec![twice, spread.clone(), never]))), ..facts() },
    );
    let other = |name| value(&plan, name, "other").unwrap();
    assert_eq!((other(GaugeName::QueryMin), other(GaugeName::QueryMax)), (1.0, 10.0));
    assert_eq!((other(GaugeName::QueryMean), other(GaugeName::QueryCalls)), (4.0, 4.0));
    assert!((other(GaugeName::QueryStddev) - 13.5_f64.sqrt()).abs() < 1e-12, "{plan:?}");
    assert_eq!(Query::together(&[&spread]), Query { id: 0, ..spread });
}

#[test]
fn statements_are_named_by_mean_and_by_total() {
    let query = |id, calls, seconds| Query { id, calls, seconds, ..Query::default() };
    let queries =
        vec![query(1, 1, 2.0), query(2, 1_000, 100.0), query(3, 10, 0.1), query(-4, 10, 0.3), query(5, 0, 0.0)];
    let facts = Facts { queries: Some(Ok(Queries::Of(queries))), ..facts() };
    let plan = plan(&health("collect = ['slow_queries']\nqueries = 1"), &facts);
    let means = [("2", 0.1), ("1", 2.0), ("other", 0.02)];
    assert_eq!(published(&plan, GaugeName::QueryMean), means.map(|(id, mean)| (id.to_string(), mean)));
    assert_eq!(value(&plan, GaugeName::QueryCalls, "other"), Some(20.0));
    let said = warned(&plan);
    assert!(said.contains("1 (2.000 s, 1 times)") && said.contains("queryid") && !said.contains("2 (0.1"), "{said}");
}

#[test]
fn statements_that_nobody_times_are_a_finding_and_no_failure() {
    let absent = Queries::Absent { why: "it is not there".into(), mend: "make it".into() };
    let plan = plan(&health("collect = ['slow_queries']"), &Facts { queries: Some(Ok(absent)), ..facts() });
    assert!(warned(&plan).contains("it is not there; make it"), "{plan:?}");
    assert_eq!(refused(&plan), [""; 0]);
    assert_eq!(value(&plan, GaugeName::HealthFindings, "slow_queries"), Some(1.0));
}

#[test]
fn ages_are_found_beside_what_autovacuum_goes_by_and_beside_the_end() {
    let check = |xid: i64, freeze_max: i64, found: bool| {
        let age = |age| Age { age, freeze_max, oldest: Some(("public.old".into(), age)) };
        let facts = Facts { wraparound: Some(Ok(Wraparound { xid: age(xid), multixact: age(0) })), ..facts() };
        let plan = plan(&health("collect = ['wraparound']"), &facts);
        assert_eq!(value(&plan, GaugeName::XidAge, ""), Some(sizes::number(xid)));
        let said = warned(&plan);
        assert_eq!(said.contains("public.old") && said.contains("transaction ids"), found, "{said}");
        assert!(!said.contains("multixacts"), "{said}");
    };
    check(299_999_999, 200_000_000, false);
    check(300_000_000, 200_000_000, true);
    check(1_599_999_999, 2_000_000_000, false);
    check(1_600_000_000, 2_000_000_000, true);
}

#[test]
fn a_slot_says_what_it_keeps_and_who_reads_it() {
    let slot = |name: &str, retained, active, status: Option<&str>| Slot {
        name: name.into(),
        retained,
        active,
        wal_status: status.map(Into::into),
    };
    let replication = Replication {
        slots: vec![
            slot("fine", Some(5), true, Some("reserved")),
            slot("left", Some(20_000_000_000), false, Some("extended")),
            slot("gone", None, false, Some("lost")),
            slot("fresh", None, false, None),
        ],
        standbys: vec![Standby { name: "near".into(), lag: 7 }, Standby { name: "far".into(), lag: 1_000_000_000 }],
        hidden: false,
    };
    let mut facts = Facts { replication: Some(Ok(replication)), ..facts() };
    let told = plan(&health("collect = ['replication_slots']"), &facts);
    assert_eq!(value(&told, GaugeName::SlotRetained, "left"), Some(20_000_000_000.0));
    assert_eq!(value(&told, GaugeName::SlotRetained, "gone"), None);
    assert_eq!(value(&told, GaugeName::SlotWalStatus, "gone"), Some(3.0));
    assert_eq!(value(&told, GaugeName::SlotWalStatus, "fresh"), None);
    assert_eq!(value(&told, GaugeName::SlotActive, "fine"), Some(1.0));
    let said = warned(&told);
    for words in ["slot left: keeps 20.0 GB", "nobody is connected", "slot gone: the WAL", "standby far: is 1.0 GB"] {
        assert!(said.contains(words), "{said} does not say {words}");
    }
    assert!(!said.contains("fine") && !said.contains("near"), "{said}");
    assert_eq!(refused(&told), [""; 0]);

    facts.replication.as_mut().unwrap().as_mut().unwrap().hidden = true;
    let told = plan(&health("collect = ['replication_slots']"), &facts);
    assert!(refused(&told)[0].contains("GRANT pg_monitor TO watcher"), "{told:?}");
    assert_eq!(value(&told, GaugeName::SlotActive, "fine"), Some(1.0), "the slots are published all the same");
    assert_eq!(value(&told, GaugeName::HealthCollected, "replication_slots"), Some(0.0));
}

#[test]
fn the_oldest_transaction_counts_and_is_not_told_where_it_is_not_seen() {
    let holder = |what, words: &str, seconds, xids| Holder { what, words: words.into(), seconds, xids };
    let mut transactions = Transactions {
        hidden: false,
        holders: vec![
            holder(Holds::Transaction, "pid 1", Some(3_599.0), Some(9)),
            holder(Holds::Transaction, "pid 2", Some(7_500.0), None),
            holder(Holds::Prepared, "prepared transaction 'x'", Some(60.0), Some(400)),
            holder(Holds::Slot, "replication slot s", None, Some(12)),
        ],
    };
    let check = |transactions: &Transactions| {
        let facts = Facts { transactions: Some(Ok(transactions.clone())), ..facts() };
        plan(&health("collect = ['long_transactions']\nwarn = { prepared_transaction = '1m' }"), &facts)
    };
    let told = check(&transactions);
    assert_eq!(value(&told, GaugeName::OldestTransaction, ""), Some(7_500.0));
    assert_eq!(value(&told, GaugeName::OldestPrepared, ""), Some(60.0));
    assert_eq!(value(&told, GaugeName::Prepared, ""), Some(1.0));
    let ages = published(&told, GaugeName::OldestSnapshot);
    let expect = [("transaction", 9.0), ("prepared_transaction", 400.0), ("replication_slot", 12.0), ("standby", 0.0)];
    assert_eq!(ages, expect.map(|(name, age)| (name.to_string(), age)));
    let said = warned(&told);
    assert!(said.contains("pid 2: open for 2 h 5 min") && !said.contains("pid 1:"), "{said}");
    assert!(said.contains("prepared transaction 'x': prepared, and open for 1 min"), "{said}");

    transactions.hidden = true;
    let told = check(&transactions);
    assert_eq!(value(&told, GaugeName::OldestTransaction, ""), None, "a 0 would be a lie");
    assert_eq!(value(&told, GaugeName::Prepared, ""), Some(1.0));
    assert!(refused(&told)[0].contains("GRANT pg_monitor TO watcher"), "{told:?}");

    let told = check(&Transactions::default());
    assert_eq!(value(&told, GaugeName::OldestTransaction, ""), Some(0.0));
    assert_eq!(warned(&told), "");
}

#[test]
fn what_waits_to_be_archived_alarms_whatever_the_failures_are() {
    let check = |archiving: Archiving| {
        plan(&health("collect = ['wal_archiving']"), &Facts { archiving: Some(Ok(archiving)), ..facts() })
    };
    let waiting = |segments, oldest_seconds| Archiving {
        enabled: true,
        waiting: Some(Waiting { segments, oldest_seconds }),
        ..Archiving::default()
    };
    let told = check(waiting(3, Some(600.0)));
    assert_eq!(value(&told, GaugeName::WalArchiveFailures, ""), Some(0.0));
    assert_eq!(value(&told, GaugeName::WalArchiveWaiting, ""), Some(3.0));
    assert_eq!(value(&told, GaugeName::WalArchiveOldest, ""), Some(600.0));
    assert!(
        warned(&told).contains("3 segments are waiting to be archived, the oldest for 10 min; none was ever"),
        "{told:?}"
    );
    assert_eq!(warned(&check(waiting(3, Some(599.0)))), "");
    let sooner = |oldest| {
        let facts = Facts { archiving: Some(Ok(waiting(1, Some(oldest)))), ..facts() };
        warned(&plan(&health("collect = ['wal_archiving']\nwarn = { archive_waiting = '5m' }"), &facts))
    };
    assert!(sooner(300.0).contains("the oldest for 5 min") && sooner(299.0).is_empty());
    assert_eq!(warned(&check(waiting(0, None))), "");

    let told = check(Archiving::default());
    assert_eq!(value(&told, GaugeName::WalArchiveEnabled, ""), Some(0.0));
    assert_eq!(value(&told, GaugeName::WalArchiveOldest, ""), None);
    assert_eq!(warned(&told), "");

    let told = check(Archiving { enabled: true, failing: Some(("0001".into(), facts().now)), ..Archiving::default() });
    assert!(warned(&told).contains("0001 at 2026-11-29 12:00:00Z"), "{told:?}");
    assert!(refused(&told)[0].contains("pg_ls_archive_statusdir"), "{told:?}");
    assert_eq!(value(&told, GaugeName::WalArchiveEnabled, ""), Some(1.0));
}

#[test]
fn that_no_wal_is_archived_is_a_finding_where_it_is_meant_to_be() {
    let check = |keys: &str, enabled, idle, expect: &str| {
        let archiving = Archiving { enabled, idle, waiting: Some(Waiting::default()), ..Archiving::default() };
        let facts = Facts { archiving: Some(Ok(archiving)), ..facts() };
        let plan = plan(&health(&format!("collect = ['wal_archiving']\n{keys}")), &facts);
        let said = warned(&plan);
        assert!(if expect.is_empty() { said.is_empty() } else { said.contains(expect) }, "{keys}: {said}");
        let found = if expect.is_empty() { 0.0 } else { 1.0 };
        assert_eq!(value(&plan, GaugeName::HealthFindings, "wal_archiving"), Some(found));
        assert_eq!(value(&plan, GaugeName::WalArchiveEnabled, ""), Some(if enabled { 1.0 } else { 0.0 }));
        assert_eq!(plan.notes.iter().any(|note| note.action == "keep"), said.is_empty() && (idle || !enabled));
    };
    for keys in ["", "warn = { archive_off = false }"] {
        check(keys, false, true, "");
        check(keys, true, true, "");
        check(keys, true, false, "");
    }
    let keys = "warn = { archive_off = true }";
    check(keys, false, false, "archive_mode is off: no WAL is archived");
    check(keys, true, true, "neither archive_command nor archive_library is set");
    check(keys, true, false, "");
}

#[test]
fn partitions_that_end_first_keep_their_names() {
    let now = sizes::number(facts().now.timestamp());
    let gauge = |name, table: &str, value| Gauge { name, table: table.into(), value };
    let gauges = vec![
        gauge(GaugeName::PartitionHorizon, "a.year", now + 365.0 * 86_400.0),
        gauge(GaugeName::PartitionHorizon, "a.soon", now + 86_400.0),
        gauge(GaugeName::PartitionHorizon, "a.over", now),
        gauge(GaugeName::DefaultPartitionRows, "a.year", 0.0),
        gauge(GaugeName::DefaultPartitionRows, "a.soon", 41.0),
    ];
    let facts = Facts { partitions: Some(Ok(gauges)), ..facts() };
    let plan = plan(&health("collect = ['partitions']\ntables = 1"), &facts);
    let ends = [("a.over", now), ("other", now + 86_400.0)];
    assert_eq!(published(&plan, GaugeName::PartitionHorizon), ends.map(|(name, at)| (name.to_string(), at)));
    assert_eq!(value(&plan, GaugeName::DefaultPartitionRows, "a.soon"), Some(41.0));
    let said = warned(&plan);
    assert!(
        said.contains("a.over (none for now), a.soon (2026-11-30 12:00:00Z)") && !said.contains("a.year"),
        "{said}"
    );
    assert!(said.contains("a.soon (41)"), "{said}");
}

#[test]
fn a_collector_fails_alone_and_one_that_is_not_asked_says_nothing() {
    let facts = Facts { wraparound: Some(Err("gone".into())), archiving: Some(Ok(Archiving::default())), ..facts() };
    let plan = plan(&health("collect = ['wal_archiving', 'wraparound']"), &facts);
    assert_eq!(refused(&plan), ["wraparound: gone"]);
    let collected = [("wraparound", 0.0), ("wal_archiving", 1.0)];
    assert_eq!(published(&plan, GaugeName::HealthCollected), collected.map(|(name, is)| (name.to_string(), is)));
    assert!(plan.actions[0].step().reason.ends_with("gauges of wal_archiving"), "{plan:?}");
}

proptest! {
    /// However many tables, indexes and statements: no more names than the config allows, each once, and nothing is lost.
    #[test]
    fn names_are_bounded_and_sums_are_whole(
        sizes in prop::collection::vec(0_i64..1_000_000, 0..40),
        most in 0_usize..12,
    ) {
        let named = |n: usize| format!("a.t{n}");
        let relations = Relations {
            tables: sizes.iter().enumerate().map(|(n, size)| table(&named(n), *size, 0)).collect(),
            indexes: sizes
                .iter()
                .enumerate()
                .map(|(n, bytes)| Index { name: named(n), bytes: *bytes, ..Index::default() })
                .collect(),
            ..Relations::default()
        };
        let queries = sizes
            .iter()
            .zip(0..)
            .map(|(size, id)| Query { id, calls: size % 7, seconds: sizes::number(*size), ..Query::default() })
            .collect();
        let facts = Facts { relations: Some(Ok(relations)), queries: Some(Ok(Queries::Of(queries))), ..facts() };
        let config = format!(
            "collect = ['table_sizes', 'index_usage', 'slow_queries']\ntables = {most}\nindexes = {most}\nqueries = {most}"
        );
        let plan = plan(&health(&config), &facts);
        let heap: i64 = sizes.iter().sum();
        for (name, sum, most) in [
            (GaugeName::TableHeap, heap, most),
            (GaugeName::IndexSize, heap, most),
            // By mean, and by total.
            (GaugeName::QueryTime, heap, 2 * most),
        ] {
            let series = published(&plan, name);
            prop_assert!(series.len() <= most + 1, "{series:?}");
            let mut labels: Vec<_> = series.iter().map(|(label, _)| label).collect();
            labels.sort();
            labels.dedup();
            prop_assert_eq!(labels.len(), series.len());
            let total: f64 = series.iter().map(|(_, value)| value).sum();
            prop_assert!((total - sizes::number(sum)).abs() < 0.5, "{} is not {}", total, sum);
        }
    }
}
