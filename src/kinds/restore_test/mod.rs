//! `restore_test`: a backup is proven by having it again, on a server that can bear it.
//!
//! | step | where |
//! |---|---|
//! | the config's table, and what its names stand for | `config` |
//! | what will be done | `plan` |
//! | how what was made is known again | `mark` |
//! | the scratch database: made, opened, dropped | `scratch` |
//! | restored, and looked at | `prove`, `compare` |

mod check;
mod compare;
pub mod config;
mod gauges;
pub mod mark;
pub mod plan;
mod prove;
mod scratch;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::config::Found;
pub use self::config::RestoreTest;
use self::mark::Mark;
use self::plan::{Action, Facts, Seen, Test};
use self::prove::Bench;
use super::backup::manifest::Identity;
use super::backup::shelf;
use super::{Applied, Around, Context, Kind, Observes, StopStyle, StoreUse};
use crate::pg::{Limits, application_name, connect, explain};
use crate::run::{Finding, Observed, Plan, Step};
use crate::store::Store;

/// How long the database that was dumped is waited for, which need not be there.
const PATIENCE: Duration = Duration::from_secs(15);

impl Kind for RestoreTest {
    type Action = Action;

    const STOP: StopStyle = StopStyle::AtOnce;
    const TIMEOUT: Duration = Duration::from_secs(24 * 3600);
    const OBSERVES: Observes = Observes::WhileEnabled;

    fn resolve(&mut self, folder: &Path) {
        self.resolve_paths(folder);
    }

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    fn home(&self) -> Option<&str> {
        self.server.as_ref().map(|server| server.get_ref().as_str())
    }

    fn look_around(&mut self, database: &str, around: &Around) -> Vec<Finding> {
        self.look_up(database, around).err().flatten().into_iter().collect()
    }

    fn stores(&self) -> Vec<StoreUse> {
        let use_of = |store: &toml::Spanned<String>| StoreUse {
            store: store.get_ref().clone(),
            span: store.span(),
            deletes: false,
            foreign: false,
        };
        self.store.iter().map(use_of).collect()
    }

    async fn observe(&self, cx: &Context) -> Result<Observed> {
        Ok(gauges::observe(cx, &self.found()?.stores).await?.into())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        Ok(plan::plan(self, Box::pin(self.facts(cx)).await?))
    }

    fn step(&self, action: &Action) -> Step {
        action.step(self)
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        let found = self.found()?;
        let name = application_name(cx.job.as_str(), "");
        match action {
            Action::Sweep(database) => {
                scratch::drop(&found.server, &name, &mark(cx).await?, database).await?;
                Ok(Applied::Done)
            }
            Action::SweepRoles(roles) => {
                scratch::drop_roles(&found.server, &name, &mark(cx).await?, roles).await?;
                Ok(Applied::Done)
            }
            // Boxed: the whole path from a command to a store is a type too deep for the compiler.
            Action::Test(test) => Box::pin(self.test(cx, found, test)).await,
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        Ok(check::check(self, self.found()?, Box::pin(self.facts(cx)).await).await)
    }
}

impl RestoreTest {
    fn found(&self) -> Result<&Found> {
        self.found.as_deref().context("the names of the job were not looked up")
    }

    async fn test(&self, cx: &Context, found: &Found, test: &Test) -> Result<Applied> {
        let store = store(cx, &test.store)?;
        Bench { test: self, found, cx, mark: mark(cx).await?, store }.apply(test).await
    }

    /// # Errors
    /// The server or the job's own database cannot be asked. A store that cannot be is told as it is.
    async fn facts(&self, cx: &Context) -> Result<Facts> {
        let found = self.found()?;
        let mark = mark(cx).await?;
        let control = scratch::control(&found.server, &application_name(cx.job.as_str(), "")).await;
        let control = control.with_context(|| format!("server {}", found.server_name))?;
        let server = scratch::look(&control.client, found.server.target(), &mark).await?;
        let mut seen = Vec::new();
        for name in &found.stores {
            let store = store(cx, name)?;
            let shelf = shelf::look(store, found.job.as_str()).await.map_err(|error| explain(&error));
            seen.push(Seen { store: name.clone(), place: store.place(), shelf });
        }
        let any = seen.iter().filter_map(|seen| seen.shelf.as_ref().ok()).any(|shelf| !shelf.kept.is_empty());
        // Where it is gone, its backups are what there is.
        let source = if any {
            Some(source(found, &application_name(cx.job.as_str(), "")).await.map_err(|error| explain(&error)))
        } else {
            None
        };
        Ok(Facts { now: cx.now, read_at: Instant::now(), mark, server, source, seen })
    }
}

fn store<'a>(cx: &'a Context, name: &str) -> Result<&'a Arc<Store>> {
    cx.stores.get(name).with_context(|| format!("no store {name:?} in the config"))
}

/// By the database that the job's lock is in.
async fn mark(cx: &Context) -> Result<Mark> {
    let session = cx.session().await?;
    let home = identity(&session).await?;
    session.close().await;
    Ok(Mark::new(&cx.job, &home))
}

/// Which database the backups are of: what lies in its job's place may be of another, that had its name before.
async fn source(found: &Found, application_name: &str) -> Result<Identity> {
    let asking = async {
        let limits = Limits { statement: PATIENCE, lock: PATIENCE };
        let (link, _) = connect(&found.source, application_name, limits).await?;
        identity(&link.client).await
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked
        .context("it gave no answer in 15 s")
        .flatten()
        .with_context(|| format!("ask {} which database it is", found.source.target()))
}

async fn identity(client: &tokio_postgres::Client) -> Result<Identity> {
    let row = client
        .query_one(
            "SELECT (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() c), d.oid
             FROM pg_catalog.pg_database d WHERE d.datname = current_database()",
            &[],
        )
        .await
        .context("ask which database this is")?;
    Ok(Identity { system_identifier: row.get(0), database_oid: row.get(1) })
}
