//! The row in which a job's readings stand, for every daemon: written by whoever ran the job, read by all of them.

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::error::SqlState;

use crate::kinds::Context;
use crate::pg::{Session, ours};
use crate::run::{Gauge, GaugeName};

/// # Errors
/// It cannot be written.
pub async fn write(cx: &Context, session: &Session, gauges: &[Gauge]) -> Result<()> {
    if let Some(stranger) = ours::stranger(session).await.context("look whose schema pgtend is")? {
        return Err(stranger.into());
    }
    let written = session
        .execute(
            "INSERT INTO pgtend.reading (job, taken_at, gauges) VALUES ($1, $2, $3::text::jsonb)
             ON CONFLICT (job) DO UPDATE SET taken_at = excluded.taken_at, gauges = excluded.gauges",
            &[&cx.job.as_str(), &cx.now, &encode(gauges).to_string()],
        )
        .await;
    match written {
        Ok(_) => Ok(()),
        Err(error) => {
            let hint = match error.code() {
                Some(code) if *code == SqlState::UNDEFINED_TABLE => format!("; {}", no_table()),
                Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    "; GRANT SELECT, INSERT, UPDATE ON pgtend.reading to the role that pgtend connects as".into()
                }
                _ => String::new(),
            };
            Err(anyhow!(error)).context(format!("write the readings into pgtend.reading{hint}"))
        }
    }
}

/// What to do where the table is missing, and the role may not make it.
pub fn no_table() -> String {
    "GRANT CREATE ON SCHEMA pgtend to the role that pgtend connects as, or make it: CREATE TABLE pgtend.reading \
     (job text PRIMARY KEY, taken_at timestamptz NOT NULL, gauges jsonb NOT NULL)"
        .into()
}

/// What the job's last run has read; nothing before the first.
///
/// # Errors
/// It cannot be read.
pub async fn read(cx: &Context, session: &Session) -> Result<Option<(DateTime<Utc>, Vec<Gauge>)>> {
    if !ours::is_there(session, "reading").await? {
        return Ok(None);
    }
    let row = session
        .query_opt("SELECT taken_at, gauges::text FROM pgtend.reading WHERE job = $1", &[&cx.job.as_str()])
        .await
        .context("read pgtend.reading")?;
    let Some(row) = row else { return Ok(None) };
    let gauges: Value = serde_json::from_str(row.get(1)).context("read the gauges in pgtend.reading")?;
    Ok(Some((row.get(0), decode(&gauges))))
}

fn encode(gauges: &[Gauge]) -> Value {
    gauges.iter().map(|gauge| serde_json::json!([gauge.name.as_str(), gauge.table, gauge.value])).collect()
}

/// What another version has written that this one does not know is left out.
fn decode(gauges: &Value) -> Vec<Gauge> {
    let gauge = |entry: &Value| {
        let [name, label, value] = entry.as_array()?.as_slice() else { return None };
        let name = GaugeName::parse(name.as_str()?)?;
        Some(Gauge { name, table: label.as_str()?.into(), value: value.as_f64()? })
    };
    gauges.as_array().into_iter().flatten().filter_map(gauge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_known_is_left_out() {
        let table = r#"public."My ""Odd"" T""#;
        let gauges = vec![
            Gauge { name: GaugeName::TableSize, table: table.into(), value: 9_007_199_254_740_991.0 },
            Gauge::of_all(GaugeName::XidAgeRatio, 0.125),
        ];
        let mut written = encode(&gauges);
        assert_eq!(decode(&written), gauges);
        for other in
            [serde_json::json!(["pgtend_of_tomorrow", "a", 1]), serde_json::json!(["pgtend_xid_age"]), Value::Null]
        {
            written.as_array_mut().unwrap().push(other);
        }
        assert_eq!(decode(&written), gauges);
        assert_eq!(decode(&Value::Null), []);
    }
}
