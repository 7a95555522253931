//! What stands in the way of new partitions is seen beforehand: rows in default partitions, foreign keys, triggers,
//! roles.

use pgtend::kinds::partitions::facts::{DefaultPartition, TableFacts};
use pgtend::kinds::partitions::rows::{self, Count};
use pgtend::kinds::partitions::survey;
use pgtend::pg::{Ident, TableName};

use crate::partitions_survey::{names, session_as, survey, survey_as};
use crate::support::{Database, on_each_major};

async fn default_of(db: &Database, table: &str) -> (TableFacts, DefaultPartition) {
    let facts = survey(db, &[table]).await.remove(0);
    let default = facts.default.clone().unwrap();
    (facts, default)
}

#[tokio::test]
async fn a_default_partition_has_rows_or_not_whatever_its_file_holds() {
    on_each_major(async |db| {
        db.execute(
            "create table t (k int) partition by list (k);
             create table t_default partition of t default with (autovacuum_enabled = false);",
        )
        .await;
        let session = session_as(&db, "postgres").await;
        let count = async || {
            let (facts, default) = default_of(&db, "t").await;
            (default.has_rows, rows::count(&session, &facts, &default).await.unwrap())
        };
        assert_eq!(count().await, (Some(false), Some(Count::Exactly(0))));
        db.execute("insert into t select generate_series(1, 7)").await;
        assert_eq!(count().await, (Some(true), Some(Count::Exactly(7))));
        db.execute("delete from t").await;
        assert_eq!(count().await, (Some(false), Some(Count::Exactly(0))), "what is in the file is dead");
        db.execute("insert into t select generate_series(1, 100000)").await;
        assert_eq!(count().await, (Some(true), Some(Count::Exactly(100_000))));
        db.execute("insert into t select generate_series(1, 50000); analyze t_default").await;
        assert_eq!(count().await, (Some(true), Some(Count::About(150_000))));
    })
    .await;
}

#[tokio::test]
async fn a_default_partition_may_be_partitioned_itself() {
    on_each_major(async |db| {
        db.execute(
            "create table t (k int) partition by list (k);
             create table t_default partition of t default partition by range (k);
             create table t_default_1 partition of t_default for values from (0) to (10);
             insert into t values (1), (2);",
        )
        .await;
        let (facts, default) = default_of(&db, "t").await;
        assert!(default.is_parent);
        assert_eq!(default.has_rows, Some(true));
        let session = session_as(&db, "postgres").await;
        assert_eq!(rows::count(&session, &facts, &default).await.unwrap(), Some(Count::Exactly(2)));
    })
    .await;
}

#[tokio::test]
async fn foreign_keys_give_the_order_and_name_who_points_at_a_default_partition() {
    on_each_major(async |db| {
        db.execute(
            "create table runs (id int, k date, primary key (id, k)) partition by range (k);
             create table runs_1 partition of runs for values from ('2026-01-01') to ('2026-02-01');
             create table runs_default partition of runs default;
             create table results (run int, k date, constraint of_run foreign key (run, k) references runs) partition by range (k);
             create table results_1 partition of results for values from ('2026-01-01') to ('2026-02-01');
             create table results_default partition of results default;
             create table notes (run int, k date, constraint straight foreign key (run, k) references runs_default);
             create table elsewhere (run int, k date, foreign key (run, k) references runs_1);",
        )
        .await;
        let facts = survey(&db, &["results", "runs"]).await;
        assert_eq!((facts[0].references.as_slice(), facts[1].references.as_slice()), (&[facts[1].oid][..], &[][..]));
        let of = |facts: &TableFacts| facts.default.clone().unwrap().referenced_by;
        assert_eq!(of(&facts[0]), [] as [&str; 0]);
        assert_eq!(of(&facts[1]), ["public.notes (straight)", "public.results (of_run)"]);
    })
    .await;
}

