//! The fixtures load everywhere, and hold what the stories rely on.

use crate::support::{Database, on_each_major};

#[tokio::test]
async fn lukhas_has_living_and_expired_sessions_and_the_edges() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "500"), ("now", "2026-03-01 00:00:00+00")]);
        assert_eq!(db.count("sessions").await, 500);
        assert_eq!(db.count("test_results").await, 5 * db.count("test_runs").await);
        let expired = "sessions where expires_at < '2026-03-01 00:00:00+00'";
        let share = 100 * db.count(expired).await / 500;
        assert!((25..45).contains(&share), "{share} % of the sessions have expired");
        let cases =
            "select device_info->>'case' from sessions where device_info->>'case' <> 'ordinary' order by expires_at";
        let cases: Vec<String> = db.column(cases).await;
        assert_eq!(cases, ["long forgotten", "just expired", "edge", "just living", "for ever"]);
        assert!(db.scalar::<bool>("select bool_and(lambda_id like 'Λ-%') from users").await);
    })
    .await;
}

#[tokio::test]
async fn lukhas_has_the_partitions_of_the_months_around_now_in_utc() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "100"), ("now", "2026-03-01 00:00:00+00")]);
        let names =
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'test_runs'::regclass order by 1";
        let names: Vec<String> = db.column(names).await;
        assert_eq!(names, ["test_runs_2026_01", "test_runs_2026_02", "test_runs_2026_03", "test_runs_2026_04"]);
        let bounds = "set timezone = 'UTC'";
        let client = db.client().await;
        client.batch_execute(bounds).await.unwrap();
        let bounds = "select pg_get_expr(relpartbound, oid) from pg_class where relname = 'test_results_2026_03'";
        let bounds: String = client.query_one(bounds, &[]).await.unwrap().get(0);
        assert_eq!(bounds, "FOR VALUES FROM ('2026-03-01 00:00:00+00') TO ('2026-04-01 00:00:00+00')");
    })
    .await;
}

#[tokio::test]
async fn lukhas_is_the_same_each_time_on_each_major_with_the_index_or_without() {
    let digests = std::cell::RefCell::new(Vec::new());
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "300"), ("now", "2026-11-21 12:00:00+00"), ("expires_at_index", "off")]);
        assert_eq!(expires_at_indexes(&db).await, 0);
        let with_index = db.cluster().database().await;
        with_index.load("lukhas.sql", &[("rows", "300"), ("now", "2026-11-21 12:00:00+00")]);
        assert_eq!(expires_at_indexes(&with_index).await, 1);
        let digest = "select md5(string_agg(s.token || extract(epoch from expires_at), ' ' order by id)) \
                      from sessions s";
        for db in [db, with_index] {
            let digest: String = db.scalar(digest).await;
            digests.borrow_mut().push(digest);
        }
    })
    .await;
    digests.borrow_mut().dedup();
    assert_eq!(digests.borrow().len(), 1, "{digests:?}");
}

async fn expires_at_indexes(db: &Database) -> i64 {
    db.count("pg_indexes where tablename = 'sessions' and indexdef like '%(expires_at)'").await
}
