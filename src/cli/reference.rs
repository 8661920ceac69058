//! `docs/cli.md`, made from the definition of the command line, so that it cannot say
//! anything else than the program does.

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::Cli;
use super::exit::Exit;

/// The reference of the command line as Markdown: every command with its arguments,
/// options, defaults, variables and examples, and the exit codes.
pub fn reference() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = String::from(
        "# Command line\n\n\
         <!-- Made by `BLESS=1 cargo test --release the_reference`: do not edit. -->\n\n",
    );
    paragraphs(&mut text, &about(&command));
    text.push_str("| command | what it does |\n|---|---|\n");
    for sub in command.get_subcommands() {
        let name = sub.get_name();
        let what = sub.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("| [`{name}`](#tidetable-{name}) | {} |\n", cell(&what)));
    }
    text.push_str("\n## Options of every command\n\n");
    let global = |arg: &&Arg| arg.is_global_set();
    options(&mut text, command.get_arguments().filter(global));
    text.push_str("## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in Exit::ALL {
        text.push_str(&format!("| {} | {} |\n", exit.code(), cell(meaning)));
    }
    for sub in command.get_subcommands() {
        section(&mut text, sub, sub.get_name());
    }
    text
}

/// A command and those beneath it; `name` is what it takes to call it.
fn section(text: &mut String, command: &Command, name: &str) {
    text.push_str(&format!("\n## tidetable {name}\n\n"));
    paragraphs(text, &about(command));
    let usage = command.clone().disable_help_flag(true).render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let usage: Vec<&str> = usage.lines().map(str::trim).collect();
    text.push_str(&format!("```\n{}\n```\n\n", usage.join("\n")));
    let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help";
    options(text, command.get_arguments().filter(own));
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let lines = examples.lines().filter_map(|line| line.strip_prefix("  "));
        let lines: Vec<&str> = lines.collect();
        text.push_str(&format!("Examples:\n\n```\n{}\n```\n", lines.join("\n")));
    }
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        section(text, sub, &format!("{name} {}", sub.get_name()));
    }
}

fn options<'a>(text: &mut String, args: impl Iterator<Item = &'a Arg>) {
    let mut group = None;
    let mut none = true;
    for arg in args {
        let heading = arg.get_help_heading().filter(|_| !arg.is_global_set());
        if heading != group && heading.is_some() {
            let before = if none { "" } else { "\n" };
            text.push_str(&format!("{before}{}:\n\n", heading.unwrap_or_default()));
        }
        group = heading;
        text.push_str(&format!("- `{}`: {}\n", written(arg), meaning(arg)));
        none = false;
    }
    if !none {
        text.push('\n');
    }
}

/// `--label <TEXT>`, `-h`, `<DATASET>`, `<SOURCE>…`.
fn written(arg: &Arg) -> String {
    let many = matches!(arg.get_action(), ArgAction::Append);
    let names = arg.get_value_names().unwrap_or_default();
    let value: Vec<String> = names.iter().map(|name| format!("<{name}>")).collect();
    let value = value.join(" ");
    if arg.is_positional() {
        return if many { format!("{value}…") } else { value };
    }
    let flag = arg.get_long().map_or_else(String::new, |long| format!("--{long}"));
    let takes = arg.get_action().takes_values();
    if takes && !value.is_empty() { format!("{flag} {value}") } else { flag }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut text = sentences(&help).join(" ");
    if !help.contains("\n\n") {
        text.truncate(text.trim_end_matches('.').len());
    }
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        text.push_str(&format!(". One of {}", values.join(", ")));
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        text.push_str(&format!(" [default: `{}`]", defaults.join(",")));
    }
    if let Some(variable) = arg.get_env() {
        text.push_str(&format!(" [variable: `{}`]", variable.to_string_lossy()));
    }
    text
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    about.map(ToString::to_string).unwrap_or_default()
}

fn paragraphs(text: &mut String, about: &str) {
    for paragraph in sentences(about) {
        text.push_str(&format!("{paragraph}\n\n"));
    }
}

/// The paragraphs of a help text, each on one line that ends as a sentence does.
fn sentences(help: &str) -> Vec<String> {
    let whole = |paragraph: &str| {
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        let end = if line.ends_with(['.', ':', '!', ']']) { "" } else { "." };
        format!("{line}{end}")
    };
    help.split("\n\n").map(whole).collect()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_what_the_program_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
        let made = reference();
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == made,
            "docs/cli.md is not what the program says: BLESS=1 cargo test --release the_reference"
        );
    }

    #[test]
    fn the_reference_names_every_command_option_and_exit_code() {
        let text = reference();
        for command in Cli::command().get_subcommands() {
            assert!(text.contains(&format!("\n## tidetable {}\n", command.get_name())));
            for long in command.get_arguments().filter_map(Arg::get_long) {
                assert!(text.contains(&format!("`--{long}")), "--{long}");
            }
        }
        for (exit, _) in Exit::ALL {
            assert!(text.contains(&format!("\n| {} | ", exit.code())));
        }
        assert!(text.contains("TIDETABLE_SERVER"));
    }
}
