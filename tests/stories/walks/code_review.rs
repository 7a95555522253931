//! AI code review: an audit log that is immutable, chained and out of months; what has ended; artifacts and their objects.

use chrono::TimeDelta;

use super::{Application, Walk};
use crate::shipped_partitions::{NO_PARTITION, fingerprint, sqlstate};

const CODE_REVIEW: Application = Application {
    name: "code-review",
    owner: "code_review_owner",
    attributes: "",
    variables: |_| vec![("artifacts", "s3://backups/artifacts/".into())],
    never: &[
        "auth.users",
        "auth.audit_logs",
        "projects.projects",
        "projects.versions",
        "projects.version_history",
        "experiments_v1.experiments",
        "experiments_v1.evaluations",
        "experiments_v1.promotions",
        "experiments_v1.blacklist",
        "production.analysis_sessions",
        "production.analysis_tasks",
        "production.code_review_results",
        "quarantine.quarantine_records",
        "quarantine.reevaluation_requests",
        "providers.providers",
        "providers.user_providers",
        "providers.usage_tracking",
        "providers.provider_health",
        "providers.cost_alerts",
    ],
    proves_each_month: false,
    last_days: 4,
};

#[tokio::test]
async fn code_review_is_looked_after_for_two_years() {
    let mut walk = Walk::begin(&CODE_REVIEW).await;
    // Nobody has made a month since 2025: each entry is refused, until somebody runs the job for the first time.
    let first = format!("SELECT walk.day('{}', 1)", (walk.now + TimeDelta::days(1)).to_rfc3339());
    assert_eq!(sqlstate(&walk.db, &first).await, NO_PARTITION);
    walk.by_hand("code-review-partitions", TimeDelta::zero()).await;
    walk.is_fit().await;
    let mut shipped = None;
    while walk.day().await {
        walk.upload_artifacts().await;
        if walk.is_months_edge() || walk.is_at_its_end() {
            rows_are_where_they_belong(&walk, shipped.is_some()).await;
            walk.is_unharmed().await;
        }
        if walk.is_half_year() {
            walk.by_hand("code-review-restore-test", TimeDelta::minutes(30)).await;
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
        ("code-review-backup", walk.backups_made("code-review-backup")),
        ("code-review-chain", walk.sunday_runs()),
        ("code-review-expired", days),
        ("code-review-health", days),
        ("code-review-partitions", days),
    ])
    .await;
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
    let followed: i64 = walk
        .one("SELECT coalesce(max((details->>'rows')::bigint), 0) FROM pgtend.run WHERE job = 'code-review-chain'")
        .await;
    assert!(followed > 0, "no entry has ever been followed");
    // Artifacts with their objects: in the bucket is what a row stands for, and nothing else.
    let stay = if artifacts_go {
        format!("at IS NULL OR at >= {}", walk.last("code-review-artifacts"))
    } else {
        "true".into()
    };
    walk.keeps("production.artifacts", &stay).await;
    let mut named: Vec<String> =
        walk.db.column("SELECT DISTINCT replace(s3_uri, 's3://backups/', '') FROM production.artifacts").await;
    named.sort();
    let there: Vec<String> = walk.bucket.objects().into_keys().filter(|key| key.starts_with("artifacts/")).collect();
    assert_eq!(there.len(), named.len());
    assert!(there == named, "the objects are not those that the rows name");
}

impl Walk {
    /// The application puts its artifacts into the bucket; those that came today.
    async fn upload_artifacts(&self) {
        let there = self.bucket.objects();
        for uri in self.db.column::<String>("SELECT DISTINCT s3_uri FROM production.artifacts").await {
            let key = uri.strip_prefix("s3://backups/").expect("in the bucket");
            if !there.contains_key(key) {
                self.bucket.plant(key, b"artifact");
            }
        }
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
