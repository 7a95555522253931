//! Where a database is and how to get in, read as libpq reads it: the connection string, then the `PG*` variables, then
//! what goes without saying.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslNegotiation};

use super::conntext::pairs;
use super::keywords::{KEYWORDS, Keyword, Use, keyword};
use super::passfile::Password;
use super::tls::TlsSettings;

/// Where servers put their sockets when nobody says otherwise: Debian's place, then PostgreSQL's own.
pub(super) const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// A parsed connection string. `Debug` and [`Conninfo::target`] never show a secret.
#[derive(Clone)]
pub struct Conninfo {
    /// In the order in which they are tried.
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) dbname: String,
    pub(super) password: Password,
    pub(super) attrs: SessionAttrs,
    pub(super) shuffle: bool,
    /// For each address, from the first packet to the end of the log-in; `None` is no limit.
    pub(super) connect_timeout: Option<Duration>,
    /// All that is the same for every host, and no host.
    pub(super) config: Config,
    pub(super) tls: Arc<TlsSettings>,
    /// All that was said, by keyword, but for the password.
    pub(super) said: BTreeMap<&'static str, String>,
    /// The roles by which the same config connects, which trust each other with what they make in schema `pgtend`.
    pub(super) roles: Arc<[String]>,
}

/// One of the places where the database may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// What a certificate and a passfile know it by: a name, an address, or the directory of a socket.
    pub name: String,
    /// Known already, so that no name has to be resolved.
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// What a server must be for us to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionAttrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConninfoError(pub String);

/// What a connection string is completed from.
pub trait Env {
    /// An environment variable; what is not UTF-8 counts as absent.
    fn var(&self, name: &str) -> Option<String>;
    /// The name of the operating system's user.
    fn user(&self) -> Option<String>;
    fn home(&self) -> Option<PathBuf>;
}

/// The environment of this process.
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn user(&self) -> Option<String> {
        // Asks the user database by the effective uid, as libpq does: USER may be somebody else's after sudo.
        whoami::username().ok()
    }

    fn home(&self) -> Option<PathBuf> {
        std::env::home_dir()
    }
}

impl Conninfo {
    /// The role that it connects as.
    pub fn role(&self) -> &str {
        &self.user
    }

    /// The same, with the roles by which the same config connects.
    #[must_use]
    pub fn among(self, roles: Arc<[String]>) -> Self {
        Self { roles, ..self }
    }

    /// `password_file` is the config's: a file that holds the password and nothing else.
    ///
    /// # Errors
    /// The text is no connection string, or asks for something that is not known.
    pub fn parse(text: &str, password_file: Option<&Path>) -> Result<Self, ConninfoError> {
        Self::parse_with(text, password_file, &ProcessEnv)
    }

