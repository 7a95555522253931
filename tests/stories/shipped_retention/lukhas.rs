//! lukhas: months of runs and of their results, and rows that are old.

use super::{Jobs, count_of};
use crate::shipped_partitions::{fingerprint, month, partitions, shipped, sqlstate};
use crate::support::{Clock, Cluster, Database, Pgtend, newest_major, on_each_major};

const MONTHS: &str = "lukhas-old-partitions";
const ROWS: &str = "lukhas-old-rows";
const NEVER: [&str; 6] = ["teams", "users", "webauthn_credentials", "user_preferences", "healix_memories", "sessions"];

/// A database that never let anything go: forty months before the current one.
fn load(db: &Database) -> Jobs {
    db.load("lukhas.sql", &[("rows", "100"), ("runs", "400"), ("months_back", "40")]);
    Jobs::shipped(db, "lukhas.toml")
}

/// What is left of a table from the month so many before the current one on.
async fn since(db: &Database, table: &str, months: i32) -> (i64, String) {
    let rows = format!(
        "(SELECT * FROM {table} WHERE created_at >= (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '{months} months') AT TIME ZONE 'UTC')"
    );
    (db.count(&format!("{rows} AS rows")).await, fingerprint(db, &rows).await)
}

/// The application's own DROP never worked, and with CASCADE would have cost the foreign key.
#[tokio::test]
async fn months_go_results_before_runs_and_everything_else_stays() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let never = jobs.fingerprints(&NEVER).await;
        let (runs, results) = (since(&db, "test_runs", 36).await, since(&db, "test_results", 12).await);
        let all = (jobs.count("test_runs").await, jobs.count("test_results").await);
        assert!(runs.0 < all.0 && results.0 < all.1 && results.0 > 0);
        let oldest = month(&db, -40).await;
        assert_eq!(sqlstate(&db, &format!("DROP TABLE test_runs_{oldest}")).await, "2BP01");

        jobs.check().await;
        let would = jobs.would(MONTHS).await;
        // 28 months of results are over a year old, and 24 go in one run; of four of them the runs are old too.
        assert_eq!(would.len(), 24 + 4, "{would:?}");
        for months in 37..=40 {
            let month = month(&db, -months).await;
            let place =
                |table: &str| would.iter().position(|line| *line == format!("drop_partition public.{table}_{month}"));
            let (results, runs) = (place("test_results"), place("test_runs"));
            assert!(results.is_some() && results < runs, "{month}: {would:?}");
        }
        let words = jobs.words(MONTHS).await;
        assert!(
            words.contains("4 partitions more before the cutoff, and at most 24 go in one run (max_partitions)"),
            "{words}"
        );
        assert_eq!(partitions(&db, "test_results").await.len(), 42, "a plan changes nothing");

        assert_eq!(count_of(&jobs.run(MONTHS).await, "partitions_dropped"), 28);
        assert_eq!(jobs.would(MONTHS).await.len(), 4);
        assert_eq!(count_of(&jobs.run(MONTHS).await, "partitions_dropped"), 4);
        jobs.is_done(MONTHS).await;

        assert_eq!(
            (since(&db, "test_runs", 36).await, since(&db, "test_results", 12).await),
            (runs.clone(), results.clone())
        );
        assert_eq!(
            (jobs.count("test_runs").await, jobs.count("test_results").await),
            (runs.0, results.0),
            "all the rest went"
        );
        let (first, last) = (month(&db, -36).await, month(&db, 1).await);
        let left = partitions(&db, "test_runs").await;
        assert_eq!(
            (left.len(), &left[0], &left[37]),
            (38, &format!("test_runs_{first}"), &format!("test_runs_{last}"))
        );
        assert_eq!(partitions(&db, "test_results").await.len(), 14);
        assert_eq!(
            jobs.count("pg_class WHERE relname ~ '^test_(runs|results)_[0-9]' AND relkind = 'r'").await,
            38 + 14,
            "nothing is left lying about"
        );
        let orphan =
            "INSERT INTO test_results (test_run_id, test_name, status) VALUES (gen_random_uuid(), 'x', 'passed')";
        assert_eq!(sqlstate(&db, orphan).await, "23503", "the foreign key is still there");
        assert_eq!(jobs.fingerprints(&NEVER).await, never);
    })
    .await;
}

