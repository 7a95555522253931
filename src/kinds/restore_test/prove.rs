//! One backup, restored and looked at. However it ends, nothing of it stays on the server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::config::{Found, RestoreTest, Roles};
use super::mark::Mark;
use super::plan::{Server, Test};
use super::{compare, scratch};
use crate::kinds::backup::config::Format;
use crate::kinds::backup::crypt::Lock;
use crate::kinds::backup::manifest::{Manifest, Restored, Verified};
use crate::kinds::backup::naming::{self, RESTORED};
use crate::kinds::backup::pg_dump;
use crate::kinds::backup::read::{Progress, Source, is_damage, is_unfit, try_key};
use crate::kinds::backup::restore::{self, Target, roles};
use crate::kinds::backup::verify::{dump_of, globals_of, write_down};
use crate::kinds::{Applied, Context};
use crate::pg::{Conninfo, Ident, Limits, application_name, connect, explain};
use crate::store::{Key, Store};
use crate::testpoint;

/// What has been done on the server, to be undone.
#[derive(Default)]
struct Traces {
    target: Option<Target>,
    roles: Vec<String>,
}

/// What was seen to be right.
#[derive(Debug, Default)]
struct Proof {
    server_version: i32,
    tables: i64,
    /// How many of them, and rows in them, were compared with the manifest.
    compared: Option<(usize, u64)>,
    queries: usize,
    /// Why owners and grants were left out.
    without_owners: Option<String>,
}

/// All that a test needs.
pub struct Bench<'a> {
    pub test: &'a RestoreTest,
    pub found: &'a Found,
    pub cx: &'a Context,
    pub mark: Mark,
    pub store: &'a Store,
}

