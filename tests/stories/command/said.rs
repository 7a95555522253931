//! What a program says, and how it ends by itself.

use super::{a_database, end, lines, lives, run, scripted};
use crate::support::{Database, on_each_major};

#[tokio::test]
async fn an_exit_status_that_is_not_zero_is_a_failure_with_its_last_words() {
    on_each_major(async |db| {
        let program = scripted(&db, "echo out; echo err >&2; echo out again; exit 3", "");
        let record = run(&program, 1).await;
        assert_eq!(record["outcome"], "failed");
        assert_eq!(record["error"], "bin/own: exit status 3: out / err / out again");
        assert_eq!(
            (&record["details"]["exit_status"], &record["details"]["output"]),
            (&3.into(), &"out\nerr\nout again".into())
        );
        assert_eq!(db.runs("own").await[0].error, record["error"].as_str().unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_signal_is_a_failure_that_names_it() {
    let db = a_database().await;
    let record = run(&scripted(&db, "kill -SEGV $$", ""), 1).await;
    assert_eq!(record["error"], "bin/own: ended by signal 11, and it said nothing", "{record}");
    let record = run(&scripted(&db, "echo so; kill -KILL $$", ""), 1).await;
    assert_eq!(record["error"], "bin/own: killed by signal 9: so", "{record}");
}

#[tokio::test]
async fn more_than_a_pipe_holds_is_read_and_its_end_is_kept() {
    let db = a_database().await;
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; i=0; while [ $i -lt 5000 ]; do echo out $i; echo err $i >&2; i=$((i + 1)); done";
    let record = run(&scripted(&db, script, ""), 0).await;
    let said = record["details"]["output"].as_str().unwrap();
    let expected: Vec<_> = (4990..5000).flat_map(|n| [format!("out {n}"), format!("err {n}")]).collect();
    assert_eq!(said, expected.join("\n"));
    // And a line without an end.
    let record = run(&scripted(&db, "head -c 3000000 /dev/zero | tr '\\0' x; exit 1", ""), 1).await;
    assert!(record["details"]["output"].as_str().unwrap().len() <= 4096);
}

/// PostgreSQL takes no NUL in any text, and JSON no byte that is no letter: the run would have no record.
#[tokio::test]
async fn bytes_that_are_no_text_do_not_keep_a_run_out_of_the_history() {
    on_each_major(async |db| {
        let record = run(&scripted(&db, "printf 'a\\377\\000\\303\\033[1mb\\n'; exit 1", ""), 1).await;
        let runs = db.runs("own").await;
        assert_eq!(runs[0].outcome, "failed");
        assert_eq!(runs[0].details, record["details"]);
        assert_eq!(runs[0].details["output"], "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}[1mb");
    })
    .await;
}

/// Whoever holds its output open is not waited for.
#[tokio::test]
async fn what_a_program_leaves_behind_does_not_hold_up_its_run() {
    let db = a_database().await;
    let program = scripted(&db, "sleep 1000 & echo $! > left; echo done", "");
    let record = run(&program, 0).await;
    assert_eq!((&record["outcome"], &record["details"]["output"]), (&"succeeded".into(), &"done".into()), "{record}");
    assert!(record["details"]["warnings"][0].as_str().unwrap().contains("still running"), "{record}");
    let left = lines(&program, "left", 1).await;
    assert!(lives(&left[0]), "it is no business of ours");
    end(&left[0]);
}

/// The encoding of the database lacks what the program says.
#[tokio::test]
async fn words_that_the_database_cannot_write_do_not_cost_the_run_its_record() {
    let db = a_database().await;
    let name = format!("{}_latin1", db.name());
    db.execute(&format!("CREATE DATABASE \"{name}\" ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"))
        .await;
    let latin = Database::named(db.cluster().clone(), &name);
    let program = scripted(&latin, "echo '5 € für ἄλλος'; exit 3", "");
    run(&program, 1).await;
    let past = program.run(["history", "own", "--json"]).await.exits(0).json().remove(0);
    assert_eq!(past["outcome"], "failed", "{past}");
    assert!(past.to_string().contains("5 ? f?r ?????"), "{past}");
}

/// Of what is said only the end is held, and that may begin in the middle of a secret.
#[tokio::test]
async fn the_end_of_a_secret_whose_beginning_was_not_kept_is_not_shown() {
    let db = a_database().await;
    let secret: String = (0..1_000).map(|n| format!("{n:05}-")).collect();
    let program = scripted(&db, "echo $TOKEN; echo $TOKEN; echo end", &format!("env = {{ TOKEN = '{secret}' }}"));
    let record = run(&program, 0).await;
    let said = record["details"]["output"].as_str().unwrap();
    assert!(said.ends_with("***\nend") && !said.contains("00999-"), "{said}");
}
