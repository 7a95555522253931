//! libpq's connection keywords: which are followed, which change nothing here, and which are refused rather than ignored.

use super::conninfo::ConninfoError;

pub(super) struct Keyword {
    pub name: &'static str,
    /// What it is taken from where the connection string is silent.
    pub variable: Option<&'static str>,
    pub used: Use,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Yes,
    /// What it is for does not exist here, and a connection without it is no worse.
    Idle,
    /// Asking for it and not getting it would be worse than an error. The values after the reason are what we do anyhow.
    Refused(&'static str, &'static [&'static str]),
}

pub(super) const KEYWORDS: &[Keyword] = &[
    followed("host", "PGHOST"),
    followed("hostaddr", "PGHOSTADDR"),
    followed("port", "PGPORT"),
    followed("dbname", "PGDATABASE"),
    followed("user", "PGUSER"),
    // Its variable is looked at later: the config's password_file goes first.
    Keyword { name: "password", variable: None, used: Use::Yes },
    followed("passfile", "PGPASSFILE"),
    followed("connect_timeout", "PGCONNECT_TIMEOUT"),
    followed("options", "PGOPTIONS"),
    followed("target_session_attrs", "PGTARGETSESSIONATTRS"),
    followed("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    followed("channel_binding", "PGCHANNELBINDING"),
    followed("sslmode", "PGSSLMODE"),
    followed("sslnegotiation", "PGSSLNEGOTIATION"),
    followed("sslrootcert", "PGSSLROOTCERT"),
    followed("sslcert", "PGSSLCERT"),
    followed("sslkey", "PGSSLKEY"),
    followed("sslsni", "PGSSLSNI"),
    followed("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    followed("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    Keyword { name: "keepalives", variable: None, used: Use::Yes },
    Keyword { name: "keepalives_idle", variable: None, used: Use::Yes },
    Keyword { name: "keepalives_interval", variable: None, used: Use::Yes },
    Keyword { name: "keepalives_count", variable: None, used: Use::Yes },
    Keyword { name: "tcp_user_timeout", variable: None, used: Use::Yes },
    // Each session says which job it works for.
    idle("application_name"),
    idle("fallback_application_name"),
    idle("sslcompression"),
    idle("krbsrvname"),
    idle("gsslib"),
    idle("gssdelegation"),
    refused("gssencmode", "PGGSSENCMODE", "GSSAPI is not supported: use TLS (sslmode)", &["disable", "prefer"]),
    refused(
        "client_encoding",
        "PGCLIENTENCODING",
        "the encoding is always UTF8",
        &["auto", "UTF8", "utf8", "UTF-8", "utf-8"],
    ),
    refused("service", "PGSERVICE", "service files are not read: write host, port, user and dbname here", &[]),
    refused(
        "sslcrl",
        "PGSSLCRL",
        "revocation lists are not supported: take the revoked authority out of sslrootcert",
        &[],
    ),
    refused(
        "sslcrldir",
        "PGSSLCRLDIR",
        "revocation lists are not supported: take the revoked authority out of sslrootcert",
        &[],
    ),
    refused("sslpassword", "", "encrypted keys are not supported: give sslkey a key without a passphrase", &[]),
    refused("sslcertmode", "PGSSLCERTMODE", "only \"allow\" is supported", &["allow"]),
    refused(
        "requirepeer",
        "PGREQUIREPEER",
        "the user behind a socket is not checked: connect by TCP with sslmode=verify-full",
        &[],
    ),
    refused(
        "require_auth",
        "PGREQUIREAUTH",
        "the method is not checked: use sslmode=verify-full or channel_binding=require",
        &[],
    ),
    refused("replication", "", "a replication connection runs no jobs", &["false", "off", "no", "0"]),
];

const fn followed(name: &'static str, variable: &'static str) -> Keyword {
    Keyword { name, variable: Some(variable), used: Use::Yes }
}

const fn idle(name: &'static str) -> Keyword {
    Keyword { name, variable: None, used: Use::Idle }
}

const fn refused(
    name: &'static str,
    variable: &'static str,
    why: &'static str,
    anyhow: &'static [&'static str],
) -> Keyword {
    let variable = if variable.is_empty() { None } else { Some(variable) };
    Keyword { name, variable, used: Use::Refused(why, anyhow) }
}

pub(super) fn keyword(name: &str) -> Option<&'static Keyword> {
    // The driver's own word for it, which users of other tools that stand on it know.
    let name = if name == "keepalives_retries" { "keepalives_count" } else { name };
    KEYWORDS.iter().find(|known| known.name == name)
}

impl Keyword {
    /// `called` is the key or the variable that brought `value`.
    pub(super) fn check(&self, value: &str, called: &str) -> Result<(), ConninfoError> {
        match self.used {
            Use::Refused(why, anyhow) if !value.is_empty() && !anyhow.contains(&value) => {
                Err(ConninfoError(format!("{called} is set for the connection, but {why}")))
            }
            _ => Ok(()),
        }
    }
}
