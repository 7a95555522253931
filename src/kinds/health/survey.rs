//! What the server says, collector by collector, in a number of statements that does not grow with the tables. One that cannot
//! be read spoils no other.
//!
//! Nothing here waits for a lock for longer than `lock_timeout`, nor holds one on a table for longer than it takes to ask the
//! operating system for the length of its files; but for default partitions, which are counted, each for a second at most.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use toml::Spanned;

use super::config::{Collector, Health};
use super::facts::{
    Age, Archiving, Facts, Holder, Holds, Index, Queries, Query, Read, Relations, Replication, Slot, Standby, Table,
    Transactions, Waiting, Wraparound,
};
use super::statements;
use crate::kinds::Context;
use crate::kinds::partitions::observe;
use crate::kinds::partitions::policy::{PartitionTable, Partitions};
use crate::pg::{Session, TableName, explain};
use crate::run::Gauge;

/// So often the sizes are asked for, if somebody was quicker to lock one of the tables; then the catalog has to do.
const TRIES: u32 = 3;

/// # Errors
/// The connection is gone.
pub async fn survey(health: &Health, cx: &Context, session: &Session) -> Result<Facts> {
    let asked = |collectors: &[Collector]| collectors.iter().any(|collector| health.collects(*collector));
    let row = session.query_one("SELECT pg_catalog.quote_ident(CURRENT_USER)", &[]).await.context("ask who we are")?;
    let mut facts = Facts { now: cx.now, role: row.get(0), ..Facts::default() };
    if asked(&[Collector::TableSizes, Collector::IndexUsage]) {
        facts.relations = read(session, relations(session).await)?;
    }
    if asked(&[Collector::SlowQueries]) {
        facts.queries = read(session, queries(session, &facts.role).await)?;
    }
    if asked(&[Collector::Wraparound]) {
        facts.wraparound = read(session, wraparound(session).await)?;
    }
    if asked(&[Collector::ReplicationSlots]) {
        facts.replication = read(session, replication(session).await)?;
    }
    if asked(&[Collector::LongTransactions]) {
        facts.transactions = read(session, transactions(session).await)?;
    }
    if asked(&[Collector::WalArchiving]) {
        facts.archiving = read(session, archiving(session).await)?;
    }
    if asked(&[Collector::Partitions]) {
        facts.partitions = read(session, partitions(health, cx, session).await)?;
    }
    Ok(facts)
}

/// What went wrong with one collector is that one's; without a connection there is nothing left to ask.
fn read<T>(session: &Session, read: Result<T>) -> Result<Read<T>> {
    match read {
        Ok(facts) => Ok(Some(Ok(facts))),
        Err(error) if session.is_closed() => Err(error),
        Err(error) => Ok(Some(Err(explain(&error)))),
    }
}

async fn relations(session: &Session) -> Result<Relations> {
    let mut tries = 0;
    let rows = loop {
        // Whether sizes are to be those of the catalog, which nobody can lock.
        let estimate = tries == TRIES;
        match session.query(include_str!("relations.sql"), &[&estimate]).await {
            // Somebody has locked a table between the look at the locks and the look at the table.
            Err(error) if !estimate && error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => tries += 1,
            answer => break answer.context("ask for the sizes of tables and indexes")?,
        }
    };
    let since = session
        .query_one("SELECT pg_catalog.pg_stat_get_db_stat_reset_time(d.oid) FROM pg_catalog.pg_database d WHERE d.datname = current_database()", &[])
        .await
        .context("ask since when the server counts")?;
    let mut found = Relations { counted_since: since.get(0), ..Relations::default() };
    for row in rows {
        let name = table_name(&row)?;
        if row.get::<_, &str>("kind") == "index" {
            found.indexes.push(Index {
                name,
                bytes: row.get("bytes"),
                scans: row.get("scans"),
                read: row.get("read"),
                fetched: row.get("fetched"),
                needed: row.get("needed"),
                invalid: row.get("invalid"),
            });
        } else {
            found.locked += row.get::<_, i64>("locked").unsigned_abs();
            found.tables.push(Table {
                schema: row.get("schema"),
                name,
                heap: row.get("bytes"),
                indexes: row.get("indexes"),
                toast: row.get("toast"),
                live: row.get("live"),
                dead: row.get("dead"),
            });
        }
    }
    Ok(found)
}

/// As people write it; of whatever stands under `schema` and `name`.
fn table_name(row: &Row) -> Result<String> {
    Ok(TableName::found(row.get::<_, String>("schema"), row.get::<_, String>("name"))?.plain())
}

