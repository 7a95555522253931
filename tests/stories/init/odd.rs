//! Databases that no application has, roles that may do little, and passwords.

use super::Proposed;
use crate::support::{Cluster, Database, Pgtend, newest_major, on_each_major};

/// With capitals, a space, quotes, Greek letters, a line break, what would be a variable, and what would be a job.
const WILD: &str = "Se\"ss'ions λ\n[jobs.evil.command]\ncommand = ['sh'] # ${HOME} $${x}";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test]
async fn whatever_things_are_called_the_config_means_them() {
    on_each_major(async |db| {
        let (wild, schema) = (quoted(WILD), quoted("My Schema\n"));
        let months = "SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY-MM')
                      FROM generate_series(0, 2) AS n";
        let months: Vec<String> = db.column(months).await;
        let [this, next, after] = &months[..] else { panic!("{months:?}") };
        let (p, q) = (this.replace('-', "_"), next.replace('-', "_"));
        db.execute(&format!(
            "CREATE SCHEMA {schema};
             CREATE TABLE {schema}.{wild} (id uuid, \"At $ {{}}\" timestamptz NOT NULL) PARTITION BY RANGE (\"At $ {{}}\");
             CREATE TABLE {schema}.\"p {p}\" PARTITION OF {schema}.{wild} FOR VALUES FROM ('{this}-01 UTC') TO ('{next}-01 UTC');
             CREATE TABLE {schema}.\"p {q}\" PARTITION OF {schema}.{wild} FOR VALUES FROM ('{next}-01 UTC') TO ('{after}-01 UTC');
             CREATE MATERIALIZED VIEW {schema}.{view} AS SELECT 1 AS \"One\";
             CREATE UNIQUE INDEX ON {schema}.{view} (\"One\");
             CREATE SCHEMA \"Web\";
             CREATE TABLE \"Web\".\"userSessions\" (id uuid PRIMARY KEY, \"sessionToken\" text NOT NULL, \"expiresAt\" timestamptz NOT NULL);
             INSERT INTO \"Web\".\"userSessions\" VALUES (gen_random_uuid(), 'a', now() - interval '1 year'), (gen_random_uuid(), 'b', now());",
            view = quoted(&format!("{}v", &WILD[..40])),
        ))
        .await;
        let proposed = Proposed::of(&db).await;
        proposed.is_sound().await;
        assert_eq!(proposed.jobs(), ["partitions", "sessions", "statistics", "views"], "{}", proposed.text);
        let jobs = proposed.jobs();
        proposed.program.run(["run"].into_iter().chain(jobs)).await.exits(0);
        assert_eq!(db.count("pg_class WHERE relname LIKE 'p 20%' AND relkind = 'r' AND relispartition").await, 13);
        let left: Vec<String> = db.column("SELECT \"sessionToken\" FROM \"Web\".\"userSessions\"").await;
        assert_eq!(left, ["b"]);
        // The same again is the same, but for what time brings along.
        let again = Proposed::of(&db).await;
        assert_eq!(again.on, proposed.on);
    })
    .await;
}

#[tokio::test]
async fn an_empty_database_has_nothing_to_tend() {
    on_each_major(async |db| {
        let proposed = Proposed::of(&db).await;
        proposed.is_sound().await;
        assert_eq!(proposed.jobs(), [""; 0]);
        let jobs = proposed.all["jobs"].as_table().unwrap().keys().filter(|job| *job != "health");
        assert_eq!(jobs.collect::<Vec<_>>(), ["backup"]);
    })
    .await;
}

#[tokio::test]
async fn partitions_of_another_zone_are_made_in_it() {
    on_each_major(async |db| {
        // The server's own zone is none that anybody expects.
        db.execute(
            "CREATE TABLE events (at timestamptz NOT NULL) PARTITION BY RANGE (at);
             CREATE TABLE events_2026_09 PARTITION OF events FOR VALUES FROM ('2026-09-01') TO ('2026-10-01');
             CREATE TABLE events_2026_10 PARTITION OF events FOR VALUES FROM ('2026-10-01') TO ('2026-11-01');
             CREATE TABLE by_hash (id int) PARTITION BY HASH (id);
             CREATE TABLE by_range (id bigint) PARTITION BY RANGE (id);
             CREATE TABLE by_range_1 PARTITION OF by_range FOR VALUES FROM (0) TO (1000000)",
        )
        .await;
        let proposed = Proposed::of(&db).await;
        proposed.program.run(["run", "partitions"]).await.exits(0);
        proposed.is_sound().await;
        let row = &proposed.on["jobs"]["partitions"]["partitions"]["tables"][0];
        assert_eq!(row["timezone"].as_str(), Some("Australia/Lord_Howe"), "{}", proposed.text);
        assert!(
            proposed.says("public.by_hash is left out: it is partitioned by HASH (id): hash partitions follow no time")
        );
        assert!(proposed.says("public.by_range is left out"), "{}", proposed.text);
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_do_little_is_told_what_it_did_not_see() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "60")]);
        db.execute(
            "CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint, schedule text, command text, nodename text, nodeport int,
                 database text, username text, active boolean, jobname name)",
        )
        .await;
        let role = format!("s{}_stranger", db.name().split('_').next().unwrap());
        db.execute(&format!("CREATE ROLE {role} LOGIN")).await;
        let proposed = Proposed::by(&db, &db.url_as(&role)).await;
        proposed.program.run(["check", "--offline"]).await.exits(0);
        assert!(proposed.says("What it holds could not be read: ERROR: permission denied for table data_retention_policies"));
        assert!(proposed.says("not all of its jobs could be seen: this role may not read cron.job"), "{}", proposed.text);
        assert!(proposed.says(&format!("What role {role} lacks for what is switched on:")));
        assert!(proposed.says(&format!("GRANT SELECT, UPDATE, DELETE ON \"public\".\"sessions\" TO \"{role}\";")), "{}", proposed.text);
        assert!(proposed.says(&format!("GRANT \"postgres\" TO \"{role}\"")), "{}", proposed.text);
        // It lacks what it said, and check says so too.
        proposed.program.run(["check"]).await.exits(1);
        db.execute(&format!("DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_for_a_look() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "60")]);
        // Every table is locked against everybody, and the look goes on.
        let client = db.client().await;
        let tables: Vec<String> =
            db.column("SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'").await;
        client
            .batch_execute(&format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", ")))
            .await
            .unwrap();
        let proposed = Proposed::of(&db).await;
        assert_eq!(proposed.jobs(), ["partitions", "sessions", "statistics"]);
        client.batch_execute("ROLLBACK").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn without_a_url_it_goes_where_psql_would_and_prints_no_password() {
    let cluster = Cluster::with_tcp(newest_major(), &[]);
    let db = cluster.database().await;
    let program = Pgtend::new("").env("PGHOST", "127.0.0.1").env("PGPORT", &cluster.port().to_string());
    let program = program.env("PGUSER", "postgres").env("PGDATABASE", db.name()).env("PGPASSWORD", "hunter2");
    let output = program.run(["init"]).await.exits(0);
    let url = format!("url = \"postgresql://postgres@127.0.0.1:{}/{}\"", cluster.port(), db.name());
    assert!(output.stdout.contains(&url), "{}", output.stdout);
    assert!(
        !output.stdout.contains("hunter2") && output.stdout.contains("The password came from PGPASSWORD"),
        "{}",
        output.stdout
    );

    let url = format!("postgresql://postgres:hunter2@127.0.0.1:{}/{}", cluster.port(), db.name());
    let output = Pgtend::new("").run(["init", "--database-url", &url]).await.exits(0);
    assert!(
        !output.stdout.contains("hunter2") && output.stdout.contains("The password came from the URL"),
        "{}",
        output.stdout
    );

    let file = program.file("pw", "hunter2");
    let output = program.run(["init", "--password-file", file.to_str().unwrap()]).await.exits(0);
    assert!(output.stdout.contains(&format!("\npassword_file = \"{}\"", file.display())), "{}", output.stdout);
    assert!(!output.stdout.contains("hunter2"));
}

#[tokio::test]
async fn what_cannot_be_reached_is_a_failure_and_what_is_no_url_a_misuse() {
    let cluster = Cluster::stopped(newest_major(), &[]);
    let db = Database::named(cluster, "postgres");
    let program = Pgtend::new("");
    let output = program.run(["init", "--database-url", &db.url()]).await.exits(1);
    assert_eq!(output.stdout, "");
    let output = program.run(["init", "--database-url", "postgresql://a:hunter2@@h/db"]).await.exits(2);
    assert!(output.stdout.is_empty() && !output.stderr.contains("hunter2"), "{}", output.stderr);
}
