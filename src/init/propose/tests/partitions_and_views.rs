//! Partitioned tables and materialized views.

use super::*;

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
