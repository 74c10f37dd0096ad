//! `orion`: run a job on this machine, put files on the platform, watch a job, fetch its result and check it, export and verify the ledger. Copied as `kubectl-orion` it is a plugin
//! of kubectl.
//!
//! It reaches everything but this machine's device through the Kubernetes API and trusts none of it: what it prints as verified it has recomputed.
//! Exit codes: 0 done or proven, 1 failed or proven wrong, 2 cannot be decided from what is there, 3 usage.

mod bench;
mod check;
mod cluster;
mod endpoint;
mod executor;
#[cfg(test)]
mod fixtures;
mod inputs;
mod ledger;
mod put;
mod result;
mod run;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cluster::Access;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

#[derive(Parser)]
#[command(
    name = "orion",
    version,
    about = "Work with OrionJobs: run one here, put inputs there, watch, fetch results, check the ledger."
)]
struct Args {
    #[command(flatten)]
    access: Access,
    /// How answers are printed.
    #[arg(short = 'o', long, global = true, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Run a job on this machine, without a cluster: the same files, with the same digests.
    Run(run::RunArgs),
    /// Say what this machine's device is, and how fast.
    Bench(bench::BenchArgs),
    /// Put a file on the platform, for jobs that name its digest; goes on where it was cut off.
    Put(put::PutArgs),
    /// Follow a job until it succeeds or fails.
    Watch(watch::WatchArgs),
    /// Fetch a job's results, and check every byte against the ledger.
    Result(result::ResultArgs),
    /// The record of everything that was computed and paid.
    #[command(subcommand, after_help = ledger::EXIT_CODES)]
    Ledger(ledger::LedgerCommand),
}

/// What a command found: its exit code.
pub enum Verdict {
    /// Done, or proven.
    Good,
    /// Failed, or proven wrong.
    Bad,
    /// Cannot be decided from what is there.
    Undecided,
    /// The command line asks for nothing that can be done.
    Usage,
}

/// What a shell says of a program that SIGPIPE ended.
const PIPE_CLOSED: i32 = 141;

/// Who reads may stop in the middle, as `head` does. Printing panics then, for Rust ignores SIGPIPE; the rest is for nobody, so the program just ends.
fn end_with_the_reader() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic.payload_as_str().unwrap_or_default();
        if words.starts_with("failed printing to std") && words.contains("Broken pipe") {
            std::process::exit(PIPE_CLOSED);
        }
        others(panic);
    }));
}

#[tokio::main]
async fn main() -> ExitCode {
    end_with_the_reader();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("orion: TLS was set up twice");
        return ExitCode::from(2);
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are not errors.
            let code = if error.use_stderr() { 3 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let outcome = match args.command {
        Command::Run(command) => run::run(args.output, &command).await,
        Command::Bench(command) => bench::run(args.output, &command).await,
        Command::Put(command) => put::run(&args.access, args.output, &command).await,
        Command::Watch(command) => watch::run(&args.access, args.output, &command).await,
        Command::Result(command) => result::run(&args.access, args.output, &command).await,
        Command::Ledger(command) => ledger::run(&args.access, args.output, &command).await,
    };
    match outcome {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Ok(Verdict::Undecided) => ExitCode::from(2),
        Ok(Verdict::Usage) => ExitCode::from(3),
        Err(error) => {
            eprintln!("orion: {error:#}");
            ExitCode::from(2)
        }
    }
}
