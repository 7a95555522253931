//! Each dump opens with the standard tools alone, and brings back every row.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{bin, setting};
use crate::support::{Database, on_each_major};

/// What a dump has to bring through: odd names, all kinds of values, partitions, large objects, a view, a function.
pub async fn odd_database(db: &Database) {
    db.execute(
        r#"
        create schema "Größe ""und"" Maß";
        create table "Größe ""und"" Maß"."Ελληνικά table" ("the key" int primary key, "Wert" text, raw bytea, n numeric, at timestamptz);
        insert into "Größe ""und"" Maß"."Ελληνικά table"
        select n, e'line\n\ttab \\ "quote" ''s Ω ' || n, decode(md5(n::text), 'hex'), n / 7.0, now() + n * interval '1 hour'
        from generate_series(1, 500) n;
        insert into "Größe ""und"" Maß"."Ελληνικά table" values (0, null, null, 'NaN', 'infinity');
        create table events (id bigint generated always as identity, at date not null, what text) partition by range (at);
        create table events_2026_01 partition of events for values from ('2026-01-01') to ('2026-02-01');
        create table events_rest partition of events default;
        insert into events (at, what) select date '2026-01-01' + n % 60, repeat('x', n) from generate_series(1, 300) n;
        create function twice(int) returns int language sql immutable return $1 * 2;
        create materialized view sums as select at, count(*) from events group by at;
        create sequence "Odd seq" start 41;
        select nextval('"Odd seq"');
        select lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));
        create table empty_one (a int);
        "#,
    )
    .await;
}

/// Everything in the database, as one text.
pub async fn fingerprint(db: &Database) -> String {
    let tables: Vec<String> = db
        .column(
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'm') and n.nspname !~ '^pg_|^information_schema$' order by 1",
        )
        .await;
    let mut all = String::new();
    for table in tables.iter().filter(|table| !table.starts_with("pgtend.")) {
        let digest: Option<String> =
            db.scalar(&format!("select md5(string_agg(t::text, e'\\n' order by t::text)) from {table} t")).await;
        all.push_str(&format!("{table} {digest:?}\n"));
    }
    let objects: Option<String> =
        db.scalar("select string_agg(md5(lo_get(oid)), ',' order by oid) from pg_largeobject_metadata").await;
    let sequence: i64 = db.scalar("select last_value from \"Odd seq\"").await;
    format!("{all}{objects:?} {sequence}")
}

/// Runs a line of shell, as the manual gives it, with this major's programs.
pub fn shell(db: &Database, line: &str, folder: &Path) {
    let path = format!("{}:/usr/bin:/bin", bin(db).display());
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-ec", line]).current_dir(folder).env("PATH", path).env("URL", db.url());
    let output = shell.output().expect("run a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {}\n{said}", output.status);
}

