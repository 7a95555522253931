//! Statements that take long, where somebody counts them.

use super::{labels, of, readings, run, warnings, watching};
use crate::support::{Cluster, majors, newest_major};

const KEYS: &str = "collect = ['slow_queries', 'wraparound']";

#[tokio::test]
async fn without_pg_stat_statements_it_says_what_to_do_and_reads_the_rest() {
    for major in majors() {
        let db = Cluster::shared(major).database().await;
        let program = watching(&db, KEYS);
        let said = warnings(&program).await;
        assert!(said.contains("neither loaded nor made") && said.contains("shared_preload_libraries"), "{said}");
        let record = run(&program, 0).await;
        assert_eq!(record["outcome"], "succeeded", "{record}");
        assert!(of(&readings(&db).await, "xid_age", "").is_some());
        let checked = program.run(["check"]).await.exits(0).stdout;
        assert!(checked.contains("warning") && checked.contains("CREATE EXTENSION pg_stat_statements"), "{checked}");
    }
}

/// The extension alone, which anybody may make, answers with an error.
#[tokio::test]
async fn an_extension_that_the_server_has_not_loaded_is_no_failure() {
    let db = Cluster::shared(newest_major()).database().await;
    if !can_be_made(&db).await {
        return;
    }
    db.execute("create extension pg_stat_statements").await;
    let program = watching(&db, KEYS);
    let said = warnings(&program).await;
    assert!(said.contains("the server has not loaded it") && said.contains("restart"), "{said}");
    assert_eq!(run(&program, 0).await["outcome"], "succeeded");
}

/// Servers fetched for the tests have none of the extensions that Debian packs with its own.
async fn can_be_made(db: &crate::support::Database) -> bool {
    db.scalar("select exists (select from pg_available_extensions where name = 'pg_stat_statements')").await
}

fn loaded(major: u32) -> Cluster {
    Cluster::with(major, &[("shared_preload_libraries", "pg_stat_statements")])
}

#[tokio::test]
async fn slow_statements_of_this_database_are_numbers_and_no_text() {
    for major in majors() {
        if !can_be_made(&Cluster::shared(major).database().await).await {
            continue;
        }
        let cluster = loaded(major);
        let (db, other) = (cluster.database().await, cluster.database().await);
        let program = watching(&db, &format!("{KEYS}\nqueries = 2\nwarn = {{ query_mean = '40ms' }}"));
        let said = warnings(&program).await;
        assert!(said.contains("this database has not made it"), "{said}");
        db.execute(r#"create schema "Odd One"; create extension pg_stat_statements schema "Odd One""#).await;
        other.execute("select pg_sleep(0.06) as of_another").await;
        db.execute("select pg_sleep(0.5), 'a secret' as slow").await;
        for n in 1..6 {
            db.execute(&format!("create table t{n} (); select {n} as t, count(*) from pg_class")).await;
        }
        let said = warnings(&program).await;
        let id = r#"select queryid::text from "Odd One".pg_stat_statements where query like '%as slow%'"#;
        let id: String = db.scalar(id).await;
        assert!(said.contains(&id) && said.contains("on average") && !said.contains("secret"), "{said}");
        let record = run(&program, 0).await;
        assert!(!record.to_string().contains("secret") && !record.to_string().contains("pg_sleep"), "{record}");
        let read = readings(&db).await;
        assert!(of(&read, "query_mean_seconds", &id) >= Some(0.05), "{read:?}");
        assert_eq!(of(&read, "query_calls", &id), Some(1.0));
        let names = labels(&read, "query_exec_seconds");
        assert!((3..=5).contains(&names.len()) && names.contains(&"other".to_string()), "{names:?}");
        let theirs = r#"select queryid::text from "Odd One".pg_stat_statements where query like '%of_another%'"#;
        let theirs: String = db.scalar(theirs).await;
        assert!(!names.contains(&theirs) && !said.contains(&theirs), "{names:?}");
    }
}

#[tokio::test]
async fn columns_of_an_older_extension_are_read_too() {
    let major = majors().into_iter().min().unwrap();
    let cluster = loaded(major);
    let db = cluster.database().await;
    if !can_be_made(&db).await {
        return;
    }
    // As a server has it that was upgraded from before 13, until ALTER EXTENSION … UPDATE.
    db.execute("create extension pg_stat_statements version '1.7'").await;
    db.execute("select pg_sleep(0.05) as slow").await;
    let program = watching(&db, KEYS);
    run(&program, 0).await;
    assert!(!labels(&readings(&db).await, "query_mean_seconds").is_empty());
}

#[tokio::test]
async fn whoever_may_not_see_others_statements_is_told_the_grant() {
    let cluster = loaded(majors().into_iter().min().unwrap());
    let db = cluster.database().await;
    if !can_be_made(&db).await {
        return;
    }
    db.execute("create extension pg_stat_statements; create role watcher login").await;
    db.execute("create schema pgtend authorization watcher").await;
    let config = format!("[databases.main]\nurl = \"{}\"\n{}", db.url_as("watcher"), super::job(KEYS));
    let program = crate::support::Pgtend::new(&config);
    let record = run(&program, 1).await;
    assert_eq!(record["outcome"], "partial", "{record}");
    assert!(record["details"]["failures"].to_string().contains("GRANT pg_monitor TO watcher"), "{record}");
    assert!(of(&readings(&db).await, "xid_age", "").is_some(), "the other is published");
    db.execute("grant pg_monitor to watcher").await;
    assert_eq!(run(&program, 0).await["outcome"], "succeeded");
    assert!(!labels(&readings(&db).await, "query_calls").is_empty());
}
