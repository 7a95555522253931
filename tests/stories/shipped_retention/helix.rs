//! Helix: logs by age, errors that become numbers, knowledge that ends.

use super::{Jobs, count_of};
use crate::shipped_partitions::{changed, fingerprint};
use crate::support::{Database, on_each_major};

const NEVER: [&str; 10] = [
    "users",
    "projects",
    "project_state",
    "github_credentials",
    "cancelled_projects",
    "archived_projects",
    "llm_pricing",
    "prompts",
    "prompt_test_results",
    "agent_permissions",
];

fn load(db: &Database) -> Jobs {
    db.load("helix.sql", &[("rows", "1000")]);
    Jobs::shipped(db, "helix.toml")
}

/// Errors ever logged: those that are still there, and those that were counted.
async fn errors(db: &Database) -> i64 {
    db.scalar("SELECT (SELECT count(*) FROM error_log) + (SELECT sum(count)::bigint FROM error_log_summary)").await
}

/// Midnight in UTC so many days ago, as SQL.
fn midnight(days: i32) -> String {
    format!("((date_trunc('day', now() AT TIME ZONE 'UTC') - interval '{days} days') AT TIME ZONE 'UTC')")
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_to_stay_is_as_it_was() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let never = jobs.fingerprints(&NEVER).await;
        let old = |table: &str| format!("{table} WHERE timestamp < now() - interval '365 days'");
        let old = [jobs.count(&old("llm_token_usage")).await, jobs.count(&old("tool_audit_log")).await];
        assert!(old.iter().all(|rows| (200..300).contains(rows)), "{old:?}");

        jobs.check().await;
        assert_eq!(
            jobs.would("helix-logs").await,
            ["delete_rows public.llm_token_usage", "delete_rows public.tool_audit_log"]
        );
        assert_eq!(jobs.would("helix-errors").await, ["summarize_rows public.error_log"]);
        assert_eq!(jobs.would("helix-knowledge").await, ["delete_rows public.rag_knowledge"]);
        assert_eq!(jobs.would("helix-error-summary").await, ["delete_rows public.error_log_summary"]);
        assert_eq!(jobs.count("llm_token_usage").await, 1000, "a plan changes nothing");

        let details = jobs.run("helix-logs").await;
        assert_eq!(count_of(&details, "rows_deleted"), old[0] + old[1], "{details}");
        for (table, old) in ["llm_token_usage", "tool_audit_log"].into_iter().zip(old) {
            assert_eq!(count_of(&details["tables"][format!("public.{table}")], "rows_deleted"), old, "{details}");
            assert_eq!(jobs.count(table).await, 1000 - old, "{table}");
            assert_eq!(
                jobs.count(&format!("{table} WHERE timestamp < now() - interval '365 days'")).await,
                0,
                "{table}"
            );
        }
        // Some that are old by "timestamp" were written down later, by created_at a year ago or less.
        assert_eq!(jobs.count("llm_token_usage WHERE created_at < now() - interval '365 days'").await, 0);

        let (ended, for_ever) = (
            jobs.count("rag_knowledge WHERE expires_at < now()").await,
            jobs.count("rag_knowledge WHERE expires_at IS NULL").await,
        );
        assert_eq!(count_of(&jobs.run("helix-knowledge").await, "rows_deleted"), ended);
        assert_eq!(jobs.count("rag_knowledge WHERE expires_at IS NULL").await, for_ever, "NULL is never");
        for job in ["helix-logs", "helix-knowledge"] {
            jobs.is_done(job).await;
        }
        assert_eq!(jobs.fingerprints(&NEVER).await, never);
    })
    .await;
}

#[tokio::test]
async fn each_error_is_in_the_log_or_counted_and_whole_days_go() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let (before, ever) = (jobs.count("error_log").await, errors(&db).await);
        let due = jobs.count(&format!("error_log WHERE created_at < {}", midnight(90))).await;
        assert!((250..400).contains(&due), "{due}");
        // What the summary is to hold afterwards: what it held, and the old errors by day.
        db.execute(&format!(
            "CREATE TABLE expected AS SELECT date, category, code, sum(n)::integer AS count FROM (
               SELECT date, category, code, count AS n FROM error_log_summary
               UNION ALL SELECT (created_at AT TIME ZONE 'UTC')::date, category, code, count(*) FROM error_log
               WHERE created_at < {} GROUP BY 1, 2, 3) AS parts GROUP BY 1, 2, 3",
            midnight(90)
        ))
        .await;
        assert!(jobs.count("error_log_summary").await < jobs.count("expected").await);

        let details = jobs.run("helix-errors").await;
        assert_eq!(count_of(&details, "rows_summarized"), due, "{details}");
        assert_eq!((jobs.count("error_log").await, errors(&db).await), (before - due, ever));
        assert_eq!(jobs.count(&format!("error_log WHERE created_at < {}", midnight(90))).await, 0);
        let differences =
            "(TABLE expected EXCEPT SELECT date, category, code, count FROM error_log_summary) AS differences";
        assert_eq!(jobs.count(differences).await, 0, "added to what was there");
        assert_eq!(jobs.count("error_log_summary").await, jobs.count("expected").await);
        jobs.is_done("helix-errors").await;
        assert_eq!(errors(&db).await, ever);
    })
    .await;
}

