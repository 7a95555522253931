//! Chains of hashes: whole, with something gone, with something changed, forked, and begun where retention has left off.

mod anchored;

use serde_json::Value;

use crate::support::{Database, Pgtend, on_each_major, wait_until};

/// A chain of so many rows, each written after the one before.
pub fn chain(table: &str, rows: u32) -> String {
    format!(
        "WITH RECURSIVE entry (id, hash, previous) AS (
             SELECT 1, encode(sha256('1'), 'hex'), NULL::text
             UNION ALL SELECT id + 1, encode(sha256(convert_to(hash || id, 'UTF8')), 'hex'), hash FROM entry WHERE id < {rows})
         INSERT INTO {table} (id, hash, previous) SELECT id, hash, previous FROM entry ORDER BY id;"
    )
}

const LOG: &str = "CREATE TABLE log (id bigint, hash text, previous text, note text DEFAULT 'topsecret');";

fn tending(db: &Database, keys: &str) -> Pgtend {
    let usual = "table = \"log\"\norder_by = \"id\"\nhash = \"hash\"\nprevious = \"previous\"";
    Pgtend::tending(db, &format!("[jobs.chain.verify_chain]\n{usual}\n{keys}\n"))
}

pub async fn run(program: &Pgtend, code: i32) -> Value {
    program.run(["run", "chain", "--json"]).await.exits(code).json().remove(0)
}

/// Follows the chain after a change: what is said of it. Nothing that a row holds is.
async fn after(db: &Database, change: &str, code: i32) -> (String, Value) {
    let db = db.cluster().database().await;
    db.execute(&format!("{LOG}{}", chain("log", 50))).await;
    let before: Vec<String> = db.column("SELECT hash FROM log").await;
    db.execute(change).await;
    let output = tending(&db, "").run(["--log-level", "trace", "run", "chain", "--json"]).await.exits(code);
    for held in before.iter().map(String::as_str).chain(["topsecret", "forged"]) {
        assert!(!output.stdout.contains(held) && !output.stderr.contains(held), "{held} is shown");
    }
    let record = output.json().remove(0);
    let history = db.runs("chain").await.remove(0);
    assert!(before.iter().all(|hash| !history.details.to_string().contains(hash)), "{}", history.details);
    (record["error"].as_str().unwrap_or_default().to_owned(), record)
}

#[tokio::test]
async fn a_whole_chain_is_whole_and_each_fault_is_told_by_where_it_is() {
    on_each_major(async |db| {
        let (_, record) = after(&db, "", 0).await;
        let details = &record["details"];
        assert_eq!((&details["rows"], &details["forks"], &details["warnings"]), (&50.into(), &0.into(), &Value::Null));
        assert_eq!((&details["first"], &details["last"]), (&"1".into(), &"50".into()), "{record}");

        for (change, words) in [
            ("DELETE FROM log WHERE id = 20", "1 row names a predecessor that is not there (id 21)"),
            ("DELETE FROM log WHERE id = 1", "1 row names a predecessor that is not there (id 2)"),
            ("DELETE FROM log WHERE id BETWEEN 20 AND 30", "1 row names a predecessor that is not there (id 31)"),
            ("UPDATE log SET hash = 'forged' WHERE id = 20", "1 row names a predecessor that is not there (id 21)"),
            ("UPDATE log SET previous = 'forged' WHERE id = 20", "1 row names a predecessor that is not there (id 20)"),
            ("UPDATE log SET previous = NULL WHERE id = 20", "1 row behind the first names no predecessor (id 20)"),
            ("UPDATE log SET hash = NULL WHERE id = 50", "1 row has no hash"),
            ("INSERT INTO log VALUES (0, 'forged', NULL)", "1 row behind the first names no predecessor (id 1)"),
            (
                "UPDATE log SET previous = (SELECT hash FROM log WHERE id = 40) WHERE id = 20",
                "its own predecessor, by way of others (id 20)",
            ),
            (
                "DELETE FROM log WHERE id % 3 = 0",
                "16 rows name predecessors that are not there (id 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, …)",
            ),
        ] {
            let (error, record) = after(&db, change, 1).await;
            assert!(error.contains("the chain is broken") && error.contains(words), "{change}: {error}");
            assert_eq!(record["outcome"], "failed");
        }
    })
    .await;
}

