//! Which views are refreshed, in which order, and how; pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::config::{Concurrently, Refresh};
use super::facts::{Action, Change, Facts, Going, How, Index, Ledger, Near, Refusal, Sweep, View};
use crate::pg::TableName;
use crate::run::{Plan, Step};

/// Dead rows beyond this share of the living are vacuumed: the share at which autovacuum would come by itself.
const DEAD_SHARE: f64 = 0.2;
/// And not for so few.
const DEAD_FEW: i64 = 1_000;

pub fn plan(refresh: &Refresh, facts: &Facts) -> Plan<Action> {
    let ledger = Ledger::default();
    let refuse =
        |oid, name: &TableName, why: String| Action::Refuse { oid, name: name.clone(), why, ledger: ledger.clone() };
    let mut plan = Plan::default();
    for (name, refusal) in &facts.refused {
        plan.actions.push(refuse(None, name, refusal.sentence()));
    }
    for at in &facts.idle {
        let why = "`exclude` names it, and there is no materialized view of that name";
        plan.notes.push(Step::warn(refresh.exclude[*at].get_ref().to_string(), why));
    }
    let below = below(&facts.reads);
    let mut going: BTreeMap<u32, TableName> = BTreeMap::new();
    let mut sweeps = Vec::new();
    for view in in_order(&facts.views, &below) {
        let under = |other: &u32| is_under(&below, *other, view.oid);
        let after: Vec<_> =
            going.iter().filter(|(oid, _)| under(oid)).map(|(oid, name)| (*oid, name.clone())).collect();
        let decided = view.role.as_ref().map_err(Clone::clone).and_then(|role| Ok((role, how(refresh, facts, view)?)));
        let (role, chosen) = match decided {
            Ok(decided) => decided,
            Err(refusal) => {
                going.insert(view.oid, view.name.clone());
                plan.actions.push(refuse(Some(view.oid), &view.name, refusal.sentence()));
                continue;
            }
        };
        let Chosen { how, why, help } = chosen;
        let unchanged = view.change.as_ref().map(|change| unchanged(view, change, &after));
        let kept = matches!(unchanged, Some(Ok(_)));
        if (kept || how == How::Concurrently)
            && view.dead > DEAD_FEW
            && view.dead as f64 > view.living as f64 * DEAD_SHARE
        {
            let (oid, name, role) = (view.oid, view.name.clone(), role.clone());
            sweeps.push(Sweep { oid, name, role, dead: view.dead, living: view.living });
        }
        let why = match unchanged {
            Some(Ok(since)) => {
                plan.notes.push(Step::keep(view.name.plain(), since));
                plan.in_order += 1;
                continue;
            }
            Some(Err(reason)) => format!("{why}; {reason}"),
            None => why,
        };
        going.insert(view.oid, view.name.clone());
        plan.actions.push(Action::Refresh(Box::new(Going {
            oid: view.oid,
            name: view.name.clone(),
            role: role.clone(),
            how,
            why,
            help,
            after,
            noted: view.change.is_some(),
            ledger: ledger.clone(),
        })));
    }
    plan.actions.extend(sweeps.into_iter().map(|sweep| Action::Vacuum(Box::new(sweep))));
    plan
}

struct Chosen {
    how: How,
    why: String,
    help: Option<String>,
}

/// How a view is refreshed, and why so.
fn how(refresh: &Refresh, facts: &Facts, view: &View) -> Result<Chosen, Refusal> {
    let chosen = |how, why: String, help| Ok(Chosen { how, why, help });
    if refresh.concurrently == Concurrently::Never {
        let how = if view.populated { How::Plainly } else { How::First };
        return chosen(how, "plainly, as the config says".into(), None);
    }
    let lack = lack(facts, view);
    match (lack, view.populated) {
        (Some(lack), _) if refresh.concurrently == Concurrently::Always => Err(Refusal::new(
            format!("it cannot be refreshed concurrently, as the config asks for: {}", lack.why),
            lack.mend,
        )),
        (lack, false) => {
            let why = "plainly, since it was never filled: so far nobody can read it, and nobody is kept waiting";
            chosen(How::First, why.into(), lack.map(|lack| lack.mend))
        }
        (Some(lack), true) => {
            let why = format!("plainly, and readers wait meanwhile: {} ({})", lack.why, lack.mend);
            chosen(How::Plainly, why, Some(lack.mend))
        }
        (None, true) => {
            let index = if let Index::Usable(index) = &view.index { index } else { "" };
            chosen(How::Concurrently, format!("concurrently, by its unique index {index}"), None)
        }
    }
}

/// What keeps a view from being refreshed concurrently, but for being empty.
pub fn lack(facts: &Facts, view: &View) -> Option<Refusal> {
    let name = &view.name;
    let index = |columns: &[_]| {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        format!("CREATE UNIQUE INDEX CONCURRENTLY ON {name} ({});", columns.join(", "))
    };
    match &view.index {
        Index::Usable(_) if view.temporary => None,
        Index::Usable(_) => Some(Refusal::new(
            format!("its owner {} may make no temporary table in the database, which CONCURRENTLY does", view.owner),
            format!("GRANT TEMPORARY ON DATABASE {} TO {};", facts.database, view.owner),
        )),
        Index::Lacking(None) => Some(Refusal::new(
            "it has no unique index on plain columns",
            format!("CREATE UNIQUE INDEX CONCURRENTLY ON {name} (…); with the columns that tell its rows apart"),
        )),
        Index::Lacking(Some(near)) => {
            let Near { name: nearest, columns, unique, valid, partial } = near;
            let (what, mend) = match (unique, columns.is_empty()) {
                (true, true) => (
                    "is one of expressions",
                    format!("CREATE UNIQUE INDEX CONCURRENTLY ON {name} (…); with columns that tell its rows apart"),
                ),
                (true, false) if *partial => ("covers only some of its rows (WHERE)", index(columns)),
                (true, false) if !*valid => {
                    ("is not valid: making it has failed", format!("REINDEX INDEX CONCURRENTLY {nearest};"))
                }
                (true, false) => ("is of no kind that serves", index(columns)),
                (false, _) => ("is not unique", index(columns)),
            };
            Some(Refusal::new(
                format!("it has no unique index on plain columns for all rows, and {nearest} {what}"),
                mend,
            ))
        }
    }
}

