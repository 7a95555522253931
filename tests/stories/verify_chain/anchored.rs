//! The audit log of the code review application, as it is built, and after retention has dropped its oldest months.

use serde_json::Value;

use crate::shipped_partitions::shipped;
use crate::support::{Database, Pgtend, on_each_major};

const LOG: &str = "audits.audit_log";

/// The shipped job, and one that drops what is older than a year, after an export, as nobody does unasked.
fn jobs(db: &Database) -> Pgtend {
    let dropping = format!(
        "[jobs.old.retention]\ntables = [{{ table = \"{LOG}\", keep = \"1 year\", export = \"local\", immutable = \"drop-after-export\", max_partitions = 3 }}]\n"
    );
    Pgtend::tending(db, &format!("{}{dropping}", shipped("code-review.toml")))
}

async fn verify(program: &Pgtend, code: i32) -> Value {
    program.run(["run", "code-review-chain", "--json"]).await.exits(code).json().remove(0)
}

#[tokio::test]
async fn the_shipped_job_follows_the_log_over_all_its_months() {
    on_each_major(async |db| {
        db.load("code-review.sql", &[("rows", "300")]);
        let program = jobs(&db);
        let record = verify(&program, 0).await;
        assert_eq!((&record["details"]["rows"], &record["details"]["warnings"]), (&300.into(), &Value::Null), "{record}");
        assert_eq!(record["details"]["began_at_anchor"], false);
        // Its triggers keep it from being changed, but not from whoever turns them off.
        db.execute("ALTER TABLE audits.audit_log DISABLE TRIGGER USER; UPDATE audits.audit_log SET signature = md5('x') WHERE id = 150").await;
        let record = verify(&program, 1).await;
        assert!(record["error"].as_str().unwrap().contains("that is not there (id 151)"), "{record}");
    })
    .await;
}

#[tokio::test]
async fn after_old_months_were_dropped_it_goes_on_from_what_is_remembered_of_them() {
    on_each_major(async |db| {
        // Months of the last two years, so that some are older than one.
        let from: String = db.scalar("SELECT (date_trunc('month', now()) - interval '17 months')::date::text").await;
        let to: String = db.scalar("SELECT (date_trunc('month', now()) + interval '1 month')::date::text").await;
        db.load("code-review.sql", &[("rows", "300"), ("partitions_from", &from), ("partitions_to", &to)]);
        let program = jobs(&db);
        let dropped = program.run(["run", "old", "--json"]).await.exits(0).json().remove(0);
        assert_eq!(dropped["details"]["partitions_dropped"], 3, "{dropped}");
        let left = db.count(LOG).await;
        assert!(left < 300);
        let record = verify(&program, 0).await;
        let details = &record["details"];
        assert_eq!((&details["rows"], &details["began_at_anchor"]), (&left.into(), &true.into()), "{record}");
        assert_eq!(details["warnings"], Value::Null, "{record}");
        let plan = program.run(["plan", "code-review-chain", "--json"]).await.exits(0).json().remove(0);
        assert_eq!((&plan["action"], &plan["detail"]["anchors"]), (&"verify_chain".into(), &3.into()), "{plan}");

        // What somebody else drops leaves nothing to go on from.
        let first: i64 = db.scalar("SELECT min(id) FROM audits.audit_log").await;
        db.execute(&format!("ALTER TABLE audits.audit_log DISABLE TRIGGER USER; UPDATE audits.audit_log SET prev_hash = NULL WHERE id = {first}")).await;
        let record = verify(&program, 1).await;
        assert!(record["error"].as_str().unwrap().contains("pgtend.anchor remembers rows before it"), "{record}");
        db.execute(&format!("DELETE FROM audits.audit_log WHERE id = {first}")).await;
        let record = verify(&program, 1).await;
        assert!(record["error"].as_str().unwrap().contains(&format!("(id {})", first + 1)), "{record}");
    })
    .await;
}

/// Two entries at once take the same predecessor.
#[tokio::test]
async fn entries_that_were_written_at_once_fork_the_log_and_that_is_no_failure() {
    on_each_major(async |db| {
        db.load("code-review.sql", &[("rows", "60")]);
        let add = "INSERT INTO audits.audit_log (entity, action, prev_hash, signature, ts)
                   SELECT 'policy', 'create', signature, md5(random()::text), ts FROM audits.audit_log WHERE id = 60";
        db.execute(&format!("{add}; {add}")).await;
        let record = verify(&jobs(&db), 0).await;
        assert_eq!(record["details"]["forks"], 1, "{record}");
        assert!(record["details"]["warnings"][0].as_str().unwrap().contains("(id 62)"), "{record}");
    })
    .await;
}

/// Whoever may create in the database may have been there first, with functions that would run as our role.
#[tokio::test]
async fn what_a_stranger_says_was_dropped_is_not_asked() {
    on_each_major(async |db| {
        db.load("code-review.sql", &[("rows", "60")]);
        let role = format!("s{}_forger", db.name().split('_').next().unwrap());
        db.execute(&format!(
            "CREATE ROLE {role}; CREATE TABLE called (by name); GRANT INSERT ON called TO PUBLIC;
             GRANT CREATE ON DATABASE \"{}\" TO {role}; SET ROLE {role}; CREATE SCHEMA pgtend;
             CREATE FUNCTION pgtend.call() RETURNS bigint LANGUAGE sql AS 'INSERT INTO public.called VALUES (current_user) RETURNING 1::bigint';
             CREATE VIEW pgtend.anchor AS SELECT 1::bigint AS id, '{LOG}'::text AS relation, 'p'::text AS partition,
                 1::bigint AS rows, '{{}}'::jsonb AS last WHERE pgtend.call() > 0;
             RESET ROLE",
            db.name()
        ))
        .await;
        let record = verify(&jobs(&db), 1).await;
        assert!(record["error"].as_str().unwrap().contains("is not used"), "{record}");
        assert_eq!(db.count("called").await, 0);
    })
    .await;
}
