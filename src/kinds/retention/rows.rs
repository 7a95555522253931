//! Rows of tables without partitions: deleted, or moved to an archive table.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use chrono::TimeDelta;

use super::holds::{self, Holds, Watcher};
use super::policy::{Action as Word, AgeFrom};
use super::{Target, held};
use crate::kinds::rows::plan::{Refusal, TableFacts};
use crate::kinds::rows::{self, Action, Time, Wanted, Words, archive};
use crate::kinds::{Applied, Context};
use crate::pg::batch::Batch;
use crate::pg::{Ident, Session, TableName, catalog};
use crate::run::{Finding, Plan, Step};
use crate::testpoint;

/// What the parent row is called in our SQL: nothing that a table itself would be called.
const PARENT: &str = "\"pgtend parent\"";

/// The actions, each with the table of the policy that it is done for.
///
/// # Errors
/// The server cannot be asked.
pub async fn plan(
    session: &Session,
    cx: &Context,
    targets: &[Target],
    holds: &Holds,
) -> Result<Plan<(TableName, Action)>> {
    let mut plan = Plan::default();
    for target in referring_first(session, targets).await? {
        if let Some(note) = held(holds, cx, target) {
            plan.notes.push(note);
            plan.in_order += 1;
            continue;
        }
        plan.notes
            .extend(brief(target).map(|(why, mend)| Step::warn(target.policy.table.plain(), format!("{why}; {mend}"))));
        let mut facts = match wanted(session, cx, target).await? {
            Ok(wanted) => rows::survey(session, cx, &[wanted]).await?,
            Err(Refusal { why, mend }) => vec![TableFacts::refused(&nothing(target, cx), why, mend)],
        };
        for facts in &mut facts {
            plan.notes.extend(holds::leave_out(session, holds, facts, cx.now).await?);
        }
        let rows = rows::plan::decide(facts);
        plan.in_order += rows.in_order;
        plan.actions.extend(rows.actions.into_iter().map(|action| (target.policy.table.clone(), action)));
        plan.notes.extend(rows.notes);
    }
    Ok(plan)
}

/// A hold that came since the plan counts too: of the table, of the one of its leaves that is meant, or of what either is
/// part of.
///
/// # Errors
/// What PostgreSQL refuses, or holds that cannot be read: then nothing is touched.
pub async fn apply(cx: &Context, settings: &Batch, action: &Action) -> Result<Applied> {
    testpoint::reach("retention.rows").await;
    let lineage = action.tables();
    rows::apply(cx, settings, &Watcher { now: cx.now, lineage: &lineage }, action).await
}

/// # Errors
/// The server cannot be asked.
pub async fn check(session: &Session, cx: &Context, targets: &[Target]) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for target in targets {
        let findings = match wanted(session, cx, target).await? {
            Ok(wanted) => rows::check::findings(&rows::check::look(session, cx, &wanted).await?),
            Err(Refusal { why, mend }) => vec![Finding::error(why, mend)],
        };
        let table = target.policy.table.plain();
        let brief = brief(target).map(|(why, mend)| Finding::warning(format!("{table}: {why}"), mend));
        found.extend(findings.into_iter().chain(brief).map(|finding| finding.at(target.span.clone())));
    }
    Ok(found)
}

/// A keep that is hardly meant: "12m" is twelve minutes.
fn brief(target: &Target) -> Option<(String, String)> {
    let keep = target.policy.keep;
    if keep.at_least(TimeDelta::hours(1)) {
        return None;
    }
    let mend = match keep.mistaken_for_months() {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => "see that it is meant".into(),
    };
    Some((format!("keep is {keep}: whatever is older goes"), mend))
}

/// Tables that refer to others come before them: what they archive or delete then stands in nobody's way.
async fn referring_first<'a>(session: &Session, targets: &'a [Target]) -> Result<Vec<&'a Target>> {
    let mut oids = BTreeMap::new();
    for target in targets {
        if let Some(relation) = catalog::relation(session, &target.policy.table).await? {
            oids.insert(target.policy.table.clone(), relation.oid);
        }
    }
    let all: Vec<u32> = oids.values().copied().collect();
    let rows = session
        .query(include_str!("../partitions/survey_references.sql"), &[&all])
        .await
        .context("look up foreign keys among the tables")?;
    let refers: Vec<(u32, u32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut left: Vec<&Target> = targets.iter().collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let oid = |target: &Target| oids.get(&target.policy.table).copied();
        let is_free = |target: &&Target| {
            let own = oid(target);
            !left
                .iter()
                .any(|other| oid(other) != own && refers.iter().any(|(a, b)| oid(other) == Some(*a) && own == Some(*b)))
        };
        // Where keys go round in a ring none is first, and any will do.
        let next = left.iter().position(is_free).unwrap_or_default();
        ordered.push(left.remove(next));
    }
    Ok(ordered)
}

/// A table of which nothing is known but its name, for a refusal.
fn nothing(target: &Target, cx: &Context) -> Wanted {
    Wanted {
        table: target.policy.table.clone(),
        counted_as: target.policy.table.plain(),
        time: Time::Expression("NULL::timestamptz".into()),
        condition: None,
        before: cx.now,
        zone: target.zone,
        words: Words::Old,
        into: None,
        making: None,
        objects: None,
    }
}

