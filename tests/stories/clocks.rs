//! A host and a database that do not agree on the time.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::support::{Clock, Cluster, Database, Pgtend, newest_major, runs};

const JOB: &str = "[jobs.chore.sql]\nstatements = ['INSERT INTO done DEFAULT VALUES']\n";

/// A program whose clock is this far from its database's.
async fn apart(by: TimeDelta) -> (Pgtend, Database) {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table done (at timestamptz default now())").await;
    let now: DateTime<Utc> = db.scalar("select now()").await;
    let program = Pgtend::tending(&db, JOB).by(&Clock::at(&(now + by).to_rfc3339()));
    (program, db)
}

/// Asserts that the words hold two times, with the host's this far from the database's.
fn names_both_times(words: &str, by: TimeDelta) {
    let time = |what: &str| {
        let (_, rest) = words.split_once(what).unwrap_or_else(|| panic!("no {what:?} in {words}"));
        let stamp =
            rest.trim_start_matches(" (").get(..20).unwrap_or_else(|| panic!("no time after {what:?} in {words}"));
        stamp.replacen(' ', "T", 1).parse::<DateTime<Utc>>().unwrap_or_else(|e| panic!("{stamp}: {e}"))
    };
    let said = time("of this host") - time("of the database");
    assert!((said - by).abs() <= TimeDelta::minutes(1), "{said} instead of {by}: {words}");
}

#[tokio::test]
async fn nothing_old_goes_by_clocks_an_hour_apart() {
    for by in [TimeDelta::hours(1), TimeDelta::hours(-1)] {
        let (program, db) = apart(by).await;
        db.execute(
            "create table sessions (expires_at timestamptz); insert into sessions values ('2020-01-01Z');
             create table logins (at timestamptz, who text); insert into logins values ('2020-01-01Z', 'a');
             create table logins_a_day (day date, who text, n bigint not null, primary key (day, who))",
        )
        .await;
        program.configure_tending(
            &db,
            "[jobs.ended.expire]\ntables = [{ table = 'sessions' }]\n\
             [jobs.old.retention]\ntables = [{ table = 'logins', keep = '1 year', column = 'at' }]\n\
             [jobs.counted.summarize]\ntable = 'logins'\ninto = 'logins_a_day'\nolder_than = '1 year'\ntime = 'at'\n\
             date = 'day'\nby = ['who']\ncount = 'n'\n",
        );
        for job in ["ended", "old", "counted"] {
            let [record] = program.run(["run", job, "--json"]).await.exits(1).json().try_into().expect("one record");
            assert_eq!(record["outcome"], "failed");
            names_both_times(record["error"].as_str().unwrap(), by);
            assert_eq!(runs(&db, job).await, ["- cli failed"]);
        }
        assert_eq!((db.count("sessions").await, db.count("logins").await), (1, 1));
    }
}

/// A runway that nobody lengthens while somebody looks for the wrong clock would be the worse mishap.
#[tokio::test]
async fn what_takes_nothing_away_goes_on_by_clocks_an_hour_apart_and_says_so() {
    for by in [TimeDelta::hours(1), TimeDelta::hours(-1)] {
        let (program, db) = apart(by).await;
        db.execute("create table events (at timestamptz not null) partition by range (at)").await;
        let making = "[jobs.months.partitions]\ntables = [{ table = 'events', every = '1 month', ahead = 2 }]\n";
        program.configure_tending(&db, &format!("{JOB}{making}"));
        for job in ["chore", "months"] {
            let [record] = program.run(["run", job, "--json"]).await.exits(0).json().try_into().expect("one record");
            assert_eq!(record["outcome"], "succeeded");
            let warnings = record["details"]["warnings"].as_array().expect("a warning").iter();
            let told: Vec<_> = warnings.filter_map(Value::as_str).filter(|told| told.contains("apart")).collect();
            let [warning] = told[..] else { panic!("{record}") };
            names_both_times(warning, by);
        }
        assert_eq!(db.count("done").await, 1);
        assert_eq!(db.scalar::<i64>("select count(*) from pg_inherits where inhparent = 'events'::regclass").await, 3);
    }
}

#[tokio::test]
async fn clocks_a_few_minutes_apart_are_put_up_with() {
    for by in [TimeDelta::minutes(4), TimeDelta::minutes(-4)] {
        let (program, db) = apart(by).await;
        program.run(["check"]).await.exits(0);
        program.run(["run", "chore"]).await.exits(0);
        assert_eq!(db.count("done").await, 1);
    }
}

#[tokio::test]
async fn check_names_clocks_that_are_apart_and_what_mends_them() {
    let (program, db) = apart(TimeDelta::hours(1)).await;
    let findings = program.run(["check", "--json"]).await.exits(1).json();
    let errors: Vec<&Value> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
    let [error] = errors[..] else { panic!("{findings:?}") };
    names_both_times(error["message"].as_str().unwrap(), TimeDelta::hours(1));
    assert!(error["mend"].as_str().unwrap().contains("timedatectl"), "{error}");
    assert_eq!(error["database"], "main");
    assert!(db.scalar::<bool>("select to_regclass('pgtend.run') is null").await, "check wrote");
}

#[tokio::test]
async fn a_plan_needs_no_clocks_that_agree() {
    let (program, _db) = apart(TimeDelta::hours(1)).await;
    let steps = program.run(["plan", "--json"]).await.exits(0).json();
    assert_eq!(steps.iter().map(|step| &step["action"]).collect::<Vec<_>>(), ["execute"]);
}
