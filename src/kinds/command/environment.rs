//! What a program is given besides its arguments: little of our own environment, which may hold what is none of its
//! business, and all that it needs to know.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use secrecy::ExposeSecret as _;

use super::Command;
use crate::kinds::Context;
use crate::pg::application_name;

/// What it has of our own environment: what finds programs, files, words and certificates.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// A shorter value may stand in an output by chance, and hides little.
const SECRET: usize = 6;

pub struct Environment {
    pub variables: BTreeMap<OsString, OsString>,
    /// What no output may show, the longest first.
    secrets: Vec<String>,
}

impl Environment {
    /// # Errors
    /// The password file of the database cannot be read.
    pub async fn of(command: &Command, cx: &Context) -> Result<Self> {
        let mut environment = Self { variables: BTreeMap::new(), secrets: Vec::new() };
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                environment.variables.insert(name.into(), value);
            }
        }
        if command.connection {
            environment.connection(cx).await?;
        }
        environment.set("PGTEND_JOB", cx.job.as_str());
        environment.set("PGTEND_DATABASE", &cx.pg.database().name);
        // Where the history cannot be written there is none.
        if let Some(run) = cx.run {
            environment.set("PGTEND_RUN_ID", &run.to_string());
        }
        for (name, value) in &command.env {
            environment.set(name.get_ref(), value.expose_secret());
            environment.hide(value.expose_secret());
        }
        environment.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(environment)
    }

    /// How to reach the job's database, as libpq reads it.
    async fn connection(&mut self, cx: &Context) -> Result<()> {
        let (conninfo, name) = (cx.pg.database().conninfo.clone(), application_name(cx.job.as_str(), ""));
        let for_libpq = name.clone();
        let env = tokio::task::spawn_blocking(move || conninfo.for_libpq(&for_libpq, None));
        let env = env.await.context("look up how to connect")??;
        for (name, value) in env.variables() {
            self.set(name, value);
            if name == "PGPASSWORD" {
                self.secrets.push(value.to_owned());
            }
        }
        self.set("PGDATABASE", cx.pg.database().conninfo.database_name());
        self.set("PGAPPNAME", &name);
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.into(), value.into());
    }

    /// A secret of several lines may be shown line by line.
    fn hide(&mut self, secret: &str) {
        let parts = std::iter::once(secret).chain(secret.lines()).filter(|part| part.len() >= SECRET);
        self.secrets.extend(parts.map(str::to_owned));
    }

    pub fn path(&self) -> Option<&OsStr> {
        self.variables.get(OsStr::new("PATH")).map(OsString::as_os_str)
    }

    pub fn longest_secret(&self) -> usize {
        self.secrets.iter().map(String::len).max().unwrap_or_default()
    }

    /// The end of what a program said, with no secret in it. The cut comes after the hiding, or half of one could be left.
    /// `cut`: it was cut before, and may begin in the middle of one.
    pub fn without_secrets(&self, said: &str, cut: bool) -> String {
        let said = if cut { self.without_the_end_of_one(said) } else { said };
        let hidden = self.secrets.iter().filter(|secret| !secret.is_empty());
        super::tail::cut(&hidden.fold(said.to_owned(), |said, secret| said.replace(secret.as_str(), "***")))
    }

    /// What is said after the end of a secret that it begins with, the longest there is. A letter that was cut in two is shown
    /// as one that nobody knows.
    fn without_the_end_of_one<'a>(&self, said: &'a str) -> &'a str {
        let said = said.trim_start_matches(char::REPLACEMENT_CHARACTER);
        let ends = self.secrets.iter().flat_map(|secret| secret.char_indices().skip(1).map(|(at, _)| &secret[at..]));
        let longest = ends.filter(|end| said.starts_with(end)).max_by_key(|end| end.len());
        longest.map_or(said, |end| &said[end.len()..])
    }
}

/// The file that a name means: with a slash in it it counts from `folder`, else it is looked for on the PATH.
///
/// # Errors
/// There is none, or it may not be executed.
pub fn find(name: &str, folder: &Path, path: Option<&OsStr>) -> Result<PathBuf> {
    let is_file = |file: &Path| file.metadata().is_ok_and(|facts| facts.is_file());
    let may_run = |file: &Path| file.metadata().is_ok_and(|facts| facts.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        let file = folder.join(name);
        return match () {
            () if !is_file(&file) => bail!("there is no program {}", file.display()),
            () if !may_run(&file) => bail!("{} is not executable: chmod +x", file.display()),
            () => Ok(file),
        };
    }
    let path = path.unwrap_or_default();
    // One that is not absolute would depend on where we stand.
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    let found = folders.map(|folder| folder.join(name)).find(|file| is_file(file) && may_run(file));
    found.with_context(|| format!("there is no program {name:?} on the PATH ({})", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_beside_the_config_or_on_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, mode| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            file
        };
        let (tool, plain) = (file("bin/tool", 0o755), file("bin/plain", 0o644));
        let path = std::env::join_paths([PathBuf::from("bin"), folder.path().join("bin")]).unwrap();
        let find = |name: &str| super::find(name, folder.path(), Some(&path)).map_err(|error| error.to_string());
        assert_eq!(find("tool").unwrap(), tool);
        assert_eq!(find("./bin/tool").unwrap(), folder.path().join("./bin/tool"));
        assert_eq!(find(tool.to_str().unwrap()).unwrap(), tool);
        for (name, why) in [
            ("plain", "on the PATH"),
            ("gone", "\"gone\" on the PATH"),
            ("./tool", "no program"),
            ("bin", "no program"),
        ] {
            let said = find(name).unwrap_err();
            assert!(said.contains(why), "{name}: {said}");
        }
        assert!(find(plain.to_str().unwrap()).unwrap_err().contains("not executable"));
        assert!(find("./bin").unwrap_err().contains("no program"), "a folder is none");
    }

    #[test]
    fn no_secret_is_left_in_what_was_said() {
        let mut environment = Environment { variables: BTreeMap::new(), secrets: Vec::new() };
        environment.hide("s3cr-et-\n-of-two-lines");
        environment.hide("short");
        let said = environment.without_secrets("a s3cr-et-\nb -of-two-lines short\ns3cr-et-\n-of-two-lines", false);
        assert_eq!(said, "a ***\nb *** short\n***");
    }

    #[test]
    fn the_end_of_a_secret_that_was_cut_is_not_shown() {
        let mut environment = Environment { variables: BTreeMap::new(), secrets: Vec::new() };
        environment.hide("s3cr-et-wörd");
        environment.hide("other-wörd");
        assert_eq!(environment.without_secrets("cr-et-wörd and s3cr-et-wörd\nend", true), " and ***\nend");
        assert_eq!(environment.without_secrets("\u{fffd}rd\nend", true), "\nend");
        assert_eq!(environment.without_secrets("s3cr-et-wörd", true), "***");
        assert_eq!(environment.without_secrets("rd is said", false), "rd is said", "it is whole");
        assert_eq!(environment.longest_secret(), "s3cr-et-wörd".len());
    }
}
