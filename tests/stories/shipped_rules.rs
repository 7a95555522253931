//! What a shipped job file promises beside its jobs: what is never touched, and what comes before what.

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use pgtend::config;

use crate::shipped_partitions::{alone, shipped};
use crate::shipped_retention::never;
use crate::support::Pgtend;

/// Whoever writes a job about one of them, by whatever kind that takes something away, has a config that is refused.
#[tokio::test]
async fn no_job_takes_anything_from_what_a_file_says_is_never_touched() {
    for file in ["lukhas.toml", "lucy.toml", "autosdlc.toml", "helix.toml", "code-review.toml"] {
        let (line, names) = never(&alone(file));
        assert!(names.len() > 4, "{file}: {names:?}");
        let mut jobs = String::new();
        for (number, name) in names.iter().enumerate() {
            let table = name.replace('*', "anything");
            jobs += &format!(
                "[jobs.expire-{number}]\nschedule = \"@daily\"\n[jobs.expire-{number}.expire]\n\
                 tables = [{{ table = \"{table}\", column = \"ended_at\" }}]\n\
                 [jobs.retention-{number}]\nschedule = \"@daily\"\n[jobs.retention-{number}.retention]\n\
                 tables = [{{ table = \"{table}\", keep = \"1 year\", column = \"created_at\" }}]\n"
            );
        }
        let text = format!("[databases.main]\nurl = \"postgresql:///app\"\n{line}{}{jobs}", shipped(file))
            .replace("{url}", "postgresql:///scratch");
        let program = Pgtend::new(&text);
        let output = program.run(["check", "--offline"]).await.exits(2);
        for name in names {
            let told = output.stderr.lines().chain(output.stdout.lines());
            let told = told.filter(|line| line.contains(&format!("never has {name}"))).count();
            assert_eq!(told, 2, "{file}: {name}\n{}{}", output.stdout, output.stderr);
        }
        // And as it is shipped, nothing contradicts it.
        program.configure(
            &format!("[databases.main]\nurl = \"postgresql:///app\"\n{line}{}", shipped(file))
                .replace("{url}", "postgresql:///scratch"),
        );
        program.run(["check", "--offline"]).await.exits(0);
    }
}

/// The first time that a job of the file is due within the day.
fn due(config: &config::Config, job: &str, day: &str) -> DateTime<Utc> {
    let instances = config.instances(job);
    let [job] = instances.as_slice() else { panic!("one job {job}") };
    let begin: DateTime<Utc> = format!("{day}T00:00:00Z").parse().expect("a day");
    let cron = job.schedule.as_ref().unwrap_or_else(|| panic!("{} has no schedule", job.name));
    let at = cron.next_after(begin - TimeDelta::seconds(1), job.timezone).expect("a time");
    assert!(at < begin + TimeDelta::days(1), "{} is not due on {day}", job.name);
    at
}

/// What goes and what is saved, and what is vacuumed, do not fight: each has its hour.
#[test]
fn what_goes_is_saved_and_is_vacuumed_comes_in_that_order() {
    // A Saturday, a Sunday, and the first of a month.
    let (saturday, sunday, first) = ("2026-11-21", "2026-11-22", "2026-12-01");
    let orders: [(&str, &str, &[&str]); 7] = [
        ("lukhas", sunday, &["partitions", "backup", "old-partitions", "old-rows", "coverage-orphans", "restore-test"]),
        ("lucy", sunday, &["partitions", "statistics", "backup", "old-partitions", "restore-test"]),
        ("autosdlc", sunday, &["queue", "retention", "backup", "vacuum", "restore-test"]),
        ("autosdlc", saturday, &["daily-backup", "schema-backup"]),
        ("helix", first, &["backup", "logs", "restore-test"]),
        ("helix", first, &["backup", "errors"]),
        ("code-review", sunday, &["partitions", "backup", "chain", "restore-test"]),
    ];
    for (application, day, jobs) in orders {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("jobs/{application}.toml"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgtend.toml");
        // One that is off is due when it is switched on.
        let text = fs::read_to_string(file).expect("the job file").replace("enabled = false\n", "");
        let stores = ["offsite", "local", "artifacts"]
            .map(|name| format!("[stores.{name}.s3]\nbucket = \"b\"\nregion = \"r\"\n"));
        let server = "# server = \"scratch\"";
        let text = format!(
            "{}\n{}[databases.main]\nurl = \"postgresql:///app\"\n[databases.scratch]\nurl = \"postgresql:///scratch\"\n[defaults]\ndatabase = \"main\"\n",
            text.replace(server, &server[2..]),
            stores.concat()
        );
        fs::write(&path, text).expect("write the config");
        let config = config::load(&path).unwrap_or_else(|errors| panic!("{application}: {errors}"));
        let times: Vec<_> = jobs.iter().map(|job| due(&config, &format!("{application}-{job}"), day)).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{application}: {jobs:?} at {times:?}");
    }
}
