//! The table read, in one snapshot, read only. The server does the work, on its disk where it is much; what comes here is
//! only what is out of the ordinary, and of that only so much.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::VerifyChain;
use super::judge::{Break, Examples, How, Seen};
use super::plan::Chain;
use crate::kinds::{Applied, Context};
use crate::pg::ddl;
use crate::pg::{Session, explain, waits};
use crate::testpoint;

/// With more rows than this that do not name the row before them, the order says too little: then the whole table is joined
/// with itself.
const MANY: usize = 10_000;

/// What there is to be said of the chain; or that it is not, now.
///
/// # Errors
/// The server refuses.
pub async fn read(session: &Session, cx: &Context, kind: &VerifyChain, chain: &Chain) -> Result<Result<Seen, Applied>> {
    let (seen, by) = waits::watched(&cx.pg, session, snapshot(session, kind, chain)).await;
    if !session.is_closed() {
        session.batch_execute("ROLLBACK").await?;
    }
    match seen {
        Err(error) if ddl::is_locked(&error) => {
            let by = by.unwrap_or_else(|| "whoever held it has let go since".into());
            Ok(Err(Applied::Locked(format!("{}; {by}", explain(&error)))))
        }
        Err(error) => match cx.stop.requested() {
            Some(reason) if ddl::is_over(&error) || session.is_closed() => Ok(Err(Applied::Stopped(reason))),
            _ => Err(error),
        },
        Ok(seen) => Ok(Ok(seen)),
    }
}

async fn snapshot(session: &Session, kind: &VerifyChain, chain: &Chain) -> Result<Seen> {
    session.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let table = Table { session, kind, chain };
    let row = table.one(include_str!("count.sql"), &[]).await.context("count the rows")?;
    let (first, last): (Option<String>, Option<String>) = (row.get(2), row.get(3));
    testpoint::reach("verify_chain.counted").await;
    let limit = i64::try_from(MANY + 1).unwrap_or(i64::MAX);
    let rows = table.rows(include_str!("breaks.sql"), &[&limit]).await.context("follow the chain in its order")?;
    // One without a place cannot be found again by it.
    let places: Option<Vec<&str>> = rows.iter().map(|row| row.get(0)).collect();
    let how = match places.filter(|places| places.len() <= MANY) {
        Some(places) => table.ordered(&rows, &places).await?,
        None => table.unordered().await?,
    };
    let begun_before = match &first {
        Some(first) => table.begun_before(first).await?,
        None => false,
    };
    Ok(Seen { rows: row.get(0), nameless: row.get(1), first, last, begun_before, how })
}

struct Table<'a> {
    session: &'a Client,
    kind: &'a VerifyChain,
    chain: &'a Chain,
}

impl Table<'_> {
    async fn rows(&self, template: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let kind = self.kind;
        let sql = fill(template, |key| match key {
            "table" => kind.table.get_ref().to_string(),
            "order" => kind.order_by.get_ref().to_string(),
            "hash" => kind.hash.get_ref().to_string(),
            "previous" => kind.previous.get_ref().to_string(),
            "order_type" => self.chain.order_type.clone(),
            "previous_type" => self.chain.previous_type.clone(),
            other => other.into(),
        });
        Ok(self.session.query(&sql, parameters).await?)
    }

    async fn one(&self, template: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        self.rows(template, parameters).await?.pop().context("the server gave no row")
    }

    /// What is behind the few rows that do not name the row before them.
    async fn ordered(&self, rows: &[Row], places: &[&str]) -> Result<How> {
        let named: Vec<&str> = rows.iter().filter_map(|row| row.get::<_, Option<&str>>(1)).collect();
        let (mut bearers, mut namers) = (HashMap::new(), HashMap::new());
        let mut tied = false;
        if !named.is_empty() {
            let found = self.rows(include_str!("named.sql"), &[&named, &places]).await;
            for row in found.context("look for the rows that are named")? {
                let run: Option<i32> = row.get(2);
                bearers.insert(
                    row.get::<_, String>(0),
                    (row.get::<_, i64>(1), usize::try_from(run.unwrap_or(0)).unwrap_or(0)),
                );
            }
            let found = self.rows(include_str!("naming.sql"), &[&named]).await;
            for row in found.context("look for rows that name the same one")? {
                namers.insert(row.get::<_, String>(0), row.get::<_, i64>(1));
            }
            let at: i64 = self.one(include_str!("ties.sql"), &[&places]).await?.get(0);
            tied = usize::try_from(at).unwrap_or(usize::MAX) > places.len();
        }
        let breaks = rows.iter().map(|row| {
            let previous: Option<String> = row.get(1);
            let (bearers, run) = previous.as_ref().and_then(|named| bearers.get(named)).copied().unwrap_or_default();
            let namers = previous.as_ref().and_then(|named| namers.get(named)).copied().unwrap_or(1);
            Break { place: row.get(0), nth: row.get(2), previous, bearers, run, namers }
        });
        Ok(How::Ordered { breaks: breaks.collect(), tied })
    }

    async fn unordered(&self) -> Result<How> {
        let examples = |rows: Vec<Row>| Examples {
            count: rows.first().map_or(0, |row| row.get(1)),
            places: rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".into())).collect(),
        };
        let gone = self.chain.anchors.iter().filter_map(|anchor| anchor.hash.as_deref());
        let gone: Vec<&str> = gone.chain(self.kind.genesis.as_deref()).collect();
        let lost = self.rows(include_str!("lost.sql"), &[&gone]).await.context("look for each row that is named")?;
        let beginnings = self.rows(include_str!("beginnings.sql"), &[]).await.context("look for beginnings")?;
        let forks = self.rows(include_str!("forked.sql"), &[]).await.context("look for forks")?;
        Ok(How::Unordered { lost: examples(lost), beginnings: examples(beginnings), forks: examples(forks) })
    }

    /// Whether retention remembers rows that stood before the first.
    async fn begun_before(&self, first: &str) -> Result<bool> {
        let places: Vec<&str> = self.chain.anchors.iter().filter_map(|anchor| anchor.place.as_deref()).collect();
        let sql =
            "SELECT coalesce(bool_or(v::{order_type} < $2::text::{order_type}), false) FROM unnest($1::text[]) AS v";
        Ok(self.one(sql, &[&places, &first]).await.context("compare with pgtend.anchor")?.get(0))
    }
}

/// A statement whose `{names}` are put in. In one pass: what a name is made of is not looked at again.
fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut sql = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        sql.push_str(before);
        let (key, after) = after.split_once('}').unwrap_or((after, ""));
        sql.push_str(&value(key));
        rest = after;
    }
    sql.push_str(rest);
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_put_in_as_it_is() {
        let value = |key: &str| if key == "a" { "\"{b}\"".to_owned() } else { "B".into() };
        assert_eq!(fill("{a} x {b}{a}", value), "\"{b}\" x B\"{b}\"");
    }
}
