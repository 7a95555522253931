//! Partitions whose whole range is over: detached, then dropped, moved to another schema, or left.
//!
//! | step | where |
//! |---|---|
//! | the catalog, and bounded looks at rows -> facts | `survey`, `look` |
//! | how old a partition is, by its bounds; pure | `age` |
//! | facts, policy, holds, now -> actions and notes; pure | `plan`: all tables; `window`: one of them; `begun`: what earlier runs left |
//! | rows of the default partition, and of partitions that are too wide; pure | `over`, on `kinds::rows` |
//! | one partition out of its table, concurrently or under a lock | `concurrently`, `detach` |
//! | the detached table: dropped, moved, left | `finish` |
//! | what lets a later run go on from where a dead one stopped | `mark`; that a detaching is ours: `witness` |
//! | what is remembered of an immutable table | `anchor` |
//! | what would go wrong | `check` |

pub mod age;
mod anchor;
pub mod at_work;
mod begun;
mod check;
mod concurrently;
pub mod detach;
pub mod facts;
mod finish;
pub mod look;
pub mod mark;
pub mod over;
pub mod plan;
mod steps;
pub mod survey;
mod window;
mod witness;

use anyhow::{Result, anyhow};

pub use self::check::check;
pub use self::facts::Action;
use self::facts::{Referring, Refusal, Rows, TableFacts};
use self::over::OldRows;
use super::Target;
use super::export;
use super::holds::{Holds, Watcher};
use crate::kinds::rows::{self, archive};
use crate::kinds::{Applied, Context};
use crate::pg::batch::Batch;
use crate::run::{Plan, Step};

/// What there is to do now.
///
/// # Errors
/// The server cannot be asked.
pub async fn plan(cx: &Context, targets: &[Target], holds: &Holds) -> Result<Plan<Action>> {
    let session = cx.session().await?;
    let looked = survey::survey(&session, cx, targets, holds).await;
    // One after the other: there may be but one connection.
    session.close().await;
    let looked = looked?;
    let rows = rows_of(cx, &looked, holds).await?;
    let mut plan = plan::decide(looked, holds, cx.now);
    plan.actions.extend(rows.actions);
    plan.notes.extend(rows.notes);
    Ok(plan)
}

/// Old rows in leaves that do not go.
async fn rows_of(cx: &Context, looked: &[plan::Looked], holds: &Holds) -> Result<Plan<Action>> {
    let mut all = Plan::default();
    for facts in looked.iter().flatten() {
        let (wanted, notes) = plan::rows(facts, holds, cx.now);
        all.notes.extend(notes);
        for (over, old) in wanted {
            let wanted = match old {
                OldRows::Delete(wanted) => wanted,
                OldRows::Archive(wanted, to) => {
                    let session = cx.session().await?;
                    let looked = archive::look(&session, &wanted.table, &to, wanted.time.column()).await;
                    session.close().await;
                    match looked? {
                        Ok((into, making)) => rows::Wanted { into: Some(into), making, ..wanted },
                        Err(refusal) => {
                            all.actions.push(Action::Refuse {
                                target: over.leaf.plain(),
                                table: facts.table().plain(),
                                refusal: Refusal::new(format!("{}: {}", over.what, refusal.why), refusal.mend),
                            });
                            continue;
                        }
                    }
                }
            };
            let plan = rows::plan(cx, std::slice::from_ref(&wanted)).await?;
            all.notes.extend(plan.notes);
            all.notes.extend(timeless(cx, facts, &wanted).await?);
            all.actions.extend(plan.actions.into_iter().map(|action| {
                Action::Rows(Box::new(Rows {
                    table: facts.table().clone(),
                    lineage: facts.lineage.iter().cloned().chain([over.leaf.clone()]).collect(),
                    what: over.what.clone(),
                    action,
                }))
            }));
        }
    }
    Ok(all)
}

/// Rows whose key says no time: NULL, or not in its format.
async fn timeless(cx: &Context, facts: &TableFacts, wanted: &rows::Wanted) -> Result<Option<Step>> {
    let session = cx.session().await?;
    let counted = look::timeless(&session, &facts.parent.owner, &wanted.table, &wanted.time.sql()).await;
    session.close().await;
    let most = Referring::MOST;
    let Some(n @ 1..) = counted? else { return Ok(None) };
    let rows = match n {
        1 => "1 row has".into(),
        n if n > most => format!("more than {most} rows have"),
        n => format!("{n} rows have"),
    };
    let reason = format!("{rows} a key that says no time, and never go");
    Ok(Some(Step::without_time(wanted.table.plain(), reason, Some(n.min(most)), n <= most)))
}

/// Does one action.
///
/// # Errors
/// It is refused, or failed.
pub async fn apply(cx: &Context, settings: &Batch, action: &Action) -> Result<Applied> {
    match action {
        Action::Refuse { refusal, .. } => Err(anyhow!("{}", refusal.sentence())),
        Action::Export(going) => Box::pin(export::apply(cx, going)).await,
        Action::Go(going) => Box::pin(detach::go(cx, going)).await,
        Action::Unmark(unmark) => detach::unmark(cx, unmark).await,
        Action::Rows(old) => {
            let watcher = Watcher { now: cx.now, lineage: &old.lineage };
            rows::apply(cx, settings, &watcher, &old.action).await
        }
    }
}
