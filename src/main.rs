//! Arguments, logging, exit status.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use pgtend::cli::{self, Args, LogFormat};
use pgtend::daemon::{STATUS, Signals};
use tracing_subscriber::EnvFilter;

/// The cron crate says at info what is our own affair; those of the AWS SDK and its HTTP client say at debug what stands in
/// requests, signatures and tokens among it. Whoever wants that has to name them.
const QUIET: &str = "tokio_cron_scheduler=warn,aws_config=warn,aws_credential_types=warn,aws_runtime=warn,\
                     aws_sdk_s3=warn,aws_sdk_sts=warn,aws_sigv4=warn,aws_smithy_http=warn,aws_smithy_http_client=warn,\
                     aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,aws_smithy_types=warn,hyper=warn,\
                     hyper_rustls=warn,hyper_util=warn";

fn main() -> ExitCode {
    // Two threads carry any number of jobs: their work is done by the server.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pgtend: the runtime cannot be started: {error}");
            return ExitCode::from(cli::FAILED);
        }
    };
    let signals = catch_signals(&runtime);
    let args = Args::parse();
    if let Err(error) = log(&args) {
        eprintln!("pgtend: {error}");
        return ExitCode::from(cli::USAGE);
    }
    let code = runtime.block_on(cli::execute(args, signals));
    // What is left is blocking work that nobody waits for.
    runtime.shutdown_background();
    code
}

/// The default of most signals is to end the process, so a daemon catches them before it even reads its arguments; all
/// other commands keep those defaults. An argument that only looks like the command does no harm.
fn catch_signals(runtime: &tokio::runtime::Runtime) -> Option<std::io::Result<Signals>> {
    let _inside = runtime.enter();
    std::env::args_os().any(|arg| arg == "daemon").then(Signals::catch)
}

/// Logs go to stderr; a panic is a log line too.
fn log(args: &Args) -> Result<(), String> {
    let wanted = args.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty()));
    let wanted = wanted.unwrap_or_else(|| args.default_level().into());
    let filter = EnvFilter::try_new(format!("{QUIET},{STATUS}=info,{wanted}"))
        .map_err(|error| format!("the log level {wanted:?} is none: {error}"))?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| cli::terminal::Log).with_target(false);
    // The journal has the time already.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal();
    match args.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text if journal => builder.with_ansi(false).without_time().init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "{}", panic.payload_as_str().unwrap_or("panic"));
    }));
    Ok(())
}
