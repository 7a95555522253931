//! Rows that end, rows that only pile up, chains and tables of policies.

use super::*;

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
