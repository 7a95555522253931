//! What is in rows is nobody's business but the application's: it is in no log, no history and on no page.

use crate::support::{Database, Pgtend, on_each_major};

const SECRET: &str = "jane.doe@example.org";

async fn is_nowhere(db: &Database, program: &Pgtend, log: &str) {
    assert!(!log.contains(SECRET), "the log: {log}");
    let history: Vec<String> = db.column("SELECT r::text FROM pgtend.run r").await;
    assert!(!history.is_empty() && !history.join("\n").contains(SECRET), "{history:#?}");
    let daemon = program.daemon().ready().await;
    for path in ["/", "/api/status"] {
        let answer = daemon.http_get(path).await;
        assert!(!answer.body.contains(SECRET), "{path}: {}", answer.body);
    }
    let ended = daemon.stop().await;
    assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
}

#[tokio::test]
async fn a_row_that_a_view_would_have_twice_is_not_shown() {
    on_each_major(async |db| {
        db.execute(&format!(
            "CREATE TABLE users (email text); INSERT INTO users VALUES ('{SECRET}');
             CREATE MATERIALIZED VIEW mails AS SELECT email FROM users; CREATE UNIQUE INDEX ON mails (email);
             INSERT INTO users VALUES ('{SECRET}');"
        ))
        .await;
        let program = Pgtend::tending(&db, "[jobs.views.refresh]\nviews = ['mails']\nconcurrently = 'always'\n");
        let output = program.run(["run", "views", "--json", "--log-level", "debug"]).await.exits(1);
        assert!(output.stdout.contains("SQLSTATE 2") && output.stdout.contains("mails"), "{}", output.stdout);
        is_nowhere(&db, &program, &format!("{}{}", output.stdout, output.stderr)).await;
    })
    .await;
}

#[tokio::test]
async fn a_row_that_an_archive_does_not_take_is_not_shown() {
    on_each_major(async |db| {
        db.execute(&format!(
            "CREATE SCHEMA archive; CREATE TABLE archive.users (email text CONSTRAINT of_ours CHECK (email LIKE '%@ours.org'), at timestamptz);
             CREATE TABLE users (email text, at timestamptz); INSERT INTO users VALUES ('{SECRET}', '2020-01-01Z');"
        ))
        .await;
        let program = Pgtend::tending(
            &db,
            "[jobs.old.retention]\ntables = [{ table = 'users', keep = '1 year', column = 'at', action = 'archive', to = 'archive.users' }]\n",
        );
        let output = program.run(["run", "old", "--json", "--log-level", "debug"]).await.exits(1);
        let said = "(SQLSTATE 23514; constraint of_ours of table archive.users)";
        assert!(output.stdout.contains(said), "{}", output.stdout);
        is_nowhere(&db, &program, &format!("{}{}", output.stdout, output.stderr)).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_in_the_statement_of_whoever_is_in_the_way_is_not_shown() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE users (email text, expires_at timestamptz); CREATE INDEX ON users (expires_at);
             INSERT INTO users VALUES ('a', '2020-01-01Z')",
        )
        .await;
        let blocker = db.client().await;
        let statement = format!("UPDATE users SET email = '{SECRET}' /* {SECRET} */ WHERE expires_at < '2021-01-01Z'");
        blocker.batch_execute("BEGIN").await.unwrap();
        blocker.batch_execute(&statement).await.unwrap();
        let program =
            Pgtend::tending(&db, "[jobs.ends]\ntimeout = '2s'\n[jobs.ends.expire]\ntables = [{ table = 'users' }]\n");
        let output = program.run(["run", "ends", "--json", "--log-level", "debug"]).await.exits(1);
        let shown = "UPDATE users SET email = ? WHERE expires_at < ?";
        assert!(output.stdout.contains(shown), "{}", output.stdout);
        is_nowhere(&db, &program, &format!("{}{}", output.stdout, output.stderr)).await;
    })
    .await;
}
