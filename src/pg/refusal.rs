//! Why a connection was not had, for somebody who has to mend it: where, who, what was said, and what to do.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError::{
    Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext, UnknownIssuer,
};
use tokio_postgres::error::SqlState;

use super::Conninfo;
use super::conninfo::Host;
use super::passfile::PasswordError;
use super::tls::{SslMode, Stage, TlsFault};

/// No host of a connection string took the connection. Says each one's reason, and never a secret.
///
/// Where a server answered, its error is the `source`, a [`tokio_postgres::Error`] with its SQLSTATE.
#[derive(Debug)]
pub struct ConnectError {
    message: String,
    answer: Option<tokio_postgres::Error>,
}

impl ConnectError {
    pub(super) fn new(info: &Conninfo, mut failures: Vec<Failure>) -> Self {
        let mut reasons: Vec<(Vec<&str>, String)> = Vec::new();
        for failure in &failures {
            // Two addresses of one name mostly fail alike; that is said once.
            match (reasons.last_mut(), failure.reason(info)) {
                (Some((places, last)), reason) if *last == reason => places.push(&failure.place),
                (_, reason) => reasons.push((vec![&failure.place], reason)),
            }
        }
        let reasons: Vec<String> = match reasons.as_slice() {
            [(_, only)] => vec![only.clone()],
            several => several.iter().map(|(places, reason)| format!("{}: {reason}", places.join(", "))).collect(),
        };
        let message = format!("cannot connect to {}: {}", info.target(), reasons.join("; then "));
        let answered = failures.iter().rposition(|failure| failure.code().is_some());
        let answer = answered.and_then(|at| match failures.swap_remove(at).cause {
            Cause::Driver { error, .. } => Some(error),
            _ => None,
        });
        Self { message, answer }
    }

    /// The SQLSTATE of the server that answered last, if one did.
    pub fn code(&self) -> Option<&SqlState> {
        self.answer.as_ref().and_then(tokio_postgres::Error::code)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.answer.as_ref().map(|error| error as _)
    }
}

/// Why one attempt failed.
pub(super) struct Failure {
    /// `host:port`, with the address where that is another word, and whether TLS was tried where both ways were.
    pub place: String,
    pub host: Host,
    pub cause: Cause,
}

pub(super) enum Cause {
    Password(PasswordError),
    Resolve(io::Error),
    Timeout(Duration),
    /// A session was had, but not of the kind that `target_session_attrs` asks for.
    Unfit(&'static str),
    Driver {
        error: tokio_postgres::Error,
        stage: Stage,
        /// There was no going without TLS.
        encrypted_only: bool,
        /// Where the password came from.
        password: Option<String>,
    },
}

impl Failure {
    pub(super) fn code(&self) -> Option<&SqlState> {
        match &self.cause {
            Cause::Driver { error, .. } => error.code(),
            _ => None,
        }
    }

    /// The server knows us and does not want us.
    pub(super) fn is_rejection(&self) -> bool {
        self.code().is_some_and(|code| code.code().starts_with("28"))
    }

    /// TLS was begun and not reached, and not for a fault of our own configuration.
    pub(super) fn is_failed_handshake(&self) -> bool {
        match &self.cause {
            Cause::Driver { error, stage: Stage::Handshake, .. } => {
                !error.source().is_some_and(|source| source.is::<TlsFault>())
            }
            _ => false,
        }
    }

    pub(super) fn was_encrypted(&self) -> bool {
        matches!(&self.cause, Cause::Driver { stage: Stage::Encrypted, .. })
    }

    fn reason(&self, info: &Conninfo) -> String {
        match &self.cause {
            Cause::Password(error) => format!("{error}; no connection was tried"),
            Cause::Resolve(error) => {
                format!("the name {} cannot be resolved: {error}; check host, and the resolver", self.host.name)
            }
            Cause::Timeout(limit) => format!(
                "no connection within {} s; is the way to the server open (a firewall that drops packets?), or is it too busy? \
                 connect_timeout sets the limit",
                limit.as_secs()
            ),
            Cause::Unfit(what) => (*what).into(),
            Cause::Driver { error, stage, encrypted_only, password } => {
                self.driver(info, error, *stage, *encrypted_only, password.as_deref())
            }
        }
    }