    /// The same, completed from `env`.
    ///
    /// # Errors
    /// As [`Conninfo::parse`].
    pub fn parse_with(text: &str, password_file: Option<&Path>, env: &dyn Env) -> Result<Self, ConninfoError> {
        let settings = Settings::read(text, env)?;
        let user = settings.text("user").or_else(|| env.user()).ok_or_else(|| {
            ConninfoError(
                "the connection string names no user, and this process runs as a user without a name: add user=".into(),
            )
        })?;
        let dbname = settings.text("dbname").unwrap_or_else(|| user.clone());
        let mut config = Config::new();
        config.user(&user).dbname(&dbname);
        if let Some(options) = settings.text("options") {
            config.options(options);
        }
        config.channel_binding(settings.choice(
            "channel_binding",
            &[
                ("prefer", ChannelBinding::Prefer),
                ("require", ChannelBinding::Require),
                ("disable", ChannelBinding::Disable),
            ],
        )?);
        config.ssl_negotiation(
            settings.choice(
                "sslnegotiation",
                &[("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)],
            )?,
        );
        settings.dead_peer(&mut config)?;
        let tls = TlsSettings::read(&settings, env.home().as_deref())?;
        Ok(Self {
            hosts: settings.hosts()?,
            password: settings.password(password_file, env)?,
            attrs: settings.choice(
                "target_session_attrs",
                &[
                    ("any", SessionAttrs::Any),
                    ("read-write", SessionAttrs::ReadWrite),
                    ("read-only", SessionAttrs::ReadOnly),
                    ("primary", SessionAttrs::Primary),
                    ("standby", SessionAttrs::Standby),
                    ("prefer-standby", SessionAttrs::PreferStandby),
                ],
            )?,
            shuffle: settings.choice("load_balance_hosts", &[("disable", false), ("random", true)])?,
            connect_timeout: match settings.number::<i64>("connect_timeout")?.unwrap_or(10) {
                seconds @ 1.. => Some(Duration::from_secs(seconds.unsigned_abs())),
                _ => None,
            },
            user,
            dbname,
            config,
            tls: Arc::new(tls),
            roles: Arc::default(),
            said: settings.0.into_iter().filter(|(key, _)| *key != "password").collect(),
        })
    }

    /// The database, which is called like the user where the string and `PGDATABASE` name none.
    pub fn database_name(&self) -> &str {
        &self.dbname
    }

    /// Whether the string or `PGDATABASE` names a database.
    pub fn names_a_database(&self) -> bool {
        self.said.get("dbname").is_some_and(|name| !name.is_empty())
    }

    /// Where this leads, for messages: `user@host:port/dbname`, several hosts with commas, without any secret.
    pub fn target(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        format!("{}@{}/{}", self.user, hosts.join(","), self.dbname)
    }
}

impl fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conninfo({}, sslmode={}, password: {:?})", self.target(), self.tls.mode, self.password)
    }
}