#[tokio::test]
async fn a_table_is_immutable_by_any_enabled_trigger_before_delete() {
    on_each_major(async |db| {
        db.execute(
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'immutable'; end $$;
             create table t (k int) partition by list (k);
             create table t_default partition of t default;
             create trigger after_delete after delete on t for each row execute function refuse();
             create trigger before_update before update on t for each row execute function refuse();
             create trigger before_truncate before truncate on t for each statement execute function refuse();",
        )
        .await;
        let check = async |sql: &str, expect: Option<&str>| {
            db.execute(sql).await;
            let facts = survey(&db, &["t"]).await.remove(0);
            assert_eq!(facts.immutable.as_ref().map(Ident::as_str), expect, "after {sql}");
        };
        check("select", None).await;
        check("create trigger rows before delete on t for each row execute function refuse()", Some("rows")).await;
        check("drop trigger rows on t", None).await;
        let statement = "create trigger s before update or delete on t for each statement execute function refuse()";
        check(statement, Some("s")).await;
        check("alter table only t disable trigger s", None).await;
        check("alter table only t enable replica trigger s", None).await;
        check("alter table only t enable always trigger s", Some("s")).await;
        check("drop trigger s on t", None).await;
        check("create trigger own before delete on t_default for each row execute function refuse()", Some("own"))
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_role_that_cannot_make_partitions_is_told_the_grant() {
    on_each_major(async |db| {
        db.execute(
            "drop role if exists \"Owner\"; drop role if exists tender; drop role if exists member;
             create role \"Owner\"; create role tender login; create role member login noinherit in role \"Owner\";
             create schema app; revoke all on schema public from public;
             create table app.t (k int) partition by list (k); create table app.t_default partition of app.t default;
             insert into app.t values (1);
             alter table app.t owner to \"Owner\"; alter table app.t_default owner to \"Owner\";",
        )
        .await;
        let facts = |role: &'static str| {
            let db = db.clone();
            async move { survey_as(&db, role, &["app.t"]).await.remove(0).unwrap() }
        };
        let tender = facts("tender").await;
        assert_eq!(
            tender.obstacles,
            [
                r#"role "tender" may not act as "Owner", which owns app.t and has to own its partitions: GRANT "Owner" TO "tender";"#,
                r#"role "Owner", which owns app.t, may not create tables in schema "app": GRANT USAGE, CREATE ON SCHEMA "app" TO "Owner";"#,
            ]
        );
        assert_eq!(tender.default.unwrap().has_rows, None, "it may not read the table");

        db.execute("grant usage, create on schema app to \"Owner\"").await;
        let member = facts("member").await;
        assert_eq!(member.obstacles, [] as [&str; 0]);
        assert_eq!(member.default.as_ref().unwrap().has_rows, Some(true), "read as the owner");
        db.execute("revoke select on app.t from \"Owner\"").await;
        let blind = facts("member").await;
        assert_eq!(
            blind.obstacles,
            [r#"role "Owner", which owns app.t, may not read it, and so cannot make a table like it: GRANT SELECT ON "app"."t" TO "Owner";"#]
        );
        db.execute("grant select on app.t to \"Owner\"").await;
        if db.cluster().major() >= 16 {
            db.execute("grant \"Owner\" to member with set false").await;
            assert!(facts("member").await.obstacles[0].ends_with(r#"GRANT "Owner" TO "member";"#));
            db.execute("grant \"Owner\" to member with set true").await;
        }

        let session = session_as(&db, "member").await;
        let (default, none) = (Ident::new("pg_default").unwrap(), Ident::new("fast").unwrap());
        let global = Ident::new("pg_global").unwrap();
        let wanted = [(&member, &default), (&member, &none), (&member, &global)];
        assert_eq!(
            survey::tablespaces(&session, &wanted).await.unwrap(),
            [
                None,
                Some(r#"there is no tablespace "fast", which the config names"#.into()),
                Some(
                    r#"role "Owner", which owns app.t, may not use tablespace "pg_global": GRANT CREATE ON TABLESPACE "pg_global" TO "Owner";"#
                        .into()
                ),
            ]
        );
        db.execute("drop owned by \"Owner\" cascade; drop role \"Owner\"; drop role tender; drop role member").await;
    })
    .await;
}

#[tokio::test]
async fn a_name_is_taken_by_any_relation_and_by_types() {
    on_each_major(async |db| {
        db.execute(
            "create schema app; create table app.t_2026_01 (k int); create index t_2026_02 on app.t_2026_01 (k);
             create view app.t_2026_03 as select; create sequence app.t_2026_04; create type app.t_2026_05 as enum ('a');
             create domain app.t_2026_06 as int; create type app.composite as (a int);
             create table public.t_2026_07 ();",
        )
        .await;
        let candidates: Vec<_> = (1..=8).map(|month| format!("app.t_2026_0{month}")).collect();
        let mut candidates = names(&candidates.iter().map(String::as_str).collect::<Vec<_>>());
        candidates.extend(names(&["app._composite", "app.composite", "nowhere.t_2026_01"]));
        let taken = survey::taken(&session_as(&db, "postgres").await, &candidates).await.unwrap();
        let mut taken: Vec<_> = taken.iter().map(TableName::plain).collect();
        taken.sort();
        let mut expect: Vec<_> = (1..=6).map(|month| format!("app.t_2026_0{month}")).collect();
        // Not app._composite: the server moves an array type out of the way.
        expect.insert(0, "app.composite".into());
        assert_eq!(taken, expect);
        db.execute("create table app._composite ()").await;
    })
    .await;
}
