//! Holds: of a table, of one of its children, of what it is part of; before the plan, after it, and in the middle of the work.

use super::*;

/// A log, and two children by inheritance, one under the other; ten old rows each.
const FAMILY: &str = "
    CREATE TABLE log (id int, created_at timestamptz);
    CREATE TABLE \"Middle\" () INHERITS (log);
    CREATE TABLE lowest () INHERITS (\"Middle\");
    INSERT INTO log SELECT n, now() - interval '40 days' FROM generate_series(1, 10) n;
    INSERT INTO \"Middle\" SELECT n, now() - interval '40 days' FROM generate_series(11, 20) n;
    INSERT INTO lowest SELECT n, now() - interval '40 days' FROM generate_series(21, 30) n;";

fn job() -> String {
    keeping("keep = '30 days', column = 'created_at'")
}

/// Rows of the log alone, of the child, and of the child's child.
async fn each(db: &Database) -> (i64, i64, i64) {
    (db.count("ONLY log").await, db.count("ONLY \"Middle\"").await, db.count("lowest").await)
}

async fn hold(db: &Database, relation: &str) {
    db.execute(&format!("INSERT INTO pgtend.hold (relation, reason) VALUES ('{relation}', 'a lawsuit')")).await;
}

/// The table of holds is made by the first run.
async fn prepared(db: &Database) -> Pgtend {
    db.execute("DROP TABLE IF EXISTS log CASCADE; CREATE TABLE log (created_at timestamptz)").await;
    let program = Pgtend::tending(db, &job());
    run(&program, 0).await;
    db.execute("DROP TABLE log; DELETE FROM pgtend.hold").await;
    db.execute(FAMILY).await;
    program
}

#[tokio::test]
async fn a_child_on_hold_keeps_its_rows_and_the_plan_says_so() {
    on_each_major(async |db| {
        let program = prepared(&db).await;
        hold(&db, "lowest").await;
        let lines = plan(&program).await;
        assert!(lines.contains(&"keep public.lowest: held: a lawsuit".into()), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("delete_rows")).count(), 2, "{lines:?}");
        let output = program.run(["run", "old", "--json"]).await.exits(0);
        let details = &output.json()[0]["details"];
        assert_eq!(details["rows_deleted"], 20);
        assert_eq!((&details["held"], details.get("warnings")), (&serde_json::json!(["public.lowest"]), None));
        assert!(output.stderr.contains("left alone: held: a lawsuit"), "{}", output.stderr);
        assert_eq!(each(&db).await, (0, 0, 10));
    })
    .await;
}

#[tokio::test]
async fn a_hold_on_what_a_table_is_part_of_is_one_on_the_table() {
    on_each_major(async |db| {
        let program = prepared(&db).await;
        hold(&db, "\"Middle\"").await;
        let lines = plan(&program).await;
        assert!(lines.contains(&"keep public.lowest: public.\"Middle\" is held: a lawsuit".into()), "{lines:?}");
        assert_eq!(run(&program, 0).await["details"]["rows_deleted"], 10);
        assert_eq!(each(&db).await, (0, 10, 10));
    })
    .await;
}

/// Such a table is looked at anew when its turn comes, child by child.
#[tokio::test]
async fn a_child_on_hold_keeps_its_rows_where_the_table_was_locked_when_the_plan_was_made() {
    on_each_major(async |db| {
        for (relation, left) in [("lowest", (0, 0, 10)), ("\"Middle\"", (0, 10, 10)), ("log", (10, 10, 10))] {
            prepared(&db).await;
            let mut locker = db.client().await;
            let lock = locker.transaction().await.unwrap();
            lock.batch_execute("LOCK TABLE log IN ACCESS EXCLUSIVE MODE").await.unwrap();
            let (program, at) = Pgtend::tending(&db, &job()).holding("retention.rows");
            let running = program.start(["run", "old", "--json"]);
            at.reached().await;
            hold(&db, relation).await;
            lock.commit().await.unwrap();
            at.go_on();
            let record = running.wait().await.exits(0).json().remove(0);
            assert!(record["details"]["warnings"].to_string().contains("held: a lawsuit"), "{record}");
            assert_eq!(each(&db).await, left, "a hold on {relation}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_hold_that_comes_while_rows_go_keeps_all_that_are_left() {
    on_each_major(async |db| {
        for relation in ["lowest", "\"Middle\"", "log"] {
            prepared(&db).await;
            db.execute("DELETE FROM ONLY log; DELETE FROM ONLY \"Middle\"").await;
            let jobs = format!("{}batch = {{ rows = 3, pause = '0s' }}\n", job());
            let (program, at) = Pgtend::tending(&db, &jobs).holding("batch.committed");
            let running = program.start(["run", "old", "--json"]);
            at.reached().await;
            hold(&db, relation).await;
            at.go_on();
            let record = running.wait().await.exits(0).json().remove(0);
            assert_eq!(record["details"]["rows_deleted"], 3, "{record}");
            assert!(record["details"]["warnings"].to_string().contains("held: a lawsuit"), "{record}");
            assert_eq!(each(&db).await, (0, 0, 7), "a hold on {relation}");
        }
    })
    .await;
}

#[tokio::test]
async fn holds_that_can_no_longer_be_read_stop_the_work() {
    on_each_major(async |db| {
        for gone in ["DROP TABLE pgtend.hold", "INSERT INTO pgtend.hold VALUES ('a.b.c.d', 'what is this?')"] {
            prepared(&db).await;
            db.execute("DELETE FROM ONLY log; DELETE FROM ONLY \"Middle\"").await;
            let jobs = format!("{}batch = {{ rows = 3, pause = '0s' }}\n", job());
            let (program, at) = Pgtend::tending(&db, &jobs).holding("batch.committed");
            let running = program.start(["run", "old", "--json"]);
            at.reached().await;
            db.execute(gone).await;
            at.go_on();
            let record = running.wait().await.exits(1).json().remove(0);
            assert!(record["details"]["failures"].to_string().contains("pgtend.hold"), "{record}");
            assert_eq!(each(&db).await, (0, 0, 7), "after {gone}");
            db.execute("DROP TABLE IF EXISTS pgtend.hold").await;
        }
    })
    .await;
}
