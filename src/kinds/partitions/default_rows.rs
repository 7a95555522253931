//! Rows of a new period that lie in the default partition: they move in the very transaction that attaches the new one,
//! or stay where they are with the reason. Never in batches: rows between two tables are rows that nobody sees.

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::error::SqlState;

use super::apart::{self, Apart};
use super::facts::{Create, DefaultRows, DefaultWork};
use super::written::{Rows, Written};
use crate::pg::ddl::{Ddl, sqlstate};
use crate::pg::{Ident, Session, TableName};

/// What is to be done about the default partition while the new one is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// There is none.
    NoDefault,
    /// It holds no row of the period, as far as anybody knows: ATTACH reads it and sees for itself.
    Nothing,
    /// Rows are deleted there and inserted here, by one statement.
    Move(i64),
    /// A trigger stands on deleting: the default is detached, and it and the new partition are filled from it.
    Rebuild,
}

/// With the default partition that is there now: another partition of the same plan may have replaced it since, see
/// [`rebuild`].
///
/// # Errors
/// The catalog cannot be read.
pub async fn now(session: &Session, create: &Create) -> Result<Create> {
    let mut create = create.clone();
    if let Some(work) = &mut create.default {
        let sql = "SELECT partdefid FROM pg_catalog.pg_partitioned_table
            JOIN pg_catalog.pg_class c ON c.oid = partdefid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE partrelid = $1 AND n.nspname = $2 AND c.relname = $3";
        let (schema, name) = (work.default.name.schema.as_str(), work.default.name.name.as_str());
        let rows =
            session.ask(sql, &[&create.parent_oid, &schema, &name]).await.context("look up the default partition")?;
        work.default.oid = rows.first().map_or(work.default.oid, |row| row.get(0));
    }
    Ok(create)
}

/// Looks, before any lock is asked for, at what lies in the default partition.
///
/// # Errors
/// The rows may not be moved; with their number, their range, and what to do.
pub async fn look(session: &Session, create: &Create, work: &DefaultWork, written: &Written) -> Result<Way> {
    let default = &work.default;
    let name = default.name.plain();
    let Some(rows) = &written.rows else {
        // Which rows belong to the period cannot be said; ATTACH will see whether there are any.
        return Ok(Way::Nothing);
    };
    // The owner can read it, whoever we are.
    session.batch_execute(&format!("BEGIN READ ONLY; SET LOCAL ROLE {}", create.owner)).await?;
    let looked = inspect(session, create, work, rows).await;
    let _ = session.batch_execute("ROLLBACK").await;
    let found = match looked {
        // Row security keeps even an owner from looking, and not ATTACH, which will see whether there are any.
        Err(error) if sqlstate(&error) == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => None,
        looked => looked.with_context(|| format!("look for rows of the period in the default partition {name}"))?,
    };
    let Some(found) = found else { return Ok(Way::Nothing) };
    let what = format!("{} rows of its period, {}, lie in the default partition {name}", found.count, found.range);
    let most = i64::try_from(work.max_rows).unwrap_or(i64::MAX);
    let by_hand = by_hand(create, work, written, rows);
    if !default.referenced_by.is_empty() {
        bail!(
            "{what}, and foreign keys point at them from {}: deleting them there would delete or orphan what refers to \
             them. In one transaction: set the rows of both aside, delete the referring rows, then these; create the \
             partitions of both tables; insert these, then the referring rows",
            default.referenced_by.join(", ")
        );
    }
    if work.mode == DefaultRows::Refuse {
        bail!("{what}, and default_rows is \"refuse\": set it to \"move\", or move them by hand: {by_hand}");
    }
    if found.count > most {
        bail!(
            "{what}; at most {most} are moved under lock: raise default_rows_max if the application can wait as long as \
             that takes, or move them by hand: {by_hand}"
        );
    }
    let Some(trigger) = work.immutable.as_ref().map(Ident::as_str).or(found.delete_trigger.as_deref()) else {
        if !found.published.is_empty() {
            bail!(
                "{what}. Subscribers of {} would be told that they are deleted there, and not that they are inserted into a \
                 table that is not attached yet: they would lose them. By hand they are inserted once it is: {}",
                found.published.join(", "),
                by_hand_published(create, work, written, rows)
            );
        }
        return Ok(Way::Move(found.count));
    };
    if default.is_parent {
        bail!(
            "{what}, which the trigger {trigger} keeps from being deleted and which is partitioned itself; by hand: {by_hand}"
        );
    }
    if found.all > most {
        bail!(
            "{what}. The trigger {trigger} stands on deleting there, so that all {} rows of it would have to be copied under \
             lock, and at most {most} are: raise default_rows_max if the application can wait as long as that takes",
            found.all
        );
    }
    if !found.published_apart.is_empty() {
        bail!(
            "{what}. The trigger {trigger} stands on deleting there, so that all rows of it would have to be copied into tables \
             that are not attached yet, which subscribers of {} would be given as new ones: take the trigger away for as \
             long as it takes to move them by hand: {}",
            found.published_apart.join(", "),
            by_hand_published(create, work, written, rows)
        );
    }
    if !found.own.is_empty() {
        bail!(
            "{what}. The trigger {trigger} stands on deleting there, so that it would have to be made anew, and it has what \
             its parent has not: {}. Give that to the parent, or take it away, and run the job again",
            found.own.join(", ")
        );
    }
    Ok(Way::Rebuild)
}

