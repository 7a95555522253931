//! The backups of every application, proven by the test of its own file; and what Lucy may let go to a bucket.

use std::collections::BTreeMap;

use super::{Job, contents};
use crate::backup::{files, json};
use crate::shipped_partitions::{shipped, text};
use crate::support::{Database, Pgtend, on_each_major};

/// Backed up, restored and found whole; and both the application and the server are as they were.
async fn is_proven(db: &Database, application: &'static str, stores: &[&str]) {
    let before = contents(db).await;
    let job = Job::shipped(db, &format!("{application}.toml"), "");
    let run = async |name: &str| {
        let mut record = job.program.run(["run", name, "--json"]).await.exits(0).json().pop().expect("a record");
        assert_eq!(record["outcome"], "succeeded", "{record}");
        record["details"].take()
    };
    let (backup, test) = (format!("{application}-backup"), format!("{application}-restore-test"));
    run(&backup).await;
    let details = run(&test).await;
    let targets = details["targets"].as_array().expect("what was tested");
    assert_eq!(targets.iter().map(|target| text(&target["store"])).collect::<Vec<_>>(), stores, "{details}");
    for (target, store) in targets.iter().zip(stores) {
        assert!(target["tables_compared"].as_u64() > Some(5), "{details}");
        let folder = job.program.folder().join(store).join(&backup).join(text(&target["backup"]));
        assert!(folder.join("restored.json").exists());
    }
    assert_eq!(contents(db).await, before);
    let scratches = "pg_database WHERE datname LIKE 'pgtend\\_restore\\_test\\_";
    assert_eq!(db.count(&format!("{scratches}{test}%'")).await, 0);
}

#[tokio::test]
async fn lukhas_has_both_of_its_copies_back() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "300")]);
        is_proven(&db, "lukhas", &["offsite", "local"]).await;
    })
    .await;
}

#[tokio::test]
async fn helix_is_restored_each_month_as_it_asked() {
    on_each_major(async |db| {
        db.load("helix.sql", &[("rows", "300")]);
        is_proven(&db, "helix", &["local"]).await;
    })
    .await;
}

/// Row security hides rows from a dump that is not asked for, triggers and partitions come back.
#[tokio::test]
async fn autosdlc_is_proven_with_what_its_row_security_hides() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "300")]);
        db.execute("CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY, applied_at timestamptz); INSERT INTO schema_migrations VALUES ('1')").await;
        is_proven(&db, "autosdlc", &["local"]).await;
    })
    .await;
}

/// Of the code review application too: the triggers of an immutable log keep nobody from having it back.
#[tokio::test]
async fn the_audit_log_of_code_review_comes_back_with_its_guards() {
    on_each_major(async |db| {
        db.load("code-review.sql", &[("rows", "200")]);
        is_proven(&db, "code-review", &["offsite"]).await;
    })
    .await;
}

#[tokio::test]
async fn lucy_has_its_backup_back() {
    on_each_major(async |db| {
        db.load("lucy.sql", &[("rows", "100")]);
        is_proven(&db, "lucy", &["offsite"]).await;
    })
    .await;
}

/// AutoSDLC's other two: each day's is whole by itself and proven so, and that of two schemas holds no more than those.
#[tokio::test]
async fn of_autosdlc_a_daily_one_is_whole_and_that_of_its_schemas_is_not_more() {
    on_each_major(async |db| {
        db.load("autosdlc.sql", &[("rows", "100")]);
        db.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.notes AS SELECT 1 AS n").await;
        for (name, elsewhere) in [("autosdlc-daily-backup", true), ("autosdlc-schema-backup", false)] {
            let job = Job::shipped(&db, "autosdlc.toml", name);
            job.run().await;
            let folder = job.folder("local", &job.ids("local")[0]);
            let list = "zstd -dc app.dump.zst >app.dump; pg_restore --list app.dump >list";
            let found =
                format!("{list}; {}grep -q 'TABLE DATA elsewhere notes' list", if elsewhere { "" } else { "! " });
            crate::backup::shell(&db, &found, &folder);
            if elsewhere {
                let test = ["run", "autosdlc-daily-restore-test", "--json"];
                let details = job.program.run(test).await.exits(0).json().remove(0)["details"].take();
                assert!(details["targets"][0]["tables_compared"].as_u64() > Some(5), "{details}");
            }
        }
    })
    .await;
}

/// Nothing leaves that is not in the bucket, and of the immutable log an anchor stays.
#[tokio::test]
async fn lucys_old_months_go_to_the_bucket_when_that_is_wanted() {
    on_each_major(async |db| {
        db.load("lucy.sql", &[("rows", "300"), ("months_back", "5")]);
        let mut text = shipped("lucy.toml");
        for figure in ["36 months", "13 months", "84 months"] {
            assert!(text.contains(figure));
            text = text.replace(figure, "2 months");
        }
        let program = Pgtend::tending(&db, &text);
        let tables = ["cost_log", "webhook_deliveries", "audit_log"];
        let rows = async || {
            let mut rows = BTreeMap::new();
            for table in tables {
                rows.insert(table, db.count(table).await);
            }
            rows
        };
        let before = rows().await;
        let mut record =
            program.run(["run", "lucy-old-partitions", "--json"]).await.exits(0).json().pop().expect("a record");
        let details = record["details"].take();
        assert_eq!((&record["outcome"], &details["partitions_dropped"]), (&"succeeded".into(), &9.into()), "{details}");
        let after = rows().await;
        let mut exported: BTreeMap<&str, i64> = BTreeMap::new();
        let folder = program.folder().join("offsite/lucy-old-partitions/exports");
        for manifest in files(&folder).iter().filter(|file| file.ends_with("manifest.json")) {
            let table = tables.into_iter().find(|table| manifest.starts_with(&format!("public.{table}_"))).unwrap();
            *exported.entry(table).or_default() += json(&folder.join(manifest))["content"]["rows"].as_i64().unwrap();
        }
        for table in tables {
            assert!(exported[table] > 0, "{exported:?}");
            assert_eq!(after[table] + exported[table], before[table], "{table}: {exported:?}");
        }
        let anchored: i64 =
            db.scalar("SELECT sum(rows)::bigint FROM pgtend.anchor WHERE relation LIKE '%audit_log%'").await;
        assert_eq!(anchored, exported["audit_log"]);
    })
    .await;
}
