//! What is made of tables, indexes and partitions. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::config::{Health, Size};
use super::facts::{Index, Relations, Table};
use super::plan::{OTHER, Told, names};
use crate::run::{Gauge, GaugeName};

/// Dead rows that are fewer are nobody's trouble, whatever they are beside the living ones.
const DEAD: i64 = 10_000;

pub fn tables(health: &Health, read: &Relations) -> Told {
    let mut told = Told::default();
    let mut tables: Vec<&Table> = read.tables.iter().collect();
    tables.sort_by(|a, b| b.size().cmp(&a.size()).then_with(|| a.name.cmp(&b.name)));
    let (named, others) = tables.split_at(tables.len().min(*health.tables.get_ref() as usize));
    for table in named {
        gauges(&mut told, &table.name, table);
    }
    if !others.is_empty() {
        let sum = others.iter().fold(Table::default(), |sum, table| Table {
            heap: sum.heap + table.heap,
            indexes: sum.indexes + table.indexes,
            toast: sum.toast + table.toast,
            live: sum.live + table.live,
            dead: sum.dead + table.dead,
            ..sum
        });
        gauges(&mut told, OTHER, &sum);
    }

    let mut schemas: BTreeMap<&str, i64> = BTreeMap::new();
    for table in &read.tables {
        *schemas.entry(&table.schema).or_default() += table.size();
    }
    let mut schemas: Vec<_> = schemas.into_iter().collect();
    schemas.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), *name));
    let (named, others) = schemas.split_at(schemas.len().min(*health.tables.get_ref() as usize));
    for (schema, size) in named {
        told.of(GaugeName::SchemaSize, schema, number(*size));
    }
    if !others.is_empty() {
        // A schema may be called so; then it is among them.
        let sum = others.iter().map(|(_, size)| size).sum::<i64>();
        let own = named.iter().find(|(name, _)| *name == OTHER).map_or(0, |(_, size)| *size);
        told.gauges.retain(|gauge| gauge.name != GaugeName::SchemaSize || gauge.table != OTHER);
        told.of(GaugeName::SchemaSize, OTHER, number(sum + own));
    }

    let dead: Vec<String> = tables
        .iter()
        .filter(|table| table.dead >= DEAD && number(table.dead) >= health.warn.dead_ratio * number(table.live))
        .map(|table| format!("{} ({} beside {} living)", table.name, table.dead, table.live))
        .collect();
    if !dead.is_empty() {
        told.find("dead rows", format!("VACUUM has not come for them, or could not remove them: {}", names(&dead)));
    }
    locked(&mut told, read);
    told
}

fn gauges(told: &mut Told, label: &str, table: &Table) {
    for (name, value) in [
        (GaugeName::TableSize, table.size()),
        (GaugeName::TableHeap, table.heap),
        (GaugeName::TableIndexes, table.indexes),
        (GaugeName::TableToast, table.toast),
        (GaugeName::TableLive, table.live),
        (GaugeName::TableDead, table.dead),
    ] {
        told.of(name, label, number(value));
    }
}

fn locked(told: &mut Told, read: &Relations) {
    if read.locked > 0 {
        told.find(
            "sizes",
            format!(
                "{} tables or indexes are locked (ACCESS EXCLUSIVE): their sizes are those that the last VACUUM or ANALYZE \
                 found",
                read.locked
            ),
        );
    }
}

pub fn indexes(health: &Health, read: &Relations) -> Told {
    let mut told = Told::default();
    let mut indexes: Vec<&Index> = read.indexes.iter().collect();
    indexes.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    let named = named_indexes(&indexes, *health.indexes.get_ref() as usize);
    let (named, others): (Vec<&Index>, Vec<&Index>) = indexes.iter().partition(|index| named.contains(&index.name));
    for index in named {
        scans(&mut told, &index.name, index);
    }
    if !others.is_empty() {
        let sum = others.iter().fold(Index::default(), |sum, index| Index {
            bytes: sum.bytes + index.bytes,
            scans: sum.scans + index.scans,
            read: sum.read + index.read,
            fetched: sum.fetched + index.fetched,
            ..sum
        });
        scans(&mut told, OTHER, &sum);
    }

    let unused: Vec<&Index> = indexes.iter().copied().filter(|index| index.is_unused()).collect();
    told.all(GaugeName::UnusedIndexes, count(unused.len()));
    told.all(GaugeName::UnusedIndexSize, number(unused.iter().map(|index| index.bytes).sum()));
    let large: Vec<String> = unused
        .iter()
        .map(|index| (index, Size(index.bytes.unsigned_abs())))
        .filter(|(_, size)| *size >= health.warn.unused_index)
        .map(|(index, size)| format!("{} ({size})", index.name))
        .collect();
    if !large.is_empty() {
        let since = read.counted_since.map_or_else(
            || "since the server counts".into(),
            |at| format!("since {}", at.format("%Y-%m-%d %H:%M:%SZ")),
        );
        told.find(
            "unused indexes",
            format!(
                "no query on this server has used them {since}, and each write keeps them up (replicas count for themselves): \
                 {}",
                names(&large)
            ),
        );
    }

    let invalid: Vec<String> =
        indexes.iter().filter(|index| index.invalid > 0).map(|index| index.name.clone()).collect();
    told.all(GaugeName::InvalidIndexes, number(indexes.iter().map(|index| index.invalid).sum()));
    if !invalid.is_empty() {
        told.find(
            "invalid indexes",
            format!(
                "building them failed, so that they are kept up and never used; DROP INDEX, or REINDEX INDEX CONCURRENTLY: {}",
                names(&invalid)
            ),
        );
    }
    // Told once, where sizes are asked for too.
    if !health.collects(super::config::Collector::TableSizes) {
        locked(&mut told, read);
    }
    told
}

