//! What `check` says about the tables of a job.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio_postgres::Row;

use super::every::{Line, Periods};
use super::facts::{Bound, DefaultRows, Edge, TableFacts};
use super::policy::{PartitionTable, Partitions};
use super::rows::{self, Count};
use super::survey::{self, Refusal};
use super::{plan, runway::Runway};
use crate::kinds::Lasting;
use crate::period::human;
use crate::pg::{Session, TableName};
use crate::run::{Finding, Severity};

/// # Errors
/// The server cannot be asked.
pub async fn check(session: &Session, config: &Partitions, zone: Tz, now: DateTime<Utc>) -> Result<Vec<Finding>> {
    let surveyed = survey::survey(session, &config.names()).await?;
    let known: Vec<_> = config.policies().zip(&surveyed).filter_map(|(p, s)| Some((p, s.as_ref().ok()?))).collect();
    let wanted: Vec<_> = known.iter().filter_map(|(p, facts)| Some((*facts, p.tablespace.as_ref()?))).collect();
    let obstacles = survey::tablespaces(session, &wanted).await?;
    let mut tablespaces: HashMap<u32, String> =
        wanted.iter().zip(obstacles).filter_map(|((facts, _), why)| Some((facts.oid, why?))).collect();
    let oids: Vec<u32> = known.iter().map(|(_, facts)| facts.oid).collect();
    let mut hints = hints(session, &oids).await?;

    let mut found = Vec::new();
    for (entry, surveyed) in config.tables.iter().zip(&surveyed) {
        let policy = entry.get_ref();
        let findings = match surveyed {
            Err(Refusal { why, mend, .. }) => vec![Finding::error(why, mend)],
            Ok(facts) => {
                let count = match facts.default.as_ref().filter(|default| default.has_rows != Some(false)) {
                    Some(default) => rows::count(session, facts, default).await?,
                    None => Some(Count::Exactly(0)),
                };
                let planned = plan::wanted(facts, policy, zone, now, None);
                let mut findings = obstacles_of(facts, tablespaces.remove(&facts.oid));
                // Of the obstacles it would say the same again.
                let refusal = planned.refusal.as_ref().filter(|_| findings.is_empty());
                findings.extend(refusal.map(|why| {
                    Finding::error(
                        format!("{}: no partition can be made: {why}", policy.table.plain()),
                        "until that is mended, partitions are made by hand or not at all",
                    )
                }));
                findings.extend(planned.beyond.as_ref().filter(|_| planned.refusal.is_none()).map(|why| {
                    Finding::error(
                        format!("{}: not every partition can be made: {why}", policy.table.plain()),
                        "lower ahead, or give the key a larger type",
                    )
                }));
                // A refusal ends with how far the partitions reach.
                let runway = planned.runway.as_ref().filter(|_| refusal.is_none());
                // One to be made for a time that is over, or to come, helps no insert of now.
                let makes = |now| planned.creates.iter().any(|one| one.create.from <= now && now < one.create.to);
                findings.extend(runway.map(|runway| reach(&policy.table, runway, makes(now))));
                findings.extend(default_rows(policy, facts, count));
                findings.extend(shape(facts));
                findings.extend(hints.remove(&facts.oid).unwrap_or_default());
                findings
            }
        };
        found.extend(findings.into_iter().map(|finding| finding.at(entry.span())));
    }
    Ok(found)
}

/// Until when the work of a run at `at` lasts, if it does all it is meant to do.
pub fn lasts(config: &Partitions, at: DateTime<Utc>, zone: Tz) -> Vec<Lasting> {
    let lasting = |entry: &toml::Spanned<PartitionTable>| {
        let policy = entry.get_ref();
        let zone = policy.zone(zone);
        let periods = Periods { every: policy.every().ok()?, zone, line: Line::Instant };
        let current = periods.holding(Line::Instant.position(at, zone));
        let end = periods.start(current + 1 + i64::from(policy.ahead))?;
        let what = format!("the partitions of {}", policy.table.plain());
        Some(Lasting { span: entry.span(), what, until: Line::Instant.instant(end, zone), mend: "raise ahead" })
    };
    config.tables.iter().filter_map(lasting).collect()
}

fn obstacles_of(facts: &TableFacts, tablespace: Option<String>) -> Vec<Finding> {
    let all = facts.obstacles.iter().chain(&tablespace);
    all.map(|obstacle| match obstacle.rsplit_once(": GRANT ") {
        Some((why, grant)) => Finding::error(why, format!("GRANT {grant}")),
        None => Finding::error(obstacle, "create it, or correct the name"),
    })
    .collect()
}

/// Rows that no partition was there for, and what will become of them.
fn default_rows(policy: &PartitionTable, facts: &TableFacts, count: Option<Count>) -> Option<Finding> {
    let default = facts.default.as_ref()?;
    let holds = match count {
        Some(Count::Exactly(0)) => return None,
        Some(count) => format!("holds {count}"),
        None => "may hold rows, which could not be counted".into(),
    };
    let name = default.name.plain();
    let max = policy.default_rows_max;
    let (fate, mend) = match (policy.default_rows, &facts.immutable) {
        (DefaultRows::Refuse, _) => (
            "a period that has rows there gets no partition, since default_rows is \"refuse\"".to_string(),
            "move them by hand, or write default_rows = \"move\"".to_string(),
        ),
        (DefaultRows::Move, _) if !default.referenced_by.is_empty() => (
            format!(
                "a period that has rows there gets no partition, since {} point at them, and taking them out would delete \
                 or orphan what refers to them",
                default.referenced_by.join(", ")
            ),
            "in one transaction: set the referring rows and these aside, delete them in that order, make the partition, \
             and insert them in the other order"
                .into(),
        ),
        (DefaultRows::Move, Some(trigger)) => (
            format!(
                "trigger {trigger} keeps rows from being deleted, so those of a new period, at most {max}, are copied into \
                 its partition, and a smaller default partition takes the place of this one"
            ),
            "see that this is meant".into(),
        ),
        (DefaultRows::Move, None) => (
            format!("those of a new period are moved into its partition as it is made, at most {max}; more are refused"),
            "see why there was no partition for them".into(),
        ),
    };
    Some(Finding::warning(format!("the default partition {name} {holds}: {fate}"), mend))
}

