//! How long views took, for alerts: read from the history, which is the same for every daemon.

use anyhow::{Context as _, Result};

use super::config::Refresh;
use crate::kinds::Context;
use crate::pg::{TableName, ours};
use crate::run::{Gauge, GaugeName};

/// # Errors
/// The history cannot be read.
pub async fn observe(refresh: &Refresh, cx: &Context) -> Result<Vec<Gauge>> {
    let session = cx.session().await?;
    if !ours::is_there(&session, "run").await? {
        session.close().await;
        return Ok(Vec::new());
    }
    let rows = session.query(include_str!("gauges.sql"), &[&cx.job.as_str()]).await;
    let rows = rows.context("read what the history says of refreshed views")?;
    session.close().await;
    // What the config names no more is nobody's business.
    let names = refresh.named();
    let wanted = |view: &String| match (&names, view.parse::<TableName>()) {
        (Some(names), Ok(view)) => names.contains(&&view),
        (None, Ok(view)) => !refresh.excludes(&view),
        (_, Err(_)) => false,
    };
    let gauge = |(table, value)| Gauge { name: GaugeName::ViewRefreshDuration, table, value };
    let views = rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, Option<f64>>(1)));
    Ok(views.filter_map(|(view, seconds)| Some((view, seconds?))).filter(|(view, _)| wanted(view)).map(gauge).collect())
}
