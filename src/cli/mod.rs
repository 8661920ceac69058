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
    let asked = line.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    // What goes to standard output is help.
    (asked && error.use_stderr()).then(|| {
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
        let asked = Asked { global: &self.global, out: Output::stdout(self.global.json) };
        match &self.command {
            Command::Serve(args) => serve::run(args),
            Command::Push(args) => push::run(args, &asked),
            Command::Build(args) => build::run(args, &asked),
            Command::Pull(args) => pull::run(args, &asked),
            Command::Run(args) => run::run(args, &asked),
            Command::Get(args) => get::run(args, &asked),
            Command::Scan(args) => scan::run(args, &asked),
            Command::Datasets(args) => datasets::run(args, &asked),
            Command::Versions(args) => versions::run(args, &asked),
            Command::History(args) => history::run(args, &asked),
            Command::Audit(args) => audit::run(args, &asked),
            Command::Diff(args) => diff::run(args, &asked),
            Command::Profile(args) => profile::run(args, &asked),
            Command::Activate(args) => activate::run(args, &asked),
            Command::Rollback(args) => rollback::run(args, &asked),
            Command::Canary(args) => canary::run(args, &asked),
            Command::Promote(args) => promote::run(args, &asked),
            Command::Hold(args) => hold::run(args, &asked),
            Command::Release(args) => release::run(args, &asked),
            Command::Delete(args) => delete::run(args, &asked),
            Command::Erase(args) => erase::run(args, &asked),
            Command::Config(args) => config::run(args, &asked),
            Command::Token(args) => token::run(args, &asked),
            Command::Verify(args) => verify::run(args, &asked),
            Command::Repair(args) => repair::run(args, &asked),
            Command::Demo(args) => demo::run(args),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args, &asked),
        }
    }
}

/// What every command is given besides its own arguments.
struct Asked<'a> {
    global: &'a Global,
    out: Output,
}

