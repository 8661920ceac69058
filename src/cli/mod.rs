//! The command line: what a person or a batch job types, and what it means.
//!
//! Every command is a file with its arguments (whose doc comments are its `--help`) and
//! one `run`. A command asks the server over HTTP ([`client`]) or reads a data directory
//! ([`offline`]), prints its result to standard output ([`output`]) and ends with an
//! exit code ([`exit`]).
//!
//! Absent on purpose: no command keeps state between two runs, none asks a question but
//! before what cannot be undone ([`confirm`]), and none retries what is not safe to repeat.

mod api;
mod client;
mod exit;
mod interrupt;
mod notes;
mod offline;
mod output;
mod progress;
mod rows;

mod activate;
mod audit;
mod build;
mod canary;
mod completions;
mod config;
mod confirm;
mod datasets;
mod delete;
mod demo;
mod diff;
mod erase;
mod get;
mod history;
mod hold;
mod keys_file;
mod man;
mod profile;
mod promote;
mod pull;
mod push;
mod reference;
mod release;
mod repair;
mod rollback;
mod run;
mod scan;
mod serve;
mod tls;
mod token;
mod verify;
mod versions;

#[cfg(test)]
mod stub;

use std::ffi::OsString;
use std::io::Write;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use client::Client;
use exit::Failure;
use output::Output;

use crate::access::TokenText;
use crate::ending::end_of_main;

pub use reference::reference;

/// Runs the command line of this process, and ends it.
pub fn main() -> ! {
    end_of_main(run())
}

/// The exit code of this process's command line, when it has been run.
fn run() -> u8 {
    let line: Vec<OsString> = std::env::args_os().collect();
    if let Some(work) = of_a_server(&line) {
        return work();
    }
    let cli = match Cli::of(&line) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more (`--help | head`) is no failure.
            let _ = match json_of(&line, &error) {
                Some(json) => std::io::stderr().lock().write_all(json.as_bytes()),
                None => error.print(),
            };
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let json = cli.global.json;
    notes::allow(!json);
    match cli.run() {
        Ok(()) => 0,
        Err(failure) => {
            let text = if json { failure.json() } else { failure.text() };
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
            failure.exit.code()
        }
    }
}

/// What a server starts of this program for itself. These are no commands, so that nobody is offered
/// them: not by a message, nor by the completions of a shell.
fn of_a_server(line: &[OsString]) -> Option<fn() -> u8> {
    match line {
        [_, word] if word == "build-worker" => Some(crate::pushes::run_worker),
        [_, word] if word == "check-guard" => Some(crate::pushes::run_guard),
        _ => None,
    }
}

/// The same, with `help push` as `push --help`: many try that first. As a command of clap's it would
/// stand among ours, with pages of its own.
fn help_as_option(line: &[OsString]) -> Vec<OsString> {
    match line {
        [program, help, of @ ..] if help == "help" => {
            let of = of.iter().filter(|word| *word != "help");
            [program].into_iter().chain(of).cloned().chain(["--help".into()]).collect()
        }
        _ => line.to_vec(),
    }
}

/// The error of a line, as it would be if no variable were set. A variable is to clap as an option
/// that was given: the bare name of the program would ask for no help, and usage would name it.
fn as_it_stands(words: &[OsString], error: clap::Error) -> clap::Error {
    if !error.use_stderr() {
        return error;
    }
    match without_variables(Cli::command()).try_get_matches_from(words) {
        Err(plain) => plain,
        // It is a variable that is wrong.
        Ok(_) => error,
    }
}

/// An error of the command that was asked for, and so with its usage.
fn error_of(matches: &ArgMatches, kind: ErrorKind, text: &str) -> clap::Error {
    let mut program = Cli::command();
    // Without that, usage would begin with the name of the command.
    program.build();
    let (mut command, mut matches) = (&mut program, matches);
    while let Some((name, of_command)) = matches.subcommand() {
        command = command.find_subcommand_mut(name).expect("the parser has found it");
        matches = of_command;
    }
    command.error(kind, text)
}

