//! What cannot be refreshed, or not as it is asked for.

use super::{BELIEVED, COUNTED, run, tending, text, would};
use crate::support::on_each_major;

#[tokio::test]
async fn what_is_no_materialized_view_is_named_and_the_others_are_done() {
    on_each_major(async |db| {
        db.execute(COUNTED).await;
        db.execute("CREATE VIEW plain AS SELECT * FROM counted; INSERT INTO t VALUES (31, 1)").await;
        let program = tending(&db, r#"views = ["plain", "t", "gone", "Other.Counted", "counted"]"#);
        let record = run(&program, 1).await;
        assert_eq!(record["outcome"], "partial", "{record}");
        assert_eq!(record["details"]["views_refreshed"], 1, "{record}");
        assert_eq!(db.scalar::<i64>(BELIEVED).await, 31);
        let found = program.run(["check"]).await.exits(1).stdout;
        let failures = record["details"]["failures"].to_string();
        for words in [
            "public.plain is a view, and only materialized views are refreshed",
            "public.t is a table, and only materialized views are refreshed",
            "there is no materialized view public.gone",
            "there is no materialized view other.counted; is it 'public.counted'?",
        ] {
            assert!(failures.contains(words), "{words} is not in {failures}");
            let why = words.split(';').next().unwrap();
            assert!(found.contains(why), "{why} is not in {found}");
        }
        // Each finding stands where the config names it.
        let line = found.lines().find(|line| line.contains("public.gone")).unwrap();
        assert!(line.contains("pgtend.toml:"), "{found}");
        assert_eq!(would(&program).await.iter().filter(|line| line.starts_with("refuse ")).count(), 4);
    })
    .await;
}

/// Partial, on expressions, not unique, not valid: none of them serves.
#[tokio::test]
async fn an_index_that_does_not_serve_is_named_with_the_one_that_would() {
    on_each_major(async |db| {
        let make = "CREATE UNIQUE INDEX CONCURRENTLY ON \"public\".\"counted\" (\"n\");";
        for (index, why, mend) in [
            ("CREATE UNIQUE INDEX ON counted (n) WHERE n > 0", "covers only some of its rows", make),
            ("CREATE UNIQUE INDEX ON counted ((n + 1))", "is one of expressions", "(…);"),
            ("CREATE INDEX ON counted (n)", "is not unique", make),
            ("", "no unique index on plain columns", "(…);"),
            (
                "CREATE UNIQUE INDEX broken ON counted (n); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass",
                "is not valid",
                "REINDEX INDEX CONCURRENTLY public.broken;",
            ),
        ] {
            let db = db.cluster().database().await;
            db.execute(&COUNTED.replace("CREATE UNIQUE INDEX ON counted (n);", index)).await;
            db.execute("INSERT INTO t VALUES (31, 1)").await;
            let always = tending(&db, "views = [\"counted\"]\nconcurrently = \"always\"");
            let record = run(&always, 1).await;
            let error = text(&record["error"]);
            assert!(error.contains(why) && error.contains(mend), "{error}");
            let found = always.run(["check"]).await.exits(1).stdout;
            assert!(found.contains(why) && found.contains(mend), "{found}");
            assert_eq!(db.scalar::<i64>(BELIEVED).await, 30);

            let auto = tending(&db, "views = [\"counted\"]");
            let found = auto.run(["check"]).await.exits(0).stdout;
            assert!(found.contains(why) && found.contains("readers wait"), "{found}");
            let plan = auto.run(["plan", "--json"]).await.exits(0).json().remove(0);
            assert!(text(&plan["reason"]).contains(why) && text(&plan["detail"]["would_help"]).contains(mend), "{plan}");
            assert_eq!(plan["sql"], "REFRESH MATERIALIZED VIEW \"public\".\"counted\"");
            run(&auto, 0).await;
            assert_eq!(db.scalar::<i64>(BELIEVED).await, 31);

            // What was said helps.
            if mend == make {
                db.execute(mend).await;
                run(&always, 0).await;
            }
        }
    })
    .await;
}

/// Two rows that are alike in the columns of the index.
#[tokio::test]
async fn rows_that_are_not_unique_leave_the_view_as_it_was() {
    on_each_major(async |db| {
        db.execute("CREATE TABLE t (id int, n int); INSERT INTO t VALUES (1, 1); CREATE MATERIALIZED VIEW v AS SELECT * FROM t; CREATE UNIQUE INDEX ON v (id); INSERT INTO t VALUES (1, 2)").await;
        let record = run(&tending(&db, "views = [\"v\"]"), 1).await;
        assert!(text(&record["error"]).contains("23505"), "{record}");
        assert_eq!(db.count("v").await, 1);
    })
    .await;
}

/// A refresh by its owner leaves out what the owner may not see, and says nothing.
#[tokio::test]
async fn a_view_whose_owner_may_not_see_all_rows_is_found_and_not_emptied() {
    on_each_major(async |db| {
        let owner = format!("blind_{}", db.name());
        db.execute(&format!(
            "CREATE TABLE t AS SELECT 1 AS id; CREATE ROLE {owner}; GRANT SELECT ON t TO {owner};
             CREATE VIEW between AS SELECT id FROM t; ALTER VIEW between OWNER TO {owner};
             CREATE MATERIALIZED VIEW direct AS SELECT id FROM t; CREATE MATERIALIZED VIEW through AS SELECT id FROM between;
             GRANT CREATE ON SCHEMA public TO {owner};
             -- The other one sees all, and reads through the eyes of one who does not.
             ALTER MATERIALIZED VIEW direct OWNER TO {owner};
             CREATE MATERIALIZED VIEW sighted AS SELECT id FROM t;
             ALTER TABLE t ENABLE ROW LEVEL SECURITY"
        ))
        .await;
        let program = tending(&db, "views = [\"*\"]");
        let found = program.run(["check"]).await.exits(1).stdout;
        for view in ["direct", "through"] {
            let words = format!("row security hides rows of public.t from \"{owner}\", as whom public.{view} is filled");
            assert!(found.contains(&words) && found.contains(&format!("ALTER ROLE \"{owner}\" BYPASSRLS")), "{found}");
        }
        assert!(!found.contains("public.sighted is filled"), "{found}");
        let record = run(&program, 1).await;
        assert_eq!(record["details"]["views_refreshed"], 1, "{record}");
        let failures = record["details"]["failures"].to_string();
        assert!(failures.contains("42501") && failures.contains("row security hides rows"), "{failures}");
        assert_eq!((db.count("direct").await, db.count("through").await), (1, 1));
        // By hand it would be so.
        db.execute(&format!("SET ROLE {owner}; REFRESH MATERIALIZED VIEW direct")).await;
        assert_eq!(db.count("direct").await, 0);
        db.execute(&format!("ALTER ROLE {owner} BYPASSRLS")).await;
        run(&program, 0).await;
        assert_eq!(db.count("direct").await, 1);
        program.run(["check"]).await.exits(0);
        db.execute(&format!("DROP OWNED BY {owner} CASCADE; DROP ROLE {owner}")).await;
    })
    .await;
}
