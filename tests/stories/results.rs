//! What pgtend prints for people, programs, shells and editors.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Cluster, Database, Pgtend, newest_major};

const JOBS: &str = r#"
[jobs.good]
schedule = "@hourly"
[jobs.good.sql]
statements = ["select 1"]
[jobs.bad.sql]
statements = ["select 1/0"]
[jobs.off]
enabled = false
[jobs.off.sql]
statements = ["select 1"]
"#;

const COMMANDS: [&str; 10] =
    ["daemon", "run", "plan", "check", "status", "history", "trigger", "schema", "completions", "man"];

/// `good` has run twice, `bad` three times, `off` never.
async fn after_some_runs() -> (Database, Pgtend) {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, JOBS);
    program.run(["run", "good", "bad"]).await.exits(1);
    program.run(["run", "bad"]).await.exits(1);
    program.run(["run", "bad", "good"]).await.exits(1);
    (db, program)
}

#[tokio::test]
async fn status_shows_how_each_job_stands() {
    let (_db, program) = after_some_runs().await;
    let jobs = program.run(["status", "--json"]).await.exits(0).json();
    let of = |name: &str| jobs.iter().find(|job| job["job"] == name).unwrap();
    assert_eq!(jobs.len(), 3);
    let good = of("good");
    assert_eq!((&good["last_outcome"], &good["last_trigger"]), (&"succeeded".into(), &"cli".into()));
    assert!(good["next_run_at"].is_string() && good["last_success_at"].is_string(), "{good}");
    assert_eq!(good["lag_seconds"], 0.0);
    let bad = of("bad");
    assert_eq!((&bad["last_outcome"], &bad["consecutive_failures"]), (&"failed".into(), &3.into()));
    assert!(bad["last_error"].as_str().unwrap().contains("division by zero"), "{bad}");
    assert_eq!((&bad["next_run_at"], &bad["last_success_at"]), (&Value::Null, &Value::Null));
    assert_eq!((&of("off")["enabled"], &of("off")["last_outcome"]), (&false.into(), &Value::Null));

    let table = program.run(["status"]).await.exits(0).stdout;
    let row = |name: &str| table.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    assert_eq!(
        table.lines().next().unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>(),
        ["JOB", "KIND", "LAST RUN", "OUTCOME", "LAST SUCCESS", "NEXT RUN", "LAG"]
    );
    assert!(row("good").contains("succeeded"), "{table}");
    assert!(row("bad").contains("failed (3 times)") && row("bad").contains("by hand"), "{table}");
    assert!(row("off").contains("never run") && row("off").contains("disabled"), "{table}");
    assert!(table.contains("bad: ") && table.contains("division by zero"), "{table}");
}

