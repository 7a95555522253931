//! Whether an archive takes the rows of a table as they are, column by column; and what a missing one will be. Pure.

use super::plan::Refusal;
use crate::pg::batch::{Archive, Into};
use crate::pg::catalog::kind_name;
use crate::pg::{Ident, TableName};

/// A column, as far as a row that is moved has to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: Ident,
    /// As PostgreSQL writes it: `character varying(50)`.
    pub type_name: String,
    pub not_null: bool,
    /// A default, or a number of its own.
    pub has_default: bool,
    pub generated: bool,
}

/// Rows that are to move, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub source: TableName,
    pub columns: Vec<Column>,
    /// The tables that hold the rows: children by inheritance may have more columns.
    pub leaves: Vec<(TableName, Vec<Column>)>,
    pub to: TableName,
    /// The column that says how old a row is.
    pub time: Option<Ident>,
}

/// What is there under the archive's name, and who may do what there.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "privileges, each by itself")]
pub struct Place {
    pub role: Ident,
    pub source_owner: Ident,
    /// Whether our role may act as the source's owner.
    pub may_act: bool,
    pub has_schema: bool,
    pub owner_creates: bool,
    pub role_creates: bool,
    pub role_uses: bool,
    /// The columns of the source's primary key.
    pub key: Vec<Ident>,
    /// Whether the source has row security.
    pub row_security: bool,
    pub table: Option<There>,
}

/// A relation that has the archive's name.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct There {
    pub oid: u32,
    pub kind: char,
    pub is_source: bool,
    pub inserts: bool,
    /// Row security keeps our role from inserting.
    pub hidden: bool,
    /// It is a child or a partition of the source, or has one of those tables for a partition.
    pub is_part: bool,
    /// The table of it whose rows a crash of the server would take, where it would not take those of the source.
    pub unlogged: Option<String>,
    /// The foreign key by which its rows refer to those of the source.
    pub refers: Option<String>,
    pub columns: Vec<Column>,
}

/// An archive that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making {
    pub source: TableName,
    pub to: TableName,
    /// As whom.
    pub owner: Ident,
    source_owner: Ident,
    role: Ident,
    key: Vec<Ident>,
    time: Option<Ident>,
    row_security: bool,
}

impl Making {
    /// The columns as they are, without what would go on counting, computing or checking for rows that are past.
    pub fn create(&self, version: i32) -> String {
        let compression = if version >= 140_000 { " INCLUDING COMPRESSION" } else { "" };
        format!("CREATE TABLE {} (LIKE {} INCLUDING STORAGE{compression} INCLUDING COMMENTS)", self.to, self.source)
    }

    /// For whoever looks an archived row up, and for a policy of the archive's own. None is unique: what a key allowed to be
    /// used again may come twice.
    pub fn indexes(&self) -> Vec<String> {
        let on = |columns: &[Ident]| {
            let names: Vec<_> = columns.iter().map(ToString::to_string).collect();
            format!("CREATE INDEX ON {} ({})", self.to, names.join(", "))
        };
        let mut indexes = Vec::new();
        if !self.key.is_empty() {
            indexes.push(on(&self.key));
        }
        if let Some(time) = self.time.as_ref().filter(|time| self.key.first() != Some(time)) {
            indexes.push(on(std::slice::from_ref(time)));
        }
        indexes
    }

    /// What it needs beyond the rights of the source.
    pub fn grants(&self) -> Vec<String> {
        let mut grants = Vec::new();
        if self.role != self.owner {
            grants.push(format!("GRANT SELECT, INSERT ON {} TO {}", self.to, self.role));
        }
        if self.source_owner != self.owner {
            grants.push(format!("GRANT ALL ON {} TO {}", self.to, self.source_owner));
        }
        grants
    }

    /// For the plan: what will be there.
    pub fn said(&self) -> String {
        let security = if self.row_security { ", row security and policies" } else { "" };
        format!(
            "{} is made first, as {}, with the grants{security} of {}",
            self.to.plain(),
            self.owner,
            self.source.plain()
        )
    }
}

