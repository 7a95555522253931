//! Where a dump is to go: a database that is not there, or that holds nothing. Any other is left as it is.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::kinds::backup::company;
use crate::kinds::backup::manifest::{Locale, Manifest};
use crate::kinds::backup::pg_dump::Tools;
use crate::pg::libpq::LibpqEnv;
use crate::pg::settings::Facts;
use crate::pg::{ConnectError, Conninfo, Database, Ident, Limits, Link};

/// What `pg_stat_activity` calls it.
const NAME: &str = "pgtend/restore";
/// Copying `template0` waits for its disk.
const LIMITS: Limits = Limits::new(Duration::from_secs(600), Duration::from_secs(30));
/// Databases that nearly every server has, to make another from.
const OTHERS: [&str; 2] = ["postgres", "template1"];

/// A database that may be filled.
pub struct Target {
    pub name: String,
    /// `server_version_num`
    pub version: i32,
    /// `user@host:port/dbname`
    pub place: String,
    conninfo: Conninfo,
    application_name: String,
    /// To the database, or, where that is missing, to another one of the server.
    link: Link,
    state: State,
}

/// How far it is; what a restore that ends now has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    /// Asked for, and not yet known to be there.
    Making,
    Made,
    Empty,
    /// What was empty may not be so any more.
    Begun,
}

impl Target {
    /// Looks at it, and changes nothing.
    ///
    /// # Errors
    /// It cannot be reached, is older than the dump, a standby, or holds something.
    pub async fn look(conninfo: &Conninfo, manifest: &Manifest) -> Result<Self> {
        Self::look_beside(conninfo, manifest, NAME, &OTHERS).await
    }

    /// The same under another `application_name`, and with other databases to make one from.
    ///
    /// # Errors
    /// Those of [`Target::look`].
    pub async fn look_beside(
        conninfo: &Conninfo,
        manifest: &Manifest,
        application_name: &str,
        others: &[&str],
    ) -> Result<Self> {
        let name = conninfo.database_name().to_owned();
        let ((link, facts), missing) = connect(conninfo, &name, application_name, others).await?;
        let (server, dump) = (facts.version / 10_000, manifest.server_version_num / 10_000);
        if server < dump {
            bail!(
                "{} is PostgreSQL {server}, and the dump is of PostgreSQL {}: it can be restored into {dump} or newer only",
                conninfo.target(),
                manifest.server_version
            );
        }
        if facts.is_standby {
            bail!("{} is a standby, where nothing can be written: name the primary", conninfo.target());
        }
        if !missing {
            let held =
                link.client.query_opt(include_str!("held.sql"), &[]).await.context("look whether it is empty")?;
            if let Some(held) = held {
                let (what, many): (String, i64) = (held.get("what"), held.get("many"));
                let others = if many > 1 { format!(" and {} more", many - 1) } else { String::new() };
                bail!(
                    "database {name:?} is not empty, and was left as it is: it holds {what}{others}. Name one that is not \
                     there, or drop this one"
                );
            }
        }
        let place = conninfo.target();
        let state = if missing { State::Missing } else { State::Empty };
        let (conninfo, application_name) = (conninfo.clone(), application_name.to_owned());
        Ok(Self { name, version: facts.version, place, conninfo, application_name, link, state })
    }

    /// Over a connection to its server; whether to the database itself is left open.
    pub fn client(&self) -> &Client {
        &self.link.client
    }

    /// Whether it is not there.
    pub fn is_missing(&self) -> bool {
        self.state == State::Missing
    }

    /// Whether there may be one that was made here, also where it was not waited for.
    pub fn may_be_there(&self) -> bool {
        matches!(self.state, State::Making | State::Made)
    }

    /// Whether this command has made it.
    pub fn was_made(&self) -> bool {
        self.state == State::Made
    }

    /// Whether anything in it may be of the dump.
    pub fn is_begun(&self) -> bool {
        matches!(self.state, State::Made | State::Begun)
    }

    /// Makes it where it is missing, as its manifest says that the one was.
    ///
    /// # Errors
    /// The role may not, or the server does not have its locale.
    pub async fn make(&mut self, manifest: &Manifest) -> Result<()> {
        self.make_with(manifest, "").await
    }

    /// The same, with further options of CREATE DATABASE.
    ///
    /// # Errors
    /// Those of [`Target::make`].
    pub async fn make_with(&mut self, manifest: &Manifest, options: &str) -> Result<()> {
        if self.state != State::Missing {
            self.state = State::Begun;
            return Ok(());
        }
        let name = Ident::new(self.name.as_str())?;
        let like = manifest.locale.as_ref().map(|locale| like(locale, self.version)).unwrap_or_default();
        // Not template1, which may hold what the dump brings too.
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0{like}{options}");
        self.state = State::Making;
        let made = self.link.client.batch_execute(&sql).await;
        self.state = if made.is_ok() { State::Made } else { State::Missing };
        made.with_context(|| match like.trim() {
            "" => format!("make database {name}"),
            like => format!(
                "make database {name} as the one was that was dumped ({like}); where this server has no such locale, make it \
                 yourself, and restore into it"
            ),
        })
    }

