//! What others who may connect, create or be slow can do to a daemon, and what settings of its own role can.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Cluster, GATED, Pgtend, Proxy, Webhook, newest_major, on_each_major, runs};

const PARTITIONS: &str = "[jobs.parts.partitions]\ntables = [{ table = 'events', every = '1 month' }]\n";
const PARTITIONED: &str = "CREATE TABLE events (at timestamptz NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE events_default PARTITION OF events DEFAULT;";

/// The connections of the runs are all at work; and so a look at the gauges would wait for as long as a run takes.
#[tokio::test]
async fn a_daemon_whose_runs_have_all_connections_sees_its_database_and_its_gauges() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    db.execute(PARTITIONED).await;
    let program = Pgtend::tending(&db, &format!("{GATED}{PARTITIONS}")).env("PGTEND_HURRY", "10");
    let config = std::fs::read_to_string(program.config()).unwrap();
    program.configure(&config.replace("[databases.main]\n", "[databases.main]\nmax_connections = 2\n"));
    db.execute(PARTITIONED.replace("events", "others").as_str()).await;
    let daemon = program.daemon().ready().await;
    daemon.http_get("/").await;
    let trigger = program.start(["trigger", "gated", "--wait"]);
    daemon
        .wait_until("the run to be at work", async || {
            db.scalar::<i64>("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pgtend/gated' and state = 'active'").await == 1
        })
        .await;
    // What came in since can only have been read meanwhile.
    db.execute("INSERT INTO events VALUES ('1999-01-01Z')").await;
    daemon.wait_for_metric("pgtend_default_partition_rows", &[("table", "public.events")], 1.0).await;
    assert_eq!(daemon.metric("pgtend_up", &[("database", "main")]).await, Some(1.0));
    assert!(!daemon.log().contains("out of reach"), "{}", daemon.log());
    db.open_gate().await;
    trigger.wait().await.exits(0);
    daemon.stop().await.exits(0);
}

/// The most memory that a process has had, in kB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn notifications_of_others_fill_no_memory_and_drown_no_request() {
    let db = Cluster::own(newest_major()).database().await;
    db.execute("CREATE ROLE guest LOGIN").await;
    let program = Pgtend::tending(&db, "[jobs.own.sql]\nstatements = [\"SELECT 1\"]\n");
    let daemon = program.daemon().ready().await;
    program.run(["trigger", "own", "--wait"]).await.exits(0);
    let before = peak(daemon.pid());
    let guest = db.client_as("guest").await;
    let flood = "SELECT pg_notify('pgtend', repeat('x', 7900) || n) FROM generate_series(1, 20000) AS n";
    guest.execute(flood, &[]).await.unwrap();
    program.run(["trigger", "own", "--wait"]).await.exits(0);
    let read = "SELECT pg_notification_queue_usage() = 0";
    daemon.wait_until("all of them to be read", async || db.scalar::<bool>(read).await).await;
    let more = peak(daemon.pid()).saturating_sub(before);
    assert!(more < 60_000, "{more} kB for 156 MB of notifications");
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn news_of_many_jobs_are_told_over_one_connection_and_each_once() {
    let db = Cluster::shared(newest_major()).database().await;
    let webhook = Webhook::listen().await;
    let jobs: String = (0..12).map(|n| format!("[jobs.bad{n}.sql]\nstatements = [\"SELECT 1 / 0\"]\n")).collect();
    let program = Pgtend::tending(&db, &format!("{jobs}[notify.ops]\nurl = \"{}\"\n", webhook.url("/")));
    let names: Vec<String> = (0..12).map(|n| format!("bad{n}")).collect();
    program.run(std::iter::once("run").chain(names.iter().map(String::as_str))).await.exits(1);
    webhook.hold(true);
    let daemon = program.daemon().ready().await;
    daemon.wait_until("the first to be told", async || !webhook.told().is_empty()).await;
    let connections = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pgtend/notify'";
    assert_eq!(db.scalar::<i64>(connections).await, 1);
    assert_eq!(webhook.told().len(), 1, "one after the other");
    webhook.hold(false);
    daemon.wait_until("all to be told", async || webhook.told().len() >= 12).await;
    let noted = "SELECT count(*) FROM pgtend.notice WHERE state = 'failing'";
    daemon.wait_until("all to be written down", async || db.scalar::<i64>(noted).await == 12).await;
    daemon.wait_until("the connection to be closed", async || db.scalar::<i64>(connections).await == 0).await;
    assert_eq!(webhook.told().len(), 12);
    daemon.stop().await.exits(0);
}

