//! What is typed, and with which status it ends.

use serde_json::Value;

use crate::support::{Cluster, Database, GATED, Pgtend, newest_major, on_each_major};

const JOBS: &str = r#"
[jobs.good.sql]
statements = ["select 1"]
[jobs.good2.sql]
statements = ["select 1"]
[jobs.bad.sql]
statements = ["select 1/0"]
[jobs.off]
enabled = false
[jobs.off.sql]
statements = ["select 1"]
"#;

async fn is_untouched(db: &Database) -> bool {
    db.scalar("select to_regnamespace('pgtend') is null").await
}

#[tokio::test]
async fn run_says_by_its_status_how_it_went() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    program.run(["run", "good"]).await.exits(0);
    program.run(["run", "good", "good2", "off"]).await.exits(0);
    program.run(["run", "bad"]).await.exits(1);
    // One job's failure keeps no other from running.
    program.run(["run", "bad", "good"]).await.exits(1);
    assert_eq!(db.outcomes("good").await, ["succeeded"; 3]);
    assert_eq!(db.runs("good").await[0].trigger, "cli");
    assert_eq!(db.outcomes("bad").await, ["failed", "failed"]);

    // A job named twice is one job.
    program.run(["run", "good2", "good2"]).await.exits(0);
    assert_eq!(db.outcomes("good2").await, ["succeeded"; 2]);
    // The config may be named before the command or after it.
    let config = program.config().display().to_string();
    program.run(["--config", &config, "run", "good"]).await.exits(0);
    program.run(["run", "good", "--config", &config]).await.exits(0);
}

#[tokio::test]
async fn the_flag_form_is_the_command() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    program.run(["--run", "good"]).await.exits(0);
    program.run(["--run", "good", "good2"]).await.exits(0);
    program.run(["--run", "good", "--run", "bad"]).await.exits(1);
    assert_eq!(db.outcomes("good").await, ["succeeded"; 3]);
    assert_eq!(db.outcomes("good2").await, ["succeeded"]);
    program.run(["--run", "nothing"]).await.exits(2);
    let run = program.run(["--run", "good", "--database", "main", "--json"]).await.exits(0).json();
    assert_eq!((&run[0]["job"], &run[0]["outcome"]), (&"good".into(), &"succeeded".into()));
    program.run(["--json", "status"]).await.exits(2);
}

#[tokio::test]
async fn a_lock_held_elsewhere_is_3_unless_something_failed() {
    on_each_major(async |db| {
        db.add_gate().await;
        let program = Pgtend::tending(&db, &format!("{JOBS}{GATED}"));
        let first = program.start(["run", "gated"]);
        db.wait_for_busy("pgtend/gated", 1).await;
        let held = program.run(["run", "gated", "--json"]).await.exits(3).json().remove(0);
        assert_eq!((&held["outcome"], &held["details"]["skipped"]), (&"skipped".into(), &"held".into()));
        assert!(held["details"]["reason"].as_str().unwrap().contains("held by pid"), "{held}");
        program.run(["run", "gated", "good"]).await.exits(3);
        program.run(["run", "gated", "bad", "good"]).await.exits(1);
        db.open_gate().await;
        first.wait().await.exits(0);
    })
    .await;
}

/// As a cron job or an operator's terminal would: the statement does not outlive who wanted it.
#[tokio::test]
async fn ctrl_c_cancels_a_run() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    let program = Pgtend::tending(&db, GATED);
    let run = program.start(["run", "gated"]);
    db.wait_for_busy("pgtend/gated", 1).await;
    run.signal(libc::SIGINT);
    run.wait().await.exits(1);
    assert_eq!(db.outcomes("gated").await, ["cancelled"]);
    assert_eq!(db.busy("pgtend/%").await, 0);
}

#[tokio::test]
async fn what_is_misused_or_misconfigured_touches_nothing() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let misuses: [&[&str]; 9] = [
        &["run", "nothing"],
        &["run", "good", "nothing"],
        &["run"],
        &["run", "good", "--database", "nowhere"],
        &["run", "good", "--frobnicate"],
        &["frobnicate"],
        &["--run", "good", "status"],
        // To have said how to log is not to have said what to do.
        &["--log-level", "debug"],
        &["run", "good", "--log-level", "a=b=c"],
    ];
    for misuse in misuses {
        let output = program.run(misuse).await.exits(2);
        assert!(!output.stderr.is_empty(), "{misuse:?} ends without a word");
    }
    program.configure_tending(&db, &format!("{JOBS}[jobs.good3]\nfrobnicate = true\n"));
    for command in ["run good", "daemon", "plan", "check", "check --offline", "status", "history", "trigger good"] {
        let output = program.run(command.split(' ')).await.exits(2);
        assert!(output.stderr.contains("frobnicate"), "{command}: {}", output.stderr);
    }
    for command in ["run good", "daemon"] {
        program.run(command.split(' ').chain(["--config", "/nowhere.toml"])).await.exits(2);
    }
    assert!(is_untouched(&db).await);
}

