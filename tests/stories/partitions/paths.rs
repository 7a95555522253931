//! Where names without a schema lead: ours to the server's own functions, the application's to the application's.

use super::{context, july, make};
use crate::support::on_each_major;

/// Functions whose arguments fit better than the server's own are not taken for them, whoever may create in a schema of
/// the search path.
#[tokio::test(flavor = "multi_thread")]
async fn nobodys_function_is_taken_for_the_servers_own() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE log (at timestamptz) PARTITION BY RANGE (at); CREATE TABLE rest PARTITION OF log DEFAULT;
             INSERT INTO log VALUES ('2026-07-01Z');
             CREATE TABLE said (by text);
             CREATE FUNCTION format(text, name) RETURNS text LANGUAGE sql AS $$
                 INSERT INTO public.said VALUES (current_user); SELECT pg_catalog.format($1, $2) $$;
             CREATE FUNCTION format(text, text) RETURNS text LANGUAGE sql AS $$
                 INSERT INTO public.said VALUES (current_user); SELECT pg_catalog.format($1, $2) $$;
             CREATE FUNCTION quote_ident(name) RETURNS text LANGUAGE sql AS $$
                 INSERT INTO public.said VALUES (current_user); SELECT pg_catalog.quote_ident($1) $$;",
        )
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "log").await).await;
        assert_eq!(db.count("said").await, 0);
        assert_eq!(db.count("log_2026_07").await, 1);
    })
    .await;
}

/// What our statements set off runs as it does for everybody else.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_trigger_and_a_constraint_find_the_tables_that_they_name() {
    on_each_major(async |db| {
        db.execute(
            "CREATE TABLE changes (tag text); CREATE TABLE kinds (kind text); INSERT INTO kinds VALUES ('page');
             CREATE FUNCTION known(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN EXISTS (SELECT FROM kinds WHERE kind = $1); END $$;
             CREATE TABLE events (at timestamptz, kind text CHECK (known(kind))) PARTITION BY RANGE (at);
             CREATE TABLE rest PARTITION OF events DEFAULT; INSERT INTO events VALUES ('2026-07-01Z', 'page');
             CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO changes VALUES (tg_tag); END $$;
             CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note();",
        )
        .await;
        let cx = context(&db);
        make(&cx, &july(&cx, "events").await).await;
        db.execute("DROP EVENT TRIGGER note").await;
        assert_eq!(db.count("events_2026_07").await, 1);
        assert!(db.count("changes WHERE tag = 'ALTER TABLE'").await > 0);
    })
    .await;
}