/// Section 4: a detached month of results keeps its own foreign key.
#[tokio::test]
async fn runs_that_are_still_referred_to_stop_their_month_alone() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let month = month(&db, -38).await;
        let referring = jobs.count(&format!("test_results_{month}")).await;
        assert!(referring > 0);
        // Somebody kept these results.
        db.execute(&format!("ALTER TABLE test_results DETACH PARTITION test_results_{month}; ALTER TABLE test_results_{month} RENAME TO kept_results")).await;
        jobs.run_or_partial(MONTHS).await;
        let (_, said) = jobs.fails(MONTHS).await;
        assert!(said.contains(&format!("public.test_runs_{month}")), "{said}");
        assert!(said.contains(&format!("{referring} rows")) && said.contains("public.kept_results"), "{said}");
        assert_eq!(jobs.count("kept_results").await, referring);
        // The three other months of runs went.
        assert_eq!(partitions(&db, "test_runs").await.len(), 38 + 1);

        db.execute("ALTER TABLE kept_results DROP CONSTRAINT test_results_test_run_id_created_at_fkey").await;
        assert_eq!(count_of(&jobs.run(MONTHS).await, "partitions_dropped"), 1);
        jobs.is_done(MONTHS).await;
        assert_eq!(jobs.count("kept_results").await, referring);
    })
    .await;
}

#[tokio::test]
async fn names_decide_nothing() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let (old, young) = (month(&db, -39).await, month(&db, -5).await);
        let decoys = ["test_runs_1", "test_runs_2021", "test_runs_2022_1", "\"test-runs-2020\"", "test_runs_2022_09_backup"];
        for decoy in decoys {
            db.execute(&format!("CREATE TABLE {decoy} AS SELECT * FROM test_runs LIMIT 3")).await;
        }
        // An old month with the name of a young one and in another schema, and the other way round.
        db.execute(&format!(
            "CREATE SCHEMA attic; ALTER TABLE test_runs_{old} RENAME TO test_runs_2999_01; ALTER TABLE test_runs_2999_01 SET SCHEMA attic;
             ALTER TABLE test_runs_{young} RENAME TO test_runs_2001_01"
        ))
        .await;
        let rows = jobs.count("test_runs_2001_01").await;
        jobs.run(MONTHS).await;
        jobs.run(MONTHS).await;
        jobs.is_done(MONTHS).await;
        for decoy in decoys {
            assert_eq!(jobs.count(decoy).await, 3, "{decoy}");
        }
        assert_eq!(jobs.count("test_runs_2001_01").await, rows);
        assert_eq!(jobs.count("pg_class WHERE relname = 'test_runs_2999_01'").await, 0);
    })
    .await;
}

/// On 31 March 2024 the last of March 2021 is not yet 36 months old, and 3 x 365 days are.
#[tokio::test]
async fn a_month_goes_when_its_last_moment_is_so_many_calendar_months_old() {
    // The calendar is ours: what the server has to do with it is the same on all majors.
    let clock = Clock::at("2024-03-31T12:00:00Z");
    let db = Cluster::by(&clock, newest_major()).database().await;
    db.load("lukhas.sql", &[("rows", "20"), ("months_back", "37")]);
    let jobs = Jobs { program: Pgtend::tending(&db, &shipped("lukhas.toml")).by(&clock), db: db.clone() };
    jobs.run(MONTHS).await;
    jobs.run(MONTHS).await;
    assert_eq!(partitions(&db, "test_runs").await[0], "test_runs_2021_03");
    assert_eq!(partitions(&db, "test_results").await[0], "test_results_2023_03");
    clock.set("2024-04-01T00:00:01Z");
    assert_eq!(
        jobs.would(MONTHS).await,
        ["drop_partition public.test_runs_2021_03", "drop_partition public.test_results_2023_03"]
    );
    jobs.run(MONTHS).await;
    assert_eq!(partitions(&db, "test_runs").await[0], "test_runs_2021_04");
}

#[tokio::test]
async fn what_is_held_stays_as_the_file_says_and_goes_when_the_hold_is_over() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let held = month(&db, -38).await;
        jobs.run("lukhas-sessions").await;
        let hold = shipped("lukhas.toml")
            .lines()
            .find_map(|line| line.strip_prefix("#     INSERT INTO pgtend.hold").map(str::to_string));
        let hold = hold.expect("the example").replace("test_runs_2024_02", &format!("test_runs_{held}"));
        db.execute(&format!("INSERT INTO pgtend.hold{hold}")).await;
        let words = jobs.words(MONTHS).await;
        assert!(words.contains(&format!("public.test_runs_{held}")) && words.contains("held: incident 17"), "{words}");
        jobs.run(MONTHS).await;
        jobs.run(MONTHS).await;
        assert_eq!(partitions(&db, "test_runs").await[0], format!("test_runs_{held}"));
        db.execute("UPDATE pgtend.hold SET until = now()").await;
        assert_eq!(count_of(&jobs.run(MONTHS).await, "partitions_dropped"), 1);
        jobs.is_done(MONTHS).await;
    })
    .await;
}