struct Found {
    count: i64,
    /// `from 2026-12-01 … to 2026-12-09 …`.
    range: String,
    /// All rows of the default partition, where a trigger makes them matter.
    all: i64,
    delete_trigger: Option<String>,
    /// What a new default partition would lack.
    own: Vec<String>,
    /// Publications that show rows as those of the parent: of a move only the half that happens in an attached table.
    published: Vec<String>,
    /// Publications that a table of ours is in before it is attached.
    published_apart: Vec<String>,
}

async fn inspect(session: &Session, create: &Create, work: &DefaultWork, rows: &Rows) -> Result<Option<Found>> {
    let from = from(work);
    let Rows { key, condition, .. } = rows;
    // DELETE would have to see every row of it.
    let count: i64 = session.query_one(&format!("SELECT count(*) FROM {from} WHERE {condition}"), &[]).await?.get(0);
    if count == 0 {
        return Ok(None);
    }
    let edge = |order| format!("(SELECT ({key})::text FROM {from} WHERE {condition} ORDER BY {key} {order} LIMIT 1)");
    let row = session.query_one(&format!("SELECT {}, {}", edge("ASC"), edge("DESC")), &[]).await?;
    let text = |at| row.get::<_, Option<String>>(at).unwrap_or_default();
    let range = format!("from {} to {}", text(0), text(1));
    let row = session
        .query_one(include_str!("default_own.sql"), &[&work.default.oid, &create.parent_oid])
        .await
        .context("look at its triggers")?;
    let delete_trigger: Option<String> = row.get(0);
    let all = if work.immutable.is_some() || delete_trigger.is_some() {
        session.query_one(&format!("SELECT count(*) FROM {from}"), &[]).await?.get(0)
    } else {
        0
    };
    let own = row.get(1);
    let mut sql = include_str!("default_published.sql").to_string();
    if session.version < 150_000 {
        // Whole schemas cannot be published there.
        sql = sql.replace("pg_catalog.pg_publication_namespace", "(SELECT NULL::oid AS pnpubid, NULL::oid AS pnnspid)");
    }
    let row = session
        .query_one(&sql, &[&work.default.oid, &create.parent_oid])
        .await
        .context("look at the publications that it is in")?;
    Ok(Some(Found { count, range, all, delete_trigger, own, published: row.get(0), published_apart: row.get(1) }))
}

/// The default partition, of which only itself has rows unless it is partitioned.
fn from(work: &DefaultWork) -> String {
    format!("{}{}", if work.default.is_parent { "" } else { "ONLY " }, work.default.name)
}

fn by_hand(create: &Create, work: &DefaultWork, written: &Written, rows: &Rows) -> String {
    format!(
        "BEGIN; LOCK TABLE ONLY {parent} IN SHARE ROW EXCLUSIVE MODE; \
         CREATE TABLE {name} (LIKE {parent} INCLUDING ALL EXCLUDING IDENTITY); \
         INSERT INTO {name} SELECT * FROM {from} WHERE {condition}; DELETE FROM {from} WHERE {condition}; \
         ALTER TABLE {parent} ATTACH PARTITION {name} {clause}; COMMIT; (with the columns by name where the two tables have \
         them in another order, and without generated ones)",
        parent = create.parent,
        name = create.name,
        from = from(work),
        condition = rows.said,
        clause = written.clause,
    )
}

