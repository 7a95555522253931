//! AutoSDLC: a table of policies carried out, the queue before its messages, what has expired.

use super::{Jobs, count_of};
use crate::shipped_partitions::{fingerprint, month, partitions, shipped, sqlstate, text};
use crate::support::{Database, Pgtend, on_each_major};

const POLICIES: &str = "autosdlc-retention";
const QUEUE: &str = "autosdlc-queue";
const NEVER: [&str; 17] = [
    "organizations",
    "users",
    "organization_members",
    "projects",
    "project_members",
    "agents",
    "agent_outputs_partitioned",
    "workflows",
    "workflow_executions",
    "tasks",
    "task_dependencies",
    "test_suites",
    "code_coverage",
    "github_repositories",
    "github_issues",
    "github_pull_requests",
    "schema_migrations",
];
/// What has a policy, with its days, and whether its rows are moved.
const GOING: [(&str, i32, bool); 5] = [
    ("agent_outputs", 90, true),
    ("agent_messages", 30, true),
    ("audit_logs", 365, true),
    ("test_results", 180, true),
    ("agent_status_history", 30, false),
];

fn load(db: &Database) -> Jobs {
    db.load("autosdlc.sql", &[("rows", "1000")]);
    Jobs::shipped(db, "autosdlc.toml")
}

/// The old rows of a table that has a policy, as the page says what is old.
fn old(table: &str, days: i32) -> String {
    // A day of the server's own zone may have 23 hours or 25.
    let hours = days * 24;
    match table {
        "test_results" => format!(
            "(SELECT r.* FROM test_results r JOIN test_suites s ON s.id = r.test_suite_id WHERE s.created_at < now() - interval '{hours} hours')"
        ),
        "agent_messages" => format!(
            "(SELECT m.* FROM agent_messages m WHERE created_at < now() - interval '{hours} hours'
               AND NOT EXISTS (SELECT FROM message_queue q WHERE q.message_id = m.id))"
        ),
        _ => format!("(SELECT * FROM {table} WHERE created_at < now() - interval '{hours} hours')"),
    }
}

#[tokio::test]
async fn the_policies_of_the_table_are_carried_out_and_what_was_moved_is_whole() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let never = jobs.fingerprints(&NEVER).await;
        jobs.check().await;
        jobs.run(QUEUE).await;
        let mut before = Vec::new();
        for (table, days, _) in GOING {
            let rows = old(table, days);
            let facts =
                (jobs.count(table).await, jobs.count(&format!("{rows} AS old")).await, fingerprint(&db, &rows).await);
            assert!(0 < facts.1 && facts.1 < facts.0, "{table}: {facts:?}");
            before.push(facts);
        }
        let mut would = jobs.would(POLICIES).await;
        would.sort();
        let expected: Vec<String> = ["agent_messages", "agent_outputs", "audit_logs", "test_results"]
            .map(|t| format!("archive_rows public.{t}"))
            .into();
        assert_eq!(would, [expected, vec!["delete_rows public.agent_status_history".into()]].concat());

        let details = jobs.run(POLICIES).await;
        for ((table, _, moved), (all, old, content)) in GOING.iter().zip(&before) {
            assert_eq!(jobs.count(table).await, all - old, "{table}");
            let field = if *moved { "rows_archived" } else { "rows_deleted" };
            assert_eq!(count_of(&details["tables"][format!("public.{table}")], field), *old, "{details}");
            if *moved {
                assert_eq!(jobs.count(&format!("archive.{table}")).await, *old, "{table}");
                assert_eq!(fingerprint(&db, &format!("archive.{table}")).await, *content, "{table}");
            } else {
                assert!(db.scalar::<bool>(&format!("SELECT to_regclass('archive.{table}') IS NULL")).await);
            }
        }
        assert_eq!(jobs.count("data_retention_policies WHERE last_run_at IS NULL").await, 0);
        // Rows without a time are never old, and those of suites without one neither.
        for table in ["agent_outputs", "audit_logs", "agent_status_history"] {
            assert_eq!(jobs.count(&format!("{table} WHERE created_at IS NULL")).await, 20, "{table}");
        }
        assert_eq!(
            jobs.count("test_results r JOIN test_suites s ON s.id = test_suite_id WHERE s.created_at IS NULL").await,
            20
        );
        // A copy would be made again.
        jobs.is_done(POLICIES).await;
        assert_eq!(jobs.fingerprints(&NEVER).await, never);
    })
    .await;
}

