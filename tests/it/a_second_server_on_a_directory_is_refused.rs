//! Two servers on one data directory would lose each other's events: the second exits at once,
//! and says which directory it is and who holds it.

use crate::data::{key, rows};
use crate::harness::{Server, serve_command, spawn};

#[test]
fn a_second_server_on_a_directory_is_refused() {
    let mut server = Server::start();
    server.pushed("recs", &rows("recs", 1, 10));

    let output = serve_command(&server.data(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "as of every command that finds it in use");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&server.data().display().to_string()), "names the directory: {said}");
    let holder = server.pid().as_raw_nonzero().to_string();
    assert!(said.contains(&holder), "names the holder, {holder}: {said}");

    // The first goes on, and when it is gone, however it went, another may start.
    assert_eq!(server.pushed("recs", &rows("recs", 2, 10)), 2);
    server.restart();
    assert_eq!(server.get("recs", &key(3)).expect(200).version(), 2);
}

#[test]
fn a_port_in_use_is_refused() {
    let server = Server::start();
    let elsewhere = server.beside("elsewhere");
    let listen = format!("--listen={}", server.address());
    let mut command = crate::harness::tidetable(&["serve", &listen, "--data"]);
    command.arg(elsewhere).stderr(std::process::Stdio::null());
    assert!(!spawn(command).expect_err("the port is taken").success());
    server.get_path("/livez").expect(200);
}