async fn queries(session: &Session, role: &str) -> Result<Queries> {
    let there = statements::there(session).await?;
    let schema = match there.usable(role) {
        Ok(schema) => schema,
        Err(statements::Unusable::Absent { why, mend }) => return Ok(Queries::Absent { why, mend }),
        Err(statements::Unusable::Forbidden { why, mend }) => anyhow::bail!("{why}; {mend}"),
    };
    let mut sql = include_str!("statements.sql").replace("{schema}", &schema.to_string());
    if there.is_before_1_8() {
        sql = sql.replace("_exec_time", "_time");
    }
    let rows = session.query(&sql, &[]).await.context("read pg_stat_statements")?;
    let query = |row: &Row| Query {
        id: row.get("queryid"),
        calls: row.get("calls"),
        seconds: row.get("seconds"),
        min: row.get("min"),
        max: row.get("max"),
        stddev: row.get("stddev"),
    };
    Ok(Queries::Of(rows.iter().map(query).collect()))
}

async fn wraparound(session: &Session) -> Result<Wraparound> {
    let row = session
        .query_one(include_str!("wraparound.sql"), &[])
        .await
        .context("ask how old the oldest transaction ids are")?;
    let oldest = |column: &str| -> Result<Option<(String, i64)>> {
        let Some(words) = row.get::<_, Option<Vec<String>>>(column) else { return Ok(None) };
        let [schema, name, age] = words.as_slice() else { return Ok(None) };
        Ok(Some((TableName::found(schema.as_str(), name.as_str())?.plain(), age.parse()?)))
    };
    Ok(Wraparound {
        xid: Age { age: row.get("xids"), freeze_max: row.get("xids_max"), oldest: oldest("by_xid")? },
        multixact: Age {
            age: row.get("multixacts"),
            freeze_max: row.get("multixacts_max"),
            oldest: oldest("by_multixact")?,
        },
    })
}

async fn replication(session: &Session) -> Result<Replication> {
    let rows =
        session.query(include_str!("replication.sql"), &[]).await.context("look at replication slots and standbys")?;
    let mut found = Replication::default();
    // Several may go by one name: the one that is furthest behind.
    let mut standbys: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        let (name, bytes): (String, Option<i64>) = (row.get("name"), row.get("bytes"));
        match row.get::<_, &str>("what") {
            "slot" => found.slots.push(Slot {
                name,
                retained: bytes,
                active: row.get("active"),
                wal_status: row.get("wal_status"),
            }),
            "standby" => {
                // One that has only just come has replayed nothing yet.
                let lag = standbys.entry(name).or_default();
                *lag = bytes.unwrap_or_default().max(*lag);
            }
            _ => found.hidden = true,
        }
    }
    found.standbys = standbys.into_iter().map(|(name, lag)| Standby { name, lag }).collect();
    Ok(found)
}

async fn transactions(session: &Session) -> Result<Transactions> {
    let rows = session.query(include_str!("activity.sql"), &[]).await.context("look at open transactions")?;
    let mut found = Transactions::default();
    for row in rows {
        let what = match row.get::<_, &str>("what") {
            "transaction" => Holds::Transaction,
            "prepared" => Holds::Prepared,
            "slot" => Holds::Slot,
            "standby" => Holds::Standby,
            _ => {
                found.hidden = row.get("hidden");
                continue;
            }
        };
        let words = row.get::<_, Option<String>>("words").unwrap_or_default();
        found.holders.push(Holder { what, words, seconds: row.get("seconds"), xids: row.get("xids") });
    }
    Ok(found)
}

async fn archiving(session: &Session) -> Result<Archiving> {
    let row = session.query_one(include_str!("archiving.sql"), &[]).await.context("look at pg_stat_archiver")?;
    let enabled: bool = row.get("enabled");
    let waiting = if !enabled {
        Some(Waiting::default())
    } else if row.get::<_, bool>("may_look") {
        let row = session.query_one(include_str!("archiving_waiting.sql"), &[]).await;
        let row = row.context("look at what is ready to be archived")?;
        Some(Waiting { segments: row.get("segments"), oldest_seconds: row.get("oldest") })
    } else {
        None
    };
    let failing: Option<String> = row.get("failing");
    Ok(Archiving {
        enabled,
        idle: row.get("idle"),
        last_archived_at: row.get("last_archived_time"),
        failures: row.get("failed_count"),
        failing: failing.zip(row.get("last_failed_time")),
        waiting,
    })
}

/// The very gauges of a `partitions` job, of all tables whose key is known to be a time.
async fn partitions(health: &Health, cx: &Context, session: &Session) -> Result<Vec<Gauge>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        health.keys.iter().map(|word| (word.table.schema.as_str(), word.table.name.as_str())).unzip();
    let rows = session
        .query(include_str!("partitioned.sql"), &[&schemas, &names])
        .await
        .context("look for partitioned tables")?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in rows {
        let table = TableName::found(row.get::<_, String>("schema"), row.get::<_, String>("name"))?;
        let mut policy = PartitionTable::looked_at(table.clone());
        health.words_on(&table, &mut policy);
        tables.push(Spanned::new(0..0, policy));
    }
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let observed =
        observe::observe(session, &Partitions { tables, policies_of_others: Vec::new() }, cx.timezone, cx.now).await;
    Ok(observed.context("look at partitioned tables")?.gauges)
}
