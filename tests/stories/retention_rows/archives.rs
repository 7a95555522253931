//! Archives: made where they are missing, taken as they are where they fit.

use super::*;

/// The rows of both places, as text, without what the archive has besides.
async fn all(db: &Database, tables: &[&str]) -> Vec<String> {
    let rows: Vec<_> =
        tables.iter().map(|table| format!("SELECT id, kind, size, twice, note, created_at FROM {table}")).collect();
    db.column(&format!("SELECT r::text FROM ({}) AS r ORDER BY id", rows.join(" UNION ALL "))).await
}

#[tokio::test]
async fn a_missing_archive_is_made_like_the_table_without_what_would_go_on_living() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        db.execute(
            "COMMENT ON COLUMN log.note IS 'for people';
             DO $$ BEGIN CREATE ROLE archive_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             GRANT SELECT ON log TO archive_reader;
             ALTER TABLE log ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON log FOR SELECT USING (size > 0);
             CREATE TABLE child (log_id bigint REFERENCES log);
             ALTER TABLE log ADD CONSTRAINT sized CHECK (size >= 0) NOT VALID",
        )
        .await;
        let before = all(&db, &["log"]).await;
        let program = Pgtend::tending(&db, &keeping(TO_ARCHIVE));
        program.run(["check"]).await.exits(0);
        let planned = plan(&program).await;
        assert!(planned[0].starts_with("archive_rows public.log: 30 rows are of before"), "{planned:?}");
        assert!(planned[0].contains("archive.log is made first, as \"postgres\", with the grants, row security"), "{planned:?}");
        assert_eq!(places(&db).await, (60, 0));

        assert_eq!(run(&program, 0).await["details"]["rows_archived"], 30);
        assert_eq!(places(&db).await, (30, 30));
        assert_eq!(all(&db, &["log", "archive.log"]).await, before, "each row as it was, in one of the two");
        assert_eq!(run(&program, 0).await["details"].get("rows_archived"), None);

        let facts = |sql: &str| format!("SELECT ({sql})::text FROM pg_class c WHERE c.oid = 'archive.log'::regclass");
        let fact = async |sql: &str| db.scalar::<Option<String>>(&facts(sql)).await.unwrap_or_default();
        assert_eq!(fact("SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND contype IN ('p', 'u', 'f', 'c')").await, "0");
        let living = "SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND (a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '')";
        assert_eq!(fact(living).await, "0");
        assert_eq!(fact("SELECT count(*) FROM pg_index WHERE indrelid = c.oid AND NOT indisunique").await, "2");
        assert_eq!(fact("c.relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)").await, "true");
        assert_eq!(fact("has_table_privilege('archive_reader', c.oid, 'SELECT')").await, "true");
        assert_eq!(fact("col_description(c.oid, (SELECT attnum FROM pg_attribute WHERE attrelid = c.oid AND attname = 'note'))").await, "for people");
    })
    .await;
}

#[tokio::test]
async fn columns_in_another_order_and_of_an_archives_own_are_no_trouble() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        // kind and note could be swapped without a word: both are text.
        db.execute(
            "CREATE TABLE archive.log (note varchar(40), archived_at timestamptz NOT NULL DEFAULT now(), created_at timestamptz,
                 kind text, twice int GENERATED ALWAYS AS (size * 2) STORED, size int,
                 id bigint GENERATED ALWAYS AS IDENTITY)",
        )
        .await;
        let before = all(&db, &["log"]).await;
        assert_eq!(run(&Pgtend::tending(&db, &keeping(TO_ARCHIVE)), 0).await["details"]["rows_archived"], 30);
        assert_eq!(all(&db, &["log", "archive.log"]).await, before);
    })
    .await;
}

#[tokio::test]
async fn an_archive_may_be_partitioned_and_without_a_partition_nothing_is_lost() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        db.execute(
            "CREATE TABLE archive.log (LIKE log) PARTITION BY RANGE (created_at);
             CREATE TABLE archive.log_old PARTITION OF archive.log FOR VALUES FROM (MINVALUE) TO ('2001-01-01')",
        )
        .await;
        let before = all(&db, &["log"]).await;
        let program = Pgtend::tending(&db, &keeping(TO_ARCHIVE));
        let record = run(&program, 1).await;
        let error = record["details"]["failures"][0]["error"].as_str().unwrap().to_owned();
        assert!(error.contains("move a batch of \"public\".\"log\" to \"archive\".\"log\""), "{error}");
        assert!(error.contains("23514"), "{error}");
        assert_eq!(places(&db).await, (60, 0));
        db.execute(
            "CREATE TABLE archive.log_new PARTITION OF archive.log FOR VALUES FROM ('2001-01-01') TO (MAXVALUE)",
        )
        .await;
        assert_eq!(run(&program, 0).await["details"]["rows_archived"], 30);
        assert_eq!(all(&db, &["log", "archive.log"]).await, before);
    })
    .await;
}

