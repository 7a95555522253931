//! Webhooks: what has changed is told once, by one daemon, and who could not be told is told later.

use serde_json::Value;

use crate::support::{Cluster, Database, Pgtend, Webhook, newest_major, on_each_major};

/// Fails as long as the table says so.
const JOB: &str = "[jobs.chore.sql]\nstatements = [\"SELECT 1 / ok FROM switch\"]\n";

async fn with_switch(db: &Database) {
    db.execute("CREATE TABLE switch (ok int); INSERT INTO switch VALUES (0)").await;
}

fn telling(db: &Database, url: &str, more: &str) -> Pgtend {
    Pgtend::tending(db, &format!("{JOB}[notify.ops]\nurl = \"{url}\"\n{more}"))
}

fn events(webhook: &Webhook) -> Vec<String> {
    let event = |body: &str| serde_json::from_str::<Value>(body).unwrap()["event"].as_str().unwrap().to_owned();
    webhook.told().iter().map(|told| event(&told.body)).collect()
}

#[tokio::test]
async fn a_job_that_fails_is_told_once_and_again_when_it_goes_well() {
    on_each_major(async |db| {
        with_switch(&db).await;
        let webhook = Webhook::listen().await;
        let program = telling(&db, &webhook.url("/hook/s3cr3t"), "");
        let daemon = program.daemon().ready().await;
        for n in 1..=3 {
            program.run(["trigger", "chore", "--wait"]).await.exits(1);
            daemon.wait_until("the failure to be told", async || events(&webhook) == ["failure"]).await;
            assert_eq!(db.runs("chore").await.len(), n);
        }
        let told = webhook.told().remove(0);
        assert_eq!((told.method.as_str(), told.path.as_str()), ("POST", "/hook/s3cr3t"));
        let body: Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!((&body["job"], &body["kind"], &body["database"]), (&"chore".into(), &"sql".into(), &"main".into()));
        assert_eq!((&body["outcome"], &body["consecutive_failures"]), (&"failed".into(), &1.into()));
        assert!(body["error"].as_str().unwrap().contains("division by zero"), "{body}");
        // After a restart it is no news.
        daemon.stop().await.exits(0);
        let daemon = program.daemon().ready().await;
        db.execute("UPDATE switch SET ok = 1").await;
        program.run(["trigger", "chore", "--wait"]).await.exits(0);
        daemon.wait_until("the recovery to be told", async || events(&webhook) == ["failure", "recovery"]).await;
        daemon.wait_for_metric("pgtend_notifications_total", &[("notify", "ops"), ("result", "taken")], 1.0).await;
        assert!(!daemon.log().contains("s3cr3t"), "{}", daemon.log());
    })
    .await;
}

/// As one that an older version made.
#[tokio::test]
async fn a_schema_without_the_place_for_it_gets_it() {
    let db = Cluster::shared(newest_major()).database().await;
    with_switch(&db).await;
    let webhook = Webhook::listen().await;
    let program = telling(&db, &webhook.url("/"), "");
    program.run(["run", "chore"]).await.exits(1);
    db.execute("DROP TABLE pgtend.notice").await;
    let daemon = program.daemon().ready().await;
    program.run(["trigger", "chore", "--wait"]).await.exits(1);
    let noted = "SELECT count(*) FROM pgtend.notice WHERE job = 'chore' AND state = 'failing'";
    daemon.wait_until("it to be written down", async || db.scalar::<i64>(noted).await == 1).await;
    assert_eq!(events(&webhook), ["failure"]);
}

#[tokio::test]
async fn of_several_daemons_one_tells() {
    on_each_major(async |db| {
        with_switch(&db).await;
        let webhook = Webhook::listen().await;
        let programs = [(); 3].map(|()| telling(&db, &webhook.url("/"), "").env("PGTEND_HURRY", "30"));
        let mut daemons = Vec::new();
        for program in &programs {
            daemons.push(program.daemon().ready().await);
        }
        programs[0].run(["run", "chore"]).await.exits(1);
        // Each sees it by itself, many times in the seconds that a fraction of a minute takes.
        daemons[0].wait_until("the failure to be told", async || events(&webhook) == ["failure"]).await;
        db.execute("UPDATE switch SET ok = 1").await;
        programs[0].run(["run", "chore"]).await.exits(0);
        daemons[0].wait_until("the recovery to be told", async || events(&webhook).len() >= 2).await;
        assert_eq!(events(&webhook), ["failure", "recovery"]);
    })
    .await;
}

