//! What other sessions are at, in words that show nothing of their rows: a statement has its values in it.

use std::iter::Peekable;
use std::str::Chars;

use tokio_postgres::Row;

/// So much of a statement is shown, in characters.
const SHOWN: usize = 200;

/// A session in words: the first column says who, the second its statement, where it has one.
pub fn said(row: &Row) -> String {
    let who: String = row.get(0);
    match row.get::<_, Option<&str>>(1) {
        Some(statement) => {
            let shown: String = without_values(statement).chars().take(SHOWN).collect();
            format!("{who}: {shown}")
        }
        None => who,
    }
}

/// A statement in one line, with `?` for each value and without comments. Its end may be cut off.
pub fn without_values(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql.chars().peekable();
    // Whether a space is due before what comes next.
    let mut space = false;
    while let Some(c) = rest.next() {
        let next = rest.peek().copied();
        if c.is_whitespace() {
            space = true;
            continue;
        }
        if c == '-' && next == Some('-') {
            rest.by_ref().find(|c| *c == '\n');
            space = true;
            continue;
        }
        if c == '/' && next == Some('*') {
            skip_comment(&mut rest);
            space = true;
            continue;
        }
        if std::mem::take(&mut space) && !out.is_empty() {
            out.push(' ');
        }
        match c {
            '\'' => {
                skip_quoted(&mut rest, false);
                out.push('?');
            }
            '"' => {
                out.push(c);
                // A doubled quote ends one name and begins another, which comes to the same.
                for c in rest.by_ref() {
                    out.push(c);
                    if c == '"' {
                        break;
                    }
                }
            }
            '$' => match dollar_tag(&rest) {
                Some(tag) => {
                    skip_dollar(&mut rest, &tag);
                    out.push('?');
                }
                // A parameter.
                None => {
                    out.push(c);
                    while let Some(c) = rest.next_if(char::is_ascii_digit) {
                        out.push(c);
                    }
                }
            },
            c if c.is_ascii_digit() => {
                let mut before = c;
                while let Some(c) = rest.next_if(|c| {
                    is_of_name(*c) || *c == '.' || (matches!(*c, '+' | '-') && matches!(before, 'e' | 'E'))
                }) {
                    before = c;
                }
                out.push('?');
            }
            c if is_of_name(c) => {
                let begin = out.len();
                out.push(c);
                while let Some(c) = rest.next_if(|c| is_of_name(*c) || *c == '$') {
                    out.push(c);
                }
                // E'it\'s'
                if out[begin..].eq_ignore_ascii_case("e") && rest.next_if_eq(&'\'').is_some() {
                    skip_quoted(&mut rest, true);
                    out.truncate(begin);
                    out.push('?');
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn is_of_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric() || !c.is_ascii()
}

/// Up to behind the quote that ends it.
fn skip_quoted(rest: &mut Peekable<Chars<'_>>, escapes: bool) {
    while let Some(c) = rest.next() {
        match c {
            '\\' if escapes => drop(rest.next()),
            '\'' if rest.next_if_eq(&'\'').is_none() => return,
            _ => {}
        }
    }
}

/// Comments stand in one another.
fn skip_comment(rest: &mut Peekable<Chars<'_>>) {
    let mut depth = 0;
    let mut before = '/';
    for c in rest.by_ref() {
        match (before, c) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                before = c;
                continue;
            }
        }
        if depth == 0 {
            return;
        }
        before = ' ';
    }
}

/// `tag$` behind the dollar that begins `$tag$`.
fn dollar_tag(rest: &Peekable<Chars<'_>>) -> Option<String> {
    let mut tag = String::new();
    for c in rest.clone() {
        match c {
            '$' => return Some(tag + "$"),
            c if is_of_name(c) && !(tag.is_empty() && c.is_ascii_digit()) => tag.push(c),
            _ => return None,
        }
    }
    None
}

/// Up to behind the `$tag$` that ends it; `tag` as [`dollar_tag`] gives it.
fn skip_dollar(rest: &mut Peekable<Chars<'_>>, tag: &str) {
    for _ in tag.chars() {
        rest.next();
    }
    let all: String = rest.clone().collect();
    let length = all.find(&format!("${tag}")).map_or(all.len(), |at| at + tag.len() + 1);
    for _ in all[..length].chars() {
        rest.next();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_not_shown_and_names_are() {
        for (sql, shown) in [
            ("INSERT INTO t VALUES ('s3cret', 12, 'it''s', NULL)", "INSERT INTO t VALUES (?, ?, ?, NULL)"),
            ("SELECT E'a\\'s3cret', e'\\\\', 'b'", "SELECT ?, ?, ?"),
            ("SELECT U&'s3cret', B'01', x'ff', N'a'", "SELECT U&?, B?, x?, N?"),
            ("DO $$ s3cret ' $$; SELECT $a$ $$ s3cret $b$ $a$, $1, $12", "DO ?; SELECT ?, $1, $12"),
            (
                "SELECT 1.5e-3, .25, 0xff, 1_000, -7 FROM events_2026_01, \"Odd 1 ''\"\"x\"",
                "SELECT ?, .?, ?, ?, -? FROM events_2026_01, \"Odd 1 ''\"\"x\"",
            ),
            ("UPDATE t -- s3cret\n  SET a=/* s3cret /* x */ s3cret */\t'b'", "UPDATE t SET a= ?"),
            ("SELECT a - 1, b -> 'c', d[2], type 'x', note", "SELECT a - ?, b -> ?, d[?], type ?, note"),
            // The end is cut off.
            ("SELECT 's3cr", "SELECT ?"),
            ("SELECT E's3cr\\", "SELECT ?"),
            ("SELECT $x$ s3cr", "SELECT ?"),
            ("SELECT /* s3cr", "SELECT"),
            ("SELECT \"s", "SELECT \"s"),
            ("", ""),
        ] {
            assert_eq!(without_values(sql), shown, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_it_ends_and_no_quoted_value_is_left(before in "[ a-z0-9(),=.-]{0,20}", sql in ".*") {
            let _ = without_values(&sql);
            let quoted = format!("{} '{}' ", before.replace("--", ""), "S3CRET''S");
            prop_assert!(!without_values(&quoted).contains("S3CRET"), "{quoted}");
        }
    }
}
