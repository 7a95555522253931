//! What is found out about partitioned tables before anything is decided.

use std::sync::Arc;
use std::time::Duration;

use pgtend::kinds::partitions::facts::{Bound, Edge, Strategy, TableFacts};
use pgtend::kinds::partitions::survey::{self, Surveyed};
use pgtend::pg::{self, Access, Conninfo, Ident, Session, Sessions, TableName};
use tokio::time::Instant;

use crate::support::{Cluster, Database, on_each_major};

pub async fn session_as(db: &Database, role: &str) -> Session {
    let conninfo = Conninfo::parse(&db.url_as(role), None).unwrap();
    let database = Arc::new(pg::Database::new("main", conninfo, 2).unwrap());
    let (lock_timeout, deadline) = (Duration::from_millis(200), Instant::now() + Duration::from_secs(60));
    // Read-only, as for a plan: what is found out is found out without writing.
    Sessions::new(database, "partitions", Access::ReadOnly, lock_timeout, deadline).open().await.unwrap()
}

pub fn names(tables: &[&str]) -> Vec<TableName> {
    tables.iter().map(|table| table.parse().unwrap()).collect()
}

pub async fn survey_as(db: &Database, role: &str, tables: &[&str]) -> Vec<Surveyed> {
    survey::survey(&session_as(db, role).await, &names(tables)).await.unwrap()
}

pub async fn survey(db: &Database, tables: &[&str]) -> Vec<TableFacts> {
    let surveyed = survey_as(db, "postgres", tables).await;
    surveyed.into_iter().map(|found| found.unwrap_or_else(|refusal| panic!("{}", refusal.why))).collect()
}

/// `name FROM..TO` or `name IN..`, one for each partition.
fn bounds(facts: &TableFacts) -> Vec<String> {
    let edge = |edge: &Edge| match edge {
        Edge::MinValue => "min".to_string(),
        Edge::Value(value) => value.clone(),
        Edge::MaxValue => "max".to_string(),
    };
    let bound = |bound: &Bound| match bound {
        Bound::Range { from, to, exact } => {
            format!("{}..{}{}", edge(from), edge(to), if *exact { "" } else { " about" })
        }
        Bound::List(values) => {
            values.iter().map(|value| value.clone().unwrap_or("null".into())).collect::<Vec<_>>().join("|")
        }
        Bound::Unread(text) => format!("unread: {text}"),
    };
    facts.partitions.iter().map(|p| format!("{} {}", p.name.name.as_str(), bound(&p.bound))).collect()
}

