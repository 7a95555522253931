//! `command`: a program of a team's own, under the same lock, history, metrics and alerts as everything else.
//!
//! It is started as it is written, by no shell, in a process group of its own that ends as one.

mod environment;
mod run;
mod tail;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use toml::Spanned;

use self::environment::Environment;
use super::{Applied, Context, Kind, StopStyle};
use crate::pg::explain;
use crate::run::{Finding, Plan, Step};

/// Runs a program of your own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments, which every user of the host can read. With a slash in it the program counts from
    /// this config file's folder, else it is looked for on the PATH. No shell is between: for one, `["sh", "-c", "…"]`.
    #[schemars(with = "Vec<String>")]
    pub command: Spanned<Vec<String>>,
    /// Variables for its environment. Their values are neither logged nor recorded.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<Spanned<String>, SecretString>,
    /// Whether it is told how to reach the job's database, password included, as psql and the like read it: by PGHOST,
    /// PGUSER and so on. Default: true.
    #[serde(default = "yes")]
    pub connection: bool,
    /// Where this config file lies.
    #[serde(skip)]
    #[schemars(skip)]
    folder: PathBuf,
}

fn yes() -> bool {
    true
}

/// There is but one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run;

impl Kind for Command {
    type Action = Run;

    const STOP: StopStyle = StopStyle::AtOnce;

    fn resolve(&mut self, folder: &Path) {
        // An empty path is where we stand, but no folder that a program can be started in.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        self.folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    }

    fn validate(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut mistake = |message: &str, mend: &str, span| found.push(Finding::error(message, mend).at(span));
        let (command, span) = (self.command.get_ref(), self.command.span());
        match command.first().map(String::as_str) {
            None | Some("") => mistake("`command` names no program", "write [\"program\", \"argument\"]", span.clone()),
            Some(_) => {}
        }
        if command.iter().any(|word| word.contains('\0')) {
            mistake("a word of `command` holds a NUL byte, which no program can be given", "take it out", span);
        }
        for (name, value) in &self.env {
            let (name, span) = (name.get_ref(), name.span());
            if name.is_empty() || name.contains(['=', '\0']) {
                mistake("a variable has a name, without `=`", "mend the name", span);
            } else if name.starts_with("PGTEND_") {
                mistake("variables that begin with PGTEND_ are set by pgtend", "call it something else", span);
            } else if value.expose_secret().contains('\0') {
                mistake("a value holds a NUL byte, which no program can be given", "take it out", span);
            }
        }
        found
    }

    async fn plan(&self, _: &Context) -> Result<Plan<Run>> {
        Ok(Plan { actions: vec![Run], ..Plan::default() })
    }

    fn step(&self, _: &Run) -> Step {
        let command = self.command.get_ref();
        let names: Vec<_> = self.env.keys().map(Spanned::get_ref).collect();
        Step {
            action: "execute",
            target: command.first().cloned().unwrap_or_default(),
            reason: "as the config says".into(),
            detail: json!({ "command": command, "env": names, "folder": self.folder }),
            sql: None,
        }
    }

    async fn apply(&self, cx: &Context, _: &Run) -> Result<Applied> {
        let environment = Environment::of(self, cx).await?;
        let program = self.program(&environment)?;
        let ended = run::run(cx, &program, &self.command.get_ref()[1..], &environment, &self.folder).await?;
        let said = environment.without_secrets(&ended.said, ended.cut);
        {
            let mut report = cx.report.lock();
            if let Some(code) = ended.status.code() {
                report.fields.insert("exit_status".into(), json!(code));
            }
            if !said.is_empty() {
                report.fields.insert("output".into(), json!(said));
            }
        }
        if ended.left_behind {
            cx.report.warn("something that it started is still running, and holds its output");
        }
        match ended.stopped {
            Some(reason) => Ok(Applied::Stopped(reason)),
            None if ended.status.success() => Ok(Applied::Done),
            None => bail!("{}", failure(ended.status, &said)),
        }
    }

    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let environment = Environment::of(self, cx).await?;
        let missing = self.program(&environment).err().map(|error| {
            let mend = "install it, or mend the path: with a slash in it it counts from the config file's folder";
            Finding::error(explain(&error), mend).at(self.command.span())
        });
        Ok(missing.into_iter().collect())
    }
}

impl Command {
    /// The file that is to be started.
    ///
    /// # Errors
    /// There is none, or it may not be executed.
    fn program(&self, environment: &Environment) -> Result<PathBuf> {
        let Some(name) = self.command.get_ref().first() else { bail!("`command` names no program") };
        environment::find(name, &self.folder, environment.path())
    }
}

/// How it ended, with its last words.
fn failure(status: std::process::ExitStatus, said: &str) -> String {
    /// So many of its last lines go into the error; `details.output` has more.
    const LINES: usize = 5;
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let words = lines[lines.len().saturating_sub(LINES)..].join(" / ");
    let how = how(status);
    if words.is_empty() { format!("{how}, and it said nothing") } else { format!("{how}: {words}") }
}

fn how(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => "killed by signal 9".into(),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_means_nothing_is_refused() {
        let check = |config: &str, expect: &str| {
            let said = match toml::from_str::<Command>(config) {
                Err(error) => error.message().to_owned(),
                Ok(kind) => kind.validate().iter().map(|f| format!("{} {}", f.message, f.mend)).collect(),
            };
            let right = if expect.is_empty() { said.is_empty() } else { said.contains(expect) };
            assert!(right, "{config}: {said:?} does not say {expect:?}");
        };
        check("command = ['true']\nenv = { A = 'b' }", "");
        check("command = []", "names no program");
        check("command = ['']", "names no program");
        check("command = 'true'", "expected a sequence");
        check("command = [\"a\\u0000b\"]", "NUL");
        check("command = ['a']\nenv = { 'A=B' = 'c' }", "without `=`");
        check("command = ['a']\nenv = { PGTEND_JOB = 'c' }", "set by pgtend");
        check("command = ['a']\nenv = { A = \"a\\u0000b\" }", "NUL");
        check("command = ['a']\nenv = { A = 1 }", "expected a string");
        check("command = ['a']\nshell = true", "unknown field `shell`");
    }

    #[test]
    fn a_value_of_the_environment_is_not_shown() {
        let kind: Command = toml::from_str("command = ['a']\nenv = { TOKEN = 's3cr-et' }").unwrap();
        assert!(!format!("{kind:?} {:?}", kind.step(&Run)).contains("s3cr-et"));
        assert_eq!(kind.step(&Run).detail["env"], json!(["TOKEN"]));
    }

    #[test]
    fn a_failure_says_how_it_ended_and_its_last_words() {
        use std::os::unix::process::ExitStatusExt as _;
        let of = |raw| std::process::ExitStatus::from_raw(raw);
        assert_eq!(failure(of(3 << 8), "one\n\n two\n"), "exit status 3: one /  two");
        assert_eq!(failure(of(1 << 8), ""), "exit status 1, and it said nothing");
        assert_eq!(failure(of(9), "a\nb\nc\nd\ne\nf"), "killed by signal 9: b / c / d / e / f");
        assert_eq!(failure(of(15), "x"), "ended by signal 15: x");
    }
}
