//! Rows that are to move, and that others could come to refer to by a key that would delete or change those with them.
//!
//! A statement goes by what was committed when it began. Whoever refers to a row after that, and is waited for because
//! the reference locks the row, would not be seen, and `ON DELETE CASCADE` would take the new reference along. So the rows
//! are locked by a statement of its own, beside which nobody can come to refer to them, and looked at by the next one, which
//! sees all that was committed until then.

use tokio_postgres::types::ToSql;

use super::Host;
use super::one::Prepared;
use super::statement::Form;
use super::walk::Walk;
use super::work::Work;

/// So long may the transaction stand still between its statements, as when this process does: rows are locked.
const IDLE: &str = "10s";

impl<H: Host> Work<'_, H> {
    /// The rows of a batch, locked, in a transaction that is begun for it; by ctid.
    pub(super) async fn lock_first(
        &self,
        prepared: &mut Prepared,
        walk: &Walk,
        form: Form,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        // Whatever the role's default is: each statement is to see what was committed before it.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL idle_in_transaction_session_timeout = '{IDLE}'"
        );
        self.session.batch_execute(&begin).await?;
        let statement = match &mut prepared.first {
            Some(statement) => &*statement,
            place @ None => {
                let matching = walk.matching(&self.deletion, self.session.version);
                place.insert(self.session.prepare(&self.deletion.lock_first(&matching, form)).await?)
            }
        };
        let rows = self.session.query(statement, parameters).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Ends that transaction, as its statements ended.
    pub(super) async fn end<T>(&self, tried: Result<T, tokio_postgres::Error>) -> Result<T, tokio_postgres::Error> {
        match tried {
            Ok(done) => self.session.batch_execute("COMMIT").await.map(|()| done),
            Err(error) => {
                // On a connection that is gone it is rolled back already.
                let _ = self.session.batch_execute("ROLLBACK").await;
                Err(error)
            }
        }
    }
}