/// What is odd about the partitions there are.
fn shape(facts: &TableFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    let table = facts.table.plain();
    for partition in facts.partitions.iter().filter(|partition| partition.detach_pending) {
        found.push(Finding::warning(
            format!(
                "the detaching of {} from {table} was begun and not finished: its rows are out of sight, and its range is \
                 refused to inserts and to new partitions",
                partition.name.plain()
            ),
            format!("ALTER TABLE {} DETACH PARTITION {} FINALIZE;", facts.table, partition.name),
        ));
    }
    for partition in &facts.partitions {
        if matches!(&partition.bound, Bound::Range { to: Edge::MaxValue, .. }) {
            let (table, name) = (&facts.table, &partition.name);
            found.push(Finding::warning(
                format!("{} reaches without end (MAXVALUE): no partition can be made after its beginning", name.plain()),
                format!(
                    "detach it, run the job, INSERT INTO {table} SELECT * FROM {name}; and drop it when the rows are there"
                ),
            ));
        }
    }
    if let Some(sub) = facts.partitions.iter().find(|partition| partition.is_parent) {
        let new = match plan::newest_parent(facts) {
            Some(_) => "no new ones are made, since it is not known by what they should be",
            None => "new ones are made as plain tables, as the newest is",
        };
        found.push(Finding::warning(
            format!("partitions of {table} are partitioned themselves ({}); {new}", sub.name.plain()),
            "make those partitions by hand if they are to be partitioned too",
        ));
    }
    found
}

/// Until when inserts find a partition. That there is none for now is what the job is for, as long as its next run makes one.
fn reach(table: &TableName, runway: &Runway, is_made: bool) -> Finding {
    let table = table.plain();
    match runway.until {
        _ if runway.is_over() => match &runway.default {
            Some(default) => Finding::warning(
                format!("{table} has no partition for now: rows go into the default partition {}", default.plain()),
                "run the job",
            ),
            None if is_made => Finding::warning(
                format!("{table} has no partition for now: inserts fail until the job has run, which makes it"),
                "run the job",
            ),
            None => Finding::error(format!("{table} has no partition for now: inserts fail"), "make it by hand"),
        },
        until => {
            let left = until.and_then(|until| (until - runway.now).to_std().ok());
            let left = left.map_or_else(|| "ever".into(), |left| format!("another {}", human(left)));
            let message = format!("{table} has partitions for {left}: {}", runway.sentence());
            Finding { severity: Severity::Ok, ..Finding::warning(message, "") }
        }
    }
}

/// What a new partition changes for others: row security and publications.
async fn hints(session: &Session, oids: &[u32]) -> Result<HashMap<u32, Vec<Finding>>> {
    let mut sql = include_str!("check_hints.sql").to_string();
    if session.version < 150_000 {
        let none = "(SELECT NULL::oid AS pnpubid, NULL::oid AS pnnspid WHERE false)";
        sql = sql.replace("pg_catalog.pg_publication_namespace", none);
    }
    let rows = session.query(&sql, &[&oids]).await.context("look up row security and publications")?;
    rows.iter().map(|row| Ok((row.get(0), hint(row)?))).collect()
}

fn hint(row: &Row) -> Result<Vec<Finding>> {
    let table = TableName::found(row.get::<_, &str>("nspname"), row.get::<_, &str>("relname"))?;
    let mut found = Vec::new();
    let open: i64 = row.get("open_partitions");
    if open > 0 {
        found.push(Finding::warning(
            format!(
                "{} has row security and {open} of its partitions have not: whoever may read those directly sees every row",
                table.plain()
            ),
            "ALTER TABLE each of them ENABLE ROW LEVEL SECURITY, or grant nothing on them",
        ));
    }
    let by_leaf: Vec<String> = row.get("published_by_leaf");
    if !by_leaf.is_empty() {
        let publications = by_leaf.join(", ");
        found.push(Finding::warning(
            format!(
                "{} is published by {publications} partition by partition: a subscriber needs each new one made there, and \
                 ALTER SUBSCRIPTION … REFRESH PUBLICATION, before its rows arrive",
                table.plain()
            ),
            by_leaf
                .iter()
                .map(|publication| format!("ALTER PUBLICATION {publication} SET (publish_via_partition_root = true);"))
                .collect::<Vec<_>>()
                .join(" "),
        ));
    }
    if row.get("nothing_identifies_rows") {
        found.push(Finding::warning(
            format!("{} is published and has no replica identity: UPDATE and DELETE fail on it", table.plain()),
            "give it a primary key, or set REPLICA IDENTITY FULL on it and on each partition",
        ));
    }
    Ok(found)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
