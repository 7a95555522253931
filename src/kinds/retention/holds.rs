//! `pgtend.hold`: tables and partitions that are left alone, because somebody has said so.
//!
//! Holds fail closed: where they cannot be read, where one of them cannot be understood, or where the table is missing and
//! could not be made, everything is held.

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, Utc};

use crate::kinds::rows::{TableFacts, Watch};
use crate::pg::{Session, TableName, ddl, explain, ours};
use crate::run::Step;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub relation: TableName,
    pub reason: String,
    /// Nothing: for ever.
    pub until: Option<DateTime<Utc>>,
    /// Whether there is anything under that name.
    pub exists: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds(pub Vec<Hold>);

impl Hold {
    /// `held until 2027-01-01 00:00:00Z: audit of 2026`
    pub fn sentence(&self) -> String {
        match self.until {
            Some(until) => format!("held until {}: {}", until.format("%Y-%m-%d %H:%M:%SZ"), self.reason),
            None => format!("held: {}", self.reason),
        }
    }

    /// Whether it is over.
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Holds {
    /// The hold on a table or partition at `now`.
    pub fn on(&self, relation: &TableName, now: DateTime<Utc>) -> Option<&Hold> {
        self.0.iter().find(|hold| hold.relation == *relation && !hold.is_over(now))
    }

    /// The hold on any of these.
    pub fn on_any<'a>(
        &self,
        relations: impl IntoIterator<Item = &'a TableName>,
        now: DateTime<Utc>,
    ) -> Option<(&'a TableName, &Hold)> {
        relations.into_iter().find_map(|relation| Some((relation, self.on(relation, now)?)))
    }

    /// Holds on nothing that exists: somebody believes that something is kept, and it is not.
    pub fn astray(&self, now: DateTime<Utc>) -> Vec<Step> {
        let astray = self.0.iter().filter(|hold| !hold.exists && !hold.is_over(now));
        let note = |hold: &Hold| {
            let reason = format!("a row of pgtend.hold names it, and there is no such table ({})", hold.sentence());
            Step::warn(hold.relation.plain(), reason)
        };
        astray.map(note).collect()
    }
}

/// The holds; or why they cannot be read, and what to do: then nothing may be touched.
///
/// # Errors
/// The connection is gone.
pub async fn read(session: &Session) -> Result<Result<Holds, String>> {
    session.by_our_path().await.context("look for pgtend.hold")?;
    let row = session.query_one(include_str!("holds_there.sql"), &[]).await.context("look for pgtend.hold")?;
    let role: String = row.get("role");
    if !row.get::<_, bool>("is_there") {
        // The daemon makes it before it runs anything; `plan` may come first.
        return Ok(if row.get("could_be_made") {
            Ok(Holds::default())
        } else {
            Err(format!(
                "there is no table pgtend.hold, so that nobody can say what is to be left alone, and role {role} cannot make \
                 it: {}",
                row.get::<_, &str>("grant"),
            ))
        });
    }
    if let Some(stranger) = ours::stranger(session).await.context("look whose schema pgtend is")? {
        return Ok(Err(stranger.to_string()));
    }
    let mut holds = match rows(session, &role).await? {
        Ok(Holds(holds)) => holds,
        Err(why) => return Ok(Err(why)),
    };
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        holds.iter().map(|hold| (hold.relation.schema.as_str(), hold.relation.name.as_str())).unzip();
    let there = session
        .query(
            "SELECT n.oid IS NOT NULL AND EXISTS (
                 SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = w.name)
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, place)
             LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
             ORDER BY w.place",
            &[&schemas, &names],
        )
        .await
        .context("look up what is held")?;
    for (hold, row) in holds.iter_mut().zip(there) {
        hold.exists = row.get(0);
    }
    Ok(Ok(Holds(holds)))
}

