//! Whatever dies, and whenever: the next run drops what is left, and nothing else.

use tokio_postgres::error::SqlState;

use super::{job, prove, scratches, setting};
use crate::backup::Setting;
use crate::backup_commands::back_up;
use crate::support::{Database, Hold, Process, on_each_major, wait_until};

/// A test of a restore that is held at a point.
async fn held(db: &Database, server: &Database, point: &str) -> (Setting, Process, Hold) {
    let mut setting = setting(db, server, "", "");
    back_up(&setting).await;
    let (program, hold) = setting.program.holding(point);
    setting.program = program;
    let process = setting.program.start(["run", &job(db), "--json"]);
    hold.reached().await;
    (setting, process, hold)
}

fn let_go(setting: Setting) -> Setting {
    Setting { program: setting.program.env("PGTEND_TESTPOINTS", ""), ..setting }
}

#[tokio::test]
async fn what_a_run_that_was_killed_has_left_is_dropped_by_the_next_and_nothing_else_is() {
    on_each_major(async |db| {
        db.execute("create table t (n int); insert into t values (1)").await;
        let server = db.cluster().database().await;
        // Like ours by name, or by mark of another job, or by both but for the database of its lock.
        let name = |rest: &str| format!("pgtend_restore_test_{}_{rest}", job(&db));
        let others = [name("20200101T000000Z"), name("mine"), name("20200102T000000Z"), name("20200103T000000Z")];
        for other in &others {
            server.execute(&format!("create database \"{other}\"")).await;
        }
        let mark = |job: &str, oid: &str| {
            format!("pgtend: scratch of restore_test job {job}, whose lock is in database {oid} of system 7: x")
        };
        server.execute(&format!("comment on database \"{}\" is '{}'", others[2], mark("other", "1"))).await;
        server.execute(&format!("comment on database \"{}\" is '{}'", others[3], mark(&job(&db), "1"))).await;
        for point in ["restore_test.made", "restore_test.marked", "restore_test.restored"] {
            eprintln!("killed at {point}");
            let (setting, process, _hold) = held(&db, &server, point).await;
            let mut left = scratches(&db, &server).await;
            left.retain(|name| !others.contains(name));
            assert_eq!(left.len(), 1, "{left:?}");
            process.signal(libc::SIGKILL);
            drop(process);
            let setting = let_go(setting);
            wait_until("the lock to be free", async || {
                server.backends(&format!("pgtend/{} (lock)", job(&db))).await.is_empty()
            })
            .await;
            let plan = setting.program.run(["plan", &job(&db), "--json"]).await.exits(0).json();
            let drops: Vec<_> = plan.iter().filter(|step| step["action"] == "drop_database").collect();
            assert_eq!((drops.len(), drops[0]["target"].as_str()), (1, Some(left[0].as_str())), "{plan:?}");
            prove(&setting, &db, 0).await;
            let mut expect = others.to_vec();
            expect.sort();
            assert_eq!(scratches(&db, &server).await, expect);
        }
        for other in &others {
            server.execute(&format!("drop database \"{other}\"")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_and_a_timeout_leave_nothing() {
    on_each_major(async |db| {
        let server = db.cluster().database().await;
        for point in ["restore_test.made", "restore_test.restored"] {
            let (_setting, process, _hold) = held(&db, &server, point).await;
            assert_eq!(scratches(&db, &server).await.len(), 1);
            process.signal(libc::SIGTERM);
            let run = process.wait().await.exits(1).json().remove(0);
            assert_eq!(run["outcome"], "cancelled", "{run}");
            assert_eq!(scratches(&db, &server).await, Vec::<String>::new(), "{point}");
        }
        let setting = setting(&db, &server, "", "");
        let config = std::fs::read_to_string(setting.program.config()).unwrap();
        let table = format!("[jobs.{}.restore_test]", job(&db));
        setting.program.configure(&config.replace(&table, &format!("[jobs.{}]\ntimeout = \"3s\"\n{table}", job(&db))));
        back_up(&setting).await;
        let (program, _hold) = setting.program.holding("restore_test.restored");
        let setting = Setting { program, ..setting };
        let run = prove(&setting, &db, 1).await;
        assert_eq!(run["outcome"], "timed_out", "{run}");
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn somebody_who_looks_into_a_scratch_database_does_not_keep_it() {
    on_each_major(async |db| {
        let server = db.cluster().database().await;
        let (_setting, process, hold) = held(&db, &server, "restore_test.restored").await;
        let scratch = scratches(&db, &server).await.remove(0);
        let comment: String = server
            .scalar(&format!(
                "select shobj_description(oid, 'pg_database') from pg_database where datname = '{scratch}'"
            ))
            .await;
        assert!(
            comment.starts_with("pgtend: scratch of restore_test job") && comment.contains("dropped by pgtend"),
            "{comment}"
        );
        let _looking = Database::named(db.cluster().clone(), &scratch).client().await;
        hold.go_on();
        process.wait().await.exits(0);
        assert_eq!(scratches(&db, &server).await, Vec::<String>::new());
    })
    .await;
}

/// What is restored without its owners and grants is ours, and whoever may call a function that runs as its owner is us.
#[tokio::test]
async fn nobody_else_is_let_into_a_scratch_database() {
    on_each_major(async |db| {
        let number = db.name().split('_').next().expect("a number").to_owned();
        let role = format!("looker_{number}");
        db.execute(&format!(
            "create role {role} login;
             create function who() returns text language sql security definer as 'select current_user::text';
             revoke all on function who() from public"
        ))
        .await;
        let server = db.cluster().database().await;
        let (_setting, process, hold) = held(&db, &server, "restore_test.restored").await;
        let scratch = scratches(&db, &server).await.remove(0);
        let refused = Database::named(db.cluster().clone(), &scratch).try_client_as(&role).await.err();
        let code = refused.and_then(|error| error.code().cloned());
        assert_eq!(code, Some(SqlState::INSUFFICIENT_PRIVILEGE));
        server.client_as(&role).await;
        hold.go_on();
        process.wait().await.exits(0);
        db.execute(&format!("drop role {role}")).await;
    })
    .await;
}
