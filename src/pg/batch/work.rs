//! The work on one leaf: two passes, batch by batch, with a breath between.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::Instant;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::lag::{Lag, Replicas};
use super::walk::{Found, Walk, block_of};
use super::{Access, Batch, Deletion, Ended, Form, Host, Into, Left, MOST_LEFT, ready};
use crate::pg::{Session, Sessions, blockers};
use crate::testpoint;

/// The share of a batch's time that is rested after it, unless `pause` says how long.
const REST: f64 = 0.25;
/// So long is a lock waited for in the first pass, by a batch that has others locked meanwhile.
const EAGER_LOCK_TIMEOUT: Duration = Duration::from_millis(20);
/// So many tries in a row may fail before the leaf is given up.
const TRIES: u32 = 8;
/// So many, where it may be that somebody else was quicker, and most likely is not.
const FEW_TRIES: u32 = 3;

pub(super) struct Work<'a, H: Host> {
    pub host: &'a H,
    pub sessions: &'a Sessions,
    pub deletion: Deletion,
    pub settings: &'a Batch,
    pub session: Session,
    pub replicas: Replicas,
    pub left: Left,
}

/// The statements of a walk, by form.
#[derive(Default)]
pub(super) struct Prepared {
    pub first: Option<Statement>,
    whole: Option<Statement>,
    eager: Option<Statement>,
    locking: Option<Statement>,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Locked,
    Smaller,
    Again,
    /// Not all that was sent has arrived where it should go.
    Short,
    /// A count that would be more than its type holds.
    TooLarge,
    Lost,
    Fatal,
}

impl Trouble {
    pub(super) fn of(error: &tokio_postgres::Error, into: Option<&Into>) -> Self {
        match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => Trouble::Locked,
            // A cancelled statement is ours: too long for one batch. A stop has been looked for before.
            Some(code)
                if [
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::T_R_DEADLOCK_DETECTED,
                    SqlState::OUT_OF_MEMORY,
                    SqlState::QUERY_CANCELED,
                ]
                .contains(code) =>
            {
                Trouble::Smaller
            }
            // A row that refers to ours came in between: the next look leaves ours out.
            Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => Trouble::Again,
            // A trigger, or somebody who has just deleted the row of a summary that was to be updated.
            Some(code) if *code == SqlState::DIVISION_BY_ZERO && into.is_some() => Trouble::Short,
            Some(code)
                if *code == SqlState::NUMERIC_VALUE_OUT_OF_RANGE && into.is_some_and(|i| i.summary().is_some()) =>
            {
                Trouble::TooLarge
            }
            Some(code) if *code == SqlState::ADMIN_SHUTDOWN || code.code().starts_with("08") => Trouble::Lost,
            None if error.is_closed() => Trouble::Lost,
            _ => Trouble::Fatal,
        }
    }
}

