//! Where a password comes from when the connection string has none, in libpq's order.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use secrecy::{ExposeSecret as _, SecretString};

/// Where the password of a connection is. Files are read at each connect, so that a new password needs no restart.
#[derive(Clone)]
pub(super) enum Password {
    Given(SecretString),
    /// The config's `password_file`, whose whole content is the password. `exposed` is said at most once.
    File {
        path: PathBuf,
        exposed: Option<Arc<Once>>,
    },
    /// `PGPASSWORD`.
    Environment(SecretString),
    /// Lines of `host:port:dbname:user:password`; none where there is no home directory.
    Passfile(Option<PathBuf>),
}

/// A password and where it was found, for messages.
#[derive(Clone)]
pub(super) struct Found {
    pub secret: SecretString,
    pub place: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PasswordError {
    #[error("the password_file {} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("the password_file {} holds no password: {what}", path.display())]
    Unusable { path: PathBuf, what: &'static str },
    #[error("the password was not looked up to the end: {0}")]
    Unfinished(tokio::task::JoinError),
}

impl Password {
    /// Reads files, so it may block. `host` is the name in the connection string, or the socket directory.
    pub(super) fn look_up(
        &self,
        host: &str,
        port: u16,
        dbname: &str,
        user: &str,
    ) -> Result<Option<Found>, PasswordError> {
        let found = |secret: SecretString, place: String| Ok(Some(Found { secret, place }));
        match self {
            Password::Given(secret) => found(secret.clone(), "the connection string".into()),
            Password::Environment(secret) => found(secret.clone(), "PGPASSWORD".into()),
            Password::File { path, exposed } => {
                let secret = whole_file(path)?;
                if let Some(once) = exposed.as_ref().filter(|_| others_may_read(path)) {
                    once.call_once(|| {
                        tracing::warn!(
                            "the password_file {} can be read by others than its owner: chmod 0600 it",
                            path.display()
                        );
                    });
                }
                found(secret, path.display().to_string())
            }
            Password::Passfile(None) => Ok(None),
            Password::Passfile(Some(path)) => Ok(in_passfile(path, host, port, dbname, user)
                .map(|secret| Found { secret, place: path.display().to_string() })),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::Given(_) => f.write_str("in the connection string"),
            Password::File { path, .. } => write!(f, "password_file {}", path.display()),
            Password::Environment(_) => f.write_str("PGPASSWORD"),
            Password::Passfile(path) => write!(f, "passfile {path:?}"),
        }
    }
}

fn others_may_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| readable_by_others(&metadata))
}

/// Whether more than its owner may read a secret. The group may, where root has given it the file, as for a client's key in
/// libpq: so are secrets mounted into containers.
pub fn readable_by_others(metadata: &fs::Metadata) -> bool {
    beyond_owner(metadata.uid(), metadata.permissions().mode())
}

const fn beyond_owner(owner: u32, mode: u32) -> bool {
    mode & (if owner == 0 { 0o004 } else { 0o044 }) != 0
}

fn whole_file(path: &Path) -> Result<SecretString, PasswordError> {
    let content = fs::read(path).map_err(|error| PasswordError::Unreadable { path: path.into(), error })?;
    let unusable = |what| PasswordError::Unusable { path: path.into(), what };
    let text = String::from_utf8(content).map_err(|_| unusable("it is not UTF-8"))?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match line {
        "" => Err(unusable("it is empty")),
        line if line.contains('\0') => Err(unusable("it has a zero byte")),
        line => Ok(line.into()),
    }
}

/// A file that is not there is no news; one that is there and passed over is.
fn in_passfile(path: &Path, host: &str, port: u16, dbname: &str, user: &str) -> Option<SecretString> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!("the passfile {} is not a plain file and was passed over", path.display());
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!("the passfile {} gives others access and was passed over: chmod 0600 it", path.display());
        return None;
    }
    match fs::read(path) {
        Ok(content) => find(&content, host, port, dbname, user),
        Err(error) => {
            tracing::warn!("the passfile {} cannot be read and was passed over: {error}", path.display());
            None
        }
    }
}

