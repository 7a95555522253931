//! Views with odd names, odd owners, and nothing in them.

use super::{BELIEVED, COUNTED, run, tending, text, would};
use crate::support::{Pgtend, on_each_major};

#[tokio::test]
async fn names_of_every_kind_are_refreshed_as_they_are_written() {
    on_each_major(async |db| {
        let long = "x".repeat(63);
        let names =
            ["\"Big\".\"Sales By Day\"", "\"Big\".\"a\"\"b'c.d\"", "\"Big\".\"πωλήσεις\"", &format!("\"Big\".{long}")];
        db.execute("CREATE SCHEMA \"Big\"; CREATE TABLE \"Big\".\"T\" AS SELECT 1 AS \"Id\"").await;
        for name in names {
            let index = format!("CREATE UNIQUE INDEX ON {name} (\"Id\")");
            db.execute(&format!("CREATE MATERIALIZED VIEW {name} AS SELECT \"Id\" FROM \"Big\".\"T\"; {index}")).await;
        }
        db.execute("INSERT INTO \"Big\".\"T\" VALUES (2)").await;
        let listed: Vec<_> = names.iter().map(|name| format!("'''{name}'''")).collect();
        let keys = format!("views = [{}]\nconcurrently = \"always\"\nskip_unchanged = true", listed.join(", "));
        let program = tending(&db, &keys);
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["views_refreshed"], 4, "{record}");
        for name in names {
            assert_eq!(db.count(name).await, 2, "{name}");
        }
        // Remembered by their names, too.
        let planned = would(&program).await;
        assert!(planned.iter().all(|line| line.starts_with("keep ")) && planned.len() == 4, "{planned:?}");
        program.run(["check"]).await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn a_view_is_refreshed_as_its_owner() {
    on_each_major(async |db| {
        let role = format!("tender_{}", db.name());
        let owner = format!("owner_{}", db.name());
        let option = if db.cluster().major() >= 16 { " WITH INHERIT FALSE, SET TRUE" } else { "" };
        db.execute(&format!(
            "CREATE ROLE {role} LOGIN NOINHERIT; CREATE ROLE {owner}; GRANT CREATE ON DATABASE \"{}\" TO {role};
             CREATE SCHEMA app AUTHORIZATION {owner}; SET ROLE {owner};
             CREATE TABLE app.t AS SELECT 1 AS id;
             -- What it is made with is not for everybody.
             CREATE FUNCTION app.who(int) RETURNS text LANGUAGE sql AS 'SELECT current_user::text';
             REVOKE ALL ON FUNCTION app.who(int) FROM PUBLIC;
             CREATE MATERIALIZED VIEW app.v AS SELECT id, app.who(id) AS who FROM app.t; CREATE UNIQUE INDEX ON app.v (id)",
            db.name()
        ))
        .await;
        let program = Pgtend::new(&format!(
            "[databases.main]\nurl = \"{}\"\n{}",
            db.url_as(&role),
            super::job("views = [\"app.v\"]")
        ));
        let found = program.run(["check"]).await.exits(1).stdout;
        let grant = format!("GRANT \"{owner}\" TO \"{role}\"{option};");
        assert!(found.contains("may not refresh app.v") && found.contains(&grant), "{found}");
        let record = run(&program, 1).await;
        assert!(text(&record["error"]).contains(&grant), "{record}");
        db.execute(&grant).await;
        program.run(["check"]).await.exits(0);
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["views"]["app.v"]["how"], "concurrently", "{record}");
        assert_eq!(db.scalar::<String>("SELECT who FROM app.v").await, owner);
        // The owner lacks something that only CONCURRENTLY needs.
        db.execute(&format!("REVOKE TEMPORARY ON DATABASE \"{}\" FROM PUBLIC", db.name())).await;
        let record = run(&program, 0).await;
        assert_eq!(record["details"]["views"]["app.v"]["how"], "plainly", "{record}");
        let found = program.run(["check"]).await.exits(0).stdout;
        assert!(found.contains(&format!("GRANT TEMPORARY ON DATABASE \"{}\" TO \"{owner}\";", db.name())), "{found}");
        db.execute(&format!("DROP OWNED BY {role}, {owner} CASCADE; DROP ROLE {role}, {owner}")).await;
    })
    .await;
}

/// From PostgreSQL 17 on there is a privilege for it.
#[tokio::test]
async fn a_role_that_may_maintain_a_view_needs_no_membership() {
    on_each_major(async |db| {
        if db.cluster().major() < 17 {
            return;
        }
        let role = format!("keeper_{}", db.name());
        db.execute(COUNTED).await;
        db.execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE \"{}\" TO {role}; GRANT MAINTAIN ON counted TO {role};
             INSERT INTO t VALUES (31, 1)",
            db.name()
        ))
        .await;
        let keys = super::job("views = [\"counted\"]");
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{keys}", db.url_as(&role)));
        run(&program, 0).await;
        assert_eq!(db.scalar::<i64>(BELIEVED).await, 31);
        db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_view_that_was_never_filled_is_filled_whatever_is_asked_for() {
    on_each_major(async |db| {
        for how in ["auto", "always", "never"] {
            let db = db.cluster().database().await;
            db.execute(COUNTED).await;
            db.execute("REFRESH MATERIALIZED VIEW counted WITH NO DATA").await;
            let program = tending(&db, &format!("views = [\"*\"]\nconcurrently = \"{how}\"\nskip_unchanged = true"));
            program.run(["check"]).await.exits(0);
            let record = run(&program, 0).await;
            assert_eq!(record["details"]["views"]["public.counted"]["how"], "plainly", "{record}");
            assert_eq!(record["details"]["views"]["public.counted"]["rows_written"], 3, "{record}");
            assert_eq!(db.scalar::<i64>(BELIEVED).await, 30);
            // Emptied again, it is not taken for unchanged.
            db.execute("REFRESH MATERIALIZED VIEW counted WITH NO DATA").await;
            assert_eq!(would(&program).await, ["refresh_view public.counted"]);
        }
    })
    .await;
}

/// From 17 on PostgreSQL has it so for everybody; before, functions would find what somebody puts in their way.
#[tokio::test]
async fn functions_find_nothing_by_a_search_path() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE tt AS SELECT 1 AS n; CREATE FUNCTION first() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT n FROM tt); END $$;
             CREATE MATERIALIZED VIEW v AS SELECT public.first() AS n WITH NO DATA",
        )
        .await;
        let program = tending(&db, "views = [\"v\"]");
        let record = run(&program, 1).await;
        let error = text(&record["error"]);
        assert!(error.contains("42P01") && error.contains("ALTER FUNCTION … SET search_path"), "{error}");
        db.execute("ALTER FUNCTION first() SET search_path = public").await;
        run(&program, 0).await;
        assert_eq!(db.count("v WHERE n = 1").await, 1);
    })
    .await;
}
