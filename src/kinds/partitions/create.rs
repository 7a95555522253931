//! Makes one partition: apart, like its parent, and attached, in one transaction. A kill -9 at any instant leaves all of it
//! or nothing.
//!
//! Locks, in this order: SHARE UPDATE EXCLUSIVE on the parent, beside which everybody reads and writes; where there is a
//! default partition SHARE ROW EXCLUSIVE, or a writer that waits would afterwards be sent into the default with a row that
//! no longer belongs there; then the default; then, by ATTACH, tables that foreign keys point at.

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::error::SqlState;

use super::apart::{self, Pattern};
use super::default_rows::{self, Way};
use super::facts::{Create, DefaultWork};
use super::written::{self, Written};
use crate::kinds::{Applied, Context};
use crate::pg::blockers::{self, Wanted};
use crate::pg::ddl::{self, Ddl};
use crate::pg::{Session, TableName, explain};
use crate::run::Counted;
use crate::testpoint;

/// # Errors
/// The partition was not made, and another try would not help.
pub async fn create(cx: &Context, create: &Create) -> Result<Applied> {
    let session = cx.kept_session().await?;
    let applied = on(&session, cx, create).await;
    leave(cx, session, applied).await
}

/// Leaves the session to the next action, unless something went wrong in it.
async fn leave(cx: &Context, session: Session, applied: Result<Applied>) -> Result<Applied> {
    match applied {
        // Without the connection nobody knows what came of it; the next try looks, and fails if there is no server.
        Err(error) if session.is_closed() || ddl::is_lost(&error) => Ok(match cx.stop.requested() {
            Some(reason) => Applied::Stopped(reason),
            None => Applied::Locked(explain(&error)),
        }),
        Err(error) => {
            session.close().await;
            Err(error)
        }
        Ok(applied) => {
            cx.leave(session).await;
            Ok(applied)
        }
    }
}

async fn on(session: &Session, cx: &Context, create: &Create) -> Result<Applied> {
    let create = &default_rows::now(session, create).await?;
    let written = written::write(session, create).await?;
    let mut known_empty = create.default.as_ref().is_none_or(|work| work.default.has_rows == Some(false));
    loop {
        let looked = match &create.default {
            None => Ok(Way::NoDefault),
            Some(_) if known_empty => Ok(Way::Nothing),
            Some(work) => default_rows::look(session, create, work, &written).await,
        };
        // Who looks into the default partition may have to wait for it, as who changes it.
        let (way, made) = match looked {
            Ok(way) => (way, transact(session, create, &written, way).await),
            Err(error) => (Way::Nothing, Err(error)),
        };
        let error = match made {
            Ok(made) => {
                match made.holder {
                    Ok(holder) => verify(create, &written, holder)?,
                    // It is committed, whatever comes of looking.
                    Err(error) => cx.report.warn(format!(
                        "{} was made and attached, and could not be looked at afterwards: {}",
                        create.name.plain(),
                        explain(&error)
                    )),
                }
                for warning in made.warnings {
                    cx.report.warn(warning);
                }
                cx.report.count(Counted::PartitionsCreated, &create.parent.plain(), 1);
                return Ok(Applied::Done);
            }
            Err(error) => error,
        };
        if session.is_closed() {
            return Err(error);
        }
        if let Some(reason) = cx.stop.requested()
            && ddl::is_over(&error)
        {
            return Ok(Applied::Stopped(reason));
        }
        if ddl::is_locked(&error) || ddl::is_over(&error) {
            return Ok(Applied::Locked(format!("{}; {}", explain(&error), blockers(session, create, way).await?)));
        }
        match ddl::sqlstate(&error) {
            // A row of the period has come into the default partition since somebody last looked.
            Some(code) if *code == SqlState::CHECK_VIOLATION && known_empty && way == Way::Nothing => {
                known_empty = false;
            }
            Some(code) if raced(code) => return lost(session, create, &written, error).await,
            _ => return Err(error),
        }
    }
}

