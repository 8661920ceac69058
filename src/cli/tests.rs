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
