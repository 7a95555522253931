//! How far a command is, for whoever sits before it.

use std::convert::Infallible;
use std::future::Future;
use std::io::IsTerminal as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::terminal;
use crate::kinds::backup::read::Progress;

/// Does the work, and says on a terminal how much of so many bytes were read.
pub async fn shown<T>(title: &str, total: u64, progress: &Progress, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let style =
        ProgressStyle::with_template("{spinner} {msg}: {percent}% of {total_bytes}, {bytes_per_sec}, {eta} to go")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = terminal::show(ProgressBar::new(total).with_style(style).with_message(title.to_owned()));
    let done = tokio::select! {
        done = work => done,
        never = follow(&bar, progress) => match never {},
    };
    bar.finish_and_clear();
    done
}

async fn follow(bar: &ProgressBar, progress: &Progress) -> Infallible {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        bar.set_position(progress.read.load(Ordering::Relaxed));
    }
}

/// Does the work, unless somebody wants it to end: then all that it holds is dropped, and cleared away.
///
/// # Errors
/// The work's, or that it was ended.
pub async fn unless_ended<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        ended = ended() => ended.map(|never| match never {}),
    }
}

/// Fails when a signal asks the command to end.
///
/// # Errors
/// Always, at last.
pub async fn ended() -> Result<Infallible> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => bail!("ended by SIGINT"),
        _ = terminate.recv() => bail!("ended by SIGTERM"),
    }
}
