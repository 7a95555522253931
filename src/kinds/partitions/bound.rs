//! Reads the bound of a partition from the text that `pg_get_expr` gives. Pure.
//!
//! The server writes the values in forms that depend on the session: ours have `TimeZone=UTC`, `DateStyle=ISO` and
//! `standard_conforming_strings=on`.

use super::facts::{Bound, Edge};

/// The bound; what cannot be understood is [`Bound::Unread`], and is never guessed at. So is HASH, which has no order.
pub fn read(text: &str) -> Bound {
    let mut reader = Reader { rest: text };
    match reader.bound() {
        Some(bound) if reader.rest.is_empty() => bound,
        _ => Bound::Unread(text.into()),
    }
}

/// One value of a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Datum {
    MinValue,
    MaxValue,
    Null,
    /// Without its quotes.
    Value(String),
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn bound(&mut self) -> Option<Bound> {
        self.word("FOR")?;
        self.word("VALUES")?;
        if self.word("IN").is_some() {
            let values = self.data()?.into_iter().map(|datum| match datum {
                Datum::Null => Some(None),
                Datum::Value(value) => Some(Some(value)),
                Datum::MinValue | Datum::MaxValue => None,
            });
            return values.collect::<Option<_>>().map(Bound::List);
        }
        self.word("FROM")?;
        let from = self.data()?;
        self.word("TO")?;
        let to = self.data()?;
        if from.len() != to.len() {
            return None;
        }
        let exact = plain_end(&from) && plain_end(&to);
        Some(Bound::Range { from: edge(from)?, to: edge(to)?, exact })
    }

    /// `(value, value …)`
    fn data(&mut self) -> Option<Vec<Datum>> {
        self.sign('(')?;
        let mut data = vec![self.datum()?];
        while self.sign(',').is_some() {
            data.push(self.datum()?);
        }
        self.sign(')').map(|()| data)
    }

    fn datum(&mut self) -> Option<Datum> {
        self.space();
        let datum = match self.rest.bytes().next()? {
            b'\'' => {
                self.rest = &self.rest[1..];
                Datum::Value(self.quoted(false)?)
            }
            b'E' if self.rest.starts_with("E'") => {
                self.rest = &self.rest[2..];
                Datum::Value(self.quoted(true)?)
            }
            _ => {
                let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)));
                let (bare, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                match bare {
                    "" => return None,
                    "MINVALUE" => Datum::MinValue,
                    "MAXVALUE" => Datum::MaxValue,
                    "NULL" => Datum::Null,
                    // Numbers, true and false: all that the server writes without quotes.
                    value if value == "true" || value == "false" || is_number(value) => Datum::Value(value.into()),
                    _ => return None,
                }
            }
        };
        self.cast()?;
        Some(datum)
    }

    /// The inside of a literal up to its closing quote, which is taken too.
    fn quoted(&mut self, escapes: bool) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\'' if self.rest[at + 1..].starts_with('\'') => {
                    chars.next();
                    value.push('\'');
                }
                '\'' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' if escapes => value.push(match chars.next()?.1 {
                    c @ ('\\' | '\'') => c,
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    // Octal, hexadecimal and Unicode escapes: the server never writes them.
                    _ => return None,
                }),
                c => value.push(c),
            }
        }
        None
    }

    /// `::type`, where there is one.
    fn cast(&mut self) -> Option<()> {
        while let Some(rest) = self.rest.strip_prefix("::") {
            // `timestamp without time zone`, `app."My type"`, `character varying(7)`: up to the next sign at this depth.
            let mut depth = 0_usize;
            let mut quoted = false;
            let end = rest.find(|c| {
                match c {
                    '"' => quoted = !quoted,
                    '(' if !quoted => depth += 1,
                    ')' if !quoted && depth > 0 => depth -= 1,
                    ')' | ',' | ':' if !quoted && depth == 0 => return true,
                    _ => {}
                }
                false
            });
            self.rest = &rest[end.filter(|end| *end > 0)?..];
        }
        Some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.space();
        let rest = self.rest.strip_prefix(word)?;
        rest.starts_with([' ', '(']).then(|| self.rest = rest)
    }

    fn sign(&mut self, sign: char) -> Option<()> {
        self.space();
        self.rest.strip_prefix(sign).map(|rest| self.rest = rest)
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }
}

