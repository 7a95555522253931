//! Opening a connection: hosts in order, addresses in order, with TLS and without as the `sslmode` allows.

use std::error::Error as _;
use std::future::{Future, Ready, ready};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use deadpool_postgres::PoolError;
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode as Encryption, SslNegotiation};
use tokio_postgres::tls::{NoTlsStream, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, SimpleQueryMessage, Socket};

use super::Conninfo;
use super::conninfo::{Host, SessionAttrs};
use super::passfile::{Found, PasswordError};
use super::refusal::{Cause, ConnectError, Failure};
use super::settings::{Facts, Limits, settle};
use super::tls::{SslMode, Tls, TlsSettings, TlsStream};
use super::words;

/// A connection of one's own, outside any pool. Dropping the client closes it.
pub struct Link {
    pub client: Client,
    /// That notifications have come since it was last asked, and not which: whoever may connect can send any number of them.
    /// The sender is dropped when the connection ends.
    pub heard: mpsc::Receiver<()>,
}

/// Cancels what a session's server process is running.
#[derive(Clone)]
pub struct Canceller {
    token: tokio_postgres::CancelToken,
    tls: Arc<TlsSettings>,
    limit: Option<Duration>,
    target: String,
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canceller({})", self.target)
    }
}

impl Canceller {
    /// Asks the server to cancel; encrypted if the session is. That it did is for the session itself to see.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn cancel(&self) -> Result<()> {
        let asking = self.token.cancel_query(Tls::new(&self.tls));
        let asked = match self.limit {
            Some(limit) => tokio::time::timeout(limit, asking).await.context("no answer within connect_timeout"),
            None => Ok(asking.await),
        };
        asked
            .and_then(|asked| Ok(asked?))
            .with_context(|| format!("ask {} to cancel the running statement", self.target))
    }
}

impl Conninfo {
    /// `client` is a connection that was made with this.
    pub fn canceller(&self, client: &Client) -> Canceller {
        Canceller {
            token: client.cancel_token(),
            tls: Arc::clone(&self.tls),
            limit: self.connect_timeout,
            target: self.target(),
        }
    }
}

/// A connection with our settings. Behind a pooler in transaction mode they would stay behind in sessions of the
/// application's: where one may be, it is [`super::Database::connect`] that looks first.
///
/// # Errors
/// A [`ConnectError`]: no host of `info` takes the connection; or the server is too old, or does not answer.
pub async fn connect(info: &Conninfo, application_name: &str, limits: Limits) -> Result<(Link, Facts)> {
    let link = bare(info, application_name).await?;
    let facts = settle(&link.client, limits, &info.roles).await?;
    Ok((link, facts))
}

/// A connection as it comes, with the search path of the database: only for looking whether there is a pooler.
///
/// # Errors
/// A [`ConnectError`]: no host of `info` takes the connection.
pub(super) async fn bare(info: &Conninfo, application_name: &str) -> Result<Link> {
    let Opened { client, heard, .. } = open(info, application_name).await?;
    Ok(Link { client, heard })
}

/// How the pool connects.
#[derive(Debug, Clone)]
pub struct Connector(pub Conninfo);

impl deadpool_postgres::Connect for Connector {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + '_>> {
        Box::pin(async move {
            match open(&self.0, "pgtend").await {
                Ok(Opened { client, task, .. }) => Ok((client, task)),
                Err(error) => Err(wrapped(error).await),
            }
        })
    }
}

/// What [`Connector`] had to say, out of the pool's error.
pub fn pool_error(error: PoolError) -> anyhow::Error {
    match error {
        PoolError::Backend(error) if error.source().is_some_and(|source| source.is::<ConnectError>()) => {
            match error.into_source().map(|source| source.downcast::<ConnectError>()) {
                Some(Ok(error)) => anyhow::Error::new(*error),
                Some(Err(other)) => anyhow::Error::from_boxed(other),
                None => anyhow::anyhow!("the connection failed without a reason"),
            }
        }
        error => anyhow::Error::new(error).context("take a connection from the pool"),
    }
}

/// The pool's trait knows no error but the driver's, and the driver makes one only around what a TLS connector returns.
/// So a connector that does nothing but return our error brings it through.
async fn wrapped(error: ConnectError) -> tokio_postgres::Error {
    struct Refuse(ConnectError);
    impl TlsConnect<tokio::io::Empty> for Refuse {
        type Stream = NoTlsStream;
        type Error = ConnectError;
        type Future = Ready<Result<NoTlsStream, ConnectError>>;
        fn connect(self, _: tokio::io::Empty) -> Self::Future {
            ready(Err(self.0))
        }
    }
    let mut config = Config::new();
    config.ssl_mode(Encryption::Require).ssl_negotiation(SslNegotiation::Direct);
    match config.connect_raw(tokio::io::empty(), Refuse(error)).await {
        Err(error) => error,
        Ok(_) => unreachable!("a connector that refuses has no connection"),
    }
}

