//! What a new partition is like.

use pgtend::kinds::Applied;
use pgtend::kinds::partitions::create::create;
use pgtend::kinds::partitions::facts::NewBound;
use pgtend::run::Counted;

use super::{context, context_as, july, make, partition, prefix, refused};
use crate::support::{Database, on_each_major};

/// `query` gives the same for both tables, whose names it has as `$1`.
async fn alike(db: &Database, query: &str, one: &str, other: &str) {
    let client = db.client().await;
    let (a, b) = (client.query(query, &[&one]).await.unwrap(), client.query(query, &[&other]).await.unwrap());
    let texts = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
    let (a, b) = (texts(a), texts(b));
    assert!(!a.is_empty(), "{query}");
    assert_eq!(a, b, "{query}");
}

const EVENTS: &str = "
    CREATE TABLE events (
        id bigint GENERATED ALWAYS AS IDENTITY,
        at timestamptz NOT NULL,
        dropped int,
        kind text COLLATE \"C\" NOT NULL DEFAULT 'page' CHECK (kind <> ''),
        body text,
        length int GENERATED ALWAYS AS (length(body)) STORED,
        PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at);
    ALTER TABLE events DROP COLUMN dropped;
    ALTER TABLE events ALTER body SET STORAGE EXTERNAL, ALTER kind SET STATISTICS 500;
    ALTER TABLE ONLY events ALTER kind SET (n_distinct = 12);
    CREATE INDEX events_kind ON events (kind) WITH (fillfactor = 60);
    CREATE UNIQUE INDEX events_once ON events (kind, at) INCLUDE (id);
    CREATE STATISTICS events_stats ON kind, length FROM events;
    COMMENT ON TABLE events IS 'what happened, it''s all here';
    COMMENT ON COLUMN events.kind IS 'of what kind';";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_is_like_its_parent_and_its_siblings() {
    on_each_major(async |db| {
        let role = prefix(&db);
        db.execute(&format!(
            "CREATE ROLE {role}_owner; CREATE ROLE {role}_reader; CREATE ROLE {role}_writer;
             GRANT CREATE ON SCHEMA public TO {role}_owner; SET ROLE {role}_owner; {EVENTS}
             CREATE TABLE events_2026_06 PARTITION OF events FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z')
                WITH (fillfactor = 70, autovacuum_enabled = off, toast.autovacuum_enabled = off);
             GRANT SELECT ON events TO {role}_reader, PUBLIC; GRANT SELECT, INSERT ON events TO {role}_writer WITH GRANT OPTION;
             GRANT UPDATE (kind, body) ON events TO {role}_writer; REVOKE TRUNCATE ON events FROM {role}_owner;
             ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO {role}_writer;
             ALTER TABLE events REPLICA IDENTITY USING INDEX events_once;
             ALTER TABLE events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             CREATE POLICY pages ON events FOR SELECT TO {role}_reader USING (kind = 'page');
             CREATE POLICY own ON events AS RESTRICTIVE USING (true) WITH CHECK (kind <> 'secret');"
        ))
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        assert_eq!(cx.report.snapshot().warnings, Vec::<String>::new());
        assert_eq!(cx.report.snapshot().counts[&(Counted::PartitionsCreated, "public.events".into())], 1);

        let both = async |query: &str, other: &str| alike(&db, query, other, "events_2026_07").await;
        both("SELECT format('%s %s %s', relowner, relforcerowsecurity, relrowsecurity) FROM pg_class WHERE oid = $1::text::regclass", "events").await;
        both("SELECT format('%s %s %s', grantee, privilege_type, is_grantable) FROM pg_class, aclexplode(relacl) WHERE oid = $1::text::regclass ORDER BY 1", "events").await;
        both("SELECT format('%s %s %s', attname, storage, comment) FROM (SELECT attname, attstorage::text || attstattarget || coalesce(attoptions::text, '') || coalesce(attacl::text, '') || attnotnull || attcollation || attgenerated::text AS storage, coalesce(col_description(attrelid, attnum), '') AS comment FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped) a ORDER BY 1", "events").await;
        both("SELECT obj_description($1::text::regclass)", "events").await;
        both("SELECT format('%s %s %s %s', polname, polpermissive, polcmd, polroles) || coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') FROM pg_policy WHERE polrelid = $1::text::regclass ORDER BY 1", "events").await;
        both("SELECT c.reloptions::text || t.reloptions::text FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = $1::text::regclass", "events_2026_06").await;
        both("SELECT regexp_replace(pg_get_indexdef(indexrelid), 'INDEX .* USING', '') FROM pg_index WHERE indrelid = $1::text::regclass ORDER BY 1", "events_2026_06").await;
        let identity: String = db.scalar("SELECT relreplident::text || pg_get_indexdef(indexrelid) FROM pg_class c JOIN pg_index ON indrelid = c.oid AND indisreplident WHERE c.oid = 'events_2026_07'::regclass").await;
        assert!(identity.starts_with('i') && identity.contains("(kind, at) INCLUDE (id)"), "{identity}");
        assert_eq!(db.count("pg_statistic_ext WHERE stxrelid = 'events_2026_07'::regclass").await, 1);
        // Every index is part of the parent's, so that the parent's is usable and nothing is twice.
        assert_eq!(db.count("pg_index i WHERE indrelid = 'events_2026_07'::regclass AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid)").await, 0);

        // Identity and generated columns work, through the parent.
        db.execute("INSERT INTO events (at, body) VALUES ('2026-07-02Z', 'four'), ('2026-06-02Z', 'four')").await;
        assert_eq!(db.count("events WHERE id > 0 AND length = 4").await, 2);
        assert_eq!(db.count("events_2026_07").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlogged_table_in_a_tablespace_gets_unlogged_partitions_there() {
    on_each_major(async |db| {
        let space = format!("{}_space", prefix(&db));
        db.client().await.batch_execute("SET allow_in_place_tablespaces = on").await.unwrap();
        db.execute("CREATE TABLE events (at timestamptz) PARTITION BY RANGE (at); CREATE UNLOGGED TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z')").await;
        let client = db.client().await;
        client.batch_execute("SET allow_in_place_tablespaces = on").await.unwrap();
        client.batch_execute(&format!("CREATE TABLESPACE {space} LOCATION ''")).await.unwrap();
        let cx = context(&db);
        let mut partition = july(&cx, "events").await;
        partition.tablespace = Some(space.parse().unwrap());
        make(&cx, &partition).await;
        let found: String = db.scalar("SELECT relpersistence::text || spcname FROM pg_class JOIN pg_tablespace s ON s.oid = reltablespace WHERE relname = 'events_2026_07'").await;
        assert_eq!(found, format!("u{space}"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_name_that_postgresql_takes_will_do() {
    let long = "ω".repeat(31) + "x";
    on_each_major(async |db| {
        for (table, name) in [
            ("Events \"2\"", "Events \"2\"; DROP TABLE x"),
            ("συμβάντα", "συμβάντα_2026"),
            ("e", &long),
            ("it's", "it's\\"),
        ] {
            let quoted = table.replace('"', "\"\"");
            db.execute(&format!("CREATE TABLE \"{quoted}\" (\"A t\" timestamptz) PARTITION BY RANGE (\"A t\")")).await;
            let cx = context(&db);
            let partition = partition(&cx, &format!("\"{quoted}\""), name, "2026-07-01", "2026-08-01").await;
            make(&cx, &partition).await;
            db.execute(&format!("INSERT INTO \"{quoted}\" VALUES ('2026-07-31 23:59Z')")).await;
            assert_eq!(db.count(&partition.name.to_string()).await, 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_kinds_and_of_several_columns() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE several (at timestamptz, tenant int, name text, PRIMARY KEY (at, tenant, name)) PARTITION BY RANGE (at, tenant, name);
             CREATE TABLE months (month text COLLATE \"C\") PARTITION BY LIST (month);
             CREATE TABLE numbers (n numeric(20, 2)) PARTITION BY RANGE (n);",
        )
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "several").await).await;
        let bound: String = db.scalar("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'several_2026_07'").await;
        assert_eq!(bound.matches("MINVALUE").count(), 4, "{bound}");
        let mut list = july(&cx, "months").await;
        list.bound = NewBound::List(vec!["2026-07".into(), "it's".into()]);
        make(&cx, &list).await;
        db.execute("INSERT INTO months VALUES ('2026-07'), ('it''s')").await;
        let mut numeric = july(&cx, "numbers").await;
        numeric.bound = NewBound::Range { from: "202607".into(), to: "202608".into(), columns: 1 };
        make(&cx, &numeric).await;
        assert_eq!(create(&cx, &numeric).await.unwrap(), Applied::Done, "it is there, as the catalog shows");
        assert_eq!(cx.report.snapshot().total(Counted::PartitionsCreated), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_hold_for_the_new_partitions_of_both_tables() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "100"), ("now", "2026-06-15 12:00Z")]);
        let cx = context(&db);
        for table in ["test_runs", "test_results"] {
            let name = format!("{table}_2026_08");
            make(&cx, &partition(&cx, table, &name, "2026-08-01", "2026-09-01").await).await;
        }
        db.execute(
            "INSERT INTO test_runs (id, team_id, total_tests, created_at) SELECT gen_random_uuid(), id, 1, '2026-08-03Z' FROM teams LIMIT 1;
             INSERT INTO test_results (test_run_id, created_at, test_name, status) SELECT id, created_at, 'works', 'passed' FROM test_runs_2026_08;",
        )
        .await;
        let client = db.client().await;
        let orphan = "INSERT INTO test_results (test_run_id, created_at, test_name, status) VALUES (gen_random_uuid(), '2026-08-03Z', 'x', 'x')";
        assert_eq!(client.batch_execute(orphan).await.unwrap_err().code().unwrap().code(), "23503");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_the_owner_is_enough_and_the_owner_owns() {
    on_each_major(async |db| {
        let role = prefix(&db);
        db.execute(&format!(
            "CREATE ROLE {role}_owner; CREATE ROLE {role}_tender LOGIN NOINHERIT; GRANT {role}_owner TO {role}_tender;
             GRANT CREATE ON SCHEMA public TO {role}_owner; SET ROLE {role}_owner;
             CREATE TABLE events (at timestamptz) PARTITION BY RANGE (at);
             CREATE TABLE events_rest PARTITION OF events DEFAULT; INSERT INTO events VALUES ('2026-07-03Z');"
        ))
        .await;
        let cx = context_as(&db, &format!("{role}_tender"));
        make(&cx, &july(&cx, "events").await).await;
        let owner: String =
            db.scalar("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'events_2026_07'").await;
        assert_eq!(owner, format!("{role}_owner"));
        db.execute(&format!("CREATE ROLE {role}_stranger LOGIN")).await;
        let stranger = context_as(&db, &format!("{role}_stranger"));
        let error = refused(&stranger, &partition(&cx, "events", "events_x", "2026-08-01", "2026-09-01").await).await;
        assert!(error.contains("42501"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_leaves_nothing_behind_and_says_why() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE deep (at timestamptz, kind text) PARTITION BY RANGE (at);
             CREATE TABLE deep_1 PARTITION OF deep FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z') PARTITION BY LIST (kind);
             CREATE TABLE wide (at timestamptz) PARTITION BY RANGE (at);
             CREATE TABLE wide_all PARTITION OF wide FOR VALUES FROM ('2026-06-01Z') TO (MAXVALUE);
             CREATE TABLE taken (at timestamptz) PARTITION BY RANGE (at); CREATE VIEW taken_2026_07 AS SELECT 1;",
        )
        .await;
        let cx = context(&db);
        let error = refused(&cx, &july(&cx, "deep").await).await;
        assert!(error.contains("partitioned themselves"), "{error}");
        let error = refused(&cx, &july(&cx, "wide").await).await;
        assert!(error.contains("42P17") && error.contains("wide_all"), "{error}");
        let error = refused(&cx, &july(&cx, "taken").await).await;
        assert!(error.contains("42P07") && error.contains("taken_2026_07"), "{error}");
        assert_eq!(db.count("pg_class WHERE relname IN ('deep_2026_07', 'wide_2026_07')").await, 0);
        assert_eq!(cx.report.snapshot().total(Counted::PartitionsCreated), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sibling_has_of_its_own_goes_before_what_the_parent_has() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} CREATE TABLE events_2026_05 PARTITION OF events FOR VALUES FROM ('2026-05-01Z') TO ('2026-06-01Z');
             CREATE TABLE events_2026_06 PARTITION OF events FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z');
             ALTER TABLE events REPLICA IDENTITY NOTHING; ALTER TABLE events_2026_06 REPLICA IDENTITY FULL;
             CREATE POLICY own ON events_2026_06 USING (kind = 'page'); ALTER TABLE events_2026_06 ENABLE ROW LEVEL SECURITY;"
        ))
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        let found: String = db.scalar("SELECT relreplident::text || relrowsecurity || relforcerowsecurity || polname FROM pg_class c JOIN pg_policy ON polrelid = c.oid WHERE relname = 'events_2026_07'").await;
        assert_eq!(found, "ftruefalseown");
    })
    .await;
}

/// An old month that was moved elsewhere and is a foreign table now has no replica identity, and no storage parameters.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_table_among_the_siblings_is_nothing_to_take_after() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE log (at timestamptz) PARTITION BY RANGE (at); ALTER TABLE log REPLICA IDENTITY FULL;
             CREATE TABLE log_6 PARTITION OF log FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z') WITH (fillfactor = 77);
             CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
             CREATE FOREIGN TABLE log_5 PARTITION OF log FOR VALUES FROM ('2026-05-01Z') TO ('2026-06-01Z') SERVER elsewhere;",
        )
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "log").await).await;
        let found: String = db
            .scalar("SELECT relreplident::text || array_to_string(reloptions, ' ') FROM pg_class WHERE relname = 'log_2026_07'")
            .await;
        assert_eq!(found, "ffillfactor=77");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_mean_nothing_to_another_table_leave_it_closed_and_not_unmade() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} CREATE TABLE kinds (kind text); ALTER TABLE events ENABLE ROW LEVEL SECURITY;
             CREATE POLICY a ON events USING (true);
             CREATE POLICY b ON events AS RESTRICTIVE USING (EXISTS (SELECT FROM kinds k WHERE k.kind = events.kind));"
        ))
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        let warnings = cx.report.snapshot().warnings;
        assert!(warnings[0].contains("public.events_2026_07 has row security without policies"), "{warnings:?}");
        assert!(db.scalar::<bool>("SELECT relrowsecurity FROM pg_class WHERE relname = 'events_2026_07'").await);
        assert_eq!(db.count("pg_policy WHERE polrelid = 'events_2026_07'::regclass").await, 0, "all of them or none");
    })
    .await;
}