/// As two writers at once make it; that is how the application is, and nothing is gone.
#[tokio::test]
async fn a_fork_is_reported_and_is_no_failure() {
    on_each_major(async |db| {
        let fork = "INSERT INTO log SELECT 51, 'forged', previous FROM log WHERE id = 50; INSERT INTO log VALUES (52, 'forged2', 'forged')";
        let (_, record) = after(&db, fork, 0).await;
        assert_eq!((&record["outcome"], &record["details"]["forks"]), (&"succeeded".into(), &1.into()), "{record}");
        let warning = record["details"]["warnings"][0].as_str().unwrap();
        assert!(warning.contains("public.log: the chain forks once") && warning.contains("(id 51)"), "{warning}");
        // In another order than they were written in.
        let (_, record) = after(&db, "UPDATE log SET id = 91 - id WHERE id IN (45, 46)", 0).await;
        assert_eq!((&record["details"]["forks"], &record["details"]["out_of_order"]), (&0.into(), &3.into()), "{record}");
    })
    .await;
}

/// An order that says nothing: all is looked for.
#[tokio::test]
async fn a_chain_whose_order_is_no_hint_is_followed_all_the_same() {
    on_each_major(async |db| {
        db.execute(&format!("{LOG}{} UPDATE log SET note = md5(id::text);", chain("log", 12_000))).await;
        // The first row may be anywhere.
        let program = Pgtend::tending(
            &db,
            "[jobs.chain.verify_chain]\ntable = \"log\"\norder_by = \"note\"\nhash = \"hash\"\nprevious = \"previous\"\n",
        );
        let record = run(&program, 0).await;
        assert!(record["details"]["warnings"].to_string().contains("is not that of the chain"), "{record}");
        db.execute("INSERT INTO log SELECT 12001, 'x', previous FROM log WHERE id = 77; DELETE FROM log WHERE id = 500").await;
        let record = run(&program, 1).await;
        let place: String = db.scalar("SELECT note FROM log WHERE id = 501").await;
        let error = record["error"].as_str().unwrap();
        assert!(error.contains(&format!("1 row names a predecessor that is not there (note {place})")), "{error}");
        assert_eq!(record["details"]["forks"], 1, "{record}");
        db.execute("UPDATE log SET previous = NULL WHERE id = 700").await;
        let record = run(&program, 1).await;
        assert!(record["error"].as_str().unwrap().contains("1 row behind the first names no predecessor"), "{record}");
    })
    .await;
}

#[tokio::test]
async fn hashes_of_other_types_and_odd_names_are_followed_too() {
    on_each_major(async |db| {
        db.execute(
            "CREATE SCHEMA \"Odd\"; CREATE TABLE \"Odd\".\"{hash}\" (\"At\"\"\" timestamptz, \"{table}\" bytea, \"Πριν\" bytea);
             INSERT INTO \"Odd\".\"{hash}\" SELECT '2026-01-01Z'::timestamptz + n * interval '1 minute', sha256(n::text::bytea),
                 CASE WHEN n > 1 THEN sha256((n - 1)::text::bytea) ELSE '\\x00' END FROM generate_series(1, 20) n",
        )
        .await;
        let config = |genesis: &str| {
            format!(
                "[jobs.chain.verify_chain]\ntable = '\"Odd\".\"{{hash}}\"'\norder_by = '\"At\"\"\"'\nhash = '\"{{table}}\"'\n\
                 previous = '\"Πριν\"'\ngenesis = '{genesis}'\n"
            )
        };
        let program = Pgtend::tending(&db, &config("\\x00"));
        assert_eq!(run(&program, 0).await["details"]["rows"], 20);
        program.run(["check"]).await.exits(0);
        let other = Pgtend::tending(&db, &config("\\x01"));
        let error = run(&other, 1).await["error"].to_string();
        assert!(error.contains("is not there") && error.contains("2026-01-01 00:01:00+00"), "{error}");
        db.execute("DELETE FROM \"Odd\".\"{hash}\" WHERE \"At\"\"\" = '2026-01-01 00:10Z'").await;
        assert!(run(&program, 1).await["error"].to_string().contains("2026-01-01 00:11:00+00"));
    })
    .await;
}

