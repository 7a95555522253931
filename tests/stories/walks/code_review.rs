//! AI code review: an audit log that is immutable, chained and out of months; what has ended; artifacts and their objects.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::calendar::each_day;
use super::upkeep::Upkeep;
use super::{Application, Walk};
use crate::shipped_partitions::{NO_PARTITION, fingerprint, sqlstate};

const CODE_REVIEW: Application = Application {
    name: "code-review",
    owner: "code_review_owner",
    attributes: "",
    on_the_newest: false,
    writer: "code_review_app",
    rights: "CREATE ROLE code_review_app LOGIN;
        GRANT USAGE ON SCHEMA auth, projects, experiments_v1, production, quarantine, providers, audits TO code_review_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA
            auth, projects, experiments_v1, production, quarantine, providers, audits TO code_review_app;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA providers, audits TO code_review_app",
    backup: "code-review-backup",
    restore_test: "code-review-restore-test",
    in_order: &[],
    // Elsewhere no foreign key cascades; nothing goes by it here either, since nobody deletes users or analyses.
    variables: |_| {
        let cascade = |name| (name, "CASCADE".into());
        vec![("artifacts", "s3://backups/artifacts/".into()), cascade("on_delete"), cascade("artifacts_on_delete")]
    },
    never: &[
        "auth.users",
        "auth.audit_logs",
        // The immutable one, as far as it was there at the beginning.
        "(SELECT * FROM audits.audit_log WHERE ts < '2026-01-01')",
        "projects.projects",
        "projects.baselines",
        "projects.policies",
        "projects.project_policies",
        "projects.versions",
        "projects.version_history",
        "experiments_v1.experiments",
        "experiments_v1.evaluations",
        "experiments_v1.promotions",
        "experiments_v1.blacklist",
        "experiments_v1.comparison_reports",
        "production.analysis_sessions",
        "production.analysis_tasks",
        "production.code_review_results",
        "quarantine.quarantine_records",
        "quarantine.reevaluation_requests",
        "providers.providers",
        "providers.user_providers",
        "providers.user_quotas",
        "providers.usage_tracking",
        "providers.provider_health",
        "providers.cost_alerts",
    ],
    proves_each_month: false,
    last_days: 4,
};

#[tokio::test(flavor = "multi_thread")]
async fn code_review_is_looked_after_for_two_years() {
    let mut walk = Walk::begin(&CODE_REVIEW).await;
    // Nobody has made a month since 2025: each entry is refused, until somebody runs the job for the first time.
    let first = format!("SELECT walk.day('{}', 1)", (walk.now + TimeDelta::days(1)).to_rfc3339());
    assert_eq!(sqlstate(&walk.db, &first).await, NO_PARTITION);
    walk.by_hand("code-review-partitions", TimeDelta::zero()).await;
    walk.is_fit().await;
    let mut shipped = None;
    let mut uploaded = BTreeSet::new();
    while walk.day().await {
        upload_artifacts(&walk, &mut uploaded).await;
        objects_are_there(&walk).await;
        if walk.is_months_edge() || walk.is_at_its_end() {
            rows_are_where_they_belong(&walk, shipped.is_some()).await;
            walk.is_unharmed().await;
            walk.is_kept_up("code-review-health", &Upkeep { vacuumed: "", analyzed: "" }).await;
        }
        if walk.is_to_be_proven() {
            walk.is_proven().await;
        }
        // For a year no artifact goes, as shipped; then somebody wants them to.
        if shipped.is_none() && walk.days() >= 365 {
            walk.reconfigure(|text| {
                text.replace("[jobs.code-review-artifacts]\nenabled = false", "[jobs.code-review-artifacts]")
            });
            shipped = Some(walk.daily_runs());
        }
    }
    let days = walk.daily_runs();
    walk.history_tells(&[
        ("code-review-artifacts", days - shipped.unwrap_or(days)),
        ("code-review-backup", walk.backups(each_day)),
        ("code-review-chain", walk.sunday_runs()),
        ("code-review-expired", days),
        ("code-review-health", days),
        ("code-review-partitions", days),
    ])
    .await;
    numbers_are_told(&walk, uploaded.len(), shipped.is_some()).await;
    assert_eq!(i64::try_from(walk.offsite("code-review-backup")), Ok(walk.backups(each_day)));
    walk.is_fit().await;
    locks_end(&mut walk).await;
    walk.comes_back("code-review-backup", &["offsite"]).await;
}

