//! What `check` says of views.

use anyhow::Result;

use super::config::{Concurrently, Refresh};
use super::facts::{Facts, View};
use super::{plan, survey};
use crate::kinds::Context;
use crate::pg::{Ident, TableName};
use crate::run::Finding;

/// # Errors
/// The server cannot be asked.
pub async fn check(refresh: &Refresh, cx: &Context) -> Result<Vec<Finding>> {
    let session = cx.session().await?;
    let facts = survey::facts(&session, cx, refresh).await?;
    let oids: Vec<u32> = facts.views.iter().map(|view| view.oid).collect();
    let hidden = survey::hidden(&session, &oids).await?;
    session.close().await;
    Ok(findings(refresh, &facts, &hidden))
}

/// Pure.
fn findings(refresh: &Refresh, facts: &Facts, hidden: &[(u32, TableName, Ident)]) -> Vec<Finding> {
    let (mut found, mut idle) = (Vec::new(), Vec::new());
    let mut say = |finding: Finding, name: &TableName| {
        found.push(match refresh.span_of(name) {
            Some(span) => finding.at(span),
            None => finding,
        });
    };
    for (name, refusal) in &facts.refused {
        say(Finding::error(&refusal.why, &refusal.mend), name);
    }
    for at in &facts.idle {
        let entry = &refresh.exclude[*at];
        let message = format!("there is no materialized view {}, so `exclude` leaves nothing out", entry.get_ref());
        idle.push(Finding::warning(message, "mend the name, or take it out of `exclude`").at(entry.span()));
    }
    for view in &facts.views {
        for finding in of_view(refresh, facts, view) {
            say(finding, &view.name);
        }
        for (_, table, role) in hidden.iter().filter(|(oid, ..)| *oid == view.oid) {
            let why = format!(
                "row security hides rows of {} from {role}, as whom {} is filled: somebody else's refresh leaves them out \
                 without a word, and ours fails",
                table.plain(),
                view.name.plain()
            );
            say(
                Finding::error(why, format!("ALTER ROLE {role} BYPASSRLS; or give the view to the owner of the table")),
                &view.name,
            );
        }
    }
    found.extend(idle);
    found
}

fn of_view(refresh: &Refresh, facts: &Facts, view: &View) -> Vec<Finding> {
    let mut found = Vec::new();
    let name = view.name.plain();
    if let Err(refusal) = &view.role {
        found.push(Finding::error(&refusal.why, &refusal.mend));
    }
    match plan::lack(facts, view).map(|lack| (format!("{name}: {}", lack.why), lack.mend)) {
        Some((why, mend)) if refresh.concurrently == Concurrently::Always => {
            found.push(Finding::error(format!("{why}, and is not refreshed at all"), mend));
        }
        Some((why, mend)) if refresh.concurrently == Concurrently::Auto => {
            found.push(Finding::warning(format!("{why}, so readers wait while it is refreshed"), mend));
        }
        _ => {}
    }
    if let Some(change) = view.change.as_ref().filter(|change| !change.doubts.is_empty()) {
        found.push(Finding::warning(
            format!("{name} is refreshed by each run, in spite of skip_unchanged: {}", change.doubts.join("; ")),
            "nothing has to be done, if that is meant",
        ));
    }
    let here = |oid: &u32| facts.views.iter().any(|view| view.oid == *oid);
    for under in facts.reads.get(&view.oid).into_iter().flatten().filter(|oid| !here(oid)) {
        let under = facts.names.get(under).map_or_else(String::new, TableName::plain);
        found.push(Finding::warning(
            format!("{name} is made from {under}, which this job does not refresh"),
            "add it to views, if nobody else does",
        ));
    }
    found
}
