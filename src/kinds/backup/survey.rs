//! What there is to dump: the server, the database, and what the names of the config stand for.

use anyhow::{Context as _, Result};

use super::config::Backup;
use super::manifest::{Extension, Identity, Locale};
use crate::pg::{Session, TableName};

/// The server and the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub version_num: i32,
    /// `15.18`
    pub version: String,
    pub database: String,
    pub database_oid: u32,
    /// Bytes on its disk, indexes included.
    pub size: u64,
    pub system_identifier: String,
    pub timeline: i32,
    pub standby: bool,
    /// Whether the role may read the passwords of roles.
    pub reads_passwords: bool,
    pub extensions: Vec<Extension>,
    pub locale: Locale,
}

impl Server {
    pub fn identity(&self) -> Identity {
        Identity { system_identifier: self.system_identifier.clone(), database_oid: self.database_oid }
    }
}

/// The tables of the config, with their partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub tables: Vec<TableName>,
    pub exclude_tables: Vec<TableName>,
    pub exclude_table_data: Vec<TableName>,
}

/// # Errors
/// The server does not answer, or keeps from the role what it is.
pub async fn server(session: &Session) -> Result<Server> {
    let row = session.query_one(include_str!("survey.sql"), &[]).await.context("ask what there is to dump")?;
    let (names, versions): (Vec<String>, Vec<String>) = (row.get("extension_names"), row.get("extension_versions"));
    let extensions = names.into_iter().zip(versions).map(|(name, version)| Extension { name, version });
    Ok(Server {
        version_num: row.get("version_num"),
        version: row.get("version"),
        database: row.get("database"),
        database_oid: row.get("database_oid"),
        size: u64::try_from(row.get::<_, i64>("size")).unwrap_or_default(),
        system_identifier: row.get("system_identifier"),
        timeline: row.get("timeline"),
        standby: row.get("standby"),
        reads_passwords: row.get("reads_passwords"),
        extensions: extensions.collect(),
        locale: Locale {
            encoding: row.get("encoding"),
            collate: row.get("collate"),
            ctype: row.get("ctype"),
            provider: row.get("provider"),
            locale: row.get("locale"),
            rules: row.get("rules"),
        },
    })
}

/// # Errors
/// The server does not answer.
pub async fn names(session: &Session, backup: &Backup) -> Result<Names> {
    Ok(Names {
        tables: expand(session, &backup.tables).await?,
        exclude_tables: expand(session, &backup.exclude_tables).await?,
        exclude_table_data: expand(session, &backup.exclude_table_data).await?,
    })
}

async fn expand(session: &Session, tables: &[TableName]) -> Result<Vec<TableName>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows = session.query(include_str!("expand.sql"), &[&schemas, &names]).await.context("look for partitions")?;
    let mut all = tables.to_vec();
    for row in rows {
        let table = TableName::found(row.get::<_, String>(0), row.get::<_, String>(1))?;
        if !all.contains(&table) {
            all.push(table);
        }
    }
    Ok(all)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn server() -> Server {
        Server {
            version_num: 150_018,
            version: "15.18".into(),
            database: "app".into(),
            database_oid: 16_384,
            size: 1 << 30,
            system_identifier: "7400000000000000001".into(),
            timeline: 1,
            standby: false,
            reads_passwords: true,
            extensions: Vec::new(),
            locale: Locale {
                encoding: "UTF8".into(),
                collate: "C".into(),
                ctype: "C".into(),
                provider: Some("c".into()),
                locale: None,
                rules: None,
            },
        }
    }
}
