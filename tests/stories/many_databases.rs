//! One daemon of many databases: what it takes of the servers, and that it takes no more.

use crate::support::{Cluster, Database, Pgtend, newest_major, wait_until};

/// One more than are listened to.
const MANY: usize = 51;

/// A config of many databases. All of them are the same one on the server: what is counted is who works there.
fn config(db: &Database, top: &str, jobs: &str) -> String {
    let database = |n| format!("[databases.tenant-{n:02}]\nurl = \"{}\"\n", db.url());
    let databases: String = (0..MANY).map(database).collect();
    format!("{top}\n{databases}\n[http]\nlisten = \"{{listen}}\"\n{jobs}")
}

/// A job that leaves in `seen` how many of something there are while it is at work, and takes long enough to meet others.
fn meeting(job: &str, keys: &str, count: &str) -> String {
    format!(
        "[jobs.{job}]
{keys}
[jobs.{job}.sql]
transaction = false
statements = [
    'INSERT INTO working VALUES (pg_backend_pid())',
    \"INSERT INTO seen {count}\",
    'SELECT pg_sleep(0.1)',
    \"INSERT INTO seen {count}\",
    'DELETE FROM working WHERE pid = pg_backend_pid()',
]
"
    )
}

async fn meeting_place(db: &Database) {
    db.execute("create table working (pid int); create table seen (runs bigint)").await;
}

#[tokio::test]
async fn many_databases_are_looked_at_and_not_listened_to() {
    let db = Cluster::shared(newest_major()).database().await;
    db.add_gate().await;
    db.open_gate().await;
    let jobs = "[jobs.chore]\ndatabases = ['tenant-*']\nsql = { statements = ['INSERT INTO done DEFAULT VALUES'] }\n";
    let program = Pgtend::new(&config(&db, "", jobs));
    let daemon = program.daemon().ready().await;
    daemon.wait_for_metric("pgtend_up", &[], MANY as f64).await;

    // Each is first seen over a connection of its own; none of them stays.
    let few = async || db.backends("pgtend%").await.len() <= 5;
    wait_until("the daemon to have few sessions", few).await;
    let listening =
        "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'";
    assert_eq!(db.scalar::<i64>(listening).await, 0);

    // `trigger` gives up after ten seconds.
    program.run(["trigger", "chore", "--database", "tenant-50", "--wait"]).await.exits(0);
    assert_eq!(db.outcomes("chore@tenant-50").await, ["succeeded"]);
    assert_eq!(db.count("done").await, 1);
    wait_until("the sessions of the run to be gone", few).await;
}

#[tokio::test]
async fn max_runs_bounds_the_runs_of_all_databases_together() {
    let db = Cluster::shared(newest_major()).database().await;
    meeting_place(&db).await;
    let jobs = meeting("meet", "databases = ['tenant-*']", "SELECT count(*) FROM working");
    let program = Pgtend::new(&config(&db, "max_runs = 3", &jobs));
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    daemon.wait_for_metric("pgtend_job_runs_total", &[("outcome", "succeeded")], MANY as f64).await;
    assert_eq!(db.scalar::<i64>("select max(runs) from seen").await, 3, "no more, and no fewer");
}

#[tokio::test]
async fn max_connections_bounds_what_the_runs_have_of_one_database() {
    const JOBS: usize = 8;
    let db = Cluster::shared(newest_major()).database().await;
    meeting_place(&db).await;
    // The connections of the locks included.
    let count = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name LIKE 'pgtend/%'";
    let jobs: String = (0..JOBS).map(|n| meeting(&format!("meet-{n}"), "", count)).collect();
    let config = format!(
        "[databases.main]\nurl = \"{}\"\nmax_connections = 4\n[http]\nlisten = \"{{listen}}\"\n{jobs}",
        db.url()
    );
    let program = Pgtend::new(&config);
    let daemon = program.daemon().ready().await;
    daemon.signal(libc::SIGUSR1);
    daemon.wait_for_metric("pgtend_job_runs_total", &[("outcome", "succeeded")], JOBS as f64).await;
    // A session that was told goodbye may be listed for another moment.
    let often = "select max(runs) from (select runs from seen group by runs having count(*) > 2) as often";
    assert_eq!(db.scalar::<i64>(often).await, 4, "no more, and no fewer");
}
