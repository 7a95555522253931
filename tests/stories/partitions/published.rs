//! Tables that subscribers watch: a row that moves must not be lost to them.

use super::{context, july, make, refused};
use crate::support::{Database, on_each_major};

const EVENTS: &str = "
    CREATE TABLE events (id int, at timestamptz, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE events_rest PARTITION OF events DEFAULT;
    INSERT INTO events VALUES (1, '2026-07-01Z'), (2, '2026-08-01Z');";

const IMMUTABLE: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'immutable'; END $$;
    CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse();";

/// What stands between the first and the last words of a recipe, as a person would run it.
fn recipe(said: &str) -> &str {
    let (_, recipe) = said.split_once("BEGIN; ").unwrap();
    recipe.split_once("COMMIT;").unwrap().0
}

/// What is said where July cannot be made.
async fn refused_with(db: &Database, publication: &str) -> String {
    db.execute(&format!("CREATE PUBLICATION \"Watched\" {publication}")).await;
    let cx = context(db);
    let said = refused(&cx, &july(&cx, "events").await).await;
    assert!(said.contains("publication \"Watched\""), "{said}");
    assert_eq!((db.count("events_rest").await, db.count("pg_class WHERE relname = 'events_2026_07'").await), (2, 0));
    said
}

/// The deletion would be sent as one of `events`, the insert into a table that is not attached yet as nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_published_as_the_parents_are_not_moved_and_what_works_by_hand_works() {
    on_each_major(async |db| {
        db.execute(EVENTS).await;
        let said = refused_with(&db, "FOR TABLE events WITH (publish_via_partition_root = true)").await;
        assert!(said.contains("they would lose them"), "{said}");
        db.execute(&format!("BEGIN; {} COMMIT", recipe(&said))).await;
        assert_eq!((db.count("events_2026_07").await, db.count("events_rest").await), (1, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_table_is_published_none_is_filled_before_it_is_attached() {
    on_each_major(async |db| {
        db.execute(&format!("{EVENTS} {IMMUTABLE}")).await;
        let said = refused_with(&db, "FOR ALL TABLES").await;
        assert!(said.contains("given as new ones"), "{said}");
    })
    .await;
}

/// A subscriber of partitions copies a new one whole, when it is told of it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_published_partition_by_partition_are_moved() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} CREATE PUBLICATION by_leaf FOR TABLE events;
             CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION another FOR TABLE other;
             CREATE PUBLICATION inserts FOR TABLE events WITH (publish = 'insert', publish_via_partition_root = true);"
        ))
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        assert_eq!((db.count("events_2026_07").await, db.count("events_rest").await), (1, 1));
    })
    .await;
}

/// Nothing is sent of what is copied between tables that are not attached.
#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_table_that_is_published_by_name_gets_its_partition() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{EVENTS} {IMMUTABLE} CREATE PUBLICATION whole FOR TABLE events WITH (publish_via_partition_root = true);"
        ))
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        assert_eq!((db.count("events_2026_07").await, db.count("events_rest").await), (1, 1));
    })
    .await;
}
