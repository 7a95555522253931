//! What is remembered of a partition of an immutable table that was dropped: a row of `pgtend.anchor`, written by the
//! transaction that drops it. It tells where a chain of records goes on from.

use anyhow::{Context as _, Result};

use super::facts::Going;
use super::mark::Mark;
use crate::pg::Ident;
use crate::pg::ddl::Ddl;

/// Counts the rows and notes the last of them: by the first column of the partition key, then by the primary key. Of that
/// row it keeps the primary key, the partition key, and columns whose name speaks of a digest or a signature.
///
/// # Errors
/// What the server says; then the partition stays.
pub async fn write(ddl: &Ddl<'_>, going: &Going, mark: &Mark) -> Result<()> {
    let columns = ddl
        .rows(include_str!("anchor_columns.sql"), &[&going.oid, &going.parent_oid])
        .await
        .context("look up what tells its rows apart")?;
    let mut order = Vec::new();
    let mut noted = Vec::new();
    for row in &columns {
        let name = Ident::found(row.get::<_, String>(0))?;
        if row.get::<_, bool>(1) {
            order.push(format!("t.{name} DESC NULLS LAST"));
        }
        noted.push(name);
    }
    let pairs: Vec<String> = noted.iter().map(|name| format!("t.{name}")).collect();
    let names: Vec<&str> = noted.iter().map(Ident::as_str).collect();
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let values = if pairs.is_empty() {
        "'{}'::jsonb".to_string()
    } else {
        let pairs: Vec<String> = pairs.iter().map(|pair| format!("to_jsonb({pair})")).collect();
        format!("(SELECT jsonb_object_agg(k, v) FROM unnest($1::text[], ARRAY[{}]) AS w(k, v))", pairs.join(", "))
    };
    let last = format!("(SELECT {values} FROM {} AS t{order} LIMIT 1)::text", going.leaf);
    let sql = format!("SELECT (SELECT count(*) FROM {}), {last}, cardinality($1::text[])", going.leaf);
    let rows = ddl.rows(&sql, &[&names]).await.context("count its rows and read the last one")?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (count, last): (i64, Option<String>) = (row.get(0), row.get(1));
    ddl.as_ourselves().await?;
    ddl.rows(
        "INSERT INTO pgtend.anchor (relation, partition, bounds, rows, last) VALUES ($1, $2, $3, $4, $5::text::jsonb)",
        &[&mark.table.plain(), &going.leaf.plain(), &mark.bound, &count, &last],
    )
    .await
    .context("write what is remembered of it into pgtend.anchor")?;
    ddl.act_as(&going.leaf_owner).await
}
