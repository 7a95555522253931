//! A running program, and what it prints.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use super::wait::wait_or_explain;
use super::{clock, keeper};

/// A running program. Dropping it is a kill -9.
pub struct Process {
    name: String,
    child: Child,
    stdout: Capture,
    stderr: Capture,
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = keeper::spawn(command, libc::SIGKILL).unwrap_or_else(|e| panic!("start {name}: {e}"));
        let stdout = Capture::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Capture::of(child.stderr.take().expect("stderr is piped"));
        Self { name, child, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What stderr said so far: the log.
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// `libc::SIGTERM` and the like; the interface counts `RTMIN` from 34.
    pub fn signal(&self, signal: libc::c_int) {
        keeper::signal(&self.child, signal);
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("look after the process").is_none()
    }

    /// Waits until a line of the log contains the text, and returns that line.
    pub async fn wait_for_log(&self, text: &str) -> String {
        self.wait_for(&format!("a log line with {text:?}"), async || {
            self.log().lines().find(|line| line.contains(text)).map(str::to_string)
        })
        .await
    }

    /// Waits until the condition holds; the panic shows the end of the log.
    pub async fn wait_until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        self.wait_for(what, async || condition().await.then_some(())).await;
    }

    /// Waits for what the condition brings; the panic shows the end of the log.
    pub async fn wait_for<T>(&self, what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
        wait_or_explain(what, condition, || self.tail()).await
    }

    /// Waits for the end.
    pub async fn wait(mut self) -> Output {
        let what = format!("the end of {}", self.name);
        let (stdout, stderr) = (self.stdout.clone(), self.stderr.clone());
        let status = wait_or_explain(
            &what,
            async || self.child.try_wait().expect("look after the process"),
            || tail(&stdout.text(), &stderr.text()),
        )
        .await;
        // What it started may hold the pipes open: its own words are all there once the readers have caught up, and
        // nobody needs more than a moment for that.
        let caught_up = async || (stdout.is_finished() && stderr.is_finished()).then_some(());
        wait_or_explain(&format!("the end of the output of {}", self.name), caught_up, || self.tail()).await;
        Output { status, stdout: stdout.text(), stderr: stderr.text() }
    }

    fn tail(&self) -> String {
        tail(&self.stdout(), &self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        clock::sweep(self.child.id());
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.name, self.tail());
        }
    }
}

impl Output {
    /// # Panics
    /// A signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Insists on an exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}\n{}", self.status, tail(&self.stdout, &self.stderr));
        self
    }

    /// The JSON objects on stdout, one a line.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

fn tail(stdout: &str, stderr: &str) -> String {
    let last = |text: &str| {
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    };
    format!("--- stdout ends\n{}\n--- stderr ends\n{}\n---", last(stdout), last(stderr))
}

/// A pipe being read, line by line, by a thread.
#[derive(Clone)]
struct Capture {
    text: Arc<Mutex<String>>,
    reader: Arc<JoinHandle<()>>,
}

impl Capture {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        let reader = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                into.lock().expect("the captured text").push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader: Arc::new(reader) }
    }

    fn text(&self) -> String {
        self.text.lock().expect("the captured text").clone()
    }

    fn is_finished(&self) -> bool {
        self.reader.is_finished()
    }
}
