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

/// As many as the application's own example has; other stories have five, so as not to take long.
#[tokio::test]
async fn a_run_of_lukhas_has_as_many_results_as_one_wants() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "100"), ("results_per_run", "1247"), NOW]);
        let others = "(SELECT total_tests FROM test_runs AS r LEFT JOIN test_results AS t ON t.test_run_id = r.id
            GROUP BY r.id, total_tests HAVING count(t.id) <> 1247 OR total_tests <> 1247) AS o";
        assert_eq!((db.count(others).await, db.count("test_runs").await), (0, 5));
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

const NOW: (&str, &str) = ("now", "2026-11-21 12:00:00+00");

#[tokio::test]
async fn helix_and_autosdlc_are_the_same_each_time_on_each_major() {
    let digests = std::cell::RefCell::new(Vec::new());
    on_each_major(async |db| {
        db.load("helix.sql", &[NOW]);
        let other = db.cluster().database().await;
        other.load("autosdlc.sql", &[NOW]);
        let mut digest = String::new();
        for table in ["error_log", "error_log_summary", "llm_token_usage", "tool_audit_log", "rag_knowledge"] {
            digest += &content(&db, table, "id, created_at, date, timestamp, expires_at, category, count").await;
        }
        for table in ["agent_outputs", "agent_messages", "message_queue", "audit_logs", "test_suites", "test_results"] {
            digest += &content(&other, table, "id, created_at, executed_at, status, test_suite_id, message_id").await;
        }
        digests.borrow_mut().push(digest);
    })
    .await;
    digests.borrow_mut().dedup();
    assert_eq!(digests.borrow().len(), 1, "{digests:?}");
}

/// A digest of what a table has of these columns.
async fn content(db: &Database, table: &str, columns: &str) -> String {
    let there: Vec<String> = db
        .column(&format!(
            "SELECT CASE WHEN data_type LIKE 'timestamp%' THEN 'extract(epoch FROM ' || quote_ident(column_name) || ')'
                         ELSE quote_ident(column_name) END
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}'
               AND column_name = ANY (string_to_array('{columns}', ', ')) ORDER BY column_name"
        ))
        .await;
    let row = there.join(", ");
    db.scalar(&format!("SELECT md5(string_agg(row_text, ' ' ORDER BY row_text)) FROM (SELECT ROW({row})::text AS row_text FROM {table}) AS t"))
        .await
}

#[tokio::test]
async fn helix_has_its_fifteen_tables_at_any_size_and_a_third_of_its_errors_are_old() {
    on_each_major(async |db| {
        for rows in ["20", "1000", "20000"] {
            let db = db.cluster().database().await;
            db.load("helix.sql", &[("rows", rows), NOW]);
            assert_eq!(db.count("pg_tables WHERE schemaname = 'public'").await, 15);
            let share = |what: &str| format!("SELECT (100 * count(*) FILTER (WHERE {what}) / count(*))::integer");
            let at = format!("'{}'::timestamptz", NOW.1);
            let old: i32 = db.scalar(&format!("{} FROM error_log", share(&format!("created_at < {at} - interval '90 days'")))).await;
            assert!((15..=60).contains(&old), "{old} % of {rows}");
            // Some of the days to come are there already.
            let met = "error_log e JOIN error_log_summary s ON s.category = e.category AND s.code = e.code AND s.date = (e.created_at AT TIME ZONE 'UTC')::date";
            assert!(rows == "20" || db.count(met).await > 0, "{rows}");
        }
    })
    .await;
}

#[tokio::test]
async fn autosdlc_has_its_tables_and_views_and_its_row_security() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "300"), NOW]);
        let tables = "pg_class c WHERE relnamespace = 'public'::regnamespace AND NOT relispartition AND relkind IN ('r', 'p')";
        assert_eq!(db.count(tables).await, 26);
        assert_eq!(db.count("pg_matviews WHERE ispopulated").await, 2);
        assert_eq!(db.count("pg_tables WHERE schemaname = 'archive'").await, 0);
        let secured: Vec<String> = db.column("SELECT relname::text FROM pg_class WHERE relrowsecurity ORDER BY 1").await;
        assert_eq!(secured, ["agent_messages", "projects", "tasks"]);
        assert_eq!(db.count("pg_policies WHERE tablename = 'agent_messages'").await, 0);
        assert_eq!(db.count("pg_indexes WHERE tablename = 'message_queue' AND indexdef LIKE '%(message_id)%'").await, 0);
        let policies: Vec<String> = db.column("SELECT concat_ws(' ', table_name, retention_days, archive_enabled, delete_enabled) FROM data_retention_policies ORDER BY 1").await;
        assert_eq!(policies, ["agent_messages 30 t t", "agent_outputs 90 t f", "agent_status_history 30 f t", "audit_logs 365 t f", "test_results 180 t f"]);
        assert!(db.count("table_sizes").await > 26 && db.count("index_usage").await > 60);
    })
    .await;
}

#[tokio::test]
async fn code_review_and_lucy_have_their_tables_and_what_guards_their_logs() {
    on_each_major(async |db| {
        let tables = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE relkind IN ('r', 'p') AND NOT relispartition AND nspname !~ '^(pg_.*|information_schema)$'";
        db.load("code-review.sql", &[("rows", "100"), NOW]);
        let schemas: Vec<String> =
            db.column(&format!("SELECT nspname || ' ' || count(*) FROM {tables} GROUP BY nspname ORDER BY 1")).await;
        assert_eq!(
            schemas,
            ["audits 1", "auth 5", "experiments_v1 5", "production 4", "projects 6", "providers 6", "quarantine 2"]
        );
        let guards = "pg_trigger WHERE NOT tgisinternal AND tgname = 'audit_log_is_immutable'";
        assert!(db.count(guards).await > 13, "row triggers are each partition's too");
        let statuses = "(SELECT status FROM production.analysis_sessions GROUP BY status) AS s";
        assert_eq!((db.count(statuses).await, db.count("production.analysis_sessions").await), (6, 12));
        let larger = db.cluster().database().await;
        let cascade = ("artifacts_on_delete", "CASCADE");
        larger.load("code-review.sql", &[("rows", "1000"), ("on_delete", "CASCADE"), cascade, NOW]);
        assert_eq!(
            (larger.count("projects.projects").await, larger.count("production.analysis_sessions").await),
            (20, 100)
        );
        let cascades = "pg_constraint WHERE confdeltype = 'c' AND conparentid = 0
            AND conrelid IN ('audits.audit_log'::regclass, 'production.artifacts'::regclass)";
        assert_eq!((larger.count(cascades).await, db.count(cascades).await), (2, 0));
        let other = db.cluster().database().await;
        other.load("lucy.sql", &[("rows", "100"), NOW]);
        let all = format!("SELECT c.oid::regclass::text FROM {tables}");
        for table in other.column::<String>(&all).await {
            assert!(other.count(&table).await > 0, "{table} has no row");
        }
        assert_eq!(other.count(tables).await, 17);
        assert_eq!(other.count(guards).await, 4, "the table, and three months of it");
        let young = format!("tasks WHERE created_at > '{}'", NOW.1);
        assert_eq!(other.count(&young).await, 0, "rows lie before the moment that was given");
    })
    .await;
}
