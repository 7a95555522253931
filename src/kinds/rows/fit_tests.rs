use super::*;

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

/// `id bigint not null, at timestamptz, total int generated, n int default`
fn columns(text: &str) -> Vec<Column> {
    text.split(", ")
        .map(|text| {
            let words: Vec<_> = text.split(' ').collect();
            Column {
                name: ident(words[0]),
                type_name: words[1].into(),
                not_null: text.contains("not null"),
                has_default: text.contains("default"),
                generated: text.contains("generated"),
            }
        })
        .collect()
}

fn target(text: &str) -> Target {
    let source: TableName = "public.log".parse().unwrap();
    Target {
        source: source.clone(),
        columns: columns(text),
        leaves: vec![(source, columns(text))],
        to: "archive.log".parse().unwrap(),
        time: Some(ident("at")),
    }
}

fn place(table: Option<&str>) -> Place {
    Place {
        role: ident("pgtend"),
        source_owner: ident("app"),
        may_act: true,
        has_schema: true,
        owner_creates: true,
        role_creates: false,
        role_uses: true,
        key: vec![ident("id")],
        row_security: true,
        table: table.map(|text| There {
            oid: 7,
            kind: 'r',
            is_source: false,
            inserts: true,
            hidden: false,
            is_part: false,
            unlogged: None,
            refers: None,
            columns: columns(text),
        }),
    }
}

/// The columns that are handed over, or the refusal.
fn check(source: &str, archive: &str, expect: &str) {
    let said = match fit(&target(source), &place(Some(archive))) {
        Ok((Into::Archive(archive), None)) => {
            archive.columns.iter().map(|column| column.as_str().to_owned()).collect::<Vec<_>>().join(" ")
        }
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => format!("{}; {}", refusal.why, refusal.mend),
    };
    assert_eq!(said, expect);
}

#[test]
fn columns_go_by_name_in_any_order() {
    check("id int, at date, note text", "note text, id int, at date", "id at note");
    check("id int", "id int, archived_at date default not null, note text", "id");
}

#[test]
fn what_is_generated_there_too_is_left_to_be_generated() {
    check("id int, sum int generated", "id int, sum int generated", "id");
    check("id int, sum int generated", "id int, sum int", "id sum");
    check(
        "id int, sum int",
        "id int, sum int generated",
        "column \"sum\" of archive.log is generated, and would not hold what public.log has in it; ALTER TABLE \
         \"archive\".\"log\" ALTER COLUMN \"sum\" DROP EXPRESSION;",
    );
}

#[test]
fn a_column_that_would_be_lost_is_refused_with_the_statement_that_adds_it() {
    check(
        "id int, more jsonb",
        "id int",
        "archive.log has no column \"more\", and public.log has; ALTER TABLE \"archive\".\"log\" ADD COLUMN \"more\" jsonb;",
    );
    check(
        "id int, more jsonb",
        "id int, more text",
        "column \"more\" is text in archive.log, and jsonb in public.log; ALTER TABLE \"archive\".\"log\" ALTER COLUMN \"more\" \
         TYPE jsonb;",
    );
    check(
        "id int",
        "id int, why text not null",
        "column \"why\" of archive.log cannot be NULL, has no default, and public.log has none of that name; ALTER TABLE \
         \"archive\".\"log\" ALTER COLUMN \"why\" DROP NOT NULL;",
    );
}

#[test]
fn a_child_with_more_columns_is_not_archived_with_its_parent() {
    let mut target = target("id int");
    target.leaves.push(("public.child".parse().unwrap(), columns("id int, extra text")));
    let refusal = fit(&target, &place(None)).unwrap_err();
    assert_eq!(refusal.why, "public.child has a column \"extra\" that public.log lacks, and that would be lost");
}

#[test]
fn an_archive_that_is_none_is_refused() {
    let refusal = |change: fn(&mut Place)| {
        let mut place = place(Some("id int"));
        change(&mut place);
        fit(&target("id int"), &place).unwrap_err().why
    };
    assert!(refusal(|place| place.table.as_mut().unwrap().is_source = true).contains("archived to itself"));
    assert!(refusal(|place| place.table.as_mut().unwrap().kind = 'v').contains("archive.log is a view"));
    assert!(refusal(|place| place.table.as_mut().unwrap().inserts = false).contains("lacks INSERT"));
    assert!(refusal(|place| place.table.as_mut().unwrap().hidden = true).contains("row security"));
    assert!(refusal(|place| place.table.as_mut().unwrap().is_part = true).contains("have a table in common"));
    assert!(
        refusal(|place| place.table.as_mut().unwrap().unlogged = Some("archive.log_1".into())).contains("log_1 is not")
    );
    assert!(refusal(|place| place.table.as_mut().unwrap().refers = Some("log_fkey".into())).contains("log_fkey"));
}

#[test]
fn a_missing_archive_is_made_as_the_owner_or_else_as_ourselves() {
    let (into, making) = fit(&target("id bigint, at date"), &place(None)).unwrap();
    assert_eq!(into.table().plain(), "archive.log");
    let making = making.unwrap();
    assert_eq!(making.owner, ident("app"));
    assert_eq!(
        making.create(150_000),
        "CREATE TABLE \"archive\".\"log\" (LIKE \"public\".\"log\" INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS)"
    );
    assert_eq!(
        making.indexes(),
        ["CREATE INDEX ON \"archive\".\"log\" (\"id\")", "CREATE INDEX ON \"archive\".\"log\" (\"at\")"]
    );
    assert_eq!(making.grants(), ["GRANT SELECT, INSERT ON \"archive\".\"log\" TO \"pgtend\""]);
    assert!(making.said().contains("with the grants, row security and policies of public.log"));

    let mut own = place(None);
    (own.may_act, own.role_creates) = (false, true);
    let making = fit(&target("id bigint, at date"), &own).unwrap().1.unwrap();
    assert_eq!(making.owner, ident("pgtend"));
    assert_eq!(
        making.grants(),
        ["GRANT ALL ON \"archive\".\"log\" TO \"app\""],
        "the owner of the rows does not lose them"
    );

    own.role_creates = false;
    let refusal = fit(&target("id bigint"), &own).unwrap_err();
    assert!(refusal.mend.contains("GRANT CREATE ON SCHEMA \"archive\" TO \"pgtend\""), "{}", refusal.mend);
    own.has_schema = false;
    let refusal = fit(&target("id bigint"), &own).unwrap_err();
    assert!(refusal.mend.starts_with("CREATE SCHEMA \"archive\" AUTHORIZATION \"app\""), "{}", refusal.mend);
}