/// How the rows go there, and what has to be made; or why they cannot.
///
/// # Errors
/// The reason, and what would change it.
pub fn fit(target: &Target, place: &Place) -> Result<(Into, Option<Making>), Refusal> {
    let (source, to) = (target.source.plain(), target.to.plain());
    let refused = |why: String, mend: String| Err(Refusal { why, mend });
    for (leaf, columns) in &target.leaves {
        if let Some(more) = columns.iter().find(|column| !target.columns.iter().any(|own| own.name == column.name)) {
            return refused(
                format!("{} has a column {} that {source} lacks, and that would be lost", leaf.plain(), more.name),
                format!("archive {} by itself", leaf.plain()),
            );
        }
    }
    let Some(there) = &place.table else {
        let making = making(target, place)?;
        // As it will be is looked at once it is there.
        let columns = target.columns.iter().map(|column| column.name.clone()).collect();
        let archive = Archive { table: target.to.clone(), oid: 0, columns, types: Vec::new() };
        return Ok((Into::Archive(archive), Some(making)));
    };
    if there.is_source {
        return refused(format!("{source} would be archived to itself"), "name another table with to".into());
    }
    if !matches!(there.kind, 'r' | 'p') {
        return refused(format!("{to} is {}, not a table", kind_name(there.kind)), "name another table with to".into());
    }
    if there.is_part {
        // What leaves would come back, again and again.
        return refused(
            format!("{to} and {source} have a table in common, by inheritance or as a partition"),
            "name another table with to, or take it out: NO INHERIT, or DETACH PARTITION".into(),
        );
    }
    if let Some(unlogged) = &there.unlogged {
        return refused(
            format!("{unlogged} is not logged: the server empties it after a crash, and what was moved there is lost"),
            format!("ALTER TABLE {unlogged} SET LOGGED;"),
        );
    }
    if let Some(constraint) = &there.refers {
        // ON DELETE CASCADE would take what has just arrived.
        return refused(
            format!("rows of {to} refer to rows of {source} (constraint {constraint}), which are to leave"),
            format!("drop that constraint of {}", target.to),
        );
    }
    if !place.role_uses {
        let (schema, role) = (&target.to.schema, &place.role);
        return refused(
            format!("role {role} may not use schema {schema}"),
            format!("GRANT USAGE ON SCHEMA {schema} TO {role};"),
        );
    }
    if !there.inserts {
        let role = &place.role;
        return refused(
            format!("role {role} lacks INSERT on {to}"),
            format!("GRANT INSERT ON {} TO {role};", target.to),
        );
    }
    if there.hidden {
        return refused(
            format!("row security of {to} stands between it and role {}", place.role),
            format!("run as its owner, or ALTER ROLE {} BYPASSRLS;", place.role),
        );
    }
    let (mut columns, mut types) = (Vec::new(), Vec::new());
    for own in &target.columns {
        let name = &own.name;
        let Some(theirs) = there.columns.iter().find(|column| column.name == *name) else {
            return refused(
                format!("{to} has no column {name}, and {source} has"),
                format!("ALTER TABLE {} ADD COLUMN {name} {};", target.to, own.type_name),
            );
        };
        if theirs.type_name != own.type_name {
            return refused(
                format!("column {name} is {} in {to}, and {} in {source}", theirs.type_name, own.type_name),
                format!("ALTER TABLE {} ALTER COLUMN {name} TYPE {};", target.to, own.type_name),
            );
        }
        match (theirs.generated, own.generated) {
            // From the same columns; whatever it comes to there.
            (true, true) => {}
            (true, false) => {
                return refused(
                    format!("column {name} of {to} is generated, and would not hold what {source} has in it"),
                    format!("ALTER TABLE {} ALTER COLUMN {name} DROP EXPRESSION;", target.to),
                );
            }
            (false, _) => {
                columns.push(name.clone());
                types.push(format!("{} {}", name.as_str(), own.type_name));
            }
        }
    }
    let needs = |column: &&Column| column.not_null && !column.has_default && !column.generated;
    let strangers = there.columns.iter().filter(|theirs| !target.columns.iter().any(|own| own.name == theirs.name));
    if let Some(column) = strangers.filter(needs).map(|column| &column.name).next() {
        return refused(
            format!("column {column} of {to} cannot be NULL, has no default, and {source} has none of that name"),
            format!("ALTER TABLE {} ALTER COLUMN {column} DROP NOT NULL;", target.to),
        );
    }
    Ok((Into::Archive(Archive { table: target.to.clone(), oid: there.oid, columns, types }), None))
}

fn making(target: &Target, place: &Place) -> Result<Making, Refusal> {
    let Place { role, source_owner, .. } = place;
    let schema = &target.to.schema;
    let refused = |why: String, mend: String| Err(Refusal { why, mend });
    if !place.has_schema {
        return refused(
            format!("there is no schema {schema} for {}", target.to.plain()),
            format!("CREATE SCHEMA {schema} AUTHORIZATION {source_owner}; GRANT USAGE ON SCHEMA {schema} TO {role};"),
        );
    }
    if !place.role_uses {
        return refused(
            format!("role {role} may not use schema {schema}"),
            format!("GRANT USAGE ON SCHEMA {schema} TO {role};"),
        );
    }
    let owner = if place.may_act && place.owner_creates {
        source_owner
    } else if place.role_creates {
        role
    } else {
        return refused(
            format!("there is no table {}, and role {role} cannot make it", target.to.plain()),
            format!("create it, or GRANT CREATE ON SCHEMA {schema} TO {role};"),
        );
    };
    Ok(Making {
        source: target.source.clone(),
        to: target.to.clone(),
        owner: owner.clone(),
        source_owner: source_owner.clone(),
        role: role.clone(),
        key: place.key.clone(),
        time: target.time.clone(),
        row_security: place.row_security,
    })
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
