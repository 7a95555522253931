//! What is exported, and that it is what was there.

use super::*;
use crate::support::s3::{Fault, Harm, Op, S3Server};

#[tokio::test]
async fn partitions_are_in_the_store_row_for_row_before_they_are_gone() {
    on_each_major(async |db| {
        db.execute(&months(3)).await;
        let program = exporting(&db, "");
        program.run(["check"]).await.exits(0);
        let plan = program.run(["plan", "retention", "--json"]).await.exits(0).json();
        let said: Vec<_> = plan.iter().map(|line| format!("{} {}", line["action"], line["target"])).collect();
        assert_eq!(said[..2], ["\"export_partition\" \"public.events_1\"", "\"drop_partition\" \"public.events_1\""]);
        assert!(files(&store(&program)).is_empty(), "a plan writes nothing");
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["partitions_dropped"], 3, "{record}");
        assert_eq!(record["details"]["exports"][0]["rows"], 3, "{record}");
        assert_eq!(db.count("events").await, 0);
        assert_eq!(exports(&store(&program)).len(), 3);
        nothing_is_lost(&db, &store(&program)).await;
        assert_eq!(run(&program, 0).await["details"].get("exports"), None, "the second run has nothing to do");
    })
    .await;
}

/// Types whose text is easily spoiled, and settings that change it.
#[tokio::test]
async fn every_value_comes_back_as_it_was_whatever_the_settings_of_the_role_are() {
    on_each_major(async |db| {
        db.execute(
            r#"CREATE TYPE "Mood" AS ENUM ('so so', 'a,b');
               CREATE TABLE "Ωdd ""Events""" (
                   at bigint NOT NULL, "a b" text, "Ω" bytea, f float8, n numeric, j jsonb, xs text[], m "Mood", d interval,
                   t timestamptz, w timestamp, day date, c char(5) COLLATE "C", twice bigint GENERATED ALWAYS AS (at * 2) STORED,
                   gone int, id bigint GENERATED ALWAYS AS IDENTITY, CHECK (n <> 5)
               ) PARTITION BY RANGE (at);
               ALTER TABLE "Ωdd ""Events""" DROP COLUMN gone;
               CREATE TABLE "old; DROP TABLE ""x""" PARTITION OF "Ωdd ""Events""" FOR VALUES FROM (1) TO (9) PARTITION BY LIST (at);
               CREATE TABLE one PARTITION OF "old; DROP TABLE ""x""" FOR VALUES IN (1);
               CREATE TABLE rest PARTITION OF "old; DROP TABLE ""x""" DEFAULT;
               CREATE TABLE now PARTITION OF "Ωdd ""Events""" FOR VALUES FROM (1000000000) TO (4000000000);
               INSERT INTO "Ωdd ""Events""" (at, "a b", "Ω", f, n, j, xs, m, d, t, w, day, c) VALUES
                   (1, E'tab\there\nline\\back\r', '\x00ff5c0a', 0.1 + 0.2, 'NaN', '{"a": "\n"}', ARRAY[NULL, 'NULL', '', '{"}'], 'a,b',
                    '1 mon -3 days 04:05:06.789', '2026-03-29 01:30:00+00', 'infinity', '0044-03-15 BC', 'x'),
                   (2, '\N', '', '-Infinity', 1.10, 'null', '{}', 'so so', '-1 year', '-infinity', '1999-12-31 23:59:59.999999', 'infinity', ''),
                   (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
                   (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
                   (8, '', '\x', '-0', 1e-20, '[1.0]', ARRAY[['a'],['b']], NULL, '0', '2026-01-01', '2026-01-01', '2026-01-01', 'Ω');
               CREATE TABLE saved AS SELECT * FROM "Ωdd ""Events""";
               DO $$ BEGIN
                   EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''', current_database());
                   EXECUTE format('ALTER DATABASE %I SET intervalstyle = ''iso_8601''', current_database());
                   EXECUTE format('ALTER DATABASE %I SET extra_float_digits = 0', current_database());
                   EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database());
                   EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kolkata''', current_database());
               END $$"#,
        )
        .await;
        let config = "[stores.offsite.directory]\npath = \"store\"\n[jobs.retention.retention]\n\
             tables = [{ table = '\"Ωdd \"\"Events\"\"\"', keep = \"1 year\", key_format = \"epoch\", export = \"offsite\" }]\n";
        let program = Pgtend::tending(&db, config);
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["partitions_dropped"], 1, "{record}");
        let all = exports(&store(&program));
        assert_eq!(all.len(), 1, "{all:?}");
        load(&db, &store(&program), &all[0]);
        let back = r#"SELECT * FROM "old; DROP TABLE ""x""""#;
        for (one, other) in [("SELECT * FROM saved", back), (back, "SELECT * FROM saved")] {
            // jsonb and the others have an order; row by row, as text too, since -0 equals 0.
            let text = |query: &str| format!("SELECT r::text FROM ({query}) AS r");
            assert_eq!(db.count(&format!("({} EXCEPT ALL {}) AS d", text(one), text(other))).await, 0);
        }
        assert_eq!(db.count(&format!("({back}) AS b")).await, 5);
    })
    .await;
}

#[tokio::test]
async fn a_store_that_does_not_give_back_what_it_got_keeps_the_partition_where_it_is() {
    on_each_major(async |db| {
        db.execute(&months(1)).await;
        for fault in [
            Fault::new(Op::Get, Harm::FlipByte(30)).always(),
            Fault::new(Op::Put, Harm::Refuse(403, "AccessDenied")).always(),
            Fault::new(Op::List, Harm::Refuse(403, "AccessDenied")).always(),
        ] {
            let server = S3Server::start();
            let config = format!(
                "[databases.main]\nurl = \"{}\"\n{}\n[jobs.retention.retention]\ntables = [{{ table = \"events\", keep = \"1 year\", \
                 key_format = \"epoch\", export = \"offsite\" }}]\n",
                db.url(),
                server.config("offsite")
            );
            let mut program = Pgtend::new(&config);
            for (name, value) in server.env() {
                program = program.env(name, value);
            }
            let said = format!("{fault:?}");
            server.fail(fault);
            let record = program.run(["run", "retention", "--json"]).await.json().remove(0);
            assert!(record["details"]["failures"].to_string().contains("events_1"), "{said}: {record}");
            assert_eq!(db.count("pg_inherits WHERE inhrelid = 'events_1'::regclass").await, 1, "{said}");
            assert_eq!(db.count("events").await, 3, "{said}");
        }
    })
    .await;
}

/// An owner under FORCE ROW LEVEL SECURITY sees fewer rows than there are.
#[tokio::test]
async fn rows_that_row_security_hides_are_not_left_out_without_a_word() {
    on_each_major(async |db| {
        db.execute(&months(1)).await;
        db.execute(
            "DROP ROLE IF EXISTS exporter; CREATE ROLE exporter LOGIN; GRANT ALL ON SCHEMA public TO exporter;
             DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO exporter', current_database()); END $$;
             ALTER TABLE events OWNER TO exporter; ALTER TABLE events_1 OWNER TO exporter; ALTER TABLE events_now OWNER TO exporter;
             ALTER TABLE events_1 ENABLE ROW LEVEL SECURITY; ALTER TABLE events_1 FORCE ROW LEVEL SECURITY;
             CREATE POLICY few ON events_1 USING (id = 1)",
        )
        .await;
        let program = exporting(&db, "");
        let config = std::fs::read_to_string(program.config()).unwrap();
        program.configure(&config.replace(&db.url(), &db.url_as("exporter")));
        let record = run(&program, 1).await;
        assert!(record.to_string().contains("events_1"), "{record}");
        assert_eq!(db.count("events").await, 3);
        assert_eq!(exports(&store(&program)).len(), 0);
        db.execute("DROP OWNED BY exporter; DROP ROLE exporter").await;
    })
    .await;
}

#[tokio::test]
async fn an_export_is_listed_and_restored_into_a_table() {
    on_each_major(async |db| {
        db.execute(&months(2)).await;
        let program = exporting(&db, "");
        run(&program, 0).await;
        let listed = program.run(["backup", "list", "--json"]).await.exits(0).json();
        assert_eq!(listed.len(), 2, "{listed:?}");
        let text = program.run(["backup", "list", "retention"]).await.exits(0).stdout;
        assert!(text.contains("public.events_1/") && !text.contains("no backups"), "{text}");
        let name =
            listed.iter().find(|line| line["partition"] == "public.events_1").unwrap()["export"].as_str().unwrap();
        let restore = ["backup", "restore", name, "--into", &db.url()];
        let said = program.run(restore).await.exits(0).stdout;
        assert!(said.contains("3 rows"), "{said}");
        let differs = "(SELECT * FROM saved WHERE at = 1 EXCEPT ALL SELECT * FROM events_1) AS d";
        assert_eq!((db.count(differs).await, db.count("events_1").await), (0, 3));
        // What is there is not added to, and a damaged one leaves nothing.
        program.run(restore).await.exits(1);
        assert_eq!(db.count("events_1").await, 3);
        db.execute("DROP TABLE events_1").await;
        let rows = store(&program).join("retention/exports").join(name).join("rows.copy.zst");
        let mut bytes = std::fs::read(&rows).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&rows, bytes).unwrap();
        program.run(restore).await.exits(1);
        assert!(db.scalar::<bool>("SELECT to_regclass('events_1') IS NULL").await);
        let unknown = ["backup", "restore", "public.events_9/2026-01-01T000000Z", "--into", &db.url()];
        assert!(program.run(unknown).await.exits(1).stderr.contains("there is no export"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_from_a_table_that_a_partition_refers_to_does_not_wait_while_that_is_read() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE devices (id bigint PRIMARY KEY); INSERT INTO devices SELECT generate_series(1, 9);
             CREATE TABLE rooms (id bigint PRIMARY KEY); INSERT INTO rooms SELECT generate_series(1, 9);",
        )
        .await;
        db.execute(&months(1)).await;
        // One of the whole table, and one that this partition alone has.
        db.execute(
            "ALTER TABLE events ADD FOREIGN KEY (id) REFERENCES devices;
             ALTER TABLE events_1 ADD FOREIGN KEY (id) REFERENCES rooms;",
        )
        .await;
        let (program, hold) = exporting(&db, "").holding("retention.drop");
        let running = program.start(["run", "retention", "--json"]);
        hold.reached().await;
        let application = db.client().await;
        application.batch_execute("SET lock_timeout = '2s'").await.unwrap();
        for table in ["devices", "rooms"] {
            let deleted = application.execute(&format!("DELETE FROM {table} WHERE id = 9"), &[]).await;
            assert_eq!(deleted.expect("waits for nobody"), 1);
        }
        hold.go_on();
        let record = running.wait().await.exits(0).json().remove(0);
        assert_eq!(record["details"]["partitions_dropped"], 1, "{record}");
    })
    .await;
}
