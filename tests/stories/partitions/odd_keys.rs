//! Keys that the server writes otherwise than we do.

use super::run::{partitions, planned, run, tending};
use crate::support::{Database, Pgtend, on_each_major};

/// Each makes its two partitions, and knows them again.
#[tokio::test(flavor = "multi_thread")]
async fn padded_texts_and_numbers_with_decimals_are_known_again() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE padded (k char(10)) PARTITION BY LIST (k);
             CREATE TABLE ranged (k char(10) COLLATE \"C\") PARTITION BY RANGE (k);
             CREATE TABLE decimal (k numeric(8, 2)) PARTITION BY RANGE (k);
             CREATE TABLE seconds (k numeric(14, 3)) PARTITION BY RANGE (k);
             CREATE DOMAIN month AS char(8); CREATE DOMAIN own_month AS month CHECK (VALUE <> '');
             CREATE TABLE domains (k own_month) PARTITION BY LIST (k);",
        )
        .await;
        let formats =
            [("padded", "%Y-%m"), ("ranged", "%Y_%m"), ("decimal", "%Y%m"), ("seconds", "epoch"), ("domains", "%Y-%m")];
        let tables =
            formats.map(|(table, format)| format!("{{ table = '{table}', ahead = 1, key_format = '{format}' }}"));
        let program = tending(&db, &tables.join(", "));
        let (output, record) = run(&program).await;
        output.exits(0);
        assert_eq!(record["details"]["partitions_created"], 10);
        assert_eq!(planned(&program).await, [""; 0]);
        for (table, _) in formats {
            assert_eq!(partitions(&db, table).await.len(), 2, "{table}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_longer_than_the_key_is_seen_before_anything_is_tried() {
    on_each_major(async |db| {
        db.execute("CREATE TABLE short (k varchar(4)) PARTITION BY LIST (k)").await;
        let program = tending(&db, "{ table = 'short', key_format = '%Y-%m' }");
        assert_eq!(planned(&program).await, ["refuse public.short"]);
    })
    .await;
}

/// The role of the job comes to the domain only by being the owner of the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_in_a_schema_of_the_owners_is_no_obstacle() {
    on_each_major(async |db| {
        let (owner, member) = (format!("{}_owner", super::prefix(&db)), format!("{}_member", super::prefix(&db)));
        db.execute(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {member} LOGIN NOINHERIT IN ROLE {owner};
             CREATE SCHEMA private AUTHORIZATION {owner}; SET ROLE {owner}; CREATE DOMAIN private.day AS date;
             CREATE TABLE private.log (at private.day) PARTITION BY RANGE (at);"
        ))
        .await;
        let cx = super::context_as(&db, &member);
        let mut july = super::july(&cx, "private.log").await;
        july.bound = pgtend::kinds::partitions::facts::NewBound::Range {
            from: "2026-07-01".into(),
            to: "2026-08-01".into(),
            columns: 1,
        };
        super::make(&cx, &july).await;
        db.execute(&format!("DROP OWNED BY {owner}; DROP ROLE {member}; DROP ROLE {owner}")).await;
    })
    .await;
}

/// A year that is a table of the job itself is filled up to its end, and no further.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_table_is_filled_to_its_own_bound() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE events (kind text, at date) PARTITION BY RANGE (at);
             CREATE TABLE part (at date, kind text) PARTITION BY RANGE (at);
             DO $$ BEGIN EXECUTE format('ALTER TABLE events ATTACH PARTITION part FOR VALUES FROM (%L) TO (%L)',
                           date_trunc('month', now() AT TIME ZONE 'UTC')::date,
                           (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months')::date); END $$;
             CREATE TABLE kinds (kind text, at date) PARTITION BY LIST (kind);
             CREATE TABLE pages PARTITION OF kinds FOR VALUES IN ('page') PARTITION BY RANGE (at);",
        )
        .await;
        let program = tending(&db, "{ table = 'part', ahead = 5, behind = 5 }, { table = 'pages', ahead = 5 }");
        run(&program).await.0.exits(0);
        assert_eq!((partitions(&db, "part").await.len(), partitions(&db, "pages").await.len()), (2, 6));
        assert_eq!(planned(&program).await, [""; 0]);
    })
    .await;
}

/// The server counts the bytes of its own encoding: 40 letters here are 80 bytes in ours.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_longer_in_our_encoding_than_in_the_servers_spoil_nothing() {
    on_each_major(async |db| {
        let name = format!("{}_latin", super::prefix(&db));
        db.execute(&format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")).await;
        let latin = Database::named(db.cluster().clone(), &name);
        let long = "ü".repeat(40);
        latin
            .execute(&format!(
                "CREATE TABLE events (at date) PARTITION BY RANGE (at); CREATE TABLE grüße (at date) PARTITION BY RANGE (at);
                 CREATE TABLE {long} PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
                 CREATE TABLE {long}_rest PARTITION OF events DEFAULT; INSERT INTO events VALUES (now());"
            ))
            .await;
        let program = tending(&latin, "{ table = 'events', ahead = 1 }, { table = 'grüße', ahead = 1 }");
        run(&program).await.0.exits(0);
        assert_eq!((partitions(&latin, "events").await.len(), partitions(&latin, "grüße").await.len()), (3, 2));
        assert_eq!(latin.count(&format!("{long}_rest")).await, 0);
        latin
            .execute(&format!(
                "CREATE SCHEMA {long}; CREATE TABLE {long}.{long} ({long} int PRIMARY KEY, at timestamptz);
                 CREATE TABLE rows (id int PRIMARY KEY, at timestamptz); CREATE TABLE {long}_child () INHERITS (rows);
                 CREATE TABLE {long}_ref ({long} int REFERENCES rows); INSERT INTO {long}_child VALUES (1, '2020-01-01Z')"
            ))
            .await;
        let jobs = "[stores.local.directory]\npath = 'store'\n[jobs.expire.expire]\ntables = [{ table = 'rows', column = 'at' }]\n\
                    [jobs.retention.retention]\ntables = [{ table = 'events', keep = '1 year', export = 'local' }]\n\
                    [jobs.vacuum.vacuum]\ntables = ['*.*']\n[jobs.backup.backup]\nto = [{ store = 'local' }]\nrow_counts = true\n";
        let program = Pgtend::tending(&latin, jobs);
        program.run(["check"]).await.exits(0);
        program.run(["run", "expire", "retention", "vacuum", "backup"]).await.exits(0);
        assert_eq!(latin.count(&format!("{long}_child")).await, 0);
    })
    .await;
}
