//! The same connection for PostgreSQL's own programs: what `pg_dump` has to be told to get in where we do.
//!
//! All of it goes by the environment: a program's arguments can be read by every user of the host, its environment by its
//! own user alone. A variable that an older libpq does not know is passed over, where a keyword would be refused.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use secrecy::{ExposeSecret as _, SecretString};

use super::Conninfo;
use super::conntext::written;
use super::keywords::{KEYWORDS, Use};
use super::passfile::Password;

/// From this version on libpq knows `sslrootcert=system`; to an older one it is the name of a file.
const KNOWS_SYSTEM: i32 = 16;
/// Where systems have the certificates that they trust in one file: Debian, Red Hat and its kin, SUSE, Alpine.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a program of PostgreSQL's needs to connect. `Debug` never shows the password.
pub struct LibpqEnv {
    /// Names and values, none of them secret.
    pub open: Vec<(&'static str, String)>,
    password: Option<SecretString>,
    /// The connection string for the program's arguments: what has no variable, and the database.
    pub conninfo: String,
}

impl LibpqEnv {
    /// All variables, the password among them.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let password = self.password.as_ref().map(|password| ("PGPASSWORD", password.expose_secret()));
        self.open.iter().map(|(name, value)| (*name, value.as_str())).chain(password)
    }
}

impl fmt::Debug for LibpqEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LibpqEnv").field("open", &self.open).field("conninfo", &self.conninfo).finish_non_exhaustive()
    }
}

impl Conninfo {
    /// The same with one more setting from the very beginning of the session. Poolers may refuse that.
    #[must_use]
    pub fn with_setting(&self, name: &str, value: &str) -> Self {
        let mut with = self.clone();
        let options = with.said.entry("options").or_default();
        options.push_str(&format!(" -c {name}={value}"));
        with.config.options(options.trim());
        with
    }

    /// The way to this database as a URL, whole, whatever the environment is where it is read; but without the password.
    pub fn url(&self) -> String {
        let used = |name: &str| KEYWORDS.iter().any(|keyword| keyword.name == name && keyword.used == Use::Yes);
        let mut pairs: Vec<(&str, &str)> = self.said.iter().map(|(name, value)| (*name, value.as_str())).collect();
        pairs.retain(|(name, value)| {
            !value.is_empty() && used(name) && !matches!(*name, "user" | "dbname" | "password")
        });
        pairs.push(("user", &self.user));
        pairs.push(("dbname", &self.dbname));
        written(&pairs)
    }

    /// Where the password stands, unless it is in a file; in words.
    pub fn password_source(&self) -> Option<&'static str> {
        match &self.password {
            Password::Given(_) => Some("the URL"),
            Password::Environment(_) => Some("PGPASSWORD"),
            Password::File { .. } | Password::Passfile(_) => None,
        }
    }

    /// The same way to another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        let mut with = self.clone();
        name.clone_into(&mut with.dbname);
        with.config.dbname(name);
        with.said.insert("dbname", name.to_owned());
        with
    }

    /// For a program of such a major version, if that is known, that is to be seen as `application_name`. May block: a password
    /// file is read.
    ///
    /// # Errors
    /// The password file cannot be read, or the program cannot be told what is trusted.
    pub fn for_libpq(&self, application_name: &str, major: Option<i32>) -> Result<LibpqEnv> {
        let list =
            |item: fn(&super::conninfo::Host) -> String| self.hosts.iter().map(item).collect::<Vec<_>>().join(",");
        let mut open = vec![
            ("PGHOST", list(|host| host.name.clone())),
            ("PGPORT", list(|host| host.port.to_string())),
            ("PGHOSTADDR", list(|host| host.address.map(|address| address.to_string()).unwrap_or_default())),
            ("PGUSER", self.user.clone()),
            ("PGCONNECT_TIMEOUT", self.connect_timeout.map_or(0, |limit| limit.as_secs()).to_string()),
            ("PGOPTIONS", self.said.get("options").map(|options| options.trim().to_owned()).unwrap_or_default()),
            // As we connect: a ticket that lies about is not to be tried.
            ("PGGSSENCMODE", "disable".into()),
        ];
        open.retain(|(name, value)| *name != "PGHOSTADDR" || value.contains(|c| c != ','));
        for keyword in KEYWORDS.iter().filter(|keyword| keyword.used == Use::Yes) {
            let Some(variable) = keyword.variable else { continue };
            // The database stands in the connection string.
            if variable == "PGDATABASE" || open.iter().any(|(name, _)| *name == variable) {
                continue;
            }
            if let Some(value) = self.said.get(keyword.name).filter(|value| !value.is_empty()) {
                open.push((variable, value.clone()));
            }
        }
        if major.is_none_or(|major| major < KNOWS_SYSTEM)
            && self.said.get("sslrootcert").is_some_and(|word| word == "system")
        {
            match (bundle(), major) {
                (Some(bundle), _) => {
                    open.retain(|(name, _)| !matches!(*name, "PGSSLROOTCERT" | "PGSSLMODE"));
                    open.push(("PGSSLROOTCERT", bundle.display().to_string()));
                    // What the word asks for by itself.
                    open.push(("PGSSLMODE", "verify-full".into()));
                }
                (None, Some(major)) => bail!(
                    "programs of PostgreSQL {major} take `sslrootcert=system` for the name of a file, and none of {} is \
                     there: install ca-certificates, name the file in `sslrootcert`, or set `pg_bin` to programs of 16 or newer",
                    BUNDLES.join(", ")
                ),
                // It may be newer.
                (None, None) => {}
            }
        }
        let password = match &self.password {
            // libpq looks there by itself, host by host.
            Password::Passfile(path) => {
                if let Some(path) = path.as_ref().filter(|_| !open.iter().any(|(name, _)| *name == "PGPASSFILE")) {
                    open.push(("PGPASSFILE", path.display().to_string()));
                }
                None
            }
            other => other.look_up("", 0, "", "").context("look up the password")?.map(|found| found.secret),
        };
        let mut conninfo = format!("dbname={} application_name={}", quoted(&self.dbname), quoted(application_name));
        let mut say = |keyword: &str, usual: &str| {
            let value = self.said.get(keyword).map_or(usual, String::as_str);
            conninfo.push_str(&format!(" {keyword}={}", quoted(value)));
        };
        // A server that is gone without a word is noticed as soon as our own sessions notice it.
        for (keyword, usual) in [
            ("keepalives", "1"),
            ("keepalives_idle", "30"),
            ("keepalives_interval", "10"),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
        ] {
            say(keyword, usual);
        }
        Ok(LibpqEnv { open, password, conninfo })
    }
}

