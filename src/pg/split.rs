//! Splits a script into its statements, at the semicolons that psql would split it at.
//!
//! Quotes, dollar quotes, comments and the bodies of `BEGIN ATOMIC` functions are passed over whole. See the manual, 4.1
//! "Lexical Structure".

/// The statements of `script`, without their semicolons; pieces that hold only blanks and comments are left out.
pub fn statements(script: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut lexer = Lexer { text: script, at: 0 };
    let (mut start, mut any, mut depth) = (0, false, 0_usize);
    // The last two words decide whether BEGIN opens a body: only BEGIN ATOMIC does, and then CASE … END nests in it.
    let mut previous = String::new();
    while let Some(token) = lexer.next() {
        match token {
            Token::Blank => continue,
            Token::Semicolon if depth == 0 => {
                if any {
                    found.push(script[start..lexer.at - 1].trim());
                }
                (start, any) = (lexer.at, false);
                previous.clear();
                continue;
            }
            Token::Word(word) => {
                let word = word.to_ascii_uppercase();
                match word.as_str() {
                    "ATOMIC" if previous == "BEGIN" => depth += 1,
                    "CASE" if depth > 0 => depth += 1,
                    "END" if depth > 0 => depth -= 1,
                    _ => {}
                }
                previous = word;
            }
            Token::Semicolon | Token::Other => previous.clear(),
        }
        any = true;
    }
    if any {
        found.push(script[start..].trim());
    }
    found
}

/// The first word of a statement, in capitals; comments before it are passed over.
pub fn first_word(statement: &str) -> String {
    let mut lexer = Lexer { text: statement, at: 0 };
    loop {
        match lexer.next() {
            Some(Token::Blank) => {}
            Some(Token::Word(word)) => return word.to_ascii_uppercase(),
            _ => return String::new(),
        }
    }
}

/// Whether each bracket is closed after it was opened: a piece of SQL that is not whole says something else between others.
pub fn is_whole(sql: &str) -> bool {
    let mut lexer = Lexer { text: sql, at: 0 };
    let (mut start, mut open) = (0, Vec::new());
    while let Some(token) = lexer.next() {
        if matches!(token, Token::Other) {
            match &sql[start..lexer.at] {
                "(" => open.push(")"),
                "[" => open.push("]"),
                close @ (")" | "]") if open.pop() != Some(close) => return false,
                _ => {}
            }
        }
        start = lexer.at;
    }
    open.is_empty()
}

enum Token<'a> {
    /// White space or a comment.
    Blank,
    Semicolon,
    Word(&'a str),
    /// Anything else: a quoted text, an operator, a number.
    Other,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let (length, token) = if first.is_whitespace() {
            (rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len()), Token::Blank)
        } else if rest.starts_with("--") {
            (rest.find('\n').unwrap_or(rest.len()), Token::Blank)
        } else if rest.starts_with("/*") {
            (block_comment(rest), Token::Blank)
        } else if first == ';' {
            (1, Token::Semicolon)
        } else if first == '\'' {
            (quoted(rest, 0, b'\'', false), Token::Other)
        } else if first == '"' {
            (quoted(rest, 0, b'"', false), Token::Other)
        } else if matches!(first, 'e' | 'E') && rest[1..].starts_with('\'') {
            (quoted(rest, 1, b'\'', true), Token::Other)
        } else if let Some(length) = dollar_quoted(rest) {
            (length, Token::Other)
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            (length, Token::Word(&rest[..length]))
        } else {
            (first.len_utf8(), Token::Other)
        };
        self.at += length;
        Some(token)
    }
}

/// The length of a quoted text whose quote opens at `open`. A doubled quote is two quoted texts side by side, which comes
/// to the same; a backslash escapes in an E'' text only.
fn quoted(text: &str, open: usize, quote: u8, backslash: bool) -> usize {
    let mut skip = false;
    for (i, byte) in text.bytes().enumerate().skip(open + 1) {
        match byte {
            _ if skip => skip = false,
            b'\\' if backslash => skip = true,
            _ if byte == quote => return i + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a `$tag$ … $tag$` text, if one opens here.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_end = text.strip_prefix('$')?.find('$')? + 2;
    let tag = &text[..tag_end];
    let name = &tag[1..tag_end - 1];
    if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    Some(text[tag_end..].find(tag).map_or(text.len(), |end| tag_end + end + tag_end))
}

/// The length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_script_is_split_where_psql_splits_it() {
        assert_eq!(statements("SELECT 1; SELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(statements(";;  -- nothing; here\n /* nor; /* here; */ */ ;"), Vec::<&str>::new());
        assert_eq!(statements("SELECT ';', \"a;b\", E'\\';', 'it''s;';"), ["SELECT ';', \"a;b\", E'\\';', 'it''s;'"]);
        assert_eq!(statements("DO $$ BEGIN NULL; END $$; SELECT $1;"), ["DO $$ BEGIN NULL; END $$", "SELECT $1"]);
        assert_eq!(statements("SELECT $ω$ ; $$ ; $ω$;"), ["SELECT $ω$ ; $$ ; $ω$"]);
        assert_eq!(
            statements(
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3"
            ),
            [
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
                "SELECT 3"
            ]
        );
        assert_eq!(statements("BEGIN; SELECT 1; END;"), ["BEGIN", "SELECT 1", "END"]);
    }

    #[test]
    fn the_first_word_is_found_behind_comments() {
        assert_eq!(first_word("/* x */ -- y\n  vacuum (analyze) t"), "VACUUM");
        assert_eq!(first_word("(SELECT 1)"), "");
    }

    #[test]
    fn a_bracket_in_a_text_or_a_comment_is_none() {
        for whole in
            ["", "a = 1", "(a) or (b)", "a[1] = f(x)", "a = ')' -- )", "\"(\" = $$)$$ /* ) */", "E'\\')' = 'x'"]
        {
            assert!(is_whole(whole), "{whole}");
        }
        for broken in ["a) or (b", "(a", "a)", "a[1)", "(a]", "a = '(') --("] {
            assert!(!is_whole(broken), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_panics(script in "[a-zE'\"$;/*\\-\\\\ \nω]{0,60}") {
            for statement in statements(&script) {
                prop_assert!(script.contains(statement));
            }
        }

        #[test]
        fn quoted_texts_never_split(inner in "[^']{0,40}") {
            prop_assume!(!inner.contains('\\'));
            let script = format!("SELECT '{inner}'; SELECT 2");
            prop_assert_eq!(statements(&script).len(), 2);
        }
    }
}