/// `ALTER ROLE … SET` is meant for people who look around.
#[tokio::test]
async fn settings_of_the_role_break_neither_runs_nor_their_records_nor_what_is_told() {
    let db = Cluster::own(newest_major()).database().await;
    db.execute(
        "CREATE ROLE careful SUPERUSER LOGIN; CREATE TABLE switch (ok int); INSERT INTO switch VALUES (0);
         ALTER ROLE careful SET default_transaction_read_only = on; ALTER ROLE careful SET search_path = nowhere;
         ALTER ROLE careful SET lock_timeout = '1ms'; ALTER ROLE careful SET idle_session_timeout = '1s'",
    )
    .await;
    let webhook = Webhook::listen().await;
    let job = "[jobs.chore.sql]\nstatements = [\"SELECT 1 / ok FROM public.switch\"]\n";
    let program = Pgtend::tending(&db, &format!("{job}[notify.ops]\nurl = \"{}\"\n", webhook.url("/")));
    let config = std::fs::read_to_string(program.config()).unwrap();
    program.configure(&config.replace("postgres@", "careful@"));
    let daemon = program.daemon().ready().await;
    program.run(["trigger", "chore", "--wait"]).await.exits(1);
    assert_eq!(db.outcomes("chore").await, ["failed"]);
    daemon.wait_until("the failure to be told", async || webhook.told().len() == 1).await;
    let noted = "SELECT count(*) FROM pgtend.notice WHERE state = 'failing'";
    daemon.wait_until("it to be written down", async || db.scalar::<i64>(noted).await == 1).await;
    daemon.stop().await.exits(0);
}

