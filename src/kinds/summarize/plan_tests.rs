use proptest::prelude::*;

use super::*;

fn kind() -> Summarize {
    toml::from_str(
        "table = 'log'\ninto = 'days'\nolder_than = '90 days'\ntime = 'at'\ndate = 'day'\nby = ['kind', 'code']\ncount = 'n'",
    )
    .unwrap()
}

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn column(name: &str, sql: &str, base: &str) -> Column {
    Column {
        name: ident(name),
        type_name: sql.into(),
        base: base.into(),
        modifier: -1,
        not_null: true,
        has_default: false,
        generated: false,
        may_insert: true,
        may_update: true,
        other_type: Some(sql.into()),
        same_type: true,
        same_collation: true,
        unusable_sequences: Vec::new(),
    }
}

fn unique(name: &str, columns: &[&str]) -> Unique {
    Unique {
        name: name.into(),
        columns: columns.iter().map(ToString::to_string).collect(),
        partial: false,
        immediate: true,
        valid: true,
        nulls_alike: false,
        other_collation: false,
    }
}

/// A log and a summary in which all is well.
fn facts() -> Facts {
    Facts {
        role: ident("tender"),
        log: vec![
            (ident("at"), "timestamp with time zone".into()),
            (ident("kind"), "text".into()),
            (ident("code"), "integer".into()),
        ],
        leaves: vec![1],
        into: Some(Relation {
            oid: 2,
            kind: 'r',
            columns: Vec::new(),
            row_security: false,
            schema_usage: true,
            role: ident("tender"),
        }),
        alike: Vec::new(),
        may_select: true,
        unlogged: None,
        guarded: false,
        columns: vec![
            column("day", "date", "date"),
            column("kind", "text", "text"),
            column("code", "integer", "int4"),
            column("n", "integer", "int4"),
        ],
        unique: vec![unique("u", &["code", "day", "kind"])],
        zone: chrono_tz::Tz::UTC,
        clocks: Clocks::Same,
    }
}

/// What is said of the facts after a change, mend included; nothing where all is well.
fn check(change: impl FnOnce(&mut Facts), expect: &str) {
    let mut facts = facts();
    change(&mut facts);
    let said = summary(&kind(), &facts).err().map(|refusal| format!("{}; {}", refusal.why, refusal.mend));
    assert_eq!(said.unwrap_or_default(), expect);
}

#[test]
fn a_summary_that_serves_is_used_as_it_is() {
    let made = summary(&kind(), &facts()).unwrap();
    assert_eq!(made.most.as_deref(), Some("2147483647"));
    assert_eq!((made.nulls_apart, made.required), (false, vec![ident("kind"), ident("code")]));
    assert!(!made.partitioned);
}

#[test]
fn what_is_unlike_is_refused_with_what_to_do() {
    check(|_| {}, "");
    check(
        |facts| {
            facts.into = None;
            facts.alike = vec!["app.\"Days\"".parse().unwrap()];
        },
        "there is no table public.days; is it into = 'app.\"Days\"'?",
    );
    check(
        |facts| facts.into.as_mut().unwrap().schema_usage = false,
        "role \"tender\" may not use schema \"public\"; GRANT USAGE ON SCHEMA \"public\" TO \"tender\";",
    );
    check(
        |facts| {
            facts.into.as_mut().unwrap().kind = 'p';
            facts.unique.clear();
        },
        "public.days has no unique key on (\"day\", \"kind\", \"code\"), by which counts are added; \
         CREATE UNIQUE INDEX ON \"public\".\"days\" (\"day\", \"kind\", \"code\");",
    );
    check(
        |facts| facts.unique[0].valid = false,
        "public.days has no unique key on (\"day\", \"kind\", \"code\") (index u is not valid), by which counts are added; \
         CREATE UNIQUE INDEX CONCURRENTLY ON \"public\".\"days\" (\"day\", \"kind\", \"code\");",
    );
    check(
        |facts| facts.unique[0].other_collation = true,
        "public.days has no unique key on (\"day\", \"kind\", \"code\") (index u has a collation of its own), by which counts \
         are added; CREATE UNIQUE INDEX CONCURRENTLY ON \"public\".\"days\" (\"day\", \"kind\", \"code\");",
    );
    check(
        |facts| {
            facts.may_select = false;
            facts.columns[1].may_insert = false;
        },
        "role \"tender\" lacks SELECT, INSERT on public.days; GRANT SELECT, INSERT ON \"public\".\"days\" TO \"tender\";",
    );
    // The default of a column that is written is not used.
    check(|facts| facts.columns[3].unusable_sequences = vec!["public.s".into()], "");
}

#[test]
fn the_clocks_are_asked_only_where_a_day_depends_on_them() {
    check(
        |facts| facts.clocks = Clocks::Unknown,
        "the server does not know time zone UTC; name another timezone, or renew its tzdata",
    );
    check(
        |facts| {
            facts.clocks = Clocks::Unknown;
            facts.log[0].1 = "timestamp without time zone".into();
        },
        "",
    );
}

#[test]
fn nulls_are_apart_where_the_summary_can_have_them_and_its_key_takes_them_for_different() {
    let check = |alike: bool, kind_not_null: bool, code_not_null: bool, expect: (bool, &[&str])| {
        let mut facts = facts();
        facts.unique[0].nulls_alike = alike;
        (facts.columns[1].not_null, facts.columns[2].not_null) = (kind_not_null, code_not_null);
        let made = summary(&kind(), &facts).unwrap();
        let required: Vec<_> = made.required.iter().map(Ident::as_str).collect();
        assert_eq!((made.nulls_apart, required.as_slice()), expect);
    };
    check(false, true, true, (false, &["kind", "code"]));
    check(false, false, true, (true, &["code"]));
    check(true, false, false, (false, &[]));
    check(false, false, false, (true, &[]));
    // Of two keys the one that takes NULLs for alike decides.
    let mut facts = facts();
    facts.columns[1].not_null = false;
    facts.unique.insert(0, Unique { nulls_alike: true, ..unique("alike", &["day", "kind", "code"]) });
    assert!(!summary(&kind(), &facts).unwrap().nulls_apart);
}

#[test]
fn the_largest_count_is_that_of_the_type() {
    let check = |base: &str, modifier: i32, expect: Result<Option<&str>, ()>| {
        let mut facts = facts();
        facts.columns[3] = Column { modifier, ..column("n", base, base) };
        let most = summary(&kind(), &facts).map(|summary| summary.most).map_err(|_| ());
        assert_eq!(most, expect.map(|most| most.map(Into::into)));
    };
    let numeric = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
    check("int2", -1, Ok(Some("32767")));
    check("int8", -1, Ok(Some("9223372036854775807")));
    check("numeric", -1, Ok(None));
    check("numeric", numeric(5, 2), Ok(Some("999")));
    check("numeric", numeric(3, 0), Ok(Some("999")));
    // These would round.
    check("numeric", numeric(3, -2), Err(()));
    check("numeric", numeric(2, 2), Err(()));
    check("float8", -1, Err(()));
    check("", -1, Err(()));
}

proptest! {
    #[test]
    fn a_key_serves_in_any_order_and_on_nothing_else(
        columns in prop::collection::vec(prop::sample::select(vec!["day", "kind", "code", "n", ""]), 0..6),
    ) {
        let mut facts = facts();
        facts.unique = vec![unique("u", &columns)];
        let mut sorted = columns.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(summary(&kind(), &facts).is_ok(), sorted == ["code", "day", "kind"], "{:?}", columns);
    }
}
