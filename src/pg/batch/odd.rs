//! Objects that other rows name in ways in which nobody would look for them: a URL may be written in very many.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::work::Work;
use super::{Host, Objects};

/// So long may the table be read for addresses that are written in unusual ways.
const READING: &str = "10min";
/// So many of those are looked at; where there are more, nothing goes.
const MOST_ODD: usize = 1_000;

impl Objects {
    /// Addresses that are URLs and not written as most would write them: capital letters in scheme or host, a port that goes
    /// without saying, what need not be encoded encoded and what must be not, small digits, or one way of encoding here and
    /// another there. Too many rather than too few: it is not for SQL to read an address.
    fn odd(&self) -> String {
        let Self { column, table } = self;
        let ways = [
            "^[^:/]*[A-Z][^:/]*://",
            "^[^:/]+://[^/]*[A-Z]",
            "^[^:/]+://[^/]*:(80|443)(/|$)",
            "://.*%([a-f][0-9A-Fa-f]|[0-9][a-f])",
            "://.*%([a-fA-F][0-9]?[a-f])",
            "://.*%(2[DdEeFf]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])",
            "://[^/]*/.*[^-A-Za-z0-9_.~/!*'';():@&=$,%]",
        ];
        let any = ways.join("|");
        let some = "://[^/]*/.*%(21|24|26|27|28|29|2A|2C|3A|3B|3D|40)";
        let others = "://[^/]*/.*[!*'';():@&=$,]";
        format!(
            "SELECT DISTINCT address FROM (SELECT {column}::text COLLATE \"C\" AS address FROM {table}) AS found \
             WHERE address ~* '^(https?|file)://' \
             AND (address ~ '{any}' OR (address ~ '{some}' AND address ~ '{others}')) LIMIT {}",
            MOST_ODD + 1
        )
    }
}

impl<H: Host> Work<'_, H> {
    /// Objects that rows name otherwise than they are looked for in [`Work::remove`]: they stay, whoever else has them. One
    /// read of the table, before the first object goes.
    pub(super) async fn oddly_spelled(&self, objects: &Objects) -> Result<BTreeSet<H::Object>> {
        let limit = "BEGIN READ ONLY; SET LOCAL enable_seqscan = on; SET LOCAL statement_timeout = ";
        self.session.batch_execute(&format!("{limit}'{READING}'")).await?;
        let rows = self.session.query(&objects.odd(), &[]).await;
        let ended = self.session.batch_execute("ROLLBACK").await;
        let rows =
            rows.context("look for objects that rows name in unusual ways; until that can be seen, none goes")?;
        ended?;
        if rows.len() > MOST_ODD {
            bail!(
                "more than {MOST_ODD} rows of {} name objects in unusual ways, so that it cannot be told which others have the \
                 same: all stay; write their addresses alike",
                objects.table.plain()
            );
        }
        let odd = |address: &str| {
            let object = self.host.meant(address)?;
            (!self.host.spelled(&object).iter().any(|usual| usual == address)).then_some(object)
        };
        Ok(rows.iter().filter_map(|row| odd(row.get(0))).collect())
    }
}
