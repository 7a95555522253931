//! Rows that stand for objects elsewhere: a row goes in the transaction in which its object went, and after it. So whatever
//! ends a run, there is at most a row without its object, which the next run finishes, and never an object without a row.
//!
//! A batch is a transaction:
//!
//! 1. the rows are locked, and looked at again: one that was extended meanwhile is no longer due;
//! 2. they are deleted, before any object is: so foreign keys and triggers say no while nothing is lost;
//! 3. addresses that other rows have are found, in one question for all of them: those objects stay;
//! 4. the objects are deleted;
//! 5. where some could not be, the deletion of rows is taken back, and done again without theirs.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::ToSql;

use super::one::Prepared;
use super::statement::Form;
use super::walk::{Found, Walk};
use super::work::Work;
use super::{Deletion, Ended, Host};
use crate::pg::{Ident, TableName};
use crate::testpoint;

/// So many rows a batch has at most.
pub const MOST_ROWS: u32 = 100;
/// So many objects in a row that the store does not answer for, and it is left alone.
const SILENT: u32 = 10;
/// So long may the transaction stand still, which it does while objects are deleted.
const IDLE: &str = "30s";
/// So much of an address is shown, in characters.
const SHOWN: usize = 200;

/// Where a row says which object it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objects {
    /// The column with the object's address.
    pub column: Ident,
    /// The table whose rows may share objects: all of it, partitions included.
    pub table: TableName,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Gone,
    /// It was not there, which is as good.
    Absent,
    /// The store does not let it go; why.
    Refused(String),
    /// The store does not answer; why.
    Silent(String),
    /// There was no time for it.
    Untried,
}

/// What became of the objects of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub deleted: u64,
    /// Objects that other rows have.
    pub kept: u64,
    /// Rows that stay.
    pub withheld: Vec<Withheld>,
    /// Whether there are rows that there was no time for.
    pub untried: bool,
    /// Whether the store answered for one, and for how many it did not.
    pub answered: bool,
    pub silent: u32,
}

/// A row that is due and stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    pub ctid: String,
    /// Its time, by an index.
    pub ends: Option<String>,
    /// Nothing where it has been told before.
    pub why: Option<Why>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Whether its object is none that may be deleted; else it could not be.
    pub elsewhere: bool,
    pub address: String,
    pub words: String,
}

/// The rows of a leaf that stay.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// By ctid.
    rows: BTreeSet<String>,
    elsewhere: Group,
    failed: Group,
    /// Objects in a row that the store did not answer for.
    silent: u32,
}

#[derive(Debug, Clone, Default)]
struct Group {
    rows: u64,
    example: Option<Why>,
}

/// A row of a batch as it was found.
struct Row {
    ctid: String,
    locked: bool,
    address: Option<String>,
    ends: Option<String>,
}

impl Kept {
    fn note(&mut self, outcome: &Outcome) {
        for Withheld { ctid, why, .. } in &outcome.withheld {
            let Some(why) = why else { continue };
            self.rows.insert(ctid.clone());
            let group = if why.elsewhere { &mut self.elsewhere } else { &mut self.failed };
            group.rows += 1;
            group.example.get_or_insert_with(|| why.clone());
        }
        self.silent = if outcome.answered { 0 } else { self.silent.saturating_add(outcome.silent) };
    }

    /// Whether the store has been silent for too long.
    pub fn is_given_up(&self) -> bool {
        self.silent >= SILENT
    }

