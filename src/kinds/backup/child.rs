//! A program of PostgreSQL's at work for us: its own process group, no shell, nothing secret in its arguments, and its end
//! when ours comes.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;

use crate::kinds::group::Group;

/// So many of its last lines are kept.
const LINES: usize = 8;
/// The bytes of a line that are held at one time.
const PIECE: u64 = 64 << 10;
/// How long it may take to end by itself once it was asked to.
const GRACE: Duration = Duration::from_millis(1500);

/// What goes through our hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    Out,
    In,
    /// Both.
    Through,
    /// Nothing: it writes to files.
    None,
}

/// A program that ended badly, with its last words.
#[derive(Debug)]
struct BadEnd {
    program: String,
    how: String,
    said: String,
    /// It gave up of itself, because of what it was given.
    complaint: bool,
}

impl fmt::Display for BadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, how, said, .. } = self;
        if said.is_empty() {
            write!(f, "{program} {how}, and said nothing")
        } else {
            write!(f, "{program} {how}: {said}")
        }
    }
}

impl std::error::Error for BadEnd {}

/// Whether a program gave up because of what it was given, and not because of what happened to itself.
pub fn complains(error: &anyhow::Error) -> bool {
    error.downcast_ref::<BadEnd>().is_some_and(|end| end.complaint)
}

/// Dropping it kills it, with the workers that it has made.
pub struct Program {
    name: String,
    child: Child,
    /// Its process group, which lives on with its workers when it is killed; as long as it is at work.
    group: Option<Group>,
    stderr: Option<ChildStderr>,
    said: VecDeque<String>,
    discreet: bool,
    /// Told when it is of no use any more.
    pub give_up: Arc<Notify>,
}

impl Program {
    /// # Errors
    /// It cannot be started.
    pub fn start<'a>(
        path: &Path,
        args: impl IntoIterator<Item = &'a str>,
        variables: impl IntoIterator<Item = (&'static str, &'a str)>,
        pipe: Pipe,
    ) -> Result<Self> {
        let mut command = Command::new(path);
        command.args(args).env_clear().current_dir("/");
        // What finds programs and certificates, and nothing that changes how the server is reached or spoken to.
        for name in ["PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("LANG", "C").env("LC_ALL", "C").envs(variables);
        let (stdin, stdout) = match pipe {
            Pipe::Out => (Stdio::null(), Stdio::piped()),
            Pipe::In => (Stdio::piped(), Stdio::null()),
            Pipe::Through => (Stdio::piped(), Stdio::piped()),
            Pipe::None => (Stdio::null(), Stdio::null()),
        };
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        // Ctrl-C is for us, and we pass on what it means.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("start {}", path.display()))?;
        let stderr = child.stderr.take();
        let group = Some(Group::of(&child));
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        Ok(Self { name, child, group, stderr, said: VecDeque::new(), discreet: false, give_up: Arc::default() })
    }

    /// It may speak of statements that hold a password, and those words are not passed on.
    #[must_use]
    pub fn discreet(mut self) -> Self {
        self.discreet = true;
        self
    }

    /// # Errors
    /// It was taken before.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("the program's output is read already")
    }

    /// # Errors
    /// It was taken before.
    pub fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("the program's input is written already")
    }

    /// Waits for its end, and hears what it says meanwhile. Whoever reads its output must do so beside this.
    ///
    /// # Errors
    /// It ended badly, with its last words.
    pub async fn finished(&mut self) -> Result<()> {
        let stderr = self.stderr.take();
        let (said, discreet) = (&mut self.said, self.discreet);
        let listening = async {
            let Some(stderr) = stderr else { return };
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            // What has no end of a line is told piece by piece.
            while (&mut stderr).take(PIECE).read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
                let mut text: String = String::from_utf8_lossy(&line).trim_end().chars().take(500).collect();
                if discreet {
                    hide(&mut text);
                }
                tracing::debug!("{text}");
                said.push_back(text);
                if said.len() > LINES {
                    said.pop_front();
                }
                line.clear();
            }
        };
        let mut killed = false;
        let status = {
            let waiting = async {
                tokio::select! {
                    status = self.child.wait() => return status,
                    () = self.give_up.notified() => {}
                }
                killed = true;
                kill(&mut self.child, self.group.as_ref()).await
            };
            tokio::pin!(listening);
            tokio::pin!(waiting);
            let status = tokio::select! {
                status = &mut waiting => {
                    // What it started may hold the pipe open; its own words are there by now.
                    let _ = tokio::time::timeout(GRACE, listening).await;
                    status
                }
                () = &mut listening => waiting.await,
            };
            status.with_context(|| format!("wait for {}", self.name))?
        };
        let group = self.group.take();
        if status.success() && !killed {
            if let Some(group) = group {
                group.release();
            }
            return Ok(());
        }
        drop(group);
        let said: Vec<_> = self.said.iter().map(String::as_str).collect();
        let said = said.join(" / ");
        let complaint = status.code() == Some(1) && !killed && !wants_memory(&said);
        bail!(BadEnd { program: self.name.clone(), how: how(status), said, complaint });
    }
}

/// Cuts a line where a statement in it has a password: from that word on, if a literal follows.
fn hide(text: &mut String) {
    // In ASCII letters alone, so that the places are the same.
    let found = text.to_ascii_lowercase().find("password");
    if let Some(at) = found.filter(|at| text[*at..].contains('\'')) {
        text.truncate(at);
        text.push_str("password …");
    }
}

/// Its words are all that there is to tell by: its status is that of a complaint. They are in English, since it is started with
/// `LC_ALL=C`.
fn wants_memory(said: &str) -> bool {
    ["out of memory", "Cannot allocate memory"].iter().any(|words| said.contains(words))
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(9)) => "was killed (signal 9)".into(),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// First it is asked to, so that it can tell the server.
async fn kill(child: &mut Child, group: Option<&Group>) -> std::io::Result<ExitStatus> {
    // Without an id it has been waited for already.
    if child.id().is_some() {
        if let Some(group) = group {
            group.ask();
        }
        if let Ok(ended) = tokio::time::timeout(GRACE, child.wait()).await {
            return ended;
        }
        if let Some(group) = group {
            group.kill();
        }
        let _ = child.start_kill();
    }
    child.wait().await
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_password_in_a_statement_is_cut_off_and_words_about_passwords_stay() {
        let check = |said: &str, expect: &str| {
            let mut text = said.to_owned();
            super::hide(&mut text);
            assert_eq!(text, expect);
        };
        check(
            "Command was: CREATE USER MAPPING … (password 'geheim', \"user\" 'u')",
            "Command was: CREATE USER MAPPING … (password …",
        );
        check("    PASSWORD 'geheim',", "    password …");
        check("CONNECTION 'host=h password=geheim'", "CONNECTION 'host=h password …");
        let plain = "FATAL:  password authentication failed for user \"anna\"";
        check(plain, plain);
    }
}