/// Whether somebody else may have made the partition meanwhile: the name is taken (as a table or as a type), the bound is
/// taken, or the table is a partition already.
fn raced(code: &SqlState) -> bool {
    [
        SqlState::DUPLICATE_TABLE,
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_OBJECT,
        SqlState::INVALID_OBJECT_DEFINITION,
        SqlState::WRONG_OBJECT_TYPE,
    ]
    .contains(code)
}

/// What such an error means only the catalog can tell.
async fn lost(session: &Session, create: &Create, written: &Written, error: anyhow::Error) -> Result<Applied> {
    match written::holder(session, create, written).await? {
        Some(name) => {
            tracing::info!(object = %name.plain(), "somebody else has made this partition meanwhile");
            Ok(Applied::Done)
        }
        None => Err(error.context(format!("create {} {}", create.name.plain(), written.clause))),
    }
}

/// Success is what the catalog shows, not what a statement says.
fn verify(create: &Create, written: &Written, holder: Option<TableName>) -> Result<()> {
    match holder {
        Some(name) if name == create.name => Ok(()),
        other => Err(anyhow!(
            "{} was made and attached, but the catalog shows {} with {}: look at \\d+ {}",
            create.name.plain(),
            other.map_or("no partition".into(), |name| name.plain()),
            written.clause,
            create.parent.plain()
        )),
    }
}

/// A partition that was made.
struct Made {
    warnings: Vec<String>,
    /// Which partition has its bound, by the catalog after the commit.
    holder: Result<Option<TableName>>,
}

async fn transact(session: &Session, create: &Create, written: &Written, way: Way) -> Result<Made> {
    let (ddl, pattern) = tokio::join!(
        biased;
        Ddl::begin(session, &create.owner),
        apart::look(session, create.parent_oid, &create.name, create.tablespace.as_ref(), None)
    );
    let ddl = ddl?;
    let stepped = match pattern {
        Ok(pattern) => steps(&ddl, create, written, way, &pattern).await,
        Err(error) => Err(error),
    };
    match stepped {
        Ok(warnings) => {
            let (committed, holder) = tokio::join!(biased; ddl.commit(), written::holder(session, create, written));
            committed.map(|()| Made { warnings, holder })
        }
        Err(error) => {
            ddl.rollback().await;
            Err(error)
        }
    }
}

async fn steps(ddl: &Ddl<'_>, create: &Create, written: &Written, way: Way, pattern: &Pattern) -> Result<Vec<String>> {
    let parent = &create.parent;
    let lock = |mode: &str| format!("LOCK TABLE ONLY {parent} IN {mode} MODE");
    if let (Way::Rebuild, Some(work)) = (way, &create.default) {
        // DETACH needs it; taken first, since a lock that is raised later is a deadlock in waiting.
        let locked = on_parent(ddl, create, &lock("ACCESS EXCLUSIVE")).await;
        same_parent(locked.map_err(|error| lockable(error, create))?, create)?;
        let apart = apart::make(ddl, pattern).await?;
        return default_rows::rebuild(ddl, create, work, written, &apart).await;
    }
    // What takes time is done while nobody waits for it.
    let apart = apart::make(ddl, pattern).await?;
    let mut warnings =
        if way == Way::NoDefault || way == Way::Nothing { apart::liken(ddl, &apart).await? } else { Vec::new() };
    testpoint::reach("partitions.attach").await;
    if let Some(work) = &create.default {
        ddl.run(&lock("SHARE ROW EXCLUSIVE")).await.map_err(|error| lockable(error, create))?;
        let only = if work.default.is_parent { "" } else { "ONLY " };
        ddl.run(&format!("LOCK TABLE {only}{} IN ACCESS EXCLUSIVE MODE", work.default.name))
            .await
            .context("lock the default partition")?;
        testpoint::reach("partitions.locked").await;
        if let (Way::Move(_), Some(rows)) = (way, &written.rows) {
            default_rows::move_rows(ddl, work, rows, &apart).await.map_err(|error| slow(ddl, error, work))?;
            // Only now: rights and row security of the parent may keep even its owner from inserting.
            warnings.extend(apart::liken(ddl, &apart).await?);
        }
    }
    let attach = format!("ALTER TABLE {parent} ATTACH PARTITION {} {}", create.name, written.clause);
    let attached = on_parent(ddl, create, &attach).await.context("attach it");
    let attached = attached.map_err(|error| match &create.default {
        Some(work) => slow(ddl, error, work),
        None => error,
    })?;
    same_parent(attached, create)?;
    Ok(warnings)
}