    /// Which rows stay and why, if any do.
    pub fn said(&self) -> Option<String> {
        let group = |group: &Group, one: &str, many: &str| {
            let Why { address, words, .. } = group.example.as_ref()?;
            let shown: String = address.chars().take(SHOWN).collect();
            let rows = match group.rows {
                1 => format!("1 row stays, since {one}"),
                n => format!("{n} rows stay, since {many}, such as"),
            };
            Some(format!("{rows} {shown:?}: {words}"))
        };
        let failed = group(&self.failed, "its object could not be deleted,", "their objects could not be deleted");
        let elsewhere = group(
            &self.elsewhere,
            "the object it names is not to be touched,",
            "the objects they name are not to be touched",
        );
        let given_up = self.is_given_up().then(|| "the store is left alone until the next run".to_owned());
        let said: Vec<String> = [failed, elsewhere, given_up].into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

impl Objects {
    /// The rows of a batch, locked as far as that can be: ctid, whether it is locked, the object's address, the row's time
    /// where there is one, and the last of them as [`Found::last`] has it.
    fn claim(&self, of: &Deletion, walk: &Walk, version: i32, form: Form) -> String {
        let (from, condition, alias, column) = (of.from(), of.condition(), &of.alias, &self.column);
        let how = if form == Form::Waiting { "" } else { " SKIP LOCKED" };
        let (matching, last, ends) = (walk.matching(of, version), walk.last(), walk.ends());
        format!(
            "WITH matching AS MATERIALIZED (\n  {matching}\n),\nlocked AS MATERIALIZED (\n  \
             SELECT ctid AS tid, {alias}.{column}::pg_catalog.text AS address FROM {from}\n  \
             WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT tid FROM matching)) AND {condition} FOR UPDATE OF {alias}{how}\n)\n\
             SELECT matching.tid::pg_catalog.text, locked.tid IS NOT NULL, locked.address, {ends},\n  {last}\n\
             FROM matching LEFT JOIN locked ON locked.tid OPERATOR(pg_catalog.=) matching.tid"
        )
    }

    /// Deletes rows that are locked, by ctid; gives the ctids of those that are gone, and what went with them.
    fn delete(of: &Deletion) -> String {
        let (returned, followers) = of.followers();
        let (from, alias) = (of.from(), &of.alias);
        format!(
            "WITH gone AS (\n  DELETE FROM {from} WHERE ctid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]::pg_catalog.tid[]) RETURNING {alias}.ctid AS tid{returned}\n)\n\
             SELECT ARRAY(SELECT tid::pg_catalog.text FROM gone), {followers}"
        )
    }

    /// Which of some addresses rows have, to the letter, whatever the column's collation takes for the same.
    fn used(&self) -> String {
        let Self { column, table } = self;
        format!(
            "SELECT DISTINCT {column}::pg_catalog.text COLLATE pg_catalog.\"C\" FROM {table}\n\
             WHERE {column} OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[]) \
             AND {column}::pg_catalog.text COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])"
        )
    }
}

impl<H: Host> Work<'_, H> {
    /// A batch of rows with objects, up to its COMMIT.
    pub(super) async fn with_objects(
        &self,
        prepared: &mut Prepared,
        walk: &Walk,
        form: Form,
        objects: &Objects,
    ) -> Result<(Found, Vec<u64>), tokio_postgres::Error> {
        let (rows, last) = self.claim(prepared, walk, form, objects).await?;
        let mut found = Found { matching: rows.len() as u64, last, ..Found::default() };
        let mut outcome = Outcome::default();
        // Rows that may go, by ctid, each with the object that has to go first.
        let mut going: BTreeMap<&str, Option<H::Object>> = BTreeMap::new();
        for row in &rows {
            let withheld = |why| Withheld { ctid: row.ctid.clone(), ends: row.ends.clone(), why };
            if !row.locked {
                found.skipped.push(row.ctid.clone());
                continue;
            }
            if self.left.objects.rows.contains(&row.ctid) {
                outcome.withheld.push(withheld(None));
                continue;
            }
            match row.address.as_deref().filter(|address| !address.is_empty()) {
                None => drop(going.insert(&row.ctid, None)),
                Some(address) => match self.host.locate(address) {
                    Ok(object) => drop(going.insert(&row.ctid, Some(object))),
                    Err(words) => {
                        let why = Why { elsewhere: true, address: address.into(), words };
                        outcome.withheld.push(withheld(Some(why)));
                    }
                },
            }
        }
        let (gone, mut followers) = self.delete_rows(going.keys().copied()).await?;
        found.kept = going.keys().filter(|ctid| !gone.contains(**ctid)).map(|ctid| (*ctid).into()).collect();
        going.retain(|ctid, _| gone.contains(*ctid));

        let fates = self.remove(objects, &rows, &going, &mut outcome).await?;
        let mut stay: BTreeSet<&str> = BTreeSet::new();
        for row in &rows {
            let Some(Some(object)) = going.get(row.ctid.as_str()) else { continue };
            let why = match fates.get(object) {
                None | Some(Removed::Gone | Removed::Absent) => continue,
                Some(Removed::Untried) => None,
                Some(Removed::Refused(words) | Removed::Silent(words)) => Some(Why {
                    elsewhere: false,
                    address: row.address.clone().unwrap_or_default(),
                    words: words.clone(),
                }),
            };
            stay.insert(&row.ctid);
            match why {
                None => outcome.untried = true,
                why => outcome.withheld.push(Withheld { ctid: row.ctid.clone(), ends: row.ends.clone(), why }),
            }
        }
        found.gone = gone.len() as u64;
        if !stay.is_empty() {
            self.session.batch_execute("ROLLBACK TO SAVEPOINT before_rows").await?;
            let go = going.keys().copied().filter(|ctid| !stay.contains(ctid));
            let (gone, again) = self.delete_rows(go).await?;
            found.gone = gone.len() as u64;
            followers = again;
        }
        found.objects = outcome;
        Ok((found, followers))
    }

    /// Begins the transaction; the rows of the batch, in no order.
    async fn claim(
        &self,
        prepared: &mut Prepared,
        walk: &Walk,
        form: Form,
        objects: &Objects,
    ) -> Result<(Vec<Row>, Option<String>), tokio_postgres::Error> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL idle_in_transaction_session_timeout = '{IDLE}'; \
             SET CONSTRAINTS ALL IMMEDIATE"
        );
        self.session.batch_execute(&begin).await?;
        let statement = match &mut prepared.first {
            Some(statement) => &*statement,
            place @ None => {
                let sql = objects.claim(&self.deletion, walk, self.session.version, form);
                place.insert(self.session.prepare(&sql).await?)
            }
        };
        let (from, rows, to) = walk.step();
        let passed_over = walk.passed_over();
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![self.deletion.cutoff.parameter(), &from, &rows];
        match &to {
            Some(to) => parameters.push(to),
            None => parameters.push(&passed_over),
        }
        let rows = self.session.query(statement, &parameters).await?;
        let last = rows.first().and_then(|row| row.get(4));
        let row = |row: &tokio_postgres::Row| Row {
            ctid: row.get(0),
            locked: row.get(1),
            address: row.get(2),
            ends: row.get(3),
        };
        let rows = rows.iter().map(row).collect();
        self.session.batch_execute("SAVEPOINT before_rows").await?;
        Ok((rows, last))
    }

    /// Deletes rows that are locked; the ctids of those that are gone.
    async fn delete_rows<'s>(
        &self,
        ctids: impl Iterator<Item = &'s str>,
    ) -> Result<(BTreeSet<String>, Vec<u64>), tokio_postgres::Error> {
        let ctids: Vec<&str> = ctids.collect();
        if ctids.is_empty() {
            return Ok((BTreeSet::new(), vec![0; self.deletion.followed_by.len()]));
        }
        let row = self.session.query_one(&Objects::delete(&self.deletion), &[&ctids]).await?;
        let counts = row.get::<_, Vec<i64>>(1).into_iter().map(|n| u64::try_from(n).unwrap_or_default());
        Ok((row.get::<_, Vec<String>>(0).into_iter().collect(), counts.collect()))
    }

    /// Deletes the objects of rows that are deleted, but for those that other rows have; what became of each.
    async fn remove(
        &self,
        objects: &Objects,
        rows: &[Row],
        going: &BTreeMap<&str, Option<H::Object>>,
        outcome: &mut Outcome,
    ) -> Result<BTreeMap<H::Object, Removed>, tokio_postgres::Error> {
        // The addresses that an object may stand under in other rows: as here, and as they are usually written.
        let mut spelled: BTreeMap<String, &H::Object> = BTreeMap::new();
        let mut all: BTreeSet<&H::Object> = BTreeSet::new();
        for row in rows {
            let (Some(Some(object)), Some(address)) = (going.get(row.ctid.as_str()), &row.address) else { continue };
            spelled.insert(address.clone(), object);
            if all.insert(object) {
                spelled.extend(self.host.spelled(object).into_iter().map(|address| (address, object)));
            }
        }
        if all.is_empty() {
            return Ok(BTreeMap::new());
        }
        let addresses: Vec<&String> = spelled.keys().collect();
        let used = self.session.query(&objects.used(), &[&addresses]).await?;
        let used = used.iter().filter_map(|row| spelled.get(row.get::<_, &str>(0)).copied());
        let used: BTreeSet<&H::Object> =
            used.chain(all.iter().copied().filter(|object| self.odd.contains(*object))).collect();
        outcome.kept = used.len() as u64;
        let to_go: Vec<H::Object> = all.difference(&used).copied().cloned().collect();
        if to_go.is_empty() {
            return Ok(BTreeMap::new());
        }
        testpoint::reach("objects.claimed").await;
        let fates = self.host.remove(&to_go).await;
        testpoint::reach("objects.removed").await;
        let count = |which: fn(&Removed) -> bool| fates.iter().filter(|fate| which(fate)).count();
        outcome.deleted = count(|fate| *fate == Removed::Gone) as u64;
        outcome.answered = count(|fate| matches!(fate, Removed::Gone | Removed::Absent | Removed::Refused(_))) > 0;
        outcome.silent = u32::try_from(count(|fate| matches!(fate, Removed::Silent(_)))).unwrap_or(u32::MAX);
        Ok(to_go.into_iter().zip(fates).collect())
    }

    /// A batch was committed. Gives an end where the store has been silent for too long.
    pub(super) fn note_objects(&mut self, outcome: &Outcome) -> Option<Ended<H::Reason>> {
        self.deletion.objects.as_ref()?;
        self.left.objects.note(outcome);
        let stayed = outcome.withheld.iter().filter(|row| row.why.is_some()).count() as u64;
        self.host.cleared(outcome.deleted, outcome.kept, stayed);
        let why = self.left.objects.said().filter(|_| self.left.objects.is_given_up())?;
        Some(Ended::Stayed { why, moved: self.left.moved })
    }

    /// What a run that ends early would not have told.
    pub(super) fn tell_objects(&self, ended: &anyhow::Result<Ended<H::Reason>>) {
        if let (Some(said), false) = (self.left.objects.said(), matches!(ended, Ok(Ended::Done | Ended::Stayed { .. })))
        {
            self.host.warn(format!("{}: {said}", self.deletion.leaf.plain()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(elsewhere: bool, ctid: &str, silent: u32) -> Outcome {
        let why = Why { elsewhere, address: format!("s3://b/{ctid}\n"), words: "no".into() };
        let withheld = vec![Withheld { ctid: ctid.into(), ends: None, why: Some(why) }];
        Outcome { withheld, silent, ..Outcome::default() }
    }

    #[test]
    fn rows_that_stay_are_counted_and_one_is_named() {
        let mut kept = Kept::default();
        assert_eq!(kept.said(), None);
        kept.note(&outcome(false, "(0,1)", 0));
        let said = "1 row stays, since its object could not be deleted, \"s3://b/(0,1)\\n\": no";
        assert_eq!(kept.said().as_deref(), Some(said));
        kept.note(&outcome(true, "(0,2)", 0));
        kept.note(&outcome(true, "(0,3)", 0));
        let said = kept.said().unwrap();
        let more = "; 2 rows stay, since the objects they name are not to be touched, such as \"s3://b/(0,2)\\n\": no";
        assert!(said.ends_with(more), "{said}");
    }

    #[test]
    fn a_store_is_given_up_when_it_answers_for_nothing_and_not_when_it_does_now_and_then() {
        let mut kept = Kept::default();
        for n in 0..SILENT {
            assert!(!kept.is_given_up());
            kept.note(&outcome(false, &format!("(0,{n})"), 1));
        }
        assert!(kept.is_given_up() && kept.said().unwrap().ends_with("left alone until the next run"));
        let mut kept = Kept::default();
        for n in 0..3 * SILENT {
            kept.note(&outcome(false, &format!("(0,{n})"), SILENT - 1));
            kept.note(&Outcome { answered: true, ..Outcome::default() });
        }
        assert!(!kept.is_given_up());
    }
}
