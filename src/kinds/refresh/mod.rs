//! `refresh`: materialized views made anew, each after those it is made from, and where it can be had beside their readers.
//!
//! | step | where |
//! |---|---|
//! | the config's table | `config` |
//! | what is known of the views, and what a plan has them done | `facts`, read by `survey` |
//! | which, in which order, and how | `plan` |
//! | one view, in one transaction | `apply` |

mod apply;
mod check;
pub mod config;
pub mod facts;
mod gauges;
pub mod plan;
pub mod survey;

use anyhow::{Result, anyhow};

pub use self::config::Refresh;
use self::facts::Action;
use super::{Applied, Context, Kind, Observes, StopStyle};
use crate::pg::TableName;
use crate::pg::pg_cron::{mentions, says};
use crate::run::{Finding, Observed, Plan, Step};

impl Kind for Refresh {
    type Action = Action;

    const STOP: StopStyle = StopStyle::AtOnce;
    const OBSERVES: Observes = Observes::WhileEnabled;

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    fn tends(&self) -> Vec<&TableName> {
        self.named().unwrap_or_default()
    }

    fn is_done_by(&self, sql: &str) -> bool {
        match self.named() {
            Some(views) => views.into_iter().any(|view| mentions(sql, view)),
            None => says(sql, "refresh materialized view"),
        }
    }

    async fn observe(&self, cx: &Context) -> Result<Observed> {
        Ok(gauges::observe(self, cx).await?.into())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let facts = survey::facts(&session, cx, self).await?;
        session.close().await;
        Ok(plan::plan(self, &facts))
    }

    fn step(&self, action: &Action) -> Step {
        action.step()
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        match action {
            Action::Refuse { oid, why, ledger, .. } => {
                if let Some(oid) = oid {
                    ledger.note(*oid, false);
                }
                Err(anyhow!("{why}"))
            }
            Action::Refresh(going) => apply::refresh(cx, self, going).await,
            Action::Vacuum(sweep) => apply::vacuum(cx, sweep).await,
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        check::check(self, cx).await
    }
}
