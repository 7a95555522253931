//! The command line: one file a command. Results go to stdout, logs to stderr; exit codes are the interface's.

mod ask;
mod backup;
mod check;
mod init;
mod man;
mod output;
mod past;
mod rehearse;
mod run;
pub mod terminal;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::config::{self, Config};
use crate::daemon::{self, Signals};
use crate::pg::explain;
use crate::run::{Outcome, Skip};

/// Tends PostgreSQL databases: runs their maintenance on schedule, one at a time, recorded and measured.
#[derive(Debug, Parser)]
#[command(name = "pgtend", version, arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  pgtend check\n  pgtend plan\n  pgtend run sessions\n  pgtend daemon --config /etc/pgtend/pgtend.toml"
)]
pub struct Args {
    /// The config [default: $PGTEND_CONFIG, ./pgtend.toml, /etc/pgtend/pgtend.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines are written to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, or a filter as $RUST_LOG takes it
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Run these jobs now and end: the same as `pgtend run JOB…`
    #[arg(long, value_name = "JOB", num_args = 1..)]
    run: Vec<String>,
    /// With --run: only in this database
    #[arg(long, value_name = "NAME", requires = "run")]
    database: Option<String>,
    /// With --run: one JSON object a job, a line each
    #[arg(long, requires = "run")]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM: schedule every job, serve metrics and status
    #[command(after_help = "Example:\n  pgtend daemon --config /etc/pgtend/pgtend.toml --log-format json")]
    Daemon,
    /// Run jobs now, in the foreground, under the daemon's locks and into its history
    #[command(
        after_help = "Example:\n  pgtend run sessions --json\n\nExit status: 0 done, 1 a job failed, 3 a lock is held elsewhere"
    )]
    Run(run::RunArgs),
    /// Say what each job would do, changing nothing
    #[command(after_help = "Example:\n  pgtend plan sessions --at 2027-01-01")]
    Plan(rehearse::PlanArgs),
    /// Look for what would go wrong: config, connections, privileges, tables and columns
    #[command(
        after_help = "Example:\n  pgtend check --offline\n\nExit status: 1 if there is an error, 0 if there are warnings only"
    )]
    Check(check::CheckArgs),
    /// Show how each job stands: last run, outcome, next run, lag
    #[command(after_help = "Example:\n  pgtend status --json")]
    Status {
        /// One JSON object a job, a line each
        #[arg(long)]
        json: bool,
    },
    /// Show past runs, newest first
    #[command(after_help = "Example:\n  pgtend history sessions --limit 5")]
    History(past::HistoryArgs),
    /// Ask a running daemon, wherever it runs, to run a job now
    #[command(
        after_help = "Example:\n  pgtend trigger sessions --wait\n\nExit status: 1 when no daemon took it within 10 s"
    )]
    Trigger(ask::TriggerArgs),
    /// List, fetch, verify and restore the backups in the stores
    #[command(after_help = "Example:\n  pgtend backup list")]
    Backup(backup::BackupArgs),
    /// Look at a database and print a config proposed for it, with the reasons
    #[command(
        after_help = "Example:\n  pgtend init --database-url postgresql://admin@db.internal/app > pgtend.toml\n\nIt reads only. Without --database-url it goes where psql would; a password is never printed"
    )]
    Init(init::InitArgs),
    /// Print the JSON Schema of the config, for editors
    #[command(after_help = "Example:\n  pgtend schema > pgtend.schema.json")]
    Schema,
    /// Print completions for a shell
    #[command(after_help = "Example:\n  pgtend completions bash > /etc/bash_completion.d/pgtend")]
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    #[command(after_help = "Example:\n  pgtend man | man -l -")]
    Man,
}

impl Command {
    /// Whether somebody waits to see what there is, and nothing is lost when it is not seen.
    fn only_looks(&self) -> bool {
        match self {
            Command::Check(_) | Command::Plan(_) => true,
            Command::Backup(args) => args.only_looks(),
            _ => false,
        }
    }
}

/// Done; also when there was nothing to do.
pub const DONE: u8 = 0;
/// A job failed, or a check found an error.
pub const FAILED: u8 = 1;
/// Bad usage or an invalid config; nothing was touched.
pub const USAGE: u8 = 2;
/// The lock is held elsewhere; nothing was done.
pub const HELD: u8 = 3;

impl Args {
    /// What is logged where neither flag nor variable says so.
    pub fn default_level(&self) -> &'static str {
        match &self.command {
            Some(Command::Daemon | Command::Run(_)) => "info",
            None if !self.run.is_empty() => "info",
            _ => "warn",
        }
    }
}

