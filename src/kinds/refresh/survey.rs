//! Finds out what the plan needs to know of the views. Reads only.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use super::config::Refresh;
use super::facts::{Change, Facts, Index, Memory, Near, Refusal, View};
use crate::hex::hex;
use crate::kinds::Context;
use crate::pg::catalog::{character, kind_name};
use crate::pg::{Ident, Session, TableName, explain, ours};

/// # Errors
/// The server cannot be asked. What is wrong with a view stands among the facts.
pub async fn facts(session: &Session, cx: &Context, refresh: &Refresh) -> Result<Facts> {
    let (names, idle) = match refresh.named() {
        Some(names) => (names.into_iter().cloned().collect(), Vec::new()),
        None => {
            let all = all(session).await?;
            let idle = refresh.idle_exclusions(&all);
            (all.into_iter().filter(|view| !refresh.excludes(view)).collect(), idle)
        }
    };
    let mut facts = Facts { idle, ..look(session, names).await? };
    for row in session.query(include_str!("reads.sql"), &[]).await.context("look up what the views are made from")? {
        let (view, under): (u32, u32) = (row.get(0), row.get(1));
        facts.reads.entry(view).or_default().insert(under);
        facts.names.insert(under, TableName::found(row.get::<_, String>(2), row.get::<_, String>(3))?);
    }
    if refresh.skip_unchanged {
        changes(session, cx, &mut facts).await?;
    }
    Ok(facts)
}

/// Every materialized view there is, by the catalog alone.
///
/// # Errors
/// The catalog cannot be read.
pub async fn every_view(session: &Session) -> Result<Vec<View>> {
    Ok(look(session, all(session).await?).await?.views)
}

/// Each by itself, without what they are made from.
async fn look(session: &Session, names: Vec<TableName>) -> Result<Facts> {
    let row = session.query_one("SELECT current_user::text, current_database()::text", &[]).await?;
    let (role, database) = (Ident::found(row.get::<_, String>(0))?, Ident::found(row.get::<_, String>(1))?);
    let mut facts = Facts { database: database.to_string(), ..Facts::default() };
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        names.iter().map(|name| (name.schema.as_str(), name.name.as_str())).unzip();
    let set_role = if session.version >= 160_000 { "SET" } else { "MEMBER" };
    let maintain = (session.version >= 170_000).then_some("MAINTAIN");
    let rows = session
        .query(include_str!("survey.sql"), &[&schemas, &tables, &set_role, &maintain])
        .await
        .context("look up the views")?;
    for (name, row) in names.into_iter().zip(&rows) {
        match view(session, &role, &name, row).await? {
            Ok(view) => facts.views.push(view),
            Err(refusal) => facts.refused.push((name, refusal)),
        }
    }
    Ok(facts)
}

async fn all(session: &Session) -> Result<Vec<TableName>> {
    let rows = session.query(include_str!("all.sql"), &[]).await.context("look for materialized views")?;
    rows.iter().map(|row| Ok(TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?)).collect()
}

async fn view(session: &Session, role: &Ident, name: &TableName, row: &Row) -> Result<Result<View, Refusal>> {
    let Some(oid) = row.get::<_, Option<u32>>("oid") else {
        let alike = all(session).await?;
        let low = |name: &Ident| name.as_str().to_lowercase();
        let alike = alike.iter().find(|other| low(&other.name) == low(&name.name));
        // In TOML single quotes, because a name in other letters needs double quotes of its own.
        let mend = alike.map_or("create it, or correct the name".into(), |like| format!("is it '{}'?", like.plain()));
        return Ok(Err(Refusal::new(format!("there is no materialized view {}", name.plain()), mend)));
    };
    let kind = character(row.get("relkind"));
    if kind != 'm' {
        let mend = match kind {
            'v' => "a plain view is never stale: take it out, or name what is made from it",
            _ => "name a materialized view",
        };
        let why = format!("{} is {}, and only materialized views are refreshed", name.plain(), kind_name(kind));
        return Ok(Err(Refusal::new(why, mend)));
    }
    let owner = Ident::found(row.get::<_, String>("owner"))?;
    Ok(Ok(View {
        oid,
        name: name.clone(),
        role: acting(session, role, &owner, name, row),
        owner,
        populated: row.get("populated"),
        index: index(row)?,
        temporary: row.get("owner_temporary"),
        dead: row.get("dead"),
        living: row.get("living"),
        file: row.get("file"),
        change: None,
    }))
}