/// Whoever may create in the database may have been there before us.
#[tokio::test]
async fn what_others_have_made_in_the_place_of_our_tables_is_not_touched() {
    on_each_major(async |db| {
        let app = format!("app_{}", db.name().split('_').next().unwrap());
        db.execute(&format!(
            "CREATE ROLE {app}; GRANT CREATE ON DATABASE \"{}\" TO {app}; CREATE TABLE public.logs (at timestamptz);
             INSERT INTO public.logs VALUES ('2020-01-01Z'); SET ROLE {app}; CREATE SCHEMA pgtend; CREATE SCHEMA cron;
             CREATE FUNCTION pgtend.take() RETURNS text LANGUAGE plpgsql AS
               'BEGIN RAISE LOG ''taken over %'', current_user; RETURN ''''; END';
             CREATE VIEW pgtend.hold AS SELECT pgtend.take() AS relation, ''::text AS reason, NULL::timestamptz AS until;
             CREATE VIEW pgtend.run AS SELECT pgtend.take() AS job; CREATE TABLE pgtend.request (id uuid);
             CREATE VIEW cron.job AS SELECT 1 AS jobid, pgtend.take() AS jobname, '' AS schedule, '' AS command, true AS active,
               current_database() AS database",
            db.name()
        ))
        .await;
        let program = Pgtend::tending(&db, "[jobs.old.retention]\ntables = [{ table = 'logs', keep = '1 year', column = 'at' }]\n");
        let found = program.run(["check"]).await.exits(1).stdout;
        assert!(found.contains(&format!("schema pgtend belongs to {app}")), "{found}");
        assert!(found.contains("ALTER SCHEMA pgtend OWNER TO postgres"), "{found}");
        let run = program.run(["run", "old", "--json"]).await.exits(1);
        let record = run.json().remove(0);
        assert!(record["error"].as_str().unwrap().contains(&format!("belongs to {app}")), "{record}");
        assert_eq!(db.count("public.logs").await, 1);
        program.run(["plan"]).await;
        program.run(["status"]).await;
        program.run(["init", "--database-url", &db.url()]).await.exits(0);
        let daemon = program.daemon();
        daemon.wait_for_log("belongs to").await;
        daemon.stop().await.exits(0);
        // A table of a view's name that is ours is not looked for in vain.
        db.execute("ALTER SCHEMA pgtend OWNER TO postgres").await;
        let found = program.run(["check"]).await.exits(1).stdout;
        assert!(found.contains("pgtend.hold is no table"), "{found}");
        let taken = format!("@{}", db.name().chars().take(50).collect::<String>());
        let log = db.cluster().log();
        assert!(!log.lines().any(|line| line.contains(&taken) && line.contains("taken over")), "{log}");
        db.execute(&format!("DROP OWNED BY {app} CASCADE; DROP SCHEMA pgtend CASCADE")).await;
        program.run(["run", "old"]).await.exits(0);
        assert_eq!((db.count("public.logs").await, runs(&db, "old").await.len()), (0, 1));
        db.execute(&format!("DROP OWNED BY {app}; DROP ROLE {app}")).await;
    })
    .await;
}

/// On Windows no value but 0 is valid for it.
#[tokio::test]
async fn a_server_that_cannot_notice_the_end_of_a_client_is_worked_with_all_the_same() {
    let db = Cluster::shared(newest_major()).database().await;
    let proxy =
        Proxy::garbling(&db, ("client_connection_check_interval = 1000", "client_connection_check_interval = -100"));
    let program = Pgtend::new(&format!(
        "[databases.main]\nurl = \"{}\"\n[jobs.own.sql]\nstatements = [\"SELECT 1 / (current_setting('client_connection_check_interval') = '0')::int\"]\n",
        proxy.url()
    ));
    program.run(["run", "own"]).await.exits(0);
}

/// The server counts milliseconds in 31 bits.
#[tokio::test]
async fn a_run_may_take_longer_than_the_server_can_count() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{PARTITIONED} CREATE MATERIALIZED VIEW totals AS SELECT 1 AS n; CREATE UNIQUE INDEX ON totals (n);
             CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z')"
        ))
        .await;
        let job =
            |name: &str, keys: &str| format!("[jobs.{name}]\ntimeout = '60 days'\n[jobs.{name}.{name}]\n{keys}\n");
        let program = Pgtend::tending(
            &db,
            &(job("partitions", "tables = [{ table = 'events', every = '1 month' }]")
                + &job("retention", "tables = [{ table = 'events', keep = '1 year' }]")
                + &job("refresh", "views = ['totals']\nconcurrently = 'always'")
                + &job("sql", "statements = ['SELECT 1']")),
        );
        program.run(["run", "partitions", "retention", "refresh", "sql"]).await.exits(0);
    })
    .await;
}

/// Who says nothing, or says it letter by letter, has a place for half a minute and no longer.
#[tokio::test]
async fn a_slow_client_does_not_keep_its_place() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, "[jobs.own.sql]\nstatements = [\"SELECT 1\"]\n").env("PGTEND_HURRY", "6");
    let daemon = program.daemon().ready().await;
    // More than there are places.
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut client = TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap();
        client.write_all(b"GET /metr").await.unwrap();
        slow.push(client);
    }
    // It has its turn behind them: where all are let in at once, at once.
    assert_eq!(daemon.http_get("/healthz").await.status, 200);
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(open < 190, "{open} descriptors");
    // Whatever is answered, it ends.
    slow[0].read_to_end(&mut Vec::new()).await.ok();
    daemon.stop().await.exits(0);
}

#[tokio::test]
async fn a_daemon_that_stands_still_is_not_healthy() {
    let db = Cluster::shared(newest_major()).database().await;
    let program = Pgtend::tending(&db, "[jobs.own.sql]\nstatements = [\"SELECT 1\"]\n").env("PGTEND_HURRY", "60");
    let daemon = program.daemon().ready().await;
    assert_eq!(daemon.http_get("/healthz").await.status, 200);
    daemon.stop().await.exits(0);

    let gate = program.folder().join("gate");
    let program = program.env("PGTEND_TESTPOINTS", &format!("daemon.beat=hold:{}", gate.display()));
    let daemon = program.daemon();
    let stuck = "an answer that it stands still";
    daemon.wait_until(stuck, async || daemon.http_get("/healthz").await.status == 503).await;
    std::fs::write(&gate, "").unwrap();
    daemon.wait_until("it to be well again", async || daemon.http_get("/healthz").await.status == 200).await;
    daemon.stop().await.exits(0);
}