#[tokio::test]
async fn who_could_not_be_told_is_told_later_and_the_others_not_again() {
    let db = Cluster::shared(newest_major()).database().await;
    with_switch(&db).await;
    let (ops, chat) = (Webhook::listen().await, Webhook::listen().await);
    chat.refuse(true);
    let more = format!(
        "[notify.chat]\nurl_file = 'chat'\nformat = 'slack'\non = ['failure']\njobs = ['ch*']\n[notify.others]\nurl = \"{}\"\njobs = ['x*']\n",
        ops.url("/never")
    );
    let program = telling(&db, &ops.url("/"), &more).env("PGTEND_HURRY", "30");
    program.file("chat", &format!("{}\n", chat.url("/s3cr3t")));
    let daemon = program.daemon().ready().await;
    program.run(["run", "chore"]).await.exits(1);
    daemon.wait_for_log("somebody was not told of it").await;
    chat.refuse(false);
    let told = daemon
        .wait_for("the chat to be told", async || {
            daemon.metric("pgtend_notifications_total", &[("notify", "chat"), ("result", "taken")]).await?;
            chat.told().pop()
        })
        .await;
    let text: Value = serde_json::from_str(&told.body).unwrap();
    assert!(text["text"].as_str().unwrap().starts_with("pgtend: chore (sql, database main) failed: "), "{text}");
    assert_eq!(events(&ops), ["failure"]);
    assert!(ops.told()[0].path == "/" && !daemon.log().contains("s3cr3t"), "{}", daemon.log());
    db.execute("UPDATE switch SET ok = 1").await;
    program.run(["run", "chore"]).await.exits(0);
    daemon.wait_until("the recovery to be told", async || events(&ops) == ["failure", "recovery"]).await;
    assert_eq!(chat.told().last(), Some(&told), "it wants to hear of failures alone");
}

#[tokio::test]
async fn what_is_tried_again_is_no_failure_yet() {
    let db = Cluster::shared(newest_major()).database().await;
    with_switch(&db).await;
    let webhook = Webhook::listen().await;
    let job = JOB.replace("[jobs.chore.sql]", "[jobs.chore]\nschedule = '* * * * * *'\nretry = { attempts = 100, wait = '200ms', max_wait = '200ms' }\n[jobs.chore.sql]");
    let program = Pgtend::tending(&db, &format!("{job}[notify.ops]\nurl = \"{}\"\n", webhook.url("/")));
    let daemon = program.daemon().ready().await;
    daemon
        .wait_until("a third try", async || {
            db.scalar::<i64>("SELECT count(*) FROM pgtend.run WHERE attempt >= 3").await > 0
        })
        .await;
    assert_eq!(webhook.told(), []);
    db.execute("UPDATE switch SET ok = 1").await;
    daemon.wait_until("a success", async || db.runs("chore").await.iter().any(|run| run.outcome == "succeeded")).await;
    assert_eq!(daemon.metric("pgtend_notifications_total", &[("notify", "ops")]).await, None);
}

#[tokio::test]
async fn a_success_is_pinged_and_a_failure_is_silence() {
    let db = Cluster::shared(newest_major()).database().await;
    with_switch(&db).await;
    let webhook = Webhook::listen().await;
    let job = JOB.replace(
        "[jobs.chore.sql]",
        &format!("[jobs.chore]\nping = \"{}\"\n[jobs.chore.sql]", webhook.url("/ping/s3cr3t")),
    );
    let program = Pgtend::tending(&db, &job);
    let daemon = program.daemon().ready().await;
    program.run(["trigger", "chore", "--wait"]).await.exits(1);
    db.execute("UPDATE switch SET ok = 1").await;
    program.run(["trigger", "chore", "--wait"]).await.exits(0);
    daemon.wait_until("the ping", async || !webhook.told().is_empty()).await;
    let told = webhook.told();
    assert_eq!((told.len(), told[0].method.as_str(), told[0].path.as_str()), (1, "GET", "/ping/s3cr3t"));
    assert!(!daemon.log().contains("s3cr3t"), "{}", daemon.log());
}
