//! Backups of the directory format, proven by a `restore_test`; and what was dumped is what was counted.

use std::collections::BTreeMap;

use super::{DIRECTORY, names};
use crate::backup::restored::odd_database;
use crate::backup::shell;
use crate::backup_commands::{back_up, flip};
use crate::restore_test::{error, prove, scratches, setting};
use crate::support::{Cluster, Database, newest_major, on_each_major, wait_until};

#[tokio::test]
async fn a_backup_of_the_directory_format_is_proven_by_several_workers_and_by_one() {
    on_each_major(async |db| {
        odd_database(&db).await;
        let newest = Cluster::shared(newest_major()).database().await;
        for (server, jobs) in [(db.cluster().database().await, 3), (newest.clone(), 2), (newest, 1)] {
            let setting = setting(&db, &server, &format!("{DIRECTORY}row_counts = true\njobs = {jobs}"), "");
            let id = back_up(&setting).await;
            let run = prove(&setting, &db, 0).await;
            let target = &run["details"]["targets"][0];
            let counts = setting.manifest(&id)["row_counts"].as_object().unwrap().clone();
            assert_eq!(target["tables_compared"].as_u64(), Some(counts.len() as u64), "{run}");
            assert_eq!(names(&setting.program.folder().join("spool")), Vec::<String>::new());
            assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
            if jobs == 2 {
                flip(&setting, &id);
                let run = prove(&setting, &db, 1).await;
                assert!(error(&run).contains("SHA-256"), "{run}");
                assert_eq!(names(&setting.program.folder().join("spool")), Vec::<String>::new());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn workers_dump_the_snapshot_in_which_rows_are_counted() {
    on_each_major(async |db| {
        odd_database(&db).await;
        let mut setting = super::setting(&db, "row_counts = true\njobs = 3\nexclude_schemas = [\"pgtend\"]");
        let (program, hold) = setting.program.holding("backup.begun");
        setting.program = program;
        let process = setting.program.start(["run", "nightly", "--json"]);
        hold.reached().await;
        // Between the snapshot and pg_dump.
        db.execute(
            "insert into events (at, what) values ('2026-01-05', 'late'); insert into empty_one values (7);
             select lo_from_bytea(0, 'late'); select lo_unlink(min(oid)) from pg_largeobject_metadata",
        )
        .await;
        hold.go_on();
        let run = process.wait().await.exits(0).json().remove(0);
        let id = run["details"]["backup"].as_str().expect("an id");
        let manifest = setting.manifest(id);
        let counts: BTreeMap<&str, i64> = manifest["row_counts"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(table, rows)| (table.as_str(), rows.as_i64().unwrap()))
            .collect();
        assert_eq!((counts["public.events_2026_01"], counts["public.empty_one"]), (155, 0), "{counts:?}");
        let scratch = db.cluster().database().await;
        let line = "zstd -dc app.dir.tar.zst | pg_restore --format=tar --exit-on-error --dbname \"$URL\"";
        shell(&scratch, line, &setting.folder(id));
        for (table, rows) in counts {
            assert_eq!(scratch.count(&format!("only {table}")).await, rows, "{table}");
        }
        let objects: Vec<i32> = scratch.column("select length(lo_get(oid)) from pg_largeobject_metadata").await;
        assert_eq!(objects, [10_000]);
    })
    .await;
}

#[tokio::test]
async fn a_standby_is_dumped_by_several_workers() {
    for major in crate::support::majors() {
        let primary = Cluster::own(major);
        let db = primary.database().await;
        odd_database(&db).await;
        db.execute("create table last as select 1 as n").await;
        let there = Database::named(primary.standby(), db.name());
        wait_until("the standby to have it all", async || {
            let Ok(client) = there.try_client_as("postgres").await else { return false };
            client.query_one("select n from last", &[]).await.is_ok()
        })
        .await;
        let setting = super::setting(&there, "row_counts = true\njobs = 3");
        let output = setting.program.run(["run", "nightly", "--json"]).await.exits(0);
        assert_eq!(output.json()[0]["outcome"], "succeeded", "{output:?}");
        let manifest = setting.manifest(&setting.backups()[0]);
        assert_eq!((&manifest["standby"], &manifest["row_counts"]["public.last"]), (&true.into(), &1.into()));
    }
}
