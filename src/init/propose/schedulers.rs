//! Others that do such work already.

use crate::init::draft::{Line, Part};
use crate::init::facts::{CronJob, Facts};
use crate::pg::TableName;

pub fn schedulers(facts: &Facts) -> Option<Part> {
    let mut words = Vec::new();
    match &facts.cron {
        None => {}
        Some(Err(why)) => words.push(Line::words(format!(
            "pg_cron is here, and its jobs could not be read: {why}. Look into cron.job for work that is done here too, and \
             unschedule it there."
        ))),
        Some(Ok(jobs)) if jobs.is_empty() => {}
        Some(Ok(jobs)) => {
            words.push(Line::words(
                "pg_cron runs these in this database. What is done here too is to be unscheduled there (cron.unschedule), or it \
                 is done twice. Its times are those of its own time zone, GMT unless cron.timezone says otherwise.",
            ));
            words.extend(jobs.iter().map(|job| Line::code(said(job, facts))));
        }
    }
    for (extension, what) in [
        ("pg_partman", "pg_partman is installed: a table is made partitions of either by it or here, and let go of likewise."),
        ("timescaledb", "TimescaleDB is installed: its hypertables are tended by its own policies, and none of them is here."),
    ] {
        if facts.server.extensions.contains(extension) {
            words.push(Line::words(what));
        }
    }
    (!words.is_empty()).then(|| Part { words, tables: Vec::new() })
}

/// The command itself is not shown: a connection string with a password may stand in it.
fn said(job: &CronJob, facts: &Facts) -> String {
    let mut said = format!("{}, \"{}\"", called(job), job.schedule);
    let does: Vec<&str> = WORDS.iter().filter(|(word, _)| has(&job.command, word)).map(|(_, does)| *does).collect();
    if !does.is_empty() {
        said.push_str(&format!(": {}", does.join(", ")));
    }
    let tables = facts.tables.iter().map(|table| &table.name).chain(facts.views.iter().map(|view| &view.name));
    let named: Vec<String> = tables.filter(|name| has(&job.command, name.name.as_str())).map(TableName::plain).collect();
    if !named.is_empty() {
        said.push_str(&format!(" ({})", named.join(", ")));
    }
    said
}

const WORDS: &[(&str, &str)] = &[
    ("refresh materialized view", "refreshes a view"),
    ("partition", "makes or drops partitions"),
    ("delete from", "deletes rows"),
    ("vacuum", "vacuums"),
    ("analyze", "gathers statistics"),
];

fn called(job: &CronJob) -> String {
    job.name.as_ref().map_or_else(|| job.id.to_string(), |name| format!("{} ({name})", job.id))
}

/// The jobs that refresh a view.
pub fn refreshes(facts: &Facts, view: &TableName) -> Vec<String> {
    let jobs = facts.cron.iter().flatten().flatten();
    let jobs = jobs.filter(|job| has(&job.command, "refresh materialized view") && has(&job.command, view.name.as_str()));
    jobs.map(called).collect()
}

/// As words of their own, whatever the letters and however many spaces.
fn has(command: &str, what: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let (command, what) = (plain(command), plain(what));
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !what.is_empty()
        && command.match_indices(&what).any(|(at, _)| {
            let after = &command[at + what.len()..];
            !is_letter(command[..at].chars().next_back()) && !is_letter(after.chars().next().filter(|c| *c != 's'))
        })
}
