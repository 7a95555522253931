//! A refresh that does not come to its end: the view holds what it held.

use super::beside::{gated, wait_until_at_work};
use super::{run, tending, text};
use crate::support::on_each_major;

#[tokio::test]
async fn sigterm_cancels_a_refresh_at_once() {
    on_each_major(async |db| {
        for how in ["always", "never"] {
            let db = db.cluster().database().await;
            gated(&db).await;
            let keys = format!("views = [\"gated\"]\nconcurrently = \"{how}\"");
            let program = tending(&db, &keys);
            let config = std::fs::read_to_string(program.config()).unwrap();
            // So long that only a cancel at once can end it before the story's patience does.
            program.configure(&format!("shutdown_timeout = \"10m\"\n{config}"));
            let daemon = program.daemon().ready().await;
            daemon.signal(libc::SIGUSR1);
            wait_until_at_work(&db).await;
            daemon.signal(libc::SIGTERM);
            daemon.wait().await.exits(0);
            assert_eq!(db.busy("pgtend/%").await, 0, "the statement outlived its daemon");
            assert_eq!(db.outcomes("views").await, ["cancelled"]);
            let run = &db.runs("views").await[0];
            assert!(text(&run.details["left_for_next_time"]).contains("public.gated"), "{:?}", run.details);
            assert_eq!(db.count("gated").await, 1);
        }
    })
    .await;
}

#[tokio::test]
async fn after_a_kill_the_view_holds_what_it_held_and_the_next_run_refreshes_it() {
    on_each_major(async |db| {
        for how in ["always", "never"] {
            let db = db.cluster().database().await;
            gated(&db).await;
            let program =
                tending(&db, &format!("views = [\"gated\"]\nconcurrently = \"{how}\"\nskip_unchanged = true"));
            let killed = program.start(["run", "views"]);
            wait_until_at_work(&db).await;
            drop(killed);
            db.wait_for_busy("pgtend/%", 0).await;
            assert_eq!(db.count("gated").await, 1);
            db.execute("INSERT INTO gate DEFAULT VALUES").await;
            let record = run(&program, 0).await;
            assert_eq!(record["details"]["views_refreshed"], 1, "{record}");
            assert_eq!(db.count("gated").await, 2);
            let left = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'm') AND relname LIKE 'pg_temp%'";
            assert_eq!(db.scalar::<i64>(left).await, 0);
        }
    })
    .await;
}