#[tokio::test]
async fn a_backup_is_restored_row_by_row_with_the_standard_tools_alone() {
    on_each_major(async |db| {
        odd_database(&db).await;
        let before = fingerprint(&db).await;
        // As the manual has them.
        let ways = [
            ("", "zstd -dc app.dump.zst | pg_restore --exit-on-error --dbname \"$URL\""),
            ("compression = \"gzip:6\"", "gzip -dc app.dump.gz | pg_restore --exit-on-error --dbname \"$URL\""),
            ("compression = \"none\"", "pg_restore --exit-on-error --dbname \"$URL\" app.dump"),
            ("format = \"plain\"", "zstd -dc app.sql.zst | psql -X -q -v ON_ERROR_STOP=1 \"$URL\""),
            (
                "format = \"plain\"\ncompression = \"gzip:1\"",
                "gzip -dc app.sql.gz | psql -X -q -v ON_ERROR_STOP=1 \"$URL\"",
            ),
        ];
        for (config, line) in ways {
            let setting = setting(&db, config);
            let run = setting.run(0).await;
            assert_eq!(run["outcome"], "succeeded", "{run}");
            let id = run["details"]["backup"].as_str().expect("an id");
            assert_eq!(setting.backups(), [id]);
            let scratch = db.cluster().database().await;
            shell(&scratch, line, &setting.folder(id));
            assert_eq!(fingerprint(&scratch).await, before, "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_manifest_says_all_that_is_needed_without_pgtend() {
    on_each_major(async |db| {
        odd_database(&db).await;
        let setting = setting(&db, "");
        let run = setting.run(0).await;
        let id = run["details"]["backup"].as_str().expect("an id").to_owned();
        let expect = ["app.dump.zst", "globals.sql.zst", "manifest.json", "verified.json"];
        let expect: Vec<_> = expect.iter().map(|name| format!("nightly/{id}/{name}")).collect();
        assert_eq!(setting.files(), expect);
        let manifest = setting.manifest(&id);
        assert_eq!(manifest["database"], db.name());
        assert_eq!(manifest["server_version"], db.cluster().version());
        assert_eq!(manifest["compression"], "zstd:1");
        let system: String = db.scalar("select system_identifier::text from pg_control_system()").await;
        assert_eq!(manifest["system_identifier"], system);
        // The digests are those that sha256sum says.
        for object in manifest["objects"].as_array().expect("a list") {
            let line = format!(
                "echo '{}  {}' | sha256sum -c -",
                object["sha256"].as_str().unwrap(),
                object["name"].as_str().unwrap()
            );
            shell(&db, &line, &setting.folder(&id));
        }
        let verified = super::json(&setting.folder(&id).join("verified.json"));
        assert_eq!((&verified["good"], &verified["id"]), (&json!(true), &json!(id)));
        assert!(verified["how"].as_str().unwrap().contains("pg_restore"), "{verified}");
        // Roles come first on a fresh cluster.
        shell(&db, "zstd -dc globals.sql.zst | grep -q 'CREATE ROLE postgres'", &setting.folder(&id));
        let target = &run["details"]["targets"][0];
        assert_eq!(
            (&target["store"], &target["error"], &target["backups"]),
            (&json!("local"), &json!(null), &json!(1))
        );
        assert!(run["details"]["raw_bytes"].as_u64() > run["details"]["bytes"].as_u64(), "{run}");
    })
    .await;
}

#[tokio::test]
async fn an_empty_database_is_a_backup_too() {
    on_each_major(async |db| {
        for config in ["", "format = \"plain\"\nglobals = false"] {
            let setting = setting(&db, config);
            let run = setting.run(0).await;
            assert_eq!(run["outcome"], "succeeded");
            assert_eq!(setting.backups().len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn names_in_the_config_are_meant_literally_and_with_their_partitions() {
    on_each_major(async |db| {
        db.execute(
            r#"
            create table "a.b*" (n int);
            create table "a.bc" (n int);
            create table log (at date, n int) partition by range (at);
            create table log_1 partition of log for values from ('2026-01-01') to ('2026-02-01');
            create table wide (n int);
            create table "O""Hara" (n int);
            insert into "a.b*" values (1); insert into "a.bc" values (1); insert into log values ('2026-01-05', 1);
            insert into wide values (1); insert into "O""Hara" values (1);
            "#,
        )
        .await;
        let setting = setting(
            &db,
            r#"
            exclude_schemas = ["pgtend"]
            exclude_tables = ['public."a.b*"', 'public."O""Hara"']
            exclude_table_data = ["log", "public.wide"]
            "#,
        );
        let run = setting.run(0).await;
        let scratch = db.cluster().database().await;
        let folder = setting.folder(run["details"]["backup"].as_str().unwrap());
        shell(&scratch, "zstd -dc app.dump.zst | pg_restore --exit-on-error --dbname \"$URL\"", &folder);
        let tables: Vec<String> = scratch.column("select relname::text from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace order by 1").await;
        assert_eq!(tables, ["a.bc", "log", "log_1", "wide"]);
        assert_eq!((scratch.count("\"a.bc\"").await, scratch.count("log").await, scratch.count("wide").await), (1, 0, 0));

        // Of chosen tables: the parent alone would be a dump without a row.
        let some = super::setting(&db, "tables = [\"log\"]");
        let run = some.run(0).await;
        let scratch = db.cluster().database().await;
        let folder = some.folder(run["details"]["backup"].as_str().unwrap());
        shell(&scratch, "zstd -dc app.dump.zst | pg_restore --exit-on-error --dbname \"$URL\"", &folder);
        assert_eq!(scratch.count("log").await, 1);

        // A name that is not there is a mistake, and not a smaller backup.
        let none = super::setting(&db, "tables = [\"lgo\"]");
        let run = none.run(1).await;
        assert!(run["error"].as_str().unwrap().contains("lgo"), "{run}");
        assert_eq!(none.files(), Vec::<String>::new());
    })
    .await;
}
