//! Partitions whose whole range is over: detached, then dropped, moved to another schema, or left.
//!
//! | step | where |
//! |---|---|
//! | the catalog, and bounded looks at rows -> facts | `survey`, `look` |
//! | how old a partition is, by its bounds; pure | `age` |
//! | facts, policy, holds, now -> actions and notes; pure | `plan` |
//! | one partition out of its table, concurrently or under a lock | `detach` |
//! | the detached table: dropped, moved, left | `finish` |
//! | what lets a later run go on from where a dead one stopped | `mark` |
//! | what is remembered of an immutable table | `anchor` |
//! | what would go wrong | `check` |

pub mod age;
mod anchor;
pub mod at_work;
mod check;
pub mod detach;
pub mod facts;
mod finish;
pub mod look;
pub mod mark;
pub mod plan;
mod steps;
pub mod survey;

use anyhow::{Result, anyhow, bail};

pub use self::check::check;
pub use self::facts::Action;
use self::facts::Became;
use super::Target;
use super::holds::Holds;
use crate::kinds::{Applied, Context, rows};
use crate::pg::Session;
use crate::pg::batch::Batch;
use crate::run::Plan;
use crate::testpoint;

/// What there is to do now.
///
/// # Errors
/// The server cannot be asked.
pub async fn plan(session: &Session, cx: &Context, targets: &[Target], holds: &Holds) -> Result<Plan<Action>> {
    let looked = survey::survey(session, cx, targets, holds).await?;
    Ok(plan::decide(looked, holds, cx.now))
}

/// Does one action.
///
/// # Errors
/// It is refused, or failed.
pub async fn apply(cx: &Context, settings: &Batch, action: &Action) -> Result<Applied> {
    match action {
        Action::Refuse { refusal, .. } => Err(anyhow!("{}", refusal.sentence())),
        Action::Export(going) => {
            if !testpoint::pretends("export") {
                going.ledger.note(going.oid, Became::Failed);
                bail!("partitions cannot be exported in this version of pgtend: it stays");
            }
            going.ledger.note(going.oid, Became::Exported);
            Ok(Applied::Done)
        }
        Action::Go(going) => detach::go(cx, going).await,
        Action::Unmark(unmark) => detach::unmark(cx, unmark).await,
        Action::Rows(action) => rows::apply(cx, settings, action).await,
    }
}
