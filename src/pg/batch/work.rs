//! The work on one leaf: two passes, batch by batch, with a breath between. What a batch is stands in `one`, what its errors
//! mean in `trouble`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::lag::{Lag, Replicas};
use super::one::Prepared;
use super::trouble::{Trouble, jittered};
use super::walk::{Walk, block_of};
use super::{Access, Batch, Deletion, Ended, Form, Host, Left, MOST_LEFT, ready};
use crate::pg::{Session, Sessions, blockers, ddl, words};
use crate::testpoint;

/// The share of a batch's time that is rested after it, unless `pause` says how long.
const REST: f64 = 0.25;
/// So long is a lock waited for in the first pass, by a batch that has others locked meanwhile.
const EAGER_LOCK_TIMEOUT: Duration = Duration::from_millis(20);
/// So many tries in a row may fail before the leaf is given up.
const TRIES: u32 = 8;
/// So many, where it may be that somebody else was quicker, and most likely is not.
const FEW_TRIES: u32 = 3;

/// So often rows are looked for again that somebody changed meanwhile; who goes on changing them has them with the next run.
const LAST_LOOKS: u32 = 3;

pub(super) struct Work<'a, H: Host> {
    pub host: &'a H,
    pub sessions: &'a Sessions,
    pub deletion: Deletion,
    pub settings: &'a Batch,
    pub session: Session,
    pub replicas: Replicas,
    pub left: Left,
    /// Objects that a row of the table names in a way in which nobody else would look for them.
    pub odd: BTreeSet<H::Object>,
}

impl<H: Host> Work<'_, H> {
    /// Both passes, and both again where the table was written anew meanwhile, or where rows are due that went from before
    /// us to behind us.
    pub async fn all(&mut self) -> Result<Ended<H::Reason>> {
        let mut looks = LAST_LOOKS;
        if let Some(objects) = self.deletion.objects.clone() {
            let odd = self.oddly_spelled(&objects).await;
            if let (Err(_), Some(reason)) = (&odd, self.host.requested()) {
                return Ok(Ended::Stopped(reason));
            }
            self.odd = match odd {
                Err(error) if ddl::is_locked(&error) => return self.locked_by(&[]).await,
                Err(error) if self.session.is_closed() || ddl::is_lost(&error) => {
                    self.renew().await?;
                    self.oddly_spelled(&objects).await?
                }
                odd => odd?,
            };
        }
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
            if self.file().await? != file {
                tracing::info!(table = %self.deletion.leaf, "its rows lie elsewhere since the work began: from the start again");
                continue;
            }
            if looks == 0 || !self.overlooked().await {
                break;
            }
            looks -= 1;
            self.left.passed = false;
            tracing::info!(table = %self.deletion.leaf, "rows that are due were changed meanwhile, and are looked for again");
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
        self.session.by_our_path().await?;
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
        let mut always_careful = form == Form::Eager && asks;
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
                    let again = found.blind;
                    if again {
                        // A trigger has come since the plan: the same range once more, in the form that sees what it keeps.
                        self.deletion.guarded = true;
                        always_careful = true;
                    }
                    careful = always_careful;
                    testpoint::reach("batch.committed").await;
                    if found.gone > 0 {
                        self.left.moved = true;
                        self.host.deleted(found.gone, &followers);
                    }
                    if let Some(ended) = self.note_objects(&found.objects) {
                        return Ok(Some(ended));
                    }
                    if !again {
                        walk.advance(found, took);
                    }
                    if walk.is_choked() {
                        let said = self.left.objects.said().unwrap_or_default();
                        let why = format!(
                            "{said}; they are too many of one time to be passed over, and what is behind them waits"
                        );
                        return Ok(Some(Ended::Stayed { why, moved: self.left.moved }));
                    }
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
                    tracing::info!(table = %self.deletion.leaf, "a batch failed and is tried again: {}", words::said(&error));
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

    async fn look_at_replicas(&mut self) -> Result<Lag> {
        if !self.replicas.is_time() {
            return Ok(Lag::Fine);
        }
        self.session.by_our_path().await?;
        self.replicas.look(&self.session).await
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
            let lag = match self.look_at_replicas().await {
                // The batch meets with the same, opens another, and comes here again.
                Err(error) if self.session.is_closed() || ddl::is_lost(&error) => return Ok(None),
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
            Err(error) if self.session.is_closed() || ddl::is_lost(&error) => Ok(None),
            held => Ok(held?.map(Ended::Held)),
        }
    }
}
