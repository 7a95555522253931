//! Statements that take long, where somebody counts them.

use super::{labels, of, readings, run, warnings, watching};
use crate::support::{Cluster, majors};

const KEYS: &str = "collect = ['slow_queries', 'wraparound']";

#[tokio::test]
async fn without_pg_stat_statements_it_says_what_to_do_and_reads_the_rest() {
    for major in majors::majors() {
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
    let Some(major) = with_extension().pop() else { return };
    let db = Cluster::shared(major).database().await;
    db.execute("create extension pg_stat_statements").await;
    let program = watching(&db, KEYS);
    let said = warnings(&program).await;
    assert!(said.contains("the server has not loaded it") && said.contains("restart"), "{said}");
    assert_eq!(run(&program, 0).await["outcome"], "succeeded");
}

fn with_extension() -> Vec<u32> {
    majors::majors_with_extension("pg_stat_statements")
}

fn loaded(major: u32) -> Cluster {
    Cluster::with(major, &[("shared_preload_libraries", "pg_stat_statements")])
}

#[tokio::test]
async fn slow_statements_of_this_database_are_numbers_and_no_text() {
    for major in with_extension() {
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
        for name in ["query_min_seconds", "query_max_seconds"] {
            assert_eq!(of(&read, name, &id), of(&read, "query_mean_seconds", &id), "{name}");
        }
        assert_eq!(of(&read, "query_stddev_seconds", &id), Some(0.0));
        let names = labels(&read, "query_exec_seconds");
        assert!((3..=5).contains(&names.len()) && names.contains(&"other".to_string()), "{names:?}");
        let theirs = r#"select queryid::text from "Odd One".pg_stat_statements where query like '%of_another%'"#;
        let theirs: String = db.scalar(theirs).await;
        assert!(!names.contains(&theirs) && !said.contains(&theirs), "{names:?}");
    }
}

#[tokio::test]
async fn columns_of_an_older_extension_are_read_too() {
    let Some(major) = with_extension().into_iter().min() else { return };
    let cluster = loaded(major);
    let db = cluster.database().await;
    // As a server has it that was upgraded from before 13, until ALTER EXTENSION … UPDATE.
    db.execute("create extension pg_stat_statements version '1.7'").await;
    db.execute("select pg_sleep(0.05) as slow").await;
    let program = watching(&db, KEYS);
    run(&program, 0).await;
    let read = readings(&db).await;
    assert!(!labels(&read, "query_mean_seconds").is_empty());
    let slowest = |name: &str| labels(&read, name).iter().filter_map(|id| of(&read, name, id)).fold(0.0, f64::max);
    assert!(slowest("query_max_seconds") >= 0.05, "{read:?}");
}

/// By two roles, and so counted apart: as if it had been counted once.
#[tokio::test]
async fn a_statement_of_several_roles_is_one() {
    let Some(major) = with_extension().pop() else { return };
    let cluster = loaded(major);
    let db = cluster.database().await;
    db.execute("create extension pg_stat_statements; create role somebody login").await;
    db.execute("select pg_sleep(0.01) as shared").await;
    let theirs = db.client_as("somebody").await;
    theirs.batch_execute("select pg_sleep(0.07) as shared; select pg_sleep(0.04) as shared").await.unwrap();
    let program = watching(&db, "collect = ['slow_queries']");
    run(&program, 0).await;
    let read = readings(&db).await;
    let counted = "from pg_stat_statements where query like '%as shared%'";
    let id: String = db.scalar(&format!("select distinct queryid::text {counted}")).await;
    let expect = async |what: &str| -> f64 { db.scalar(&format!("select ({what})::float8 {counted}")).await };
    assert_eq!(of(&read, "query_calls", &id), Some(3.0));
    let near = |name: &str, expect: f64| {
        let ours = of(&read, name, &id).unwrap_or_else(|| panic!("{name} of {id} in {read:?}"));
        assert!((ours - expect).abs() < 1e-9, "{name}: {ours} is not {expect}");
    };
    near("query_min_seconds", expect("min(min_exec_time) / 1000").await);
    near("query_max_seconds", expect("max(max_exec_time) / 1000").await);
    // From the sums of squares, another way than ours.
    let variance = "sum(calls * (stddev_exec_time ^ 2 + mean_exec_time ^ 2)) / sum(calls) - (sum(total_exec_time) / sum(calls)) ^ 2";
    near("query_stddev_seconds", expect(&format!("sqrt({variance}) / 1000")).await);
    assert!(of(&read, "query_stddev_seconds", &id) > Some(0.01), "{read:?}");
}

#[tokio::test]
async fn whoever_may_not_see_others_statements_is_told_the_grant() {
    let Some(major) = with_extension().pop() else { return };
    let db = loaded(major).database().await;
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
