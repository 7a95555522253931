//! The GRANTs of `docs/security.md`, as they are written there: with them a role may do its work, and without them `check` says so.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Cluster, Database, Pgtend, majors};

/// What there is before any right is given: an application's tables, of which nothing is for everybody.
const THERE: &str = "
    CREATE ROLE app NOLOGIN;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    CREATE SCHEMA archive AUTHORIZATION app; CREATE SCHEMA reports AUTHORIZATION app;
    GRANT USAGE, CREATE ON SCHEMA public TO app; SET ROLE app;
    CREATE TABLE public.sessions (id int PRIMARY KEY, expires_at timestamptz NOT NULL);
    CREATE TABLE public.devices (session_id int REFERENCES public.sessions);
    INSERT INTO public.sessions SELECT n, now() + (n - 5) * interval '1 day' FROM generate_series(1, 9) n;
    CREATE TABLE public.audit_logs (id int PRIMARY KEY, created_at timestamptz NOT NULL);
    CREATE TABLE archive.audit_logs (id int, created_at timestamptz);
    INSERT INTO public.audit_logs SELECT n, now() - n * interval '1 year' FROM generate_series(0, 3) n;
    CREATE TABLE public.events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
    CREATE TABLE public.events_old PARTITION OF public.events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z');
    CREATE TABLE public.events_older PARTITION OF public.events FOR VALUES FROM ('2019-12-01Z') TO ('2020-01-01Z');
    -- Of this month and the next.
    DO $$ DECLARE month timestamptz := date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'; BEGIN
      EXECUTE format('CREATE TABLE public.events_now PARTITION OF public.events FOR VALUES FROM (%L) TO (%L)', month,
        (month AT TIME ZONE 'UTC' + interval '2 months') AT TIME ZONE 'UTC'); END $$;
    INSERT INTO public.events VALUES ('2020-01-02Z', 'long ago');
    CREATE MATERIALIZED VIEW reports.daily_totals AS SELECT count(*) AS sessions FROM public.sessions;
    CREATE TABLE public.error_log (id serial, category text, created_at timestamptz NOT NULL);
    CREATE TABLE public.error_log_summary (id serial, date date, category text, count bigint, UNIQUE (date, category));
    INSERT INTO public.error_log (category, created_at) SELECT 'db', now() - interval '1 year' FROM generate_series(1, 4);
    CREATE TABLE public.audit_chain (id int PRIMARY KEY, hash text NOT NULL, previous text);
    INSERT INTO public.audit_chain VALUES (1, 'a', NULL), (2, 'b', 'a');
    CREATE TABLE public.secrets (id int); ALTER TABLE public.secrets ENABLE ROW LEVEL SECURITY;
    RESET ROLE;
";

