//! `plan` and `check` look and touch nothing; so do `status` and `history`.

use serde_json::Value;

use crate::support::{Cluster, Database, Pgtend, newest_major, on_each_major};

const JOBS: &str = r#"
[jobs.sessions]
schedule = "@hourly"
[jobs.sessions.expire]
tables = [{ table = "public.sessions", column = "expires_at" }]

[jobs.chore]
enabled = false
[jobs.chore.sql]
statements = ["create table t ()"]
"#;

async fn with_sessions() -> (Database, Pgtend) {
    let db = Cluster::shared(newest_major()).database().await;
    db.execute("create table sessions (id int primary key, expires_at timestamptz)").await;
    db.execute("insert into sessions values (1, now() - interval '1 day'), (2, now() + interval '1 day')").await;
    let program = Pgtend::tending(&db, JOBS);
    (db, program)
}

#[tokio::test]
async fn whoever_looks_writes_nothing() {
    on_each_major(async |db| {
        db.execute("create table sessions (id int primary key, expires_at timestamptz)").await;
        db.execute("insert into sessions values (1, now() - interval '1 day')").await;
        let program = Pgtend::tending(&db, JOBS);
        let everything = "select coalesce(string_agg(oid::text, ' ' order by oid), '') from pg_class";
        let before: String = db.scalar(everything).await;
        let looks =
            ["plan", "plan --json", "plan chore", "check", "check --json", "status", "status --json", "history"];
        for look in looks {
            program.run(look.split(' ')).await.exits(0);
        }
        assert_eq!(db.scalar::<String>(everything).await, before);
        assert!(db.scalar::<bool>("select to_regnamespace('pgtend') is null").await);
        assert_eq!(db.count("sessions").await, 1);
    })
    .await;
}

/// A job that is switched off is looked at too: somebody may want to know before it is switched on.
#[tokio::test]
async fn what_is_wrong_with_a_job_that_is_off_is_no_error_yet() {
    let db = Cluster::shared(newest_major()).database().await;
    let job = |enabled: bool| {
        format!(
            "[jobs.gone]\nenabled = {enabled}\n[jobs.gone.expire]\ntables = [{{ table = \"gone\", column = \"at\" }}]\n"
        )
    };
    let program = Pgtend::tending(&db, &job(true));
    let found = program.run(["check"]).await.exits(1).stdout;
    assert!(found.contains("error: job gone"), "{found}");
    program.configure_tending(&db, &job(false));
    let found = program.run(["check"]).await.exits(0).stdout;
    assert!(found.contains("warning: job gone: once it is enabled: "), "{found}");
}

/// Not only does a plan not want to write: the server would not let it. Only the server's log shows what a session was
/// set to, the settings' names first and their values after them, this one last.
#[tokio::test]
async fn a_plan_works_in_sessions_that_can_only_read() {
    let cluster = Cluster::with(newest_major(), &[("log_statement", "all")]);
    let db = cluster.database().await;
    db.execute("create table sessions (id int primary key, expires_at timestamptz)").await;
    let program = Pgtend::tending(&db, JOBS);
    let sessions_were = |value: &str| {
        let log = cluster.log();
        let settings = log.lines().filter(|line| line.contains("default_transaction_read_only"));
        let settings: Vec<_> = settings.filter(|line| line.contains('{') && line.contains("pgtend/sessions")).collect();
        assert!(!settings.is_empty(), "{log}");
        settings.iter().all(|line| line.trim_end().ends_with(&format!(",{value}}}'")))
    };
    program.run(["plan"]).await.exits(0);
    assert!(sessions_were("on"), "{}", cluster.log());
    program.run(["check"]).await.exits(0);
    assert!(sessions_were("on"), "{}", cluster.log());
    program.run(["run", "sessions"]).await.exits(0);
    assert!(!sessions_were("on"), "a run could not write: {}", cluster.log());
}

#[tokio::test]
async fn a_plan_is_one_object_an_action() {
    let (db, program) = with_sessions().await;
    let actions = program.run(["plan", "--json"]).await.exits(0).json();
    for action in &actions {
        let mut names: Vec<_> = action.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["action", "database", "detail", "job", "kind", "reason", "sql", "target"]);
        assert!(action["detail"].is_object() && action["reason"].is_string(), "{action}");
    }
    let of = |job: &str| actions.iter().find(|action| action["job"] == job).unwrap();
    assert_eq!(of("sessions")["action"], "delete_rows");
    assert!(of("sessions")["target"].as_str().unwrap().contains("sessions"));
    assert_eq!((&of("chore")["kind"], &of("chore")["action"]), (&"sql".into(), &"execute".into()));

    let only = program.run(["plan", "sessions", "--json"]).await.exits(0).json();
    assert!(!only.is_empty() && only.iter().all(|action| action["job"] == "sessions"));
    program.run(["plan", "nothing"]).await.exits(2);
    let table = program.run(["plan"]).await.exits(0).stdout;
    assert!(table.contains("sessions (expire, database main): would"), "{table}");
    assert!(table.contains("delete_rows"), "{table}");
    drop(db);
}

