//! What Prometheus is told. Counters of a run come from its report; gauges of the past come from the history, read each
//! minute by every daemon, so that alerts flap neither after a restart nor on the replica that never gets the lock.
//!
//! Help texts stand beside each metric; those of the kinds' counters and gauges in `help`.

mod help;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::history::Standing;
use crate::run::{Counted, Gauge, GaugeName, Outcome, Report};

const JOB: &[&str] = &["job", "kind", "database"];

/// All of the daemon's metrics, in a registry of their own.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    described: Vec<Described>,
    up: IntGaugeVec,
    config_last_reload_success: IntGauge,
    history_write_errors: IntCounter,
    notifications: IntCounterVec,
    runs: IntCounterVec,
    duration: HistogramVec,
    running: IntGaugeVec,
    last_run: GaugeVec,
    last_success: GaugeVec,
    success_due: GaugeVec,
    next_run: GaugeVec,
    consecutive_failures: IntGaugeVec,
    counted: HashMap<Counted, IntCounterVec>,
    observed: HashMap<GaugeName, GaugeVec>,
    /// Which series each job has set, so that those of a table that is gone go too.
    seen: Arc<Mutex<Seen>>,
}

/// Gauges and tables, by job.
type Seen = HashMap<String, HashSet<(GaugeName, String)>>;

/// What there is to know of a metric before it has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    pub labels: Vec<String>,
}

/// The labels of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Labels<'a> {
    pub job: &'a str,
    pub kind: &'a str,
    pub database: &'a str,
}

impl Labels<'_> {
    fn values(&self) -> [&str; 3] {
        [self.job, self.kind, self.database]
    }
}

