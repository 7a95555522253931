//! A program with all that it starts: a process group of its own, which is signalled as one.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The group that a child leads. Dropping it kills whoever is in it, unless it was [released](Group::release).
pub struct Group(Option<Pid>);

impl Group {
    /// Of a child that was started with `process_group(0)`.
    pub fn of(child: &Child) -> Self {
        Self(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)))
    }

    /// Asks them to end.
    pub fn ask(&self) {
        self.signal(Signal::TERM);
    }

    /// Does not ask.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// What is left of it may stay.
    pub fn release(mut self) {
        self.0 = None;
    }

    /// Nobody may be left in it, which is as good.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