async fn rows_are_where_they_belong(walk: &Walk, artifacts_go: bool) {
    let run = walk.last("code-review-expired");
    walk.keeps("auth.sessions", &format!("at >= {run}")).await;
    walk.keeps("auth.invitations", &format!("at IS NULL OR at >= {run}")).await;
    walk.keeps("auth.password_resets", &format!("at >= {run} - interval '7 days'")).await;
    // Every entry is there; and no month of the time in which there was no log was made.
    walk.keeps("audits.audit_log", "true").await;
    let months = "SELECT to_char(month, '\"audits.audit_log_\"YYYY_MM') FROM generate_series";
    let expected = format!(
        "{months}('2024-12-01'::timestamptz, '2025-12-01', '1 month') AS month UNION ALL
         {months}('2027-06-01'::timestamptz, date_trunc('month', {}) + interval '12 months', '1 month') AS month",
        walk.last("code-review-partitions")
    );
    let actual = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audits.audit_log'::regclass";
    walk.same("the months of audits.audit_log", &expected, actual).await;
    // The last time the chain was followed, all of it was that was there then.
    let chain = walk.last("code-review-chain");
    let runs = "SELECT (details->>'rows')::bigint FROM pgtend.run WHERE job = 'code-review-chain' ORDER BY started_at DESC LIMIT 1";
    let followed: i64 = walk.one(runs).await;
    let entries = format!("SELECT count(*) FROM walk.ledger WHERE \"table\" = 'audits.audit_log' AND at < {chain}");
    assert_eq!(followed, walk.one::<i64>(&entries).await, "{}: entries that were followed", walk.now);
    // Artifacts with their objects: in the bucket is what a row stands for, and nothing else.
    let stay = if artifacts_go {
        format!("at IS NULL OR at >= {}", walk.last("code-review-artifacts"))
    } else {
        "true".into()
    };
    walk.keeps("production.artifacts", &stay).await;
    let (named, there) = (named(walk).await, objects(walk));
    let left: Vec<_> = there.difference(&named).take(5).collect();
    assert!(left.is_empty(), "{}: no row names these any more: {left:?}", walk.now);
}

/// The application puts its artifacts into the bucket, each once: what came since the last time.
async fn upload_artifacts(walk: &Walk, uploaded: &mut BTreeSet<String>) {
    for key in named(walk).await {
        if !uploaded.contains(&key) {
            walk.bucket.plant(&key, b"artifact");
            uploaded.insert(key);
        }
    }
}

/// Each that a row names, for ever or still, alone or with others.
async fn objects_are_there(walk: &Walk) {
    let (named, there) = (named(walk).await, objects(walk));
    let lost: Vec<_> = named.difference(&there).take(5).collect();
    assert!(lost.is_empty(), "{}: rows name these, and they are gone: {lost:?}", walk.now);
}

/// The keys that rows name.
async fn named(walk: &Walk) -> BTreeSet<String> {
    let uris: Vec<String> = walk.db.column("SELECT DISTINCT s3_uri FROM production.artifacts").await;
    uris.iter().map(|uri| uri.strip_prefix("s3://backups/").expect("in the bucket").to_owned()).collect()
}

fn objects(walk: &Walk) -> BTreeSet<String> {
    walk.bucket.objects().into_keys().filter(|key| key.starts_with("artifacts/")).collect()
}

/// What the history counts is what has left, and what was made.
async fn numbers_are_told(walk: &Walk, uploaded: usize, artifacts_go: bool) {
    let mut expired = 0;
    for table in ["auth.sessions", "auth.invitations", "auth.password_resets"] {
        expired += walk.gone(table).await;
    }
    walk.has_told("code-review-expired", "rows_deleted", expired).await;
    let made = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audits.audit_log'::regclass
                AND inhrelid::regclass::text >= 'audits.audit_log_2027'";
    walk.has_told("code-review-partitions", "partitions_created", walk.one(made).await).await;
    if artifacts_go {
        walk.has_told("code-review-artifacts", "rows_deleted", walk.gone("production.artifacts").await).await;
        let deleted = i64::try_from(uploaded - objects(walk).len()).expect("a number of objects");
        walk.has_told("code-review-artifacts", "objects_deleted", deleted).await;
    }
}

/// By hand: whose time is over is let in again, and nobody else is touched. The statement
/// goes by the server's own clock, and not by the one of the walk.
async fn locks_end(walk: &mut Walk) {
    let others = "(SELECT * FROM auth.users WHERE email <> 'user1@example.org')";
    let before = fingerprint(&walk.db, others).await;
    walk.by_hand("code-review-locks", TimeDelta::minutes(45)).await;
    assert_eq!(fingerprint(&walk.db, others).await, before);
    let free = "auth.users WHERE email = 'user1@example.org' AND locked_until IS NULL AND failed_login_attempts = 0";
    assert_eq!(walk.db.count(free).await, 1);
}