/// The same where subscribers watch: inserted where they see it, and past no trigger.
fn by_hand_published(create: &Create, work: &DefaultWork, written: &Written, rows: &Rows) -> String {
    format!(
        "BEGIN; LOCK TABLE ONLY {parent} IN SHARE ROW EXCLUSIVE MODE; \
         CREATE TEMPORARY TABLE aside ON COMMIT DROP AS SELECT * FROM {from} WHERE {condition}; \
         DELETE FROM {from} WHERE {condition}; CREATE TABLE {name} (LIKE {parent} INCLUDING ALL EXCLUDING IDENTITY); \
         ALTER TABLE {parent} ATTACH PARTITION {name} {clause}; INSERT INTO {name} SELECT * FROM aside; COMMIT; (with the \
         columns by name where the two tables have them in another order, and without generated ones)",
        parent = create.parent,
        name = create.name,
        from = from(work),
        condition = rows.said,
        clause = written.clause,
    )
}

/// Moves the rows, under lock.
///
/// # Errors
/// What the server says; or a trigger or rule kept some of them.
pub async fn move_rows(ddl: &Ddl<'_>, work: &DefaultWork, rows: &Rows, apart: &Apart) -> Result<()> {
    let columns = columns(ddl, apart).await?;
    let (from, name, condition) = (from(work), &apart.name, &rows.condition);
    let before = count(ddl, &format!("{from} WHERE {condition}")).await?;
    ddl.run(&format!(
        "WITH gone AS (DELETE FROM {from} WHERE {condition} RETURNING {columns})
         INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM gone"
    ))
    .await
    .context("move the rows of the period out of the default partition")?;
    let after = count(ddl, &format!("ONLY {name}")).await?;
    if before != after {
        bail!(
            "{before} rows were to be moved out of {} and {after} arrived: nothing was changed",
            work.default.name.plain()
        );
    }
    Ok(())
}

/// Replaces the default partition by a new one of the same name, without the rows of the period; those go into `apart`,
/// which is attached. No trigger fires on a table that is not attached. The parent is locked by now.
///
/// # Errors
/// What the server says; or the numbers of rows differ.
pub async fn rebuild(
    ddl: &Ddl<'_>,
    create: &Create,
    work: &DefaultWork,
    written: &Written,
    apart: &Apart,
) -> Result<Vec<String>> {
    let rows = written.rows.as_ref().ok_or_else(|| anyhow!("the rows of the period cannot be told from others"))?;
    let (parent, default) = (&create.parent, &work.default.name);
    let old = TableName::new(default.schema.as_str(), format!("pgtend_default_{}", work.default.oid))?;
    ddl.run(&format!("ALTER TABLE {parent} DETACH PARTITION {default}"))
        .await
        .context("detach the default partition")?;
    ddl.run(&format!("ALTER TABLE {default} RENAME TO {}", old.name))
        .await
        .context("set the old default partition aside")?;
    let pattern = apart::look(ddl.own().await?, create.parent_oid, default, None, Some(work.default.oid)).await?;
    let new = apart::make(ddl, &pattern).await?;
    let columns = columns(ddl, apart).await?;
    let condition = &rows.condition;
    for (table, which) in [(&apart.name, format!("({condition})")), (default, format!("({condition}) IS NOT TRUE"))] {
        ddl.run(&format!(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM ONLY {old} WHERE {which}"
        ))
        .await
        .with_context(|| format!("copy rows of the default partition into {}", table.plain()))?;
    }
    let all = count(ddl, &format!("ONLY {old}")).await?;
    let copied = count(ddl, &format!("ONLY {}", apart.name)).await? + count(ddl, &format!("ONLY {default}")).await?;
    if all != copied {
        bail!("the default partition {} has {all} rows and {copied} were copied: nothing was changed", default.plain());
    }
    let mut warnings = apart::liken(ddl, apart).await?;
    warnings.extend(apart::liken(ddl, &new).await?);
    ddl.run(&format!("ALTER TABLE {parent} ATTACH PARTITION {} {}", apart.name, written.clause))
        .await
        .context("attach it")?;
    ddl.run(&format!("ALTER TABLE {parent} ATTACH PARTITION {default} DEFAULT"))
        .await
        .context("attach the new default partition")?;
    ddl.run(&format!("DROP TABLE {old} RESTRICT")).await.context("drop the old default partition")?;
    Ok(warnings)
}

/// The columns that take values, by name: the two tables may have them in another order; generated ones generate
/// themselves.
async fn columns(ddl: &Ddl<'_>, apart: &Apart) -> Result<String> {
    let rows = ddl
        .rows(
            "SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''",
            &[&apart.name.to_string()],
        )
        .await?;
    Ok(rows[0].get(0))
}

async fn count(ddl: &Ddl<'_>, from: &str) -> Result<i64> {
    Ok(ddl.rows(&format!("SELECT count(*) FROM {from}"), &[]).await?[0].get(0))
}