/// The SQL of a section that a server of this major takes, in its order. A block whose first line begins with `-- from
/// PostgreSQL N on` or `-- before PostgreSQL N` is for these alone.
fn blocks(title: &str, major: u32) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md");
    let page = fs::read_to_string(page).expect("docs/security.md");
    let (_, section) = page.split_once(&format!("\n{title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let blocks = section.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let number = |words: &str| words.split_whitespace().next().and_then(|word| word.trim_end_matches(',').parse().ok());
    let fits = |block: &&str| {
        let first = block.lines().next().unwrap_or_default();
        let from = first.strip_prefix("-- from PostgreSQL ").and_then(number);
        let before = first.strip_prefix("-- before PostgreSQL ").and_then(number);
        from.is_none_or(|from: u32| major >= from) && before.is_none_or(|before: u32| major < before)
    };
    blocks.filter(fits).map(String::from).collect()
}

/// A server with the application's tables, and the role as the page makes it.
async fn with_the_role(major: u32) -> Database {
    let db = Cluster::own(major).database().await;
    db.execute(THERE).await;
    let role = blocks("## The role", major);
    assert!(!role.is_empty());
    for block in role {
        db.execute(&block).await;
    }
    db
}

/// On each major: refused before the section's GRANTs, and done with them. The record of the run.
async fn is_enough(kind: &str, section: &str, keys: &str, done: impl AsyncFn(&Database, &Value)) {
    for major in majors() {
        // Shown only when the story fails: the last such line says where.
        eprintln!("on PostgreSQL {major}");
        let db = with_the_role(major).await;
        let program = Pgtend::new(&format!(
            "[databases.main]\nurl = \"{}\"\n[stores.local.directory]\npath = \"store\"\n[jobs.it.{kind}]\n{keys}\n",
            db.url_as("pgtend")
        ));
        let found = program.run(["check"]).await.exits(1).stdout;
        assert!(found.contains("GRANT") || found.contains("BYPASSRLS"), "{kind}, {major}: {found}");
        let grants = blocks(section, major);
        assert!(!grants.is_empty(), "{section} has nothing for {major}");
        for grant in &grants {
            db.execute(grant).await;
        }
        program.run(["check"]).await.exits(0);
        let record = program.run(["run", "it", "--json"]).await.exits(0).json().remove(0);
        assert_eq!((&record["outcome"], db.count("pgtend.run").await), (&"succeeded".into(), 1), "{record}");
        done(&db, &record["details"]).await;
    }
}

#[tokio::test]
async fn the_grants_for_expire_are_enough() {
    let keys = "tables = [{ table = \"public.sessions\", column = \"expires_at\" }]";
    is_enough("expire", "### expire", keys, async |db, details| {
        assert_eq!((details["rows_deleted"].as_i64(), db.count("public.sessions").await), (Some(5), 4), "{details}");
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_retention_of_rows_are_enough() {
    let keys = "tables = [{ table = \"public.audit_logs\", keep = \"18 months\", column = \"created_at\", action = \"archive\", \
                to = \"archive.audit_logs\" }]";
    is_enough("retention", "### retention of rows", keys, async |db, details| {
        assert_eq!(
            (details["rows_archived"].as_i64(), db.count("archive.audit_logs").await),
            (Some(2), 2),
            "{details}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_retention_of_partitions_are_enough() {
    let keys = "tables = [{ table = \"public.events\", keep = \"12 months\" }]";
    is_enough("retention", "### partitions, and retention of partitions", keys, async |_, details| {
        assert_eq!(details["partitions_dropped"], 2, "{details}");
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_partitions_are_enough() {
    let keys = "tables = [{ table = \"public.events\", every = \"1 month\", ahead = 2 }]";
    is_enough("partitions", "### partitions, and retention of partitions", keys, async |db, details| {
        assert!(details["partitions_created"].as_i64() > Some(0), "{details}");
        let others = "pg_class WHERE relname LIKE 'events%' AND relowner <> 'app'::regrole";
        assert_eq!(db.count(others).await, 0);
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_refresh_are_enough() {
    is_enough("refresh", "### refresh", "views = [\"reports.daily_totals\"]", async |_, details| {
        assert_eq!(details["views_refreshed"], 1, "{details}");
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_vacuum_are_enough() {
    is_enough("vacuum", "### vacuum and analyze", "tables = [\"public.*\"]\nanalyze = true", async |_, details| {
        assert!(details["tables_vacuumed"].as_i64() > Some(5), "{details}");
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_health_are_enough() {
    is_enough("health", "### health", "", async |_, details| {
        assert!(details["collected"].to_string().contains("long_transactions"), "{details}");
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_backup_are_enough() {
    is_enough("backup", "### backup", "to = [{ store = \"local\" }]", async |_, details| {
        assert!(details["targets"][0]["verified_at"].is_string(), "{details}");
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_summarize_are_enough() {
    let keys = "table = \"public.error_log\"\ninto = \"public.error_log_summary\"\nolder_than = \"90 days\"\n\
                time = \"created_at\"\ndate = \"date\"\nby = [\"category\"]\ncount = \"count\"";
    is_enough("summarize", "### summarize", keys, async |db, details| {
        assert_eq!(
            (details["rows_summarized"].as_i64(), db.count("public.error_log").await),
            (Some(4), 0),
            "{details}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_grants_for_verify_chain_are_enough() {
    let keys = "table = \"public.audit_chain\"\norder_by = \"id\"\nhash = \"hash\"\nprevious = \"previous\"";
    is_enough("verify_chain", "### verify_chain", keys, async |_, details| assert_eq!(details["rows"], 2, "{details}"))
        .await;
}

/// Two entries for one database, as two roles, of which one has made the history and the other may write it.
#[tokio::test]
async fn roles_that_are_kept_apart_share_the_history() {
    for major in majors() {
        eprintln!("on PostgreSQL {major}");
        let db = with_the_role(major).await;
        db.execute("DROP TABLE public.secrets").await;
        let program = Pgtend::new(&format!(
            "[databases.app]\nurl = \"{}\"\n[databases.app-backup]\nurl = \"{}\"\n\
             [stores.local.directory]\npath = \"store\"\n\
             [jobs.first]\ndatabase = \"app\"\n[jobs.first.sql]\nstatements = [\"SELECT 1\"]\n\
             [jobs.nightly]\ndatabase = \"app-backup\"\n[jobs.nightly.backup]\nto = [{{ store = \"local\" }}]\n",
            db.url_as("pgtend"),
            db.url_as("pgtend_backup")
        ));
        program.run(["run", "first"]).await.exits(0);
        for block in blocks("## What a stolen daemon could do", major) {
            db.execute(&block).await;
        }
        program.run(["check"]).await.exits(0);
        program.run(["run", "nightly"]).await.exits(0);
        assert_eq!(db.outcomes("nightly").await, ["succeeded"]);
    }
}
