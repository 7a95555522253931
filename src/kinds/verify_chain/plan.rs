//! What there is to do for a chain; pure.

use serde_json::json;

use super::VerifyChain;
use crate::pg::Ident;
use crate::run::{Finding, Plan, Step};

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Refuse(Refusal),
    Verify(Chain),
}

/// Why a chain cannot be followed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    pub mend: String,
    /// Which key of the config it is about.
    pub key: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub chain: Result<Chain, Refusal>,
    /// What `check` says besides, with its mend.
    pub warnings: Vec<(String, String)>,
}

/// A chain that can be followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The types of the columns, as SQL.
    pub order_type: String,
    pub previous_type: String,
    pub anchors: Vec<Anchor>,
}

/// The last row of a part of the chain that retention has dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    pub partition: String,
    /// Nothing where retention did not know that column for a hash, or it was NULL.
    pub hash: Option<String>,
    /// Its place in the order.
    pub place: Option<String>,
}

pub fn plan(_: &VerifyChain, facts: Facts) -> Plan<Action> {
    let action = match facts.chain {
        Ok(chain) => Action::Verify(chain),
        Err(refusal) => Action::Refuse(refusal),
    };
    Plan { actions: vec![action], ..Plan::default() }
}

pub fn findings(kind: &VerifyChain, facts: &Facts) -> Vec<Finding> {
    let warnings = facts.warnings.iter().map(|(why, mend)| Finding::warning(why, mend).at(kind.table.span()));
    let refused = facts.chain.as_ref().err().map(|refusal| {
        let place = kind.columns().into_iter().find(|(key, _)| *key == refusal.key).map(|(_, column)| column.span());
        Finding::error(&refusal.why, &refusal.mend).at(place.unwrap_or_else(|| kind.table.span()))
    });
    refused.into_iter().chain(warnings).collect()
}

impl Action {
    pub fn step(&self, kind: &VerifyChain) -> Step {
        let target = kind.table.get_ref().plain();
        let chain = match self {
            Action::Refuse(refusal) => {
                return Step { action: "refuse", ..Step::warn(target, format!("{}; {}", refusal.why, refusal.mend)) };
            }
            Action::Verify(chain) => chain,
        };
        let plain = |ident: &Ident| ident.as_str().to_owned();
        let from = match chain.anchors.last() {
            Some(anchor) => format!("from what retention remembers of {}", anchor.partition),
            None => "from its first row".into(),
        };
        let (hash, previous) = (plain(kind.hash.get_ref()), plain(kind.previous.get_ref()));
        Step {
            action: "verify_chain",
            target,
            reason: format!("follows {previous} to {hash} {from}; reads all of it, in one snapshot"),
            detail: json!({
                "order_by": plain(kind.order_by.get_ref()), "hash": hash, "previous": previous, "anchors": chain.anchors.len(),
            }),
            sql: None,
        }
    }
}
