//! The lines of a plan.

use std::fmt;

use serde_json::json;

use super::facts::{Action, Create, NewBound};
use crate::run::Step;

/// The bound as SQL, for people to read; what is run has its literals written by the server.
impl fmt::Display for NewBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let literal = |text: &String| format!("'{}'", text.replace('\'', "''"));
        match self {
            NewBound::Range { from, to, columns } => {
                let rest = ", MINVALUE".repeat(columns.saturating_sub(1));
                write!(f, "FOR VALUES FROM ({}{rest}) TO ({}{rest})", literal(from), literal(to))
            }
            NewBound::List(values) => {
                let values: Vec<_> = values.iter().map(literal).collect();
                write!(f, "FOR VALUES IN ({})", values.join(", "))
            }
        }
    }
}

impl Action {
    /// The line that stands for it in `plan`, in logs and in failures.
    pub fn step(&self) -> Step {
        match self {
            Action::Refuse { table, why } => Step { action: "refuse", ..Step::warn(table.plain(), why) },
            Action::Create(create) => {
                let Create { parent, name, bound, from, to, reason, .. } = &**create;
                Step {
                    action: "create_partition",
                    target: name.plain(),
                    reason: reason.clone(),
                    detail: json!({
                        "table": parent.plain(),
                        "name": name.plain(),
                        "from": from,
                        "to": to,
                        "bound": bound.to_string(),
                    }),
                    sql: Some(format!("ALTER TABLE {parent} ATTACH PARTITION {name} {bound}")),
                }
            }
        }
    }
}
