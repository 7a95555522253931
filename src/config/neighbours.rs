//! Jobs that tend the same table of the same database, and have to go by what the others say of it; and jobs that build on
//! others.

use std::collections::BTreeMap;

use super::definition::DatabaseConfig;
use super::errors::{Problems, origin};
use super::jobs::{Draft, shown};
use crate::kinds::{Around, Peer, Word, never};
use crate::pg::Conninfo;

/// Has each job look up the jobs and databases that it names.
pub fn look_around(drafts: &mut [Draft], databases: BTreeMap<String, Option<Conninfo>>, problems: &mut Problems) {
    let peer = |draft: &Draft| Peer {
        name: draft.name.clone(),
        instances: draft
            .instances
            .iter()
            .map(|job| (job.name.clone(), job.database.clone(), job.spec.clone()))
            .collect(),
    };
    let around = Around { databases, jobs: drafts.iter().map(peer).collect(), complete: !problems.unread };
    for draft in drafts {
        let mut told = Vec::new();
        for job in &mut draft.instances {
            for finding in job.spec.look_around(&job.database, &around) {
                let place = finding.span.map_or_else(|| job.origin.clone(), |span| origin(&job.origin.source, span));
                let message = if place.has_variables() {
                    format!("{} names nothing of the config that it can be about", shown(&place, ""))
                } else {
                    format!("{}; {}", finding.message, finding.mend)
                };
                if !told.contains(&message) {
                    problems.error(&place, message.clone());
                    told.push(message);
                }
            }
        }
    }
}

/// Refuses jobs that would take rows of a table of which nothing may go. What only the database knows, such as the tables that
/// a table of policies names, or what a foreign key takes along, is refused there.
pub fn refuse_never(drafts: &[Draft], databases: &BTreeMap<String, DatabaseConfig>, problems: &mut Problems) {
    for job in drafts.iter().flat_map(|draft| &draft.instances) {
        let Some(database) = databases.get(&job.database) else { continue };
        for table in job.spec.takes() {
            let Some(pattern) = database.never.iter().find(|pattern| pattern.matches(table)) else { continue };
            problems.error(&job.origin, never::refusal(pattern, table, None).sentence());
        }
    }
}

/// Has each job hear what the others say.
pub fn introduce(drafts: &mut [Draft]) {
    // Twice, since what one says may depend on what it has heard: the zone of a retention on that of the partitions.
    for _ in 0..2 {
        let said: Vec<(String, Vec<Word>)> = drafts
            .iter()
            .flat_map(|draft| &draft.instances)
            .map(|job| {
                let by_it = |word| Word { by: job.name.to_string(), ..word };
                (job.database.clone(), job.spec.says(job.timezone).into_iter().map(by_it).collect::<Vec<_>>())
            })
            .filter(|(_, words)| !words.is_empty())
            .collect();
        for job in drafts.iter_mut().flat_map(|draft| &mut draft.instances) {
            let heard = said.iter().filter(|(database, _)| *database == job.database).flat_map(|(_, words)| words);
            job.spec.heed(&heard.cloned().collect::<Vec<_>>());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::{Config, load_with};
    use crate::kinds::Spec;

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgtend.toml");
        fs::write(&file, text).unwrap();
        load_with(&file, &|_| None).unwrap()
    }

    const JOBS: &str = r#"
[databases.a]
url = "postgresql:///a"
[databases.b]
url = "postgresql:///b"
[defaults]
database = "a"
[jobs.make]
timezone = "Europe/Berlin"
[jobs.make.partitions]
tables = [{ table = "events", key_format = "%Y-%m" }, { table = "logs" }]
[jobs.elsewhere]
database = "b"
[jobs.elsewhere.retention]
tables = [{ table = "events", keep = "1 month" }]
[jobs.keep.retention]
tables = [{ table = "events", keep = "12 months" }, { table = "logs", keep = "6 months", timezone = "UTC" }]
[jobs.too.retention]
tables = [{ table = "logs", keep = "90 days" }]
"#;

    #[test]
    fn a_retention_reads_the_key_as_the_partitions_of_the_table_are_made() {
        let config = config(JOBS);
        let read = |job: &str| match &config.instances(job)[0].spec {
            Spec::Retention(retention) => retention
                .tables
                .iter()
                .map(|entry| entry.get_ref())
                .map(|table| {
                    let format = table.key_format.as_ref().map_or("none".into(), ToString::to_string);
                    format!("{} {format} {:?}", table.table.plain(), table.timezone.map(|zone| zone.name()))
                })
                .collect::<Vec<_>>(),
            other => panic!("{job} is {}", other.kind()),
        };
        let of_the_job = "public.events %Y-%m Some(\"Europe/Berlin\")";
        assert_eq!(read("keep"), [of_the_job, "public.logs none Some(\"UTC\")"], "what it says itself goes first");
        assert_eq!(read("elsewhere"), ["public.events none None"], "that is another database's table");
    }

    #[test]
    fn partitions_are_not_made_behind_the_shortest_keep() {
        let config = config(JOBS);
        let Spec::Partitions(partitions) = &config.instances("make")[0].spec else { panic!("another kind") };
        let now = "2026-11-29T12:00:00Z".parse().unwrap();
        let cutoffs: Vec<_> = partitions
            .policies()
            .map(|table| table.kept_from(now).map_or("none".into(), |at| at.format("%Y-%m-%d %H:%M").to_string()))
            .collect();
        assert_eq!(cutoffs, ["2025-11-29 12:00", "2026-08-31 11:00"]);
    }
}
