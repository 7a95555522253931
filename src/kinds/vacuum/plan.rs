//! Which tables are tended, in which order, and why. Pure.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::config::Chore;
use crate::period::human;
use crate::pg::Pattern;
use crate::pg::{Ident, TableName};
use crate::run::{Plan, Step};

/// From this one on a parent can be analyzed without what is below it: `ANALYZE ONLY`.
const ONLY: i32 = 180_000;

/// What the server says.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// `server_version_num`
    pub version: i32,
    pub now: DateTime<Utc>,
    /// When the budget is spent.
    pub until: Option<Instant>,
    pub relations: Vec<Relation>,
    /// Who keeps dead rows from being removed, in words.
    pub holders: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A table or materialized view, with rows of its own; a partition too.
    Rows,
    /// A partitioned table, which has none.
    Partitions,
}

/// Whether the role may vacuum and analyze a table. PostgreSQL would pass over it otherwise, with no more than a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    Itself,
    /// It is a member of the owner, without inheriting from it.
    AsOwner,
    Not,
}

/// A table as the catalog and the statistics have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    pub oid: u32,
    pub name: TableName,
    pub of: Of,
    pub owner: Ident,
    /// Our own.
    pub role: Ident,
    pub may: May,
    /// Whether the role, or the owner where it acts as that, may use its schema.
    pub may_enter: bool,
    pub has_children: bool,
    /// What it is a partition or child of, at any depth.
    pub ancestors: Vec<u32>,
    pub tuples: f64,
    pub dead: i64,
    pub inserted: i64,
    pub modified: i64,
    /// So many dead, inserted, modified rows make autovacuum come.
    pub vacuum_threshold: f64,
    pub insert_threshold: Option<f64>,
    pub analyze_threshold: f64,
    pub xid_age: i32,
    pub freeze_max_age: f64,
    pub vacuumed_at: Option<DateTime<Utc>>,
    pub analyzed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    Vacuum,
    VacuumAnalyze,
    Analyze,
}

impl Statement {
    pub const fn vacuums(self) -> bool {
        !matches!(self, Statement::Analyze)
    }

