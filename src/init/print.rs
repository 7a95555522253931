//! A draft as TOML. Pure. What is a comment stays one, and what is a string means what it was, whatever the names are made of.

use toml_writer::{ToTomlKey as _, ToTomlValue as _, TomlKeyBuilder, TomlStringBuilder};

use super::draft::{Draft, Entry, Line, Part, Row, Table, Value};

/// How wide words are written.
const WIDTH: usize = 110;

/// The file. Config that is not switched on begins with `#` alone, words with `# `.
pub fn print(draft: &Draft) -> String {
    let mut out = String::new();
    words(&mut out, "", &draft.words);
    for part in &draft.parts {
        out.push('\n');
        self::part(&mut out, part);
    }
    out
}

fn part(out: &mut String, part: &Part) {
    words(out, "", &part.words);
    let mut before: Option<&Table> = None;
    for table in &part.tables {
        // A job and the table named after its kind stand together.
        if before.is_some_and(|before| !table.path.starts_with(&before.path)) {
            out.push('\n');
        }
        self::table(out, table);
        before = Some(table);
    }
}

fn table(out: &mut String, table: &Table) {
    let path: Vec<String> = table.path.iter().map(|key| self::key(key)).collect();
    out.push_str(&format!("{}[{}]\n", mark(table.active), path.join(".")));
    for Entry { words: why, key, value, active } in &table.entries {
        let active = *active && table.active;
        words(out, "", why);
        match value {
            Value::Rows(rows) => {
                out.push_str(&format!("{}{} = [\n", mark(active), self::key(key)));
                for row in rows {
                    self::row(out, row, active);
                }
                out.push_str(&format!("{}]\n", mark(active)));
            }
            value => out.push_str(&format!("{}{} = {}\n", mark(active), self::key(key), self::value(value))),
        }
    }
}

fn row(out: &mut String, row: &Row, active: bool) {
    words(out, "    ", &row.words);
    out.push_str(&format!("    {}{},\n", mark(active && row.active), value(&row.value)));
}

fn mark(active: bool) -> &'static str {
    if active { "" } else { "#" }
}

fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => string(text),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::List(values) => format!("[{}]", values.iter().map(self::value).collect::<Vec<_>>().join(", ")),
        Value::Inline(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{key} = {}", self::value(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Rows(rows) => {
            // Within a line there is no room for words.
            let active: Vec<String> = rows.iter().filter(|row| row.active).map(|row| self::value(&row.value)).collect();
            format!("[{}]", active.join(", "))
        }
    }
}

/// On one line. `${` would be a variable.
pub fn string(text: &str) -> String {
    let text = text.replace("${", "$${");
    let builder = TomlStringBuilder::new(&text);
    let pretty = builder.as_basic_pretty().or_else(|| builder.as_literal()).unwrap_or_else(|| builder.as_basic());
    let written = pretty.to_toml_value();
    if !written.contains(misleads) {
        return written;
    }
    // An escape of TOML's own, which only basic strings have.
    let basic = builder.as_basic().to_toml_value();
    basic.chars().map(|c| if misleads(c) { format!("\\u{:04X}", c as u32) } else { c.into() }).collect()
}

fn key(key: &str) -> String {
    TomlKeyBuilder::new(key).as_default().to_toml_key()
}

/// Characters that show a text in another order than it has, or end a line where TOML does not; all are in the first plane.
fn misleads(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{80}'..='\u{9f}')
}

fn words(out: &mut String, indent: &str, lines: &[Line]) {
    for line in lines {
        match line {
            Line::Blank => out.push_str(&format!("{indent}#\n")),
            Line::Code(code) => {
                out.push_str(&format!("{indent}#     {}\n", plain(code)));
            }
            Line::Words(text) => {
                for line in fold(&plain(text), WIDTH - indent.len()) {
                    out.push_str(&format!("{indent}# {line}\n"));
                }
            }
        }
    }
}

/// On one line whatever stands in it: a name with a line break in it would go on as config.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() || misleads(c) { c.escape_unicode().to_string() } else { c.into() };
    text.chars().map(shown).collect()
}

/// Broken at spaces; a word that is longer than a line has one of its own.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.into());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draft(name: &str, active: bool) -> Draft {
        let row = Row { words: vec![Line::words(format!("{name} and so on"))], value: Value::text(name), active };
        let table =
            Table::new(&["a", name], active).with("key", Value::text(name)).with("rows", Value::Rows(vec![row]));
        Draft {
            words: vec![Line::words(name), Line::code(name), Line::Blank],
            parts: vec![Part { words: vec![Line::words(name)], tables: vec![table] }],
        }
    }

    #[test]
    fn what_is_off_begins_with_the_mark_alone_and_words_do_not() {
        let text = print(&draft("x", false));
        assert_eq!(
            text,
            "# x\n#     x\n#\n\n# x\n#[a.x]\n#key = \"x\"\n#rows = [\n    # x and so on\n    #\"x\",\n#]\n"
        );
    }

    #[test]
    fn words_are_folded_at_spaces_alone() {
        assert_eq!(fold("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(fold("aaaaaaaa b", 5), ["aaaaaaaa", "b"]);
        assert_eq!(fold("", 5), [""]);
    }

    #[test]
    fn a_name_that_would_end_a_comment_does_not() {
        let text = print(&draft("x\n[jobs.evil.command]\ncommand = [\"sh\"]", true));
        assert!(text.contains("# x\\u{a}[jobs.evil.command]\\u{a}"), "{text}");
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["a"]);
    }

    proptest! {
        #[test]
        fn whatever_the_names_it_says_what_was_meant(name in "[^\0]{1,20}") {
            let table: toml::Table = print(&draft(&name, true)).parse().unwrap();
            let inner = &table["a"][name.as_str()];
            let meant = name.replace("${", "$${");
            prop_assert_eq!(inner["key"].as_str(), Some(meant.as_str()));
            prop_assert_eq!(inner["rows"][0].as_str(), Some(meant.as_str()));
            let off: toml::Table = print(&draft(&name, false)).parse().unwrap();
            prop_assert!(off.is_empty());
        }
    }
}