#[tokio::test]
async fn a_plan_can_be_made_as_of_another_time() {
    let (db, program) = with_sessions().await;
    let cutoff = async |at: &str| {
        let actions = program.run(["plan", "sessions", "--json", "--at", at]).await.exits(0).json();
        actions.iter().map(ToString::to_string).collect::<String>()
    };
    assert!(cutoff("2031-02-03").await.contains("2031-02-03"));
    assert!(cutoff("2031-02-03 04:05").await.contains("04:05"));
    program.run(["plan", "--at", "some day"]).await.exits(2);
    assert_eq!(db.count("sessions").await, 2);
}

#[tokio::test]
async fn the_next_run_is_told_with_its_jitter() {
    let (db, program) = with_sessions().await;
    program.configure_tending(&db, &JOBS.replace("\"@hourly\"", "\"@yearly\"\njitter = \"30m\""));
    let jobs = program.run(["status", "--json"]).await.exits(0).json();
    let next = jobs.iter().find(|job| job["job"] == "sessions").unwrap()["next_run_at"].as_str().unwrap();
    assert!(next.contains("-01-01T00:") && !next.contains("T00:00:00"), "{next}");
}

#[tokio::test]
async fn a_finding_has_its_file_and_line_and_its_mend() {
    let (db, program) = with_sessions().await;
    db.execute("drop table sessions").await;
    let text = std::fs::read_to_string(program.config()).unwrap();
    let output = program.run(["check", "--json"]).await.exits(1);
    let findings = output.json();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = &findings[0];
    assert_eq!(finding["severity"], "error");
    assert_eq!((&finding["job"], &finding["database"]), (&"sessions".into(), &"main".into()));
    assert_eq!(finding["file"].as_str(), program.config().to_str());
    let line = usize::try_from(finding["line"].as_u64().unwrap()).unwrap();
    let line = text.lines().nth(line - 1).unwrap();
    assert!(line.contains("jobs.sessions") || line.contains("public.sessions"), "{line}");
    assert!(finding["message"].as_str().unwrap().contains("sessions"), "{finding}");
    assert!(!finding["mend"].as_str().unwrap().is_empty(), "{finding}");
    let said = program.run(["check"]).await.exits(1).stdout;
    assert!(said.contains("pgtend.toml:") && said.contains("2 jobs in 1 database: 1 error, 0 warnings"), "{said}");
    program.run(["check", "--offline"]).await.exits(0);
}