    pub const fn analyzes(self) -> bool {
        !matches!(self, Statement::Vacuum)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Tend(Box<Tend>),
    Refuse { target: String, why: String },
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Tend {
    pub oid: u32,
    pub name: TableName,
    pub statement: Statement,
    /// Whose statement it is, if not our own.
    pub as_owner: Option<Ident>,
    /// It stays with this table, where it would go on to its children.
    pub only: bool,
    /// All the tables that it comes to, itself first.
    pub reaches: Vec<u32>,
    /// What of the config chose it: a label for metrics, whose number is bounded.
    pub chosen_by: String,
    /// It is not begun after this.
    pub until: Option<Instant>,
    /// 1 is where autovacuum would come.
    pub need: f64,
    pub dead: i64,
    pub xid_age: i32,
    pub reason: String,
}

impl Tend {
    /// The statement, with the name that the table has by now.
    pub fn sql(&self, name: &TableName) -> String {
        let verb = match self.statement {
            Statement::Vacuum => "VACUUM",
            Statement::VacuumAnalyze => "VACUUM (ANALYZE)",
            Statement::Analyze => "ANALYZE",
        };
        format!("{verb} {}{name}", if self.only { "ONLY " } else { "" })
    }
}

impl Action {
    pub fn step(&self) -> Step {
        match self {
            Action::Refuse { target, why } => Step { action: "refuse", ..Step::warn(target.clone(), why) },
            Action::Tend(tend) => Step {
                action: if tend.statement.vacuums() { "vacuum" } else { "analyze" },
                target: tend.name.plain(),
                reason: tend.reason.clone(),
                detail: json!({
                    "need": (tend.need * 1000.0).round() / 1000.0,
                    "dead_tuples": tend.dead,
                    "xid_age": tend.xid_age,
                    "analyze": tend.statement.analyzes(),
                    "tables": tend.reaches.len(),
                }),
                sql: Some(tend.sql(&tend.name)),
            },
        }
    }
}

/// The tables that the config means, and which of its entries means each.
pub struct Chosen<'a> {
    pub tables: Vec<(&'a Relation, &'a Pattern)>,
    /// Entries that mean nothing that is there, by their place in `tables`.
    pub idle: Vec<usize>,
    /// Likewise in `exclude`, of those that name one table.
    pub idle_exclusions: Vec<usize>,
}

/// A table is meant by its own name, or by that of what it is a partition or child of.
pub fn choose<'a, const VACUUM: bool>(chore: &'a Chore<VACUUM>, relations: &'a [Relation]) -> Chosen<'a> {
    let by_oid: HashMap<u32, &Relation> = relations.iter().map(|relation| (relation.oid, relation)).collect();
    let means = |pattern: &Pattern, relation: &Relation| {
        let above = relation.ancestors.iter().filter_map(|oid| by_oid.get(oid).copied());
        std::iter::once(relation).chain(above).any(|relation| pattern.matches(&relation.name))
    };
    let (mut used, mut excluding) = (HashSet::new(), HashSet::new());
    let mut tables = Vec::new();
    for relation in relations {
        let mut chosen_by = None;
        for (at, pattern) in chore.tables.iter().enumerate() {
            if means(pattern.get_ref(), relation) {
                used.insert(at);
                chosen_by.get_or_insert(pattern.get_ref());
            }
        }
        let mut excluded = false;
        for (at, pattern) in chore.exclude.iter().enumerate() {
            if means(pattern.get_ref(), relation) {
                excluding.insert(at);
                excluded = true;
            }
        }
        tables.extend(chosen_by.filter(|_| !excluded).map(|pattern| (relation, pattern)));
    }
    let idle = (0..chore.tables.len()).filter(|at| !used.contains(at)).collect();
    let named = |at: &usize| chore.exclude[*at].get_ref().exact.is_some();
    let idle_exclusions = (0..chore.exclude.len()).filter(named).filter(|at| !excluding.contains(at)).collect();
    Chosen { tables, idle, idle_exclusions }
}

pub fn plan<const VACUUM: bool>(chore: &Chore<VACUUM>, facts: &Facts) -> Plan<Action> {
    let chosen = choose(chore, &facts.relations);
    let within = chore.skip_if_within.as_ref().map(|span| span.get_ref().0);
    let analyzes = chore.gathers_statistics();
    let below = below(facts);
    let recent = |at: Option<DateTime<Utc>>| {
        within.is_some_and(|within| at.is_some_and(|at| (facts.now - at).to_std().unwrap_or_default() < within))
    };
    // Before 18 the ANALYZE of a partitioned table goes on to all below it, which are not analyzed once more.
    let covered: HashSet<u32> = chosen
        .tables
        .iter()
        .filter(|(table, _)| analyzes && goes_on(facts, table) && table.may != May::Not && !recent(table.analyzed_at))
        .flat_map(|(table, _)| {
            let children = below.get(&table.oid).into_iter().flatten();
            children.filter(|child| comes_by(table, child)).map(|child| child.oid)
        })
        .collect();

    let mut plan = Plan::default();
    for at in chosen.idle {
        let pattern = chore.tables[at].get_ref();
        match &pattern.exact {
            Some(table) => {
                let why = "there is no table or materialized view of that name".into();
                plan.actions.push(Action::Refuse { target: table.plain(), why });
            }
            None => plan.notes.push(Step::warn(pattern.to_string(), "no table is called so")),
        }
    }
    for at in chosen.idle_exclusions {
        let why = "`exclude` names it, and there is no table or materialized view of that name";
        plan.notes.push(Step::warn(chore.exclude[at].get_ref().to_string(), why));
    }
    let mut tends = Vec::new();
    for (table, chosen_by) in chosen.tables {
        let with_rows = table.of == Of::Rows;
        if !(VACUUM && with_rows || analyzes) {
            continue;
        }
        if let Some(why) = refused(table) {
            plan.actions.push(Action::Refuse { target: table.name.plain(), why });
            continue;
        }
        let vacuum = VACUUM && with_rows && !recent(table.vacuumed_at);
        let analyze = analyzes && !recent(table.analyzed_at) && !covered.contains(&table.oid);
        let statement = match (vacuum, analyze) {
            (true, true) => Statement::VacuumAnalyze,
            (true, false) => Statement::Vacuum,
            (false, true) => Statement::Analyze,
            (false, false) => {
                if !covered.contains(&table.oid) {
                    plan.notes.push(Step::keep(table.name.plain(), kept(table, VACUUM && with_rows, within)));
                    plan.in_order += 1;
                }
                continue;
            }
        };
        let children = below.get(&table.oid).map_or(&[][..], Vec::as_slice);
        tends.push(tend(facts, table, statement, children, chosen_by));
    }
    tends.sort_by(neediest);
    // One is begun however little the budget is, so that each run gets on.
    if let Some(first) = tends.first_mut() {
        first.until = None;
    }
    if tends.iter().any(|tend| tend.statement.vacuums()) && !facts.holders.is_empty() {
        let why = format!("what was deleted after their snapshots cannot be removed: {}", facts.holders.join("; "));
        plan.notes.push(Step::warn("dead rows", why));
    }
    plan.actions.extend(tends.into_iter().map(|tend| Action::Tend(Box::new(tend))));
    plan
}

fn neediest(a: &Tend, b: &Tend) -> Ordering {
    b.need.total_cmp(&a.need).then(b.xid_age.cmp(&a.xid_age)).then_with(|| a.name.cmp(&b.name))
}

/// What is below each table.
fn below(facts: &Facts) -> BTreeMap<u32, Vec<&Relation>> {
    let mut below: BTreeMap<u32, Vec<&Relation>> = BTreeMap::new();
    for relation in &facts.relations {
        for ancestor in &relation.ancestors {
            below.entry(*ancestor).or_default().push(relation);
        }
    }
    below
}

/// Whether its ANALYZE goes on to its partitions, and cannot be kept from it.
fn goes_on(facts: &Facts, table: &Relation) -> bool {
    table.of == Of::Partitions && facts.version < ONLY
}

/// Whether the statement of a parent, by whoever does it, may analyze a partition too.
fn comes_by(parent: &Relation, child: &Relation) -> bool {
    match parent.may {
        May::Itself => child.may == May::Itself,
        May::AsOwner => child.owner == parent.owner,
        May::Not => false,
    }
}

/// Why it cannot be done; `check` says how to mend it.
fn refused(table: &Relation) -> Option<String> {
    let role = table.role.as_str();
    if table.may == May::Not {
        Some(format!(
            "role {role} may not vacuum or analyze it, which is its owner's ({}): PostgreSQL would pass over it",
            table.owner.as_str()
        ))
    } else if !table.may_enter {
        let role = if table.may == May::AsOwner { table.owner.as_str() } else { role };
        Some(format!("role {role} may not use schema {}", table.name.schema.as_str()))
    } else {
        None
    }
}

fn kept(table: &Relation, vacuums: bool, within: Option<Duration>) -> String {
    let done = |what: &str, at: Option<DateTime<Utc>>| {
        at.map(|at| format!("{what} {}", at.format("%Y-%m-%d %H:%M:%SZ"))).unwrap_or_default()
    };
    let what = if vacuums { done("vacuumed", table.vacuumed_at) } else { done("analyzed", table.analyzed_at) };
    format!("{what}, within the last {}", human(within.unwrap_or_default()))
}

fn tend(facts: &Facts, table: &Relation, statement: Statement, children: &[&Relation], chosen_by: &Pattern) -> Tend {
    let goes_on = goes_on(facts, table) && statement.analyzes();
    let vacuum = if statement.vacuums() { vacuum_need(table) } else { 0.0 };
    let analyze = if statement.analyzes() { analyze_need(table, children) } else { 0.0 };
    let need = vacuum.max(analyze);
    let reached = children.iter().filter(|child| goes_on && comes_by(table, child)).map(|child| child.oid);
    Tend {
        oid: table.oid,
        name: table.name.clone(),
        statement,
        as_owner: (table.may == May::AsOwner).then(|| table.owner.clone()),
        only: table.has_children && facts.version >= ONLY,
        reaches: std::iter::once(table.oid).chain(reached).collect(),
        chosen_by: chosen_by.to_string(),
        until: facts.until,
        need,
        dead: table.dead,
        xid_age: table.xid_age,
        reason: reason(table, statement, need, goes_on.then_some(children.len())),
    }
}

/// Of what makes autovacuum come, the part that is reached; whichever of its reasons is nearest.
fn vacuum_need(table: &Relation) -> f64 {
    let inserted = table.insert_threshold.map_or(0.0, |threshold| part(table.inserted as f64, threshold));
    let age = part(f64::from(table.xid_age), table.freeze_max_age);
    part(table.dead as f64, table.vacuum_threshold).max(inserted).max(age)
}

/// A parent is never less needy than what autovacuum comes for: it never comes to a partitioned table, and to one that is
/// inherited from it comes for its own rows alone.
fn analyze_need(table: &Relation, children: &[&Relation]) -> f64 {
    let own = part(table.modified as f64, table.analyze_threshold);
    if !table.has_children {
        return own;
    }
    let rows = children.iter().filter(|child| child.of == Of::Rows);
    let changed: f64 =
        rows.clone().map(|child| if table.analyzed_at.is_none() { child.tuples } else { child.modified as f64 }).sum();
    own.max(part(changed, rows.map(|child| child.analyze_threshold).sum())).max(1.0)
}

fn part(of: f64, threshold: f64) -> f64 {
    of / threshold.max(1.0)
}

fn reason(table: &Relation, statement: Statement, need: f64, goes_on: Option<usize>) -> String {
    let last = |what: &str, at: Option<DateTime<Utc>>| match at {
        Some(at) => format!("last {what} {}", at.format("%Y-%m-%d %H:%M:%SZ")),
        None => format!("never {what} yet"),
    };
    let mut words = Vec::new();
    if statement.vacuums() {
        words.push(format!("{} dead rows", table.dead));
        if f64::from(table.xid_age) >= table.freeze_max_age / 2.0 {
            words.push(format!("its oldest transaction id is {} old", table.xid_age));
        }
        words.push(last("vacuumed", table.vacuumed_at));
    } else if table.of == Of::Partitions {
        words.push("partitioned, so autovacuum never analyzes it".into());
    } else {
        words.push(format!("{} rows changed", table.modified));
    }
    if statement.analyzes() {
        words.push(last("analyzed", table.analyzed_at));
    }
    if let Some(partitions) = goes_on {
        words.push(format!("with its {partitions} partitions, which PostgreSQL before 18 analyzes too"));
    }
    words.push(format!("need {need:.2}"));
    words.join(", ")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