/// What stands in the table, which is there; not whether what it names is.
async fn rows(session: &Session, role: &str) -> Result<Result<Holds, String>> {
    let rows = match session.query(include_str!("holds.sql"), &[]).await {
        Ok(rows) => rows,
        Err(error) => {
            let error = anyhow::Error::from(error);
            // The server may have said that it ends the session, and the driver not have noticed yet.
            if ddl::sqlstate(&error).is_none() || ddl::is_lost(&error) || session.is_closed() {
                return Err(error.context("read pgtend.hold"));
            }
            return Ok(Err(format!(
                "pgtend.hold, which says what is to be left alone, cannot be read: {}; GRANT USAGE ON SCHEMA pgtend TO \
                 {role}; GRANT SELECT ON pgtend.hold TO {role};",
                explain(&error),
            )));
        }
    };
    let mut holds = Vec::with_capacity(rows.len());
    for row in rows {
        let relation: String = row.get("relation");
        let reason: String = row.get("reason");
        match relation.parse() {
            Ok(relation) => {
                holds.push(Hold { relation, reason, until: row.get("until"), exists: false });
            }
            Err(error) => {
                return Ok(Err(format!(
                    "a row of pgtend.hold cannot be understood, and may mean anything: relation is {relation:?} (reason \
                     {reason:?}): {error}; correct it, or DELETE FROM pgtend.hold WHERE relation = …"
                )));
            }
        }
    }
    Ok(Ok(Holds(holds)))
}

/// A table and all that it is part of: whoever holds one of these holds its rows.
///
/// # Errors
/// The catalog cannot be read.
pub async fn lineage(session: &Session, oid: u32) -> Result<Vec<TableName>> {
    let rows = session.query(include_str!("lineage.sql"), &[&oid]).await.context("look at what it is part of")?;
    rows.iter().map(|row| Ok(TableName::found(row.get::<_, &str>(0), row.get::<_, &str>(1))?)).collect()
}

/// Leaves out what is held, leaf by leaf, and says so.
///
/// # Errors
/// The catalog cannot be read.
pub async fn leave_out(
    session: &Session,
    holds: &Holds,
    facts: &mut TableFacts,
    now: DateTime<Utc>,
) -> Result<Vec<Step>> {
    let mut notes = Vec::new();
    if holds.0.iter().all(|hold| hold.is_over(now)) {
        return Ok(notes);
    }
    let mut free = Vec::with_capacity(facts.leaves.len());
    for leaf in facts.leaves.drain(..) {
        match holds.on_any(&lineage(session, leaf.leaf.oid).await?, now) {
            None => free.push(leaf),
            Some((name, hold)) if *name == leaf.leaf.name => {
                notes.push(Step::held(leaf.leaf.name.plain(), hold.sentence()));
            }
            Some((name, hold)) => {
                notes.push(Step::held(leaf.leaf.name.plain(), format!("{} is {}", name.plain(), hold.sentence())));
            }
        }
    }
    facts.leaves = free;
    Ok(notes)
}

/// Looks at the holds while rows go, before each batch: somebody who sees the wrong rows going has a way to stop it.
#[derive(Debug)]
pub struct Watcher<'a> {
    pub now: DateTime<Utc>,
    /// What the plan knew the table to be part of.
    pub lineage: &'a [TableName],
}

impl Watch for Watcher<'_> {
    async fn held(&self, session: &Session, leaf: u32) -> Result<Option<String>> {
        let holds = rows(session, "this role").await?.map_err(|why| anyhow!("{why}"))?;
        if holds.0.iter().all(|hold| hold.is_over(self.now)) {
            return Ok(None);
        }
        let lineage = lineage(session, leaf).await?;
        let held = holds.on_any(lineage.iter().chain(self.lineage), self.now);
        Ok(held.map(|(name, hold)| format!("{} is {}", name.plain(), hold.sentence())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(relation: &str, until: Option<&str>) -> Hold {
        Hold {
            relation: relation.parse().unwrap(),
            reason: "audit".into(),
            until: until.map(|until| until.parse().unwrap()),
            exists: relation != "gone",
        }
    }

    #[test]
    fn a_hold_is_on_what_it_names_until_it_is_over() {
        let holds = Holds(vec![
            hold("a", Some("2026-01-01T00:00:00Z")),
            hold("b", None),
            hold("gone", None),
            hold("\"Odd\".\"Na me\"", Some("2026-01-01T00:00:01Z")),
        ]);
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let on = |name: &str| holds.on(&name.parse().unwrap(), now).map(Hold::sentence);
        assert_eq!(on("a"), None, "it has just ended");
        assert_eq!(on("public.b").unwrap(), "held: audit");
        assert_eq!(on("other.b"), None);
        assert_eq!(on("\"Odd\".\"Na me\"").unwrap(), "held until 2026-01-01 00:00:01Z: audit");
        let names: Vec<TableName> = ["a", "b"].iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(holds.on_any(&names, now).unwrap().0, &names[1]);
        assert_eq!(holds.astray(now).iter().map(|step| step.target.as_str()).collect::<Vec<_>>(), ["public.gone"]);
    }
}
