//! A program from its start to its end, heard all the while.

use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;

use super::environment::Environment;
use super::tail::Tail;
use crate::kinds::group::Group;
use crate::kinds::{Context, StopReason};
use crate::testpoint;

/// How long it may take to end once it was asked to; a run that is stopped has 5 s to come to its end.
const GRACE: Duration = Duration::from_secs(3);
/// How long its output is waited for when it has ended: it is there by then, unless somebody else holds on to the pipe.
const HEARD: Duration = Duration::from_secs(1);

pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
    /// Whether more was said before.
    pub cut: bool,
    /// Its output has not ended: somebody that it started holds it.
    pub left_behind: bool,
    /// It was made to end.
    pub stopped: Option<StopReason>,
}

/// # Errors
/// It cannot be started.
pub async fn run(
    cx: &Context,
    program: &Path,
    args: &[String],
    environment: &Environment,
    folder: &Path,
) -> Result<Ended> {
    // One pipe for both, so that what it says is in the order in which it was said.
    let (ours, theirs) = std::io::pipe().context("make a pipe")?;
    let mut pipe = pipe::Receiver::from_owned_fd(ours.into()).context("read from a pipe")?;
    let mut child = {
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(&environment.variables).current_dir(folder);
        command.stdin(Stdio::null()).stdout(theirs.try_clone().context("share a pipe")?).stderr(theirs);
        // Ctrl-C is for us, and we pass on what it means.
        command.process_group(0).kill_on_drop(true);
        let started = command.spawn();
        started.with_context(|| format!("start {} in {}", program.display(), folder.display()))?
        // Here our ends of what it writes to are closed, or it would never be read to its end.
    };
    let group = Group::of(&child);
    testpoint::reach_in("command.started", cx.job.as_str()).await;

    let mut tail = Tail::beside(environment.longest_secret());
    let mut heard = false;
    let stopped;
    {
        let mut listening = pin!(async {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
                tail.push(&chunk[..n]);
            }
        });
        stopped = loop {
            tokio::select! {
                _ = child.wait() => break None,
                () = &mut listening, if !heard => heard = true,
                reason = cx.stop.requested_at_last() => break Some(reason),
            }
        };
        if stopped.is_some() {
            group.ask();
            let all_ended = async {
                if heard {
                    child.wait().await.map(drop)
                } else {
                    tokio::join!(child.wait(), &mut listening).0.map(drop)
                }
            };
            heard |= timeout(GRACE, all_ended).await.is_ok();
            // Also where it has ended by itself: not all that it started may have heard.
            group.kill();
            let _ = child.start_kill();
        }
        if !heard {
            heard = timeout(HEARD, &mut listening).await.is_ok();
        }
    }
    let status = child.wait().await.with_context(|| format!("wait for {}", program.display()))?;
    // It has come to its end; what it has left on purpose may stay.
    group.release();
    let cut = tail.is_cut();
    Ok(Ended { status, said: tail.text(), cut, left_behind: !heard && stopped.is_none(), stopped })
}