#[tokio::test]
async fn nothing_of_the_queue_is_lost_and_messages_that_are_pending_stay() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let found = jobs.check().await;
        assert!(found.contains("public.message_queue") && found.contains("message_id"), "{found}");
        // What was tried too often is at its end, unless it is pending again.
        let old = |status: &str| format!("SELECT id FROM message_queue WHERE status = '{status}' AND created_at < now() - interval '31 days' ORDER BY id LIMIT 3");
        db.execute(&format!(
            "UPDATE message_queue SET attempts = 4 WHERE id IN ({}); UPDATE message_queue SET attempts = 4 WHERE id IN ({})",
            old("processing"),
            old("pending")
        ))
        .await;
        let open = "message_queue WHERE status = 'pending' OR status = 'processing' AND attempts <= 3";
        let open_before = fingerprint(&db, &format!("(SELECT * FROM {open})")).await;
        let messages = jobs.count("agent_messages").await;
        let queued = jobs.count("message_queue").await;
        let waiting = jobs.count("agent_messages m JOIN message_queue q ON q.message_id = m.id WHERE m.created_at < now() - interval '30 days' AND (q.status = 'pending' OR q.status = 'processing' AND attempts <= 3)").await;
        assert!(waiting > 10, "{waiting}");

        let details = jobs.run(QUEUE).await;
        let moved = count_of(&details, "rows_archived");
        assert!(moved > 100 && moved == jobs.count("archive.message_queue").await, "{details}");
        assert_eq!(jobs.count("archive.message_queue WHERE status = 'processing' AND attempts = 4").await, 3);
        assert_eq!(jobs.count("archive.message_queue WHERE status NOT IN ('completed', 'failed')").await, 3);
        jobs.is_done(QUEUE).await;
        jobs.run(POLICIES).await;

        assert_eq!(jobs.count("message_queue").await + jobs.count("archive.message_queue").await, queued);
        assert_eq!(jobs.count("agent_messages").await + jobs.count("archive.agent_messages").await, messages);
        assert_eq!(fingerprint(&db, &format!("(SELECT * FROM {open})")).await, open_before);
        assert_eq!(jobs.count("agent_messages WHERE created_at < now() - interval '30 days'").await, waiting);
        assert_eq!(jobs.count("archive.message_queue q LEFT JOIN archive.agent_messages m ON m.id = q.message_id WHERE m.id IS NULL AND q.message_id NOT IN (SELECT id FROM agent_messages)").await, 0);
        jobs.is_done(POLICIES).await;
    })
    .await;
}

#[tokio::test]
async fn with_the_index_that_the_file_names_nobody_is_warned_of_it() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let warned = |found: &str| {
            found.lines().any(|line| {
                line.contains("warning") && line.contains("message_queue") && line.contains("no index begins")
            })
        };
        assert!(warned(&jobs.check().await));
        let text = shipped("autosdlc.toml");
        let index = text.lines().find_map(|line| line.strip_prefix("#     CREATE INDEX")).expect("the index");
        db.client().await.batch_execute(&format!("CREATE INDEX{index}")).await.unwrap();
        let found = jobs.check().await;
        assert!(!warned(&found), "{found}");
    })
    .await;
}

/// Without the queue's job and without `where`: rows that others refer to are not moved from under them.
#[tokio::test]
async fn messages_that_the_queue_refers_to_are_not_moved_and_their_queue_rows_stay() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "1000")]);
        let text = shipped("autosdlc.toml");
        let line = text.lines().find(|line| line.contains("agent_messages\", where =")).expect("the exception");
        let jobs = Jobs::of(&db, &text.replace(line, ""));
        let (queue, all) = (fingerprint(&db, "message_queue").await, jobs.count("agent_messages").await);
        let (outcome, said) = jobs.fails(POLICIES).await;
        assert_eq!(outcome, "partial", "{said}");
        assert!(said.contains("public.agent_messages") && said.contains("public.message_queue"), "{said}");
        assert_eq!(fingerprint(&db, "message_queue").await, queue);
        let archived = if db.scalar::<bool>("SELECT to_regclass('archive.agent_messages') IS NULL").await {
            0
        } else {
            jobs.count("archive.agent_messages").await
        };
        assert_eq!(jobs.count("agent_messages").await + archived, all);
        assert!(jobs.count("archive.audit_logs").await > 0, "the others are carried out");
    })
    .await;
}

