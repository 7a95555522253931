//! Lucy: the months of its three large tables, of which one is immutable, and a promise that nothing is lost.

use super::{Job, NO_PARTITION, fingerprint, mid, month, partitions, shipped, sqlstate, text};
use crate::support::{Clock, Cluster, Database, newest_major, on_each_major};

const NAME: &str = "lucy-partitions";

fn load(db: &Database, variables: &[(&str, &str)]) -> Job {
    db.load("lucy.sql", &[&[("rows", "100")], variables].concat());
    Job::new(db, NAME, &shipped("lucy.toml"))
}

fn insert(table: &str, months: i32) -> String {
    let (columns, values) = match table {
        "cost_log" => ("model, cost_usd", "'m', 1"),
        "audit_log" => ("actor, action", "'a', 'b'"),
        _ => ("url", "'u'"),
    };
    format!(
        "INSERT INTO {table} (workspace_id, year_month, {columns})
         SELECT id, to_char({} AT TIME ZONE 'UTC', 'YYYY-MM'), {values} FROM workspaces LIMIT 1",
        mid(months)
    )
}

#[tokio::test]
async fn months_that_one_list_holds_together_are_not_made_again() {
    on_each_major(async |db| {
        let job = load(&db, &[]);
        let months =
            [month(&db, 1).await, month(&db, 2).await, month(&db, 5).await].map(|month| month.replace('_', "-"));
        db.execute(&format!(
            "CREATE TABLE some_months PARTITION OF cost_log FOR VALUES IN ('{}', '{}', '{}', NULL, 'none')",
            months[0], months[1], months[2]
        ))
        .await;
        let notes = job.notes().await;
        assert!(notes.contains("public.some_months holds rows without a time, NULL"), "{notes}");
        job.makes(9 + 12 + 12).await;
        for ahead in 0..=12 {
            assert_eq!(sqlstate(&db, &insert("cost_log", ahead)).await, "", "{ahead} months ahead");
        }
        assert_eq!(db.count("some_months").await, 3);
    })
    .await;
}

#[tokio::test]
async fn in_the_first_hours_of_a_month_the_walls_of_every_zone_find_a_partition() {
    let clock = Clock::at("2027-01-31T23:00:00Z");
    let db = Cluster::by(&clock, newest_major()).database().await;
    let job = load(&db, &[("now", "2027-01-31 23:00:00Z")]);
    let job = Job { program: job.program.by(&clock), ..job };
    let write = async |zone: &str| {
        let sql = "INSERT INTO cost_log (workspace_id, model, cost_usd) SELECT id, 'm', 1 FROM workspaces LIMIT 1 RETURNING year_month";
        let client = db.client().await;
        client.batch_execute(&format!("SET timezone = '{zone}'")).await.unwrap();
        client
            .query_one(sql, &[])
            .await
            .map(|row| row.get::<_, String>(0))
            .map_err(|e| e.code().unwrap().code().to_string())
    };
    // An hour before the month ends in UTC it has ended in Tokyo.
    assert_eq!(write("Asia/Tokyo").await, Err(NO_PARTITION.to_string()));
    job.makes(36).await;
    assert_eq!(write("Asia/Tokyo").await, Ok("2027-02".to_string()));
    clock.set("2027-02-01T02:00:00Z");
    assert_eq!(write("America/New_York").await, Ok("2027-01".to_string()));
    assert_eq!(write("UTC").await, Ok("2027-02".to_string()));
    // The month that begins makes room for one more.
    job.makes(3).await;
    assert_eq!(write("America/New_York").await, Ok("2027-01".to_string()));
}

/// Nothing is lost.
#[tokio::test]
async fn rows_in_default_partitions_go_to_their_month_and_none_of_audit_log_is_deleted() {
    on_each_major(async |db| {
        for immutable in ["row", "statement"] {
            eprintln!("a trigger for each {immutable}");
            let db = db.cluster().database().await;
            let job = load(&db, &[("defaults", "on"), ("immutable", immutable)]);
            for table in ["cost_log", "audit_log", "webhook_deliveries"] {
                db.execute(&format!("{0}; {0}; {1}", insert(table, 1), insert(table, 14))).await;
            }
            let before = (fingerprint(&db, "cost_log").await, fingerprint(&db, "audit_log").await);
            let old: u32 = db.scalar("SELECT 'audit_log_default'::regclass::oid").await;
            job.makes(36).await;
            let after = (fingerprint(&db, "cost_log").await, fingerprint(&db, "audit_log").await);
            assert_eq!(before, after);
            let next = month(&db, 1).await;
            for table in ["cost_log", "audit_log", "webhook_deliveries"] {
                let counts = (db.count(&format!("{table}_{next}")).await, db.count(&format!("{table}_default")).await);
                assert_eq!(counts, (2, 1), "{table}");
            }
            let new: u32 = db.scalar("SELECT 'audit_log_default'::regclass::oid").await;
            assert_ne!(old, new, "a smaller one took its place");
            let what = format!("DELETE FROM audit_log_{next}");
            // A trigger for each statement guards the name of the parent and no other.
            assert_eq!(sqlstate(&db, "DELETE FROM audit_log").await, "P0001");
            let guarded = if immutable == "row" { "P0001" } else { "" };
            assert_eq!(sqlstate(&db, &what).await, guarded);
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_month_of_audit_log_is_as_immutable_as_the_others_and_none_goes() {
    on_each_major(async |db| {
        let job = load(&db, &[("months_back", "30")]);
        let old = partitions(&db, "audit_log").await;
        job.makes(36).await;
        let all = partitions(&db, "audit_log").await;
        assert!(old.iter().all(|name| all.contains(name)), "{all:?}");
        db.execute(&insert("audit_log", 3)).await;
        let three = month(&db, 3).await;
        for sql in ["DELETE FROM audit_log", "UPDATE audit_log SET actor = 'nobody'"] {
            assert_eq!(sqlstate(&db, sql).await, "P0001");
            assert_eq!(sqlstate(&db, &sql.replace("audit_log", &format!("audit_log_{three}"))).await, "P0001");
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_works_in_three_sessions_at_most() {
    on_each_major(async |db| {
        let job = load(&db, &[]);
        let (program, hold) = job.program.holding("partitions.attach");
        let job = Job { program, ..job };
        let run = job.program.start(["run", NAME, "--json"]);
        hold.reached().await;
        let sessions = db.backends("pgtend%").await.len();
        assert!((1..=3).contains(&sessions), "{sessions} sessions");
        hold.go_on();
        let record = run.wait().await.exits(0).json().pop().unwrap();
        assert_eq!(text(&record["outcome"]), "succeeded");
    })
    .await;
}
