//! An error in the words an operator is given: ours for what was being done, then PostgreSQL's own, with its SQLSTATE.

use std::error::Error;

use tokio_postgres::error::DbError;

use super::ConnectError;

/// The whole of an error in one line, from what was being done to why it failed.
///
/// `public.sessions: delete a batch: ERROR: permission denied for table sessions (SQLSTATE 42501)`
pub fn explain(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(server) = server_words(cause) {
            parts.push(server);
            break;
        }
        parts.push(one_line(&cause.to_string()));
        // Says all there is to say, the server's words included.
        if cause.is::<ConnectError>() {
            break;
        }
    }
    parts.dedup();
    parts.join(": ")
}

/// [`explain`], of an error of the driver. Its own words for what a server says are two: "db error".
pub fn said(error: &tokio_postgres::Error) -> String {
    server_words(error).unwrap_or_else(|| one_line(&error.to_string()))
}

/// What the server said, where `cause` is an error of the driver that carries it.
fn server_words(cause: &(dyn Error + 'static)) -> Option<String> {
    let error = cause.downcast_ref::<tokio_postgres::Error>()?.as_db_error()?;
    Some(db_words(error))
}

/// `ERROR: message (SQLSTATE 23503; constraint orders_user_fkey of table public.orders; hint)`.
///
/// What it says of rows is left out, since it goes to logs, to the history and to whoever is notified: PostgreSQL quotes whole
/// rows and keys in the details of some errors, and values in the messages of others.
pub fn db_words(error: &DbError) -> String {
    let code = error.code().code();
    let mut asides = vec![format!("SQLSTATE {code}")];
    if is_discreet(code) {
        asides.extend(error.detail().map(one_line));
    } else {
        asides.extend(place(error.schema(), error.table(), error.column(), error.constraint()));
    }
    asides.extend(error.hint().map(one_line));
    format!("{}: {} ({})", error.severity(), message(code, &one_line(error.message())), asides.join("; "))
}

/// Whether the details of such an error are never made of rows, as those of data exceptions and broken constraints are: by its
/// class, of those that are the server's own. What functions of the application raise may have any other.
fn is_discreet(code: &str) -> bool {
    let classes =
        ["08", "0A", "25", "28", "2B", "2D", "3B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "F0", "XX"];
    classes.iter().any(|class| code.starts_with(class))
}

/// What the error is about, by its own fields.
fn place(schema: Option<&str>, table: Option<&str>, column: Option<&str>, constraint: Option<&str>) -> Option<String> {
    let table =
        table.map(|table| format!("table {}{table}", schema.map_or_else(String::new, |schema| format!("{schema}."))));
    let parts =
        [constraint.map(|name| format!("constraint {name}")), column.map(|name| format!("column {name}")), table];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" of "))
}

/// `invalid input syntax for type integer: "…"`; what stands in quotes may have quotes in it.
fn message(code: &str, message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last && code.starts_with("22") => {
            format!("{}\"…\"{}", &message[..first], &message[last + 1..])
        }
        _ => message.to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn values_of_rows_are_in_no_words() {
        for code in ["21000", "22P02", "23505", "P0001", "P0003", "ZX017"] {
            assert!(!is_discreet(code), "{code}");
        }
        for code in ["2BP01", "42501", "55006", "40P01"] {
            assert!(is_discreet(code), "{code}");
        }
        let said = |code, text| message(code, text);
        assert_eq!(
            said("22P02", "invalid input syntax for type integer: \"a \"b\""),
            "invalid input syntax for type integer: \"…\""
        );
        assert_eq!(
            said("22001", "value too long for type character varying(5)"),
            "value too long for type character varying(5)"
        );
        assert_eq!(
            said("22003", "value \"12345678901\" is out of range for type integer"),
            "value \"…\" is out of range for type integer"
        );
        assert_eq!(said("42P01", "relation: \"a\""), "relation: \"a\"");
        let of = |schema, table, column, constraint| place(schema, table, column, constraint).unwrap_or_default();
        assert_eq!(of(Some("public"), Some("t"), None, Some("k")), "constraint k of table public.t");
        assert_eq!(of(None, Some("t"), Some("c"), None), "column c of table t");
        assert_eq!(of(None, None, None, None), "");
    }

    #[test]
    fn an_error_is_one_line_from_what_to_why() {
        let error = anyhow!("no such\n  thing").context("look at it").context("public.t");
        assert_eq!(explain(&error), "public.t: look at it: no such thing");
    }
}