/// Whether a view may stay as it is, in words: since when nothing has changed, or why it is refreshed all the same.
fn unchanged(view: &View, change: &Change, after: &[(u32, TableName)]) -> Result<String, String> {
    if !change.doubts.is_empty() {
        return Err(format!("never skipped, since {}", change.doubts.join(", and ")));
    }
    let Some(memory) = change.remembered.as_ref().filter(|memory| memory.digest.is_some() && view.populated) else {
        return Err("not skipped, since no run has noted what it was made from".into());
    };
    if !after.is_empty() {
        let names: Vec<_> = after.iter().map(|(_, name)| name.plain()).collect();
        return Err(format!("not skipped, since {} is refreshed before", names.join(", ")));
    }
    if memory.digest.as_ref() != Some(&change.digest) {
        return Err(format!("what it is made from has changed since {}, or may have", memory.at));
    }
    if memory.file != view.file {
        return Err(format!("somebody else has written it since {}", memory.at));
    }
    Ok(format!("nothing that it is made from has changed since it was refreshed at {}", memory.at))
}

/// For each view all those under it, at whatever depth.
pub fn below(reads: &BTreeMap<u32, BTreeSet<u32>>) -> BTreeMap<u32, BTreeSet<u32>> {
    let of = |view: u32| {
        let (mut found, mut left) = (BTreeSet::new(), vec![view]);
        while let Some(next) = left.pop() {
            left.extend(reads.get(&next).into_iter().flatten().copied().filter(|under| found.insert(*under)));
        }
        found
    };
    reads.keys().map(|view| (*view, of(*view))).collect()
}

/// Whether `lower` is under `upper`, and not the other way about too: a plain view may be replaced by one that reads what
/// is made from it.
fn is_under(below: &BTreeMap<u32, BTreeSet<u32>>, lower: u32, upper: u32) -> bool {
    let reads = |upper, lower| below.get(&upper).is_some_and(|under: &BTreeSet<u32>| under.contains(&lower));
    reads(upper, lower) && !reads(lower, upper)
}

/// Views after those that they are made from, by name where that leaves a choice.
pub fn in_order<'a>(views: &'a [View], below: &BTreeMap<u32, BTreeSet<u32>>) -> Vec<&'a View> {
    let mut named: Vec<&View> = views.iter().collect();
    named.sort_by(|a, b| a.name.cmp(&b.name));
    let under = |lower: usize, upper: usize| is_under(below, named[lower].oid, named[upper].oid);
    let mut waits: Vec<usize> =
        (0..named.len()).map(|upper| (0..named.len()).filter(|lower| under(*lower, upper)).count()).collect();
    let mut ready: BTreeSet<usize> = (0..named.len()).filter(|view| waits[*view] == 0).collect();
    let mut ordered = Vec::with_capacity(named.len());
    // It comes to its end: being under is a strict order, circles left out.
    while let Some(next) = ready.pop_first() {
        ordered.push(named[next]);
        for upper in (0..named.len()).filter(|upper| under(next, *upper)) {
            waits[upper] -= 1;
            if waits[upper] == 0 {
                ready.insert(upper);
            }
        }
    }
    ordered
}

impl Action {
    pub fn step(&self) -> Step {
        match self {
            Action::Refuse { name, why, .. } => Step { action: "refuse", ..Step::warn(name.plain(), why) },
            Action::Refresh(going) => Step {
                action: "refresh_view",
                target: going.name.plain(),
                reason: going.why.clone(),
                detail: json!({
                    "concurrently": going.how == How::Concurrently,
                    "as": going.role.as_str(),
                    "after": going.after.iter().map(|(_, name)| name.plain()).collect::<Vec<_>>(),
                    "would_help": going.help,
                }),
                sql: Some(going.sql()),
            },
            Action::Vacuum(sweep) => Step {
                action: "vacuum",
                target: sweep.name.plain(),
                reason: format!(
                    "{} dead rows beside {} that live: refreshes that let readers go on leave them behind",
                    sweep.dead, sweep.living
                ),
                detail: json!({ "dead": sweep.dead, "living": sweep.living, "as": sweep.role.as_str() }),
                sql: Some(sweep.sql()),
            },
        }
    }
}

impl Going {
    pub fn sql(&self) -> String {
        let concurrently = if self.how == How::Concurrently { "CONCURRENTLY " } else { "" };
        format!("REFRESH MATERIALIZED VIEW {concurrently}{}", self.name)
    }
}

impl Sweep {
    /// Its end is not cut off: for that VACUUM asks for a lock that readers would wait behind.
    pub fn sql(&self) -> String {
        format!("VACUUM (TRUNCATE false) {}", self.name)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
