//! `vacuum` and `analyze`: each table by a statement of its own, the neediest first.
//!
//! One statement for the whole database would be simpler. It would also wait where somebody has a lock, leave nothing to a
//! budget, go through partitions twice, and pass over what the role may not vacuum with a warning that nobody reads.
//!
//! | step | where |
//! |---|---|
//! | the config's table | `config` |
//! | what there is, and who is in the way | `survey` |
//! | which tables, in which order | `plan` |
//! | one statement, and whether it was done | `apply` |

mod apply;
mod check;
pub mod config;
pub mod plan;
mod survey;

use std::time::Duration;

use anyhow::Result;

use self::config::Chore;
use self::plan::Action;
use super::{Applied, Context, Kind, StopStyle};
use crate::pg::pg_cron::says;
use crate::run::{Finding, Plan, Step};

pub type Vacuum = Chore<true>;
pub type Analyze = Chore<false>;

impl<const VACUUM: bool> Kind for Chore<VACUUM> {
    type Action = Action;

    const STOP: StopStyle = StopStyle::AtOnce;
    const TIMEOUT: Duration = Duration::from_secs(if VACUUM { 24 * 3600 } else { 3600 });

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    fn is_done_by(&self, sql: &str) -> bool {
        says(sql, if VACUUM { "vacuum" } else { "analyze" })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let facts = survey::survey(cx, &session, self.budget.as_ref().map(|span| span.get_ref().0), VACUUM).await?;
        session.close().await;
        Ok(plan::plan(self, &facts))
    }

    fn step(&self, action: &Action) -> Step {
        action.step()
    }

    fn label(&self, action: &Action) -> String {
        match action {
            Action::Tend(tend) => tend.chosen_by.clone(),
            Action::Refuse { target, .. } => target.clone(),
        }
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        apply::apply(cx, action).await
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let facts = survey::survey(cx, &session, None, false).await?;
        let counting = survey::counting(&session).await?;
        session.close().await;
        Ok(check::findings(self, &facts, counting))
    }
}
