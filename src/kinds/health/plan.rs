//! What was read -> gauges, findings, and what could not be read. Pure.

use super::config::{Collector, Health};
use super::facts::Facts;
use super::{server, sizes};
use crate::run::{Gauge, GaugeName, Plan, Step};

/// The label of what is beyond the bounds, all together. No table or index is called so: theirs have a schema.
pub const OTHER: &str = "other";

/// What is done: the readings are written down for all daemons; and each collector that could not read fails by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Publish { gauges: Vec<Gauge>, collected: Vec<Collector>, findings: usize },
    Refuse { collector: Collector, why: String },
}

impl Action {
    pub fn step(&self) -> Step {
        match self {
            Action::Publish { gauges, collected, findings } => {
                let names: Vec<_> = collected.iter().map(|collector| collector.as_str()).collect();
                Step {
                    action: "publish",
                    target: "pgtend.reading".into(),
                    reason: match names.as_slice() {
                        [] => "no collector could read what it reads".into(),
                        names => format!("{} gauges of {}", gauges.len(), names.join(", ")),
                    },
                    detail: serde_json::json!({
                        "collected": names, "gauges": gauges.len(), "findings": findings,
                    }),
                    sql: None,
                }
            }
            Action::Refuse { collector, why } => {
                Step { action: "refuse", ..Step::warn(collector.as_str(), why.clone()) }
            }
        }
    }
}

/// What is made of the facts of one collector.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    pub gauges: Vec<Gauge>,
    /// What somebody should look at: of what, and why.
    pub findings: Vec<(String, String)>,
    /// What is as it was chosen to be.
    pub notes: Vec<(String, String)>,
    /// What of it could not be read, and the GRANT to run.
    pub refused: Option<String>,
}

impl Told {
    /// A gauge of the whole database.
    pub fn all(&mut self, name: GaugeName, value: f64) {
        self.gauges.push(Gauge::of_all(name, value));
    }

    pub fn of(&mut self, name: GaugeName, label: &str, value: f64) {
        self.gauges.push(Gauge { name, table: label.into(), value });
    }

    pub fn find(&mut self, target: impl Into<String>, reason: impl Into<String>) {
        self.findings.push((target.into(), reason.into()));
    }
}

pub fn plan(health: &Health, facts: &Facts) -> Plan<Action> {
    let mut plan = Plan::default();
    let (mut gauges, mut collected, mut findings) = (Vec::new(), Vec::new(), 0);
    let mut refused = Vec::new();
    for collector in Collector::ALL.into_iter().filter(|collector| health.collects(*collector)) {
        let Some(told) = told(health, facts, collector) else { continue };
        let why = match told {
            Ok(told) => {
                findings += told.findings.len();
                gauges.extend(told.gauges);
                gauges.push(gauge(GaugeName::HealthFindings, collector, told.findings.len()));
                plan.notes.extend(told.findings.into_iter().map(|(target, reason)| Step::warn(target, reason)));
                plan.notes.extend(told.notes.into_iter().map(|(target, reason)| Step::keep(target, reason)));
                told.refused
            }
            Err(why) => Some(why),
        };
        gauges.push(gauge(GaugeName::HealthCollected, collector, usize::from(why.is_none())));
        match why {
            None => collected.push(collector),
            Some(why) => refused.push(Action::Refuse { collector, why }),
        }
    }
    plan.actions.push(Action::Publish { gauges, collected, findings });
    plan.actions.extend(refused);
    plan
}

#[allow(clippy::cast_precision_loss, reason = "a number of findings")]
fn gauge(name: GaugeName, collector: Collector, number: usize) -> Gauge {
    Gauge { name, table: collector.as_str().into(), value: number as f64 }
}

/// Nothing of a collector that was not asked.
fn told(health: &Health, facts: &Facts, collector: Collector) -> Option<Result<Told, String>> {
    fn with<T>(read: Option<&Result<T, String>>, tell: impl FnOnce(&T) -> Told) -> Option<Result<Told, String>> {
        Some(read?.as_ref().map(tell).map_err(Clone::clone))
    }
    let role = &facts.role;
    match collector {
        Collector::TableSizes => with(facts.relations.as_ref(), |read| sizes::tables(health, read)),
        Collector::IndexUsage => with(facts.relations.as_ref(), |read| sizes::indexes(health, read)),
        Collector::SlowQueries => with(facts.queries.as_ref(), |read| server::queries(health, read)),
        Collector::Wraparound => with(facts.wraparound.as_ref(), |read| server::wraparound(health, read)),
        Collector::ReplicationSlots => with(facts.replication.as_ref(), |read| server::replication(health, read, role)),
        Collector::LongTransactions => {
            with(facts.transactions.as_ref(), |read| server::transactions(health, read, role))
        }
        Collector::WalArchiving => with(facts.archiving.as_ref(), |read| server::archiving(health, read, role)),
        Collector::Partitions => with(facts.partitions.as_ref(), |read| sizes::partitions(health, read, facts.now)),
    }
}

/// The first few of many names.
pub fn names(all: &[String]) -> String {
    const NAMED: usize = 5;
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
