//! The settings a job's sessions have, whatever the role or the server has as its own.

use std::collections::BTreeMap;

use crate::support::{Cluster, Database, Pgtend, majors};

/// What a job finds when it looks around.
const LOOK: &str = "[jobs.look]
timeout = '10 minutes'
lock_timeout = '5s'
[jobs.look.sql]
statements = ['INSERT INTO seen SELECT name, setting FROM pg_settings']
";

/// Runs [`LOOK`] as a role that has settings of its own; gives what the job found.
async fn seen(db: &Database) -> BTreeMap<String, String> {
    db.execute(
        "create role tender login;
         alter role tender set statement_timeout = '7s'; alter role tender set lock_timeout = 0;
         alter role tender set TimeZone = 'Asia/Kathmandu'; alter role tender set DateStyle = 'German';
         alter role tender set row_security = on; alter role tender set default_transaction_read_only = on;
         alter role tender set idle_in_transaction_session_timeout = '1ms';
         create table seen (name text, setting text); grant insert, select on seen to tender;
         create schema pgtend authorization tender",
    )
    .await;
    let config = format!("[databases.main]\nurl = \"{}\"\n{LOOK}", db.url_as("tender"));
    Pgtend::new(&config).run(["run", "look"]).await.exits(0);
    let rows = db.client().await.query("select name, setting from seen", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_session_has_our_settings_and_not_the_roles() {
    for major in majors() {
        let db = Cluster::own(major).database().await;
        let seen = seen(&db).await;
        let setting = |name: &str| seen[name].as_str();
        assert_eq!(setting("application_name"), "pgtend/look");
        assert_eq!(setting("TimeZone"), "UTC");
        assert_eq!(setting("DateStyle"), "ISO, MDY");
        assert_eq!(setting("row_security"), "off");
        assert_eq!(setting("default_transaction_read_only"), "off");
        if major >= 14 {
            assert_eq!(setting("client_connection_check_interval"), "1000");
        }
        // The job's own timeout, less what has gone by, and a little, since the runner comes first.
        let statement_timeout: u32 = setting("statement_timeout").parse().unwrap();
        assert!((540_000..=602_000).contains(&statement_timeout), "{statement_timeout}");
        // The job says 5s: half of deadlock_timeout, which is a second, is less.
        assert_eq!(setting("lock_timeout"), "500");
    }
}

#[tokio::test]
async fn in_a_deadlock_it_is_we_who_give_way() {
    for major in majors() {
        let db = Cluster::with(major, &[("deadlock_timeout", "200ms")]).database().await;
        assert_eq!(seen(&db).await["lock_timeout"], "100");
    }
}
