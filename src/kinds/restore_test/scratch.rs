//! The scratch database and the roles made for it: marked before anything is in them, and gone whatever comes.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::mark::{BEGINNING, Known, Mark, Whose};
use super::plan::{Rights, Room, Server};
use crate::kinds::backup::directory::spool;
use crate::kinds::backup::restore::target::literal;
use crate::pg::{Conninfo, Database, Ident, Limits, Link, connect};

/// Making and dropping a database wait for the server's disk.
const LIMITS: Limits = Limits::new(Duration::from_secs(600), Duration::from_secs(30));

/// A connection to the database of the config that stands for the server.
///
/// # Errors
/// It cannot be reached.
pub async fn control(server: &Conninfo, application_name: &str) -> Result<Link> {
    let database = Database::new(server.database_name(), server.clone(), 1)?;
    let (link, _) = database.connect(application_name, LIMITS).await?;
    Ok(link)
}

/// What there is on the server.
///
/// # Errors
/// It does not answer.
pub async fn look(client: &Client, place: String, mark: &Mark) -> Result<Server> {
    let row = client.query_one(include_str!("server.sql"), &[]).await.context("ask what we may do there")?;
    let roles = client
        .query(
            "SELECT r.rolname::text FROM pg_catalog.pg_roles r
             WHERE pg_catalog.starts_with(pg_catalog.shobj_description(r.oid, 'pg_authid'), $1) ORDER BY 1",
            &[&mark.comment("")],
        )
        .await
        .context("look for roles that were left")?;
    let databases = known(client, BEGINNING).await?;
    // What was left goes first, and what is free then is not known yet.
    let left = databases.iter().any(|known| matches!(mark.whose(known), Whose::Ours));
    Ok(Server {
        place,
        room: row.get::<_, Option<String>>("folder").filter(|_| !left).and_then(room),
        role: row.get("role"),
        may: Rights { all: row.get("superuser"), databases: row.get("makes_databases"), roles: row.get("makes_roles") },
        standby: row.get("standby"),
        databases,
        roles: roles.iter().map(|row| row.get(0)).collect(),
    })
}

/// What is free where the server of this host has its databases, unless the folder is another one's with the same name.
fn room(folder: String) -> Option<Room> {
    let there = Path::new(&folder);
    match there.join("PG_VERSION").metadata() {
        // As a rule it is closed to others.
        Err(error) if error.kind() != ErrorKind::PermissionDenied => return None,
        _ => {}
    }
    let free = spool::free(there).ok().filter(|_| there.exists())?;
    Some(Room { folder, free })
}

async fn known(client: &Client, beginning: &str) -> Result<Vec<Known>> {
    let rows = client.query(include_str!("databases.sql"), &[&beginning]).await;
    let rows = rows.context("look for scratch databases that were left")?;
    let known = |row: &tokio_postgres::Row| Known {
        name: row.get("name"),
        comment: row.get("comment"),
        closed: row.get("closed"),
    };
    Ok(rows.iter().map(known).collect())
}

/// Marks a database that was made closed, and opens it, to our own role alone: what is restored without owners and grants is
/// ours, and functions that run as their owner have lost the REVOKE that kept others from calling them.
///
/// # Errors
/// The server refuses.
pub async fn open(client: &Client, name: &Ident, comment: &str) -> Result<()> {
    let comment = literal(comment);
    let sql = format!(
        "BEGIN; COMMENT ON DATABASE {name} IS {comment}; REVOKE ALL ON DATABASE {name} FROM PUBLIC; \
         ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true CONNECTION LIMIT -1; COMMIT"
    );
    client.batch_execute(&sql).await.with_context(|| format!("mark database {name} as a scratch database"))
}

/// Drops a database that is this job's, with whoever is connected to it; one that is not there is gone already.
///
/// # Errors
/// It is somebody else's, or the server refuses.
pub async fn drop(server: &Conninfo, application_name: &str, mark: &Mark, name: &str) -> Result<()> {
    let control = control(server, application_name).await?;
    let client = &control.client;
    let Some(known) = known(client, name).await?.into_iter().find(|known| known.name == name) else {
        return Ok(());
    };
    if let Whose::Others(why) = mark.whose(&known) {
        bail!("database {name:?} is not of this job, and is left as it is: {why}");
    }
    if client.batch_execute("SET client_connection_check_interval = 0").await.is_err() {
        tracing::debug!("the server has no client_connection_check_interval");
    }
    let quoted = Ident::new(name)?;
    // Once begun it is the server's to finish, also when we are gone.
    let sql = format!("DROP DATABASE IF EXISTS {quoted} WITH (FORCE)");
    let dropped = match client.batch_execute(&sql).await {
        Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
            unsubscribe(server, application_name, name).await?;
            client.batch_execute(&sql).await
        }
        other => other,
    };
    dropped.with_context(|| format!("drop scratch database {quoted}"))
}

/// A database with subscriptions cannot be dropped. Those of a dump are connected to nothing.
async fn unsubscribe(server: &Conninfo, application_name: &str, name: &str) -> Result<()> {
    let (link, _) = connect(&server.with_database(name), application_name, LIMITS).await?;
    let rows = link
        .client
        .query(
            "SELECT s.subname::text FROM pg_catalog.pg_subscription s
             WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())",
            &[],
        )
        .await?;
    for row in rows {
        let name = Ident::found(row.get::<_, String>(0))?;
        for sql in [
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {name}"),
        ] {
            link.client.batch_execute(&sql).await.with_context(|| format!("drop subscription {name}"))?;
        }
    }
    Ok(())
}

/// Drops roles that were made for a test. They own nothing once its database is gone.
///
/// # Errors
/// One of them has come to own something since, or the server refuses.
pub async fn drop_roles(server: &Conninfo, application_name: &str, mark: &Mark, roles: &[String]) -> Result<()> {
    if roles.is_empty() {
        return Ok(());
    }
    let control = control(server, application_name).await?;
    let marked = look(&control.client, String::new(), mark).await?.roles;
    let names: Vec<String> = marked
        .iter()
        .filter(|role| roles.contains(role))
        .map(|role| Ident::found(role.as_str()).map(|role| role.to_string()))
        .collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Ok(());
    }
    // At once: they may be members of each other.
    let sql = format!("DROP ROLE {}", names.join(", "));
    control.client.batch_execute(&sql).await.context("drop the roles that were made for the test")
}