#[tokio::test]
async fn an_error_of_half_past_eleven_is_of_that_day_in_utc() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let at = midnight(99);
        db.execute(&format!(
            "INSERT INTO error_log (code, category, message, created_at) VALUES
               (1, 'edge', 'the day before', {at} - interval '30 minutes'), (1, 'edge', 'that day', {at}),
               (1, 'edge', 'that day too', {at} + interval '23 hours 30 minutes')"
        ))
        .await;
        jobs.run("helix-errors").await;
        let counts: Vec<String> = db
            .column(
                "SELECT (current_timestamp AT TIME ZONE 'UTC')::date - date || ' days ago ' || count
                FROM error_log_summary WHERE category = 'edge' ORDER BY date",
            )
            .await;
        assert_eq!(counts, ["100 days ago 1", "99 days ago 2"]);
    })
    .await;
}

#[tokio::test]
async fn a_count_that_would_not_fit_leaves_its_errors_and_all_others_are_counted() {
    on_each_major(async |db| {
        db.load("helix.sql", &[("rows", "1000"), ("max_count", "2147483647")]);
        let jobs = Jobs::shipped(&db, "helix.toml");
        let ever = errors(&db).await;
        let full = jobs
            .count(
                "error_log e JOIN error_log_summary s ON s.date = (e.created_at AT TIME ZONE 'UTC')::date
                 AND s.category = e.category AND s.code = e.code WHERE s.count = 2147483647",
            )
            .await;
        assert!(full > 0);
        let (outcome, said) = jobs.fails("helix-errors").await;
        assert_eq!(outcome, "partial", "{said}");
        assert!(said.contains(&format!("{full} rows of group")), "{said}");
        assert!(said.contains("would be more than its type holds") && said.contains("TYPE bigint"), "{said}");
        assert_eq!(jobs.count(&format!("error_log WHERE created_at < {}", midnight(90))).await, full);
        assert_eq!(errors(&db).await, ever);

        // With the room that is asked for they go too.
        db.execute("ALTER TABLE error_log_summary ALTER COLUMN count TYPE bigint").await;
        assert_eq!(count_of(&jobs.run("helix-errors").await, "rows_summarized"), full);
        jobs.is_done("helix-errors").await;
        assert_eq!(errors(&db).await, ever);
    })
    .await;
}

#[tokio::test]
async fn numbers_go_after_a_year_and_what_was_never_counted_is_counted_first() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let year = "((now() AT TIME ZONE 'UTC')::date - interval '1 year')";
        // Nobody summarized for over a year.
        db.execute(&format!(
            "INSERT INTO error_log (code, category, message, created_at)
             SELECT 1, 'forgotten', 'error ' || n, {} FROM generate_series(1, 7) AS n",
            midnight(500)
        ))
        .await;
        let old = jobs.count(&format!("error_log_summary WHERE date < {year}")).await;
        assert!((300..400).contains(&old), "{old}");
        let ever = errors(&db).await;
        jobs.run("helix-errors").await;
        assert_eq!(errors(&db).await, ever);
        assert_eq!(jobs.count("error_log WHERE category = 'forgotten'").await, 0);
        assert_eq!(jobs.count("error_log_summary WHERE category = 'forgotten' AND count = 7").await, 1);

        let kept = jobs.count(&format!("error_log_summary WHERE date >= {year}")).await;
        let details = jobs.run("helix-error-summary").await;
        assert_eq!(count_of(&details, "rows_deleted"), old + 1, "{details}");
        assert_eq!(jobs.count("error_log_summary").await, kept);
        jobs.is_done("helix-error-summary").await;
    })
    .await;
}

