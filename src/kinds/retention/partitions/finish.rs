//! What becomes of a partition that is a table of its own by now, in one transaction, under a lock that troubles nobody who
//! uses the partitioned table: dropped, moved to another schema, or left. Only with our mark, attached to nothing, and held
//! by nobody.
//!
//! One that is read before it is dropped loses its own foreign keys first, in a transaction of its own: whoever deletes from
//! a table that it refers to asks it for rows, and would wait behind our lock until all of it was read.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::at_work::{self, Found};
use super::facts::{Fate, Going};
use super::mark::Mark;
use super::{anchor, detach, look};
use crate::kinds::retention::export::{self, Changed, Exported, Proof};
use crate::kinds::{Applied, Context};
use crate::pg::batch::Cutoff;
use crate::pg::ddl::{self, Ddl};
use crate::pg::exclusion::For;
use crate::pg::{Ident, Session, TableName, waits};
use crate::run::Counted;
use crate::testpoint;

/// So long may the rows of a detached table be read before it goes; nobody waits for it meanwhile.
const READING: Duration = Duration::from_mins(5);
/// So often a table is exported in one run, whose rows somebody goes on changing.
const EXPORTS: usize = 3;

/// # Errors
/// It is no longer what it was, or the server refuses.
pub async fn finish(cx: &Context, session: &Session, going: &Going) -> Result<Applied> {
    if going.fate != Fate::Drop || going.export.is_none() {
        return transaction(cx, session, going, None).await;
    }
    for _ in 0..EXPORTS {
        let proof = match going.ledger.proof(going.oid) {
            Some(proof) => proof,
            None => {
                match Box::pin(export::exported(cx, session, going)).await.context("it is detached, and not dropped")? {
                    Exported::Good(proof) => proof,
                    Exported::Stopped(reason) => return Ok(Applied::Stopped(reason)),
                }
            }
        };
        match transaction(cx, session, going, Some(&proof)).await {
            Err(error) if error.chain().any(|cause| cause.is::<Changed>()) => {
                cx.report.warn(format!(
                    "{} was changed after it was exported to {}, and is exported again",
                    going.leaf.plain(),
                    proof.place
                ));
                going.ledger.forget(going.oid);
            }
            done => return done,
        }
    }
    Err(anyhow!("it is detached, and not dropped: it was changed again and again while it was exported"))
}

async fn transaction(cx: &Context, session: &Session, going: &Going, proof: Option<&Proof>) -> Result<Applied> {
    let reads = going.fate == Fate::Drop && (going.newest.is_some() || going.immutable || proof.is_some());
    if reads && !foreign_keys(session, going).await?.is_empty() {
        let work = async {
            let ddl = Ddl::begin(session, &going.leaf_owner).await?;
            let done = freed(cx, &ddl, going).await;
            at_work::ended(ddl, done).await
        };
        let (done, by) = waits::watched(&cx.pg, session, work).await;
        if let Err(error) = done {
            let what = "it is detached, and not dropped; its foreign keys are to go first";
            return not_done(cx, session, going, error, by, (what, true)).await;
        }
    }
    let limit = match proof {
        // Nobody waits for a table that was exported, however long it takes to read it: it has no foreign keys any more.
        Some(_) => cx.deadline.saturating_duration_since(Instant::now()).max(READING),
        None if reads => READING,
        None => ddl::LIMIT,
    };
    let work = async {
        let ddl = Ddl::within(session, &going.leaf_owner, limit).await?;
        let done = steps(cx, &ddl, going, proof).await;
        at_work::ended(ddl, done).await
    };
    let (done, by) = waits::watched(&cx.pg, session, work).await;
    let Err(error) = done else {
        let what = match going.fate {
            Fate::Drop => Counted::PartitionsDropped,
            Fate::Detach => Counted::PartitionsDetached,
            Fate::Archive(_) => Counted::PartitionsArchived,
        };
        cx.report.count(what, &going.table.plain(), 1);
        return Ok(Applied::Done);
    };
    let what = match going.fate {
        Fate::Drop => "it is detached, and not dropped",
        Fate::Detach => "it is detached, and its foreign keys are still there",
        Fate::Archive(_) => "it is detached, and not moved",
    };
    not_done(cx, session, going, error, by, (what, !reads)).await
}

/// How a transaction that was taken back is told; `what`: how far it is, and whether the transaction is brief.
async fn not_done(
    cx: &Context,
    session: &Session,
    going: &Going,
    error: anyhow::Error,
    by: Option<String>,
    (what, brief): (&str, bool),
) -> Result<Applied> {
    let by = at_work::waited_for(session, going, by, &error).await;
    let failed = at_work::judge(cx, session, error, by, brief);
    detach::applied(cx, going, failed)
        .map(|applied| match applied {
            Applied::Locked(by) => Applied::Locked(format!("{what}: {by}")),
            other => other,
        })
        .with_context(|| format!("{what} (to take it back: {})", at_work::attach(going)))
}

/// The table locked, ours, and without foreign keys of its own.
async fn freed(cx: &Context, ddl: &Ddl<'_>, going: &Going) -> Result<()> {
    at_work::alone(ddl.own().await?, For::Transaction).await?;
    locked(ddl, going).await?;
    ours(ddl.own().await?, going).await?;
    at_work::not_held_in(ddl, going, cx.now, &going.leaf_owner).await?;
    without_foreign_keys(ddl, going).await
}