/// The password of the first line that fits.
fn find(content: &[u8], host: &str, port: u16, dbname: &str, user: &str) -> Option<SecretString> {
    // A server behind a socket in a usual place is called localhost there; any other socket goes by its directory.
    let host = if super::conninfo::SOCKET_DIRECTORIES.contains(&host) { "localhost" } else { host };
    let port = port.to_string();
    content.split(|byte| *byte == b'\n').find_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let mut rest = line.strip_suffix('\r').unwrap_or(line);
        if rest.starts_with('#') {
            return None;
        }
        for wanted in [host, port.as_str(), dbname, user] {
            let (raw, field, after) = field(rest);
            if raw != "*" && field.expose_secret() != wanted {
                return None;
            }
            rest = after?;
        }
        let (_, password, _) = field(rest);
        (!password.expose_secret().is_empty()).then_some(password)
    })
}

/// The field that `text` begins with, as written and unescaped, and what follows its colon, if it has one.
fn field(text: &str) -> (&str, SecretString, Option<&str>) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            ':' => return (&text[..at], value.into(), Some(&text[at + 1..])),
            '\\' => value.push(characters.next().map_or('\\', |(_, next)| next)),
            c => value.push(c),
        }
    }
    (text, value.into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, host: &str, expect: Option<&str>) {
        let found = find(content.as_bytes(), host, 5432, "app", "anna");
        assert_eq!(found.as_ref().map(secrecy::ExposeSecret::expose_secret), expect, "{host} in {content:?}");
    }

    #[test]
    fn a_secret_is_for_its_owner_and_for_a_group_that_root_has_given_it_to() {
        for (owner, mode, expect) in [
            (10, 0o600, false),
            (10, 0o640, true),
            (10, 0o604, true),
            (0, 0o440, false),
            (0, 0o640, false),
            (0, 0o644, true),
        ] {
            assert_eq!(beyond_owner(owner, mode), expect, "{owner} {mode:o}");
        }
    }

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        check("", "db", None);
        check("db:5432:app:anna:one\ndb:5432:app:anna:two", "db", Some("one"));
        check("db:5432:app:berta:one\ndb:5433:app:anna:two\n*:*:*:*:three\r\n", "db", Some("three"));
        check("# db:5432:app:anna:no\ndb:*:app:*:yes", "db", Some("yes"));
        check("db:5432:app:anna", "db", None);
        check("db:5432:app:anna:", "db", None);
        check("db2:5432:app:anna:x", "db", None);
    }

    #[test]
    fn backslashes_take_the_next_character_as_it_is() {
        check(r"\:\:1:5432:app:anna:a\:b\\c", "::1", Some(r"a:b\c"));
        check(r"db:5432:\*:anna:x", "db", None);
        check(r"db:5432:a\pp:anna:x\", "db", Some(r"x\"));
    }

    #[test]
    fn sockets_in_the_usual_places_are_called_localhost() {
        check("localhost:5432:app:anna:x", "/var/run/postgresql", Some("x"));
        check("localhost:5432:app:anna:x", "/tmp", Some("x"));
        check("localhost:5432:app:anna:x", "/srv/pg", None);
        check("/srv/pg:5432:app:anna:x", "/srv/pg", Some("x"));
    }

    #[test]
    fn a_passfile_that_others_may_read_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        fs::write(&path, "*:*:*:*:x").unwrap();
        for (mode, fits) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = Password::Passfile(Some(path.clone())).look_up("db", 5432, "app", "anna").unwrap();
            assert_eq!(found.is_some(), fits, "{mode:o}");
        }
    }

    #[test]
    fn a_password_file_is_the_password_without_its_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let password = Password::File { path: path.clone(), exposed: None };
        let look_up = || password.look_up("db", 5432, "app", "anna");
        for (content, expect) in [("a b\n", "a b"), ("a", "a"), ("a\r\n", "a"), (" a \n\n", " a \n")] {
            fs::write(&path, content).unwrap();
            assert_eq!(look_up().unwrap().unwrap().secret.expose_secret(), expect);
        }
        fs::write(&path, "\n").unwrap();
        assert!(look_up().err().unwrap().to_string().ends_with("holds no password: it is empty"));
        fs::remove_file(&path).unwrap();
        assert!(look_up().err().unwrap().to_string().contains("cannot be read: No such file"));
    }
}