/// A description that prometheus cannot refuse: names and labels are constants of this file.
macro_rules! metric {
    ($type:ident, $name:expr, $help:expr) => {
        $type::new($name, $help).expect("a constant metric description")
    };
    ($type:ident, $name:expr, $help:expr, $labels:expr) => {
        $type::new(Opts::new($name, $help), $labels).expect("a constant metric description")
    };
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let with_table: Vec<&str> = JOB.iter().copied().chain(["table"]).collect();
        let with_outcome: Vec<&str> = JOB.iter().copied().chain(["outcome"]).collect();
        let counted = Counted::ALL.iter().map(|what| {
            let (name, help) = help::counter(*what);
            (*what, metric!(IntCounterVec, name, help, &with_table))
        });
        let observed = GaugeName::ALL.iter().map(|name| {
            let labels: Vec<&str> = JOB.iter().copied().chain(name.label()).collect();
            (*name, metric!(GaugeVec, name.as_str(), help::gauge(*name), &labels))
        });
        let build =
            metric!(IntGaugeVec, "pgtend_build_info", "Always 1; the version stands in the label.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let duration = HistogramOpts::new("pgtend_job_duration_seconds", "How long runs took, from lock to release.")
            .buckets(vec![0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0]);
        let mut metrics = Self {
            registry: Registry::new(),
            described: Vec::new(),
            up: metric!(
                IntGaugeVec,
                "pgtend_up",
                "Whether the database could be reached when last tried.",
                &["database"]
            ),
            config_last_reload_success: metric!(
                IntGauge,
                "pgtend_config_last_reload_success",
                "Whether the config was valid when it was last read."
            ),
            history_write_errors: metric!(
                IntCounter,
                "pgtend_history_write_errors_total",
                "Times a run could not be written to pgtend.run."
            ),
            notifications: metric!(
                IntCounterVec,
                "pgtend_notifications_total",
                "Webhooks of [notify] that were called, by whether they took it.",
                &["notify", "result"]
            ),
            runs: metric!(
                IntCounterVec,
                "pgtend_job_runs_total",
                "Runs of this daemon, by how they ended.",
                &with_outcome
            ),
            duration: HistogramVec::new(duration, JOB).expect("a constant metric description"),
            running: metric!(IntGaugeVec, "pgtend_job_running", "Whether the job runs in this daemon now.", JOB),
            last_run: metric!(
                GaugeVec,
                "pgtend_job_last_run_timestamp_seconds",
                "When the job's newest run ended, in any daemon.",
                JOB
            ),
            last_success: metric!(
                GaugeVec,
                "pgtend_job_last_success_timestamp_seconds",
                "When the job last succeeded, in any daemon; 0 if never.",
                JOB
            ),
            success_due: metric!(
                GaugeVec,
                "pgtend_job_success_due_timestamp_seconds",
                "When the job was or is due first since it last succeeded, in any daemon: in the past, it is overdue.",
                JOB
            ),
            next_run: metric!(
                GaugeVec,
                "pgtend_job_next_run_timestamp_seconds",
                "When the job is due next; absent without a schedule.",
                JOB
            ),
            consecutive_failures: metric!(
                IntGaugeVec,
                "pgtend_job_consecutive_failures",
                "Runs that went badly since the last one that succeeded, in any daemon.",
                JOB
            ),
            counted: counted.collect(),
            observed: observed.collect(),
            seen: Arc::default(),
        };
        metrics.register(build);
        metrics.register(metrics.up.clone());
        metrics.register(metrics.config_last_reload_success.clone());
        metrics.register(metrics.history_write_errors.clone());
        metrics.register(metrics.notifications.clone());
        metrics.register(metrics.runs.clone());
        metrics.register(metrics.duration.clone());
        metrics.register(metrics.running.clone());
        metrics.register(metrics.last_run.clone());
        metrics.register(metrics.last_success.clone());
        metrics.register(metrics.success_due.clone());
        metrics.register(metrics.next_run.clone());
        metrics.register(metrics.consecutive_failures.clone());
        for vec in metrics.counted.clone().into_values() {
            metrics.register(vec);
        }
        for vec in metrics.observed.clone().into_values() {
            metrics.register(vec);
        }
        metrics.register(prometheus::process_collector::ProcessCollector::for_self());
        metrics
    }

    fn register(&mut self, collector: impl Collector + 'static) {
        let described = collector.desc().into_iter();
        self.described
            .extend(described.map(|one| Described { name: one.fq_name.clone(), labels: one.variable_labels.clone() }));
        self.registry.register(Box::new(collector)).expect("each metric is registered once");
    }

    /// Every metric there is, with its labels, those without a value included: what alerts and dashboards may ask for.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// The text that a scrape gets.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => {
                tracing::error!("metrics could not be written out: {error}");
                String::new()
            }
        }
    }

    /// A job that is known: its series exist, at zero, before anything has happened, so that `rate` and alerts work.
    pub fn know(&self, job: Labels<'_>) {
        for outcome in Outcome::ALL {
            let [name, kind, database] = job.values();
            self.runs.with_label_values(&[name, kind, database, outcome.as_str()]);
        }
        self.running.with_label_values(&job.values());
    }

    /// What the runs of a job count by table: `increase` does not see the first value of a counter that was not there.
    pub fn know_counters(&self, job: Labels<'_>, counters: &[Counted], tables: &[String]) {
        let [name, kind, database] = job.values();
        for vec in counters.iter().filter_map(|what| self.counted.get(what)) {
            for table in tables {
                vec.with_label_values(&[name, kind, database, table]);
            }
        }
    }

    /// A job that is gone from the config: a gauge that stands still would page for ever.
    pub fn forget(&self, job: Labels<'_>) {
        let values = job.values();
        let _ = self.running.remove_label_values(&values);
        let _ = self.last_run.remove_label_values(&values);
        let _ = self.last_success.remove_label_values(&values);
        let _ = self.success_due.remove_label_values(&values);
        let _ = self.next_run.remove_label_values(&values);
        let _ = self.consecutive_failures.remove_label_values(&values);
        self.observed(job, &[]);
    }

    /// The gauges that the job's kind has read from the catalog; what it set before and sets no more is gone.
    pub fn observed(&self, job: Labels<'_>, gauges: &[Gauge]) {
        let [name, kind, database] = job.values();
        let now: HashSet<_> = gauges.iter().map(|gauge| (gauge.name, gauge.table.clone())).collect();
        let key = format!("{name}\0{kind}\0{database}");
        let before =
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now.clone()).unwrap_or_default();
        for (gauge, table) in before.difference(&now) {
            let _ = self.observed[gauge].remove_label_values(&with_last(*gauge, [name, kind, database], table));
        }
        for gauge in gauges {
            let labels = with_last(gauge.name, [name, kind, database], &gauge.table);
            self.observed[&gauge.name].with_label_values(&labels).set(gauge.value);
        }
    }

    pub fn up(&self, database: &str, up: bool) {
        self.up.with_label_values(&[database]).set(up.into());
    }

    pub fn forget_database(&self, database: &str) {
        let _ = self.up.remove_label_values(&[database]);
    }

    pub fn reloaded(&self, success: bool) {
        self.config_last_reload_success.set(success.into());
    }

    pub fn history_write_failed(&self) {
        self.history_write_errors.inc();
    }

    pub fn notified(&self, name: &str, taken: bool) {
        self.notifications.with_label_values(&[name, if taken { "taken" } else { "failed" }]).inc();
    }

    pub fn started(&self, job: Labels<'_>) {
        self.running.with_label_values(&job.values()).set(1);
    }

    /// A run is over, having taken `seconds`.
    pub fn finished(&self, job: Labels<'_>, outcome: Outcome, seconds: f64, report: &Report) {
        self.duration.with_label_values(&job.values()).observe(seconds);
        self.ended(job, outcome);
        let [name, kind, database] = job.values();
        for ((what, table), n) in &report.counts {
            if let Some(vec) = self.counted.get(what) {
                vec.with_label_values(&[name, kind, database, table]).inc_by(*n);
            }
        }
        // Last: whoever sees that it runs no more sees what it did.
        self.running.with_label_values(&job.values()).set(0);
    }

    /// A run is over that never began: skipped, or without a database.
    pub fn ended(&self, job: Labels<'_>, outcome: Outcome) {
        let [name, kind, database] = job.values();
        self.runs.with_label_values(&[name, kind, database, outcome.as_str()]).inc();
    }

    /// The gauges that come from the history. Before it has been read there are none: a job that is not known to have ever
    /// succeeded is not one that never has.
    pub fn standing(&self, job: Labels<'_>, standing: &Standing) {
        if let Some(at) = standing.last_finished_at {
            self.last_run.with_label_values(&job.values()).set(timestamp(at));
        }
        self.last_success.with_label_values(&job.values()).set(standing.last_success_at.map_or(0.0, timestamp));
        self.consecutive_failures.with_label_values(&job.values()).set(standing.consecutive_failures);
    }

    pub fn next_run(&self, job: Labels<'_>, at: Option<DateTime<Utc>>) {
        set_or_remove(&self.next_run, job, at);
    }

    pub fn success_due(&self, job: Labels<'_>, at: Option<DateTime<Utc>>) {
        set_or_remove(&self.success_due, job, at);
    }
}

