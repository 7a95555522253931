//! Helix: logs by age, errors that become numbers, knowledge that ends, a backup each night, and its proof each month.

use chrono::{Datelike as _, TimeDelta};

use super::calendar::each_day;
use super::upkeep::Upkeep;
use super::{Application, Walk};
use crate::backup::backups;

const HELIX: Application = Application {
    name: "helix",
    owner: "helix_owner",
    attributes: "",
    on_the_newest: false,
    writer: "helix_app",
    rights: "",
    backup: "helix-backup",
    restore_test: "helix-restore-test",
    // The proof of a month is that of the night's backup.
    in_order: &[("helix-backup", "helix-restore-test")],
    variables: |_| vec![("roles", "on".into())],
    never: &[
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
    ],
    proves_each_month: true,
    last_days: 34,
};

#[tokio::test(flavor = "multi_thread")]
async fn helix_is_looked_after_for_two_years() {
    let mut walk = Walk::begin(&HELIX).await;
    walk.is_fit().await;
    while walk.day().await {
        if walk.is_months_edge() || walk.is_at_its_end() {
            rows_are_where_they_belong(&walk).await;
            walk.is_unharmed().await;
            walk.is_kept_up("helix-health", &Upkeep { vacuumed: "", analyzed: "" }).await;
        }
        if walk.is_months_edge() {
            let restored = walk.restored().await;
            assert!(restored.starts_with(&walk.today()), "{}: {restored} was restored", walk.now);
        }
        if walk.is_to_be_proven() {
            walk.is_proven().await;
        }
    }
    let days = walk.daily_runs();
    let firsts = walk.runs(|day| day.day() == 1);
    walk.history_tells(&[
        ("helix-backup", walk.backups(each_day)),
        ("helix-error-summary", days),
        ("helix-errors", days),
        ("helix-health", days),
        ("helix-knowledge", days),
        ("helix-logs", days),
        ("helix-restore-test", firsts),
    ])
    .await;
    // Thirty days before the newest, of more of which every night's was made; and none of those before them.
    let kept = backups(&walk.program.folder().join("local"));
    assert_eq!(kept.len(), 31, "{kept:?}");
    let oldest = (walk.now - TimeDelta::days(30)).format("%Y-%m-%dT").to_string();
    assert!(kept[0].starts_with(&oldest), "{kept:?}");
    walk.is_fit().await;
    walk.comes_back("helix-backup", &["local"]).await;
}

async fn rows_are_where_they_belong(walk: &Walk) {
    let year = format!("at >= {} - interval '365 days'", walk.last("helix-logs"));
    walk.keeps("llm_token_usage", &year).await;
    walk.keeps("tool_audit_log", &year).await;
    walk.keeps("rag_knowledge", &format!("at IS NULL OR at >= {}", walk.last("helix-knowledge"))).await;
    let cutoff = format!("date_trunc('day', {} - interval '90 days')", walk.last("helix-errors"));
    walk.keeps("error_log", &format!("at >= {cutoff}")).await;
    // Each error that has left the log is counted on its day; and numbers are kept for a year.
    let ever = format!(
        "SELECT date, category, code, sum(n)::integer AS count FROM (
             SELECT date, category, code, count::bigint AS n FROM walk.counted
             UNION ALL SELECT created_at::date, category, code, count(*) FROM walk.error WHERE created_at < {cutoff} GROUP BY 1, 2, 3
         ) AS parts GROUP BY 1, 2, 3"
    );
    let oldest = format!("({} - interval '1 year')::date", walk.last("helix-error-summary"));
    let expected = format!("SELECT * FROM ({ever}) AS ever WHERE date >= {oldest}");
    walk.same("error_log_summary", &expected, "SELECT date, category, code, count FROM error_log_summary").await;
    // What the history counts is what has left.
    let summarized: i64 = walk.one(&format!("SELECT count(*) FROM walk.error WHERE created_at < {cutoff}")).await;
    assert_eq!(walk.told("helix-errors", "rows_summarized").await, summarized);
    let gone: i64 = walk
        .one(
            "SELECT count(*) - (SELECT count(*) FROM llm_token_usage) - (SELECT count(*) FROM tool_audit_log)
             FROM walk.ledger WHERE \"table\" IN ('llm_token_usage', 'tool_audit_log')",
        )
        .await;
    assert_eq!(walk.told("helix-logs", "rows_deleted").await, gone);
    assert_eq!(walk.told("helix-knowledge", "rows_deleted").await, walk.gone("rag_knowledge").await);
    let numbers: i64 = walk.one(&format!("SELECT count(*) FROM ({ever}) AS ever WHERE date < {oldest}")).await;
    assert_eq!(walk.told("helix-error-summary", "rows_deleted").await, numbers);
}