/// As whom a view is refreshed.
fn acting(session: &Session, role: &Ident, owner: &Ident, name: &TableName, row: &Row) -> Result<Ident, Refusal> {
    let (as_owner, as_ourselves): (bool, bool) = (row.get("may_be_owner"), row.get("may_refresh"));
    let (who, usage) = match (as_owner, as_ourselves) {
        (true, _) => (owner, row.get("owner_schema_usage")),
        (false, true) => (role, row.get("schema_usage")),
        (false, false) => {
            let with = if session.version >= 160_000 { " WITH INHERIT FALSE, SET TRUE" } else { "" };
            let why = format!("role {role} may not refresh {}, which belongs to {owner}", name.plain());
            return Err(Refusal::new(why, format!("GRANT {owner} TO {role}{with};")));
        }
    };
    if usage {
        return Ok(who.clone());
    }
    let schema = &name.schema;
    Err(Refusal::new(
        format!("role {who} may not use schema {schema}"),
        format!("GRANT USAGE ON SCHEMA {schema} TO {who};"),
    ))
}

fn index(row: &Row) -> Result<Index> {
    let Some(name) = row.get::<_, Option<String>>("index") else { return Ok(Index::Lacking(None)) };
    if row.get("usable") {
        return Ok(Index::Usable(name));
    }
    let columns: Vec<String> = row.get("columns");
    Ok(Index::Lacking(Some(Near {
        name,
        columns: columns.into_iter().map(Ident::found).collect::<Result<_, _>>()?,
        unique: row.get("is_unique"),
        valid: row.get("is_valid"),
        partial: row.get("partial"),
    })))
}

/// # Errors
/// The catalog or the history cannot be read.
async fn changes(session: &Session, cx: &Context, facts: &mut Facts) -> Result<()> {
    let oids: Vec<u32> = facts.views.iter().map(|view| view.oid).collect();
    let mut now = change(session, &oids).await?;
    let mut noted = memory(session, cx.job.as_str()).await?;
    for view in &mut facts.views {
        let (digest, doubts) = now.remove(&view.oid).unwrap_or_default();
        let remembered = noted.remove(&view.name.plain());
        view.change = Some(Change { digest, doubts, remembered });
    }
    Ok(())
}

/// A digest of all that these views are made from, as it is now; and what of it no counter tells.
///
/// # Errors
/// The catalog cannot be read.
pub async fn change(session: &Session, views: &[u32]) -> Result<BTreeMap<u32, (String, Vec<String>)>> {
    let rows = session
        .query(include_str!("change.sql"), &[&views])
        .await
        .context("look at how often what the views are made from was changed")?;
    let mut found: BTreeMap<u32, (Sha256, Vec<String>)> = BTreeMap::new();
    for row in rows {
        let (digest, doubts) = found.entry(row.get(0)).or_default();
        let line: String = row.get(2);
        if row.get(1) {
            doubts.push(line);
        } else {
            digest.update(line.as_bytes());
            digest.update(b"\n");
        }
    }
    Ok(found.into_iter().map(|(view, (digest, doubts))| (view, (hex(&digest.finalize()), doubts))).collect())
}

/// What the history remembers, by the plain name of the view. One that we may not read, or that is not there, remembers
/// nothing.
async fn memory(session: &Session, job: &str) -> Result<BTreeMap<String, Memory>> {
    if !ours::is_there(session, "run").await? {
        return Ok(BTreeMap::new());
    }
    let rows = match session.query(include_str!("memory.sql"), &[&job]).await {
        Ok(rows) => rows,
        Err(error) if error.as_db_error().is_some() && !session.is_closed() => {
            tracing::warn!(
                "the history cannot be read, so that no view is known to be unchanged: {}",
                explain(&error.into())
            );
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(error).context("read the history"),
    };
    let memory = |noted: Value| Memory {
        digest: noted["made_from"].as_str().map(Into::into),
        file: noted["file"].as_u64().and_then(|file| u32::try_from(file).ok()),
        at: noted["refreshed_at"].as_str().unwrap_or("an unknown time").into(),
    };
    Ok(rows.iter().map(|row| (row.get(0), memory(row.get(1)))).collect())
}

/// What row security hides from whoever reads it for these views: view, table, role.
///
/// # Errors
/// The catalog cannot be read.
pub async fn hidden(session: &Session, views: &[u32]) -> Result<Vec<(u32, TableName, Ident)>> {
    let rows = session.query(include_str!("hidden.sql"), &[&views]).await.context("look for row security")?;
    rows.iter()
        .map(|row| {
            let table = TableName::found(row.get::<_, String>(1), row.get::<_, String>(2))?;
            Ok((row.get(0), table, Ident::found(row.get::<_, String>(3))?))
        })
        .collect()
}
