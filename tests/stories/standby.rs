//! A streaming replica: what writes waits for the primary, what reads does not, and a failover is followed.

use crate::support::{Cluster, Daemon, Database, Pgtend, majors, runs, wait_until};

const JOBS: &str =
    "[jobs.chore]\nschedule = '* * * * * *'\n[jobs.chore.sql]\nstatements = ['INSERT INTO done DEFAULT VALUES']\n";
const BY_HAND: &str = "[jobs.chore.sql]\nstatements = ['INSERT INTO done DEFAULT VALUES']\n";

/// A database with one run in its history, and its copy on a standby that has all of it.
async fn pair(major: u32) -> (Cluster, Database, Database) {
    let primary = Cluster::own(major);
    let db = primary.database().await;
    db.execute("create table done (at timestamptz default now())").await;
    Pgtend::tending(&db, BY_HAND).run(["run", "chore"]).await.exits(0);
    // Made now, it has what is there now.
    let copy = Database::named(primary.standby(), db.name());
    (primary, db, copy)
}

async fn wait_for_scheduled_runs(db: &Database, daemon: &Daemon, more_than: usize) {
    let scheduled = async || {
        let Ok(client) = db.try_client_as("postgres").await else { return 0 };
        let rows =
            client.query("select from pgtend.run where trigger = 'schedule' and outcome = 'succeeded'", &[]).await;
        rows.map_or(0, |rows| rows.len())
    };
    daemon.wait_until("scheduled runs", async || scheduled().await > more_than).await;
}

#[tokio::test]
async fn a_standby_is_read_and_what_would_write_is_skipped() {
    for major in majors() {
        let (_primary, db, copy) = pair(major).await;
        let program = Pgtend::tending(&copy, BY_HAND);

        let [record] = program.run(["run", "chore", "--json"]).await.exits(0).json().try_into().expect("one record");
        assert_eq!(record["outcome"], "skipped");
        assert_eq!(record["details"]["skipped"], "standby");
        let why = record["details"]["reason"].as_str().unwrap();
        assert!(why.contains("main") && why.contains("standby"), "{why}");
        let for_people = program.run(["run", "chore"]).await.exits(0);
        assert!(for_people.stdout.contains("standby"), "{}", for_people.stdout);

        assert_eq!(program.run(["plan", "--json"]).await.exits(0).json().len(), 1);
        let [status] = program.run(["status", "--json"]).await.exits(0).json().try_into().expect("one job");
        assert_eq!(status["last_outcome"], "succeeded");
        let [past] = program.run(["history", "--json"]).await.exits(0).json().try_into().expect("one run");
        assert_eq!(past["trigger"], "cli");
        let [finding] = program.run(["check", "--json"]).await.exits(0).json().try_into().expect("one finding");
        assert_eq!(finding["severity"], "warning");
        assert!(finding["message"].as_str().unwrap().contains("standby"), "{finding}");
        let refused = program.run(["trigger", "chore"]).await.exits(1);
        assert!(refused.stderr.contains("standby"), "{}", refused.stderr);

        assert_eq!((db.count("done").await, runs(&db, "chore").await.len()), (1, 1));
    }
}

#[tokio::test]
async fn a_daemon_on_a_standby_begins_when_it_is_promoted() {
    for major in majors() {
        let (primary, _db, copy) = pair(major).await;
        // Asked for, it cannot meet a run of its own that is due.
        let program = Pgtend::tending(&copy, &format!("{JOBS}{}", BY_HAND.replace("chore", "asked")));
        let daemon = program.daemon().ready().await;
        daemon.wait_for_log("is a standby, where nothing can be written").await;
        assert_eq!(daemon.metric("pgtend_up", &[("database", "main")]).await, Some(1.0));

        primary.stop();
        assert!(copy.scalar::<bool>("select pg_promote()").await);
        wait_for_scheduled_runs(&copy, &daemon, 1).await;
        // It is a primary like any other now: requests are heard, too.
        daemon.wait_for_log("within reach again").await;
        program.run(["trigger", "asked"]).await.exits(0);
        daemon
            .wait_until("the run that was asked for", async || {
                runs(&copy, "asked").await.iter().any(|run| run.starts_with("- notify"))
            })
            .await;
    }
}

#[tokio::test]
async fn a_daemon_that_knows_both_hosts_follows_a_failover() {
    for major in majors() {
        let (primary, db, copy) = pair(major).await;
        let hosts = [&primary, copy.cluster()].map(|cluster| cluster.host().display().to_string()).join(",");
        let url =
            format!("postgresql://postgres@/{}?host={hosts}&port=5432,5432&target_session_attrs=read-write", db.name());
        let config = format!("[databases.main]\nurl = \"{url}\"\n[http]\nlisten = \"{{listen}}\"\n{JOBS}");
        let daemon = Pgtend::new(&config);
        let daemon = daemon.daemon().ready().await;
        wait_for_scheduled_runs(&db, &daemon, 0).await;

        primary.stop();
        let before = runs(&copy, "chore").await.len();
        assert!(copy.scalar::<bool>("select pg_promote()").await);
        wait_for_scheduled_runs(&copy, &daemon, before).await;
        daemon.wait_for_metric("pgtend_up", &[("database", "main")], 1.0).await;
    }
}

#[tokio::test]
async fn with_nothing_but_a_standby_to_be_had_read_write_waits() {
    let major = *majors().last().unwrap();
    let (_primary, _db, copy) = pair(major).await;
    let url = format!("{}&target_session_attrs=read-write", copy.url());
    let program = Pgtend::new(&format!("[databases.main]\nurl = \"{url}\"\n{JOBS}"));
    let failed = program.run(["run", "chore"]).await.exits(1);
    assert!(failed.stdout.contains("standby") || failed.stdout.contains("read-write"), "{}", failed.stdout);
    wait_until("the standby is as it was", async || copy.count("done").await == 1).await;
}
