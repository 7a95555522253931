//! Roles come before what belongs to them, and those that are there stay as they are.

use super::{back_up, cut_off, into};
use crate::backup::setting;
use crate::support::{Cluster, Database, on_each_major};

#[tokio::test]
async fn missing_roles_are_made_with_their_passwords_and_others_left_alone() {
    on_each_major(async |db| {
        let major = db.cluster().major();
        let (from, to) = (Cluster::own(major), Cluster::own(major));
        let source = from.database().await;
        source
            .execute(
                r#"
                create role "Ελένη ""x""; '1'" login password 'hunter2-role' valid until '2031-01-01';
                create role readers nologin;
                create role there login password 'hunter2-there' createdb;
                grant readers to "Ελένη ""x""; '1'", there;
                alter role "Ελένη ""x""; '1'" set search_path to 'a b', public;
                comment on role readers is 'it''s; mine';
                create table owned (n int); insert into owned values (7);
                alter table owned owner to "Ελένη ""x""; '1'"; grant select on owned to readers;
                "#,
            )
            .await;
        let admin = Database::named(to.clone(), "postgres");
        admin.execute("create role there nologin password 'its own'").await;
        let secret = "select coalesce(rolpassword, '-') || rolcanlogin || rolcreatedb from pg_authid where rolname = 'there'";
        let before: String = admin.scalar(secret).await;
        let setting = setting(&source, "");
        back_up(&setting).await;
        cut_off(&setting, &source);
        let args = ["backup", "restore", "--roles", "--json", "--log-level", "trace", "--into", &into(&to, "new one")];
        let output = setting.program.run(args).await.exits(0);
        let told = output.json().remove(0);
        let created: Vec<&str> = told["roles_created"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!((created.len(), created.contains(&"readers"), created.contains(&"Ελένη \"x\"; '1'")), (2, true, true), "{told}");
        assert_eq!(told["roles_skipped"].as_array().unwrap().len(), 2, "{told}");
        assert_eq!(admin.scalar::<String>(secret).await, before, "a role that is there stays as it is");
        let verifier = "select rolpassword from pg_authid where rolname like 'Ελένη%'";
        let there: String = admin.scalar(verifier).await;
        let original: String = source.scalar(verifier).await;
        assert_eq!(there, original, "the password is the same");
        for text in [&output.stdout, &output.stderr, &to.log()] {
            assert!(!text.contains(&original) && !text.contains("SCRAM-SHA-256$"), "{text}");
        }
        let made = Database::named(to.clone(), "new one");
        let facts: String = made
            .scalar(
                r"select tableowner || ' ' || has_table_privilege('readers', 'owned', 'select') || ' ' ||
                     pg_has_role(tableowner, 'readers', 'member') || ' ' || pg_has_role('there', 'readers', 'member') || ' ' ||
                     (select setconfig::text from pg_db_role_setting where setdatabase = 0 limit 1) || ' ' ||
                     shobj_description('readers'::regrole, 'pg_authid')
                   from pg_tables where tablename = 'owned'",
            )
            .await;
        assert!(facts.starts_with("Ελένη \"x\"; '1' true true true"), "{facts}");
        assert!(facts.contains("a b") && facts.ends_with("it's; mine"), "{facts}");

        // Once more: there is nothing left to make, and nothing in the way.
        let output = setting.program.run(["backup", "restore", "--roles", "--into", &into(&to, "another")]).await.exits(0);
        assert!(output.stdout.contains("0 roles made, 4 there already"), "{}", output.stdout);

        // Who may not make roles makes none, and no database either.
        let other = Cluster::own(major);
        let admin = Database::named(other.clone(), "postgres");
        admin.execute("create role weak login createdb").await;
        let url = into(&other, "third").replace("user=postgres", "user=weak");
        let output = setting.program.run(["backup", "restore", "--roles", "--into", &url]).await.exits(1);
        assert!(output.stderr.contains("42501") && output.stderr.contains("no role was made"), "{}", output.stderr);
        assert!(!output.stderr.contains("SCRAM"), "{}", output.stderr);
        let roles: i64 = admin.scalar("select count(*) from pg_roles where rolname = 'readers'").await;
        assert_eq!((roles, super::exists(&other, "third").await), (0, false));
    })
    .await;
}

#[tokio::test]
async fn without_globals_there_are_no_roles_to_restore() {
    on_each_major(async |db| {
        let setting = setting(&db, "globals = false");
        back_up(&setting).await;
        let name = format!("none {}", db.name());
        let output =
            setting.program.run(["backup", "restore", "--roles", "--into", &into(db.cluster(), &name)]).await.exits(1);
        assert!(output.stderr.contains("globals = false"), "{}", output.stderr);
        assert!(!super::exists(db.cluster(), &name).await);
    })
    .await;
}
