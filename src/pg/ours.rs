//! Whether schema `pgtend` is ours: before anything is read from its tables, or written to them.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

/// Something in the place of our own tables that is not ours. Nothing of it is touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", self.why(), self.mend())]
pub struct Stranger {
    /// `table pgtend.run`
    what: String,
    is_table: bool,
    /// As SQL.
    owner: String,
    role: String,
}

impl Stranger {
    pub fn why(&self) -> String {
        let Self { what, is_table, owner, role } = self;
        if *is_table {
            return format!(
                "{what} belongs to {owner}, which is neither a superuser nor a role that {role} is a member of, and whose \
                 functions could run as {role} by way of it: it is not used"
            );
        }
        let name = what.trim_start_matches("table ");
        format!("{name} is no table, and was made by {owner}: it is not used")
    }

    pub fn mend(&self) -> String {
        let Self { what, is_table, owner, role } = self;
        if *is_table {
            return format!(
                "find out who made it; if it is to be trusted, ALTER {} OWNER TO {role}; else DROP {0} CASCADE as {owner}, \
                 and it is made anew",
                what.replacen("table", "TABLE", 1).replacen("schema", "SCHEMA", 1)
            );
        }
        "find out who made it, and drop it: the table is made anew".into()
    }
}

/// What is not ours, if anything is.
///
/// # Errors
/// The server does not answer.
pub async fn stranger(client: &Client) -> std::result::Result<Option<Stranger>, tokio_postgres::Error> {
    let row = client.query_opt(include_str!("ours.sql"), &[]).await?;
    Ok(row.map(|row| Stranger { what: row.get(0), is_table: row.get(1), owner: row.get(2), role: row.get(3) }))
}

/// Whether there is a table of ours by this name. By the catalog: `to_regclass` fails where the role may not use the schema.
///
/// # Errors
/// The server does not answer, or what is there is not ours: a [`Stranger`].
pub async fn is_there(client: &Client, table: &str) -> Result<bool> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                            WHERE n.nspname = 'pgtend' AND c.relname = $1)",
            &[&table],
        )
        .await
        .with_context(|| format!("look for pgtend.{table}"))?;
    let there: bool = row.get(0);
    match stranger(client).await.context("look whose schema pgtend is")? {
        Some(stranger) if there => Err(stranger.into()),
        _ => Ok(there),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_named_with_its_owner_and_what_to_do() {
        let stranger =
            Stranger { what: "table pgtend.hold".into(), is_table: false, owner: "app".into(), role: "pgtend".into() };
        assert_eq!(
            stranger.to_string(),
            "pgtend.hold is no table, and was made by app: it is not used; find out who made it, and drop it: the table is \
             made anew"
        );
        let schema = Stranger { what: "schema pgtend".into(), is_table: true, ..stranger };
        assert!(schema.why().starts_with("schema pgtend belongs to app, which is neither"), "{schema}");
        assert!(
            schema.mend().contains("ALTER SCHEMA pgtend OWNER TO pgtend; else DROP SCHEMA pgtend CASCADE as app"),
            "{schema}"
        );
    }
}