/// A command that looks at no variable. Its help names them all the same.
fn without_variables(command: clap::Command) -> clap::Command {
    let without = |arg: clap::Arg| {
        let Some(name) = arg.get_env() else { return arg };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let help = format!("{help} [env: {}]", name.to_string_lossy());
        arg.env(None::<&'static str>).help(help)
    };
    command.mut_args(without).mut_subcommands(without_variables)
}

/// A line that cannot be parsed, as programs read errors, if it asks for that.
fn json_of(line: &[OsString], error: &clap::Error) -> Option<String> {
    let is_asked_for = line.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    // What goes to standard output is help.
    (is_asked_for && error.use_stderr()).then(|| {
        let text = error.render().to_string();
        Failure::usage(text.trim_end().trim_start_matches("error: ")).json()
    })
}

/// An online key-value datastore between batch jobs and product pages.
///
/// A batch job pushes a dataset; the server makes it a new, complete, immutable version,
/// checks it, and swaps it in whole. Backends look keys up over HTTP. An operator rolls
/// back in an instant. Versions are numbered 1, 2, 3… by the server.
#[derive(Debug, Parser)]
#[command(
    name = "tidetable",
    version,
    max_term_width = 100,
    after_help = EXAMPLES,
    after_long_help = long_help(),
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tidetable serve --data ./data                          start a server
  tidetable push course-recs recs.ndjson --key learner_id
  tidetable get course-recs 42                           one value, as it is stored
  tidetable versions course-recs                         what there is, and what serves
  tidetable rollback course-recs --reason 'half of it is missing'
  tidetable demo                                         a guided tour";

/// Where a server listens unless it is told otherwise.
const LOCAL: &str = "http://127.0.0.1:7070";

/// Options of every command that asks a server.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The server to ask, http:// or https://
    ///
    /// A variable that is empty counts as not set.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TIDETABLE_SERVER",
        hide_env_values = true,
        default_value = LOCAL
    )]
    server: String,
    /// The token to show to the server
    ///
    /// Sent as `Authorization: Bearer TOKEN`. `tidetable token` makes them. The variable keeps it
    /// out of the list of processes and of the shell's history.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "TIDETABLE_TOKEN",
        hide_env_values = true
    )]
    token: Option<TokenText>,
    #[command(flatten)]
    tls: tls::TlsArgs,
    /// Print JSON for programs instead of tables for people
    ///
    /// Results are the API's JSON on standard output. Standard error is empty, or holds one
    /// JSON object that says why the command failed: no progress, no notes.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Push(Box<push::PushArgs>),
    Build(Box<build::BuildArgs>),
    Pull(pull::PullArgs),
    Run(run::RunArgs),
    Get(get::GetArgs),
    Scan(scan::ScanArgs),
    Datasets(datasets::DatasetsArgs),
    Versions(versions::VersionsArgs),
    History(history::HistoryArgs),
    Audit(audit::AuditArgs),
    Diff(diff::DiffArgs),
    Profile(profile::ProfileArgs),
    Activate(activate::ActivateArgs),
    Rollback(rollback::RollbackArgs),
    Canary(canary::CanaryArgs),
    Promote(promote::PromoteArgs),
    Hold(hold::HoldArgs),
    Release(release::ReleaseArgs),
    Delete(delete::DeleteArgs),
    Erase(erase::EraseArgs),
    Config(config::ConfigArgs),
    Token(token::TokenArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Cli {
    /// What a line means. Some of it depends on whether a word stood on the line or in a
    /// variable, which is made for many commands at once.
    fn of(line: &[OsString]) -> Result<Self, clap::Error> {
        let words = help_as_option(line);
        let matches = Self::command()
            .try_get_matches_from(&words)
            .map_err(|error| as_it_stands(&words, error))?;
        let mut cli = Self::from_arg_matches(&matches)?;
        let of_command = matches.subcommand().map_or(&matches, |(_, matches)| matches);
        let source = |id: &str| of_command.value_source(id);
        if cli.global.server.is_empty() && source("server") == Some(ValueSource::EnvVariable) {
            LOCAL.clone_into(&mut cli.global.server);
        }
        let said = |id: &str| source(id) == Some(ValueSource::CommandLine);
        let refused = match &cli.command {
            Command::Serve(_) if said("token") => {
                "--token is for commands that ask a server. Those that a server asks for are made by \
                 `tidetable token create`, and kept in its data directory"
            }
            Command::Token(args) if args.is_offline() && (said("server") || said("token")) => {
                "--data makes the token in the data directory of a stopped server: neither --server \
                 nor --token goes with it"
            }
            // As a variable it may be there for other commands, the server first of all.
            Command::Audit(args) if said("data") && !args.is_offline() => {
                "--data is the directory that --verify reads: without --verify a server is asked"
            }
            Command::Serve(_) if said("server") => {
                "--server is for commands that ask a server; --listen says where this one listens"
            }
            Command::Activate(args) => match args.swaps() {
                Ok(_) => return Ok(cli),
                Err(text) => return Err(error_of(&matches, ErrorKind::ValueValidation, &text)),
            },
            _ => return Ok(cli),
        };
        Err(error_of(&matches, ErrorKind::ArgumentConflict, refused))
    }

    fn run(&self) -> Result<(), Failure> {
        let context = Context { global: &self.global, out: Output::stdout(self.global.json) };
        match &self.command {
            Command::Serve(args) => serve::run(args),
            Command::Push(args) => push::run(args, &context),
            Command::Build(args) => build::run(args, &context),
            Command::Pull(args) => pull::run(args, &context),
            Command::Run(args) => run::run(args, &context),
            Command::Get(args) => get::run(args, &context),
            Command::Scan(args) => scan::run(args, &context),
            Command::Datasets(args) => datasets::run(args, &context),
            Command::Versions(args) => versions::run(args, &context),
            Command::History(args) => history::run(args, &context),
            Command::Audit(args) => audit::run(args, &context),
            Command::Diff(args) => diff::run(args, &context),
            Command::Profile(args) => profile::run(args, &context),
            Command::Activate(args) => activate::run(args, &context),
            Command::Rollback(args) => rollback::run(args, &context),
            Command::Canary(args) => canary::run(args, &context),
            Command::Promote(args) => promote::run(args, &context),
            Command::Hold(args) => hold::run(args, &context),
            Command::Release(args) => release::run(args, &context),
            Command::Delete(args) => delete::run(args, &context),
            Command::Erase(args) => erase::run(args, &context),
            Command::Config(args) => config::run(args, &context),
            Command::Token(args) => token::run(args, &context),
            Command::Verify(args) => verify::run(args, &context),
            Command::Repair(args) => repair::run(args, &context),
            Command::Demo(args) => demo::run(args),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args, &context),
        }
    }
}

/// What every command is given besides its own arguments.
struct Context<'a> {
    global: &'a Global,
    out: Output,
}

impl Context<'_> {
    /// A client of the server that was named.
    fn client(&self) -> Result<Client, Failure> {
        Client::with_tls(&self.global.server, self.global.token.as_ref(), &self.global.tls)
    }
}

fn long_help() -> String {
    let mut text = format!("{EXAMPLES}\n\nExit codes:\n");
    for (exit, meaning) in exit::Exit::ALL {
        text.push_str(&format!("  {:<4} {meaning}\n", exit.code()));
    }
    text.push_str(
        "\nResults go to standard output, everything else to standard error. \
         `tidetable COMMAND --help`\nexplains a command and shows examples.",
    );
    text
}

#[cfg(test)]
mod tests;
