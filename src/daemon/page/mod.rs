//! The status page: what is wrong on top, then jobs, partitions and backups. One screen, readable without a script.
//!
//! Made from what the daemon knows at this moment; nobody's database is asked for it.

mod backups;
mod jobs;
mod partitions;
mod wrong;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::board::Reach;
use crate::engine::JobStatus;
use crate::engine::history::Past;
use crate::period::human;
use crate::run::Observed;

pub const STYLE: &str = include_str!("style.css");
pub const SCRIPT: &str = include_str!("refresh.js");
pub const ICON: &str = include_str!("icon.svg");

/// What the page is made from.
pub struct View {
    pub host: String,
    pub now: DateTime<Utc>,
    pub databases: BTreeMap<String, Reach>,
    pub jobs: Vec<Shown>,
    pub visitor: Visitor,
}

/// A job with what is known of it.
pub struct Shown {
    pub status: JobStatus,
    /// Oldest first.
    pub past: Vec<Past>,
    pub observed: Observed,
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visitor {
    /// The config has no token, so that nothing can be triggered here.
    Onlooker,
    /// Somebody who may give the token.
    Stranger,
    /// Somebody who has.
    Operator,
}

/// The page, whole.
pub fn render(view: &View) -> String {
    let up = view.databases.values().filter(|reach| reach.up).count();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title(view)) }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                script src="/refresh.js" defer {}
            }
            body {
                header {
                    h1 { "pgtend" }
                    p {
                        (view.host) ", version " (env!("CARGO_PKG_VERSION")) ". As of "
                        time datetime=(view.now.to_rfc3339()) { (view.now.format("%Y-%m-%d %H:%M:%S")) " UTC" } ". "
                        (up) " of " (view.databases.len()) " databases within reach."
                    }
                }
                main {
                    (wrong::section(view))
                    (jobs::section(view))
                    (partitions::section(view))
                    (backups::section(view))
                }
                footer {
                    (sign_in(view.visitor))
                    p {
                        a href="/metrics" { "metrics" } " " a href="/api/status" { "status as JSON" } " "
                        a href="/healthz" { "health" } " " a href="/readyz" { "readiness" }
                    }
                }
            }
        }
    }
    .into_string()
}

/// What a tab shows while one looks at another.
fn title(view: &View) -> String {
    match wrong::troubles(view).len() {
        0 => "pgtend".into(),
        n => format!("({n}) pgtend"),
    }
}

fn sign_in(visitor: Visitor) -> Markup {
    html! {
        @match visitor {
            Visitor::Onlooker => {}
            Visitor::Stranger => form method="post" action="/sign-in" {
                // For those who keep passwords for people: each has a name there.
                input class="hidden" name="username" value="pgtend" autocomplete="username" aria-hidden="true" tabindex="-1" readonly;
                label for="token" { "Token, to run jobs from here" }
                input id="token" name="token" type="password" autocomplete="current-password" required;
                button { "Sign in" }
            }
            Visitor::Operator => form method="post" action="/sign-out" { button { "Sign out" } }
        }
    }
}

/// `4 min ago`, `in 3 h`
fn distance(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (now - at).to_std() {
        Ok(ago) => format!("{} ago", human(ago)),
        Err(_) => format!("in {}", human((at - now).to_std().unwrap_or_default())),
    }
}

/// The same, with the time itself for whoever points at it.
fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.to_rfc3339()) title=(at.format("%Y-%m-%d %H:%M:%S UTC")) { (distance(at, now)) } }
}

/// A whole number that stands in a gauge.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and sizes, never negative")]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

#[cfg(test)]
mod tests;
