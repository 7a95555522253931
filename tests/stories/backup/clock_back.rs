//! The clock on the wall steps back between two backups, or is not the one of the database.

use super::{Setting, jobs};
use crate::support::{Clock, Cluster, Pgtend, newest_major};

#[tokio::test]
async fn an_hour_that_comes_twice_costs_no_backup() {
    let clock = Clock::at("2026-10-25T02:30:00Z");
    let db = Cluster::by(&clock, newest_major()).database().await;
    let program = Pgtend::tending(&db, &jobs(&db, "to = [{ store = \"local\", keep = { last = 1 } }]")).by(&clock);
    let store = program.folder().join("store");
    let setting = Setting { program, store };
    let hours = || -> Vec<String> { setting.backups().iter().map(|id| id[11..15].to_owned()).collect() };
    setting.run(0).await;
    assert_eq!(hours(), ["0230"]);
    clock.set("2026-10-25T01:30:00Z");
    let run = setting.run(0).await;
    // One of the future counts for nothing, and is not touched.
    assert_eq!(hours(), ["0130", "0230"], "{run}");
    let plan = setting.program.run(["plan", "--json"]).await.exits(0).json();
    let of_the_future =
        |step: &serde_json::Value| step["action"] == "keep" && step["reason"].to_string().contains("future");
    assert!(plan.iter().any(of_the_future), "{plan:?}");
    setting.run(0).await;
    // The one of a moment ago was the newest verified when this run began.
    assert_eq!(setting.backups().len(), 3);
    // Once the hour is over they are all of the past, and in their order.
    clock.set("2026-10-25T02:45:00Z");
    setting.run(0).await;
    assert_eq!(hours(), ["0230", "0245"]);
    setting.run(0).await;
    assert_eq!(hours(), ["0245", "0245"]);
}

#[tokio::test]
async fn the_very_second_that_comes_again_is_another_backup() {
    let clock = Clock::at("2026-10-25T02:30:00Z");
    let db = Cluster::by(&clock, newest_major()).database().await;
    let program = Pgtend::tending(&db, &jobs(&db, "to = [{ store = \"local\" }]")).by(&clock);
    let store = program.folder().join("store");
    let setting = Setting { program, store };
    for _ in 0..30 {
        clock.set("2026-10-25T02:30:00Z");
        setting.run(0).await;
        if setting.backups().iter().any(|id| id.ends_with("Z-2")) {
            break;
        }
    }
    let ids = setting.backups();
    assert!(ids.iter().any(|id| id.ends_with("Z-2")), "{ids:?}");
    for id in &ids {
        assert_eq!(setting.manifest(id)["id"], id.as_str());
        assert!(setting.folder(id).join("verified.json").exists(), "{id}");
    }
}

#[tokio::test]
async fn a_server_whose_clock_runs_ahead_costs_no_backup() {
    let (server, host) = (Clock::at("2026-06-01T02:00:00Z"), Clock::at("2026-06-01T02:00:00Z"));
    let db = Cluster::by(&server, newest_major()).database().await;
    let program = Pgtend::tending(&db, &jobs(&db, "to = [{ store = \"local\", keep = { days = 3 } }]")).by(&host);
    let store = program.folder().join("store");
    let setting = Setting { program, store };
    for day in ["2026-06-01", "2026-06-02", "2026-06-03"] {
        server.set(&format!("{day}T02:00:00Z"));
        host.set(&format!("{day}T02:00:00Z"));
        setting.run(0).await;
    }
    let before = setting.backups();
    assert_eq!(before.len(), 3);
    server.set("2026-08-03T02:00:00Z");
    let plan = setting.program.run(["plan", "--json"]).await.exits(0).json();
    assert!(!plan.iter().any(|step| step["action"] == "delete_backup"), "{plan:?}");
    let run = setting.run(0).await;
    let warnings = run["details"]["warnings"].to_string();
    assert!(warnings.contains("the clocks of this host") && warnings.contains("no backup is deleted"), "{run}");
    assert_eq!(setting.backups().len(), 4);
    // Set right again, it goes on: the one of the future counts for nothing.
    server.set("2026-06-05T14:00:00Z");
    host.set("2026-06-05T14:00:00Z");
    let run = setting.run(0).await;
    assert_eq!(run["details"]["warnings"], serde_json::Value::Null, "{run}");
    let days: Vec<String> = setting.backups().iter().map(|id| id[..10].to_owned()).collect();
    assert_eq!(days, ["2026-06-03", "2026-06-05", "2026-08-03"]);
}