/// The file with the certificates that this host trusts, as OpenSSL finds it.
fn bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(BUNDLES.map(PathBuf::from)).find(|file| file.is_file())
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(text: &str) -> LibpqEnv {
        env_of(text, 16)
    }

    fn env_of(text: &str, major: i32) -> LibpqEnv {
        struct Nothing;
        impl crate::pg::conninfo::Env for Nothing {
            fn var(&self, _: &str) -> Option<String> {
                None
            }
            fn user(&self) -> Option<String> {
                Some("anna".into())
            }
            fn home(&self) -> Option<std::path::PathBuf> {
                Some("/home/anna".into())
            }
        }
        let conninfo = Conninfo::parse_with(text, None, &Nothing).unwrap();
        conninfo.with_setting("x", "1").for_libpq("pgtend/a 'b'", Some(major)).unwrap()
    }

    fn get(env: &LibpqEnv, name: &str) -> Option<String> {
        env.variables().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    }

    #[test]
    fn a_program_is_told_all_that_the_connection_string_says() {
        let found = env("host=a,b port=1,2 user=u dbname='d b' sslmode=verify-full sslrootcert=system \
                         options='-c work_mem=1MB' target_session_attrs=standby connect_timeout=3 keepalives_idle=7");
        for (name, value) in [
            ("PGHOST", "a,b"),
            ("PGPORT", "1,2"),
            ("PGUSER", "u"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "system"),
            ("PGOPTIONS", "-c work_mem=1MB -c x=1"),
            ("PGTARGETSESSIONATTRS", "standby"),
            ("PGCONNECT_TIMEOUT", "3"),
            ("PGPASSFILE", "/home/anna/.pgpass"),
        ] {
            assert_eq!(get(&found, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(get(&found, "PGHOSTADDR"), None);
        assert_eq!(get(&found, "PGDATABASE"), None);
        assert!(found.conninfo.starts_with(r"dbname='d b' application_name='pgtend/a \'b\''"), "{}", found.conninfo);
        assert!(found.conninfo.contains(" keepalives_idle='7'"), "{}", found.conninfo);
    }

    #[test]
    fn a_program_that_does_not_know_the_systems_certificates_is_told_their_file() {
        // Wherever there is one; where there is none it is an error, which no machine that builds this has.
        let found = env_of("host=a user=u sslrootcert=system", 15);
        let file = get(&found, "PGSSLROOTCERT").expect("a file");
        assert!(std::path::Path::new(&file).is_absolute(), "{file}");
        assert_eq!(get(&found, "PGSSLMODE").as_deref(), Some("verify-full"));
        let named = env_of("host=a user=u sslmode=verify-ca sslrootcert=/x/ca.crt", 15);
        assert_eq!(get(&named, "PGSSLROOTCERT").as_deref(), Some("/x/ca.crt"));
        assert_eq!(get(&named, "PGSSLMODE").as_deref(), Some("verify-ca"));
    }

    #[test]
    fn a_password_is_in_the_environment_and_nowhere_else() {
        let found = env("postgresql://u:hunter2@h/d");
        assert_eq!(get(&found, "PGPASSWORD").as_deref(), Some("hunter2"));
        assert!(!found.conninfo.contains("hunter2"));
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn a_host_that_is_known_by_its_address_keeps_its_place() {
        let found = env("host=a,b hostaddr=,10.0.0.2");
        assert_eq!(get(&found, "PGHOSTADDR").as_deref(), Some(",10.0.0.2"));
    }
}
