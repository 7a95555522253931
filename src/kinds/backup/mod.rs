//! `backup`: dumps of the database in stores, each read back.
//!
//! | step | where |
//! |---|---|
//! | the config's table | `config` |
//! | what there is to dump, and what the stores have | `survey`, `shelf` |
//! | what will be done, and which backups go | `plan`, `retain` |
//! | `pg_dump`: which one, its arguments, its process | `pg_dump`, `child` |
//! | the same with several workers, into a folder | `directory` |
//! | from its pipe to the stores | `pour`, `pipeline` |
//! | its rows, counted in its snapshot | `counts` |
//! | encrypting, and what opens it again | `crypt` |
//! | from a dump to a backup | `dump`, `publish`, `manifest`, `naming` |
//! | which one somebody means | `choose` |
//! | reading it back | `read`, `verify` |
//! | having it again | `fetch`, `restore` |
//! | beside schema changes of our own | `company` |

mod check;
mod child;
pub mod choose;
mod company;
pub mod config;
pub mod counts;
pub mod crypt;
mod delete;
pub mod directory;
mod dump;
pub mod fetch;
pub mod gauges;
pub mod manifest;
pub mod naming;
pub mod pg_dump;
pub mod pipeline;
pub mod plan;
mod pour;
mod publish;
pub mod read;
pub mod restore;
pub mod retain;
pub mod shelf;
pub mod survey;
pub mod verify;
pub mod words;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future;

pub use self::config::Backup;
use self::plan::{Action, Facts, Seen};
use self::survey::{Names, Server};
use super::{Applied, Context, Kind, Observes, StopStyle, StoreUse};
use crate::pg::{Session, explain};
use crate::run::{Finding, Observed, Plan, Step};
use crate::store::Store;

impl Kind for Backup {
    type Action = Action;

    const STOP: StopStyle = StopStyle::AtOnce;
    // It reads, and so works on a standby too, where its run leaves no row in the history.
    const WRITES: bool = false;
    const IN_ORDER: bool = true;
    const TIMEOUT: Duration = Duration::from_secs(24 * 3600);
    const OBSERVES: Observes = Observes::WhileEnabled;

    fn resolve(&mut self, folder: &Path) {
        self.resolve_paths(folder);
    }

    fn validate(&self) -> Vec<Finding> {
        self.mistakes()
    }

    fn stores(&self) -> Vec<StoreUse> {
        let use_of = |to: &toml::Spanned<config::To>| StoreUse {
            store: to.get_ref().store.clone(),
            span: to.span(),
            deletes: to.get_ref().keep.is_some(),
            foreign: false,
        };
        self.to.iter().map(use_of).collect()
    }

    async fn observe(&self, cx: &Context) -> Result<Observed> {
        let stores: Vec<&str> = self.to.iter().map(|to| to.get_ref().store.as_str()).collect();
        Ok(gauges::observe(cx, &stores).await?.into())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan<Action>> {
        let session = cx.session().await?;
        let (server, names) = self.survey(&session).await?;
        session.close().await;
        names.see_that_all_are_there()?;
        Ok(plan::plan(Box::pin(self.facts(cx, server, names)).await?))
    }

    fn step(&self, action: &Action) -> Step {
        match action {
            Action::Dump(dump) => dump.step(self),
            Action::Delete(delete) => delete.step(),
        }
    }

    fn hangs_on(&self, failed: &Action, action: &Action) -> bool {
        match (failed, action) {
            // Nothing is deleted where the dump failed.
            (Action::Dump(_), _) | (_, Action::Dump(_)) => true,
            // What one store refuses is nothing to another.
            (Action::Delete(failed), Action::Delete(delete)) => failed.store == delete.store,
        }
    }

    async fn apply(&self, cx: &Context, action: &Action) -> Result<Applied> {
        match action {
            // Boxed: the whole path from a command to a store is a type too deep for the compiler.
            Action::Dump(dump) => Box::pin(dump::apply(self, cx, dump)).await,
            Action::Delete(delete) => Box::pin(delete::apply(cx, delete)).await,
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let session = cx.session().await?;
        let (server, names) = self.survey(&session).await?;
        let mut found = check::privileges(&session, self, &names).await?;
        session.close().await;
        found.extend(check::absences(&names));
        match Box::pin(self.facts(cx, server, names)).await {
            Ok(facts) => found.extend(check::prospects(self, facts)),
            Err(error) => {
                found.push(Finding::error(explain(&error), "install the package, and run `pgtend check` again"));
            }
        }
        Ok(found)
    }
}

impl Backup {
    async fn survey(&self, session: &Session) -> Result<(Server, Names)> {
        Ok((survey::server(session).await?, survey::names(session, self).await?))
    }

    /// A store that cannot be asked is told as it is: the others get their backup.
    ///
    /// # Errors
    /// There is no `pg_dump` for the server.
    async fn facts(&self, cx: &Context, server: Server, names: Names) -> Result<Facts> {
        let tools = pg_dump::look_for(&server, self.pg_bin.as_deref()).await?;
        let mut stores: Vec<(&config::To, Arc<Store>)> = Vec::new();
        for to in &self.to {
            let to = to.get_ref();
            let store = cx.stores.get(&to.store).with_context(|| format!("no store {:?} in the config", to.store))?;
            stores.push((to, Arc::clone(store)));
        }
        let shelves = future::join_all(
            stores
                .iter()
                .map(async |(_, store)| shelf::look(store, cx.job.as_str()).await.map_err(|error| explain(&error))),
        )
        .await;
        let expected = plan::expected(&server, shelves.iter().filter_map(|shelf| shelf.as_ref().ok()));
        let seen = stores.into_iter().zip(shelves).map(|((to, store), shelf)| Seen {
            store: to.store.clone(),
            place: store.place(),
            keep: to.keep.as_ref().map(|keep| keep.get_ref().clone()),
            in_flight: store.parts_in_flight().max(1),
            shelf,
            parts: store.parts(expected),
        });
        let seen = seen.collect();
        // Two daemons that tend one standby have one lock, and one that tends two standbys has two.
        let sign = server.standby.then(|| naming::sign(&standby(cx)));
        let (apart, timeout, zone) = (cx.apart.clone(), cx.timeout, cx.timezone);
        Ok(Facts { server, tools, names, sign, now: cx.now, apart, timeout, zone, seen })
    }
}

/// A standby, as this daemon reaches it.
fn standby(cx: &Context) -> String {
    format!("{} from {}", cx.pg.database().conninfo.target(), gethostname::gethostname().to_string_lossy())
}