    fn driver(
        &self,
        info: &Conninfo,
        error: &tokio_postgres::Error,
        stage: Stage,
        encrypted_only: bool,
        password: Option<&str>,
    ) -> String {
        if let Some(answer) = error.as_db_error() {
            let said = format!("{}: {} (SQLSTATE {})", answer.severity(), answer.message(), answer.code().code());
            return match advice(answer.code(), info, password) {
                Some(advice) => format!("{said}; {advice}"),
                None => said,
            };
        }
        let source = error.source();
        let io = source.and_then(|source| source.downcast_ref::<io::Error>());
        let all = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        match (stage, io) {
            (Stage::Handshake, io) => {
                let inner = io.and_then(|io| io.get_ref()).and_then(|inner| inner.downcast_ref::<rustls::Error>());
                match (inner, source) {
                    (Some(rustls::Error::InvalidCertificate(fault)), _) => self.certificate(info, fault),
                    (None, Some(source)) if source.is::<TlsFault>() => source.to_string(),
                    (Some(fault), _) => {
                        format!("the TLS handshake failed: {fault}; is the server's TLS set up, and at least TLSv1.2?")
                    }
                    _ => format!("the TLS handshake failed: {all}"),
                }
            }
            (_, Some(io)) => self.no_way(io),
            (Stage::Plain, None) if encrypted_only && source.is_some() => format!(
                "the server offers no TLS, and sslmode={} asks for it; turn on ssl in its postgresql.conf, or choose a weaker \
                 sslmode where the network is trusted",
                info.tls.mode
            ),
            // The driver's own complaint, most likely that it was asked for a password.
            (_, None) if source.is_some() && password.is_none() => {
                format!("{all}; no password was found: {}", places(info))
            }
            _ => all,
        }
    }

    fn no_way(&self, error: &io::Error) -> String {
        let advice = match error.kind() {
            io::ErrorKind::ConnectionRefused if self.host.is_socket() => {
                "nobody listens at that socket any more; is the server running?"
            }
            io::ErrorKind::ConnectionRefused => {
                "is the server running, is that its port, and do its listen_addresses include this one?"
            }
            io::ErrorKind::NotFound => {
                "there is no such socket; is the server running, and are that its port and unix_socket_directories?"
            }
            io::ErrorKind::PermissionDenied => {
                "the user of this process may not enter there: see unix_socket_permissions"
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => "the server hung up; its log says why",
            _ => return error.to_string(),
        };
        format!("{error}; {advice}")
    }

    fn certificate(&self, info: &Conninfo, fault: &rustls::CertificateError) -> String {
        let roots = info.tls.roots_place();
        match fault {
            UnknownIssuer => format!(
                "the server's certificate was not signed by an authority in {roots}; put the one that did into that file, or \
                 name another in sslrootcert"
            ),
            NotValidForName | NotValidForNameContext { .. } => {
                let names = match fault {
                    NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                        // They come as `DnsName("db.example")` and `IpAddress(10.0.0.1)`.
                        let bare = |name: &String| {
                            let name = name.split_once('(').map_or(name.as_str(), |(_, name)| name);
                            name.trim_matches(['"', ')']).to_owned()
                        };
                        format!("for {}", presented.iter().map(bare).collect::<Vec<_>>().join(", "))
                    }
                    _ => "for no name at all (only subject alternative names count)".into(),
                };
                format!(
                    "the server's certificate is {names}, not for {}; connect by a name that it has, issue it for this one, or, \
                     where any server of that authority will do, use sslmode=verify-ca",
                    self.host.name
                )
            }
            Expired | ExpiredContext { .. } => "the server's certificate has expired; renew it there".into(),
            NotValidYet | NotValidYetContext { .. } => {
                "the server's certificate is not valid yet; compare the clocks of this host and of the issuer".into()
            }
            other => format!("the server's certificate was refused: {other}; the authorities are those of {roots}"),
        }
    }
}

fn advice(code: &SqlState, info: &Conninfo, password: Option<&str>) -> Option<String> {
    let (user, dbname) = (&info.user, &info.dbname);
    Some(match *code {
        SqlState::INVALID_PASSWORD => match password {
            Some(place) => format!("the password was taken from {place}: is it still that of {user}?"),
            None => format!("no password was found: {}", places(info)),
        },
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            let tls = match info.tls.mode {
                mode if mode < SslMode::Require => ", and whether it asks for TLS (sslmode)",
                _ if !info.tls.has_identity() => ", and whether it asks for a client certificate (sslcert, sslkey)",
                _ => "",
            };
            format!(
                "see what the server's pg_hba.conf has for {user} from this host{tls}; does the role exist, with LOGIN?"
            )
        }
        SqlState::INVALID_CATALOG_NAME => format!("create database {dbname}, or name another in the connection string"),
        SqlState::INSUFFICIENT_PRIVILEGE => format!("grant CONNECT on database {dbname} to {user}"),
        SqlState::TOO_MANY_CONNECTIONS => "wait, lower max_connections here, or raise it on the server".into(),
        SqlState::CANNOT_CONNECT_NOW => "it is starting up, shutting down or recovering: try again".into(),
        _ => return None,
    })
}

fn places(info: &Conninfo) -> String {
    use super::passfile::Password::Passfile;
    let passfile = match &info.password {
        Passfile(Some(path)) => path.display().to_string(),
        _ => "~/.pgpass".into(),
    };
    format!("give one in password_file, PGPASSWORD, or a line of {passfile} (mode 0600)")
}
