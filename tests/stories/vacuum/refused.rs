//! What the role may not vacuum: PostgreSQL passes over it with a warning, and says that all went well.

use serde_json::Value;

use super::{fails, run, tidying, times, with_dead};
use crate::support::{Database, Pgtend, on_each_major};

/// A role that may log in, with a schema of its own for the history.
async fn role(db: &Database, name: &str) -> String {
    let role = format!("s{}_{name}", db.name().split('_').next().unwrap());
    db.execute(&format!("create role {role} login; grant create on database \"{}\" to {role}", db.name())).await;
    role
}

async fn without(db: &Database, roles: &[&String]) {
    for role in roles {
        db.execute(&format!("reassign owned by {role} to postgres; drop owned by {role}; drop role {role}")).await;
    }
}

fn as_role(db: &Database, role: &str, kind: &str, keys: &str) -> Pgtend {
    let program = tidying(db, kind, keys);
    let text = std::fs::read_to_string(program.config()).unwrap();
    program.configure(&text.replace(&db.url(), &db.url_as(role)));
    program
}

#[tokio::test]
async fn a_table_of_somebody_else_is_a_failure_and_the_others_are_done() {
    on_each_major(async |db| {
        let (ours, theirs) = (role(&db, "tender").await, role(&db, "owner").await);
        for (table, owner) in [("mine", &ours), ("a", &theirs), ("b", &theirs)] {
            with_dead(&db, table, 10).await;
            db.execute(&format!("alter table {table} owner to {owner}")).await;
        }
        // What it owns may lie where it may not enter.
        db.execute(&format!(
            "create schema closed; create table closed.c (n int); alter table closed.c owner to {ours}"
        ))
        .await;
        // What PostgreSQL itself makes of it.
        let client = db.client_as(&ours).await;
        client.batch_execute("vacuum public.a").await.expect("no error");
        assert_eq!(times(&db, "a").await, (0, 0));

        let program = as_role(&db, &ours, "vacuum", "analyze = true");
        let record = fails(&program, "partial").await;
        let failures = record["details"]["failures"].as_array().unwrap();
        let failed: Vec<_> = failures.iter().map(|failure| failure["target"].as_str().unwrap()).collect();
        assert_eq!(failed, ["closed.c", "public.a", "public.b"], "{record}");
        assert!(
            record["error"].as_str().unwrap().contains(&format!("role {ours} may not vacuum or analyze it")),
            "{record}"
        );
        assert_eq!((times(&db, "mine").await, times(&db, "a").await), ((1, 1), (0, 0)));

        let found = program.run(["check", "--json"]).await.exits(1).json();
        let words = |finding: &Value| format!("{} {}", finding["message"], finding["mend"]).replace('\\', "");
        let found: Vec<_> = found.iter().filter(|finding| finding["job"] == "tidy").map(words).collect();
        assert!(found[0].contains("public.a, public.b") && found[0].contains(&theirs), "{found:?}");
        assert!(found[1].contains("closed.c") && found[1].contains("GRANT USAGE ON SCHEMA \"closed\""), "{found:?}");

        db.execute(&format!("grant usage on schema closed to {ours}")).await;
        let grant = if db.cluster().major() >= 17 {
            assert!(found[0].contains("GRANT MAINTAIN ON TABLE \"public\".\"a\""), "{found:?}");
            format!("grant maintain on a, b to {ours}")
        } else {
            assert!(found[0].contains(&format!("GRANT \"{theirs}\" TO \"{ours}\"")), "{found:?}");
            format!("grant {theirs} to {ours}")
        };
        db.execute(&grant).await;
        program.run(["check"]).await.exits(0);
        assert_eq!(run(&program).await["tables_vacuumed"], 4);

        // Whoever inherits nothing from the owner, as for jobs that make partitions, acts as the owner.
        let set = if db.cluster().major() >= 16 { " with inherit false, set true" } else { "" };
        db.execute(&format!(
            "revoke all on a, b from {ours}; alter role {ours} noinherit; grant {theirs} to {ours}{set}"
        ))
        .await;
        client.batch_execute("vacuum public.a").await.expect("no error");
        assert_eq!(times(&db, "a").await, (1, 1));
        program.run(["check"]).await.exits(0);
        assert_eq!(run(&program).await["tables_vacuumed"], 4);
        assert_eq!(times(&db, "a").await, (2, 2));
        without(&db, &[&ours, &theirs]).await;
    })
    .await;
}

/// Before 18 the statement of the parent comes by there, and passes over it.
#[tokio::test]
async fn a_partition_of_somebody_else_is_a_failure_beside_its_parent() {
    on_each_major(async |db| {
        let (ours, theirs) = (role(&db, "tender").await, role(&db, "owner").await);
        db.execute(&format!(
            "create table p (n int) partition by range (n); create table p_1 partition of p for values from (0) to (10);
             create table p_2 partition of p for values from (10) to (20); insert into p select generate_series(0, 19);
             alter table p owner to {ours}; alter table p_1 owner to {ours}; alter table p_2 owner to {theirs}"
        ))
        .await;
        let program = as_role(&db, &ours, "analyze", "");
        let record = fails(&program, "partial").await;
        assert_eq!(record["details"]["failures"].as_array().unwrap().len(), 1, "{record}");
        assert_eq!(record["details"]["failures"][0]["target"], "public.p_2", "{record}");
        assert_eq!(record["details"]["tables_analyzed"], 2, "{record}");
        assert_eq!([times(&db, "p").await, times(&db, "p_1").await, times(&db, "p_2").await], [(0, 1), (0, 1), (0, 0)]);
        without(&db, &[&ours, &theirs]).await;
    })
    .await;
}

/// A privilege that goes between the plan and the statement: only the server's own count tells.
#[tokio::test]
async fn what_postgresql_passes_over_was_not_done() {
    on_each_major(async |db| {
        let ours = role(&db, "tender").await;
        for table in ["first", "second"] {
            with_dead(&db, table, if table == "first" { 500 } else { 10 }).await;
            db.execute(&format!("alter table {table} owner to {ours}")).await;
        }
        let (program, hold) = as_role(&db, &ours, "vacuum", "").holding("vacuum.table");
        let process = program.start(["run", "tidy", "--json"]);
        hold.reached().await;
        db.execute("alter table first owner to postgres").await;
        hold.go_on();
        let record = process.wait().await.exits(1).json().remove(0);
        assert_eq!(
            (&record["outcome"], &record["details"]["tables_vacuumed"]),
            (&"partial".into(), &1.into()),
            "{record}"
        );
        assert!(record["error"].as_str().unwrap().contains("public.first: PostgreSQL passed over it"), "{record}");
        assert_eq!((times(&db, "first").await, times(&db, "second").await), ((0, 0), (1, 0)));
        without(&db, &[&ours]).await;
    })
    .await;
}