/// An owner may lock its table like anybody else only as far as it has rights on the rows.
fn lockable(error: anyhow::Error, create: &Create) -> anyhow::Error {
    if ddl::sqlstate(&error) == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        let (parent, owner) = (&create.parent, &create.owner);
        return error.context(format!(
            "lock the parent, which needs the right to UPDATE, DELETE or TRUNCATE even of its owner: \
             GRANT TRUNCATE ON {parent} TO {owner}"
        ));
    }
    error.context("lock the parent")
}

/// Runs what locks the parent, and asks which table that was.
async fn on_parent(ddl: &Ddl<'_>, create: &Create, statement: &str) -> Result<Option<u32>> {
    let (schema, name) = (create.parent.schema.as_str(), create.parent.name.as_str());
    let rows = ddl
        .run_and_ask(
            statement,
            "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2",
            &[&schema, &name],
        )
        .await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Statements go by name, the plan by oid: between the two somebody may have put another table in the parent's place.
fn same_parent(found: Option<u32>, create: &Create) -> Result<()> {
    if found != Some(create.parent_oid) {
        bail!("{} is another table than when the plan was made", create.parent.plain());
    }
    Ok(())
}

/// A default partition so large that reading it takes all the time there is would take it at each try again, with
/// writers waiting: no second try.
fn slow(ddl: &Ddl<'_>, error: anyhow::Error, work: &DefaultWork) -> anyhow::Error {
    // Locks are had by now but for those on tables of foreign keys, so most of the time went into reading.
    if ddl.given() < ddl::LIMIT / 2 || ddl::sqlstate(&error) != Some(&SqlState::QUERY_CANCELED) {
        return error;
    }
    anyhow!(
        "the default partition {} is too large to be read within the {} s that writers may be kept waiting. Empty it; or tell \
         PostgreSQL that it holds nothing of the period, with ALTER TABLE {} ADD CHECK (…) NOT VALID, then VALIDATE CONSTRAINT, \
         which keeps nobody waiting, and run the job again",
        work.default.name.plain(),
        ddl::LIMIT.as_secs(),
        work.default.name
    )
}

async fn blockers(session: &Session, create: &Create, way: Way) -> Result<String> {
    let parent = match way {
        Way::NoDefault => Wanted::ShareUpdateExclusive,
        Way::Nothing | Way::Move(_) => Wanted::ShareRowExclusive,
        Way::Rebuild => Wanted::AccessExclusive,
    };
    let mut wanted = vec![(create.parent_oid, parent)];
    wanted.extend(create.default.iter().map(|work| (work.default.oid, Wanted::AccessExclusive)));
    // ATTACH makes the foreign keys of both directions, and with them triggers on the other tables and their partitions.
    let related = session
        .query(
            "SELECT t.relid::oid
             FROM (SELECT confrelid FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conrelid = $1
                   UNION SELECT conrelid FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = $1) AS f(relation)
             CROSS JOIN LATERAL (SELECT f.relation UNION SELECT relid FROM pg_catalog.pg_partition_tree(f.relation)) AS t(relid)",
            &[&create.parent_oid],
        )
        .await?;
    wanted.extend(related.iter().map(|row| (row.get(0), Wanted::ShareRowExclusive)));
    blockers::of_tables(session, &wanted).await
}