#[tokio::test]
async fn row_security_that_hides_messages_is_an_error_and_the_named_privileges_are_enough() {
    on_each_major(async |db| {
        let role = format!("s{}_sdlc_pgtend", db.name().split('_').next().unwrap());
        db.load("autosdlc.sql", &[("rows", "500")]);
        db.execute(&format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE \"{}\" TO {role}; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {role}", db.name())).await;
        db.execute(&format!("CREATE ROLE {role}_owner; GRANT USAGE ON SCHEMA public TO {role}_owner")).await;
        for owned in ["TABLE agents", "TABLE tasks", "TABLE projects", "MATERIALIZED VIEW agent_performance_daily", "MATERIALIZED VIEW project_task_stats"] {
            db.execute(&format!("ALTER {owned} OWNER TO {role}_owner")).await;
        }
        let text = shipped("autosdlc.toml").replace("{url}", &db.url()).replace("autosdlc_owner", &format!("{role}_owner"));
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{text}", db.url_as(&role)));
        let jobs = Jobs { program, db: db.clone() };
        for grant in super::grants(&text) {
            db.execute(&grant.replace("pgtend;", &format!("{role};"))).await;
        }
        // What the queue's rows may be tried for stands in their messages.
        let (_, said) = jobs.fails(QUEUE).await;
        assert!(said.contains("row-level security") && said.contains("agent_messages"), "{said}");
        let messages = jobs.count("agent_messages").await;
        let (_, said) = jobs.fails(POLICIES).await;
        assert!(said.contains("public.agent_messages") && said.contains("row security"), "{said}");
        assert!(said.contains("BYPASSRLS"), "{said}");
        assert_eq!(jobs.count("agent_messages").await, messages);
        jobs.program.run(["check"]).await.exits(1);

        db.execute(&format!("ALTER ROLE {role} BYPASSRLS")).await;
        // What is for the owner alone, by the way that the file names for this version.
        let found = jobs.program.run(["check"]).await.exits(1).stdout;
        assert!(found.contains("may not vacuum or analyze") && found.contains("job autosdlc-vacuum"), "{found}");
        let maintains = if db.cluster().major() >= 17 { "pg_maintain" } else { "postgres" };
        db.execute(&format!("GRANT {maintains} TO {role}")).await;
        jobs.check().await;
        jobs.run(QUEUE).await;
        let old = jobs.count(&format!("{} AS old", old("agent_messages", 30))).await;
        let details = jobs.run(POLICIES).await;
        assert_eq!(count_of(&details["tables"]["public.agent_messages"], "rows_archived"), old, "{details}");
        for job in ["autosdlc-sessions", "autosdlc-api-keys", "autosdlc-vacuum", "autosdlc-statistics"] {
            jobs.run(job).await;
        }
        for job in [QUEUE, POLICIES, "autosdlc-sessions", "autosdlc-api-keys"] {
            jobs.is_done(job).await;
        }
        for job in ["autosdlc-performance", "autosdlc-projects"] {
            jobs.run(job).await;
        }
        let roles = format!("{role}, {role}_owner");
        db.execute(&format!("REASSIGN OWNED BY {roles} TO postgres; DROP OWNED BY {roles}; DROP ROLE {roles}")).await;
    })
    .await;
}