/// Does what the command line asks for. `signals` are a daemon's, caught before anything else.
pub async fn execute(args: Args, signals: Option<io::Result<Signals>>) -> ExitCode {
    let command = match (args.command, args.run) {
        (Some(command), jobs) if jobs.is_empty() => command,
        (None, jobs) if !jobs.is_empty() => {
            Command::Run(run::RunArgs { jobs, database: args.database, json: args.json })
        }
        (Some(_), _) => return misused(ErrorKind::ArgumentConflict, "--run is a command of its own"),
        (None, _) => return misused(ErrorKind::MissingSubcommand, "no command was given"),
    };
    match command {
        Command::Schema => {
            output::line(&serde_json::to_string_pretty(&config::schema()).unwrap_or_default());
            return ExitCode::from(DONE);
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "pgtend", &mut script);
            output::text(&String::from_utf8_lossy(&script));
            return ExitCode::from(DONE);
        }
        Command::Man => {
            let mut page = Vec::new();
            let written = man::write(&mut page);
            output::text(&String::from_utf8_lossy(&page));
            return ExitCode::from(if written.is_ok() { DONE } else { FAILED });
        }
        _ => {}
    }
    if let Command::Init(args) = &command {
        return ended(init::init(args).await);
    }
    let json_check = matches!(&command, Command::Check(check) if check.json);
    let path = match config::locate(args.config.as_deref()) {
        Ok(path) => path,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(USAGE);
        }
    };
    let config = match config::load(&path) {
        Ok(config) => config,
        Err(errors) => {
            if json_check {
                check::print_config_errors(&errors);
            }
            eprintln!("{errors}");
            return ExitCode::from(USAGE);
        }
    };
    if !matches!(command, Command::Check(_)) {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
    }
    let config = if command.only_looks() { config.in_haste() } else { config };
    let result = match command {
        Command::Daemon => match signals.unwrap_or_else(Signals::catch) {
            Ok(signals) => daemon::run(path, config, signals).await.map(|()| DONE),
            Err(error) => Err(anyhow::Error::new(error).context("catch signals")),
        },
        Command::Run(args) => run::run(&config, &args).await,
        Command::Plan(args) => rehearse::plan(&config, &args).await,
        Command::Check(args) => check::check(&config, &args).await,
        Command::Status { json } => past::status(&config, json).await,
        Command::History(args) => past::history(&config, &args).await,
        Command::Trigger(args) => ask::trigger(&config, &args).await,
        Command::Backup(args) => backup::backup(&config, &args).await,
        Command::Init(_) | Command::Schema | Command::Completions { .. } | Command::Man => {
            unreachable!("these need no config")
        }
    };
    ended(result)
}

fn ended(result: Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => match error.downcast_ref::<Usage>() {
            Some(Usage(why)) => {
                eprintln!("pgtend: {why}");
                ExitCode::from(USAGE)
            }
            None => trouble(&error),
        },
    }
}

/// Says so as clap says what is wrong with arguments.
fn misused(kind: ErrorKind, what: &str) -> ExitCode {
    let _ = Args::command().error(kind, what).print();
    ExitCode::from(USAGE)
}

fn trouble(error: &anyhow::Error) -> ExitCode {
    tracing::error!("{}", explain(error));
    ExitCode::from(FAILED)
}

/// What one run is to the exit code. One that was stopped before it began was not done, whatever else it is.
fn exit_code(outcome: Option<Outcome>, skip: Option<Skip>) -> u8 {
    match (outcome, skip) {
        (Some(Outcome::Skipped), Some(Skip::Held | Skip::Overlap)) => HELD,
        (Some(Outcome::Skipped), Some(Skip::Shutdown)) => FAILED,
        (outcome, _) if outcome.is_none_or(Outcome::is_bad) => FAILED,
        _ => DONE,
    }
}

/// The worst of several: what failed before what was held elsewhere.
fn worst(codes: &[u8]) -> u8 {
    [FAILED, HELD].into_iter().find(|code| codes.contains(code)).unwrap_or(DONE)
}

/// The command line asks for something that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// The instances that `names` mean, each once, in the order given; all where none is named.
fn jobs(config: &Config, names: &[String], database: Option<&str>) -> Result<Vec<std::sync::Arc<config::Definition>>> {
    if let Some(name) = database
        && !config.databases.contains_key(name)
    {
        let known: Vec<_> = config.databases.keys().map(String::as_str).collect();
        return Err(Usage(format!("no database {name:?} in the config; there {}", are(&known))).into());
    }
    let mut found: Vec<std::sync::Arc<config::Definition>> = Vec::new();
    for name in names {
        let instances = config.instances(name);
        if instances.is_empty() {
            let known: Vec<_> = config.jobs.iter().map(|job| job.name.as_str()).collect();
            return Err(Usage(format!("no job {name:?} in the config; there {}", are(&known))).into());
        }
        found.extend(
            instances.into_iter().filter(|job| !found.iter().any(|had| had.name == job.name)).collect::<Vec<_>>(),
        );
    }
    if names.is_empty() {
        found.clone_from(&config.jobs);
    }
    found.retain(|job| database.is_none_or(|name| job.database == name));
    if found.is_empty() && !names.is_empty() {
        return Err(Usage(format!("no job of that name works in database {:?}", database.unwrap_or_default())).into());
    }
    Ok(found)
}

fn are(names: &[&str]) -> String {
    match names {
        [] => "are none".into(),
        [one] => format!("is {one}"),
        many => format!("are {}", many.join(", ")),
    }
}

/// A time as people write it: RFC 3339, or a date with or without a time of day, in UTC.
fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    for format in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"] {
        if let Ok(at) = chrono::NaiveDateTime::parse_from_str(text, format) {
            return Ok(at.and_utc());
        }
    }
    match chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(date) => Ok(date.and_time(chrono::NaiveTime::MIN).and_utc()),
        Err(_) => Err("write it like 2026-12-01, \"2026-12-01 04:00\" (UTC) or 2026-12-01T04:00:00+01:00".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        let program = Args::command();
        let nested = program.get_subcommands().flat_map(clap::Command::get_subcommands);
        for command in program.get_subcommands().chain(nested) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{} has no example", command.get_name());
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(time("2026-12-01").unwrap().to_rfc3339(), "2026-12-01T00:00:00+00:00");
        assert_eq!(time("2026-12-01 04:30").unwrap().to_rfc3339(), "2026-12-01T04:30:00+00:00");
        assert_eq!(time("2026-12-01T04:00:00+01:00").unwrap().to_rfc3339(), "2026-12-01T03:00:00+00:00");
        assert!(time("tomorrow").is_err());
    }
}