#[tokio::test]
async fn history_shows_past_runs_the_newest_first() {
    let (_db, program) = after_some_runs().await;
    let names = async |args: &str| {
        let runs = program.run(args.split(' ').chain(["--json"])).await.exits(0).json();
        runs.iter().map(|run| run["job"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("history").await, ["good", "bad", "bad", "bad", "good"]);
    assert_eq!(names("history bad").await, ["bad", "bad", "bad"]);
    assert_eq!(names("history bad --limit 2").await, ["bad", "bad"]);
    assert_eq!(names("history --limit 1").await, ["good"]);
    assert!(names("history off").await.is_empty());
    program.run(["history", "nothing"]).await.exits(2);
    program.run(["history", "--limit", "0"]).await.exits(2);

    let newest = program.run(["history", "--limit", "1", "--json"]).await.exits(0).json().remove(0);
    assert_eq!((&newest["outcome"], &newest["trigger"]), (&"succeeded".into(), &"cli".into()));
    assert_eq!((&newest["attempt"], &newest["due_at"]), (&1.into(), &Value::Null));
    let table = program.run(["history"]).await.exits(0).stdout;
    assert_eq!(table.lines().count(), 6, "{table}");
    assert!(table.lines().next().unwrap().contains("STARTED") && table.contains("division by zero"), "{table}");
}

#[tokio::test]
async fn the_history_of_one_job_has_the_whole_error_and_that_of_all_a_line_of_it() {
    let db = Cluster::shared(newest_major()).database().await;
    let raise = "do $$ begin raise exception E'first line\\\\n% and its end', repeat('long ', 60); end $$";
    let program = Pgtend::tending(&db, &format!("[jobs.wordy.sql]\nstatements = [\"{raise}\"]\n"));
    program.run(["run", "wordy"]).await.exits(1);
    program.run(["run", "wordy"]).await.exits(1);
    let [run, _] = program.run(["history", "--json"]).await.exits(0).json().try_into().expect("two runs");
    let error = run["error"].as_str().expect("an error");

    let all = program.run(["history"]).await.exits(0).stdout;
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(!all.contains("and its end"), "{all}");
    let one = program.run(["history", "wordy"]).await.exits(0).stdout;
    let whole: String = error.lines().map(|line| format!("    {line}\n")).collect();
    assert!(error.contains("and its end") && one.matches(&whole).count() == 2, "{one}");
    assert!(one.lines().nth(1).is_some_and(|line| line.contains("wordy") && line.contains("failed")), "{one}");
}

/// The past of a job outlives its definition.
#[tokio::test]
async fn the_history_of_a_job_that_is_gone_can_be_read() {
    let (db, program) = after_some_runs().await;
    program.configure_tending(&db, "[jobs.other.sql]\nstatements = [\"select 1\"]\n");
    assert_eq!(program.run(["history", "bad", "--json"]).await.exits(0).json().len(), 3);
    let jobs = program.run(["status", "--json"]).await.exits(0).json();
    assert_eq!(jobs.len(), 1);
}

#[tokio::test]
async fn every_command_explains_itself_with_an_example() {
    let program = Pgtend::new("");
    let whole = program.run(["--help"]).await.exits(0).stdout;
    assert!(whole.contains("Example"), "{whole}");
    for command in COMMANDS {
        assert!(whole.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not in {whole}");
        let help = program.run([command, "--help"]).await.exits(0).stdout;
        assert!(help.contains(&format!("Example:\n  pgtend {command}")), "{help}");
    }
    assert!(program.run(["--version"]).await.exits(0).stdout.contains(env!("CARGO_PKG_VERSION")));
}

/// The shells themselves read what is made for them, those that are installed.
#[tokio::test]
async fn the_shells_accept_their_completions() {
    let program = Pgtend::new("");
    for shell in ["bash", "zsh", "fish"] {
        let script = program.run(["completions", shell]).await.exits(0).stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} is not told of {command}");
        }
        if let Some(said) = feed(shell, &["-n"], &script) {
            assert_eq!(said, "", "{shell}");
        }
    }
    program.run(["completions", "cmd.exe"]).await.exits(2);
}

#[tokio::test]
async fn the_manual_page_tells_of_every_command_and_every_option() {
    let program = Pgtend::new("");
    let roff = program.run(["man"]).await.exits(0).stdout;
    assert!(roff.contains(".TH pgtend 1"), "{roff}");
    for command in COMMANDS {
        assert!(roff.contains(&format!("\n.SS pgtend {command}\n")), "{command} is not in the manual page");
    }
    for option in ["\\-\\-limit", "\\-\\-offline", "\\-\\-wait", "\\-\\-at", "\\-\\-database", "\\-\\-log\\-format"] {
        assert!(roff.contains(option), "{option} is not in the manual page");
    }
    if let Some(said) = feed("man", &["--warnings", "-l", "-"], &roff) {
        assert_eq!(said, "", "man has something to say");
    }
}

#[tokio::test]
async fn the_schema_describes_every_key_of_the_kinds() {
    let program = Pgtend::new("");
    let schema: Value = serde_json::from_str(&program.run(["schema"]).await.exits(0).stdout).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"));
    for key in ["databases", "http", "jobs", "defaults", "history", "include", "shutdown_timeout"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    let job = &schema["$defs"]["Job"]["properties"];
    for key in ["schedule", "jitter", "retry", "after", "window", "signal", "sql", "expire"] {
        assert!(job[key].is_object(), "{key}");
    }
}

/// What is as it should be is done, and counts beside what could not be.
#[tokio::test]
async fn a_target_that_fails_beside_those_that_are_in_order_makes_a_run_partial() {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute(
        "create table sessions (expires_at timestamptz);
         create table logins (at timestamptz);
         create table held (at timestamptz); insert into held values ('2020-01-01Z');
         create table events (at timestamptz not null) partition by range (at)",
    )
    .await;
    let retention = |table: &str| {
        format!(
            "[jobs.{table}.retention]\ntables = [{{ table = 'nothing', keep = '1 year' }}, {{ table = '{table}', keep = '1 year', column = 'at' }}]\n"
        )
    };
    let program = Pgtend::tending(
        &db,
        &format!(
            "[jobs.ended.expire]\ntables = [{{ table = 'sessions' }}, {{ table = 'nothing' }}]\n\
             [jobs.months.partitions]\ntables = [{{ table = 'nothing', every = '1 month' }}, {{ table = 'events', every = '1 month' }}]\n\
             [jobs.alone.expire]\ntables = [{{ table = 'nothing' }}]\n{}{}{}",
            retention("logins"),
            retention("held"),
            retention("events"),
        ),
    );
    // The first makes the partitions, and the second finds nothing to do.
    program.run(["run", "months"]).await.exits(1);
    db.execute("insert into pgtend.hold (relation, reason) values ('held', 'an audit')").await;
    for job in ["ended", "months", "logins", "held", "events"] {
        let record = program.run(["run", job, "--json"]).await.exits(1).json().remove(0);
        assert_eq!(record["outcome"], "partial", "{record}");
        let failures = record["details"]["failures"].as_array().unwrap();
        assert_eq!(failures.iter().map(|one| &one["target"]).collect::<Vec<_>>(), ["public.nothing"], "{record}");
    }
    let record = program.run(["run", "alone", "--json"]).await.exits(1).json().remove(0);
    assert_eq!(record["outcome"], "failed", "{record}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for args in [&["completions", "bash"][..], &["completions", "zsh"], &["man"], &["schema"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgtend"));
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""), "{args:?}");
    }
}

/// What the program writes to stderr on being given `text`; nothing where it is not installed.
fn feed(program: &str, args: &[&str], text: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C.UTF-8").env("MANPAGER", "cat");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("run {program}: {error}"),
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}