#[tokio::test]
async fn an_archive_table_has_the_grants_of_the_live_one() {
    on_each_major(async |db| {
        let reader = format!("s{}_sdlc_reader", db.name().split('_').next().unwrap());
        let jobs = load(&db);
        db.execute(&format!("CREATE ROLE {reader}; GRANT SELECT ON audit_logs TO {reader}")).await;
        jobs.run(QUEUE).await;
        jobs.run(POLICIES).await;
        let may = |table: &str| format!("SELECT has_table_privilege('{reader}', 'archive.{table}', 'SELECT')");
        assert!(db.scalar::<bool>(&may("audit_logs")).await);
        assert!(!db.scalar::<bool>(&may("agent_outputs")).await);
        db.execute(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_meant_does_nothing_and_the_others_are_carried_out() {
    on_each_major(async |db| {
        let jobs = load(&db);
        db.execute(
            "INSERT INTO data_retention_policies (table_name, retention_days) VALUES ('audit_logs', 30), ('agent_ouputs', 90);
             UPDATE data_retention_policies SET retention_days = 0 WHERE table_name = 'agent_outputs';
             UPDATE data_retention_policies SET retention_days = -1 WHERE table_name = 'test_results'",
        )
        .await;
        let untouched = ["audit_logs", "agent_outputs", "test_results"];
        let before = jobs.fingerprints(&untouched).await;
        let (outcome, said) = jobs.fails(POLICIES).await;
        assert_eq!(outcome, "partial", "{said}");
        for table in ["audit_logs", "agent_ouputs", "agent_outputs", "test_results"] {
            assert!(said.contains(table), "{table}: {said}");
        }
        assert_eq!(jobs.fingerprints(&untouched).await, before);
        assert_eq!(jobs.count("agent_status_history WHERE created_at < now() - interval '30 days'").await, 0);
        assert_eq!(jobs.count("data_retention_policies WHERE last_run_at IS NOT NULL AND table_name = 'audit_logs'").await, 0);
    })
    .await;
}

/// The reading of the flags.
#[tokio::test]
async fn a_policy_without_archive_and_delete_does_nothing() {
    on_each_major(async |db| {
        let jobs = load(&db);
        db.execute("UPDATE data_retention_policies SET archive_enabled = false, delete_enabled = false").await;
        let tables = GOING.map(|(table, ..)| table);
        let before = jobs.fingerprints(&tables).await;
        jobs.is_done(POLICIES).await;
        assert_eq!(jobs.fingerprints(&tables).await, before);
    })
    .await;
}

#[tokio::test]
async fn the_archive_is_never_taken_for_the_live_table() {
    on_each_major(async |db| {
        let jobs = load(&db);
        db.execute(&format!("ALTER DATABASE \"{}\" SET search_path = archive, public", db.name())).await;
        jobs.run(QUEUE).await;
        jobs.run(POLICIES).await;
        let archived = jobs.count("archive.audit_logs").await;
        assert!(archived > 0);
        // By the time all of the archive is older than its policy, a rule for it would empty it.
        db.execute("UPDATE archive.audit_logs SET created_at = created_at - interval '3 years'").await;
        jobs.is_done(POLICIES).await;
        assert_eq!(jobs.count("archive.audit_logs").await, archived);
    })
    .await;
}

#[tokio::test]
async fn sessions_and_keys_go_when_they_have_ended_and_keys_only_if_asked() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let kept = [
            jobs.count("sessions WHERE expires_at > now()").await,
            jobs.count("api_keys WHERE coalesce(expires_at > now() - interval '90 days', true) AND coalesce(revoked_at > now() - interval '90 days', true)").await,
        ];
        assert!(kept[0] < jobs.count("sessions").await && kept[1] < jobs.count("api_keys").await);
        jobs.run("autosdlc-sessions").await;
        // By hand it runs although it is off.
        jobs.run("autosdlc-api-keys").await;
        assert_eq!([jobs.count("sessions").await, jobs.count("api_keys").await], kept);
        assert!(jobs.count("api_keys WHERE expires_at IS NULL AND revoked_at IS NULL").await > 0);
        let status = jobs.program.run(["status", "--json"]).await.exits(0).json();
        let keys = status.iter().find(|job| text(&job["job"]) == "autosdlc-api-keys").expect("its line");
        assert!(keys["next_run"].is_null(), "{keys}");
    })
    .await;
}

/// By the last job of the file, which is off and by hand can be run all the same.
#[tokio::test]
async fn months_of_outputs_are_made_ahead_and_once_renamed_move_to_the_archive_whole() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "1000"), ("months_back", "6")]);
        let jobs = Jobs::shipped(&db, "autosdlc.toml");
        // By name it is of two years ago.
        let five = month(&db, -5).await;
        db.execute(&format!("ALTER TABLE agent_outputs_{five} RENAME TO agent_outputs_2024_01")).await;
        jobs.check().await;
        assert_eq!(count_of(&jobs.run("autosdlc-partitions").await, "partitions_created"), 12);
        let next = month(&db, 12).await;
        assert!(partitions(&db, "agent_outputs_partitioned").await.contains(&format!("agent_outputs_{next}")));
        assert_eq!(sqlstate(&db, "INSERT INTO agent_outputs_partitioned (agent_id, output_type, content, created_at) SELECT id, 'log', 'x', now() + interval '11 months' FROM agents LIMIT 1").await, "");

        let rows = jobs.count("agent_outputs_partitioned").await;
        db.execute("ALTER TABLE agent_outputs RENAME TO agent_outputs_before; ALTER TABLE agent_outputs_partitioned RENAME TO agent_outputs").await;
        let before = fingerprint(&db, "agent_outputs_before").await;
        jobs.run(QUEUE).await;
        let details = jobs.run(POLICIES).await;
        // Of 6 and 5 months ago; of 4 and 3 by how late in its month today is, and by how long the last three months were.
        let moved = count_of(&details, "partitions_archived");
        assert!([2, 3, 4].contains(&moved), "{details}");
        let archived: Vec<String> = db.column("SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'archive'::regnamespace AND relkind = 'r' AND relname LIKE 'agent\\_outputs\\_2%' ORDER BY 1").await;
        assert_eq!(archived.len(), usize::try_from(moved).unwrap(), "{archived:?}");
        assert!(archived.contains(&"archive.agent_outputs_2024_01".to_string()), "by its bounds, not by its name: {archived:?}");
        let mut there = jobs.count("agent_outputs").await;
        for table in &archived {
            there += jobs.count(table).await;
        }
        assert_eq!(there, rows);
        assert_eq!(fingerprint(&db, "agent_outputs_before").await, before);
        jobs.is_done(POLICIES).await;
    })
    .await;
}
