//! Rights and settings that a run would miss, each with what to do.

use anyhow::{Context as _, Result};

use super::config::{Collector, Health};
use super::reading::no_table;
use super::statements::{self, Unusable};
use crate::pg::Session;
use crate::run::Finding;

/// # Errors
/// The server does not answer.
pub async fn check(health: &Health, session: &Session) -> Result<Vec<Finding>> {
    let row = session.query_one(include_str!("check.sql"), &[]).await.context("ask what the role may read")?;
    let is = |column: &str| row.get::<_, Option<bool>>(column).unwrap_or(false);
    let role: String = row.get("role");
    let mut found = Vec::new();
    let monitor = format!("GRANT pg_monitor TO {role}");

    let hidden: Vec<&str> = [
        (Collector::LongTransactions, !is("sees_all")),
        (Collector::ReplicationSlots, !is("sees_all") && is("has_standbys")),
        (Collector::WalArchiving, is("archives") && !is("may_look")),
    ]
    .into_iter()
    .filter(|(collector, missing)| *missing && health.collects(*collector))
    .map(|(collector, _)| collector.as_str())
    .collect();
    if !hidden.is_empty() {
        let message = format!("role {role} may not read all that these collectors read: {}", hidden.join(", "));
        found.push(Finding::error(message, format!("{monitor}, or leave them out of `collect`")));
    }
    if health.collects(Collector::SlowQueries) {
        match statements::there(session).await?.usable(&role) {
            Ok(_) => {}
            Err(Unusable::Absent { why, mend }) => {
                found.push(Finding::warning(why, format!("{mend}; or leave slow_queries out of `collect`")));
            }
            Err(Unusable::Forbidden { why, mend }) => found.push(Finding::error(why, mend)),
        }
    }
    let counted = health.collects(Collector::TableSizes) || health.collects(Collector::IndexUsage);
    if counted && !is("counts") {
        found.push(Finding::warning(
            "track_counts is off: neither dead rows nor scans of indexes are counted",
            "set track_counts = on, which autovacuum needs too",
        ));
    }
    // Without the schema it is the history's to say what is missing.
    if !is("no_schema") && !session.is_standby {
        if !is("is_there") && !is("may_make") {
            found.push(Finding::error(
                format!("there is no table pgtend.reading, and role {role} may not make it"),
                no_table(),
            ));
        } else if is("is_there") && !is("may_write") {
            found.push(Finding::error(
                format!("role {role} may not write its readings into pgtend.reading"),
                format!("GRANT SELECT, INSERT, UPDATE ON pgtend.reading TO {role}"),
            ));
        }
    }
    Ok(found)
}
