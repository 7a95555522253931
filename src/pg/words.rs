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

/// What the server said, where `cause` is an error of the driver that carries it.
fn server_words(cause: &(dyn Error + 'static)) -> Option<String> {
    let error = cause.downcast_ref::<tokio_postgres::Error>()?.as_db_error()?;
    Some(db_words(error))
}

/// `ERROR: message (SQLSTATE 23503; detail; hint)`.
pub fn db_words(error: &DbError) -> String {
    let mut asides = vec![format!("SQLSTATE {}", error.code().code())];
    asides.extend([error.detail(), error.hint()].into_iter().flatten().map(one_line));
    format!("{}: {} ({})", error.severity(), one_line(error.message()), asides.join("; "))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn an_error_is_one_line_from_what_to_why() {
        let error = anyhow!("no such\n  thing").context("look at it").context("public.t");
        assert_eq!(explain(&error), "public.t: look at it: no such thing");
    }
}