fn set_or_remove(gauge: &GaugeVec, job: Labels<'_>, at: Option<DateTime<Utc>>) {
    match at {
        Some(at) => gauge.with_label_values(&job.values()).set(timestamp(at)),
        None => {
            let _ = gauge.remove_label_values(&job.values());
        }
    }
}

/// The values of a gauge's labels: those of the job, and the last one where it has one.
fn with_last<'a>(gauge: GaugeName, job: [&'a str; 3], last: &'a str) -> Vec<&'a str> {
    job.into_iter().chain(gauge.label().map(|_| last)).collect()
}

#[allow(clippy::cast_precision_loss, reason = "whole seconds of this era are exact in an f64")]
fn timestamp(at: DateTime<Utc>) -> f64 {
    at.timestamp() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_counters_come_from_its_report() {
        let metrics = Metrics::new();
        let job = Labels { job: "sessions", kind: "expire", database: "main" };
        metrics.know(job);
        metrics.started(job);
        let mut report = Report::default();
        report.count(Counted::RowsDeleted, "public.sessions", 41);
        report.count(Counted::RowsDeleted, "public.sessions", 1);
        metrics.finished(job, Outcome::Succeeded, 0.2, &report);
        let text = metrics.text();
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        has(
            "pgtend_rows_deleted_total{database=\"main\",job=\"sessions\",kind=\"expire\",table=\"public.sessions\"} 42",
        );
        has("pgtend_job_runs_total{database=\"main\",job=\"sessions\",kind=\"expire\",outcome=\"succeeded\"} 1");
        has("pgtend_job_runs_total{database=\"main\",job=\"sessions\",kind=\"expire\",outcome=\"failed\"} 0");
        has("pgtend_job_running{database=\"main\",job=\"sessions\",kind=\"expire\"} 0");
    }

    #[test]
    fn a_job_that_is_gone_leaves_no_gauge_behind() {
        let metrics = Metrics::new();
        let job = Labels { job: "sessions", kind: "expire", database: "main" };
        metrics.know(job);
        metrics.standing(job, &Standing::default());
        metrics.next_run(job, Some(DateTime::UNIX_EPOCH));
        assert!(metrics.text().contains("pgtend_job_next_run_timestamp_seconds{"));
        metrics.forget(job);
        assert!(!metrics.text().contains("pgtend_job_next_run_timestamp_seconds{"));
        assert!(!metrics.text().contains("pgtend_job_consecutive_failures{"));
    }

    #[test]
    fn what_the_history_says_is_not_known_before_it_is_read() {
        let metrics = Metrics::new();
        let job = Labels { job: "sessions", kind: "expire", database: "main" };
        let gauges = ["pgtend_job_last_success_timestamp_seconds", "pgtend_job_consecutive_failures"];
        let of = |gauge: &str| {
            let text = metrics.text();
            text.lines().find(|line| line.starts_with(&format!("{gauge}{{"))).map(ToOwned::to_owned)
        };
        metrics.know(job);
        for gauge in gauges {
            assert_eq!(of(gauge), None);
        }
        metrics.standing(job, &Standing::default());
        for gauge in gauges {
            assert!(of(gauge).is_some_and(|line| line.ends_with(" 0")), "{gauge}");
        }
    }

    #[test]
    fn counters_of_tables_are_there_before_the_first_run() {
        let metrics = Metrics::new();
        let job = Labels { job: "sessions", kind: "expire", database: "main" };
        metrics.know_counters(job, &[Counted::LockTimeouts], &["public.sessions".into()]);
        let line = "pgtend_lock_timeouts_total{database=\"main\",job=\"sessions\",kind=\"expire\",table=\"public.sessions\"} 0";
        assert!(metrics.text().lines().any(|one| one == line), "{}", metrics.text());
    }
}
