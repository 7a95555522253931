//! `verify_chain`: each row of a log names the hash of the row before it; here it is seen whether all those are there.
//!
//! Links only: what a hash is made of is the application's business, and a jsonb or a time with a zone may be written out
//! differently although nothing was changed. What a row holds is never shown, only where it stands.
//!
//! | step | where |
//! |---|---|
//! | the table, its columns, what retention has left as anchors | `survey` |
//! | what there is to do | `plan` |
//! | the table read, in one snapshot | `read` |
//! | what is made of it | `judge`, pure |

mod judge;
pub mod plan;
mod read;
mod survey;

use anyhow::{Result, anyhow};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use toml::Spanned;

use self::plan::{Action, Facts};
use super::{Applied, Context, Kind, StopStyle};
use crate::pg::{Ident, TableName};
use crate::run::{Finding, Plan, Step};

/// Follows a chain of hashes through a table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyChain {
    /// The log; of a partitioned one all partitions.
    #[schemars(with = "String")]
    pub table: Spanned<TableName>,
    /// The column by which the rows are more or less in the order of the chain, such as the id: best one with an index. It
    /// is a hint, and what a row is called by.
    #[schemars(with = "String")]
    pub order_by: Spanned<Ident>,
    /// The column with the hash of a row.
    #[schemars(with = "String")]
    pub hash: Spanned<Ident>,
    /// The column with the hash of the row before.
    #[schemars(with = "String")]
    pub previous: Spanned<Ident>,
    /// What `previous` holds in the first row of all. Default: NULL.
    pub genesis: Option<String>,
}

impl VerifyChain {
    fn columns(&self) -> [(&'static str, &Spanned<Ident>); 3] {
        [("order_by", &self.order_by), ("hash", &self.hash), ("previous", &self.previous)]
    }
}

impl Kind for VerifyChain {
    type Action = Action;

    const STOP: StopStyle = StopStyle::AtOnce;
    const WRITES: bool = false;

    fn validate(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.hash.get_ref() == self.previous.get_ref() {
            let mend = "name the column with the hash of the row before";
            found.push(
                Finding::error("verify_chain.hash and previous are the same column", mend).at(self.previous.span()),
            );
        }
        found
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        Ok(plan::plan(self, self.facts(cx).await?))
    }

    fn step(&self, action: &Action) -> Step {
        action.step(self)
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        let chain = match action {
            Action::Verify(chain) => chain,
            Action::Refuse(refusal) => return Err(anyhow!("{}; {}", refusal.why, refusal.mend)),
        };
        let session = cx.session().await?;
        let seen = read::read(&session, cx, self, chain).await;
        if !session.is_closed() {
            session.close().await;
        }
        let seen = match seen? {
            Ok(seen) => seen,
            Err(applied) => return Ok(applied),
        };
        let verdict = judge::judge(&seen, chain, self);
        {
            let mut report = cx.report.lock();
            let details = json!({
                "rows": seen.rows, "first": seen.first, "last": seen.last, "forks": verdict.forks,
                "out_of_order": verdict.out_of_order, "began_at_anchor": verdict.anchored,
            });
            if let serde_json::Value::Object(details) = details {
                report.fields.extend(details);
            }
        }
        for note in &verdict.notes {
            cx.report.warn(format!("{}: {note}", self.table.get_ref().plain()));
        }
        if verdict.broken.is_empty() {
            Ok(Applied::Done)
        } else {
            Err(anyhow!("the chain is broken: {}", verdict.broken.join("; ")))
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        Ok(plan::findings(self, &self.facts(cx).await?))
    }
}

impl VerifyChain {
    async fn facts(&self, cx: &Context) -> Result<Facts> {
        let session = cx.session().await?;
        let facts = survey::facts(&session, self).await;
        if !session.is_closed() {
            session.close().await;
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_means_nothing_is_refused() {
        let check = |config: &str, expect: &str| {
            let said = match toml::from_str::<VerifyChain>(config) {
                Err(error) => error.message().to_owned(),
                Ok(kind) => kind.validate().iter().map(|f| f.message.clone()).collect(),
            };
            assert!(if expect.is_empty() { said.is_empty() } else { said.contains(expect) }, "{said:?}");
        };
        check("table = 'log'\norder_by = 'id'\nhash = 'h'\nprevious = 'p'", "");
        check("table = 'log'\norder_by = 'id'\nhash = 'h'\nprevious = 'H'", "the same column");
        check("table = 'log'\norder_by = 'id'\nhash = 'h'", "missing field `previous`");
        check("table = 'a.b.c'\norder_by = 'id'\nhash = 'h'\nprevious = 'p'", "schema.table");
        check("table = 'log'\norder_by = 'id desc'\nhash = 'h'\nprevious = 'p'", "double quotes");
    }
}
