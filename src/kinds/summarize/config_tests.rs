use super::*;

const GOOD: &str = "table = 'log'\ninto = 'days'\nolder_than = '90 days'\ntime = 'at'\ndate = 'day'\nby = ['kind', 'code']\ncount = 'n'\n";

/// What is wrong with [`GOOD`] when this line is in the place of that of its key: the parser's words, or the findings of
/// `validate`, each with what it points at.
fn check(line: &str, expect: &str) {
    let key = line.split('=').next().unwrap_or_default();
    let others = GOOD.lines().filter(|good| key.is_empty() || !good.starts_with(key));
    let config = others.chain([line]).map(|line| format!("{line}\n")).collect::<String>();
    let said = match toml::from_str::<Summarize>(&config) {
        Err(error) => error.message().to_owned(),
        Ok(kind) => {
            let found = kind.validate();
            let lines = found.iter().map(|finding| {
                let at = finding.span.clone().map_or("", |span| &config[span]);
                format!("{at}: {}; {}", finding.message, finding.mend)
            });
            lines.collect::<Vec<_>>().join("\n")
        }
    };
    assert!(
        if expect.is_empty() { said.is_empty() } else { said.contains(expect) },
        "{said:?} does not say {expect:?}"
    );
}

#[test]
fn a_config_that_means_nothing_is_refused() {
    check("", "");
    check("by = []", "");
    check("where = 'code > 0'", "");
    check("batch = { rows = 100, target = '1s' }", "");
    check("older_than = '0 days'", "'0 days': older_than is nothing; write it like \"90 days\"");
    check("older_than = 90", "no unit");
    check("into = 'public.Log'", "'public.Log': table and into are both public.log; name the table of the counts");
    check("by = ['kind', 'KIND']", "'KIND': column \"kind\" has two parts in the summary; date, each of by, and count");
    check("by = ['day']", "'day': column \"day\" has two parts");
    check("count = 'kind'", "'kind': column \"kind\" has two parts");
    check("count = 'day'", "'day': column \"day\" has two parts");
    check("where = ' '", "where is empty");
    check("batch = { rows = 0 }", "batch.rows must be between");
    check("older = 1", "unknown field `older`");
    check("by = 'kind'", "expected a sequence");
}

#[test]
fn every_key_but_where_and_batch_is_needed() {
    for line in GOOD.lines() {
        let config = GOOD.replace(line, "");
        let key = line.split(' ').next().unwrap_or_default();
        let error = toml::from_str::<Summarize>(&config).expect_err(key);
        assert!(error.message().contains(&format!("missing field `{key}`")), "{error}");
    }
}

#[test]
fn editors_are_told_of_every_key() {
    let schema = serde_json::to_string(&schemars::schema_for!(Summarize)).unwrap();
    for key in ["table", "into", "older_than", "time", "date", "by", "count", "where", "batch"] {
        assert!(schema.contains(&format!("\"{key}\":")), "{key} is not in {schema}");
    }
}
