//! AutoSDLC: policies in a table of the database, an archive, a queue, two views, VACUUM, and backups of two kinds.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc, Weekday};

use super::calendar::{is_no_sunday, is_saturday, is_sunday};
use super::upkeep::Upkeep;
use super::{Application, Walk};
use crate::backup::backups;

const AUTOSDLC: Application = Application {
    name: "autosdlc",
    owner: "autosdlc_owner",
    attributes: "BYPASSRLS",
    on_the_newest: true,
    // The policies for application_user leave it no message; the application can only write as the owner.
    writer: "autosdlc_owner",
    rights: "CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    backup: "autosdlc-backup",
    restore_test: "autosdlc-restore-test",
    in_order: &[("autosdlc-queue", "autosdlc-retention")],
    // The index that its job file asks the application for, since without it a message takes as long as the queue is.
    variables: |_| vec![("role", "application_user".into()), ("queue_index", "on".into())],
    never: &[
        "organizations",
        "users",
        "organization_members",
        "projects",
        "project_members",
        "agents",
        "workflows",
        "workflow_executions",
        "task_dependencies",
        "code_coverage",
        "github_repositories",
        "github_issues",
        "github_pull_requests",
        "schema_migrations",
        "(SELECT id, table_name, retention_days, archive_enabled, delete_enabled FROM data_retention_policies)",
    ],
    proves_each_month: false,
    last_days: 11,
};

#[tokio::test(flavor = "multi_thread")]
async fn autosdlc_is_looked_after_for_two_years() {
    let mut walk = Walk::begin(&AUTOSDLC).await;
    // The table that is to be partitioned is there: so are, once the job is on, its months.
    walk.reconfigure(with_partitions);
    walk.is_fit().await;
    let mut shipped = None;
    while walk.day().await {
        if walk.is_months_edge() || walk.is_at_its_end() {
            rows_are_where_they_belong(&walk).await;
            views_are_current(&walk).await;
            keys_end(&walk, shipped.is_some()).await;
            months_are_there(&walk).await;
            walk.is_unharmed().await;
            // Parents hold nothing to be vacuumed.
            walk.is_kept_up("autosdlc-health", &Upkeep { vacuumed: "rm", analyzed: "rmp" }).await;
        }
        if walk.is_to_be_proven() {
            walk.is_proven().await;
            walk.by_hand("autosdlc-daily-restore-test", TimeDelta::minutes(40)).await;
        }
        // For a year keys stay as they are, as shipped; then somebody wants them to go.
        if shipped.is_none() && walk.days() >= 365 {
            walk.reconfigure(|text| {
                text.replace("[jobs.autosdlc-api-keys]\nenabled = false", "[jobs.autosdlc-api-keys]")
            });
            shipped = Some(walk.daily_runs());
        }
    }
    let (days, sundays) = (walk.daily_runs(), walk.sunday_runs());
    walk.history_tells(&[
        ("autosdlc-api-keys", days - shipped.unwrap_or(days)),
        ("autosdlc-backup", walk.backups(is_sunday)),
        ("autosdlc-daily-backup", walk.backups(is_no_sunday)),
        ("autosdlc-health", days),
        ("autosdlc-partitions", days),
        ("autosdlc-performance", days),
        ("autosdlc-projects", days),
        ("autosdlc-queue", sundays),
        ("autosdlc-retention", sundays),
        ("autosdlc-schema-backup", walk.backups(is_saturday)),
        ("autosdlc-sessions", days),
        ("autosdlc-statistics", days),
        ("autosdlc-vacuum", sundays),
    ])
    .await;
    numbers_are_told(&walk, shipped.is_some()).await;
    kept_backups(&walk);
    walk.is_fit().await;
    walk.comes_back("autosdlc-backup", &["local"]).await;
    walk.comes_back("autosdlc-daily-backup", &["local"]).await;
}

async fn rows_are_where_they_belong(walk: &Walk) {
    walk.keeps("sessions", &format!("at >= {}", walk.last("autosdlc-sessions"))).await;
    // What others refer to stays, all of it.
    walk.keeps("tasks", "true").await;
    walk.keeps("test_suites", "true").await;
    let run = walk.last("autosdlc-retention");
    let young = |days: u32| format!("at IS NULL OR at >= {run} - interval '{days} days'");
    walk.keeps("agent_status_history", &young(30)).await;
    for (table, days) in [("agent_outputs", 90), ("audit_logs", 365), ("test_results", 180)] {
        walk.keeps(table, &young(days)).await;
        is_archived(walk, table, &young(days)).await;
    }
    // Of the queue what has come to its end goes, once it is old; and a message when nothing of it is queued any more.
    let queued = format!(
        "SELECT id, content, message FROM walk.queued WHERE {} OR ended_at IS NULL OR ended_at > {run}",
        young(30)
    );
    let there =
        |schema: &str| format!("SELECT id::text, md5(q::text), message_id::text FROM {schema}.message_queue AS q");
    walk.same("message_queue", &queued, &there("public")).await;
    let ended = format!("SELECT id, content, message FROM walk.queued EXCEPT ({queued})");
    walk.same("archive.message_queue", &ended, &there("archive")).await;
    let stays = format!("{} OR id IN (SELECT message FROM ({queued}) AS queued)", young(30));
    walk.keeps("agent_messages", &stays).await;
    is_archived(walk, "agent_messages", &stays).await;
    let waits: i64 =
        walk.one(&format!("SELECT count(*) FROM agent_messages WHERE created_at < {run} - interval '30 days'")).await;
    assert!(waits > 0, "no old message waits, so that nothing was seen to wait");
    let written: i64 =
        walk.one(&format!("SELECT count(*) FROM data_retention_policies WHERE last_run_at = {run}")).await;
    assert_eq!(written, 5);
}