struct Opened {
    client: Client,
    heard: mpsc::Receiver<()>,
    /// Ends with its client.
    task: JoinHandle<()>,
}

async fn open(info: &Conninfo, application_name: &str) -> Result<Opened, ConnectError> {
    let passes: &[SessionAttrs] = match &info.attrs {
        SessionAttrs::PreferStandby => &[SessionAttrs::Standby, SessionAttrs::Any],
        attrs => std::slice::from_ref(attrs),
    };
    let mut failures = Vec::new();
    for attrs in passes {
        failures.clear();
        for host in in_order(&info.hosts, info.shuffle) {
            let place = host.to_string();
            let fail = |cause| Failure { place: place.clone(), host: host.clone(), cause };
            let password = match password(info, &host).await {
                Ok(password) => password,
                Err(cause) => {
                    failures.push(fail(cause));
                    continue;
                }
            };
            let addresses = match addresses(&host, info.connect_timeout).await {
                Ok(addresses) => in_order(&addresses, info.shuffle),
                Err(cause) => {
                    failures.push(fail(cause));
                    continue;
                }
            };
            for address in addresses {
                let attempt = Attempt {
                    info,
                    application_name,
                    attrs: *attrs,
                    host: &host,
                    address,
                    password: password.as_ref(),
                };
                match attempt.make().await {
                    Ok(opened) => return Ok(opened),
                    Err(more) => failures.extend(more),
                }
                // A host that refuses who we are has been reached: as libpq, do not shop around with the password.
                if failures.last().is_some_and(Failure::is_rejection) {
                    return Err(ConnectError::new(info, failures));
                }
            }
        }
    }
    Err(ConnectError::new(info, failures))
}

fn in_order<T: Clone>(items: &[T], shuffle: bool) -> Vec<T> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    if shuffle {
        // Seeded anew each time; good enough to spread load.
        let chance = RandomState::new();
        order.sort_by_cached_key(|at| chance.hash_one(at));
    }
    order.into_iter().map(|at| items[at].clone()).collect()
}

async fn password(info: &Conninfo, host: &Host) -> Result<Option<Found>, Cause> {
    let (password, name, port) = (info.password.clone(), host.name.clone(), host.port);
    let (dbname, user) = (info.dbname.clone(), info.user.clone());
    let looking = tokio::task::spawn_blocking(move || password.look_up(&name, port, &dbname, &user));
    looking.await.unwrap_or_else(|error| Err(PasswordError::Unfinished(error))).map_err(Cause::Password)
}

/// The addresses of `host`; one that is `None` for a socket.
async fn addresses(host: &Host, limit: Option<Duration>) -> Result<Vec<Option<IpAddr>>, Cause> {
    if host.is_socket() || host.address.is_some() {
        return Ok(vec![host.address]);
    }
    let lookup = tokio::net::lookup_host((host.name.as_str(), host.port));
    let found = match limit {
        Some(limit) => tokio::time::timeout(limit, lookup).await.map_err(|_| Cause::Timeout(limit))?,
        None => lookup.await,
    };
    Ok(found.map_err(Cause::Resolve)?.map(|address| Some(address.ip())).collect())
}

/// One address of one host.
struct Attempt<'a> {
    info: &'a Conninfo,
    application_name: &'a str,
    attrs: SessionAttrs,
    host: &'a Host,
    address: Option<IpAddr>,
    password: Option<&'a Found>,
}

