//! Where archived rows go: whether the table takes them as they are, and making it where it is missing.

use anyhow::{Context as _, Result, anyhow};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::fit::{self, Column, Making, Place, Target};
use super::plan::Refusal;
use crate::kinds::partitions::apart::{self, Pattern};
use crate::kinds::{Applied, Context};
use crate::pg::batch::{Archive, Into};
use crate::pg::ddl::{self, Ddl};
use crate::pg::{Ident, Session, TableName, blockers, catalog};
use crate::testpoint;

/// How rows of `source` go to `to`, and what has to be made for it; or why they cannot. `time` is the column that says how
/// old a row is, where it is one.
///
/// # Errors
/// The catalog cannot be read.
pub async fn look(
    session: &Session,
    source: &TableName,
    to: &TableName,
    time: Option<&Ident>,
) -> Result<Result<(Into, Option<Making>), Refusal>> {
    let Some(root) = catalog::relation(session, source).await? else {
        // Said better where its rows are looked for.
        let none = Archive { table: to.clone(), oid: 0, columns: Vec::new(), types: Vec::new() };
        return Ok(Ok((Into::Archive(none), None)));
    };
    let mut leaves = Vec::new();
    for leaf in catalog::leaves(session, root.oid).await? {
        leaves.push((leaf.name, columns(session, leaf.oid).await?));
    }
    let wanted = Target {
        source: source.clone(),
        columns: columns(session, root.oid).await?,
        leaves,
        to: to.clone(),
        time: time.cloned(),
    };
    let place = place(session, root.oid, to).await?;
    Ok(fit::fit(&wanted, &place))
}

/// What is there under the name of the archive.
async fn place(session: &Session, source: u32, to: &TableName) -> Result<Place> {
    let sql = catalog::who_may_act(include_str!("archive_place.sql"), session.version);
    let row = session
        .query_one(&sql, &[&source, &to.schema.as_str(), &to.name.as_str()])
        .await
        .with_context(|| format!("look up {}", to.plain()))?;
    let oid: Option<u32> = row.get("oid");
    Ok(Place {
        role: ident(&row, "role")?,
        source_owner: ident(&row, "source_owner")?,
        may_act: row.get("may_act"),
        has_schema: row.get("has_schema"),
        owner_creates: row.get("owner_creates"),
        role_creates: row.get("role_creates"),
        role_uses: row.get("role_uses"),
        key: row.get::<_, Vec<String>>("key").into_iter().map(|name| Ok(Ident::found(name)?)).collect::<Result<_>>()?,
        row_security: row.get("source_row_security"),
        table: match oid {
            None => None,
            Some(oid) => Some(fit::There {
                oid,
                kind: catalog::character(row.get("relkind")),
                is_source: oid == source,
                inserts: row.get("inserts"),
                hidden: row.get("hidden"),
                is_part: row.get("is_part"),
                unlogged: row.get("unlogged"),
                refers: row.get("refers"),
                columns: columns(session, oid).await?,
            }),
        },
    })
}

fn ident(row: &Row, column: &str) -> Result<Ident> {
    Ok(Ident::found(row.get::<_, String>(column))?)
}

async fn columns(session: &Session, oid: u32) -> Result<Vec<Column>> {
    let rows = session.query(include_str!("archive_columns.sql"), &[&oid]).await.context("look up columns")?;
    let column = |row: &Row| {
        Ok(Column {
            name: ident(row, "name")?,
            type_name: row.get("type"),
            not_null: row.get("not_null"),
            has_default: row.get("has_default"),
            generated: row.get("generated"),
        })
    };
    rows.iter().map(column).collect()
}

/// Makes the archive, unless somebody has meanwhile.
///
/// # Errors
/// The server refuses.
pub async fn make(cx: &Context, making: &Making) -> Result<Applied> {
    let session = cx.session().await?;
    let made = on(&session, cx, making).await;
    session.close().await;
    made
}

async fn on(session: &Session, cx: &Context, making: &Making) -> Result<Applied> {
    let Making { source, to, .. } = making;
    if catalog::relation(session, to).await?.is_some() {
        return Ok(Applied::Done);
    }
    let oid = catalog::relation(session, source)
        .await?
        .ok_or_else(|| anyhow!("{} is gone since the plan was made", source.plain()))?
        .oid;
    let ddl = Ddl::begin(session, &making.owner).await?;
    let error = match steps(&ddl, making, oid, session.version).await {
        Ok(warnings) => {
            ddl.commit().await?;
            testpoint::reach("archive.created").await;
            for warning in warnings {
                cx.report.warn(warning);
            }
            return Ok(Applied::Done);
        }
        Err(error) => error,
    };
    ddl.rollback().await;
    if let Some(reason) = cx.stop.requested() {
        return Ok(Applied::Stopped(reason));
    }
    if ddl::is_locked(&error) || ddl::is_over(&error) {
        return Ok(Applied::Locked(blockers::of_table(session, oid).await?));
    }
    let taken = [SqlState::DUPLICATE_TABLE, SqlState::UNIQUE_VIOLATION];
    if ddl::sqlstate(&error).is_some_and(|code| taken.contains(code)) && catalog::relation(session, to).await?.is_some()
    {
        // Somebody was quicker. Whether it takes our rows is seen before one is moved.
        return Ok(Applied::Locked(format!("{} has just been made by somebody else", to.plain())));
    }
    Err(error.context(format!("make {}", to.plain())))
}

async fn steps(ddl: &Ddl<'_>, making: &Making, source: u32, version: i32) -> Result<Vec<String>> {
    let pattern = Pattern::new(making.to.clone(), making.create(version), source);
    let made = apart::make(ddl, &pattern).await?;
    for index in making.indexes() {
        ddl.run(&index).await.context("index it")?;
    }
    let warnings = apart::liken(ddl, &made).await?;
    for grant in making.grants() {
        ddl.run(&grant).await.context("grant what moving rows needs")?;
    }
    Ok(warnings)
}
