//! What there is to dump: the server, the database, and what the names of the config stand for.

use anyhow::{Context as _, Result, ensure};

use super::config::Backup;
use super::manifest::{Extension, Identity, Locale};
use crate::pg::{Ident, Session, TableName};

/// The schema of the history.
const OURS: &str = "pgtend";

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
    /// What the config names and is not there.
    pub absent: Vec<Absent>,
}

/// A name of the config that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// `exclude_tables`
    pub key: &'static str,
    pub name: String,
}

impl Absent {
    pub const MEND: &str = "mend the name, or take it out";

    /// Whether it was to be in the dump, which `pg_dump` refuses to make then.
    pub fn is_wanted(&self) -> bool {
        matches!(self.key, "schemas" | "tables")
    }

    /// What that means.
    pub fn said(&self) -> String {
        let what = if self.key.ends_with("schemas") { "schema" } else { "table" };
        let so = match self.key {
            _ if self.is_wanted() => "no dump can be made",
            "exclude_table_data" => "no rows are left out for it",
            _ => "nothing is left out for it",
        };
        format!("there is no {what} {}, which `{}` names, so {so}", self.name, self.key)
    }
}

impl Names {
    /// # Errors
    /// What the dump was to be of is not there.
    pub fn see_that_all_are_there(&self) -> Result<()> {
        let absent: Vec<_> = self.absent.iter().filter(|absent| absent.is_wanted()).map(Absent::said).collect();
        ensure!(absent.is_empty(), "{}; {}", absent.join("; "), Absent::MEND);
        Ok(())
    }
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
    let mut absent = Vec::new();
    for (key, schemas) in [("schemas", &backup.schemas), ("exclude_schemas", &backup.exclude_schemas)] {
        let missing = missing(session, schemas).await?;
        absent.extend(missing.into_iter().map(|schema| Absent { key, name: schema.as_str().to_owned() }));
    }
    Ok(Names {
        tables: expand(session, "tables", &backup.tables, &mut absent).await?,
        exclude_tables: expand(session, "exclude_tables", &backup.exclude_tables, &mut absent).await?,
        exclude_table_data: expand(session, "exclude_table_data", &backup.exclude_table_data, &mut absent).await?,
        absent,
    })
}

/// Those of the schemas that are not there. Ours may be yet to come: the first run makes it.
async fn missing<'a>(session: &Session, schemas: &'a [Ident]) -> Result<Vec<&'a Ident>> {
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.query("SELECT nspname::text FROM pg_catalog.pg_namespace", &[]).await;
    let there: Vec<String> = rows.context("look for schemas")?.iter().map(|row| row.get(0)).collect();
    let is_there = |schema: &Ident| schema.as_str() == OURS || there.iter().any(|name| name == schema.as_str());
    Ok(schemas.iter().filter(|schema| !is_there(schema)).collect())
}

async fn expand(
    session: &Session,
    key: &'static str,
    tables: &[TableName],
    absent: &mut Vec<Absent>,
) -> Result<Vec<TableName>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows = session.query(include_str!("expand.sql"), &[&schemas, &names]).await.context("look for partitions")?;
    let found = rows.iter().map(|row| TableName::found(row.get::<_, String>(0), row.get::<_, String>(1)));
    let found: Vec<TableName> = found.collect::<Result<_, _>>()?;
    // Those of our schema are made by the first run.
    let missing = tables.iter().filter(|table| table.schema.as_str() != OURS && !found.contains(table));
    absent.extend(missing.map(|table| Absent { key, name: table.plain() }));
    let mut all = tables.to_vec();
    for table in found {
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

    #[test]
    fn a_name_that_stands_for_nothing_is_told_with_what_comes_of_it() {
        let absent = |key, name: &str| Absent { key, name: name.into() };
        let mut names = Names { absent: vec![absent("exclude_table_data", "public.nope")], ..Names::default() };
        assert_eq!(
            names.absent[0].said(),
            "there is no table public.nope, which `exclude_table_data` names, so no rows are left out for it"
        );
        names.see_that_all_are_there().unwrap();
        names.absent.extend([absent("schemas", "nope"), absent("tables", "public.nope")]);
        assert_eq!(
            names.see_that_all_are_there().unwrap_err().to_string(),
            "there is no schema nope, which `schemas` names, so no dump can be made; there is no table public.nope, which \
             `tables` names, so no dump can be made; mend the name, or take it out"
        );
    }
}
