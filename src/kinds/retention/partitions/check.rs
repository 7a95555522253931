//! What `check` says about partitioned tables: what a run would refuse, and what is odd.

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::age::Ages;
use super::facts::{Action, Refusal, TableFacts};
use super::{over, plan, survey};
use crate::kinds::Context;
use crate::kinds::retention::Target;
use crate::kinds::retention::holds::{self, Holds};
use crate::run::Finding;

/// # Errors
/// The server cannot be asked.
pub async fn check(cx: &Context, targets: &[Target]) -> Result<Vec<Finding>> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let session = cx.session().await?;
    // What cannot be read is said once for the whole job; here it is as if nothing were held.
    let holds = holds::read(&session).await?.unwrap_or_else(|_| Holds::default());
    let looked = survey::survey(&session, cx, targets, &holds).await?;
    session.close().await;
    let rows = super::rows_of(cx, &looked, &holds).await?;
    let (mut found, mut obstacles) = (Vec::new(), Vec::new());
    for (target, looked) in targets.iter().zip(&looked) {
        if let Ok(facts) = looked {
            found.extend(of_table(facts, cx.now).into_iter().map(|finding| finding.at(target.span.clone())));
            obstacles.extend(facts.obstacles.iter().cloned().map(|obstacle| (target.span.clone(), obstacle)));
        }
    }
    for action in plan::decide(looked, &holds, cx.now).actions.into_iter().chain(rows.actions) {
        let (name, table, refusal) = match action {
            Action::Refuse { target, table, refusal } => (target, table, refusal),
            Action::Rows(rows) => match rows.action {
                crate::kinds::rows::Action::Refuse { target, why } => {
                    (target, rows.table.plain(), Refusal::new(why, "its old rows stay until then"))
                }
                _ => continue,
            },
            _ => continue,
        };
        let span = targets.iter().find(|target| target.policy.table.plain() == table).map(|target| target.span.clone());
        let message = if refusal.why.contains(&name) { refusal.why } else { format!("{name}: {}", refusal.why) };
        let mend = if refusal.mend.is_empty() { "see why".into() } else { refusal.mend };
        found.push(Finding { span, ..Finding::error(message, mend) });
    }
    // Where something is to go now, the refusal has said it.
    for (span, obstacle) in obstacles {
        if !found.iter().any(|finding| finding.message.ends_with(&obstacle.why)) {
            found.push(Finding::error(obstacle.why, obstacle.mend).at(span));
        }
    }
    Ok(found)
}

fn of_table(facts: &TableFacts, now: DateTime<Utc>) -> Vec<Finding> {
    let table = facts.table().plain();
    let mut found = Vec::new();
    if let Ok(ages) = Ages::of(&facts.parent, &facts.policy, facts.zone, now) {
        let over = over::leaves(facts, &ages);
        if let Some((partition, why)) = ages.outstays(&facts.policy)
            && !over.iter().any(|over| over.oid == partition.oid)
        {
            let mend = "make its partitions shorter, if rows are to go sooner";
            found.push(Finding::warning(format!("{}: {why}", partition.name.plain()), mend));
        }
    }
    for key in facts.references.iter().filter(|key| !key.indexed) {
        let columns: Vec<_> = key.columns.iter().map(ToString::to_string).collect();
        found.push(Finding::warning(
            format!(
                "{} refers to {table} (constraint {}) without an index: each partition that is detached is looked up row by \
                 row, while both tables are locked",
                key.table.plain(),
                key.constraint
            ),
            format!("CREATE INDEX ON {} ({});", key.table, columns.join(", ")),
        ));
    }
    if let Some(default) = &facts.parent.default {
        found.push(Finding::warning(
            format!(
                "beside its default partition {} no partition of {table} can be detached concurrently: it is done under a lock",
                default.name.plain()
            ),
            "see that there is a partition for every row, and do without it",
        ));
    }
    found
}
