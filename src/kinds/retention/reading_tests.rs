use super::*;

fn policies(text: &str) -> Policies {
    toml::from_str(&format!("table = 'policies'\n{text}")).unwrap()
}

fn there(name: &str, kind: char, columns: &[&str]) -> There {
    There {
        table: name.parse().unwrap(),
        kind,
        partition_of: None,
        columns: columns.iter().map(|name| Ident::new(*name).unwrap()).collect(),
    }
}

/// `name days archive delete`, each possibly `-` for NULL.
fn row(text: &str) -> Reading {
    let words: Vec<_> = text.split(' ').map(|word| (word != "-").then_some(word)).collect();
    Reading {
        name: words[0].map(Into::into),
        days: words[1].map(|days| days.parse().unwrap()),
        archive: words[2].map(|flag| flag == "t"),
        delete: words[3].map(|flag| flag == "t"),
    }
}

/// The tables there are: some twice, one in the archive, one partitioned.
fn tables() -> Vec<There> {
    let mut leaf = there("public.events_2026", 'r', &["created_at"]);
    leaf.partition_of = Some("public.events".into());
    vec![
        there("archive.logs", 'r', &["created_at"]),
        there("public.logs", 'r', &["id", "created_at"]),
        there("public.\"Logs\"", 'r', &["created_at"]),
        there("public.twice", 'r', &["created_at"]),
        there("other.twice", 'r', &["created_at"]),
        there("public.events", 'p', &["created_at"]),
        there("public.timeless", 'r', &["id"]),
        there("public.seen", 'v', &["created_at"]),
        leaf,
    ]
}

fn check(config: &str, rows: &[&str], expect: &str) {
    let rows: Vec<_> = rows.iter().map(|text| row(text)).collect();
    let also = ["public.configured".parse().unwrap()];
    let mut all = tables();
    all.push(there("public.configured", 'r', &["created_at"]));
    let lines = verdicts(&policies(config), &rows, &all, &also).into_iter().map(|(name, verdict)| match verdict {
        Verdict::Keep(table) => format!("{name}: keep {}", table.plain()),
        Verdict::Refuse(refusal) => format!("{name}: refused, {}; {}", refusal.why, refusal.mend),
        Verdict::Carry(policy) => format!(
            "{name}: {} {} keep {} by {}{}{}",
            policy.action.map_or("let go", Action::word),
            policy.table.plain(),
            policy.keep,
            policy.column.as_ref().map_or("its bounds", |column| column.as_str()),
            policy.age_from.as_ref().map_or(String::new(), |from| format!(", as old as {}", from.table.plain())),
            policy.to.as_ref().map_or(String::new(), |to| format!(", to {to}")),
        ),
    });
    assert_eq!(lines.collect::<Vec<_>>().join("\n"), expect.replace("\n         ", "\n"));
}

const TO: &str = "to = 'archive'";

#[test]
fn the_flags_say_move_or_delete_or_keep() {
    check(TO, &["logs 90 t f"], "logs: archive public.logs keep 90 days by created_at, to archive.logs");
    check(TO, &["logs 90 t t"], "logs: archive public.logs keep 90 days by created_at, to archive.logs");
    check(TO, &["logs 30 f t"], "logs: let go public.logs keep 30 days by created_at");
    check(TO, &["logs 30 f f"], "logs: keep public.logs");
    check(TO, &["events 30 t f"], "events: archive public.events keep 30 days by its bounds, to \"archive\"");
    check(TO, &["events 30 f t"], "events: let go public.events keep 30 days by its bounds");
}

#[test]
fn a_name_is_read_as_it_stands_and_then_as_sql_reads_it() {
    check(TO, &["Logs 1 f t"], "Logs: let go public.\"Logs\" keep 1 day by created_at");
    check(TO, &["LOGS 1 f t"], "LOGS: let go public.logs keep 1 day by created_at");
    check(TO, &["other.twice 1 f t"], "other.twice: let go other.twice keep 1 day by created_at");
    // Named with its schema it is meant, archive or not.
    check(TO, &["archive.logs 1 f t"], "archive.logs: let go archive.logs keep 1 day by created_at");
}

#[test]
fn a_row_that_cannot_be_meant_is_refused_alone() {
    check(
        TO,
        &["nil 1 f t", "twice 1 f t", "seen 1 f t", "events_2026 1 f t", "- 1 f t", "a.b.c 1 f t", "logs 9 f t"],
        "nil: refused, there is no such table; is it public.logs?
         twice: refused, it may be any of public.twice, other.twice; write it with its schema
         seen: refused, public.seen is a view, not a table; name a table, or delete the row
         events_2026: refused, public.events_2026 is a partition of public.events; name public.events
         NULL: refused, it names no table; name one, or delete the row
         a.b.c: refused, \"a.b.c\" is not a name: write schema.table; quote a name that holds a dot; correct the name
         logs: let go public.logs keep 9 days by created_at",
    );
}

#[test]
fn days_that_are_none_are_refused() {
    for days in ["0", "-5", "99999999"] {
        let rows = [format!("logs {days} f t")];
        check(
            TO,
            &[&rows[0]],
            &format!(
                "logs: refused, \"retention_days\" is {days}, which is no length of time to keep rows for; write a number of \
                 days above zero, or turn both flags off"
            ),
        );
    }
    check(TO, &["logs - f t"], "logs: refused, \"retention_days\" is NULL; say how many days");
    check(TO, &["logs 1 - t"], "logs: refused, \"archive_enabled\" or \"delete_enabled\" is NULL; write true or false");
}

#[test]
fn of_two_rows_for_one_table_neither_counts() {
    check(
        TO,
        &["logs 30 f t", "public.logs 60 t f"],
        "logs: refused, public.logs has more than one row, and which of them counts is not known; DELETE all but one
         public.logs: refused, public.logs has more than one row, and which of them counts is not known; DELETE all but one",
    );
    check(
        TO,
        &["configured 30 f t"],
        "configured: refused, public.configured has a policy in the config too; keep one of the two: this row, or that entry \
         of tables",
    );
}

#[test]
fn what_says_how_old_a_row_is_may_be_another_column_or_another_row() {
    check(
        TO,
        &["timeless 1 f t"],
        "timeless: refused, public.timeless has no column \"created_at\" that would say how old a row is; say in except which \
         column does, or with age_from which row of another table",
    );
    let from = "to = 'archive'\nexcept = [{ table = 'timeless', age_from = { table = 'suites', key = 'id', column = 'at' } }, { table = 'logs', column = 'id' }]";
    check(
        from,
        &["timeless 1 f t", "logs 1 f t"],
        "timeless: let go public.timeless keep 1 day by its bounds, as old as public.suites
         logs: let go public.logs keep 1 day by id",
    );
    check(
        "",
        &["events 1 t f"],
        "events: refused, it is to be archived, and policies does not say where to; add to = \"SCHEMA\"",
    );
}
