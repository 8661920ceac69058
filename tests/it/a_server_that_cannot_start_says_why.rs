//! A server that cannot start ends at once, with what is wrong and the exit code of that, and leaves
//! everything as it was.

use std::fs::{self, File};

use tempfile::TempDir;

use crate::harness::{scratch, serve_command, spawn};

/// How a server on the directory `data` in `home` ends, which must not begin to serve, and what it
/// wrote.
#[track_caller]
fn refused(
    home: &TempDir,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String) {
    let log = home.path().join("stderr");
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let mut command = serve_command(&home.path().join("data"), &arguments);
    command.envs(variables.iter().copied()).stderr(File::create(&log).unwrap());
    match spawn(command) {
        Err(status) => (status.code(), fs::read_to_string(log).unwrap()),
        Ok((mut server, _)) => {
            server.kill().unwrap();
            server.wait().unwrap();
            panic!("it serves, with {arguments:?} and {variables:?}");
        }
    }
}

#[test]
fn a_directory_of_somebody_else() {
    let home = scratch();
    let theirs = home.path().join("data/staging/models/v1");
    fs::create_dir_all(&theirs).unwrap();
    let (code, said) = refused(&home, &[], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("staging/models"), "{said}");
    assert!(theirs.exists() && !home.path().join("data/journal").exists());
}

#[test]
fn a_level_of_the_log_that_is_none_wherever_it_stands() {
    let home = scratch();
    for (arguments, variables, named) in [
        (&["--log-level=warning"][..], &[][..], "log_level"),
        (&[], &[("RUST_LOG", "warning")], "RUST_LOG"),
    ] {
        let (code, said) = refused(&home, arguments, variables);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&format!("{named} is \"warning\"")), "{said}");
        assert!(!home.path().join("data").exists(), "{named}");
    }
}

#[test]
fn a_file_or_directory_that_is_not_there() {
    let home = scratch();
    let absent = home.path().join("absent").display().to_string();
    for (arguments, named) in [
        (
            &[format!("--tls-certificate={absent}"), format!("--tls-key={absent}")][..],
            "tls_certificate",
        ),
        (&[format!("--checks-dir={absent}")], "checks_dir"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, said) = refused(&home, &arguments, &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&format!("{named} is {absent}")), "{said}");
        assert!(!home.path().join("data").exists(), "{named}");
    }
}
