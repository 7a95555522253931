//! Others that do such work already.

use crate::init::draft::{Line, Part};
use crate::init::facts::Facts;
use crate::pg::TableName;
use crate::pg::pg_cron::{CronJob, mentions, says};

pub fn schedulers(facts: &Facts) -> Option<Part> {
    let mut words = Vec::new();
    if let Some(cron) = &facts.cron {
        if !cron.jobs.is_empty() {
            words.push(Line::words(
                "pg_cron runs these in this database. What is done here too is to be unscheduled there (cron.unschedule), or it \
                 is done twice. Its times are those of its own time zone, GMT unless cron.timezone says otherwise.",
            ));
            words.extend(cron.jobs.iter().map(|job| Line::code(said(job, facts))));
        }
        if let Some(why) = &cron.hidden {
            words.push(Line::words(format!(
                "pg_cron is here, and not all of its jobs could be seen: {why}. Let somebody look into cron.job for work that is \
                 done here too."
            )));
        }
    }
    for (extension, what) in [
        (
            "pg_partman",
            "pg_partman is installed: a table is made partitions of either by it or here, and let go of likewise.",
        ),
        (
            "timescaledb",
            "TimescaleDB is installed: its hypertables are tended by its own policies, and none of them is here.",
        ),
    ] {
        if facts.server.extensions.contains(extension) {
            words.push(Line::words(what));
        }
    }
    (!words.is_empty()).then(|| Part { words, tables: Vec::new() })
}

/// The command itself is not shown: a connection string with a password may stand in it.
fn said(job: &CronJob, facts: &Facts) -> String {
    let mut said = job.words();
    let does: Vec<&str> = WORDS.iter().filter(|(word, _)| says(&job.sql, word)).map(|(_, does)| *does).collect();
    if !does.is_empty() {
        said.push_str(&format!(": {}", does.join(", ")));
    }
    let tables = facts.tables.iter().map(|table| &table.name).chain(facts.views.iter().map(|view| &view.name));
    let named: Vec<String> = tables.filter(|name| mentions(&job.sql, name)).map(TableName::plain).collect();
    if !named.is_empty() {
        said.push_str(&format!("; {}", named.join(", ")));
    }
    said
}

const WORDS: &[(&str, &str)] = &[
    ("refresh materialized view", "refreshes a view"),
    ("partition of", "makes a partition"),
    ("drop table", "drops a table"),
    ("delete from", "deletes rows"),
    ("vacuum", "vacuums"),
    ("analyze", "gathers statistics"),
];

/// The jobs that name a table or a view.
pub fn working_on(facts: &Facts, name: &TableName) -> Vec<String> {
    let jobs = facts.cron.iter().flat_map(|cron| &cron.jobs);
    jobs.filter(|job| mentions(&job.sql, name)).map(CronJob::words).collect()
}
