//! What a program is given, and what it is not.

use serde_json::json;

use super::{a_database, run, scripted};
use crate::support::{Pgtend, on_each_major};

#[tokio::test]
async fn a_program_is_started_by_no_shell_in_the_folder_of_its_config() {
    let db = a_database().await;
    let program =
        Pgtend::tending(&db, "[jobs.own.command]\ncommand = ['./own', '$(touch made); *', '', \"two\\nlines\"]\n");
    program.script("own", "#!/bin/sh\npwd\nfor word; do printf '<%s>' \"$word\"; done\ncat\n");
    // Wherever one stands oneself.
    let config = program.config().display().to_string();
    let output = Pgtend::new("").run(["--config", &config, "run", "own", "--json"]).await.exits(0);
    let details = &output.json()[0]["details"];
    let expected = format!("{}\n<$(touch made); *><><two\nlines>", program.folder().canonicalize().unwrap().display());
    assert_eq!(details, &json!({ "exit_status": 0, "output": expected }));
    assert!(!program.folder().join("made").exists());
}

#[tokio::test]
async fn its_environment_is_small_and_says_which_run_it_is() {
    let db = a_database().await;
    let program = scripted(&db, "env | sort", "env = { OWN = 'a b', PGAPPNAME = 'mine' }\n")
        .env("AWS_SECRET_ACCESS_KEY", "of the daemon")
        .env("TZ", "Asia/Tokyo");
    let record = run(&program, 0).await;
    let said = record["details"]["output"].as_str().unwrap();
    let has = |line: &str| assert!(said.lines().any(|said| said == line), "{line} is not in\n{said}");
    has("OWN=a b");
    has("PGAPPNAME=mine");
    has("PGTEND_JOB=own");
    has("PGTEND_DATABASE=main");
    has("TZ=Asia/Tokyo");
    has(&format!("PGDATABASE={}", db.name()));
    has(&format!("PGHOST={}", db.cluster().host().display()));
    has(&format!("PGTEND_RUN_ID={}", db.scalar::<i64>("select max(id) from pgtend.run").await));
    assert!(!said.contains("AWS_") && !said.contains("PGTEND_CONFIG"), "{said}");

    program.configure_tending(&db, "[jobs.own.command]\ncommand = ['bin/own']\nconnection = false\n");
    let said = run(&program, 0).await["details"]["output"].to_string();
    assert!(!said.contains("PGHOST") && said.contains("PGTEND_JOB=own"), "{said}");
}

/// As it would on the command line of whoever set up the config.
#[tokio::test]
async fn psql_reaches_the_database_of_the_job() {
    on_each_major(async |db| {
        db.execute("create table t (n int); insert into t values (41)").await;
        let psql = db.cluster().program("psql").get_program().to_str().unwrap().to_owned();
        let job = format!("[jobs.own.command]\ncommand = ['{psql}', '-XAtc', \"select n, current_setting('application_name') from t\"]\n");
        let record = run(&Pgtend::tending(&db, &job), 0).await;
        assert_eq!(record["details"]["output"], "41|pgtend/own", "{record}");
    })
    .await;
}

#[tokio::test]
async fn a_value_of_its_environment_is_shown_nowhere() {
    const SECRET: &str = "hunter2-p@ss word";
    let db = a_database().await;
    let script = "echo \"token: $TOKEN\"; echo \"$TOKEN\" | head -c 9000 >&2; env | grep TOKEN; exit 3";
    let program = scripted(&db, script, "env = { TOKEN = '${OWN_TOKEN}' }\n").env("OWN_TOKEN", SECRET);
    for command in
        ["plan", "plan --json", "check", "check --json", "run own", "run own --json", "history --json", "status --json"]
    {
        for form in ["text", "json"] {
            let output = program.run(command.split(' ').chain(["--log-level", "trace", "--log-format", form])).await;
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(!said.contains("hunter2"), "{command}: {said}");
        }
    }
    let runs = db.runs("own").await;
    assert!(runs.len() == 4 && !format!("{runs:?}").contains("hunter2"), "{runs:?}");
    assert!(runs[0].error.contains("exit status 3: token: *** / *** / TOKEN=***"), "{}", runs[0].error);
    let plan = program.run(["plan", "own", "--json"]).await.exits(0).json().remove(0);
    assert_eq!(plan["detail"]["command"], json!(["bin/own", "one"]));
    assert_eq!(plan["detail"]["env"], json!(["TOKEN"]));
    assert_eq!(db.runs("own").await.len(), 4, "a plan runs nothing");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_by_check_and_by_the_run() {
    let db = a_database().await;
    for (command, why) in [
        ("no-such-program", "there is no program \"no-such-program\" on the PATH"),
        ("./gone", "there is no program"),
        ("bin/plain", "bin/plain is not executable"),
    ] {
        let program = Pgtend::tending(&db, &format!("[jobs.own.command]\ncommand = ['{command}']\n"));
        program.file("bin/plain", "#!/bin/sh\n");
        let found = program.run(["check", "--json"]).await.exits(1).json();
        let message = found[0]["message"].as_str().unwrap();
        assert!(message.contains(why) && found[0]["job"] == "own", "{found:?}");
        assert!(found[0]["line"].as_u64().unwrap() > 1, "{found:?}");
        let record = run(&program, 1).await;
        assert_eq!(record["outcome"], "failed");
        assert!(record["error"].as_str().unwrap().contains(why), "{record}");
    }
    // What the system refuses to start.
    let program = Pgtend::tending(&db, "[jobs.own.command]\ncommand = ['./own']\n");
    program.script("own", "#!/no/such/interpreter\n");
    program.run(["check"]).await.exits(0);
    let error = run(&program, 1).await["error"].as_str().unwrap().to_owned();
    assert!(error.contains("start ") && error.contains("/own") && error.contains("No such file"), "{error}");
}