#[tokio::test]
async fn the_daemon_lets_numbers_go_when_it_has_counted() {
    on_each_major(async |db| {
        db.load("helix.sql", &[("rows", "200")]);
        let jobs = Jobs::of(&db, &changed("helix.toml", "schedule = \"0 2 * * *\"", "enabled = true"));
        let daemon = jobs.program.daemon().ready().await;
        jobs.program.run(["trigger", "helix-errors", "--wait"]).await.exits(0);
        crate::support::wait_for_runs(&db, &daemon, "helix-error-summary", &["- after succeeded"]).await;
        assert_eq!(
            jobs.count("error_log_summary WHERE date < (now() AT TIME ZONE 'UTC')::date - interval '1 year'").await,
            0
        );
    })
    .await;
}

#[tokio::test]
async fn with_the_trigger_that_the_file_names_no_vector_is_forgotten() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let text = crate::shipped_partitions::shipped("helix.toml");
        let sql: String = text
            .lines()
            .skip_while(|line| !line.contains("CREATE TABLE rag_knowledge_gone"))
            .take_while(|line| line.starts_with("#     "))
            .map(|line| format!("{}\n", line.trim_start_matches('#')))
            .collect();
        db.execute(&sql).await;
        db.execute("CREATE TABLE due AS SELECT embedding_id FROM rag_knowledge WHERE expires_at < now() AND embedding_id IS NOT NULL").await;
        let (due, ended) = (jobs.count("due").await, jobs.count("rag_knowledge WHERE expires_at < now()").await);
        assert!(0 < due && due < ended, "{due} of {ended} have a vector");
        jobs.run("helix-knowledge").await;
        let same = "(SELECT embedding_id FROM rag_knowledge_gone EXCEPT ALL TABLE due) AS more";
        assert_eq!((jobs.count("rag_knowledge_gone").await, jobs.count(same).await), (due, 0));
    })
    .await;
}

/// Nothing refers to what goes, and what would take others along never goes.
#[tokio::test]
async fn expired_tokens_idle_projects_and_users_who_left_stay() {
    on_each_major(async |db| {
        let jobs = load(&db);
        db.execute("UPDATE github_credentials SET token_expires_at = now() - interval '3 years'; UPDATE users SET last_login = now() - interval '3 years'").await;
        let before = jobs.fingerprints(&NEVER).await;
        for job in ["helix-logs", "helix-errors", "helix-error-summary", "helix-knowledge"] {
            assert!(!jobs.words(job).await.contains("foreign key"), "{job}");
            jobs.run(job).await;
        }
        assert_eq!(jobs.fingerprints(&NEVER).await, before);
    })
    .await;
}

#[tokio::test]
async fn a_partition_of_a_table_that_has_none_is_refused_in_words() {
    on_each_major(async |db| {
        db.load("helix.sql", &[("rows", "50")]);
        let before = fingerprint(&db, "llm_token_usage").await;
        let jobs = Jobs::of(
            &db,
            "[jobs.months.partitions]\ntables = [{ table = \"public.llm_token_usage\", every = \"1 month\" }]",
        );
        let (_, said) = jobs.fails("months").await;
        assert!(
            said.contains("public.llm_token_usage") && said.contains("is a table, not a partitioned one"),
            "{said}"
        );
        assert_eq!(fingerprint(&db, "llm_token_usage").await, before);
    })
    .await;
}

#[tokio::test]
async fn the_privileges_that_the_file_names_are_enough() {
    on_each_major(async |db| {
        let role = format!("s{}_helix_pgtend", db.name().split('_').next().unwrap());
        db.load("helix.sql", &[("rows", "300")]);
        db.execute(&format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE \"{}\" TO {role}; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {role}", db.name())).await;
        let text = crate::shipped_partitions::shipped("helix.toml").replace("{url}", &db.url());
        let program = crate::support::Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{text}", db.url_as(&role)));
        let jobs = Jobs { program, db: db.clone() };
        let all = ["helix-logs", "helix-errors", "helix-error-summary", "helix-knowledge"];
        for job in all {
            let (_, said) = jobs.fails(job).await;
            assert!(said.contains("GRANT"), "{job}: {said}");
        }
        for grant in super::grants(&text) {
            db.execute(&grant.replace("pgtend;", &format!("{role};"))).await;
        }
        jobs.check().await;
        for job in all {
            jobs.run(job).await;
            jobs.is_done(job).await;
        }
        db.execute(&format!("REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")).await;
    })
    .await;
}
