use proptest::prelude::*;

use super::*;
use crate::config;
use crate::init::facts::{
    Column, Counters, Cron, HeldPolicy, Outgoing, Partitioned, PolicyColumns, PolicyTable, Reference, Table as Known,
};
use crate::init::print;
use crate::kinds::partitions::plan::tests::facts as partitions;
use crate::kinds::refresh::facts::{Index, Near, View};
use crate::pg::Ident;
use crate::pg::catalog::OnDelete;
use crate::pg::pg_cron::CronJob;

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

/// `name: column type, column type!, …`, an exclamation mark for NOT NULL; the first column is the primary key and given.
pub(super) fn table(text: &str) -> Known {
    let (name, columns) = text.split_once(':').unwrap();
    let columns: Vec<Column> = columns
        .split(',')
        .enumerate()
        .map(|(at, column)| {
            let (name, kind) = column.trim().split_once(' ').unwrap();
            let type_name = match kind.trim_end_matches('!') {
                "timestamptz" => "timestamp with time zone",
                "timestamp" => "timestamp without time zone",
                other => other,
            };
            Column { name: ident(name), type_name: type_name.into(), not_null: kind.ends_with('!'), given: at == 0 }
        })
        .collect();
    Known {
        oid: 7,
        name: name.parse().unwrap(),
        partitioned: false,
        has_children: false,
        owner: ident("app"),
        primary_key: vec![columns[0].name.clone()],
        columns,
        unique: Vec::new(),
        indexed: ["expires_at".into(), "created_at".into()].iter().map(|name: &String| ident(name)).collect(),
        referenced_by: Vec::new(),
        references: Vec::new(),
        row_security: false,
        triggers: Vec::new(),
        rows: None,
        bytes: 0,
        counters: Counters::default(),
        lacking: Vec::new(),
    }
}

fn facts() -> Facts {
    let mut facts = Facts::default();
    facts.server.version = "15.18".into();
    facts.server.database = "app".into();
    facts.server.role = "admin".into();
    facts.server.now = "2026-11-21T12:00:00Z".parse().unwrap();
    facts
}

pub(super) fn with(tables: Vec<Known>) -> Facts {
    Facts { tables, ..facts() }
}

fn way() -> Way {
    Way { url: "postgresql://admin@db/app".into(), ..Way::default() }
}

pub(super) fn shown(facts: &Facts) -> String {
    print(&propose(facts, &way()))
}

/// The config that is switched on; it has to be one.
#[track_caller]
fn active(text: &str) -> toml::Table {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgtend.toml");
    std::fs::write(&path, text).unwrap();
    if let Err(errors) = config::load_with(&path, &|_| None) {
        panic!("{errors}\n{text}");
    }
    text.parse().unwrap()
}