/// What happens while it is read is not seen, neither what goes nor what comes.
#[tokio::test]
async fn all_of_it_is_read_in_one_snapshot() {
    on_each_major(async |db| {
        db.execute(&format!("{LOG}{}", chain("log", 50))).await;
        let (program, hold) = tending(&db, "").holding("verify_chain.counted");
        let running = program.start(["run", "chain", "--json"]);
        hold.reached().await;
        db.execute("DELETE FROM log WHERE id = 20").await;
        hold.go_on();
        let record = running.wait().await.exits(0).json().remove(0);
        assert_eq!(record["details"]["rows"], 50, "{record}");
        run(&tending(&db, ""), 1).await;
    })
    .await;
}

#[tokio::test]
async fn it_is_ended_by_its_timeout_and_by_sigterm() {
    on_each_major(async |db| {
        // Somebody else has a partition, and it is waited for as long as that takes.
        db.execute(&format!(
            "CREATE TABLE log (id bigint, hash text, previous text) PARTITION BY RANGE (id);
             CREATE TABLE leaf PARTITION OF log DEFAULT; {} ALTER DATABASE \"{}\" SET deadlock_timeout = '1h'",
            chain("log", 3),
            db.name()
        ))
        .await;
        let mut holder = db.client().await;
        let held = holder.transaction().await.unwrap();
        held.batch_execute("LOCK TABLE leaf").await.unwrap();
        let keys = |timeout: &str| {
            format!(
                "[jobs.chain]\ntimeout = \"{timeout}\"\nlock_timeout = \"30m\"\n[jobs.chain.verify_chain]\ntable = \"log\"\n\
                 order_by = \"id\"\nhash = \"hash\"\nprevious = \"previous\"\n"
            )
        };
        let record = run(&Pgtend::tending(&db, &keys("1s")), 1).await;
        assert_eq!(record["outcome"], "timed_out", "{record}");
        let program = Pgtend::tending(&db, &keys("30m"));
        let config = std::fs::read_to_string(program.config()).unwrap();
        program.configure(&format!("shutdown_timeout = \"10m\"\n{config}"));
        let daemon = program.daemon().ready().await;
        daemon.signal(libc::SIGUSR1);
        db.wait_for_busy("pgtend/chain", 1).await;
        daemon.stop().await.exits(0);
        assert_eq!(db.outcomes("chain").await, ["timed_out", "cancelled"]);
        wait_until("nobody to be at work", async || db.busy("pgtend/%").await == 0).await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_found_by_check() {
    on_each_major(async |db| {
        let role = format!("reader_{}", db.name());
        db.execute(&format!("{LOG} CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE \"{}\" TO {role}; CREATE VIEW plain AS SELECT * FROM log", db.name())).await;
        let program = |url: String, table: &str, previous: &str| {
            Pgtend::new(&format!(
                "[databases.main]\nurl = \"{url}\"\n[jobs.chain.verify_chain]\ntable = '{table}'\norder_by = \"id\"\nhash = \"hash\"\nprevious = \"{previous}\"\n"
            ))
        };
        let blind = program(db.url_as(&role), "log", "previous");
        let found = blind.run(["check"]).await.exits(1).stdout;
        assert!(found.contains("GRANT SELECT ON \"public\".\"log\""), "{found}");
        db.execute(&format!("GRANT SELECT ON log TO {role}")).await;
        let found = blind.run(["check"]).await.exits(0).stdout;
        assert!(found.contains("CREATE INDEX CONCURRENTLY ON \"public\".\"log\" (\"id\");"), "{found}");
        run(&blind, 0).await;
        db.execute("ALTER TABLE log ENABLE ROW LEVEL SECURITY").await;
        let found = blind.run(["check"]).await.exits(1).stdout;
        assert!(found.contains("row security hides rows"), "{found}");
        run(&blind, 1).await;
        // The history that a role has made is not for another to write.
        db.execute("DROP SCHEMA pgtend CASCADE").await;
        for (table, previous, words) in [
            ("gone", "previous", "there is no table public.gone"),
            ("Other.LOG", "previous", "is it table = 'public.log'?"),
            ("plain", "previous", "public.plain is a view"),
            ("log", "before", "public.log has no column \"before\""),
            ("log", "id", "cannot be compared"),
        ] {
            let program = program(db.url(), table, previous);
            let found = program.run(["check"]).await.exits(1).stdout;
            assert!(found.contains(words) && found.contains("pgtend.toml:"), "{words} is not in {found}");
            assert!(run(&program, 1).await["error"].as_str().unwrap().contains(words.split(';').next().unwrap()));
        }
        db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
    })
    .await;
}
