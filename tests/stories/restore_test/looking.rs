//! What `plan`, `check` and the metrics say.

use super::{job, prove, scratches, setting};
use crate::backup_commands::back_up;
use crate::support::{on_each_major, wait_until};

#[tokio::test]
async fn a_plan_and_a_check_change_nothing_and_say_what_is_not_known() {
    on_each_major(async |db| {
        let server = db.cluster().database().await;
        let setting = setting(&db, &server, "", "");
        let said = setting.program.run(["check"]).await.exits(0).stdout;
        assert!(said.contains("there is no backup to be restored") && said.contains("pgtend run nightly"), "{said}");
        let run = prove(&setting, &db, 1).await;
        assert!(super::error(&run).contains("there is no backup"), "{run}");
        let id = back_up(&setting).await;
        let plan = setting.program.run(["plan", &job(&db), "--json"]).await.exits(0).json();
        assert_eq!((plan.len(), &plan[0]["action"]), (1, &"restore_test".into()), "{plan:?}");
        assert!(plan[0]["target"].as_str().unwrap().starts_with(&id), "{plan:?}");
        let size: i64 = db.scalar("select pg_database_size(current_database())").await;
        assert!(plan[0]["detail"]["expected_bytes"].as_i64().unwrap() > size / 2, "{plan:?}");
        assert!(plan[0]["reason"].as_str().unwrap().contains("is free in /"), "{plan:?}");
        let said = setting.program.run(["check"]).await.exits(0).stdout;
        assert!(said.contains("would restore") && said.contains("row_counts = true"), "{said}");
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
        assert!(!setting.files().iter().any(|file| file.ends_with("restored.json")));
    })
    .await;
}

#[tokio::test]
async fn when_it_was_proven_is_a_metric_that_survives_a_restart() {
    on_each_major(async |db| {
        let server = db.cluster().database().await;
        let setting = setting(&db, &server, "", "");
        let name = job(&db);
        let labels = [("job", name.as_str()), ("kind", "restore_test"), ("database", "scratch"), ("store", "local")];
        let daemon = setting.program.daemon().ready().await;
        let at = "pgtend_backup_restore_tested_timestamp_seconds";
        daemon.wait_until("a gauge that says never", async || daemon.metric(at, &labels).await == Some(0.0)).await;
        daemon.stop().await.exits(0);
        back_up(&setting).await;
        prove(&setting, &db, 0).await;
        // One that failed since takes nothing of it away.
        let files = setting.store.join("nightly");
        std::fs::rename(&files, setting.store.join("aside")).unwrap();
        prove(&setting, &db, 1).await;
        let daemon = setting.program.daemon().ready().await;
        let run =
            server.runs(&name).await.into_iter().find(|run| run.outcome == "succeeded").expect("a run that went well");
        let expect = run.finished_at.unwrap().timestamp();
        wait_until("the gauge of the test", async || {
            #[expect(clippy::cast_possible_truncation, reason = "seconds of this era are exact")]
            let told = daemon.metric(at, &labels).await.map(|seconds| seconds as i64);
            told.is_some_and(|told| (run.started_at.timestamp()..=expect).contains(&told))
        })
        .await;
        let took = daemon.metric("pgtend_backup_restore_test_duration_seconds", &labels).await.expect("a duration");
        assert!(took > 0.0, "{took}");
        daemon.stop().await.exits(0);
    })
    .await;
}
