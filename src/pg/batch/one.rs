//! One batch: its statement, prepared once for each walk and form, and what came of it.

use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::walk::{Found, Walk};
use super::work::Work;
use super::{Form, Host};
use crate::testpoint;

/// The statements of a walk, by form.
#[derive(Default)]
pub(super) struct Prepared {
    pub first: Option<Statement>,
    whole: Option<Statement>,
    eager: Option<Statement>,
    locking: Option<Statement>,
}

impl<H: Host> Work<'_, H> {
    /// Whether the next batch takes a range of blocks whole.
    pub(super) fn takes_whole(&self, walk: &Walk, form: Form) -> bool {
        form == Form::Eager && walk.is_whole() && self.session.version >= 140_000
    }

    /// One batch, committed.
    pub(super) async fn batch(
        &self,
        prepared: &mut Prepared,
        walk: &Walk,
        form: Form,
    ) -> Result<(Found, Vec<u64>), tokio_postgres::Error> {
        testpoint::reach("batch.begins").await;
        // Its triggers find what they find for everybody else.
        self.session.by_their_path().await?;
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
            blind: whole && row.get(6),
            ..Found::default()
        };
        Ok((found, row.get::<_, Vec<i64>>(5).into_iter().map(count).collect()))
    }
}