#[tokio::test]
async fn coverage_and_reviews_go_by_their_own_age_without_an_index_and_no_row_without_a_time() {
    on_each_major(async |db| {
        let jobs = load(&db);
        let never = jobs.fingerprints(&NEVER).await;
        let kept = |table: &str, keep: &str| {
            format!(
                "(SELECT * FROM {table} WHERE created_at >= now() - interval '{keep}' OR created_at IS NULL) AS kept"
            )
        };
        let tables = [("coverage_data", "6 months"), ("consciousness_reviews", "2 years")];
        let mut before = Vec::new();
        for (table, keep) in tables {
            before.push((jobs.count(table).await, jobs.count(&kept(table, keep)).await));
            assert_eq!(jobs.count(&format!("{table} WHERE created_at IS NULL")).await, 8);
        }
        let found = jobs.check().await;
        for (table, _) in tables {
            assert!(found.contains(&format!("public.{table}")) && found.contains("created_at"), "{found}");
        }
        assert!(found.contains("CREATE INDEX"), "{found}");
        let words = jobs.words(ROWS).await;
        assert!(words.contains("8 rows without a time: NULL is never old"), "{words}");
        assert_eq!(
            jobs.would(ROWS).await,
            ["delete_rows public.coverage_data", "delete_rows public.consciousness_reviews"]
        );

        let details = jobs.run(ROWS).await;
        for ((table, _), (all, kept)) in tables.iter().zip(&before) {
            assert!(kept < all && *kept > 100, "{table}: {kept} of {all}");
            assert_eq!(jobs.count(table).await, *kept, "{table}");
            assert_eq!(
                count_of(&details["tables"][format!("public.{table}")], "rows_deleted"),
                all - kept,
                "{details}"
            );
            assert_eq!(jobs.count(&format!("{table} WHERE created_at IS NULL")).await, 8);
        }
        jobs.is_done(ROWS).await;
        assert_eq!(jobs.fingerprints(&NEVER).await, never);
        assert_eq!(jobs.count("test_runs").await, 400);
    })
    .await;
}

#[tokio::test]
async fn the_privileges_that_the_file_names_are_enough() {
    on_each_major(async |db| {
        let prefix = format!("s{}_retention", db.name().split('_').next().unwrap());
        let (owner, role) = (format!("{prefix}_lukhas"), format!("{prefix}_pgtend"));
        db.load("lukhas.sql", &[("rows", "100"), ("months_back", "38")]);
        db.execute(&format!(
            "CREATE ROLE {owner} LOGIN; CREATE ROLE {role} LOGIN;
             DO $$ DECLARE t regclass; BEGIN
               FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
                 EXECUTE format('ALTER TABLE %s OWNER TO {owner}', t); END LOOP; END $$;
             GRANT CREATE ON DATABASE \"{}\" TO {role}; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {role}",
            db.name()
        ))
        .await;
        let text = shipped("lukhas.toml").replace("{url}", &db.url());
        let program = Pgtend::new(&format!("[databases.main]\nurl = \"{}\"\n{text}", db.url_as(&role)));
        let jobs = Jobs { program, db: db.clone() };
        let all = ["lukhas-sessions", "lukhas-partitions", MONTHS, ROWS];
        for job in all {
            let (_, said) = jobs.fails(job).await;
            assert!(said.contains("GRANT"), "{job}: {said}");
        }
        assert_eq!(partitions(&db, "test_runs").await.len(), 40);
        for grant in super::grants(&text) {
            let grant = grant.replace("pgtend;", &format!("{role};")).replace("lukhas;", &format!("{owner};"));
            db.execute(&grant.replace("GRANT lukhas", &format!("GRANT {owner}"))).await;
        }
        jobs.check().await;
        for job in all {
            jobs.run(job).await;
        }
        jobs.run(MONTHS).await;
        jobs.is_done(MONTHS).await;
        assert_eq!((partitions(&db, "test_runs").await.len(), partitions(&db, "test_results").await.len()), (37 + 12, 13 + 12));
        db.execute(&format!("REASSIGN OWNED BY {owner}, {role} TO postgres; DROP OWNED BY {owner}, {role}; DROP ROLE {owner}, {role}")).await;
    })
    .await;
}