/// What has left a table is in the archive as it was, all of it and nothing else; and who may read it here may there.
async fn is_archived(walk: &Walk, table: &str, stays: &str) {
    walk.holds(&format!("archive.{table}"), table, &format!("({stays}) IS NOT TRUE")).await;
    let read = format!("SELECT has_table_privilege('reader', 'archive.{table}', 'SELECT')");
    assert!(walk.one::<bool>(&read).await, "archive.{table} is closed to a reader of {table}");
}

/// Switches the job on that makes its months: it is off in the file.
fn with_partitions(text: &str) -> String {
    let table = "[jobs.autosdlc-partitions]\n";
    text.replace(&format!("{table}enabled = false\n"), table)
}

/// Of the table that is to be partitioned one day: what came is there, for each month from the fixture's first to the twelfth after
/// the day's; and the table itself is analyzed, which autovacuum never does, with what came lately.
async fn months_are_there(walk: &Walk) {
    walk.keeps("agent_outputs_partitioned", "true").await;
    let expected = format!(
        "SELECT to_char(at, '\"agent_outputs_\"YYYY_MM') FROM generate_series(
             '2027-04-01'::timestamptz, date_trunc('month', {}) + interval '12 months', '1 month') AS at",
        walk.last("autosdlc-partitions")
    );
    let actual =
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'agent_outputs_partitioned'::regclass";
    walk.same("the months of agent_outputs_partitioned", &expected, actual).await;
    let known = "SELECT max(bound) FROM pg_stats, unnest(histogram_bounds::text::timestamptz[]) AS bound
                 WHERE tablename = 'agent_outputs_partitioned' AND attname = 'created_at' AND inherited";
    let late: bool =
        walk.one(&format!("SELECT ({known}) > '{}'::timestamptz - interval '2 days'", walk.now.to_rfc3339())).await;
    assert!(late, "{}: the statistics of agent_outputs_partitioned know nothing of yesterday", walk.now);
}

/// What the history counts is what has left.
async fn numbers_are_told(walk: &Walk, keys_go: bool) {
    walk.has_told("autosdlc-sessions", "rows_deleted", walk.gone("sessions").await).await;
    walk.has_told("autosdlc-retention", "rows_deleted", walk.gone("agent_status_history").await).await;
    let mut archived = 0;
    for table in ["agent_outputs", "agent_messages", "audit_logs", "test_results"] {
        archived += walk.gone(table).await;
    }
    walk.has_told("autosdlc-retention", "rows_archived", archived).await;
    let left = "SELECT (SELECT count(*) FROM walk.queued) - (SELECT count(*) FROM message_queue)";
    walk.has_told("autosdlc-queue", "rows_archived", walk.one(left).await).await;
    if keys_go {
        let ended = "SELECT (SELECT count(*) FROM walk.key) - (SELECT count(*) FROM api_keys)";
        walk.has_told("autosdlc-api-keys", "rows_deleted", walk.one(ended).await).await;
    }
}

/// Both are what their queries give at this moment.
async fn views_are_current(walk: &Walk) {
    for view in ["agent_performance_daily", "project_task_stats"] {
        let query: String = walk.one(&format!("SELECT rtrim(pg_get_viewdef('{view}'::regclass), ';')")).await;
        walk.same(view, &query, &format!("SELECT * FROM {view}")).await;
    }
}

/// Where that is wanted a key goes ninety days after its end, or after it was revoked; one without end stays.
async fn keys_end(walk: &Walk, wanted: bool) {
    let ended = |at: &str| format!("{at} < {} - interval '90 days'", walk.last("autosdlc-api-keys"));
    let gone = if wanted { format!("{} OR {}", ended("expires_at"), ended("revoked_at")) } else { "false".into() };
    walk.same(
        "api_keys",
        &format!("SELECT id, content FROM walk.key WHERE ({gone}) IS NOT TRUE"),
        "SELECT id, md5(k::text) FROM api_keys AS k",
    )
    .await;
}

/// Four of the Sundays', however old; of the other days' those of a week before the
/// newest. Beside each the newest that had been restored, if it is older than these.
fn kept_backups(walk: &Walk) {
    let local = walk.program.folder().join("local");
    // The newest so many, where whatever else there is has been restored, and but for the very last none of these.
    let newest = |job: &str, count: usize| {
        let all = backups(&local.join(job));
        let (older, newest) = all.split_at(all.len() - count);
        let restored = |name: &String| local.join(job).join(name).join("restored.json").exists();
        assert!(older.len() <= 1 && older.iter().all(restored), "{all:?}");
        assert!(older.is_empty() || !newest[..count - 1].iter().any(restored), "{all:?}");
        newest.to_vec()
    };
    newest("autosdlc-backup", 4);
    let is_weekday = |day: &DateTime<Utc>| day.weekday() != Weekday::Sun;
    let last = if is_weekday(&walk.now) { walk.now } else { walk.now - TimeDelta::days(1) };
    let days = (0..=7).map(|day| last - TimeDelta::days(day)).filter(is_weekday);
    let mut expected: Vec<String> = days.map(|day| day.format("%Y-%m-%d").to_string()).collect();
    expected.reverse();
    let daily = newest("autosdlc-daily-backup", expected.len());
    assert_eq!(daily.iter().map(|id| &id[..10]).collect::<Vec<_>>(), expected);
    assert_eq!(backups(&local.join("autosdlc-schema-backup")).len(), 4);
}