/// Those that have a name of their own: half of them the ones that are scanned least, before all those that are unused; the others
/// the largest. Of two that are scanned as little, the larger. `indexes` are the largest first.
fn named_indexes(indexes: &[&Index], most: usize) -> BTreeSet<String> {
    let mut by_scans = indexes.to_vec();
    // Stable: it keeps the order by size.
    by_scans.sort_by_key(|index| (!index.is_unused(), index.scans));
    let mut named: BTreeSet<String> = by_scans.iter().take(most.div_ceil(2)).map(|index| index.name.clone()).collect();
    for index in indexes {
        if named.len() >= most {
            break;
        }
        named.insert(index.name.clone());
    }
    named
}

fn scans(told: &mut Told, label: &str, index: &Index) {
    told.of(GaugeName::IndexScans, label, number(index.scans));
    told.of(GaugeName::IndexRead, label, number(index.read));
    told.of(GaugeName::IndexFetched, label, number(index.fetched));
    told.of(GaugeName::IndexSize, label, number(index.bytes));
}

/// The gauges of partitioned tables, of as many as have names; those whose partitions end first, or that have most rows in
/// their default.
pub fn partitions(health: &Health, read: &[Gauge], now: DateTime<Utc>) -> Told {
    let mut told = Told::default();
    let most = *health.tables.get_ref() as usize;
    let of = |name: GaugeName| read.iter().filter(move |gauge| gauge.name == name);

    let mut ends: Vec<&Gauge> = of(GaugeName::PartitionHorizon).collect();
    ends.sort_by(|a, b| a.value.total_cmp(&b.value).then_with(|| a.table.cmp(&b.table)));
    let (named, others) = ends.split_at(ends.len().min(most));
    told.gauges.extend(named.iter().map(|gauge| (*gauge).clone()));
    if let Some(first) = others.first() {
        told.of(GaugeName::PartitionHorizon, OTHER, first.value);
    }
    let horizon = number(now.timestamp()) + health.warn.partition_horizon.0.as_secs_f64();
    let short: Vec<String> = ends
        .iter()
        .filter(|gauge| gauge.value < horizon)
        .map(|gauge| {
            #[allow(clippy::cast_possible_truncation, reason = "seconds of an era")]
            let until = DateTime::from_timestamp(gauge.value as i64, 0).unwrap_or_default();
            if until <= now {
                format!("{} (none for now)", gauge.table)
            } else {
                format!("{} ({})", gauge.table, until.format("%Y-%m-%d %H:%M:%SZ"))
            }
        })
        .collect();
    if !short.is_empty() {
        told.find("partitions", format!("they end soon, and then rows find none: {}", names(&short)));
    }

    let mut defaults: Vec<&Gauge> = of(GaugeName::DefaultPartitionRows).collect();
    defaults.sort_by(|a, b| b.value.total_cmp(&a.value).then_with(|| a.table.cmp(&b.table)));
    let (named, others) = defaults.split_at(defaults.len().min(most));
    told.gauges.extend(named.iter().map(|gauge| (*gauge).clone()));
    if !others.is_empty() {
        told.of(GaugeName::DefaultPartitionRows, OTHER, others.iter().map(|gauge| gauge.value).sum());
    }
    let filled: Vec<String> = defaults
        .iter()
        .filter(|gauge| gauge.value > 0.0)
        .map(|gauge| format!("{} ({})", gauge.table, gauge.value))
        .collect();
    if !filled.is_empty() {
        told.find(
            "default partitions",
            format!(
                "rows lie in them that no partition was there for; a `partitions` job moves them: {}",
                names(&filled)
            ),
        );
    }
    told
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub fn number(n: i64) -> f64 {
    n as f64
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub fn count(n: usize) -> f64 {
    n as f64
}