impl Bench<'_> {
    fn application_name(&self) -> String {
        application_name(self.cx.job.as_str(), "")
    }

    fn folder(&self, manifest: &Manifest) -> Key {
        naming::folder(self.found.job.as_str()).join(&manifest.id)
    }

    /// # Errors
    /// There is no backup, or it was not restored, or is not what was dumped.
    pub async fn apply(&self, one: &Test) -> Result<Applied> {
        let manifest = match &one.backup {
            Ok(manifest) => manifest,
            Err(why) => {
                let error = anyhow!("{why}");
                self.report(one, None, Duration::ZERO, Err(&error), None);
                return Err(error);
            }
        };
        let began = Instant::now();
        let mut traces = Traces::default();
        let proven = tokio::select! {
            proven = self.prove(one, manifest, &mut traces) => Ok(proven),
            reason = self.cx.stop.requested_at_last() => Err(reason),
        };
        let took = began.elapsed();
        self.cx.report.lock().progress = Some("dropping the scratch database".into());
        let cleared = self.clear(one, &traces).await;
        self.cx.report.lock().progress = None;
        let proven = match proven {
            Ok(proven) => proven,
            Err(reason) => {
                if let Err(error) = cleared {
                    self.cx.report.warn(format!("what is left is dropped by the next run: {}", explain(&error)));
                }
                return Ok(Applied::Stopped(reason));
            }
        };
        let at = self.cx.now + TimeDelta::from_std(one.read_at.elapsed()).unwrap_or_default();
        match proven {
            Ok(proof) => {
                let written = self.write_down(one, manifest, &proof, at, took).await;
                self.report(one, Some(manifest), took, Ok(&proof), Some(at));
                let left = cleared.context("the backup is good, and the next run drops what is left").err();
                let wrong: Vec<String> = written.err().iter().chain(&left).map(explain).collect();
                Ok(if wrong.is_empty() { Applied::Done } else { Applied::Partly(wrong.join("; ")) })
            }
            Err(error) => {
                if let Err(error) = cleared {
                    self.cx.report.warn(format!("what is left is dropped by the next run: {}", explain(&error)));
                }
                if is_damage(&error) {
                    self.tell_of_damage(manifest, at, &error).await;
                }
                self.report(one, Some(manifest), took, Err(&error), None);
                Err(error)
            }
        }
    }

    async fn prove(&self, one: &Test, manifest: &Manifest, traces: &mut Traces) -> Result<Proof> {
        let (dump, compression) = dump_of(manifest)?;
        let tools = pg_dump::look_for_reader(&manifest.pg_dump_version, self.found.pg_bin.as_deref()).await?;
        let server = &self.found.server;
        let conninfo = server.with_database(&one.scratch);
        let target =
            Target::look_beside(&conninfo, manifest, &self.application_name(), &[server.database_name()]).await?;
        if !target.is_missing() {
            bail!("database {:?} is there already, and is none of this job's", one.scratch);
        }
        let target = traces.target.insert(target);
        let facts = scratch::look(target.client(), target.place.clone(), &self.mark).await?;
        let mut proof = Proof { server_version: target.version, ..Proof::default() };
        let progress = Arc::new(Progress::default());
        let folder = self.folder(manifest);
        let lock = Lock::of(manifest, self.found.identity_file.as_deref()).await?;
        let source =
            Source { store: self.store, key: folder.join(&dump.name), object: dump, compression, lock, progress };
        try_key(&source).await?;
        let of_roles = source.clone();
        if self.found.spooling.is_some() && manifest.format == Format::Directory {
            self.cx.report.lock().progress = Some(format!("unpacking {}", manifest.id));
        }
        let spooling = self.found.spooling.as_ref();
        let job = self.cx.job.as_str();
        let load = restore::load(source, manifest.format, spooling, &tools, target.version, job).await;
        let load = load.with_context(|| format!("unpack {}", manifest.id))?;
        let mut missing = Vec::new();
        if self.test.roles != Roles::Never
            && let Ok(object) = globals_of(manifest, compression)
        {
            let of_roles = Source { key: folder.join(&object.name), object, ..of_roles };
            let globals = roles::read(of_roles).await.with_context(|| object.name.clone())?;
            missing = roles::missing(target.client(), &globals).await?;
            if self.test.roles == Roles::Make && !missing.is_empty() {
                // Known before they are made: what dies in between is still undone.
                traces.roles.clone_from(&missing);
                roles::make_for_a_test(target.client(), &globals, &self.mark.comment("made for a test of a restore"))
                    .await?;
                missing.clear();
            }
        }
        proof.without_owners = self.without_owners(manifest, &facts, &missing);
        let mut options = vec!["--no-tablespaces", "--no-subscriptions"];
        if let Some(why) = &proof.without_owners {
            options.extend(["--no-owner", "--no-privileges"]);
            if self.test.roles == Roles::Auto {
                self.cx.report.warn(format!("{}: restored without owners and grants: {why}", one.place));
            }
        }
        target.make_with(manifest, super::mark::CLOSED).await?;
        testpoint::reach_in("restore_test.made", self.cx.job.as_str()).await;
        let comment =
            self.mark.comment(&format!("made from backup {} of {}, and dropped by pgtend", manifest.id, one.place));
        scratch::open(target.client(), &Ident::new(one.scratch.as_str())?, &comment).await?;
        testpoint::reach_in("restore_test.marked", self.cx.job.as_str()).await;
        let env = target.for_libpq(&tools).await?;
        self.cx.report.lock().progress = Some(format!("restoring {}", manifest.id));
        let poured = restore::pour(load, manifest.format, &tools, &env, target.version, &options).await;
        poured.map_err(|error| explained(error, manifest, &missing))?;
        testpoint::reach_in("restore_test.restored", self.cx.job.as_str()).await;
        proof.tables = target.tables().await?;
        self.cx.report.lock().progress = Some("comparing".into());
        self.compare(&conninfo, manifest, &mut proof).await?;
        Ok(proof)
    }

    async fn compare(&self, conninfo: &Conninfo, manifest: &Manifest, proof: &mut Proof) -> Result<()> {
        let limits = Limits::new(self.cx.deadline.saturating_duration_since(Instant::now()), self.cx.lock_timeout);
        let link = connect(conninfo, &self.application_name(), limits).await;
        let (link, _) = link.context("connect to the scratch database")?;
        link.client.batch_execute("SET default_transaction_read_only = on").await.context("set up the session")?;
        let mut wrong = Vec::new();
        if let Some(dumped) = &manifest.row_counts {
            wrong.extend(compare::rows(&link.client, dumped).await?);
            proof.compared = Some((dumped.len(), dumped.values().sum()));
        }
        // The queries are the application's, and so is the search path.
        link.client.batch_execute("SET search_path TO DEFAULT").await.context("set up the session")?;
        wrong.extend(compare::queries(&link.client, &self.test.queries).await);
        proof.queries = self.test.queries.len();
        if !wrong.is_empty() {
            bail!("{} was restored, and is not what it should be: {}", manifest.id, wrong.join("; "));
        }
        Ok(())
    }

    /// Why owners and grants are left out, if they are. A plain dump has them in its text.
    fn without_owners(&self, manifest: &Manifest, server: &Server, missing: &[String]) -> Option<String> {
        if manifest.format == Format::Plain {
            return None;
        }
        match self.test.roles {
            Roles::Never => Some("as `roles` says".into()),
            Roles::Make => None,
            Roles::Auto if !missing.is_empty() => Some(format!(
                "the server does not have {}; `roles = \"make\"` makes them for the length of a test, \"never\" says that this is meant",
                named(missing)
            )),
            Roles::Auto if !server.may.all => Some(format!(
                "role {} is no superuser, and may not give what it makes to others; `roles = \"never\"` says that this is meant",
                server.role
            )),
            Roles::Auto if manifest.role_passwords.is_none() => {
                Some("the backup has no roles (`globals = false`)".into())
            }
            Roles::Auto => None,
        }
    }

    /// Drops what was made, if anything was.
    async fn clear(&self, one: &Test, traces: &Traces) -> Result<()> {
        let name = self.application_name();
        if traces.target.as_ref().is_some_and(Target::may_be_there) {
            scratch::drop(&self.found.server, &name, &self.mark, &one.scratch).await?;
        }
        scratch::drop_roles(&self.found.server, &name, &self.mark, &traces.roles).await
    }

    /// From here on nobody takes it for the latest good one.
    async fn tell_of_damage(&self, manifest: &Manifest, at: DateTime<Utc>, error: &anyhow::Error) {
        let said = Verified {
            id: manifest.id.clone(),
            at,
            good: false,
            how: "restore_test".into(),
            error: Some(explain(error)),
            intact: is_unfit(error),
        };
        if let Err(error) = write_down(self.store, &self.folder(manifest), &said).await {
            self.cx.report.warn(format!(
                "that {} is damaged could not be written down: {}",
                manifest.id,
                explain(&error)
            ));
        }
    }

    async fn write_down(
        &self,
        one: &Test,
        manifest: &Manifest,
        proof: &Proof,
        at: DateTime<Utc>,
        took: Duration,
    ) -> Result<()> {
        let restored = Restored {
            id: manifest.id.clone(),
            at,
            job: self.cx.job.to_string(),
            server: self.found.server.target(),
            server_version_num: proof.server_version,
            duration_seconds: took.as_secs_f64(),
            tables: proof.tables,
            tables_compared: proof.compared.map(|(tables, _)| tables),
            rows_compared: proof.compared.map(|(_, rows)| rows),
            queries: self.test.queries.clone(),
            owners: proof.without_owners.is_none(),
        };
        let key = self.folder(manifest).join(RESTORED);
        let written = self.store.put(&key, restored.bytes().into()).await;
        written.with_context(|| format!("{}: the backup is good, and that could not be written beside it", one.place))
    }

    /// The fields of the report; the gauges are read from them.
    fn report(
        &self,
        one: &Test,
        manifest: Option<&Manifest>,
        took: Duration,
        proven: Result<&Proof, &anyhow::Error>,
        at: Option<DateTime<Utc>>,
    ) {
        let proof = proven.ok();
        let target = json!({
            "store": one.store, "place": one.place, "backup": manifest.map(|manifest| &manifest.id), "scratch": one.scratch,
            "tested_at": at, "duration_seconds": took.as_secs_f64(),
            "bytes": manifest.and_then(|manifest| Some(manifest.dump()?.raw_size)),
            "tables": proof.map(|proof| proof.tables),
            "tables_compared": proof.and_then(|proof| proof.compared).map(|(tables, _)| tables),
            "rows_compared": proof.and_then(|proof| proof.compared).map(|(_, rows)| rows),
            "queries": proof.map(|proof| proof.queries),
            "owners": proof.map(|proof| proof.without_owners.is_none()),
            "error": proven.err().map(explain),
        });
        let mut report = self.cx.report.lock();
        if let Some(manifest) = manifest {
            report.fields.insert("backup".into(), json!(manifest.id));
        }
        let targets = report.fields.entry("targets").or_insert_with(|| json!([]));
        if let Value::Array(targets) = targets {
            targets.push(target);
        }
    }
}

fn explained(error: anyhow::Error, manifest: &Manifest, missing: &[String]) -> anyhow::Error {
    let error = error.context(format!("restore {}", manifest.id));
    if missing.is_empty() || is_damage(&error) {
        return error;
    }
    error.context(format!(
        "the server does not have {}, which may be why; `roles = \"make\"` makes them",
        named(missing)
    ))
}

/// The first few.
fn named(roles: &[String]) -> String {
    let few: Vec<String> = roles.iter().take(5).map(|role| format!("{role:?}")).collect();
    let more = if roles.len() > 5 { format!(" and {} more", roles.len() - 5) } else { String::new() };
    format!("role{} {}{more}", if roles.len() == 1 { "" } else { "s" }, few.join(", "))
}