impl<H: Host> Work<'_, H> {
    /// Both passes, and both again where the table was written anew meanwhile.
    pub async fn all(&mut self) -> Result<Ended<H::Reason>> {
        loop {
            let file = self.file().await?;
            if self.left.file != Some(file) {
                // What is known by ctid is of the file that was.
                self.left =
                    Left { file: Some(file), full: self.left.full.clone(), moved: self.left.moved, ..Left::default() };
            }
            if let Some(ended) = self.passes().await? {
                return Ok(ended);
            }
            if self.file().await? == file {
                break;
            }
            tracing::info!(table = %self.deletion.leaf, "its rows lie elsewhere since the work began: from the start again");
        }
        Ok(match self.stayed().await? {
            None => Ended::Done,
            Some(why) => Ended::Stayed { why, moved: self.left.moved },
        })
    }

    /// Nothing, once they are through.
    async fn passes(&mut self) -> Result<Option<Ended<H::Reason>>> {
        if !self.left.passed {
            let mut walk = match &self.deletion.access {
                Access::Index(_) if self.deletion.objects.is_some() => Walk::index_with_objects(self.settings),
                Access::Index(_) => Walk::index(self.settings),
                Access::Blocks => match self.blocks().await? {
                    Some(blocks) => Walk::blocks(0, blocks, self.settings),
                    None => return self.locked_by(&[]).await.map(Some),
                },
            };
            if let Some(ended) = self.walk(&mut walk, Form::Eager).await? {
                return Ok(Some(ended));
            }
            self.left.blocks.extend(walk.skipped().iter().filter_map(|ctid| block_of(ctid)));
            self.left.kept.extend(walk.kept().iter().cloned());
            // A walk that had to pass over too many rows is not through; what is beyond them is for the next try.
            self.left.passed = !walk.gave_up();
        }
        if self.left.kept.len() <= MOST_LEFT
            && let Some(ended) = self.second_pass().await?
        {
            return Ok(Some(ended));
        }
        if !self.left.kept.is_empty() {
            return Err(anyhow!(
                "{}{} rows that are due were locked and deleted, and are there still: a BEFORE DELETE trigger kept them by \
                 returning NULL; see \\d {} in psql",
                if self.left.passed { "" } else { "more than " },
                self.left.kept.len(),
                self.deletion.leaf
            ));
        }
        if self.left.passed {
            return Ok(None);
        }
        let why = format!("more than {MOST_LEFT} rows were locked by others; what is beyond them is next");
        Ok(Some(Ended::Locked(why)))
    }

    /// Back to what was passed over: first to what is free by now, then waiting for what is not.
    async fn second_pass(&mut self) -> Result<Option<Ended<H::Reason>>> {
        for block in self.left.blocks.clone() {
            loop {
                let mut walk = Walk::blocks(block, block + 1, self.settings);
                if let Some(ended) = self.walk(&mut walk, Form::Careful).await? {
                    return Ok(Some(ended));
                }
                self.left.kept.extend(walk.kept().iter().cloned());
                if walk.skipped().is_empty() {
                    break;
                }
                // Whoever holds them lets go within the lock time-out, or is named. What was changed and is still due is
                // seen by the next look only.
                let skipped = walk.skipped().to_vec();
                let mut walk = Walk::blocks(block, block + 1, self.settings);
                match self.walk(&mut walk, Form::Waiting).await? {
                    Some(Ended::Locked(_)) => return self.locked_by(&skipped).await.map(Some),
                    Some(ended) => return Ok(Some(ended)),
                    None => {}
                }
            }
            self.left.blocks.remove(&block);
        }
        Ok(None)
    }

    pub(super) async fn locked_by(&self, ctids: &[String]) -> Result<Ended<H::Reason>> {
        if let Some(by) = self.summary_locked_by().await? {
            return Ok(Ended::Locked(by));
        }
        let by = blockers::of_rows(&self.session, &self.deletion.from(), self.deletion.oid, ctids).await?;
        let what = match ctids.len() {
            0 => "the table is locked by".to_owned(),
            1 => "a row that is due is locked by".to_owned(),
            n => format!("{n} rows that are due are locked, some by"),
        };
        let others = self.left.blocks.len().saturating_sub(1);
        let more = if others > 0 { format!("; rows in {others} more blocks are left") } else { String::new() };
        Ok(Ended::Locked(format!("{what} {by}{more}")))
    }

    /// Walks to the end, or says why not.
    async fn walk(&mut self, walk: &mut Walk, form: Form) -> Result<Option<Ended<H::Reason>>> {
        let lock_timeout = if form == Form::Eager {
            EAGER_LOCK_TIMEOUT.min(self.session.lock_timeout)
        } else {
            self.session.lock_timeout
        };
        self.session.batch_execute(&format!("SET lock_timeout = {}", lock_timeout.as_millis().max(1))).await?;
        let mut prepared = Prepared::default();
        let asks = self.deletion.guarded || self.deletion.spares() || self.deletion.objects.is_some();
        let always_careful = form == Form::Eager && asks;
        let mut careful = always_careful;
        let (mut failures, mut alike, mut last) = (0, 0, Trouble::Fatal);
        while !walk.is_over() {
            if let Some(ended) = self.breathe().await? {
                return Ok(Some(ended));
            }
            let now = if careful { Form::Careful } else { form };
            let begun = Instant::now();
            let tried = self.batch(&mut prepared, walk, now).await;
            let took = begun.elapsed();
            match tried {
                Ok((found, followers)) => {
                    failures = 0;
                    careful = always_careful;
                    testpoint::reach("batch.committed").await;
                    if found.gone > 0 {
                        self.left.moved = true;
                        self.host.deleted(found.gone, &followers);
                    }
                    if let Some(ended) = self.note_objects(&found.objects) {
                        return Ok(Some(ended));
                    }
                    walk.advance(found, took);
                    let rest = self.settings.pause.map_or_else(|| took.mul_f64(REST), |pause| pause.0);
                    if walk.is_over() {
                        break;
                    }
                    if let Some(reason) = self.host.pause(rest).await {
                        return Ok(Some(Ended::Stopped(reason)));
                    }
                }
                Err(error) => {
                    if let Some(reason) = self.host.requested() {
                        return Ok(Some(Ended::Stopped(reason)));
                    }
                    failures += 1;
                    let trouble = Trouble::of(&error, self.deletion.into.as_ref());
                    alike = if trouble == last { alike + 1 } else { 1 };
                    last = trouble;
                    if trouble == Trouble::Locked && now == Form::Eager {
                        // Somebody has one of the rows: the same again, passing over those.
                        careful = true;
                        continue;
                    }
                    // Whoever adds to a row of the same summary lets go of it soon.
                    let soon = form == Form::Eager && self.deletion.into.is_some() && alike < FEW_TRIES;
                    if trouble == Trouble::Locked && !soon {
                        return self.locked_by(&[]).await.map(Some);
                    }
                    if trouble == Trouble::TooLarge && self.leave_full_groups(walk, now).await {
                        prepared = Prepared::default();
                        failures = 0;
                        continue;
                    }
                    let again = match trouble {
                        Trouble::Smaller => walk.cut() || error.code() != Some(&SqlState::QUERY_CANCELED),
                        Trouble::Again | Trouble::Lost | Trouble::Locked => true,
                        Trouble::Short | Trouble::TooLarge => alike < FEW_TRIES,
                        Trouble::Fatal => false,
                    };
                    if !again || failures >= TRIES {
                        return Err(self.explain(error));
                    }
                    tracing::info!(table = %self.deletion.leaf, "a batch failed and is tried again: {error}");
                    if let Some(reason) = self.host.pause(jittered(failures, self.session.pid)).await {
                        return Ok(Some(Ended::Stopped(reason)));
                    }
                    if trouble == Trouble::Lost {
                        self.renew().await?;
                        prepared = Prepared::default();
                        self.session
                            .batch_execute(&format!("SET lock_timeout = {}", lock_timeout.as_millis().max(1)))
                            .await?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Another session for one that is lost.
    pub(super) async fn renew(&mut self) -> Result<()> {
        // First out of the pool: in a small one there is no room for both.
        self.session.give_up();
        self.session = ready(self.sessions, &self.deletion.access).await?;
        Ok(())
    }

    /// The safe point: a reason to stop, rows that are to stay, and replicas that are behind.
    async fn breathe(&mut self) -> Result<Option<Ended<H::Reason>>> {
        let mut told = false;
        loop {
            if let Some(reason) = self.host.requested() {
                return Ok(Some(Ended::Stopped(reason)));
            }
            let lag = match self.replicas.look(&self.session).await {
                // The batch meets with the same, opens another, and comes here again.
                Err(_) if self.session.is_closed() => return Ok(None),
                lag => lag?,
            };
            match lag {
                Lag::Fine => break,
                Lag::Unseen => {
                    self.host.warn(
                        "how far the replicas are behind cannot be seen, so the work does not wait for them: \
                         GRANT pg_monitor to this role, or set max_replica_lag = \"0s\""
                            .into(),
                    );
                    break;
                }
                Lag::Behind(words) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(table = %self.deletion.leaf, "waiting: {words}");
                    }
                    if let Some(reason) = self.host.pause(Duration::from_secs(1)).await {
                        return Ok(Some(Ended::Stopped(reason)));
                    }
                }
            }
        }
        // Last, so that it is of just before the batch.
        match self.host.held(&self.session).await {
            Err(_) if self.session.is_closed() => Ok(None),
            held => Ok(held?.map(Ended::Held)),
        }
    }

    /// Whether the next batch takes a range of blocks whole.
    pub(super) fn takes_whole(&self, walk: &Walk, form: Form) -> bool {
        form == Form::Eager && walk.is_whole() && self.session.version >= 140_000
    }

    /// One batch, committed.
    async fn batch(
        &self,
        prepared: &mut Prepared,
        walk: &Walk,
        form: Form,
    ) -> Result<(Found, Vec<u64>), tokio_postgres::Error> {
        testpoint::reach("batch.begins").await;
        if let Some(objects) = &self.deletion.objects {
            let tried = self.with_objects(prepared, walk, form, objects).await;
            return self.end(tried).await;
        }
        let tried = self.statement(prepared, walk, form).await;
        if self.deletion.spares() { self.end(tried).await } else { tried }
    }

    /// Its statement is prepared with the first of its form, which may have to wait for the table's lock.
    async fn statement(
        &self,
        prepared: &mut Prepared,
        walk: &Walk,
        form: Form,
    ) -> Result<(Found, Vec<u64>), tokio_postgres::Error> {
        let cutoff = self.deletion.cutoff.parameter();
        let (from, rows, to) = walk.step();
        let passed_over = walk.passed_over();
        let whole = self.takes_whole(walk, form);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = match &to {
            Some(to) if whole => vec![cutoff, &from, to],
            Some(to) => vec![cutoff, &from, &rows, to],
            None => vec![cutoff, &from, &rows, &passed_over],
        };
        let locked;
        if self.deletion.spares() {
            locked = self.lock_first(prepared, walk, form, &parameters).await?;
            parameters.push(&locked);
        }
        let (place, sql) = match form {
            Form::Eager if whole => (&mut prepared.whole, self.deletion.whole_blocks()),
            Form::Eager => (&mut prepared.eager, walk.sql(&self.deletion, self.session.version, form)),
            Form::Careful | Form::Waiting => {
                (&mut prepared.locking, walk.sql(&self.deletion, self.session.version, form))
            }
        };
        let statement = match place {
            Some(statement) => &*statement,
            None => place.insert(self.session.prepare(&sql).await?),
        };
        parameters.extend(self.deletion.into.iter().flat_map(|into| into.parameters(&self.deletion)));
        let row = self.session.query_one(statement, &parameters).await?;
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        let found = Found {
            matching: count(row.get(0)),
            gone: count(row.get(1)),
            last: row.get(2),
            skipped: row.get(3),
            kept: row.get(4),
            ..Found::default()
        };
        Ok((found, row.get::<_, Vec<i64>>(5).into_iter().map(count).collect()))
    }

    /// PostgreSQL's words, and what to do where it is known.
    fn explain(&self, error: tokio_postgres::Error) -> anyhow::Error {
        let advice = match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE && self.deletion.into.is_some() => {
                let into = self.deletion.into.as_ref().map(|into| into.table().to_string()).unwrap_or_default();
                format!(
                    "the role may not do this to {0} or to {into}, or row security hides rows from it: \
                     GRANT SELECT, UPDATE, DELETE ON {0} TO it, GRANT SELECT, INSERT, UPDATE ON {into} TO it, or \
                     ALTER ROLE … BYPASSRLS",
                    self.deletion.leaf
                )
            }
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => format!(
                "the role may not do this to {0}, or row security hides rows from it: \
                 GRANT SELECT, UPDATE, DELETE ON {0} TO it, or ALTER ROLE … BYPASSRLS",
                self.deletion.leaf
            ),
            Some(code) if *code == SqlState::FOREIGN_KEY_VIOLATION => {
                let key = error.as_db_error().map(|e| (e.constraint().unwrap_or("?"), e.table().unwrap_or("?")));
                let (constraint, table) = key.unwrap_or_default();
                let there = self.deletion.into.as_ref().filter(|into| into.table().name.as_str() == table);
                if let Some(into) = there {
                    let said = format!(
                        "constraint {constraint} of {} refuses what arrives there, and the rows stay; {}",
                        into.table().plain(),
                        self.said()
                    );
                    return anyhow::Error::new(error).context(said);
                }
                format!(
                    "rows of table {table} still refer to rows that are due (constraint {constraint}); delete those first, or \
                     leave the rows out with where; rows that a table refers to directly are left out where the role has SELECT on it"
                )
            }
            Some(code) if *code == SqlState::QUERY_CANCELED => format!(
                "even the smallest batch took longer than {} s; an index is missing for the time, on a foreign key, or on \
                 the column of objects",
                super::BATCH_TIMEOUT.as_secs()
            ),
            Some(code) if *code == SqlState::DIVISION_BY_ZERO && self.deletion.into.is_some() => format!(
                "fewer rows arrived than were sent, so that none was moved; does a trigger keep rows out? {}",
                self.said()
            ),
            Some(code) if *code == SqlState::NUMERIC_VALUE_OUT_OF_RANGE && self.deletion.into.is_some() => format!(
                "a value is too large for its column there, such as the count or a serial number, and the rows stay; {}",
                self.said()
            ),
            _ => self.said(),
        };
        anyhow::Error::new(error).context(advice)
    }

    /// What a batch does.
    fn said(&self) -> String {
        let leaf = &self.deletion.leaf;
        match &self.deletion.into {
            None => format!("delete a batch of {leaf}"),
            Some(Into::Summary(summary)) => format!("add a batch of {leaf} to {}", summary.table),
            Some(into) => format!("move a batch of {leaf} to {}", into.table()),
        }
    }
}

/// A rest that grows, and is another for each session.
fn jittered(failures: u32, pid: i32) -> Duration {
    let spread = 0.5 + f64::from(pid.rem_euclid(97)) / 97.0;
    Duration::from_millis(20).mul_f64(spread) * 2u32.pow(failures.min(6))
}