    /// How the programs are to connect to it, once it is there. Where the server can, it notices within a second that they
    /// are gone, unless a pooler in between refuses to hand that on.
    ///
    /// # Errors
    /// It cannot be reached, or the programs cannot be told how.
    pub async fn for_libpq(&self, tools: &Tools) -> Result<LibpqEnv> {
        let mut conninfo = self.conninfo.clone();
        if self.version >= 140_000 {
            let noticing = self.conninfo.with_setting("client_connection_check_interval", "1000");
            match crate::pg::connect(&noticing, &self.application_name, LIMITS).await {
                Ok(_) => conninfo = noticing,
                Err(error) if company::refuses_setting(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let (name, major) = (self.application_name.clone(), tools.major);
        let env = tokio::task::spawn_blocking(move || conninfo.for_libpq(&name, Some(major)));
        env.await.context("look up how to connect")?
    }

    /// How many tables it has.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn tables(&self) -> Result<i64> {
        let (link, _) = crate::pg::connect(&self.conninfo, &self.application_name, LIMITS).await?;
        Ok(link.client.query_one(include_str!("tables.sql"), &[]).await.context("count the tables")?.get(0))
    }

    /// What a restore that failed has left, and how to be rid of it; nothing where it has left nothing.
    pub fn left(&self) -> Option<String> {
        let drop =
            Ident::new(self.name.as_str()).map_or_else(|_| String::new(), |name| format!("DROP DATABASE {name}"));
        let was = match self.state {
            State::Missing | State::Empty => return None,
            State::Making => "may have been made by this command, and is empty",
            State::Made => "was made by this command, and what is in it is not the whole dump",
            State::Begun => "was empty, and what is in it now is not the whole dump",
        };
        Some(format!("database {:?} {was}; `{drop}` takes it away", self.name))
    }
}

/// A connection to the database, or, if it is not there, to another one of its server.
async fn connect(
    conninfo: &Conninfo,
    name: &str,
    application_name: &str,
    others: &[&str],
) -> Result<((Link, Facts), bool)> {
    let missing = match Database::new(name, conninfo.clone(), 1)?.connect(application_name, LIMITS).await {
        Ok(link) => return Ok((link, false)),
        Err(error) => error,
    };
    let code = missing.downcast_ref::<ConnectError>().and_then(ConnectError::code);
    if code != Some(&SqlState::UNDEFINED_DATABASE) {
        return Err(missing);
    }
    let mut why = missing;
    for other in others {
        match Database::new(*other, conninfo.with_database(other), 1)?.connect(application_name, LIMITS).await {
            Ok(link) => return Ok((link, true)),
            Err(error) => why = error,
        }
    }
    Err(why.context(format!("database {name:?} is not there, and to make it another one of the server is needed")))
}

/// The options of CREATE DATABASE for the locale that a database had, as far as a server of `version` knows them.
fn like(locale: &Locale, version: i32) -> String {
    let Locale { encoding, collate, ctype, provider, locale, rules } = locale;
    let mut options =
        format!(" ENCODING {} LC_COLLATE {} LC_CTYPE {}", literal(encoding), literal(collate), literal(ctype));
    if version >= 150_000 {
        let name = locale.as_deref().map(literal);
        match (provider.as_deref(), name) {
            (Some("i"), Some(name)) => options.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {name}")),
            (Some("b"), Some(name)) => options.push_str(&format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {name}")),
            _ => options.push_str(" LOCALE_PROVIDER libc"),
        }
        if let Some(rules) = rules.as_deref().filter(|rules| !rules.is_empty()) {
            options.push_str(&format!(" ICU_RULES {}", literal(rules)));
        }
    }
    options
}

/// Utility statements take no parameters. Sessions of ours have standard_conforming_strings on.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_as_far_as_the_server_knows_how() {
        let libc = Locale {
            encoding: "UTF8".into(),
            collate: "de_DE.utf8".into(),
            ctype: "it's".into(),
            provider: None,
            locale: None,
            rules: None,
        };
        assert_eq!(like(&libc, 140_000), " ENCODING 'UTF8' LC_COLLATE 'de_DE.utf8' LC_CTYPE 'it''s'");
        assert!(like(&libc, 150_000).ends_with(" LOCALE_PROVIDER libc"));
        let icu = Locale { provider: Some("i".into()), locale: Some("el-GR".into()), ..libc.clone() };
        assert!(like(&icu, 160_000).ends_with(" LOCALE_PROVIDER icu ICU_LOCALE 'el-GR'"));
        let builtin = Locale { provider: Some("b".into()), locale: Some("C.UTF-8".into()), ..libc };
        assert!(like(&builtin, 180_000).ends_with(" LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"));
    }
}
