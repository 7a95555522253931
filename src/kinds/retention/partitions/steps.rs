//! The lines of a plan.

use serde_json::{Value, json};

use super::facts::{Action, Fate, Going, Stand, Way};
use crate::run::Step;

impl Action {
    /// The line that stands for it in `plan`, in logs and in failures.
    pub fn step(&self) -> Step {
        match self {
            Action::Refuse { target, refusal, .. } => {
                Step { action: "refuse", ..Step::warn(target, refusal.sentence()) }
            }
            Action::Rows(rows) => {
                let step = rows.action.step();
                Step { reason: format!("{}: {}", rows.what, step.reason), ..step }
            }
            Action::Unmark(unmark) => Step {
                action: "restore_comment",
                target: unmark.leaf.plain(),
                reason: "an earlier run was about to detach it, and it does not go now".into(),
                detail: json!({ "table": unmark.table.plain(), "comment": unmark.comment }),
                sql: None,
            },
            Action::Export(going) => Step {
                action: "export_partition",
                target: going.leaf.plain(),
                reason: format!("{}; written to {} and read back before it goes", going.reason, store(going)),
                detail: detail(going),
                sql: None,
            },
            Action::Go(going) => Step {
                action: match going.fate {
                    Fate::Drop => "drop_partition",
                    Fate::Detach => "detach_partition",
                    Fate::Archive(_) => "archive_partition",
                },
                target: going.leaf.plain(),
                reason: format!("{}; {}", going.reason, how(going)),
                detail: detail(going),
                sql: Some(sql(going).join("; ")),
            },
        }
    }

    /// The table of the config.
    pub fn label(&self) -> String {
        match self {
            Action::Refuse { table, .. } => table.clone(),
            Action::Rows(rows) => rows.table.plain(),
            Action::Unmark(unmark) => unmark.table.plain(),
            Action::Export(going) | Action::Go(going) => going.table.plain(),
        }
    }
}

fn store(going: &Going) -> &str {
    going.export.as_deref().unwrap_or("the store")
}

/// `about 1200 rows, 5.1 MB; detached concurrently`
fn how(going: &Going) -> String {
    let rows = going.rows.map_or_else(|| "an unknown number of rows".into(), |rows| format!("about {rows} rows"));
    let bytes = going.bytes.map_or_else(|| "of unknown size".into(), bytes);
    let way = match (going.stand, &going.way) {
        (Stand::Pending, _) => "its detaching is finished".into(),
        (Stand::Detached, _) => return format!("{rows}, {bytes}"),
        (Stand::Attached, Way::Concurrently) => "detached concurrently".into(),
        (Stand::Attached, Way::Plainly(why)) => {
            format!("detached under a lock on {}, since {why}", going.table.plain())
        }
    };
    format!("{rows}, {bytes}; {way}")
}

fn detail(going: &Going) -> Value {
    let mut detail = json!({
        "table": going.table.plain(),
        "from": going.from,
        "to": going.to,
        "bound": going.bound,
        "bytes": going.bytes,
        "rows": going.rows,
        "state": match going.stand {
            Stand::Attached => "attached",
            Stand::Pending => "detach pending",
            Stand::Detached => "detached",
        },
    });
    if going.stand == Stand::Attached {
        detail["detach"] = match &going.way {
            Way::Concurrently => "concurrently".into(),
            Way::Plainly(_) => "plain".into(),
        };
        if let Way::Plainly(why) = &going.way {
            detail["why_plain"] = why.clone().into();
        }
    }
    if let Fate::Archive(to) = &going.fate {
        detail["to_schema"] = to.as_str().into();
    }
    detail
}

/// The statements as a person would write them.
fn sql(going: &Going) -> Vec<String> {
    let (table, leaf) = (&going.table, &going.leaf);
    let mut statements = Vec::new();
    match (going.stand, &going.way) {
        (Stand::Detached, _) => {}
        (Stand::Pending, _) => statements.push(format!("ALTER TABLE {table} DETACH PARTITION {leaf} FINALIZE")),
        (_, Way::Concurrently) => statements.push(format!("ALTER TABLE {table} DETACH PARTITION {leaf} CONCURRENTLY")),
        (_, Way::Plainly(_)) => statements.push(format!("ALTER TABLE {table} DETACH PARTITION {leaf}")),
    }
    match &going.fate {
        Fate::Drop => statements.push(format!("DROP TABLE {leaf}")),
        Fate::Archive(to) => statements.push(format!("ALTER TABLE {leaf} SET SCHEMA {to}")),
        Fate::Detach => {}
    }
    statements
}

/// `1 partition`, `2 partitions`.
pub fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `812 bytes`, `5.1 MB`.
fn bytes(n: u64) -> String {
    let mut size = n as f64;
    for unit in ["kB", "MB", "GB", "TB"] {
        size /= 1000.0;
        if size < 1000.0 && n >= 1000 {
            return format!("{size:.1} {unit}");
        }
    }
    if n < 1000 { format!("{n} bytes") } else { format!("{size:.0} TB") }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_said_in_units_of_people() {
        let said = [0, 999, 1_000, 5_123_456, 999_999_999_999, 2_500_000_000_000_000].map(bytes);
        assert_eq!(said, ["0 bytes", "999 bytes", "1.0 kB", "5.1 MB", "1000.0 GB", "2500 TB"]);
    }
}
