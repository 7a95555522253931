//! Odd names, row security, foreign keys into one partition, tables within tables.

use pgtend::run::Counted;

use super::*;
use crate::support::{Cluster, majors, on_each_major};

#[tokio::test(flavor = "multi_thread")]
async fn names_are_only_names() {
    on_each_major(async |db| {
        let long = "x".repeat(63);
        let names = ["Events \"of\" 2026", "events; DROP TABLE kept", "Δρόμος", long.as_str(), "it's", "a.b"];
        db.execute("CREATE SCHEMA \"Old \"\"one\"\"\"; CREATE TABLE kept ()").await;
        for (n, name) in names.into_iter().enumerate() {
            let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            let leaf = |m: usize| quote(&format!("{m}{}", name.chars().take(50).collect::<String>()));
            let table = quote(name);
            db.execute(&format!(
                "CREATE TABLE {table} (\"At 'x'\" timestamptz, id int) PARTITION BY RANGE (\"At 'x'\");
                 CREATE TABLE {} PARTITION OF {table} FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
                 CREATE TABLE {} PARTITION OF {table} FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
                 CREATE TABLE {} PARTITION OF {table} FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z');
                 INSERT INTO {table} VALUES ('2026-01-02Z'), ('2026-02-02Z'), ('2026-06-02Z'); COMMENT ON TABLE {} IS $$it's \\ \"mine\"$$;",
                leaf(1), leaf(2), leaf(6), leaf(2)
            ))
            .await;
            if n % 2 == 1 {
                db.execute(&format!("CREATE TABLE {} PARTITION OF {table} DEFAULT", leaf(7))).await;
            }
            let toml = format!("'''{table}'''");
            succeed(&db, &format!("{{ table = {toml}, keep = '4 months', newest = '''\"At 'x'\"''' }}")).await;
            succeed(&db, &format!("{{ table = {toml}, keep = '3 months', action = 'archive', to = '\"Old \"\"one\"\"\"' }}")).await;
            assert_eq!(db.count(&table).await, 1, "{name}");
            assert_eq!(db.count(&format!("\"Old \"\"one\"\"\".{}", leaf(2))).await, 1, "{name}");
            let said = comment(&db, &format!("\"Old \"\"one\"\"\".{}", leaf(2)).replace('\'', "''")).await.unwrap();
            assert!(said.starts_with("it's \\ \"mine\"\n\nWas a partition of public."), "{said}");
        }
        assert_eq!(db.count("kept").await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_security_hides_no_partition_and_no_reference() {
    for major in majors() {
        let cluster = Cluster::own(major);
        let db = cluster.database().await;
        db.execute(&format!(
            "{SCHEMA} CREATE ROLE tender LOGIN; GRANT USAGE ON SCHEMA pgtend TO tender; GRANT SELECT ON pgtend.hold TO tender;
             {} CREATE TABLE other (id int, at timestamptz, FOREIGN KEY (id, at) REFERENCES events);
             INSERT INTO other SELECT id, at FROM events_1; GRANT SELECT ON other TO tender;
             ALTER TABLE events OWNER TO tender; ALTER TABLE events ADD made timestamptz DEFAULT '2026-01-01';
             DO $$ BEGIN FOR m IN 1..6 LOOP EXECUTE format('ALTER TABLE events_%s OWNER TO tender', m);
                EXECUTE format('ALTER TABLE events_%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', m); END LOOP; END $$;
             ALTER TABLE other ENABLE ROW LEVEL SECURITY;",
            events(1..=6)
        ))
        .await;
        let tables_ = "{ table = 'events', keep = '3 months' }";
        let (_, report) = job_as(&db, "tender", tables_, Duration::from_secs(30)).run().await;
        // Referring rows may be hidden from us, and then nothing is taken for free of them.
        assert_eq!(report.failures.len(), 2, "{report:#?}");
        assert!(
            report.failures.iter().all(|f| f.error.contains("row-level security policy for table \"other\"")),
            "{report:#?}"
        );
        assert_eq!((attached(&db).await.len(), db.count("other").await), (6, 1));
        // What cannot be read whole is not taken for old.
        db.execute("DROP TABLE other").await;
        let newest = "{ table = 'events', keep = '3 months', newest = 'made' }";
        let (_, report) = job_as(&db, "tender", newest, Duration::from_secs(30)).run().await;
        assert!(
            report.failures[0].error.contains("its newest \"made\" cannot be read, and so it stays"),
            "{report:#?}"
        );
        let (_, report) = job_as(&db, "tender", tables_, Duration::from_secs(30)).run().await;
        assert_eq!(report.total(Counted::PartitionsDropped), 2, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_partition_never_goes_whatever_it_holds() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{SCHEMA} {} CREATE TABLE events_rest PARTITION OF events DEFAULT; INSERT INTO events (at) VALUES ('2019-01-01Z')",
            events(1..=6)
        ))
        .await;
        let steps = job(&db, "{ table = 'events', keep = '4 months' }").plan().await;
        assert!(
            steps.iter().any(|step| step.action == "drop_partition"
                && step.detail["detach"] == "plain"
                && step.reason.contains("beside a default partition")),
            "{steps:#?}"
        );
        succeed(&db, "{ table = 'events', keep = '1 day' }").await;
        assert_eq!(attached(&db).await, ["events_6", "events_rest"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_itself_a_partition_is_held_with_the_one_above_it() {
    on_each_major(async |db| {
        db.execute(&format!(
            "{SCHEMA} CREATE TABLE whole (region text, at timestamptz) PARTITION BY LIST (region);
             CREATE TABLE events PARTITION OF whole FOR VALUES IN ('eu') PARTITION BY RANGE (at);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
             CREATE TABLE events_6 PARTITION OF events FOR VALUES FROM ('2026-06-01Z') TO ('2026-07-01Z');
             INSERT INTO whole VALUES ('eu', '2026-01-02Z'), ('eu', '2026-06-02Z'); INSERT INTO pgtend.hold VALUES ('whole', 'audit')"
        ))
        .await;
        succeed(&db, "{ table = 'events', keep = '4 months' }").await;
        assert_eq!(db.count("whole").await, 2);
        db.execute("TRUNCATE pgtend.hold").await;
        succeed(&db, "{ table = 'events', keep = '4 months' }").await;
        assert_eq!(db.count("whole").await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gains_nothing_by_our_mark() {
    on_each_major(async |db| {
        db.execute(&format!("{} CREATE TABLE mine (LIKE events); INSERT INTO mine VALUES (1, '2020-01-02Z');", events(1..=6))).await;
        let parent: u32 = db.scalar("SELECT 'events'::regclass::oid").await;
        let mark = |parent: u32, bound: &str| {
            format!("COMMENT ON TABLE mine IS $$pgtend: to be dropped by retention: {{\"parent\":{parent},\"schema\":\"public\",\"table\":\"events\",\"bound\":\"{bound}\"}}$$")
        };
        let tables_ = "{ table = 'events', keep = '5 months' }";
        for (parent, bound) in [(parent + 1, "FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"), (parent, "nonsense"), (parent, "FOR VALUES FROM ('2026-05-01 00:00:00+00') TO ('2026-06-01 00:00:00+00')"), (parent, "FOR VALUES FROM ('2020-01-01 00:00:00+00') TO (MAXVALUE)")] {
            db.execute(&mark(parent, bound)).await;
            succeed(&db, tables_).await;
            assert_eq!(db.count("mine").await, 1, "{bound}");
        }
        // A copy that was made of the dump of a partition which was on its way out has its comment.
        let copied = mark(parent, "FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-02-01 00:00:00+00')");
        db.execute(&copied.replace("\"schema\"", "\"leaf\":1,\"schema\"")).await;
        succeed(&db, tables_).await;
        assert_eq!(db.count("mine").await, 1, "a copy");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_go_in_runs_of_max_partitions_and_the_rest_is_said() {
    on_each_major(async |db| {
        db.execute(&format!("{SCHEMA} {}", events(1..=6))).await;
        let two = "{ table = 'events', keep = '1 day', max_partitions = 2 }";
        let steps = job(&db, two).plan().await;
        assert!(steps.iter().any(|step| step.reason.starts_with("3 partitions more before the cutoff, and at most 2 go in one run (max_partitions): the next begins with public.events_3")), "{steps:#?}");
        for left in [4, 2, 1, 1] {
            let report = succeed(&db, two).await;
            let more = report.warnings.iter().any(|warning| warning.contains("more before the cutoff"));
            // A backlog that never shrinks is to be seen in the runs themselves.
            assert_eq!(more, left > 1, "{:?}", report.warnings);
            assert_eq!(attached(&db).await.len(), left);
        }
    })
    .await;
}
