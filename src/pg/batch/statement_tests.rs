use super::super::{Archive, Summary};
use super::*;

/// What in SQL of ours is looked up by the search path: operators, functions and types without a schema.
fn looked_up(sql: &str) -> Vec<String> {
    // Without what is quoted, and without what has its schema.
    let (mut bare, mut quote) = (String::new(), None);
    for letter in sql.chars() {
        match quote {
            Some(end) if letter == end => quote = None,
            Some(_) => {}
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                bare.push('q');
            }
            None => bare.push(letter),
        }
    }
    let mut pieces = bare.split("OPERATOR(pg_catalog.");
    let first = pieces.next().unwrap_or_default().to_owned();
    let bare = pieces.fold(first, |so_far, piece| so_far + piece.split_once(')').map_or("", |(_, rest)| rest));
    // A star of columns is no operator, nor is what sets one.
    let bare = bare.replace("(*)", "()").replace("SET q =", "SET q");
    let mut found = Vec::new();
    for words in [" IN ", " BETWEEN ", "LIKE ", " DISTINCT FROM ", "NULLIF", " USING "] {
        if bare.contains(words) {
            found.push(words.trim().to_owned());
        }
    }
    let casts: Vec<&str> = bare.split("::").collect();
    for cast in &casts[1..] {
        if !["pg_catalog.", "bigint", "int", "numeric"].iter().any(|known| cast.starts_with(known)) {
            found.push(format!("::{}", cast.chars().take(12).collect::<String>()));
        }
    }
    let without_casts = casts.concat();
    found.extend(without_casts.chars().filter(|letter| "=<>+-*/%&|!~".contains(*letter)).map(String::from));
    const WORDS: &[&str] = &[
        "all",
        "and",
        "any",
        "array",
        "as",
        "by",
        "case",
        "cast",
        "coalesce",
        "conflict",
        "exists",
        "filter",
        "from",
        "into",
        "lateral",
        "materialized",
        "not",
        "or",
        "row",
        "select",
        "set",
        "then",
        "values",
        "when",
        "where",
        "q",
        // The columns of a table that has its schema.
        "q.q",
        "",
    ];
    for (at, _) in without_casts.match_indices('(') {
        let before = without_casts[..at].trim_end();
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').map_or(0, |at| at + 1);
        let name = &before[start..];
        if !name.starts_with("pg_catalog.")
            && name.parse::<u32>().is_err()
            && !WORDS.contains(&name.to_lowercase().as_str())
        {
            found.push(format!("{name}()"));
        }
    }
    found
}

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn table(name: &str) -> TableName {
    TableName::new("public", name).unwrap()
}

fn key(on_delete: OnDelete) -> Reference {
    Reference {
        constraint: "key".into(),
        table: table("device"),
        on_delete,
        columns: vec![ident("session")],
        referenced: vec![ident("id")],
        operators: vec!["OPERATOR(pg_catalog.=)".into()],
        indexed: true,
        readable: true,
    }
}

fn deletions() -> Vec<Deletion> {
    let cutoff = Cutoff::Wall("2026-01-01T00:00:00".parse().unwrap());
    let plain = Deletion {
        leaf: table("sessions"),
        oid: 1,
        alias: ident("sessions"),
        time: ident("at").to_string(),
        time_type: "timestamptz",
        cutoff,
        conditions: Vec::new(),
        refused_by: Vec::new(),
        followed_by: vec![key(OnDelete::Cascade)],
        access: Access::Blocks,
        guarded: false,
        into: None,
        objects: None,
    };
    let summary = Summary {
        table: table("sums"),
        oid: 2,
        partitioned: false,
        date: ident("date"),
        by: vec![ident("category"), ident("code")],
        count: ident("count"),
        zone: "UTC".into(),
        nulls_apart: true,
        required: vec![ident("code")],
        guarded: true,
        most: Some("32767".into()),
        wider: "bigint",
        full: vec!["(2026-01-01,a,b)".into()],
    };
    let archive =
        Archive { table: table("kept"), oid: 3, columns: vec![ident("id")], types: vec!["id integer".into()] };
    let spares = vec![key(OnDelete::Cascade), key(OnDelete::Refuse)];
    vec![
        Deletion { into: Some(Into::Summary(summary.clone())), ..plain.clone() },
        Deletion {
            into: Some(Into::Summary(Summary { by: Vec::new(), ..summary })),
            time_type: "date",
            ..plain.clone()
        },
        Deletion { into: Some(Into::Archive(archive)), refused_by: spares, followed_by: Vec::new(), ..plain.clone() },
        plain,
    ]
}

#[test]
fn nothing_of_ours_in_a_batch_is_looked_up_by_the_search_path() {
    for deletion in deletions() {
        for form in [Form::Eager, Form::Careful, Form::Waiting] {
            let mut all = vec![deletion.whole_blocks(), deletion.by_index(form)];
            for version in [130_000, 180_000] {
                all.push(deletion.by_blocks(version, form));
                all.push(deletion.lock_first(&deletion.matching_by_blocks(version), form));
            }
            if let Some(Into::Summary(summary)) = &deletion.into {
                all.push(summary.overflowing(&deletion, &deletion.matching_by_index()));
                all.push(summary.without(&deletion));
                all.push(summary.without_room(&deletion));
            }
            for sql in all {
                assert_eq!(looked_up(&sql), [""; 0], "{sql}");
            }
        }
    }
}

#[test]
fn what_is_looked_up_by_the_search_path_is_seen() {
    let sql =
        "SELECT count(*) FROM t WHERE a = 1 AND b OPERATOR(pg_catalog.<) 'x = y' AND c IS NOT DISTINCT FROM d::text";
    assert_eq!(looked_up(sql), ["DISTINCT FROM", "::text", "=", "count()"]);
}
