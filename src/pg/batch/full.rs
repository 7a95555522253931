//! What stays behind where rows are counted in another table: rows whose group it cannot have, and rows whose group's count
//! has no room for them. Nothing of a full group is added by halves within a batch, and the other groups go on.

use anyhow::{Context as _, Result};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::walk::Walk;
use super::work::Work;
use super::{Form, Host, Into, Summary};
use crate::pg::{blockers, words};

impl<H: Host> Work<'_, H> {
    fn summary(&self) -> Option<&Summary> {
        self.deletion.into.as_ref().and_then(Into::summary)
    }

    /// Finds out which groups of the batch that has just failed would be more than the summary's count holds, and leaves
    /// them out from now on. Says whether there were any that it did not know.
    pub(super) async fn leave_full_groups(&mut self, walk: &Walk, form: Form) -> bool {
        let Some(summary) = self.summary().filter(|summary| summary.most.is_some()) else { return false };
        let (from, mut rows, to) = walk.step();
        if self.takes_whole(walk, form) {
            rows = i64::MAX;
        }
        let (matching, passed_over) = (walk.matching(&self.deletion, self.session.version), walk.passed_over());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![self.deletion.cutoff.parameter(), &from, &rows];
        match &to {
            Some(to) => parameters.push(to),
            None => parameters.push(&passed_over),
        }
        parameters.extend(summary.parameters(&self.deletion));
        if self.session.by_their_path().await.is_err() {
            return false;
        }
        let found = match self.session.query(&summary.overflowing(&self.deletion, &matching), &parameters).await {
            Ok(found) => found,
            Err(error) => {
                // The next try will meet with the same.
                tracing::info!(table = %self.deletion.leaf, "the counts without room could not be looked for: {}", words::said(&error));
                return false;
            }
        };
        let known = self.left.full.len();
        for row in found {
            let group: String = row.get(0);
            if !self.left.full.contains(&group) {
                self.left.full.push(group);
            }
        }
        if let Some(Into::Summary(summary)) = &mut self.deletion.into {
            summary.full.clone_from(&self.left.full);
        }
        self.left.full.len() > known
    }

    /// What stays and why, once all that could go is gone.
    pub(super) async fn stayed(&self) -> Result<Option<String>> {
        let Some(summary) = self.summary() else { return Ok(self.left.objects.said()) };
        let mut said = Vec::new();
        self.session.by_their_path().await?;
        if !summary.required.is_empty() {
            match self.session.query_one(&summary.without(&self.deletion), &[self.deletion.cutoff.parameter()]).await {
                Ok(row) => {
                    let counts: Vec<i64> = row.get(0);
                    for (column, n) in summary.required.iter().zip(counts).filter(|(_, n)| *n > 0) {
                        said.push(summary.said_without(&rows(n), column));
                    }
                }
                Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => self.host.warn(format!(
                    "it took too long to see whether rows of {} stay for want of {}",
                    self.deletion.leaf.plain(),
                    summary.required.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or of "),
                )),
                Err(error) => return Err(error).context("count the rows that stay"),
            }
        }
        if !summary.full.is_empty() {
            let mut parameters = vec![self.deletion.cutoff.parameter()];
            parameters.extend(summary.parameters(&self.deletion));
            match self.session.query(&summary.without_room(&self.deletion), &parameters).await {
                Ok(groups) => {
                    if let Some(first) = groups.first() {
                        let others: i64 = groups.iter().skip(1).map(|group| group.get::<_, i64>(1)).sum();
                        let more = match groups.len() {
                            1 => String::new(),
                            n => format!(", and {} of {} other groups,", rows(others), n - 1),
                        };
                        said.push(summary.said_full(&rows(first.get(1)), first.get(0), &more));
                    }
                }
                Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                    let more = match summary.full.len() {
                        1 => String::new(),
                        n => format!(", and of {} other groups,", n - 1),
                    };
                    said.push(summary.said_full("rows", &summary.full[0], &more));
                }
                Err(error) => return Err(error).context("count the rows that stay"),
            }
        }
        Ok((!said.is_empty()).then(|| said.join("; ")))
    }

    /// Who is at work on the summary, where there is one and somebody is.
    pub(super) async fn summary_locked_by(&self) -> Result<Option<String>> {
        let Some(summary) = self.summary() else { return Ok(None) };
        self.session.by_our_path().await?;
        let by = blockers::of_writers(&self.session, summary.oid).await?;
        Ok(by.map(|by| format!("{} or a row of it is locked by {by}", summary.table.plain())))
    }
}

fn rows(n: i64) -> String {
    if n == 1 { "1 row".into() } else { format!("{n} rows") }
}
