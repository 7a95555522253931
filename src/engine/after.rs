//! What the history says of jobs that come after others, and of tries that others have made needless: whichever daemon ran
//! them, and whether it still lives.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};

use super::history;
use super::runner::Engine;
use crate::config::Definition;
use crate::pg::Limits;
use crate::run::JobName;

const LIMITS: Limits = Limits::new(Duration::from_secs(10), Duration::from_secs(1));

/// Two times of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// When its newest run began, be it over or not.
    pub began: Option<DateTime<Utc>>,
    /// When its newest success ended.
    pub succeeded: Option<DateTime<Utc>>,
}

/// Whether each of the jobs that `job` comes after has succeeded since `job` began last.
pub fn follows(job: &Definition, marks: &HashMap<JobName, Marks>) -> bool {
    let of = |name| marks.get(name).copied().unwrap_or_default();
    let began = of(&job.name).began;
    // A reload may have taken it out of every chain.
    !job.after.is_empty()
        && job
            .after
            .iter()
            .all(|before| of(before).succeeded.is_some_and(|ended| began.is_none_or(|began| ended > began)))
}

impl Engine {
    /// # Errors
    /// The history of one of them cannot be read.
    pub async fn marks(&self, jobs: &[Arc<Definition>]) -> Result<HashMap<JobName, Marks>> {
        let mut databases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for job in jobs {
            databases.entry(&job.database).or_default().push(job.name.as_str());
        }
        let mut marks = HashMap::new();
        for (name, jobs) in databases {
            let (link, facts) = self.observed(name)?.connect("pgtend", LIMITS).await?;
            ensure!(!facts.is_standby, "database {name} is on a standby, whose history is its primary's");
            ensure!(history::exists(&link.client).await?, "database {name} has no history");
            let rows = link.client.query(include_str!("after.sql"), &[&jobs]).await.context("read the history")?;
            let of = |row: &tokio_postgres::Row| Marks { began: row.get(1), succeeded: row.get(2) };
            marks.extend(rows.iter().map(|row| (JobName(row.get(0)), of(row))));
        }
        Ok(marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn at(minute: u32) -> Option<DateTime<Utc>> {
        Some(format!("2026-07-01T03:{minute:02}:00Z").parse().unwrap())
    }

    /// Whether `both`, which comes after `left` and `right`, is to run.
    fn follows(began: Option<DateTime<Utc>>, left: Option<DateTime<Utc>>, right: Option<DateTime<Utc>>) -> bool {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        let job = |name, keys| format!("[jobs.{name}]\n{keys}\n[jobs.{name}.sql]\nstatements = [\"SELECT 1\"]\n");
        let jobs = job("both", "after = [\"left\", \"right\"]") + &job("left", "") + &job("right", "");
        std::fs::write(file.path(), format!("[databases.main]\nurl = \"postgresql://a@b/c\"\n{jobs}")).unwrap();
        let both = config::load(file.path()).unwrap().jobs.remove(0);
        let marks = [
            ("both", Marks { began, succeeded: None }),
            ("left", Marks { began: None, succeeded: left }),
            ("right", Marks { began: None, succeeded: right }),
        ];
        super::follows(&both, &marks.into_iter().map(|(name, marks)| (JobName(name.into()), marks)).collect())
    }

    #[test]
    fn a_job_follows_when_all_before_it_have_succeeded_since_it_began_last() {
        assert!(follows(None, at(1), at(2)));
        assert!(follows(at(3), at(4), at(5)));
        assert!(!follows(at(3), at(2), at(5)), "left was done by the last run already");
        assert!(!follows(None, None, at(5)), "left never succeeded");
        assert!(!follows(at(6), at(4), at(5)), "another daemon was quicker");
    }
}
