//! Roles that the server does not have are nobody's to make, unless the config asks for it; then they go again.

use super::{error, job, prove, scratches, setting};
use crate::backup::Setting;
use crate::backup_commands::back_up;
use crate::support::{Cluster, Database, majors, wait_until};

const OWNERS: &str = r#"queries = ["select tableowner = 'Ελένη \"x\"' and has_table_privilege('readers', 'owned', 'select') from pg_tables where tablename = 'owned'"]"#;

async fn roles(server: &Database) -> Vec<String> {
    server.column("select rolname::text from pg_roles where rolname !~ '^pg_' order by 1").await
}

#[tokio::test]
async fn missing_roles_are_made_only_when_asked_for_and_only_for_a_while() {
    for major in majors::majors() {
        let (from, to) = (Cluster::own(major), Cluster::own(major));
        let (db, server) = (from.database().await, to.database().await);
        db.execute(
            r#"create role "Ελένη ""x""" login password 'hunter2-role'; create role readers; grant readers to "Ελένη ""x""";
               create table owned (n int); alter table owned owner to "Ελένη ""x"""; grant select on owned to readers"#,
        )
        .await;
        let before = roles(&server).await;
        let without = setting(&db, &server, "", "");
        back_up(&without).await;
        let run = prove(&without, &db, 0).await;
        assert_eq!(run["details"]["targets"][0]["owners"], false, "{run}");
        assert!(run["details"]["warnings"].to_string().contains("readers"), "{run}");
        assert_eq!(roles(&server).await, before);

        let makes = setting(&db, &server, "", &format!("roles = \"make\"\n{OWNERS}"));
        back_up(&makes).await;
        let (program, hold) = makes.program.holding("restore_test.restored");
        let makes = Setting { program, ..makes };
        let process = makes.program.start(["run", &job(&db), "--json"]);
        hold.reached().await;
        assert_eq!(roles(&server).await.len(), before.len() + 2);
        let open: i64 = server.scalar("select count(*) from pg_authid where rolname <> 'postgres' and rolname !~ '^pg_' and (rolcanlogin or rolpassword is not null)").await;
        assert_eq!(open, 0, "nobody can log in as them");
        process.signal(libc::SIGKILL);
        drop(process);
        wait_until("the lock to be free", async || server.backends("pgtend/% (lock)").await.is_empty()).await;
        let makes = Setting { program: makes.program.env("PGTEND_TESTPOINTS", ""), ..makes };
        // What was killed left them, with its database.
        assert_eq!((roles(&server).await.len(), scratches(&db, &server).await.len()), (before.len() + 2, 1));
        let run = prove(&makes, &db, 0).await;
        assert_eq!(run["details"]["targets"][0]["owners"], true, "{run}");
        assert_eq!((roles(&server).await, scratches(&db, &server).await.len()), (before.clone(), 0));
        assert!(!to.log().contains("SCRAM-SHA-256$"));

        // What a dump says of a role besides owners and grants cannot be left out.
        db.execute("alter table owned enable row level security; create policy p on owned to readers using (true)")
            .await;
        back_up(&without).await;
        let run = prove(&without, &db, 1).await;
        for words in ["readers", "roles = \"make\""] {
            assert!(error(&run).contains(words), "{words} in {run}");
        }
        assert_eq!((roles(&server).await, scratches(&db, &server).await.len()), (before, 0));
    }
}
