//! Rows of a new period that lie in the default partition.

use pgtend::kinds::Applied;
use pgtend::kinds::partitions::create::create;
use pgtend::kinds::partitions::facts::{DefaultRows, NewBound};

use super::{context, context_as, july, make, partition, prefix, refused};
use crate::support::{Pgtend, on_each_major};

/// A default partition with its columns in another order, three rows of July in it and two that are not.
const EVENTS: &str = "
    CREATE TABLE events (
        id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz, body text,
        length int GENERATED ALWAYS AS (length(body)) STORED
    ) PARTITION BY RANGE (at);
    CREATE TABLE events_rest (body text, gone int, length int GENERATED ALWAYS AS (length(body)) STORED, at timestamptz,
        id bigint NOT NULL);
    ALTER TABLE events_rest DROP COLUMN gone;
    ALTER TABLE events ATTACH PARTITION events_rest DEFAULT;
    INSERT INTO events (at, body) VALUES ('2026-07-01Z', 'a'), ('2026-07-15Z', 'bb'), ('2026-07-31 23:59:59.999999Z', 'ccc'),
        ('2026-08-01Z', 'later'), (NULL, 'never');";

const IMMUTABLE: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'immutable'; END $$;
    CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse();";

#[tokio::test(flavor = "multi_thread")]
async fn they_move_with_the_partition_and_all_others_stay() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let before: String = db.scalar("SELECT md5(string_agg(e::text, '' ORDER BY id)) FROM events e").await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        assert_eq!(db.column::<String>("SELECT body FROM events_2026_07 ORDER BY at").await, ["a", "bb", "ccc"]);
        assert_eq!(db.column::<String>("SELECT body FROM events_rest ORDER BY at").await, ["later", "never"]);
        assert_eq!(db.scalar::<String>("SELECT md5(string_agg(e::text, '' ORDER BY id)) FROM events e").await, before);
        db.execute("INSERT INTO events (at) VALUES ('2026-07-02Z')").await;
        assert_eq!(db.count("events_2026_07").await, 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_comes_after_the_plan_moves_too() {
    on_each_major(async |db| {
        db.execute("CREATE TABLE months (month text) PARTITION BY LIST (month); CREATE TABLE months_rest PARTITION OF months DEFAULT").await;
        let cx = context(&db);
        let mut partition = july(&cx, "months").await;
        partition.bound = NewBound::List(vec!["2026-07".into()]);
        assert_eq!(partition.default.as_ref().unwrap().default.has_rows, Some(false));
        db.execute("INSERT INTO months VALUES ('2026-07'), ('2026-7'), (NULL)").await;
        make(&cx, &partition).await;
        assert_eq!((db.count("months_2026_07").await, db.count("months_rest").await), (1, 2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_several_columns_leaves_rows_where_one_is_null() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE events (tenant text, at timestamptz) PARTITION BY RANGE (at, tenant);
             CREATE TABLE events_rest PARTITION OF events DEFAULT;
             INSERT INTO events VALUES ('x', '2026-07-01Z'), (NULL, '2026-07-01Z'), ('x', NULL)",
        )
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        assert_eq!((db.count("events_2026_07").await, db.count("events_rest").await), (1, 2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_says_how_many_and_what_works_by_hand() {
    on_each_major(async |db| {
        db.execute("CREATE TABLE events (at timestamptz, body text) PARTITION BY RANGE (at); CREATE TABLE events_rest PARTITION OF events DEFAULT;
            INSERT INTO events VALUES ('2026-07-01Z'), ('2026-07-15Z'), ('2026-07-31 23:59:59.999999Z'), ('2026-08-01Z')").await;
        let cx = context(&db);
        let mut partition = july(&cx, "events").await;
        let work = partition.default.as_mut().unwrap();
        work.mode = DefaultRows::Refuse;
        let error = refused(&cx, &partition).await;
        assert!(error.contains("3 rows of its period, from 2026-07-01 00:00:00+00 to 2026-07-31 23:59:59.999999+00, lie in the default partition public.events_rest"), "{error}");
        assert!(error.contains("default_rows is \"refuse\""), "{error}");
        let work = partition.default.as_mut().unwrap();
        (work.mode, work.max_rows) = (DefaultRows::Move, 2);
        let error = refused(&cx, &partition).await;
        assert!(error.contains("at most 2 are moved under lock: raise default_rows_max"), "{error}");
        assert_eq!(db.count("events_rest").await, 4);

        // The way by hand is one that works.
        let begin = error.find("BEGIN;").unwrap();
        let end = error.find("COMMIT;").unwrap() + "COMMIT;".len();
        db.execute(&error[begin..end]).await;
        assert_eq!((db.count("events_2026_07").await, db.count("events_rest").await), (3, 1));
        assert_eq!(create(&cx, &partition).await.unwrap(), Applied::Done);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_table_gets_its_partition_without_deleting_a_row() {
    on_each_major(async |db| {
        let reader = format!("{}_reader", super::prefix(&db));
        db.execute(&format!("{EVENTS}{IMMUTABLE} CREATE ROLE {reader}; GRANT SELECT ON events_rest TO {reader};
            COMMENT ON TABLE events_rest IS 'the rest'; ALTER TABLE events_rest SET (fillfactor = 50);
            CREATE INDEX events_rest_body ON events_rest (body);")).await;
        let before: String = db.scalar("SELECT md5(string_agg(e::text, '' ORDER BY id)) FROM events e").await;
        let cx = context(&db);
        let partition = july(&cx, "events").await;
        assert_eq!(partition.default.as_ref().unwrap().immutable.as_ref().map(|name| name.as_str()), Some("immutable"));
        make(&cx, &partition).await;
        assert_eq!(cx.report.snapshot().warnings, Vec::<String>::new());
        assert_eq!(db.column::<String>("SELECT body FROM events_2026_07 ORDER BY at").await, ["a", "bb", "ccc"]);
        assert_eq!(db.column::<String>("SELECT body FROM events_rest ORDER BY at").await, ["later", "never"]);
        assert_eq!(db.scalar::<String>("SELECT md5(string_agg(e::text, '' ORDER BY id)) FROM events e").await, before);
        let bound: String = db.scalar("SELECT pg_get_expr(relpartbound, oid) || array_to_string(reloptions, ' ') || obj_description(oid) FROM pg_class WHERE relname = 'events_rest'").await;
        assert_eq!(bound, "DEFAULTfillfactor=50the rest");
        assert!(db.scalar::<bool>(&format!("SELECT has_table_privilege('{reader}', 'events_rest', 'SELECT')")).await);
        assert_eq!(db.count("pg_index WHERE indrelid = 'events_rest'::regclass").await, 1);
        assert_eq!(db.count("pg_class WHERE relname LIKE 'pgtend%'").await, 0, "the old default partition is gone");
        for table in ["events_rest", "events_2026_07"] {
            let error = db.client().await.batch_execute(&format!("DELETE FROM {table}")).await.unwrap_err();
            assert!(error.as_db_error().unwrap().message().contains("immutable"), "{error:?}");
        }
        db.execute("INSERT INTO events (at) VALUES ('2026-07-02Z'), ('2026-09-02Z')").await;
        assert_eq!((db.count("events_2026_07").await, db.count("events_rest").await), (4, 3));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_counts_deleted_rows_counts_none() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} CREATE TABLE deleted (id bigint); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO deleted VALUES (old.id); RETURN NULL; END $$;
             CREATE TRIGGER note AFTER DELETE ON events FOR EACH ROW EXECUTE FUNCTION note();"
        ))
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        assert_eq!((db.count("deleted").await, db.count("events_2026_07").await, db.count("events").await), (0, 3, 5));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_default_partition_that_would_lose_something_is_left_as_it_is() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS}{IMMUTABLE} CREATE TRIGGER no_truncate BEFORE TRUNCATE ON events_rest EXECUTE FUNCTION refuse();"
        ))
        .await;
        let cx = context(&db);
        let mut partition = july(&cx, "events").await;
        let error = refused(&cx, &partition).await;
        assert!(error.contains("the trigger no_truncate") && error.contains("The trigger immutable"), "{error}");
        partition.default.as_mut().unwrap().max_rows = 4;
        let error = refused(&cx, &partition).await;
        assert!(error.contains("all 5 rows of it would have to be copied"), "{error}");
        db.execute("DROP TRIGGER no_truncate ON events_rest; CREATE VIEW rest AS SELECT * FROM events_rest;").await;
        partition.default.as_mut().unwrap().max_rows = 5;
        let error = refused(&cx, &partition).await;
        assert!(error.contains("2BP01") && error.contains("view rest"), "{error}");
        assert_eq!((db.count("events_rest").await, db.count("rest").await), (5, 5));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_refer_to_are_not_deleted_from_under_them() {
    on_each_major(async |db| {
        db.load("lukhas.sql", &[("rows", "100"), ("now", "2026-06-15 12:00Z")]);
        db.execute(
            "CREATE TABLE test_runs_rest PARTITION OF test_runs DEFAULT; CREATE TABLE test_results_rest PARTITION OF test_results DEFAULT;
             INSERT INTO test_runs (id, team_id, total_tests, created_at) SELECT gen_random_uuid(), id, 1, '2026-08-03Z' FROM teams LIMIT 1;
             INSERT INTO test_results (test_run_id, created_at, test_name, status) SELECT id, created_at, 'works', 'passed' FROM test_runs_rest;",
        )
        .await;
        let cx = context(&db);
        let runs = partition(&cx, "test_runs", "test_runs_2026_08", "2026-08-01", "2026-09-01").await;
        let error = refused(&cx, &runs).await;
        assert!(error.contains("1 rows of its period") && error.contains("test_results"), "{error}");
        assert!(error.contains("then the referring rows"), "{error}");
        assert_eq!((db.count("test_runs_rest").await, db.count("test_results_rest").await), (1, 1));
        // A month of which the default partition holds nothing is no problem; nor are rows that only refer.
        make(&cx, &partition(&cx, "test_runs", "test_runs_2026_09", "2026-09-01", "2026-10-01").await).await;
        make(&cx, &partition(&cx, "test_results", "test_results_2026_08", "2026-08-01", "2026-09-01").await).await;
        assert_eq!(db.count("test_results_2026_08").await, 1);
    })
    .await;
}

/// Whoever may not look leaves it to ATTACH, which looks past row security.
#[tokio::test(flavor = "multi_thread")]
async fn a_default_partition_that_its_owner_may_not_read_is_in_the_way_only_of_its_rows() {
    on_each_major(async |db| {
        let (owner, member) = (format!("{}_owner", prefix(&db)), format!("{}_member", prefix(&db)));
        db.execute(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {member} LOGIN NOINHERIT IN ROLE {owner}; CREATE SCHEMA app AUTHORIZATION {owner};
             SET ROLE {owner}; CREATE TABLE app.log (at timestamptz) PARTITION BY RANGE (at);
             CREATE TABLE app.rest PARTITION OF app.log DEFAULT; INSERT INTO app.log VALUES ('2026-08-15Z');
             ALTER TABLE app.rest ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        ))
        .await;
        let cx = context_as(&db, &member);
        make(&cx, &july(&cx, "app.log").await).await;
        let said = refused(&cx, &partition(&cx, "app.log", "log_8", "2026-08-01", "2026-09-01").await).await;
        assert!(said.contains("23514") && said.contains("rest"), "{said}");
        db.execute(&format!("DROP OWNED BY {owner}; DROP ROLE {member}; DROP ROLE {owner}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_plan_says_whether_they_will_move() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE events (at timestamptz) PARTITION BY RANGE (at); CREATE TABLE events_rest PARTITION OF events DEFAULT;
             INSERT INTO events VALUES (now())",
        )
        .await;
        for (keys, moves) in [("", 1), (", default_rows = 'refuse'", 0)] {
            let job = format!(
                "[jobs.months.partitions]\ntables = [{{ table = 'events', every = '1 month', ahead = 1{keys} }}]"
            );
            let plan = Pgtend::tending(&db, &job).run(["plan", "--json"]).await.exits(0).json();
            let named = |action: &str| plan.iter().filter(|line| line["action"] == action).count();
            assert_eq!((named("create_partition"), named("move_default_rows")), (2, moves), "{plan:#?}");
        }
    })
    .await;
}
