//! Partitions whose whole range is over.

use anyhow::Result;

use super::Target;
use super::holds::Holds;
use crate::kinds::{Applied, Context};
use crate::pg::Session;
use crate::pg::batch::Batch;
use crate::run::{Finding, Plan, Step};

#[derive(Debug)]
pub enum Action {
    Refuse { target: String, why: String },
}

impl Action {
    pub fn step(&self) -> Step {
        match self {
            Action::Refuse { target, why } => Step { action: "refuse", ..Step::warn(target, why) },
        }
    }

    pub fn label(&self) -> String {
        self.step().target
    }
}

pub async fn plan(_: &Session, _: &Context, _: &[Target], _: &Holds) -> Result<Plan<Action>> {
    Ok(Plan::default())
}

pub async fn apply(_: &Context, _: &Batch, _: &Action) -> Result<Applied> {
    Ok(Applied::Done)
}

pub async fn check(_: &Session, _: &Context, _: &[Target]) -> Result<Vec<Finding>> {
    Ok(Vec::new())
}