impl Asked<'_> {
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
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_command_teaches() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} says what it does");
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains(&format!("  tidetable {name}")), "{name} has an example");
        }
    }

    #[test]
    fn the_examples_of_the_help_can_be_parsed() {
        let mut seen = 0;
        let of = |command: &clap::Command| command.get_after_help().map(ToString::to_string);
        let mut texts = vec![EXAMPLES.to_owned()];
        for command in Cli::command().get_subcommands() {
            texts.extend(of(command));
            texts.extend(command.get_subcommands().filter_map(of));
        }
        for line in texts.iter().flat_map(|text| text.lines()) {
            let Some(line) = line.strip_prefix("  tidetable ") else { continue };
            let words = words_of(line);
            let words = ["tidetable".to_owned()].into_iter().chain(words);
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("tidetable {line}\n{error}"));
            seen += 1;
        }
        assert!(seen > 25, "only {seen} examples");
    }

    /// Help is wrapped at 100 columns. Half a command that is pasted from there does something else.
    #[test]
    fn no_example_is_so_long_that_it_is_wrapped() {
        let mut seen = 0;
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            let texts = [command.get_after_help(), command.get_after_long_help()];
            for text in texts.into_iter().flatten().map(ToString::to_string) {
                for line in text.lines().filter(|line| line.starts_with("  ")) {
                    assert!(line.chars().count() <= 98, "{line}");
                    seen += 1;
                }
            }
            commands.extend(command.get_subcommands().cloned());
        }
        assert!(seen > 50, "only {seen} lines");
    }

    /// The words of an example: up to a comment or pipe, quotes taken off.
    fn words_of(line: &str) -> Vec<String> {
        let line = line.split("   ").next().unwrap_or(line);
        let line = line.split(" | ").next().unwrap_or(line);
        let line = line.split(" > ").next().unwrap_or(line);
        let mut words = Vec::new();
        for (i, piece) in line.split('\'').enumerate() {
            if i % 2 == 1 {
                words.push(piece.to_owned());
            } else {
                words.extend(piece.split_whitespace().map(str::to_owned));
            }
        }
        words
    }

    #[test]
    fn usage_errors_are_told_from_good_lines() {
        let good = [
            "push recs a.csv --key id",
            "push recs a b --key a,b --label run-7 --no-activate",
            "push recs - --key id --format ndjson --server-timeout 30m",
            "push recs - --key id --format jsonl",
            "push recs dir",
            "build recs a.csv --key id --out dir --compression zstd --sort-memory 1GiB",
            "build recs a b --key id --part 2/3 --split-at k,m --like d --out dir",
            "build recs a --key id --cuts 4",
            "build --merge p1 p2 p3 --out dir",
            "pull recs --out dir",
            "pull recs --version 3 --out dir",
            "run job.yaml --dry-run --show 5 --set A=b --set B=",
            "run job.yaml --retries 0 --server-timeout 5m",
            "run --schema",
            "get recs 1 2 3 --fields a,b --version 4",
            "get recs --json 1",
            "get recs -7 -1.5",
            "scan recs",
            "scan recs --prefix -7: --limit 5 --fields a,b --version 4 --json",
            "scan recs --all --prefix ff --key-encoding hex",
            "rollback recs --to 3 --reason x --no-hold",
            "activate recs 4 --force --reason x",
            "activate recs=4 facts=2 --force --reason x",
            "canary recs",
            "canary recs 4 --percent 2.5 --experiment x --reason y",
            "canary recs --percent 50",
            "canary recs --abort --reason y",
            "promote recs --reason y",
            "delete recs 4",
            "erase recs 4 -7 --reason x",
            "erase --all-datasets 4 --now --yes --reason x",
            "erase recs --keys-from - --lift --reason x",
            "erase --list",
            "config recs retain=5 gates.min_records=10",
            "history recs --key -7",
            "audit",
            "audit recs --since 24h --kind denial --actor job --limit 5",
            "audit --verify --data d",
            "diff recs 1 2 --samples 0",
            "profile recs",
            "profile recs 2 --against 1",
            "verify",
            "verify recs 3",
            "repair ./data --cut",
            "token create ops --role admin --data ./data",
            "token create recs --role reader --role pusher --dataset a --dataset b* --expires never",
            "token list --server http://h:1 --token tt_x",
            "token revoke 1f2e3d4c5b6a7988",
            "completions bash",
            "man --out ./man",
            "--server http://h:1 datasets",
        ];
        for line in good {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        let bad = [
            "",
            "pull",
            "pull recs",
            "pull recs --version latest --out d",
            "build",
            "build recs a.csv --key id",
            "build recs --key id --out d",
            "build recs a.csv --key id --out d --part 3/2",
            "build recs a.csv --key id --out d --split-at k",
            "build recs a.csv --key id --out d --cuts 3",
            "build recs a.csv --key id --out d --compression lzma",
            "build recs a.csv --out d --merge p1",
            "build --merge --out d",
            "push recs --key id",
            "push Recs a.csv --key id",
            "push ../x a.csv --key id",
            "push recs a.csv --key id --server-timeout soon",
            "run",
            "run job.yaml --set A",
            "run job.yaml --set 1=2",
            "run job.yaml --show 5",
            "run job.yaml --schema",
            "get recs",
            "get recs --nope",
            "serve --token x",
            "serve --server http://h:1",
            "--token x serve",
            "get recs k --version 0",
            "get recs k --key-encoding rot13",
            "scan",
            "scan recs --limit 0",
            "scan recs --limit 5 --all",
            "scan recs --version 0",
            "activate recs",
            "activate recs latest",
            "canary",
            "canary recs 4",
            "canary recs 4 --percent many",
            "canary recs 4 --percent 5 --abort",
            "canary recs --experiment x",
            "promote",
            "activate recs 4 --force",
            "activate recs=4 facts 2",
            "activate recs=4 recs=5",
            "delete recs",
            "erase recs 4",
            "erase recs 4 --now --lift --reason x",
            "erase recs 4 --list",
            "config recs retain",
            "repair",
            "token",
            "token create ops",
            "token create --role admin",
            "token create ops --role owner",
            "token create ops --role reader --dataset a*b",
            "token create ops --role reader --expires soon",
            "token create ops --role admin --data ./data --server http://h:1",
            "--token tt_x token create ops --role admin --data ./data",
            "token revoke ops",
            "verify recs latest",
            "completions nosuchshell",
            "versions recs --wat",
            "history recs --key-encoding hex",
            "audit --since yesterday",
            "audit recs --verify",
            "audit --data d",
            "audit --verify --head x",
            "diff recs 1",
            "diff recs 1 2 --samples 101",
        ];
        for line in bad {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn what_a_server_starts_for_itself_is_no_command() {
        let line = |words: &[&str]| -> Vec<OsString> { words.iter().map(Into::into).collect() };
        for word in ["build-worker", "check-guard"] {
            assert!(of_a_server(&line(&["tidetable", word])).is_some());
            assert!(of_a_server(&line(&["tidetable", word, "--help"])).is_none());
            let error = parse(word).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSubcommand);
        }
        let error = parse("--json").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingSubcommand);
        assert!(!error.to_string().contains("worker"), "{error}");
        assert!(of_a_server(&line(&["tidetable"])).is_none());
    }

    #[test]
    fn an_error_shows_the_usage_of_its_command() {
        for (line, usage) in [
            ("activate recs", "Usage: tidetable activate [OPTIONS] <DATASET> <VERSION>"),
            ("activate recs v5", "Usage: tidetable activate [OPTIONS] <DATASET> <VERSION>"),
            ("activate recs=5 6", "Usage: tidetable activate [OPTIONS] <DATASET> <VERSION>"),
            ("serve --token x", "Usage: tidetable serve "),
            ("token create ops --role admin --data d --token x", "Usage: tidetable token create "),
        ] {
            let text = parse(line).unwrap_err().to_string();
            assert!(text.contains(usage), "{line}: {text}");
        }
    }

    #[test]
    fn help_is_a_word_too() {
        for (line, as_option) in [
            ("help", "--help"),
            ("help help", "--help"),
            ("help push", "push --help"),
            ("help token create", "token create --help"),
        ] {
            let (help, same) = (parse(line).unwrap_err(), parse(as_option).unwrap_err());
            assert_eq!(help.kind(), ErrorKind::DisplayHelp, "{line}");
            assert_eq!(help.to_string(), same.to_string(), "{line}");
        }
        assert_eq!(parse("help nosuch").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_line_that_cannot_be_parsed_is_json_if_that_was_asked_for() {
        let words = |line: &str| -> Vec<OsString> {
            ["tidetable"].into_iter().chain(line.split_whitespace()).map(Into::into).collect()
        };
        let json = |line: &str| json_of(&words(line), &Cli::of(&words(line)).unwrap_err());
        let said = json("--json activate recs").unwrap();
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["error"]["exit"], 2);
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.contains("<VERSION>") && !message.starts_with("error"), "{message}");
        assert!(json("activate recs").is_none());
        assert!(json("get --json --help").is_none(), "help is no error");
        assert!(json("push recs --nope -- --json").is_none());
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        let words = ["tidetable"].into_iter().chain(line.split_whitespace());
        Cli::of(&words.map(Into::into).collect::<Vec<_>>())
    }
}
