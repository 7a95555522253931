//! What all steps on a partition that goes have in common: what it is now, holds once more, the key that keeps dumps away,
//! and what an error means.

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, Utc};

use super::facts::{Going, Stand};
use super::mark::{self, Mark};
use crate::kinds::retention::holds;
use crate::kinds::{Context, StopReason};
use crate::pg::blockers::{self, Wanted};
use crate::pg::ddl::{self, Ddl};
use crate::pg::exclusion::{self, For};
use crate::pg::{Ident, Session, TableName, explain};

/// What a table is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub name: TableName,
    pub owner: Ident,
    /// Of what it is a partition, and whether its detaching is pending.
    pub attached: Option<(u32, bool)>,
    pub bound: String,
    pub comment: Option<String>,
}

impl Found {
    pub const fn stand(&self) -> Stand {
        match self.attached {
            None => Stand::Detached,
            Some((_, true)) => Stand::Pending,
            Some((_, false)) => Stand::Attached,
        }
    }

    /// Its mark, if it is one for this going.
    pub fn mark(&self, going: &Going) -> Option<Mark> {
        let mark = mark::parse(self.comment.as_deref()?)?;
        (mark.is_of(going.oid)
            && mark.parent == going.parent_oid
            && mark.bound == going.bound
            && mark.fate == going.fate)
            .then_some(mark)
    }

    /// The same, if it is certain besides that the detaching is ours. Somebody who wants to keep the partition may have been
    /// quicker, and the mark is then on a table of theirs.
    pub fn ours(&self, going: &Going) -> Option<Mark> {
        self.mark(going).filter(|mark| mark.begun || going.ledger.has_begun(going.oid))
    }
}

/// Why a step was not taken although PostgreSQL would have let us.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// Another time.
    #[error("a dump, or another schema change of pgtend's, is at work in this database: {0}")]
    Busy(String),
    /// Somebody else is at the same work; the next try sees how far it has come.
    #[error("{0}")]
    Again(String),
    /// Somebody wants it left alone since the plan was made.
    #[error("{0}")]
    Held(String),
}

/// How a transaction ended that did not do what it was to do.
#[derive(Debug)]
pub enum Failed {
    Locked(String),
    Stopped(StopReason),
    Held(String),
    Error(anyhow::Error),
}

/// What the table is now; nothing if it is gone.
///
/// # Errors
/// The catalog cannot be read.
pub async fn found(session: &Session, oid: u32) -> Result<Option<Found>> {
    let row = session.query_opt(include_str!("stand.sql"), &[&oid]).await.context("look at what it is now")?;
    row.map(|row| {
        let parent: Option<u32> = row.get("parent");
        Ok(Found {
            name: TableName::found(row.get::<_, String>("schema"), row.get::<_, String>("name"))?,
            owner: Ident::found(row.get::<_, String>("owner"))?,
            attached: parent.map(|parent| (parent, row.get("pending"))),
            bound: row.get("bound"),
            comment: row.get("comment"),
        })
    })
    .transpose()
}

/// Statements go by name, the plan by oid: both must still mean the same table, as it was when the plan was made.
///
/// # Errors
/// They do not.
pub async fn the_same(session: &Session, going: &Going) -> Result<Found> {
    let name = going.leaf.plain();
    let found = found(session, going.oid).await?.ok_or_else(|| anyhow!("{name} is gone"))?;
    let changed = |what: String| Err(anyhow!("{what} since the plan was made: the next run makes another"));
    if found.name != going.leaf || found.owner != going.leaf_owner {
        return changed(format!("{name} became {} of {}", found.name.plain(), found.owner));
    }
    if let Some((parent, _)) = found.attached {
        let (schema, table) = (going.table.schema.as_str(), going.table.name.as_str());
        let row = session
            .query_opt(
                "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = $1 AND c.relname = $2",
                &[&schema, &table],
            )
            .await?;
        if parent != going.parent_oid || row.map(|row| row.get(0)) != Some(parent) {
            return changed(format!("{name} has another parent, or {} is another table,", going.table.plain()));
        }
        if found.bound != going.bound {
            return changed(format!("the bounds of {name} have changed"));
        }
    }
    Ok(found)
}

/// The same, and still so far on its way.
///
/// # Errors
/// They do not, or somebody else has gone on with it.
pub async fn still(session: &Session, going: &Going, stand: Stand) -> Result<Found> {
    let found = the_same(session, going).await?;
    if found.stand() == stand {
        return Ok(found);
    }
    Err(Halt::Again(format!("somebody else is detaching {}", going.leaf.plain())).into())
}

/// The table and all that is under it.
///
/// # Errors
/// The catalog cannot be read.
pub async fn tree(session: &Session, oid: u32) -> Result<Vec<TableName>> {
    let rows = session.query(include_str!("tree.sql"), &[&oid]).await.context("look at what is under it")?;
    rows.iter().map(|row| Ok(TableName::found(row.get::<_, &str>(0), row.get::<_, &str>(1))?)).collect()
}