/// The extension is not to be had here: its table, with its own policy, is.
#[tokio::test]
async fn what_pg_cron_already_does_is_told_and_what_it_runs_is_not_shown() {
    on_each_major(async |db| {
        db.execute(
            "CREATE SCHEMA cron; GRANT USAGE ON SCHEMA cron TO PUBLIC;
             CREATE TABLE cron.job (jobid bigint, schedule text, command text, nodename text, nodeport int,
                                    database text, username text, active boolean, jobname name);
             GRANT SELECT ON cron.job TO PUBLIC;
             ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
             CREATE POLICY cron_job_policy ON cron.job USING (username = CURRENT_USER);
             CREATE TABLE sessions (expires_at timestamptz); CREATE INDEX ON sessions (expires_at);
             CREATE TABLE old_sessions (expires_at timestamptz); CREATE INDEX ON old_sessions (expires_at);
             CREATE MATERIALIZED VIEW daily AS SELECT 1 AS one;
             CREATE FUNCTION purge() RETURNS void LANGUAGE sql AS 'DELETE FROM public.sessions WHERE expires_at < now()';
             INSERT INTO cron.job SELECT id, '0 1 * * *', command, '', 0, CASE id WHEN 6 THEN 'other' ELSE current_database() END,
                                         'postgres', id <> 5, CASE id WHEN 1 THEN 'purge' END
             FROM (VALUES (1, 'SELECT purge()'), (2, 'REFRESH MATERIALIZED VIEW daily'), (3, 'VACUUM'), (4, 'select ''swordfish'''),
                          (5, 'TRUNCATE old_sessions'), (6, 'TRUNCATE old_sessions')) AS j(id, command)",
        )
        .await;
        let jobs = "[jobs.ends.expire]\ntables = [{ table = 'sessions' }]\n\
                    [jobs.old.expire]\ntables = [{ table = 'old_sessions' }]\n\
                    [jobs.views.refresh]\nviews = ['*']\nexclude = ['stag*']\n\
                    [jobs.tidy.vacuum]\n";
        let program = Pgtend::tending(&db, jobs);
        let output = program.run(["check", "--json"]).await.exits(0);
        assert!(!output.stdout.contains("swordfish"), "{}", output.stdout);
        let told = |output: Vec<Value>| -> Vec<String> {
            let of_cron = |line: &&Value| line["message"].as_str().unwrap().contains("pg_cron");
            output.iter().filter(of_cron).map(|line| format!("{} {}", line["job"].as_str().unwrap(), line["mend"])).collect()
        };
        let unschedule = |job: &str, id| format!("{job} \"if it does what this job does: SELECT cron.unschedule({id});\"");
        assert_eq!(told(output.json()), [unschedule("ends", 1), unschedule("tidy", 3), unschedule("views", 2)]);

        // A role that its policy shows nothing is told nothing, and no error.
        let role = format!("s{}_stranger", db.name().split('_').next().unwrap());
        db.execute(&format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE \"{}\" TO {role}", db.name())).await;
        let stranger = Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{jobs}", db.url_as(&role)));
        let lines = stranger.run(["check", "--json"]).await.exits(1).json();
        assert_eq!(told(lines), Vec::<String>::new());
        // As the extension comes, nobody else may even look into its schema.
        db.execute("REVOKE USAGE ON SCHEMA cron FROM PUBLIC").await;
        let output = stranger.run(["check"]).await.exits(1);
        assert!(!output.stdout.contains("pg_cron"), "{}", output.stdout);
        db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_config_that_is_invalid_is_findings_for_programs_too() {
    let (db, program) = with_sessions().await;
    program.configure_tending(&db, &JOBS.replace("@hourly", "@often"));
    let findings = program.run(["check", "--json"]).await.exits(2).json();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["severity"], "error");
    let text = std::fs::read_to_string(program.config()).unwrap();
    let line = usize::try_from(findings[0]["line"].as_u64().unwrap()).unwrap();
    assert!(text.lines().nth(line - 1).unwrap().contains("@often"));
}

#[tokio::test]
async fn a_database_out_of_reach_is_an_error_for_whoever_needs_it() {
    let cluster = Cluster::stopped(newest_major(), &[]);
    let program = Pgtend::tending(&Database::named(cluster, "postgres"), JOBS);
    let findings = program.run(["check", "--json"]).await.exits(1).json();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((&findings[0]["job"], &findings[0]["database"]), (&Value::Null, &"main".into()));
    for command in ["plan", "status", "history", "run chore", "trigger chore"] {
        let output = program.run(command.split(' ')).await.exits(1);
        assert!(!output.stderr.is_empty(), "{command} says nothing");
    }
    // Nobody knows whether they ever ran.
    let table = program.run(["status"]).await.exits(1).stdout;
    assert!(table.contains("unknown") && !table.contains("never run"), "{table}");
    program.run(["check", "--offline"]).await.exits(0);
}

#[tokio::test]
async fn a_schedule_that_never_meets_its_window_is_an_error_and_one_that_comes_too_rarely_a_warning() {
    let jobs = |schedule: &str, keys: &str| {
        format!(
            "[databases.main]\nurl = \"postgresql://nobody@localhost/none\"\n[jobs.noon]\nschedule = \"{schedule}\"\n{keys}\n\
             window = \"22:00-06:00\"\n[jobs.noon.sql]\nstatements = [\"SELECT 1\"]\n\
             [jobs.months]\nschedule = \"@yearly\"\n[jobs.months.partitions]\n\
             tables = [{{ table = \"events\", every = \"1 month\", ahead = 2 }}, {{ table = \"calls\", every = \"1 month\", ahead = 12 }}]\n\
             [jobs.hours]\nschedule = \"@hourly\"\nwindow = \"22:00-06:00\"\n[jobs.hours.partitions]\n\
             tables = [{{ table = \"ticks\", every = \"1 hour\", ahead = 2 }}]\n"
        )
    };
    let program = Pgtend::new(&jobs("0 12 * * *", ""));
    let findings = program.run(["check", "--offline", "--json"]).await.exits(1).json();
    let of = |job: &str| findings.iter().filter(|one| one["job"] == job).collect::<Vec<_>>();
    let [never] = of("noon")[..] else { panic!("{findings:?}") };
    assert_eq!(never["severity"], "error");
    assert!(
        never["message"].as_str().unwrap().contains("no time of its schedule (0 12 * * *) lies in its window"),
        "{never}"
    );
    let [rarely] = of("months")[..] else { panic!("{findings:?}") };
    assert_eq!(rarely["severity"], "warning");
    let message = rarely["message"].as_str().unwrap();
    assert!(message.contains("events") && message.contains("the next run is at"), "{message}");
    // Each hour, if there were no window: what the last run of the night makes does not last until the evening.
    let [nights] = of("hours")[..] else { panic!("{findings:?}") };
    let message = nights["message"].as_str().unwrap();
    assert!(message.contains("05:00:00Z makes") && message.contains("22:00:00Z"), "{message}");
    let line = usize::try_from(rarely["line"].as_u64().unwrap()).unwrap();
    assert!(std::fs::read_to_string(program.config()).unwrap().lines().nth(line - 1).unwrap().contains("events"));

    // One that meets it now and then is in order, and what is off does no harm.
    for (schedule, keys, code) in [("0 */5 * * *", "", 0), ("* * * * * *", "", 0), ("0 12 * * *", "enabled = false", 0)]
    {
        Pgtend::new(&jobs(schedule, keys)).run(["check", "--offline"]).await.exits(code);
    }
}
