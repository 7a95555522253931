//! How scratch databases, and roles made for them, are known again: by a comment that says whose they are. Names prove
//! nothing.
//!
//! `CREATE DATABASE` and `COMMENT` cannot be one transaction. So a scratch database begins closed to all connections, and is
//! opened by the same transaction that marks it: one that is not marked has never held anything.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;
use crate::kinds::backup::manifest::Identity;
use crate::run::JobName;

/// How the name of every scratch database begins.
pub const BEGINNING: &str = "pgtend_restore_test_";
/// The options that a scratch database begins with.
pub const CLOSED: &str = " ALLOW_CONNECTIONS false CONNECTION LIMIT 0";
const STAMP: &str = "%Y%m%dT%H%M%SZ";
/// The server keeps 63 bytes; this leaves room for the stamp and a number.
const JOB_MOST: usize = 63 - BEGINNING.len() - "_20261121T020000Z_99".len();

/// A job as no other is called: by its lock, of which there is one, it is known that no other run of it is at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    job: String,
    comment: String,
}

/// A database of the server whose name begins like that of a scratch database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    pub comment: Option<String>,
    /// Nobody can connect to it, and nobody could since it was made.
    pub closed: bool,
}

/// What becomes of such a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    Ours,
    /// Another job's, which may be at work, or a person's: why it is left alone.
    Others(String),
}

impl Mark {
    /// `home` is the database that the job's lock is in.
    pub fn new(job: &JobName, home: &Identity) -> Self {
        let comment = format!(
            "pgtend: scratch of restore_test job {job}, whose lock is in database {} of system {}: ",
            home.database_oid, home.system_identifier
        );
        Self { job: short(job.as_str()), comment }
    }

    /// `pgtend_restore_test_JOB_STAMP`; of several in one run, the second and later have their number.
    pub fn name(&self, at: DateTime<Utc>, nth: usize) -> String {
        let number = if nth > 1 { format!("_{nth}") } else { String::new() };
        format!("{BEGINNING}{}_{}{number}", self.job, at.format(STAMP))
    }

    pub fn comment(&self, what: &str) -> String {
        format!("{}{what}", self.comment)
    }

    pub fn is_on(&self, comment: &str) -> bool {
        comment.starts_with(&self.comment)
    }

    /// Whether a run of this job made it.
    pub fn whose(&self, known: &Known) -> Whose {
        match &known.comment {
            Some(comment) if self.is_on(comment) => Whose::Ours,
            Some(comment) => Whose::Others(format!("its comment is {comment:?}")),
            None if known.closed && self.made(&known.name) => Whose::Ours,
            None => Whose::Others("it has no comment of pgtend's".into()),
        }
    }

    /// Whether the name begins as those do that this job gives.
    pub fn is_like(&self, name: &str) -> bool {
        name.strip_prefix(BEGINNING)
            .and_then(|rest| rest.strip_prefix(&self.job))
            .is_some_and(|rest| rest.starts_with('_'))
    }

    /// Whether the name is one that this job gives.
    fn made(&self, name: &str) -> bool {
        let stamp = name.strip_prefix(BEGINNING).and_then(|rest| rest.strip_prefix(&self.job)?.strip_prefix('_'));
        let Some(stamp) = stamp else { return false };
        let (stamp, number) = stamp.split_once('_').unwrap_or((stamp, "2"));
        let at = chrono::NaiveDateTime::parse_from_str(stamp, STAMP);
        number.parse::<u32>().is_ok() && at.is_ok_and(|at| at.format(STAMP).to_string() == stamp)
    }
}

/// A name that leaves room for the rest; one that was cut ends with what tells it from others.
fn short(job: &str) -> String {
    if job.len() <= JOB_MOST {
        return job.into();
    }
    let digest = Sha256::digest(job.as_bytes());
    // Names of jobs are ASCII.
    let kept: String = job.chars().take(JOB_MOST - 9).collect();
    format!("{kept}.{}", hex(&digest[..4]))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    fn mark(job: &str, oid: u32) -> Mark {
        Mark::new(&JobName(job.into()), &Identity { system_identifier: "7".into(), database_oid: oid })
    }

    #[test]
    fn a_name_fits_and_says_whose_it_is() {
        let at = Utc.with_ymd_and_hms(2026, 11, 21, 2, 0, 0).unwrap();
        assert_eq!(mark("prove", 1).name(at, 1), "pgtend_restore_test_prove_20261121T020000Z");
        assert_eq!(mark("prove", 1).name(at, 2), "pgtend_restore_test_prove_20261121T020000Z_2");
        let (one, other) = (format!("{}1", "x".repeat(60)), format!("{}2", "x".repeat(60)));
        let names = [mark(&one, 1).name(at, 99), mark(&other, 1).name(at, 99)];
        assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn only_what_this_job_made_is_its_own() {
        let at = Utc.with_ymd_and_hms(2026, 11, 21, 2, 0, 0).unwrap();
        let mine = mark("prove", 16_384);
        let check = |name: &str, comment: Option<String>, closed: bool, ours: bool| {
            let known = Known { name: name.into(), comment, closed };
            assert_eq!(mine.whose(&known) == Whose::Ours, ours, "{known:?}");
        };
        let name = mine.name(at, 1);
        check(&name, Some(mine.comment("made today")), false, true);
        // Killed before it could be marked: closed, and so empty.
        check(&name, None, true, true);
        check(&format!("{name}_2"), None, true, true);
        check(&name, None, false, false);
        check(&name, Some("do not drop".into()), true, false);
        check(&name, Some(mark("prove", 16_385).comment("x")), false, false);
        check(&name, Some(mark("prove2", 16_384).comment("x")), false, false);
        for other in [
            "pgtend_restore_test_prove_mine",
            "pgtend_restore_test_prove_",
            "pgtend_restore_test_prove2_20261121T020000Z",
        ] {
            check(other, None, true, false);
        }
    }
}
