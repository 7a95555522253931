//! What an error of a batch means: whether another try may help, and in whose words it is told.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::work::Work;
use super::{BATCH_TIMEOUT, Host, Into};
use crate::pg::ddl;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Locked,
    Smaller,
    Again,
    /// Not all that was sent has arrived where it should go.
    Short,
    /// A count that would be more than its type holds.
    TooLarge,
    Lost,
    Fatal,
}

impl Trouble {
    pub(super) fn of(error: &tokio_postgres::Error, into: Option<&Into>) -> Self {
        match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => Trouble::Locked,
            // A cancelled statement is ours: too long for one batch. A stop has been looked for before.
            Some(code)
                if [
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::T_R_DEADLOCK_DETECTED,
                    SqlState::OUT_OF_MEMORY,
                    SqlState::QUERY_CANCELED,
                ]
                .contains(code) =>
            {
                Trouble::Smaller
            }
            // A row that refers to ours came in between: the next look leaves ours out.
            Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => Trouble::Again,
            // A trigger, or somebody who has just deleted the row of a summary that was to be updated.
            Some(code) if *code == SqlState::DIVISION_BY_ZERO && into.is_some() => Trouble::Short,
            Some(code)
                if *code == SqlState::NUMERIC_VALUE_OUT_OF_RANGE && into.is_some_and(|i| i.summary().is_some()) =>
            {
                Trouble::TooLarge
            }
            Some(code) if ddl::ends_session(code) => Trouble::Lost,
            None if error.is_closed() => Trouble::Lost,
            _ => Trouble::Fatal,
        }
    }
}

impl<H: Host> Work<'_, H> {
    /// PostgreSQL's words, and what to do where it is known.
    pub(super) fn explain(&self, error: tokio_postgres::Error) -> anyhow::Error {
        let advice = match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE && self.deletion.into.is_some() => {
                let into = self.deletion.into.as_ref().map(|into| into.table().to_string()).unwrap_or_default();
                format!(
                    "the role may not do this to {0} or to {into}, or row security hides rows from it: \
                     GRANT SELECT, UPDATE, DELETE ON {0} TO it, GRANT SELECT, INSERT, UPDATE ON {into} TO it, or \
                     ALTER ROLE … BYPASSRLS",
                    self.deletion.leaf
                )
            }
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => format!(
                "the role may not do this to {0}, or row security hides rows from it: \
                 GRANT SELECT, UPDATE, DELETE ON {0} TO it, or ALTER ROLE … BYPASSRLS",
                self.deletion.leaf
            ),
            Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => {
                let key = error.as_db_error().map(|e| (e.constraint().unwrap_or("?"), e.table().unwrap_or("?")));
                let (constraint, table) = key.unwrap_or_default();
                let there = self.deletion.into.as_ref().filter(|into| into.table().name.as_str() == table);
                if let Some(into) = there {
                    let said = format!(
                        "constraint {constraint} of {} refuses what arrives there, and the rows stay; {}",
                        into.table().plain(),
                        self.said()
                    );
                    return anyhow::Error::new(error).context(said);
                }
                format!(
                    "rows of table {table} still refer to rows that are due (constraint {constraint}); delete those first, or \
                     leave the rows out with where; rows that a table refers to directly are left out where the role has SELECT on it"
                )
            }
            Some(code) if *code == SqlState::QUERY_CANCELED => format!(
                "even the smallest batch took longer than {} s; an index is missing for the time, on a foreign key, or on \
                 the column of objects",
                BATCH_TIMEOUT.as_secs()
            ),
            Some(code) if *code == SqlState::DIVISION_BY_ZERO && self.deletion.into.is_some() => {
                let altered = match &self.deletion.into {
                    Some(Into::Archive(_)) => ", or a column of either table was altered since the run began",
                    _ => "",
                };
                format!(
                    "fewer rows arrived than were sent{altered}, so that none was moved; does a trigger keep rows out? {}",
                    self.said()
                )
            }
            Some(code) if *code == SqlState::NUMERIC_VALUE_OUT_OF_RANGE && self.deletion.into.is_some() => format!(
                "a value is too large for its column there, such as the count or a serial number, and the rows stay; {}",
                self.said()
            ),
            _ => self.said(),
        };
        anyhow::Error::new(error).context(advice)
    }

    /// What a batch does.
    fn said(&self) -> String {
        let leaf = &self.deletion.leaf;
        match &self.deletion.into {
            None => format!("delete a batch of {leaf}"),
            Some(Into::Summary(summary)) => format!("add a batch of {leaf} to {}", summary.table),
            Some(into) => format!("move a batch of {leaf} to {}", into.table()),
        }
    }
}

/// A rest that grows, and is another for each session.
pub(super) fn jittered(failures: u32, pid: i32) -> Duration {
    let spread = 0.5 + f64::from(pid.rem_euclid(97)) / 97.0;
    Duration::from_millis(20).mul_f64(spread) * 2u32.pow(failures.min(6))
}