impl Attempt<'_> {
    /// Once, or twice where the `sslmode` has a second choice.
    async fn make(&self) -> Result<Opened, Vec<Failure>> {
        let mode = if self.host.is_socket() { SslMode::Disable } else { self.info.tls.mode };
        let (first, second) = match mode {
            SslMode::Disable => (Encryption::Disable, None),
            SslMode::Allow => (Encryption::Disable, Some(Encryption::Require)),
            SslMode::Prefer => (Encryption::Prefer, Some(Encryption::Disable)),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Encryption::Require, None),
        };
        let failure = match self.with(first).await {
            Ok(opened) => return Ok(opened),
            Err(failure) => failure,
        };
        // As libpq: the other way may be the one that pg_hba.conf has a line for, or that both sides can speak.
        let again = second.filter(|_| match mode {
            SslMode::Allow => failure.is_rejection(),
            _ => failure.is_failed_handshake() || failure.is_rejection() && failure.was_encrypted(),
        });
        let Some(again) = again else { return Err(vec![failure]) };
        let how = |encryption| if encryption == Encryption::Disable { "without TLS" } else { "with TLS" };
        let named = |failure: Failure, encryption| Failure {
            place: format!("{} {}", failure.place, how(encryption)),
            ..failure
        };
        match self.with(again).await {
            Ok(opened) => Ok(opened),
            Err(second) => Err(vec![named(failure, first), named(second, again)]),
        }
    }

    async fn with(&self, encryption: Encryption) -> Result<Opened, Failure> {
        let tls = Tls::new(&self.info.tls);
        let trying = async {
            let opened = self
                .config(encryption)
                .connect(tls.clone())
                .await
                .map(|(client, connection)| drive(client, connection));
            let opened = opened.map_err(|error| self.driver_error(error, &tls, encryption))?;
            self.fits(&opened.client, &tls, encryption).await?;
            Ok(opened)
        };
        let tried = match self.info.connect_timeout {
            Some(limit) => tokio::time::timeout(limit, trying).await.unwrap_or(Err(Cause::Timeout(limit))),
            None => trying.await,
        };
        tried.map_err(|cause| self.failure(cause))
    }

    fn config(&self, encryption: Encryption) -> Config {
        let mut config = self.info.config.clone();
        config.host(&self.host.name).port(self.host.port).application_name(self.application_name).ssl_mode(encryption);
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
        if let Some(found) = self.password {
            config.password(found.secret.expose_secret());
        }
        config
    }

    async fn fits(&self, client: &Client, tls: &Tls, encryption: Encryption) -> Result<(), Cause> {
        if self.attrs == SessionAttrs::Any {
            return Ok(());
        }
        let asked = client
            .simple_query("SELECT pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_is_in_recovery()")
            .await
            .map_err(|error| self.driver_error(error, tls, encryption))?;
        let row = asked.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0) == Some("on"), row.get(1) == Some("t"))),
            _ => None,
        });
        let (read_only, standby) = row.unwrap_or_default();
        match self.attrs {
            SessionAttrs::ReadWrite if read_only => {
                Err(Cause::Unfit("it is read-only, and target_session_attrs=read-write"))
            }
            SessionAttrs::ReadOnly if !read_only => {
                Err(Cause::Unfit("it is not read-only, and target_session_attrs=read-only"))
            }
            SessionAttrs::Primary if standby => Err(Cause::Unfit("it is a standby, and target_session_attrs=primary")),
            SessionAttrs::Standby if !standby => {
                Err(Cause::Unfit("it is no standby, and target_session_attrs=standby"))
            }
            _ => Ok(()),
        }
    }

    fn driver_error(&self, error: tokio_postgres::Error, tls: &Tls, encryption: Encryption) -> Cause {
        let encrypted_only = encryption == Encryption::Require;
        Cause::Driver {
            error,
            stage: tls.stage(),
            encrypted_only,
            password: self.password.map(|found| found.place.clone()),
        }
    }

    fn failure(&self, cause: Cause) -> Failure {
        let place = match self.address {
            Some(address) if address.to_string() != self.host.name => format!("{} ({address})", self.host),
            _ => self.host.to_string(),
        };
        Failure { place, host: self.host.clone(), cause }
    }
}

fn drive(client: Client, mut connection: Connection<Socket, TlsStream>) -> Opened {
    let (sender, heard) = mpsc::channel(1);
    #[allow(clippy::disallowed_methods, reason = "it ends with its client")]
    let task = tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                // Whether anybody listens is their business; the connection must be driven either way.
                Some(Ok(AsyncMessage::Notification(_))) => drop(sender.try_send(())),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!("a connection ended: {}", words::said(&error));
                    break;
                }
                None => break,
            }
        }
    });
    Opened { client, heard, task }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_keep_their_order_unless_the_load_is_to_be_spread() {
        let hosts: Vec<u8> = (0..20).collect();
        assert_eq!(in_order(&hosts, false), hosts);
        let mut shuffled = in_order(&hosts, true);
        assert!((0..20).any(|_| in_order(&hosts, true) != shuffled));
        shuffled.sort_unstable();
        assert_eq!(shuffled, hosts);
    }
}