#[tokio::test]
async fn keys_of_every_kind_are_known_by_strategy_type_and_bounds() {
    on_each_major(async |db| {
        db.execute(
            "create table tz (k timestamptz) partition by range (k);
             create table tz_1 partition of tz for values from ('2026-11-01 00:00+00') to ('2026-12-01 00:00+00');
             create table ts (id int, k timestamp) partition by range (k, id);
             create table ts_1 partition of ts for values from ('2026-11-01', minvalue) to ('2026-12-01', minvalue);
             create table ts_2 partition of ts for values from ('2026-12-01', 5) to ('2027-01-01', minvalue);
             create table d (k date) partition by range (k);
             create table d_0 partition of d for values from (minvalue) to ('2026-11-01');
             create table d_1 partition of d for values from ('2026-11-01') to ('infinity');
             create table text_list (k text) partition by list (k);
             create table text_list_1 partition of text_list for values in ('2026-02', '2026-03', 'it''s', null);
             create table text_range (k text collate \"C\") partition by range (k);
             create table text_range_1 partition of text_range for values from ('2025-12') to ('2025-13');
             create table vc (k varchar(7)) partition by list (k);
             create table int_list (k int) partition by list (k);
             create table int_list_1 partition of int_list for values in (202502, -1);
             create table epoch (k bigint) partition by range (k);
             create table epoch_1 partition of epoch for values from (1767225600) to (maxvalue);
             create table u (k uuid) partition by range (k);
             create table u_1 partition of u for values from ('019a3c00-0000-7000-8000-000000000000') to (maxvalue);
             create table expr (k timestamptz) partition by range (date_trunc('month', k at time zone 'UTC'));
             create table expr_1 partition of expr for values from ('2026-11-01') to ('2026-12-01');
             create domain month as date;
             create table dom (k month) partition by range (k);
             create domain short as varchar(4); create domain shorter as short check (value <> '');
             create table dom_dom (k shorter) partition by list (k);
             create table num (k numeric(8,2)) partition by range (k);
             create table num_1 partition of num for values from (202611) to (202612);
             create table h (k int) partition by hash (k);
             create table h_1 partition of h for values with (modulus 2, remainder 1);",
        )
        .await;
        // What the database is set to must not show.
        let name = db.name();
        db.execute(&format!(
            "alter database \"{name}\" set datestyle = 'German, DMY';
             alter database \"{name}\" set timezone = 'America/New_York';
             alter database \"{name}\" set standard_conforming_strings = {};",
            if db.cluster().major() < 19 { "off" } else { "on" }
        ))
        .await;
        db.execute(r"create table text_list_2 partition of text_list for values in (E'back\\slash')").await;

        let check = async |table: &str, strategy, type_name: &str, column: Option<&str>, expect: &[&str]| {
            let facts = survey(&db, &[table]).await.remove(0);
            assert_eq!(facts.key.strategy, strategy, "{table}");
            assert_eq!(facts.key.type_name, type_name, "{table}");
            assert_eq!(facts.key.column.as_ref().map(Ident::as_str), column, "{table}");
            assert_eq!(bounds(&facts), expect, "{table}");
            facts.key
        };
        use Strategy::{Hash, List, Range};
        check(
            "tz",
            Range,
            "timestamp with time zone",
            Some("k"),
            &["tz_1 2026-11-01 00:00:00+00..2026-12-01 00:00:00+00"],
        )
        .await;
        let expect =
            ["ts_1 2026-11-01 00:00:00..2026-12-01 00:00:00", "ts_2 2026-12-01 00:00:00..2027-01-01 00:00:00 about"];
        let key = check("ts", Range, "timestamp without time zone", Some("k"), &expect).await;
        assert_eq!((key.columns, key.definition.as_str()), (2, "RANGE (k, id)"));
        check("d", Range, "date", Some("k"), &["d_0 min..2026-11-01", "d_1 2026-11-01..infinity"]).await;
        let expect = ["text_list_1 2026-02|2026-03|it's|null", r"text_list_2 back\slash"];
        let key = check("text_list", List, "text", Some("k"), &expect).await;
        assert!(key.bytewise, "the collation of a database made with --no-locale");
        let key = check("text_range", Range, "text", Some("k"), &["text_range_1 2025-12..2025-13"]).await;
        assert!(key.bytewise);
        if db.scalar("select exists (select from pg_collation where collname = 'en-x-icu')").await {
            db.execute("create table icu (k text collate \"en-x-icu\") partition by range (k)").await;
            assert!(!check("icu", Range, "text", Some("k"), &[]).await.bytewise);
        }
        check("vc", List, "character varying(7)", Some("k"), &[]).await;
        let key = check("int_list", List, "integer", Some("k"), &["int_list_1 202502|-1"]).await;
        assert!(!key.bytewise, "nothing to collate");
        check("epoch", Range, "bigint", Some("k"), &["epoch_1 1767225600..max"]).await;
        check("u", Range, "uuid", Some("k"), &["u_1 019a3c00-0000-7000-8000-000000000000..max"]).await;
        let expect = ["expr_1 2026-11-01 00:00:00..2026-12-01 00:00:00"];
        let key = check("expr", Range, "timestamp without time zone", None, &expect).await;
        assert_eq!(key.definition, "RANGE (an expression)");
        check("dom", Range, "date", Some("k"), &[]).await;
        check("dom_dom", List, "character varying(4)", Some("k"), &[]).await;
        check("num", Range, "numeric(8,2)", Some("k"), &["num_1 202611.00..202612.00"]).await;
        check("h", Hash, "integer", Some("k"), &["h_1 unread: FOR VALUES WITH (modulus 2, remainder 1)"]).await;
    })
    .await;
}

#[tokio::test]
async fn names_are_found_as_they_are_in_every_schema() {
    on_each_major(async |db| {
        let long = "ω".repeat(31);
        db.execute(&format!(
            "create schema \"Μετρήσεις\"; create schema audits;
             create table \"Μετρήσεις\".\"{long}\" (k date) partition by range (k);
             create table audits.\"odd \"\"name\"\".1\" partition of \"Μετρήσεις\".\"{long}\" default;
             create table audits.log (k date) partition by range (k);
             create table public.log (k int) partition by range (k);
             create table public.log_x partition of audits.log for values from (minvalue) to (maxvalue)
                 partition by range (k);",
        ))
        .await;
        let facts = survey(&db, &[&format!("\"Μετρήσεις\".{long}"), "log", "audits.log", "log_x"]).await;
        let names: Vec<_> = facts.iter().map(|facts| facts.table.plain()).collect();
        assert_eq!(names, [&format!("\"Μετρήσεις\".\"{long}\""), "public.log", "audits.log", "public.log_x"]);
        assert_eq!(facts[0].default.as_ref().unwrap().name, TableName::new("audits", "odd \"name\".1").unwrap());
        assert_eq!((facts[1].key.type_name.as_str(), facts[1].partitions.len()), ("integer", 0));
        assert_eq!(facts[2].partitions[0].name.plain(), "public.log_x");
        assert!(facts[2].partitions[0].is_parent);
        assert_eq!(facts[3].partitions, []);
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_no_partitioned_table_is_refused_and_spoils_no_other() {
    on_each_major(async |db| {
        db.execute(
            "create table good (k date) partition by range (k);
             create table good_2026 partition of good for values from ('2026-01-01') to ('2027-01-01');
             create table plain (); create view seen as select 1;
             create table \"Good\" (k date) partition by range (k);",
        )
        .await;
        let tables = ["goods", "public.plain", "seen", "good", "good_2026", "app.good", "nothing_like_it"];
        let surveyed = survey_as(&db, "postgres", &tables).await;
        let said: Vec<_> = surveyed
            .iter()
            .map(|found| match found {
                Ok(facts) => format!("{} is fine", facts.table.plain()),
                Err(refusal) => format!("{} -> {}", refusal.why, refusal.mend),
            })
            .collect();
        assert_eq!(said[0], "there is no table public.goods -> is it table = 'public.good'?");
        assert!(
            said[1].starts_with("public.plain is a table, not a partitioned one -> PostgreSQL cannot turn one into")
        );
        assert_eq!(said[2], "public.seen is a view, not a partitioned table -> name a partitioned table");
        assert_eq!(said[3], "public.good is fine");
        assert_eq!(
            said[4],
            "public.good_2026 is a partition of public.good, and is not partitioned itself -> name public.good"
        );
        assert!(said[5].starts_with("there is no table app.good -> is it table = 'public."), "{}", said[5]);
        assert_eq!(said[6], "there is no table public.nothing_like_it -> create it, or correct the name");
    })
    .await;
}

#[tokio::test]
async fn a_partition_whose_detaching_is_pending_is_still_there() {
    on_each_major(async |db| {
        if db.cluster().major() < 14 {
            return;
        }
        db.execute(
            "create table t (k date) partition by range (k);
             create table t_1 partition of t for values from ('2026-01-01') to ('2026-02-01');
             create table t_2 partition of t for values from ('2026-02-01') to ('2026-03-01');",
        )
        .await;
        let reader = db.client().await;
        reader.batch_execute("begin; select from t").await.unwrap();
        let detacher = db.client().await;
        detacher.batch_execute("set lock_timeout = '50ms'").await.unwrap();
        detacher.batch_execute("alter table t detach partition t_1 concurrently").await.unwrap_err();

        let facts = survey(&db, &["t"]).await.remove(0);
        assert_eq!(bounds(&facts), ["t_1 2026-01-01..2026-02-01", "t_2 2026-02-01..2026-03-01"]);
        assert_eq!(facts.partitions.iter().map(|p| p.detach_pending).collect::<Vec<_>>(), [true, false]);
    })
    .await;
}

#[tokio::test]
async fn nobody_who_has_a_partition_locked_is_waited_for() {
    on_each_major(async |db| {
        db.execute(
            "create table t (k date) partition by range (k);
             create table t_1 partition of t for values from ('2026-01-01') to ('2026-02-01');
             create table t_default partition of t default;
             insert into t values ('2030-01-01');",
        )
        .await;
        let holder = db.client().await;
        holder.batch_execute("begin; lock table t in access exclusive mode").await.unwrap();
        let facts = survey(&db, &["t"]).await.remove(0);
        assert_eq!(bounds(&facts), ["t_1 2026-01-01..2026-02-01"]);
        assert_eq!(facts.default.unwrap().has_rows, None, "that alone cannot be said");
    })
    .await;
}

#[tokio::test]
async fn the_number_of_queries_does_not_grow_with_the_tables() {
    for major in crate::support::majors() {
        let cluster = Cluster::with(major, &[("log_statement", "all")]);
        let db = cluster.database().await;
        db.execute(
            "do $$ begin for i in 1..40 loop
                 execute format('create table t%s (k date primary key) partition by range (k)', i);
                 execute format('create table t%s_1 partition of t%1$s for values from (%L) to (%L)', i, '2026-01-01', '2026-02-01');
                 execute format('create table t%s_default partition of t%1$s default', i);
             end loop; end $$",
        )
        .await;
        let session = session_as(&db, "postgres").await;
        let queries = || cluster.log().matches("pgtend/partitions LOG:").count();
        let mut asked = Vec::new();
        for n in [2, 40] {
            let tables: Vec<_> =
                (1..=n).flat_map(|i| [format!("t{i}"), format!("missing{i}")]).map(|t| t.parse().unwrap()).collect();
            let before = queries();
            let found = survey::survey(&session, &tables).await.unwrap();
            assert_eq!(found.iter().filter(|found| found.is_ok()).count(), n);
            survey::taken(&session, &tables).await.unwrap();
            asked.push(queries() - before);
        }
        assert!(asked[0] > 4, "the log was read");
        assert_eq!(asked[0], asked[1], "PostgreSQL {major}");
    }
}
