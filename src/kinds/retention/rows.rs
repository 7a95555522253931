//! Rows of tables without partitions.

use anyhow::Result;

use super::holds::Holds;
use super::{Target, held};
use crate::kinds::Context;
use crate::kinds::rows::Action;
use crate::pg::Session;
use crate::run::{Finding, Plan};

pub async fn plan(_: &Session, cx: &Context, targets: &[Target], holds: &Holds) -> Result<Plan<Action>> {
    let mut plan = Plan::default();
    for target in targets {
        plan.notes.extend(held(holds, cx, target));
    }
    Ok(plan)
}

pub async fn check(_: &Session, _: &Context, _: &[Target]) -> Result<Vec<Finding>> {
    Ok(Vec::new())
}
