//! What is restored and is not what it should be, or is not restored at all, is told in words.

use super::{error, job, prove, scratches, setting, setting_as};
use crate::backup_commands::{back_up, change_manifest};
use crate::support::{Cluster, majors, on_each_major};

#[tokio::test]
async fn a_count_that_differs_is_told_with_its_table() {
    on_each_major(async |db| {
        db.execute("create table t (n int); insert into t values (1), (2); create table u (n int)").await;
        let server = db.cluster().database().await;
        let setting = setting(&db, &server, "row_counts = true", "");
        let id = back_up(&setting).await;
        change_manifest(&setting, &id, |manifest| {
            manifest["row_counts"]["public.t"] = 3.into();
            manifest["row_counts"]["public.gone"] = 7.into();
        });
        let run = prove(&setting, &db, 1).await;
        for words in ["table public.t has 2 rows, and 3 were dumped", "table public.gone is not there", &id] {
            assert!(error(&run).contains(words), "{words} in {run}");
        }
        assert!(!error(&run).contains("public.u"), "{run}");
        assert_eq!(run["details"]["targets"][0]["tested_at"], serde_json::Value::Null);
        assert!(!setting.folder(&id).join("restored.json").exists());
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_query_that_does_not_give_true_is_told_in_its_words() {
    on_each_major(async |db| {
        db.execute("create table t (n int); insert into t values (1), (2)").await;
        let server = db.cluster().database().await;
        let queries = r#"queries = [
            "select count(*) = 2 from t",
            "select max(n) > 5 from t",
            "select null::boolean",
            "select true from t where n = 3",
            "select true from t",
            "select n from t",
            "select true, true",
            "select nonsense from t",
            "with gone as (delete from t returning true) select true",
        ]"#;
        let setting = setting(&db, &server, "", queries);
        back_up(&setting).await;
        let run = prove(&setting, &db, 1).await;
        for words in [
            "query 2 is false: select max(n) > 5 from t",
            "query 3 is NULL",
            "query 4 gives no row",
            "query 5 gives more than one row",
            "query 6 gives int4, and must give a boolean",
            "query 7 gives 2 columns",
            "query 8 failed",
            "nonsense",
            "query 9 failed",
        ] {
            assert!(error(&run).contains(words), "{words} in {}", error(&run));
        }
        assert!(!error(&run).contains("query 1 "), "{run}");
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_restore_that_fails_half_way_leaves_no_database() {
    on_each_major(async |db| {
        // A database of another name cannot have these rows.
        let here = db.name();
        db.execute(&format!(
            "create table first (n int); insert into first select generate_series(1, 1000);
             create table second (n int check (current_database() = '{here}')); insert into second values (1)"
        ))
        .await;
        for format in ["custom", "plain"] {
            let server = db.cluster().database().await;
            let setting = setting(&db, &server, &format!("format = \"{format}\""), "");
            let id = back_up(&setting).await;
            let run = prove(&setting, &db, 1).await;
            assert!(error(&run).contains("second_check") && error(&run).contains(&id), "{run}");
            assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
            assert!(!setting.folder(&id).join("restored.json").exists());
        }
    })
    .await;
}

#[tokio::test]
async fn a_subscription_in_a_dump_does_not_keep_the_database() {
    for major in majors::majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        db.execute(
            "create subscription s connection 'dbname=nowhere' publication p with (connect = false, slot_name = none)",
        )
        .await;
        let server = cluster.database().await;
        for format in ["custom", "plain"] {
            let setting = setting(&db, &server, &format!("format = \"{format}\""), "");
            back_up(&setting).await;
            prove(&setting, &db, 0).await;
            assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
        }
        db.execute("drop subscription s").await;
    }
}

#[tokio::test]
async fn a_role_that_may_make_no_database_is_told_what_it_needs() {
    for major in majors::majors() {
        let cluster = Cluster::own(major);
        let (db, server) = (cluster.database().await, cluster.database().await);
        db.execute("create table t (n int); insert into t values (1)").await;
        server.execute("create role tester login; create schema pgtend authorization tester").await;
        let setting =
            setting_as(&db, &server.url_as("tester"), "row_counts = true\nexclude_schemas = [\"pgtend\"]", "");
        back_up(&setting).await;
        let run = prove(&setting, &db, 1).await;
        assert!(error(&run).contains("ALTER ROLE tester CREATEDB"), "{run}");
        let said = setting.program.run(["check"]).await.exits(1).stdout;
        assert!(said.contains("may make no database") && said.contains("ALTER ROLE tester CREATEDB"), "{said}");
        let plan = setting.program.run(["plan", &job(&db), "--json"]).await.exits(0).json();
        assert!(plan[0]["reason"].as_str().unwrap().contains("CREATEDB"), "{plan:?}");

        server.execute("alter role tester createdb").await;
        let run = prove(&setting, &db, 0).await;
        let target = &run["details"]["targets"][0];
        assert_eq!((&target["owners"], &target["tables_compared"]), (&false.into(), &1.into()), "{run}");
        assert!(run["details"]["warnings"].to_string().contains("no superuser"), "{run}");
        let said = setting.program.run(["check"]).await.exits(0).stdout;
        assert!(said.contains("owners and grants are not restored"), "{said}");
        // Who says so is not warned.
        let config = std::fs::read_to_string(setting.program.config()).unwrap();
        setting.program.configure(&format!("{config}roles = \"never\"\n"));
        let run = prove(&setting, &db, 0).await;
        assert_eq!(run["details"]["warnings"], serde_json::Value::Null, "{run}");
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
    }
}

/// A server of this host: what is free on its disk is seen, and that it is too little is known before anything is made.
#[tokio::test]
async fn a_server_without_room_is_not_filled() {
    on_each_major(async |db| {
        let server = db.cluster().database().await;
        let setting = setting(&db, &server, "", "");
        let id = back_up(&setting).await;
        let plan = setting.program.run(["plan", &job(&db)]).await.exits(0).stdout;
        assert!(plan.contains("is free in /"), "{plan}");
        change_manifest(&setting, &id, |manifest| manifest["database_size"] = 1_000_000_000_000_000_u64.into());
        let found = setting.program.run(["check"]).await.exits(1).stdout;
        assert!(found.contains("error: ") && found.contains("is free in /"), "{found}");
        let run = prove(&setting, &db, 1).await;
        assert!(error(&run).contains("it takes about") && error(&run).contains("is free in /"), "{run}");
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_too_large_is_not_restored() {
    on_each_major(async |db| {
        let server = db.cluster().database().await;
        let setting = setting(&db, &server, "", "max_size = \"1 MB\"");
        back_up(&setting).await;
        let run = prove(&setting, &db, 1).await;
        assert!(error(&run).contains("`max_size`, 1.0 MB"), "{run}");
        assert!(!setting.files().iter().any(|file| file.ends_with("restored.json")));
    })
    .await;
}
