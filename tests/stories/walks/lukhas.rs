//! lukhas: sessions, months of runs and results that refer to each other, rows by age, a backup to a bucket and a directory.

use chrono::TimeDelta;

use super::calendar::each_day;
use super::upkeep::Upkeep;
use super::{Application, Walk};
use crate::backup::backups;

const LUKHAS: Application = Application {
    name: "lukhas",
    owner: "lukhas",
    attributes: "",
    on_the_newest: false,
    writer: "lukhas",
    rights: "CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    backup: "lukhas-backup",
    restore_test: "lukhas-restore-test",
    in_order: &[],
    // Nobody has ever let a month go.
    variables: |rows| vec![("runs", rows.to_string()), ("months_back", "40".into())],
    never: &["teams", "users", "webauthn_credentials", "healix_memories", "user_preferences"],
    proves_each_month: false,
    last_days: 11,
};

#[tokio::test(flavor = "multi_thread")]
async fn lukhas_is_looked_after_for_two_years() {
    let mut walk = Walk::begin(&LUKHAS).await;
    walk.is_fit().await;
    while walk.day().await {
        if walk.is_months_edge() || walk.is_at_its_end() {
            rows_are_where_they_belong(&walk).await;
            months_are_there(&walk).await;
            walk.is_unharmed().await;
            walk.is_kept_up("lukhas-health", &Upkeep { vacuumed: "", analyzed: "" }).await;
        }
        if walk.is_to_be_proven() {
            // The application asks for none; by hand it may be asked at any time.
            walk.is_proven().await;
        }
    }
    let days = walk.daily_runs();
    walk.history_tells(&[
        ("lukhas-backup", walk.backups(each_day)),
        ("lukhas-health", days),
        ("lukhas-old-partitions", days),
        ("lukhas-old-rows", walk.sunday_runs()),
        ("lukhas-partitions", days),
        ("lukhas-sessions", days),
    ])
    .await;
    // In the directory a week before the newest, and the one that was restored last before that week; in the bucket all there
    // ever were.
    let local = walk.program.folder().join("local");
    let kept = backups(&local);
    let (older, week) = kept.split_at(kept.len() - 8);
    assert!(
        older.len() <= 1
            && older.iter().all(|name| local.join("lukhas-backup").join(name).join("restored.json").exists()),
        "{kept:?}"
    );
    let oldest = (walk.now - TimeDelta::days(7)).format("%Y-%m-%dT").to_string();
    assert!(week[0].starts_with(&oldest), "{kept:?}");
    assert_eq!(i64::try_from(walk.offsite("lukhas-backup")), Ok(walk.backups(each_day)));
    numbers_are_told(&walk).await;
    walk.is_fit().await;
    orphans_go(&mut walk).await;
    walk.comes_back("lukhas-backup", &["offsite", "local"]).await;
}

/// By hand: what of the coverage has no run, and is neither of today nor without a time.
async fn orphans_go(walk: &mut Walk) {
    // Which runs there are was looked at before this.
    let orphan = "NOT EXISTS (SELECT FROM test_runs AS r WHERE r.id = c.test_run_id)";
    let at = format!("'{}'::timestamptz", (walk.now + TimeDelta::minutes(40)).to_rfc3339());
    // Somebody has written some, for runs that never were.
    let write = "INSERT INTO coverage_data (test_run_id, file_path, lines_covered, lines_total, created_at)
                 SELECT gen_random_uuid(), 'src/gone.py', 1, 2, at FROM unnest(ARRAY[";
    walk.db.execute(&format!("{write}{at} - interval '25 hours', {at} - interval '23 hours', NULL]) AS at")).await;
    walk.db.execute("CREATE TABLE walk.coverage AS TABLE coverage_data").await;
    walk.by_hand("lukhas-coverage-orphans", TimeDelta::minutes(40)).await;
    let stays = format!(
        "SELECT id FROM walk.coverage AS c WHERE ({orphan} AND created_at < {at} - interval '1 day') IS NOT TRUE"
    );
    walk.same("coverage_data", &stays, "SELECT id FROM coverage_data").await;
    let gone: i64 =
        walk.one("SELECT (SELECT count(*) FROM walk.coverage) - (SELECT count(*) FROM coverage_data)").await;
    assert!(gone > 0, "there was no orphan");
}

async fn rows_are_where_they_belong(walk: &Walk) {
    walk.keeps("sessions", &format!("at >= {}", walk.last("lukhas-sessions"))).await;
    // A month is kept until its last moment is as old as that.
    let months = |keep: u32| {
        format!(
            "date_trunc('month', at) + interval '1 month' > {} - interval '{keep} months'",
            walk.last("lukhas-old-partitions")
        )
    };
    walk.keeps("test_results", &months(12)).await;
    walk.keeps("test_runs", &months(36)).await;
    // Not before the first Sunday; and a row without a time is never old.
    let old = |keep: &str| format!("at IS NULL OR at >= {} - interval '{keep}'", walk.last("lukhas-old-rows"));
    walk.keeps("coverage_data", &old("6 months")).await;
    walk.keeps("consciousness_reviews", &old("2 years")).await;
    let without: i64 = walk.one("SELECT count(*) FROM coverage_data WHERE created_at IS NULL").await;
    assert!(without > 0);
}

/// What the history counts is what has left, and what was made.
async fn numbers_are_told(walk: &Walk) {
    walk.has_told("lukhas-sessions", "rows_deleted", walk.gone("sessions").await).await;
    let old = walk.gone("coverage_data").await + walk.gone("consciousness_reviews").await;
    walk.has_told("lukhas-old-rows", "rows_deleted", old).await;
    let months =
        |from: &str, to: &str| format!("SELECT count(*) FROM generate_series({from}, {to}, interval '1 month')");
    let old = |keep: u32| {
        let newest =
            format!("date_trunc('month', {}) - interval '{} months'", walk.last("lukhas-old-partitions"), keep + 1);
        // The fixture's first.
        months("'2024-02-01'::timestamptz", &newest)
    };
    let dropped = walk.one::<i64>(&old(36)).await + walk.one::<i64>(&old(12)).await;
    walk.has_told("lukhas-old-partitions", "partitions_dropped", dropped).await;
    let newest = format!("date_trunc('month', {}) + interval '12 months'", walk.last("lukhas-partitions"));
    // The month after the fixture's last.
    let made: i64 = walk.one(&months("'2027-08-01'::timestamptz", &newest)).await;
    walk.has_told("lukhas-partitions", "partitions_created", 2 * made).await;
}

/// The month of the day and the twelve after it, for both tables; none from before what is kept; and the foreign key between
/// the two as it was.
async fn months_are_there(walk: &Walk) {
    let last = walk.last("lukhas-partitions");
    for (table, keep) in [("test_runs", 36), ("test_results", 12)] {
        let expected = format!(
            "SELECT to_char(month, '\"{table}_\"YYYY_MM') FROM generate_series(
                 date_trunc('month', {last}) - interval '{keep} months', date_trunc('month', {last}) + interval '12 months', '1 month') AS month"
        );
        let actual = format!("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{table}'::regclass");
        walk.same(&format!("the months of {table}"), &expected, &actual).await;
    }
    let keys: i64 = walk
        .one(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND conparentid = 0
             AND conrelid = 'test_results'::regclass AND confrelid = 'test_runs'::regclass",
        )
        .await;
    assert_eq!(keys, 1, "results refer to runs");
}