async fn steps(cx: &Context, ddl: &Ddl<'_>, going: &Going, proof: Option<&Proof>) -> Result<()> {
    let leaf = &going.leaf;
    at_work::alone(ddl.own().await?, For::Transaction).await?;
    locked(ddl, going).await?;
    let (_, mark) = ours(ddl.own().await?, going).await?;
    if going.fate != Fate::Detach {
        at_work::not_held_in(ddl, going, cx.now, &going.leaf_owner).await?;
    }
    match &going.fate {
        Fate::Drop => drop_it(ddl, going, &mark, proof).await?,
        Fate::Detach => {
            if going.ours {
                without_foreign_keys(ddl, going).await?;
            }
            at_work::comment(ddl, leaf, Some(&mark.memory())).await?;
        }
        Fate::Archive(to) => {
            without_foreign_keys(ddl, going).await?;
            at_work::comment(ddl, leaf, Some(&mark.memory())).await?;
            let tables = at_work::tree(ddl.own().await?, going.oid).await?;
            for table in tables.iter().filter(|table| table.schema != *to) {
                moved(ddl, table, to).await?;
            }
        }
    }
    testpoint::reach("retention.finish").await;
    Ok(())
}

/// Under the lock: the table of the plan, attached to nothing, with our mark.
async fn ours(session: &Session, going: &Going) -> Result<(Found, Mark)> {
    let found = at_work::the_same(session, going).await?;
    if found.attached.is_some() {
        return Err(anyhow!("{} is attached again: it stays", going.leaf.plain()));
    }
    let Some(mark) = found.ours(going) else {
        return Err(anyhow!("{} has lost its mark, so that it may be anybody's: it stays", going.leaf.plain()));
    };
    Ok((found, mark))
}

async fn drop_it(ddl: &Ddl<'_>, going: &Going, mark: &Mark, proof: Option<&Proof>) -> Result<()> {
    let leaf = &going.leaf;
    match proof {
        Some(proof) => export::compare(ddl, going, proof).await?,
        None if going.export.is_some() => bail!("it was not exported: it is not dropped"),
        None => {}
    }
    if let Some((column, cutoff)) = &going.newest {
        let kind = look::column_type(ddl.own().await?, leaf, column).await?;
        let kind = kind.ok_or_else(|| anyhow!("it has no column {column} that says time any more"))?;
        let (sql, cutoff) = look::newest_sql(leaf, column, &kind, (*cutoff, going.zone));
        let rows = match &cutoff {
            Cutoff::Instant(at) => ddl.rows(&sql, &[at]).await,
            Cutoff::Wall(at) => ddl.rows(&sql, &[at]).await,
        };
        let rows = rows.with_context(|| format!("read its newest {column}"))?;
        if let Some(row) = rows.first().filter(|row| row.get(1)) {
            return Err(anyhow!("its newest {column} is {} by now: it is not dropped", row.get::<_, &str>(0)));
        }
    }
    if going.immutable {
        anchor::write(ddl, going, mark).await?;
    }
    testpoint::reach("retention.drop").await;
    ddl.run(&format!("DROP TABLE {leaf} RESTRICT")).await.context("drop it")?;
    let left = ddl.rows("SELECT FROM pg_catalog.pg_class WHERE oid = $1", &[&going.oid]).await?;
    if left.is_empty() { Ok(()) } else { Err(anyhow!("{} was dropped, and is another table", leaf.plain())) }
}

/// Its own foreign keys, and those of what is under it: each with its table. They would keep rows of other tables from going.
async fn foreign_keys(session: &Session, going: &Going) -> Result<Vec<(TableName, Ident)>> {
    let rows =
        session.query(include_str!("foreign_keys.sql"), &[&going.oid]).await.context("look up its foreign keys")?;
    let key = |row: &Row| {
        let table = TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?;
        Ok((table, Ident::found(row.get::<_, String>(2))?))
    };
    rows.iter().map(key).collect()
}

async fn without_foreign_keys(ddl: &Ddl<'_>, going: &Going) -> Result<()> {
    for (table, name) in foreign_keys(ddl.own().await?, going).await? {
        ddl.run(&format!("ALTER TABLE {table} DROP CONSTRAINT {name} RESTRICT"))
            .await
            .with_context(|| format!("drop its foreign key {name}"))?;
    }
    Ok(())
}

async fn moved(ddl: &Ddl<'_>, table: &TableName, to: &Ident) -> Result<()> {
    ddl.run(&format!("ALTER TABLE {table} SET SCHEMA {to}"))
        .await
        .with_context(|| format!("move {} to schema {to}", table.plain()))
}

async fn locked(ddl: &Ddl<'_>, going: &Going) -> Result<()> {
    let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", going.leaf);
    ddl.run(&lock).await.map_err(|error| lockable(error, going))
}

/// An owner may lock its table like anybody else only as far as it has rights on the rows.
fn lockable(error: anyhow::Error, going: &Going) -> anyhow::Error {
    if ddl::sqlstate(&error) == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        let (leaf, owner) = (&going.leaf, &going.leaf_owner);
        return error.context(format!(
            "lock it, which needs the right to UPDATE, DELETE or TRUNCATE even of its owner: GRANT TRUNCATE ON {leaf} TO {owner}"
        ));
    }
    error.context("lock it")
}