/// Whether anybody wants it left alone by now. Within a transaction the holds are read as ourselves, not as the owner.
///
/// # Errors
/// It is held ([`Halt::Held`]), or holds cannot be read.
pub async fn not_held(session: &Session, going: &Going, now: DateTime<Utc>) -> Result<()> {
    let holds = holds::read(session).await?.map_err(|why| anyhow!("{why}"))?;
    let tree = tree(session, going.oid).await?;
    match holds.on_any(going.lineage.iter().chain(&tree), now) {
        None => Ok(()),
        Some((name, hold)) => Err(Halt::Held(format!("{} is {}", name.plain(), hold.sentence())).into()),
    }
}

/// The same, within a transaction.
///
/// # Errors
/// As [`not_held`].
pub async fn not_held_in(ddl: &Ddl<'_>, going: &Going, now: DateTime<Utc>, role: &Ident) -> Result<()> {
    ddl.as_ourselves().await?;
    not_held(ddl.own().await?, going, now).await?;
    ddl.act_as(role).await
}

/// Keeps dumps away.
///
/// # Errors
/// [`Halt::Busy`]: somebody is at it.
pub async fn alone(session: &Session, long: For) -> Result<()> {
    match exclusion::alone(session, long).await? {
        None => Ok(()),
        Some(by) => Err(Halt::Busy(by).into()),
    }
}

/// Ends a transaction by how its steps went.
///
/// # Errors
/// That of the steps, or of the commit.
pub async fn ended<T>(ddl: Ddl<'_>, done: Result<T>) -> Result<T> {
    match done {
        Ok(done) => ddl.commit().await.map(|()| done),
        Err(error) => {
            ddl.rollback().await;
            Err(error)
        }
    }
}

/// Whom a statement waited for: as it was seen while it waited; where that look came too late, who stands in the way now.
pub async fn waited_for(session: &Session, going: &Going, by: Option<String>, error: &anyhow::Error) -> Option<String> {
    if by.is_some() || session.is_closed() || !(ddl::is_locked(error) || ddl::is_over(error)) {
        return by;
    }
    let tables = [going.parent_oid, going.oid].map(|oid| (oid, Wanted::AccessExclusive));
    blockers::of_tables(session, &tables).await.ok()
}

/// What an error means. `by`: whom the statement waited for. A transaction whose own time was over is tried again if it is
/// `brief`: then it was others that took the time.
pub fn judge(cx: &Context, session: &Session, error: anyhow::Error, by: Option<String>, brief: bool) -> Failed {
    match error.downcast_ref::<Halt>() {
        Some(Halt::Busy(_) | Halt::Again(_)) => return Failed::Locked(format!("{error:#}")),
        Some(Halt::Held(_)) => return Failed::Held(format!("{error:#}")),
        None => {}
    }
    let over = ddl::is_over(&error);
    let lost = session.is_closed() || ddl::is_lost(&error);
    match cx.stop.requested() {
        Some(reason) if over || lost => return Failed::Stopped(reason),
        _ => {}
    }
    if lost {
        // Without the connection nobody knows what came of it; the next try looks, and fails if there is no server.
        return Failed::Locked(explain(&error));
    }
    if ddl::is_locked(&error) || (over && brief) {
        let by = by.unwrap_or_else(|| "whoever held it has let go since".into());
        return Failed::Locked(format!("{}; {by}", explain(&error)));
    }
    Failed::Error(error)
}

/// A text as a literal of the server's quoting, for statements that take no parameters.
///
/// # Errors
/// The server cannot be asked.
pub async fn literal(ddl: &Ddl<'_>, text: Option<&str>) -> Result<String> {
    let Some(text) = text else { return Ok("NULL".into()) };
    let rows = ddl.rows("SELECT pg_catalog.quote_literal($1::text)", &[&text]).await?;
    Ok(rows.first().map_or_else(String::new, |row| row.get(0)))
}

/// Writes a comment on a table; as its owner.
///
/// # Errors
/// What the server says.
pub async fn comment(ddl: &Ddl<'_>, table: &TableName, text: Option<&str>) -> Result<()> {
    let literal = literal(ddl, text).await?;
    ddl.run(&format!("COMMENT ON TABLE {table} IS {literal}")).await.context("write a comment on it")
}

/// The mark of a partition that goes, which keeps the comment there is. `begun`: whether its detaching is certainly ours.
pub fn mark_of(going: &Going, comment: Option<&str>, begun: bool) -> Mark {
    Mark {
        fate: going.fate.clone(),
        parent: going.parent_oid,
        leaf: Some(going.oid),
        table: going.table.clone(),
        bound: going.bound.clone(),
        begun,
        comment: mark::original(comment),
    }
}

/// The statement that takes a detached partition back.
pub fn attach(going: &Going) -> String {
    format!("ALTER TABLE {} ATTACH PARTITION {} {}", going.table, going.leaf, going.bound)
}
