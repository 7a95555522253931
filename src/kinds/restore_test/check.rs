//! What would keep a backup from being proven, or make the proof a poor one.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::config::{Found, RestoreTest, Roles};
use super::plan::{Facts, disk, forbidden, needs, obstacle};
use super::{plan, scratch};
use crate::kinds::backup::manifest::Manifest;
use crate::kinds::backup::{pg_dump, words};
use crate::pg::explain;
use crate::run::{Finding, Severity};

pub async fn check(test: &RestoreTest, found: &Found, facts: Result<Facts>) -> Vec<Finding> {
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => {
            let mend = "see that it runs and that this host may connect to it (url, password, pg_hba.conf)";
            return vec![test.at_server(Finding::error(explain(&error), mend))];
        }
    };
    let mut findings: Vec<Finding> = forbidden(test, &facts.server)
        .into_iter()
        .map(|(message, mend)| test.at_server(Finding::error(message, mend)))
        .collect();
    let may = findings.is_empty();
    if test.roles == Roles::Auto && !facts.server.may.all {
        let message = format!(
            "role {} is no superuser on {}: owners and grants are not restored",
            facts.server.role, facts.server.place
        );
        findings.push(test.at_server(Finding::warning(message, "set `roles` to \"never\" if that is meant")));
    }
    for seen in &facts.seen {
        if let Err(error) = &seen.shelf {
            findings.push(Finding::error(format!("{}: {error}", seen.place), "mend that, then check again"));
            continue;
        }
        match facts.choose(seen) {
            Err(why) => {
                let mend = format!("`pgtend run {}` makes one", found.job);
                findings.push(
                    Finding::warning(format!("{}: {why} to be restored", seen.place), mend).at(test.backup.span()),
                );
            }
            Ok(chosen) => {
                let manifest = &chosen.kept.manifest;
                if may && let Some(why) = obstacle(test, &facts.server, manifest) {
                    findings.push(Finding::error(
                        format!("{}: {}: {why}", seen.place, manifest.id),
                        "restore on another server, or make room; a limit can be raised",
                    ));
                }
                findings.extend(prospects(test, found, &facts.server, manifest).await);
            }
        }
    }
    findings
}

async fn prospects(test: &RestoreTest, found: &Found, server: &plan::Server, manifest: &Manifest) -> Vec<Finding> {
    let mut findings = Vec::new();
    match pg_dump::look_for_reader(&manifest.pg_dump_version, found.pg_bin.as_deref()).await {
        Ok(tools) => {
            let message = format!(
                "would restore {} by pg_restore {}, which takes about {} on {}; {}",
                manifest.id,
                tools.version,
                words::size(needs(manifest)),
                server.place,
                disk(server.room.as_ref())
            );
            findings.push(Finding { severity: Severity::Ok, span: None, message, mend: String::new() });
        }
        Err(error) => {
            findings.push(Finding::error(explain(&error), "install the package, and run `pgtend check` again"));
        }
    }
    if manifest.row_counts.is_none() && test.queries.is_empty() {
        let message = format!(
            "{} has no row counts, and there are no `queries`: that it is restored without an error is all that is seen",
            manifest.id
        );
        findings.push(
            Finding::warning(message, "set `row_counts = true` in the backup job, or ask `queries`")
                .at(test.backup.span()),
        );
    }
    match extensions(found, server, manifest).await {
        Ok(more) => findings.extend(more.into_iter().map(|finding| test.at_server(finding))),
        Err(error) => findings.push(Finding::error(explain(&error), "mend that, then check again")),
    }
    findings
}

/// Extensions that the dump makes, and the server cannot.
async fn extensions(found: &Found, server: &plan::Server, manifest: &Manifest) -> Result<Vec<Finding>> {
    let names: Vec<&str> = manifest
        .extensions
        .iter()
        .map(|one| one.name.as_str())
        .filter(|name| *name != "plpgsql")
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let control = scratch::control(&found.server, "pgtend/check").await?;
    let rows = control.client.query(include_str!("extensions.sql"), &[&names]).await.context("look for extensions")?;
    let mut findings = Vec::new();
    for row in rows {
        let name: String = row.get("name");
        if !row.get::<_, bool>("installed") {
            let message = format!("extension {name} of the backup is not installed on {}", server.place);
            findings.push(Finding::error(message, "install its package there"));
        } else if !server.may.all && !row.get::<_, bool>("allowed") {
            let message = format!("extension {name} of the backup can be made on {} by a superuser only", server.place);
            findings.push(Finding::error(message, "restore there as one"));
        }
    }
    Ok(findings)
}