impl Host {
    pub(super) fn is_socket(&self) -> bool {
        self.name.starts_with('/')
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// The values of the known keys, from the text or else the environment. An empty value in the text asks for the default.
pub(super) struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    fn read(text: &str, env: &dyn Env) -> Result<Self, ConninfoError> {
        let mut values = BTreeMap::new();
        let mut after_password = false;
        for (key, value) in pairs(text)? {
            let known = keyword(&key).ok_or_else(|| unknown(&key, after_password))?;
            after_password |= known.name == "password";
            known.check(&value, known.name)?;
            values.insert(known.name, value);
        }
        for known in KEYWORDS {
            let Keyword { name, variable: Some(variable), .. } = known else { continue };
            if let Some(value) = env.var(variable).filter(|value| !value.is_empty() && !values.contains_key(name)) {
                known.check(&value, variable)?;
                values.insert(name, value);
            }
        }
        Ok(Self(values))
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        debug_assert!(keyword(key).is_some_and(|known| known.used == Use::Yes), "{key} is in the table");
        self.0.get(key).filter(|value| !value.is_empty()).cloned()
    }

    /// One of `choices`; the first where nothing is said.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, ConninfoError> {
        let Some(value) = self.text(key) else { return Ok(choices[0].1) };
        choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            ConninfoError(format!("the connection's {key} is {value:?}, which is none of {}", names.join(", ")))
        })
    }

    pub(super) fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, ConninfoError> {
        let Some(value) = self.text(key) else { return Ok(None) };
        let number = value
            .trim()
            .parse()
            .map_err(|_| ConninfoError(format!("the connection's {key} is {value:?}, which is no number")));
        number.map(Some)
    }

    fn list(&self, key: &str) -> Vec<String> {
        self.text(key).map(|value| value.split(',').map(|item| item.trim().to_owned()).collect()).unwrap_or_default()
    }

    fn hosts(&self) -> Result<Vec<Host>, ConninfoError> {
        let (mut names, addresses, ports) = (self.list("host"), self.list("hostaddr"), self.list("port"));
        if names.is_empty() && addresses.is_empty() {
            names = SOCKET_DIRECTORIES.into_iter().chain(["localhost"]).map(Into::into).collect();
        }
        let count = names.len().max(addresses.len());
        for (key, list) in [("host", &names), ("hostaddr", &addresses)] {
            if !list.is_empty() && list.len() != count {
                return Err(ConninfoError(format!(
                    "the connection has {} in {key} for {count} hosts: as many, or none",
                    list.len()
                )));
            }
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(ConninfoError(format!(
                "the connection has {} ports for {count} hosts: as many, or one",
                ports.len()
            )));
        }
        (0..count)
            .map(|at| {
                let given = |list: &[String]| list.get(at).filter(|item| !item.is_empty()).cloned();
                let port = if ports.len() == 1 {
                    ports.first().filter(|port| !port.is_empty()).cloned()
                } else {
                    given(&ports)
                };
                let port = port.map_or(Ok(5432), |port| match port.parse() {
                    Ok(0) | Err(_) => {
                        Err(ConninfoError(format!("the connection's port is {port:?}, which is not within 1 to 65535")))
                    }
                    Ok(port) => Ok(port),
                })?;
                let address = given(&addresses)
                    .map(|address| {
                        address.parse().map_err(|_| {
                            ConninfoError(format!(
                                "the connection's hostaddr is {address:?}, which is no IP address; a name goes in host"
                            ))
                        })
                    })
                    .transpose()?;
                let name = given(&names).or_else(|| address.map(|address: IpAddr| address.to_string()));
                let name = name.unwrap_or_else(|| SOCKET_DIRECTORIES[0].into());
                if name.starts_with('@') {
                    return Err(ConninfoError(
                        "a host that begins with @, an abstract socket, is not supported: name a directory".into(),
                    ));
                }
                Ok(Host { name, address, port })
            })
            .collect()
    }

    fn password(&self, password_file: Option<&Path>, env: &dyn Env) -> Result<Password, ConninfoError> {
        // The environment's PGPASSWORD is no keyword of the table: a password_file comes between the two.
        match (self.text("password"), password_file) {
            (Some(_), Some(_)) => Err(ConninfoError(
                "the connection string holds a password, and password_file is given too: take one of them away".into(),
            )),
            (Some(password), None) => Ok(Password::Given(password.into())),
            (None, Some(path)) => {
                // systemd hands credentials over with an ACL, whose mask looks like a permission of the group.
                let credential = env.var("CREDENTIALS_DIRECTORY").is_some_and(|directory| path.starts_with(directory));
                let exposed = (!credential).then(|| Arc::new(Once::new()));
                Ok(Password::File { path: path.into(), exposed })
            }
            (None, None) => Ok(match env.var("PGPASSWORD").filter(|password| !password.is_empty()) {
                Some(password) => Password::Environment(password.into()),
                None => Password::Passfile(
                    self.text("passfile").map(PathBuf::from).or_else(|| env.home().map(|home| home.join(".pgpass"))),
                ),
            }),
        }
    }

    /// A peer that is gone without a word is noticed within a minute, unless the string says otherwise: jobs hold locks.
    fn dead_peer(&self, config: &mut Config) -> Result<(), ConninfoError> {
        let seconds = |key, default| self.number::<u32>(key).map(|n| n.filter(|n| *n > 0).unwrap_or(default));
        config
            .keepalives(self.number::<i32>("keepalives")? != Some(0))
            .keepalives_idle(Duration::from_secs(seconds("keepalives_idle", 30)?.into()))
            .keepalives_interval(Duration::from_secs(seconds("keepalives_interval", 10)?.into()))
            .keepalives_retries(seconds("keepalives_count", 3)?);
        match self.number::<u32>("tcp_user_timeout")?.unwrap_or(30_000) {
            0 => {} // the system's own
            milliseconds => {
                config.tcp_user_timeout(Duration::from_millis(milliseconds.into()));
            }
        }
        Ok(())
    }
}

/// After a password that was not quoted, what looks like a key may be a piece of it: only our own words are said then.
fn unknown(key: &str, after_password: bool) -> ConninfoError {
    let nearest = KEYWORDS
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&key.to_lowercase(), known.name), known.name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3));
    let key = if after_password {
        "a key that is not known".into()
    } else {
        format!("{key:?}, which is no key that is known")
    };
    ConninfoError(match nearest {
        Some((_, name)) => format!("the connection string has {key}: is {name} meant?"),
        None if after_password => {
            format!("the connection string has {key}: is the password written with its quotes or %-codes?")
        }
        None => format!("the connection string has {key}"),
    })
}

#[cfg(test)]
#[path = "conninfo_tests.rs"]
mod tests;
