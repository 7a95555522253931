//! Where a leaf lies, and what may be there that was passed. A ctid, and with it the way through the blocks, is of one file: VACUUM FULL, CLUSTER, TRUNCATE and
//! pg_repack put the rows that are left into another, in another order, and may do so between two batches.

use anyhow::{Context as _, Result, anyhow};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::trouble::Trouble;
use super::work::Work;
use super::{Access, Host, Into};
use crate::pg::TableName;

impl<H: Host> Work<'_, H> {
    /// The leaf's file.
    ///
    /// # Errors
    /// There is no such table any more, or another has its name: what was looked at when the plan was made says nothing
    /// about it.
    pub(super) async fn file(&mut self) -> Result<u32> {
        let leaf = self.deletion.leaf.clone();
        let row = match self.ask_file(&leaf).await {
            Err(error) if Trouble::of(&error, None) == Trouble::Lost => {
                self.renew().await?;
                self.ask_file(&leaf).await
            }
            other => other,
        };
        let row = row.with_context(|| format!("look where {} lies", leaf.plain()))?;
        row.and_then(|row| row.get(0))
            .ok_or_else(|| anyhow!("{} is not the table any more that it was when the plan was made", leaf.plain()))
    }

    async fn ask_file(&self, leaf: &TableName) -> Result<Option<Row>, tokio_postgres::Error> {
        self.session.by_our_path().await?;
        self.session
            .query_opt(
                "SELECT pg_catalog.pg_relation_filenode(c.oid)
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = $1::oid AND n.nspname = $2 AND c.relname = $3",
                &[&self.deletion.oid, &leaf.schema.as_str(), &leaf.name.as_str()],
            )
            .await
    }

    /// Whether rows are due although both passes are through: an UPDATE puts a row into another block, or at another time,
    /// and that may be one that we had passed. Looked for by an index alone, by which it costs nothing. Where it cannot be
    /// seen, such rows are for the next run.
    pub(super) async fn overlooked(&self) -> bool {
        if self.deletion.access == Access::Blocks {
            return false;
        }
        let (from, none): (&str, Vec<String>) = ("-infinity", Vec::new());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![self.deletion.cutoff.parameter(), &from, &1_i64, &none];
        if let Some(summary) = self.deletion.into.as_ref().and_then(Into::summary).filter(|s| !s.full.is_empty()) {
            parameters.extend(summary.parameters(&self.deletion));
        }
        let sql = format!("SELECT EXISTS ({})", self.deletion.matching_by_index());
        if self.session.by_their_path().await.is_err() {
            return false;
        }
        let found = self.session.query_one(&sql, &parameters).await;
        found.is_ok_and(|row| row.get(0))
    }

    /// The size of the leaf now, in blocks; nothing where it is locked. Rows that come later are not due.
    pub(super) async fn blocks(&self) -> Result<Option<u32>> {
        self.session.by_our_path().await?;
        let row = self
            .session
            .query_one(
                "SELECT pg_catalog.pg_relation_size($1::oid) / pg_catalog.current_setting('block_size')::bigint",
                &[&self.deletion.oid],
            )
            .await;
        match row {
            Ok(row) => {
                let blocks: Option<i64> = row.get(0);
                Ok(Some(u32::try_from(blocks.unwrap_or_default()).unwrap_or(u32::MAX)))
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("ask for the size of {}", self.deletion.leaf.plain())),
        }
    }
}