/// Whether the first column alone says where this end is.
fn plain_end(data: &[Datum]) -> bool {
    match &data[0] {
        // Nothing is compared after it.
        Datum::MinValue | Datum::MaxValue => true,
        _ => data[1..].iter().all(|datum| *datum == Datum::MinValue),
    }
}

fn edge(data: Vec<Datum>) -> Option<Edge> {
    match data.into_iter().next()? {
        Datum::MinValue => Some(Edge::MinValue),
        Datum::MaxValue => Some(Edge::MaxValue),
        Datum::Value(value) => Some(Edge::Value(value)),
        Datum::Null => None,
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Edge {
        Edge::Value(text.into())
    }

    fn range(from: Edge, to: Edge) -> Bound {
        Bound::Range { from, to, exact: true }
    }

    fn list(values: &[&str]) -> Bound {
        Bound::List(values.iter().map(|value| Some((*value).into())).collect())
    }

    #[track_caller]
    fn check(text: &str, expect: Bound) {
        assert_eq!(read(text), expect, "{text}");
    }

    /// Texts as PostgreSQL 13 to 18 give them.
    #[test]
    fn ranges_of_every_type_are_read_as_the_server_writes_them() {
        let plain: &[(&str, &str, &str)] = &[
            (
                "FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00')",
                "2026-11-01 00:00:00+00",
                "2026-12-01 00:00:00+00",
            ),
            (
                "FOR VALUES FROM ('2025-01-01 00:00:00') TO ('2025-02-01 00:00:00')",
                "2025-01-01 00:00:00",
                "2025-02-01 00:00:00",
            ),
            ("FOR VALUES FROM ('2025-02-01') TO ('10000-02-01')", "2025-02-01", "10000-02-01"),
            ("FOR VALUES FROM ('0044-03-15 BC') TO ('infinity')", "0044-03-15 BC", "infinity"),
            ("FOR VALUES FROM ('-infinity') TO ('2025-02-01')", "-infinity", "2025-02-01"),
            ("FOR VALUES FROM (202511) TO (202512)", "202511", "202512"),
            ("FOR VALUES FROM ('-5') TO (0)", "-5", "0"),
            ("FOR VALUES FROM ('5000000000') TO ('9000000000')", "5000000000", "9000000000"),
            ("FOR VALUES FROM ('-1.5') TO ('NaN')", "-1.5", "NaN"),
            ("FOR VALUES FROM (1.5) TO (2.25)", "1.5", "2.25"),
            ("FOR VALUES FROM ('2025-12') TO ('2025-13')", "2025-12", "2025-13"),
            ("FOR VALUES FROM (false) TO (true)", "false", "true"),
            (
                "FOR VALUES FROM ('018f0000-0000-7000-8000-000000000000') TO ('018f1000-0000-7000-8000-000000000000')",
                "018f0000-0000-7000-8000-000000000000",
                "018f1000-0000-7000-8000-000000000000",
            ),
        ];
        for (text, from, to) in plain {
            check(text, range(value(from), value(to)));
        }
    }

    #[test]
    fn open_ends_are_not_values() {
        check("FOR VALUES FROM (MINVALUE) TO (MAXVALUE)", range(Edge::MinValue, Edge::MaxValue));
        check("FOR VALUES FROM ('MINVALUE') TO (MAXVALUE)", range(value("MINVALUE"), Edge::MaxValue));
        check("FOR VALUES FROM ('infinity') TO (MAXVALUE)", range(value("infinity"), Edge::MaxValue));
    }

    #[test]
    fn lists_keep_every_value_and_null() {
        check("FOR VALUES IN ('2026-02', '2026-03')", list(&["2026-02", "2026-03"]));
        check("FOR VALUES IN (202501)", list(&["202501"]));
        check("FOR VALUES IN ('')", list(&[""]));
        check("FOR VALUES IN (202501, '-5', NULL)", Bound::List(vec![Some("202501".into()), Some("-5".into()), None]));
        check(
            "FOR VALUES IN ('it''s', 'a\\b', NULL, 'a, b) (', 'NULL', 'x\ny')",
            Bound::List(vec![
                Some("it's".into()),
                Some("a\\b".into()),
                None,
                Some("a, b) (".into()),
                Some("NULL".into()),
                Some("x\ny".into()),
            ]),
        );
        check("FOR VALUES IN (true)", list(&["true"]));
        check("FOR VALUES IN ('{\"a\": \"b''c\"}')", list(&["{\"a\": \"b'c\"}"]));
        check("FOR VALUES IN (E'a\\\\b''c\\n')", list(&["a\\b'c\n"]));
        check(
            "FOR VALUES IN ('x'::character varying(7), 'y'::app.\"My, type\", 'z'::text::text)",
            list(&["x", "y", "z"]),
        );
    }

    #[test]
    fn of_several_columns_the_first_is_told_and_whether_it_is_all_there_is() {
        let exact = |text: &str, expect: bool| match read(text) {
            Bound::Range { exact, .. } => assert_eq!(exact, expect, "{text}"),
            other => panic!("{text}: {other:?}"),
        };
        exact("FOR VALUES FROM ('5', MINVALUE, MINVALUE) TO ('6', MINVALUE, MINVALUE)", true);
        exact("FOR VALUES FROM ('5', 'a', MINVALUE) TO ('6', MINVALUE, MINVALUE)", false);
        exact("FOR VALUES FROM ('5', MINVALUE) TO ('6', 'x')", false);
        exact("FOR VALUES FROM ('5', MINVALUE) TO ('6', MAXVALUE)", false);
        exact("FOR VALUES FROM (MINVALUE, MINVALUE) TO (MAXVALUE, MAXVALUE)", true);
        check(
            "FOR VALUES FROM ('-9223372036854775808', MINVALUE, MINVALUE) TO ('0', 'x''y', true)",
            Bound::Range { from: value("-9223372036854775808"), to: value("0"), exact: false },
        );
    }

    #[test]
    fn what_is_not_understood_stays_unread() {
        for text in [
            "",
            "DEFAULT",
            "FOR VALUES WITH (modulus 4, remainder 0)",
            "FOR VALUES FROM ('a') TO ('b'",
            "FOR VALUES FROM ('a') TO ('b') ",
            "FOR VALUES FROM ('a', 'b') TO ('c')",
            "FOR VALUES FROM (NULL) TO (1)",
            "FOR VALUES FROM (now()) TO (1)",
            "FOR VALUES FROM ('a) TO ('b')",
            "FOR VALUES IN ()",
            "FOR VALUES IN ('a',)",
            "FOR VALUES IN (MINVALUE)",
            "FOR VALUES IN (E'\\x41')",
            "FOR VALUES IN ('a'::)",
            "FOR VALUES IN (nan)",
            "FORVALUES IN (1)",
        ] {
            check(text, Bound::Unread(text.into()));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = read(&text);
            let _ = read(&format!("FOR VALUES IN ({text})"));
            let _ = read(&format!("FOR VALUES FROM (1) TO ({text}"));
        }

        #[test]
        fn near_misses_do_not_make_it_panic(text in "(FOR |VALUES |FROM |TO |IN |\\(|\\)|,|'|E'|\\\\|::|\"|MINVALUE|NULL|-1|é| ){0,20}") {
            let _ = read(&text);
        }

        #[test]
        fn quoted_values_are_read_back(values in proptest::collection::vec(proptest::option::of("\\PC*"), 1..5)) {
            let data: Vec<_> = values
                .iter()
                .map(|value| value.as_ref().map_or("NULL".into(), |value| format!("'{}'", value.replace('\'', "''"))))
                .collect();
            prop_assert_eq!(read(&format!("FOR VALUES IN ({})", data.join(", "))), Bound::List(values));
        }

        #[test]
        fn both_ends_are_read_back(from in "\\PC*", to in "\\PC*", more in 0_usize..3) {
            let end = |value: &str| format!("('{}'{})", value.replace('\'', "''"), ", MINVALUE".repeat(more));
            prop_assert_eq!(read(&format!("FOR VALUES FROM {} TO {}", end(&from), end(&to))), range(value(&from), value(&to)));
        }
    }
}