#[tokio::test]
async fn one_database_of_several_can_be_chosen() {
    let cluster = Cluster::shared(newest_major());
    let (one, two) = (cluster.database().await, cluster.database().await);
    let program = Pgtend::new(&format!(
        "[databases.one]\nurl = \"{}\"\n[databases.two]\nurl = \"{}\"\n\
         [jobs.both]\ndatabases = [\"*\"]\n[jobs.both.sql]\nstatements = [\"select 1\"]\n\
         [jobs.first]\ndatabase = \"one\"\n[jobs.first.sql]\nstatements = [\"select 1\"]\n",
        one.url(),
        two.url()
    ));
    let chosen = program.run(["run", "both", "--database", "two", "--json"]).await.exits(0).json();
    assert_eq!(chosen.len(), 1);
    assert_eq!((&chosen[0]["job"], &chosen[0]["database"]), (&"both@two".into(), &"two".into()));
    assert!(is_untouched(&one).await);
    let both = program.run(["run", "both", "--json"]).await.exits(0).json();
    assert_eq!(both.iter().map(|run| &run["job"]).collect::<Vec<_>>(), ["both@one", "both@two"]);
    program.run(["run", "both@one"]).await.exits(0);
    assert_eq!(one.outcomes("both@one").await, ["succeeded"; 2]);
    program.run(["run", "first", "--database", "two"]).await.exits(2);
}

#[tokio::test]
async fn run_json_has_the_documented_fields_and_no_others() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let output = program.run(["run", "good", "bad", "--json"]).await.exits(1);
    let records = output.json();
    let fields = [
        "database",
        "details",
        "duration_seconds",
        "error",
        "finished_at",
        "job",
        "kind",
        "outcome",
        "started_at",
        "trigger",
    ];
    for record in &records {
        let mut names: Vec<_> = record.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, fields);
        assert_eq!(
            (&record["kind"], &record["database"], &record["trigger"]),
            (&"sql".into(), &"main".into(), &"cli".into())
        );
        for time in ["started_at", "finished_at"] {
            assert!(chrono::DateTime::parse_from_rfc3339(record[time].as_str().unwrap()).is_ok(), "{record}");
        }
        assert!(record["duration_seconds"].is_f64() && record["details"].is_object(), "{record}");
    }
    assert_eq!((&records[0]["job"], &records[0]["outcome"]), (&"good".into(), &"succeeded".into()));
    assert_eq!(records[0]["error"], Value::Null);
    assert_eq!((&records[1]["job"], &records[1]["outcome"]), (&"bad".into(), &"failed".into()));
    assert!(records[1]["error"].as_str().unwrap().contains("division by zero"));

    // People get a table.
    let table = program.run(["run", "good", "bad"]).await.exits(1).stdout;
    assert!(table.trim_start().starts_with("JOB"), "{table}");
    assert!(table.lines().any(|line| line.trim_start().starts_with("bad") && line.contains("failed")), "{table}");
}

#[tokio::test]
async fn logs_go_to_stderr_in_the_form_and_as_much_as_asked_for() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    let output = program.run(["run", "good", "bad", "--json", "--log-format", "json"]).await.exits(1);
    assert_eq!(output.json().len(), 2, "logs on stdout");
    let lines: Vec<Value> = output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.iter().find(|line| line["job"] == "bad").expect("a line of the run");
    assert_eq!((&end["level"], &end["outcome"]), (&"ERROR".into(), &"failed".into()));

    let levels = async |program: &Pgtend, args: &[&str]| {
        let args = ["run", "good", "--log-format", "json"].iter().chain(args);
        let stderr = program.run(args).await.exits(0).stderr;
        let lines = stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["level"].as_str().unwrap().to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(levels(&program, &[]).await, ["INFO".to_string()].into());
    assert!(levels(&program, &["--log-level", "debug"]).await.contains("DEBUG"));
    let quiet = program.env("RUST_LOG", "error");
    assert_eq!(levels(&quiet, &[]).await, [].into());
    // The flag is nearer to the hand than the environment.
    assert!(levels(&quiet, &["--log-level", "info"]).await.contains("INFO"));
}
