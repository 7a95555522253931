//! Programs that are made to end, with all that they have started.

use super::{a_database, end, lines, lives, run, scripted};
use crate::support::{Pgtend, wait_until};

/// Neither of the two ends when it is asked to, and each says who it is.
const STUBBORN: &str = "trap '' TERM
echo $$ >> pids
(trap '' TERM; exec >/dev/null 2>&1; sh -c 'echo $$ >> pids; while :; do sleep 0.05; done') &
echo working
while :; do sleep 0.05; done";

async fn nobody_is_left(pids: &[String]) {
    wait_until(&format!("{pids:?} to be gone"), async || !pids.iter().any(|pid| lives(pid))).await;
}

#[tokio::test]
async fn a_time_limit_ends_all_that_was_started() {
    let db = a_database().await;
    let program = scripted(&db, STUBBORN, "");
    let text = std::fs::read_to_string(program.config()).unwrap();
    program.configure(&text.replace("[jobs.own.command]", "[jobs.own]\ntimeout = '5s'\n[jobs.own.command]"));
    let record = run(&program, 1).await;
    assert_eq!(
        (&record["outcome"], &record["details"]["output"]),
        (&"timed_out".into(), &"working".into()),
        "{record}"
    );
    nobody_is_left(&lines(&program, "pids", 2).await).await;
}

#[tokio::test]
async fn sigterm_ends_it_at_once_and_the_run_is_cancelled() {
    let db = a_database().await;
    for script in
        [STUBBORN, "trap 'echo tidied; exit 0' TERM\necho $$ >> pids; echo $$ >> pids\nwhile :; do sleep 0.05; done"]
    {
        let program = scripted(&db, script, "");
        let text = std::fs::read_to_string(program.config()).unwrap();
        program.configure(&format!("shutdown_timeout = '10m'\n{text}"));
        let daemon = program.daemon().ready().await;
        daemon.signal(libc::SIGUSR1);
        let pids = lines(&program, "pids", 2).await;
        daemon.stop().await.exits(0);
        nobody_is_left(&pids).await;
    }
    let runs = db.runs("own").await;
    assert_eq!(runs.iter().map(|run| run.outcome.as_str()).collect::<Vec<_>>(), ["cancelled", "cancelled"]);
    assert!(runs[0].error.contains("asked to stop"), "{}", runs[0].error);
    // It is asked first, and heard to its end. Its shell may have a word of its own.
    assert!(runs[1].details["output"].as_str().unwrap().ends_with("tidied"), "{}", runs[1].details);
}

/// Nothing can be done about a program whose daemon was killed; but nobody waits for it.
#[tokio::test]
async fn an_orphan_of_a_killed_daemon_does_not_hold_up_the_next_run() {
    let db = a_database().await;
    let program: Pgtend = scripted(&db, "echo $$ >> pids; [ -e go ] || exec sleep 1000", "");
    let process = program.start(["run", "own"]);
    let orphan = lines(&program, "pids", 1).await;
    drop(process);
    db.wait_until_unlocked().await;
    program.file("go", "");
    assert_eq!(run(&program, 0).await["outcome"], "succeeded");
    assert_eq!(db.outcomes("own").await, ["failed", "succeeded"]);
    assert!(lives(&orphan[0]), "{orphan:?}");
    end(&orphan[0]);
}