/// Which rows are past their time, and where they go; or why that cannot be said.
async fn wanted(session: &Session, cx: &Context, target: &Target) -> Result<Result<Wanted, Refusal>> {
    let policy = &target.policy;
    let table = policy.table.plain();
    if let Some(Refusal { why, mend }) = unfit(target) {
        return Ok(Err(Refusal { why, mend }));
    }
    let time = match (&policy.column, &policy.age_from) {
        (Some(column), _) => Time::Column(column.clone()),
        (None, Some(from)) => match parent_time(session, &policy.table, from).await? {
            Ok(time) => time,
            Err(refusal) => return Ok(Err(refusal)),
        },
        (None, None) => {
            return Ok(Err(Refusal {
                why: format!("{table} has no partitions, and nothing says how old its rows are"),
                mend: "add column = \"created_at\", or whichever it is, or age_from".into(),
            }));
        }
    };
    let before = policy.keep.before(cx.now, target.zone).context("keep reaches back beyond the calendar")?;
    let mut wanted = Wanted { time, condition: policy.condition.clone(), before, ..nothing(target, cx) };
    if policy.action == Some(Word::Archive) {
        let to: Result<TableName, _> = policy.to.as_deref().unwrap_or_default().parse();
        let to = match to {
            Ok(to) => to,
            Err(error) => {
                return Ok(Err(Refusal { why: error.to_string(), mend: "write to = \"archive.TABLE\"".into() }));
            }
        };
        match archive::look(session, &policy.table, &to, wanted.time.column()).await? {
            Ok((into, making)) => (wanted.into, wanted.making) = (Some(into), making),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(wanted))
}

/// What the policy says that a table without partitions has no use for.
fn unfit(target: &Target) -> Option<Refusal> {
    let policy = &target.policy;
    let table = policy.table.plain();
    let refuse = |why: String, mend: &str| Some(Refusal { why, mend: mend.into() });
    match policy.action {
        Some(action @ (Word::Drop | Word::Detach)) => {
            return refuse(
                format!("{table} has no partitions that action = \"{}\" could be done to", action.word()),
                "leave action out to delete rows, or write \"archive\" with to = \"SCHEMA.TABLE\"",
            );
        }
        // A bare name is one in `public`, and a schema is what was meant.
        Some(Word::Archive) if !policy.to.as_deref().is_some_and(|to| to.contains('.')) => {
            return refuse(
                format!("{table} has no partitions, so that to names the table its rows move to, with its schema"),
                "write to = \"archive.TABLE\"",
            );
        }
        _ => {}
    }
    if policy.immutable.is_some() {
        return refuse(format!("{table} is immutable, and has no partitions that could go"), "remove it from the job");
    }
    if policy.newest.is_some() {
        return refuse(format!("{table} has no partitions, of which newest could say something"), "remove newest");
    }
    None
}

/// The time of the row that a row refers to, as SQL.
async fn parent_time(session: &Session, table: &TableName, from: &AgeFrom) -> Result<Result<Time, Refusal>> {
    let AgeFrom { table: parent, key, column } = from;
    let refused = |why: String, mend: String| Ok(Err(Refusal { why, mend }));
    let Some(root) = catalog::relation(session, table).await? else {
        // Said where its rows are looked for.
        return Ok(Ok(Time::Expression("NULL::timestamptz".into())));
    };
    let names = [key.as_str(), parent.schema.as_str(), parent.name.as_str()];
    let row = session
        .query_one(include_str!("age_from.sql"), &[&root.oid, &names[0], &names[1], &names[2]])
        .await
        .with_context(|| format!("look up {}", parent.plain()))?;
    let said = format!("age_from of {}", table.plain());
    let Some(kind) = row.get::<_, Option<i8>>("relkind").map(catalog::character) else {
        return refused(format!("{said}: there is no table {}", parent.plain()), "correct the name".into());
    };
    if !matches!(kind, 'r' | 'p') {
        return refused(
            format!("{said}: {} is {}, not a table", parent.plain(), catalog::kind_name(kind)),
            "name a table".into(),
        );
    }
    if row.get::<_, Option<String>>("key").is_none() {
        return refused(
            format!("{said}: {} has no column {key}", table.plain()),
            "name the one that refers to it".into(),
        );
    }
    if !row.get::<_, Vec<String>>("columns").iter().any(|name| name == column.as_str()) {
        return refused(
            format!("{said}: {} has no column {column}", parent.plain()),
            "name the one with the time".into(),
        );
    }
    let role: String = row.get("role");
    let role = Ident::found(role)?;
    if !row.get::<_, bool>("uses") {
        let schema = &parent.schema;
        return refused(
            format!("{said}: role {role} may not use schema {schema}"),
            format!("GRANT USAGE ON SCHEMA {schema} TO {role};"),
        );
    }
    if !row.get::<_, bool>("selects") {
        return refused(
            format!("{said}: role {role} lacks SELECT on {}", parent.plain()),
            format!("GRANT SELECT ON {parent} TO {role};"),
        );
    }
    if row.get("hidden") {
        return refused(
            format!("{said}: row security hides rows of {} from role {role}", parent.plain()),
            format!("run as its owner, or ALTER ROLE {role} BYPASSRLS;"),
        );
    }
    let Some(referenced) = row.get::<_, Option<String>>("referenced") else {
        return refused(
            format!(
                "{said}: {key} refers to {} by no foreign key of its own, and the primary key there is not one column",
                parent.plain()
            ),
            format!("add the foreign key: ALTER TABLE {table} ADD FOREIGN KEY ({key}) REFERENCES {parent};"),
        );
    };
    let referenced = Ident::found(referenced)?;
    let operator: String = row.get("operator");
    Ok(Ok(Time::OfParent(format!(
        "SELECT {PARENT}.{column} FROM {parent} AS {PARENT} WHERE {PARENT}.{referenced} {operator} {}.{key}",
        table.name
    ))))
}
