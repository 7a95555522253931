//! How it stands, for whoever asks the process itself: by SIGUSR2, or by way of systemd.

use chrono::{DateTime, Utc};

use super::{Daemon, notify};
use crate::run::Outcome;

/// The target of the lines that SIGUSR2 asks for: whoever asks gets them, whatever else is logged.
pub const STATUS: &str = "pgtend::status";

impl Daemon {
    pub(super) fn log_status(&self) {
        for job in self.board.jobs(&self.shared.running(), &self.tending.engine.name(), self.shared.clock.host()) {
            let stamp = |at: Option<DateTime<Utc>>| at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
            tracing::info!(
                target: STATUS,
                job = %job.job, kind = job.kind, database = job.database,
                running_since = stamp(job.running_since), last_outcome = job.last_outcome.map(Outcome::as_str),
                last_finished_at = stamp(job.last_finished_at), last_success_at = stamp(job.last_success_at),
                next_run_at = stamp(job.next_run_at), consecutive_failures = job.consecutive_failures,
                "status"
            );
        }
    }

    /// Keeps the line that `systemctl status` shows up to date.
    pub(super) fn tell_systemd(&mut self) {
        let running = self.shared.running().len();
        let next = self.board.read().next.iter().min_by_key(|(_, at)| **at).map(|(job, at)| (job.clone(), *at));
        let next = next
            .map_or_else(String::new, |(job, at)| format!("; next {job} at {} UTC", at.format("%Y-%m-%d %H:%M:%S")));
        let jobs = match self.config().jobs.len() {
            1 => "1 job".into(),
            n => format!("{n} jobs"),
        };
        let status = format!("{jobs}, {running} running{next}");
        if status != self.told {
            notify::status(&status);
            self.told = status;
        }
    }
}