/// With all marks taken away. It has placeholders, so that it is no config yet, but it is TOML.
pub(super) fn all_on(text: &str) -> String {
    let on = |line: &str| {
        let rest = line.trim_start();
        let indent = &line[..line.len() - rest.len()];
        match rest.strip_prefix('#') {
            Some(config) if !config.is_empty() && !config.starts_with(' ') => format!("{indent}{config}\n"),
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(on).collect()
}

/// Those that are switched on; but for `health`, which every database has once there is that kind.
pub(super) fn jobs(text: &str) -> Vec<String> {
    let config = active(text);
    let jobs = config.get("jobs").and_then(|jobs| jobs.as_table()).into_iter().flat_map(|jobs| jobs.keys());
    jobs.filter(|job| *job != "health").cloned().collect()
}

const SESSIONS: &str =
    "public.sessions: id uuid!, user_id uuid!, token_hash text!, expires_at timestamptz!, created_at timestamptz";

/// Whether the rows are switched on; why not, otherwise.
#[track_caller]
fn check_end(table: Known, expect: &str) {
    let name = table.name.plain();
    let text = shown(&with(vec![table]));
    let on = jobs(&text) == ["sessions"];
    assert_eq!(on, expect == "on", "{text}");
    assert!(on || jobs(&text).is_empty(), "{text}");
    let words = text.replace("\n    # ", " ");
    assert!(words.contains(&format!("table = \"{name}\"")), "{text}");
    assert!(expect == "on" || words.contains(expect), "{expect:?} is not in {text}");
}

#[test]
fn sessions_that_end_are_the_only_rows_that_go_by_themselves() {
    check_end(table(SESSIONS), "on");
    check_end(table(&SESSIONS.replace("user_id", "lambda_id")), "lambda_id may be worth keeping");
    let mut refers = table(&SESSIONS.replace("user_id", "lambda_id"));
    refers.references.push(Outgoing { columns: vec![ident("lambda_id")], to: 99 });
    check_end(refers, "on");
}

#[test]
fn a_session_that_may_be_needed_after_its_end_is_left_to_its_owner() {
    let of = |from: &str, to: &str| {
        let changed = SESSIONS.replace(from, to);
        assert_ne!(changed, SESSIONS);
        table(&changed)
    };
    check_end(of("sessions", "analysis_sessions"), "nothing says that a row is of no use after it");
    check_end(of("expires_at timestamptz!", "expires_at timestamptz"), "it may be NULL");
    check_end(of("expires_at timestamptz!", "expires_at timestamp!"), "in which time zone nothing says");
    check_end(of("expires_at timestamptz!", "expires_at date!"), "in which time zone nothing says");
    check_end(of("expires_at timestamptz!", "expires_at bigint!"), "it is a number");
    check_end(of("token_hash", "refresh_token_hash"), "a row that holds a refresh token");
    check_end(of("token_hash", "note"), "nothing says that a row is of no use after it");
    check_end(of("created_at timestamptz", "revoked_at timestamptz"), "what became of it");
    check_end(of("created_at timestamptz", "page_views integer"), "page_views may be worth keeping");
    check_end(of("created_at timestamptz", "recording_uri text"), "would be left behind");
    check_end(of("expires_at", "valid_until"), "what was valid when");

    let changed = |change: fn(&mut Known)| {
        let mut table = table(SESSIONS);
        change(&mut table);
        table
    };
    check_end(
        changed(|table| {
            let reference = Reference { table: "public.events".parse().unwrap(), on_delete: OnDelete::Cascade };
            table.referenced_by.push(reference);
        }),
        "rows of public.events refer to it (ON DELETE CASCADE)",
    );
    check_end(changed(|table| table.row_security = true), "row security");
    check_end(changed(|table| table.triggers.push("note".into())), "DELETE sets off note");
    check_end(changed(|table| table.has_children = true), "partitions or child tables");
}

#[test]
fn whatever_else_has_an_end_is_off_with_the_reason() {
    check_end(
        table("public.api_keys: id uuid!, key_hash text!, expires_at timestamptz!"),
        "who did what with a key is asked after its end too",
    );
    check_end(
        table("public.api_keys: id uuid!, key_hash text!, revoked_at timestamptz"),
        "nobody has said that it may go",
    );
    check_end(
        table("public.sessions: id uuid!, token text!, revoked_at timestamptz!"),
        "nobody has said that it may go",
    );
    check_end(
        table("public.github_credentials: id integer!, refresh_token text!, token_expires_at timestamptz!"),
        "a row that holds a refresh token",
    );
    check_end(
        table("public.rag_knowledge: id integer!, embedding_id text, expires_at timestamptz"),
        "what it names in another system would be left behind",
    );
    check_end(
        table("auth.invitations: id uuid!, max_uses integer, uses integer, expires_at timestamptz!"),
        "it has max_uses, uses",
    );
    let text = shown(&with(vec![table("production.artifacts: id uuid!, s3_uri text, expires_at timestamptz")]));
    assert!(text.contains("objects = { column = \"s3_uri\", store = \"WHICH STORE\" }"), "{text}");
    let text = shown(&with(vec![table("public.messages: id uuid!, ttl integer, created_at timestamptz")]));
    assert!(
        text.contains(r#"expression = '"created_at" + "ttl" * interval '1 second''"#)
            || text.contains(r#"expression = "\"created_at\" + \"ttl\" * interval '1 second'""#),
        "{text}"
    );
}

#[test]
fn what_only_grows_is_told_by_its_name_or_its_shape_and_is_off() {
    let rows = |tables: Vec<Known>| {
        let text = shown(&with(tables));
        assert_eq!(jobs(&text), Vec::<String>::new(), "{text}");
        let config: toml::Table = all_on(&text).parse().unwrap();
        let rows = config.get("jobs").and_then(|jobs| jobs.get("old-rows"));
        let rows = rows.map(|job| job["retention"]["tables"].as_array().unwrap().clone()).unwrap_or_default();
        let said =
            |row: &toml::Value| format!("{} by {}", row["table"].as_str().unwrap(), row["column"].as_str().unwrap());
        rows.iter().map(said).collect::<Vec<_>>()
    };
    assert_eq!(
        rows(vec![table("public.error_log: id bigint!, created_at timestamptz!")]),
        ["public.error_log by created_at"]
    );
    assert_eq!(
        rows(vec![table("providers.cost_alerts: id uuid!, triggered_at timestamptz, acknowledged boolean")]),
        ["providers.cost_alerts by triggered_at"]
    );
    // Of two times the one with an index, else the one that says it best.
    let mut usage = table("public.llm_token_usage: id bigint!, created_at timestamptz!, timestamp timestamptz!");
    assert_eq!(rows(vec![usage.clone()]), ["public.llm_token_usage by created_at"]);
    usage.indexed = [ident("timestamp")].into();
    assert_eq!(rows(vec![usage]), ["public.llm_token_usage by timestamp"]);

    let coverage = || table("public.coverage_data: id uuid!, test_run_id uuid!, created_at timestamptz");
    assert_eq!(rows(vec![coverage()]), ["public.coverage_data by created_at"]);
    let none = |change: fn(&mut Known)| {
        let mut table = coverage();
        change(&mut table);
        assert_eq!(rows(vec![table]), Vec::<String>::new());
    };
    none(|table| table.unique.push(vec![ident("test_run_id")]));
    none(|table| table.columns[0].given = false);
    none(|table| table.columns[1].name = ident("updated_at"));
    none(|table| table.columns[2].name = ident("cancelled_at"));
    none(|table| table.counters = Counters { inserted: 100, updated: 50, deleted: 0 });
    none(|table| {
        let reference = Reference { table: "public.lines".parse().unwrap(), on_delete: OnDelete::Refuse };
        table.referenced_by.push(reference);
    });
    // A log that others refer to is one all the same, and it is said.
    let mut messages = table("public.agent_messages: id uuid!, created_at timestamptz");
    messages.referenced_by.push(Reference { table: "public.queue".parse().unwrap(), on_delete: OnDelete::Cascade });
    let text = shown(&with(vec![messages]));
    assert!(text.contains("rows of public.queue refer to it (ON DELETE CASCADE)"), "{text}");
}

#[test]
fn a_chain_and_policies_are_proposed_and_off() {
    let chain = table("audits.audit_log: id bigint!, signature text, prev_hash text, ts timestamptz!");
    let mut facts = with(vec![chain, table("public.runs: id uuid!, created_at timestamptz")]);
    let mut results = table("public.results: id uuid!, run_id uuid!");
    facts.tables[1].oid = 8;
    results.references.push(Outgoing { columns: vec![ident("run_id")], to: 8 });
    facts.tables.push(results);
    facts.policies.push(PolicyTable {
        table: "public.policies".parse().unwrap(),
        columns: PolicyColumns {
            table_name: ident("table_name"),
            retention_days: ident("keep_days"),
            archive_enabled: Some(ident("archive_enabled")),
            delete_enabled: None,
        },
        held: Ok(vec![HeldPolicy { table: "results".into(), days: Some(90), archive: Some(true), delete: None }]),
    });
    let text = shown(&facts);
    assert_eq!(jobs(&text), Vec::<String>::new());
    let config: toml::Table = all_on(&text).parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    let chain = &config["jobs"]["chain"]["verify_chain"];
    assert_eq!(chain["table"].as_str(), Some("audits.audit_log"));
    assert_eq!((chain["order_by"].as_str(), chain["hash"].as_str()), (Some("id"), Some("signature")));
    let policies = &config["jobs"]["policies"]["retention"]["policies"];
    assert_eq!(policies["retention_days"].as_str(), Some("keep_days"));
    assert_eq!(policies["to"].as_str(), Some("WHICH SCHEMA"));
    assert_eq!(policies["except"][0]["age_from"]["table"].as_str(), Some("public.runs"));
    assert!(text.contains("results: 90 days, then moved to the archive"), "{text}");
    assert!(text.contains("It has no column like delete_enabled"), "{text}");

    facts.policies[0].held = Err("ERROR: permission denied (SQLSTATE 42501)".into());
    assert!(shown(&facts).contains("What it holds could not be read: ERROR: permission denied"));
}

fn partitioned(text: &str) -> Partitioned {
    Partitioned { is_partition: false, facts: partitions(text) }
}

#[test]
fn partitions_are_made_where_those_there_are_prove_what_is_wanted() {
    let months = "range timestamptz
         events_2026_10 2026-10-01 2026-11-01
         events_2026_11 2026-11-01 2026-12-01";
    let mut facts = Facts { partitioned: vec![partitioned(months)], ..facts() };
    let text = shown(&facts);
    assert_eq!(jobs(&text), ["partitions", "statistics"], "{text}");
    assert!(text.contains("\n    { table = \"public.events\", every = \"1 month\", ahead = 12 },\n"), "{text}");
    let words = text.replace("\n    # ", " ");
    assert!(
        words.contains(
            "Its last partition ends on 2026-12-01; as it stands, the first insert would fail at 2026-12-01 00:00:00Z."
        ),
        "{text}"
    );
    // What is old is told, and nothing goes.
    assert!(words.contains("the oldest of its 2 partitions is 51 days old"), "{text}");
    assert!(text.contains("    #{ table = \"public.events\", keep = \"HOW LONG\" },\n"), "{text}");

    facts.partitioned[0].facts.immutable = Some(ident("no_delete"));
    let text = shown(&facts).replace("\n    # ", " ");
    assert!(
        text.contains("It refuses DELETE, by trigger \"no_delete\"")
            && text.contains("immutable = \"drop-after-export\""),
        "{text}"
    );

    facts.partitioned[0].facts.obstacles.push("role x may not".into());
    let text = shown(&facts);
    assert!(jobs(&text).contains(&"partitions".into()) && text.contains("\n# What role admin lacks"), "{text}");

    facts.server.extensions.insert("pg_partman".into());
    let text = shown(&facts);
    assert_eq!(jobs(&text), ["statistics"], "{text}");
}

#[test]
fn partitions_that_prove_nothing_are_off_or_only_told() {
    let check = |text: &str, row: &str, words: &str| {
        let said = shown(&Facts { partitioned: vec![partitioned(text)], ..facts() });
        assert!(!jobs(&said).contains(&"partitions".into()), "{said}");
        assert!(said.contains(row), "{said}");
        assert!(said.replace("\n# ", " ").replace("\n    # ", " ").contains(words), "{said}");
    };
    check(
        "range timestamptz",
        "#{ table = \"public.events\", every = \"HOW WIDE\", ahead = 12 }",
        "it has no partition yet",
    );
    check("list text", "key_format = \"HOW THE KEY SAYS ITS TIME\"", "nothing says how that key says its time");
    check("list text\n eu in de, fr", "public.events is left out", "no periods in any way of saying time");
    check("hash integer", "public.events is left out", "hash partitions follow no time");
    check(
        "range timestamptz\n a 2026-11-01 2026-12-01\n rest 2026-12-01 max",
        "#{ table = \"public.events\", every = \"1 month\", ahead = 12",
        "Off: its last partition has no end (MAXVALUE)",
    );
}

fn view(name: &str, index: Index) -> View {
    View {
        oid: 1,
        name: name.parse().unwrap(),
        owner: ident("app"),
        role: Ok(ident("app")),
        populated: true,
        index,
        temporary: true,
        dead: 0,
        living: 0,
        file: None,
        change: None,
    }
}

#[test]
fn views_are_refreshed_beside_their_readers_or_not_at_all() {
    let near = Near {
        name: "public.b_idx".into(),
        columns: vec![ident("agent"), ident("date")],
        unique: false,
        valid: true,
        partial: false,
    };
    let mut facts = Facts {
        views: vec![
            view("public.a", Index::Usable("public.a_key".into())),
            view("public.b", Index::Lacking(Some(near))),
        ],
        ..facts()
    };
    let text = shown(&facts);
    assert_eq!(active(&text)["jobs"]["views"]["refresh"]["views"].as_array().unwrap().len(), 1, "{text}");
    assert!(text.contains("    #     CREATE UNIQUE INDEX ON \"public\".\"b\" (\"agent\", \"date\");\n"), "{text}");
    assert!(text.contains("    #\"public.b\",\n"), "{text}");

    facts.views.truncate(1);
    let job = CronJob {
        id: 4,
        name: "nightly".into(),
        schedule: "0 1 * * *".into(),
        sql: "REFRESH MATERIALIZED VIEW concurrently a; SELECT dblink('password=hunter2')".into(),
    };
    facts.cron = Some(Cron { jobs: vec![job], hidden: None });
    let text = shown(&facts);
    assert_eq!(jobs(&text), Vec::<String>::new(), "{text}");
    assert!(text.contains("pg_cron works on it already, by its job 4 \"nightly\" (0 1 * * *)"), "{text}");
    assert!(
        text.contains("4 \"nightly\" (0 1 * * *): refreshes a view; public.a") && !text.contains("hunter2"),
        "{text}"
    );

    facts.cron = Some(Cron { jobs: Vec::new(), hidden: Some("this role may not read cron.job".into()) });
    let text = shown(&facts);
    assert!(
        text.contains("not all of its jobs could be seen: this role may not") && jobs(&text) == ["views"],
        "{text}"
    );
    facts.views[0].populated = false;
    assert!(shown(&facts).contains("it has never been filled"));
}

#[test]
fn an_empty_database_gives_a_config_without_jobs() {
    assert_eq!(jobs(&shown(&facts())), Vec::<String>::new());
    assert_eq!(database_name("my db"), "my-db");
    assert_eq!(database_name("βάση"), "main");
    assert_eq!(database_name(&"x".repeat(63)).len(), 40);
}

#[test]
fn a_health_job_is_proposed_as_soon_as_there_is_that_kind() {
    assert_eq!(shown(&facts()).contains("[jobs.health"), Spec::NAMES.contains(&"health"));
}

#[test]
fn health_reads_what_there_is_to_read() {
    let collect = |facts: &Facts| {
        let config = active(&shown(facts));
        let collect = config["jobs"]["health"]["health"]["collect"].as_array().unwrap().clone();
        let names = collect.iter().map(|name| name.as_str().unwrap());
        names.filter(|name| ["slow_queries", "partitions"].contains(name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut facts = facts();
    assert_eq!(collect(&facts), [""; 0]);
    facts.server.extensions.insert("pg_stat_statements".into());
    assert_eq!(collect(&facts), ["slow_queries"]);
    facts.partitioned.push(partitioned("hash integer"));
    assert_eq!(collect(&facts), ["slow_queries", "partitions"]);
}

#[test]
fn what_the_password_is_stays_where_it_was() {
    let file = Way { password_file: Some("/etc/pw".into()), ..way() };
    let text = print(&propose(&facts(), &file));
    assert_eq!(active(&text)["databases"]["app"]["password_file"].as_str(), Some("/etc/pw"));
    let given = Way { password: Some("PGPASSWORD"), ..way() };
    let text = print(&propose(&facts(), &given));
    assert!(text.contains("The password came from PGPASSWORD") && text.contains("\n#password_file"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A config that says what was meant, and nothing else; also when all of it is switched on.
    #[test]
    fn whatever_the_names_it_is_a_config(schema in "[^\0]{1,12}", name in "[^\0]{1,12}", other in "\\PC{1,12}") {
        let table_name = TableName::new(&*schema, &*name).unwrap();
        let mut sessions = table(SESSIONS);
        sessions.name = table_name.clone();
        sessions.columns[1].name = ident(&other);
        let mut log = table("public.error_log: id bigint!, signature text, prev_hash text, created_at timestamptz!");
        log.name = TableName::new(&*other, format!("{name}_log")).unwrap();
        log.columns[0].name = ident(&other);
        log.primary_key = vec![ident(&other)];
        let mut events = partitioned("range timestamptz\n events_2026_11 2026-11-01 2026-12-01");
        events.facts.table = TableName::new(&*other, &*name).unwrap();
        events.facts.partitions[0].name = TableName::new(&*other, format!("{name}_2026_11")).unwrap();
        let mut plain = view("public.v", Index::Usable(name.clone()));
        plain.name = table_name.clone();
        let mut facts = Facts { tables: vec![sessions, log], partitioned: vec![events], views: vec![plain], ..facts() };
        facts.server.database = name.clone();
        facts.server.role = other.clone();
        let text = shown(&facts);
        let config = active(&text);
        let made = config["jobs"]["partitions"]["partitions"]["tables"].as_array().unwrap();
        prop_assert_eq!(made.len(), 1);
        let views = config["jobs"]["views"]["refresh"]["views"].as_array().unwrap();
        let read: TableName = views[0].as_str().unwrap().replace("$${", "${").parse().unwrap();
        prop_assert_eq!(read, table_name);
        prop_assert!(all_on(&text).parse::<toml::Table>().is_ok(), "{}", text);
    }
}
