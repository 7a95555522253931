//! Finds out what the plan needs to know of the table. Reads only the catalog, and the anchors.

use anyhow::{Context as _, Result};

use super::VerifyChain;
use super::plan::{Anchor, Chain, Facts, Refusal};
use crate::pg::catalog::{self, character, kind_name};
use crate::pg::{Ident, Session, explain, ours};

/// # Errors
/// The server cannot be asked. What is wrong with the table stands among the facts.
pub async fn facts(session: &Session, kind: &VerifyChain) -> Result<Facts> {
    let mut warnings = Vec::new();
    let chain = chain(session, kind, &mut warnings).await?;
    Ok(Facts { chain, warnings })
}

async fn chain(
    session: &Session,
    kind: &VerifyChain,
    warnings: &mut Vec<(String, String)>,
) -> Result<Result<Chain, Refusal>> {
    let table = kind.table.get_ref();
    let name = table.plain();
    let refused = |key, why: String, mend: String| Ok(Err(Refusal { why, mend, key }));
    let columns: Vec<&str> = kind.columns().iter().map(|(_, column)| column.get_ref().as_str()).collect();
    let rows = session
        .query(include_str!("facts.sql"), &[&table.schema.as_str(), &table.name.as_str(), &columns])
        .await
        .with_context(|| format!("look up {name}"))?;
    let Some(first) = rows.first() else {
        let alike = catalog::like_named(session, table).await?;
        // In TOML single quotes, because a name in other letters needs double quotes of its own.
        let mend = alike
            .first()
            .map_or("create it, or correct the name".into(), |like| format!("is it table = '{}'?", like.plain()));
        return refused("table", format!("there is no table {name}"), mend);
    };
    let relkind = character(first.get("relkind"));
    if !matches!(relkind, 'r' | 'p' | 'f' | 'm') {
        let why = format!("{name} is {}, and a chain is followed through a table", kind_name(relkind));
        return refused("table", why, "name the table that has the rows".into());
    }
    let role = Ident::found(first.get::<_, String>("role"))?;
    if !first.get::<_, bool>("schema_usage") {
        let schema = &table.schema;
        let why = format!("role {role} may not use schema {schema}");
        return refused("table", why, format!("GRANT USAGE ON SCHEMA {schema} TO {role};"));
    }
    if first.get("row_security") {
        let why = format!("row security hides rows of {name} from role {role}, and the chain would have holes");
        return refused("table", why, format!("run as its owner, or ALTER ROLE {role} BYPASSRLS;"));
    }
    for ((key, column), row) in kind.columns().into_iter().zip(&rows) {
        let column = column.get_ref();
        if row.get::<_, Option<String>>("type").is_none() {
            return refused(key, format!("{name} has no column {column}"), format!("correct {key}"));
        }
        if !row.get::<_, bool>("readable") {
            return refused(
                key,
                format!("role {role} may not read {column} of {name}"),
                format!("GRANT SELECT ON {table} TO {role};"),
            );
        }
    }
    // Nothing is run: it is only seen whether it could be.
    let (order, hash, previous) = (kind.order_by.get_ref(), kind.hash.get_ref(), kind.previous.get_ref());
    let sql = format!("SELECT {hash} = {previous}, lag({order}) OVER (ORDER BY {order}) < {order} FROM {table}");
    if let Err(error) = session.prepare(&sql).await {
        if error.as_db_error().is_none() {
            return Err(error.into());
        }
        let why = format!(
            "hash and previous of {name} cannot be compared, or order_by has no order: {}",
            explain(&error.into())
        );
        return refused("previous", why, "name columns of one type".into());
    }
    if relkind == 'r' && !rows[0].get::<_, bool>("indexed") {
        warnings.push((
            format!("{name} has no index that begins with {order}, so that each run sorts all of it"),
            format!("CREATE INDEX CONCURRENTLY ON {table} ({order});"),
        ));
    }
    let anchors = anchors(session, kind).await?;
    if let Some(anchor) = anchors.iter().find(|anchor| anchor.hash.is_none()) {
        warnings.push((
            format!("pgtend.anchor has no {hash} of the last row of {}, which was dropped", anchor.partition),
            "say with genesis what previous is in the row after it".into(),
        ));
    }
    Ok(Ok(Chain { order_type: rows[0].get("type"), previous_type: rows[2].get("type"), anchors }))
}

/// What retention remembers of parts of the table that it has dropped, the last of them last.
async fn anchors(session: &Session, kind: &VerifyChain) -> Result<Vec<Anchor>> {
    if !ours::is_there(session, "anchor").await? {
        return Ok(Vec::new());
    }
    let table = kind.table.get_ref().plain();
    let rows = session
        .query(
            "SELECT partition, last ->> $2 AS hash, last ->> $3 AS place FROM pgtend.anchor
             WHERE relation = $1 AND rows > 0 ORDER BY id",
            &[&table, &kind.hash.get_ref().as_str(), &kind.order_by.get_ref().as_str()],
        )
        .await
        .context("read pgtend.anchor, where retention remembers what it has dropped")?;
    Ok(rows.iter().map(|row| Anchor { partition: row.get(0), hash: row.get(1), place: row.get(2) }).collect())
}