#[tokio::test]
async fn an_archive_that_keeps_rows_out_without_a_word_gets_none() {
    on_each_major(async |db| {
        db.execute(&log(60)).await;
        db.execute(
            "CREATE TABLE archive.log (LIKE log);
             CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER swallow BEFORE INSERT ON archive.log FOR EACH ROW WHEN (NEW.kind = 'note') EXECUTE FUNCTION swallow()",
        )
        .await;
        let record = run(&Pgtend::tending(&db, &keeping(TO_ARCHIVE)), 1).await;
        let error = record["details"]["failures"][0]["error"].as_str().unwrap();
        assert!(error.contains("fewer rows arrived than were sent"), "{error}");
        assert_eq!(places(&db).await, (60, 0));
    })
    .await;
}

/// A value would be rounded without a word, from the next batch on.
#[tokio::test]
async fn a_column_that_is_altered_between_two_batches_gets_no_rows() {
    on_each_major(async |db| {
        let batch = "batch = { rows = 3, pause = '0s' }\n";
        for altered in ["archive.log", "log"] {
            db.execute(&format!("DROP SCHEMA IF EXISTS archive CASCADE; DROP TABLE IF EXISTS log; {}", log(60))).await;
            // The wider one is the source, whichever of the two is altered.
            let (before, after) = if altered == "log" { (1, 2) } else { (2, 1) };
            db.execute(&format!(
                "ALTER TABLE log ADD price numeric(10,{before}); CREATE TABLE archive.log (LIKE log);
                 UPDATE log SET price = 1.2"
            ))
            .await;
            let (program, at) =
                Pgtend::tending(&db, &format!("{}{batch}", keeping(TO_ARCHIVE))).holding("batch.committed");
            let running = program.start(["run", "old", "--json"]);
            at.reached().await;
            db.execute(&format!(
                "ALTER TABLE {altered} ALTER price TYPE numeric(10,{after}); UPDATE log SET price = 1.2"
            ))
            .await;
            at.go_on();
            let record = running.wait().await.exits(1).json().remove(0);
            let error = record["details"]["failures"][0]["error"].as_str().unwrap();
            assert!(error.contains("a column of either table was altered since the run began"), "{error}");
            assert_eq!(places(&db).await, (57, 3), "{altered}");
            // The next run says which.
            let record = run(&Pgtend::tending(&db, &keeping(TO_ARCHIVE)), 1).await;
            assert!(record["details"]["failures"].to_string().contains("column \\\"price\\\" is numeric"), "{record}");
            assert_eq!(places(&db).await, (57, 3), "{altered}");
        }
    })
    .await;
}

#[tokio::test]
async fn names_that_need_quotes_are_names() {
    on_each_major(async |db| {
        let (schema, table, column) = ("\"Αρχείο \"\"1\"\"\"", format!("\"{}\"", "Ω".repeat(31)), "\"Made; at\"");
        db.execute(&format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {table} (\"I d\" int PRIMARY KEY, {column} date);
             INSERT INTO {table} SELECT n, (now() AT TIME ZONE 'UTC')::date - n FROM generate_series(1, 60) n"
        ))
        .await;
        let jobs = format!(
            "[jobs.old.retention]\ntables = [{{ table = '{table}', keep = '30 days', column = '{column}', action = 'archive', to = '{schema}.{table}' }}]\n"
        );
        let program = Pgtend::tending(&db, &jobs);
        program.run(["check"]).await.exits(0);
        // Of the day that is 30 days ago a part is not yet that old.
        assert_eq!(run(&program, 0).await["details"]["rows_archived"], 30);
        assert_eq!((db.count(&table).await, db.count(&format!("{schema}.{table}")).await), (30, 30));
    })
    .await;
}

/// A role that owns nothing, with no more rights than the docs ask for.
#[tokio::test]
async fn a_role_that_owns_nothing_makes_an_archive_that_the_owner_can_use() {
    on_each_major(async |db| {
        let name = db.name().to_owned();
        db.execute(&log(60)).await;
        db.execute(&format!(
            "CREATE ROLE \"{name} app\"; CREATE ROLE \"{name} tends\" LOGIN; ALTER TABLE log OWNER TO \"{name} app\";
             GRANT CREATE ON DATABASE \"{name}\" TO \"{name} tends\";
             GRANT SELECT, UPDATE, DELETE ON log TO \"{name} tends\""
        ))
        .await;
        let url = db.url_as(&format!("{name} tends").replace(' ', "%20"));
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{url}\"\n{}", keeping(TO_ARCHIVE)));
        let said = program.run(["check"]).await.exits(1);
        assert!(said.stdout.contains("GRANT USAGE ON SCHEMA \"archive\""), "{}", said.stdout);
        db.execute(&format!("GRANT USAGE, CREATE ON SCHEMA archive TO \"{name} tends\"")).await;
        program.run(["check"]).await.exits(0);
        assert_eq!(run(&program, 0).await["details"]["rows_archived"], 30);
        assert_eq!(places(&db).await, (30, 30));
        let may = format!("SELECT has_table_privilege('{name} app', 'archive.log', 'SELECT, DELETE')");
        assert!(db.scalar::<bool>(&may).await);
        db.execute("UPDATE log SET created_at = created_at - interval '1 year'").await;
        assert_eq!(run(&program, 0).await["details"]["rows_archived"], 30);
    })
    .await;
}
