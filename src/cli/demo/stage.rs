//! Where the tour takes place: a throw-away directory, a server on it, and a narrator who
//! prints each command and runs it.
//!
//! Whatever way the tour ends, the server is stopped and the directory removed. The server
//! is in a process group of its own, so that Ctrl-C reaches the tour, which then stops the
//! server in the right order.

use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::api::{Dataset, dataset_path};
use crate::cli::client::{Answer, Client};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{bytes, counted};

/// How long a server may take to finish what it began; then it is killed.
const DRAIN: Duration = Duration::from_secs(30);
/// Far longer than the watch takes, which looks once a second.
const NOTICED_WITHIN: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    home: TempDir,
    binary: PathBuf,
    server: Option<Child>,
    url: String,
    pause: bool,
    colours: bool,
    steps: u32,
    interrupted: Arc<AtomicBool>,
}

impl Stage {
    /// Makes the directory, and begins to listen for Ctrl-C.
    pub(crate) fn set(pause: bool) -> Result<Self, Failure> {
        let within = std::env::temp_dir();
        let home = tempfile::Builder::new().prefix("tidetable-demo-").tempdir_in(&within);
        let home = home.map_err(|e| {
            Failure::io("make a directory in", within.display(), &e)
                .hint("set TMPDIR to a directory that can be written to, on a disk with 2 GB free")
        })?;
        let binary =
            std::env::current_exe().map_err(|e| Failure::io("find", "this program", &e))?;
        let out = io::stdout();
        let colours =
            out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Ok(Self {
            home,
            binary,
            server: None,
            url: String::new(),
            // Without somebody at the keyboard there is nobody to press Enter.
            pause: pause && out.is_terminal() && io::stdin().is_terminal(),
            colours,
            steps: 0,
            interrupted: watch_for_signals()?,
        })
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Starts the server, and reads its address from the first line it prints.
    pub(crate) fn start_server(&mut self) -> Result<(), Failure> {
        self.show("tidetable serve --data data --listen 127.0.0.1:0")?;
        let log = self.home.path().join("server.log");
        let stderr =
            fs::File::create(&log).map_err(|e| Failure::io("create", log.display(), &e))?;
        let mut command = self.command(&["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
        command.stdout(Stdio::piped()).stderr(stderr).process_group(0);
        let mut child =
            command.spawn().map_err(|e| Failure::io("start", self.binary.display(), &e))?;
        let mut output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        self.server = Some(child);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Some((_, url)) = line.trim_end().split_once(" listening on ") else {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Err(Failure::new(
                Exit::Failed,
                format!("the server did not start:\n{}", said.trim_end()),
            ));
        };
        self.url = url.to_owned();
        // Read on, so that the server never waits for us.
        thread::spawn(move || output.read_to_end(&mut Vec::new()));
        self.text(line.trim_end())?;
        self.show(&format!("export TIDETABLE_SERVER={}", self.url))
    }

    /// Begins a step.
    pub(crate) fn heading(&mut self, title: &str, what: &str) -> Result<(), Failure> {
        if self.steps > 0 && self.pause {
            self.wait_for_enter()?;
        }
        self.steps += 1;
        let title = self.painted("1", &format!("{}. {title}", self.steps));
        self.text(format!("\n{title}\n\n{}", wrapped(what)))
    }

    /// Says a sentence between two commands.
    pub(crate) fn say(&self, what: &str) -> Result<(), Failure> {
        self.text(format!("\n{}", wrapped(what)))
    }

    /// Writes a file with one of the generators, which gives its number of rows.
    pub(crate) fn write(
        &self,
        name: &str,
        generate: impl FnOnce(&Path) -> io::Result<u64>,
    ) -> Result<(), Failure> {
        self.unless_interrupted()?;
        let path = self.home.path().join(name);
        let rows = generate(&path).map_err(|e| Failure::io("write", path.display(), &e))?;
        let size = bytes(path.metadata().map_or(0, |m| m.len()));
        self.text(format!("\n({name} is generated: {}, {size})", counted(rows, "row")))
    }

    /// Removes a file that is pushed, to need less room.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.home.path().join(name);
        fs::remove_file(&path).map_err(|e| Failure::io("remove", path.display(), &e))
    }

    /// Runs a command of this binary, whose output goes where ours goes, and which must end
    /// with `exit`.
    pub(crate) fn tidetable(&self, arguments: &[&str], exit: Exit) -> Result<(), Failure> {
        let shown: Vec<String> = arguments.iter().map(|a| for_a_shell(a)).collect();
        self.show(&format!("tidetable {}", shown.join(" ")))?;
        let status = self.run(&mut self.command(arguments))?;
        if status.code() != Some(exit.code().into()) {
            let wanted = exit.code();
            return Err(Failure::new(
                Exit::Failed,
                format!("the tour expected exit code {wanted} here, not {status}"),
            ));
        }
        if exit != Exit::Done {
            self.text(format!("(exit code {})", exit.code()))?;
        }
        Ok(())
    }

    /// Looks a value up, which is printed as it is stored: where there is no terminal, its
    /// line has no end.
    pub(crate) fn get(&self, arguments: &[&str]) -> Result<(), Failure> {
        self.tidetable(&[&["get"], arguments].concat(), Exit::Done)?;
        if io::stdout().is_terminal() { Ok(()) } else { self.text("") }
    }

    /// Runs a program of the system.
    pub(crate) fn shell(&self, program: &str, arguments: &[&str]) -> Result<(), Failure> {
        self.show(&format!("{program} {}", arguments.join(" ")))?;
        let status =
            self.run(Command::new(program).args(arguments).current_dir(self.home.path()))?;
        if !status.success() {
            return Err(Failure::new(Exit::Failed, format!("{program} ended with {status}")));
        }
        Ok(())
    }

    /// Shows a GET as a user of curl would see it, and sends it.
    pub(crate) fn curl(&self, path: &str) -> Result<(), Failure> {
        self.show(&format!("curl -i {}{path}", self.url))?;
        let answer = Client::new(&self.url, None)?.get(path)?;
        self.text(head_of(&answer))?;
        self.text(answer.text().trim_end())
    }

    /// The same with a POST of JSON; the body of the answer alone.
    pub(crate) fn curl_post(&self, path: &str, body: &str) -> Result<(), Failure> {
        let json = "-H 'content-type: application/json'";
        self.show(&format!("curl {}{path} {json} -d '{body}'", self.url))?;
        let body = serde_json::from_str(body).expect("the tour writes JSON");
        let answer = Client::new(&self.url, None)?.post(path, &body, "tour")?;
        self.text(answer.text().trim_end())
    }

    /// Looks learners up as product pages do, until the dataset is held.
    pub(crate) fn readers_until_held(&self, dataset: &str) -> Result<(), Failure> {
        let client = Client::new(&self.url, None)?;
        let keys: Vec<String> = (1..=100).map(|learner| learner.to_string()).collect();
        let body = serde_json::json!({ "keys": keys });
        let began = Instant::now();
        while began.elapsed() < NOTICED_WITHIN {
            self.unless_interrupted()?;
            client.post(&format!("{}/batch-get", dataset_path(dataset)), &body, "tour")?;
            if client.get(&dataset_path(dataset))?.json::<Dataset>()?.held {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(Failure::new(Exit::Failed, format!("the watch of {dataset} did not take it back")))
    }

    /// Says where everything is, and serves on until Ctrl-C.
    pub(crate) fn serve_on(&mut self) -> Result<(), Failure> {
        let (url, home) = (self.url.clone(), self.home.path().display().to_string());
        let programs = self.binary.parent().unwrap_or_else(|| Path::new("/")).display().to_string();
        self.heading("Your turn", "The server goes on serving. In another terminal, try:")?;
        self.text(format!(
            "
    export PATH={programs}:$PATH TIDETABLE_SERVER={url}
    tidetable datasets
    tidetable get course-recs 42
    curl {url}/v1/datasets/course-recs/keys/42

console   {url}/ in a browser
API       {url}/docs
files     {home}
stop      Ctrl-C; the directory is removed then"
        ))?;
        let server = self.server.as_mut().expect("the tour has started it");
        while !self.interrupted.load(Ordering::Relaxed) {
            if let Some(status) = server.try_wait()? {
                self.server = None;
                let log =
                    fs::read_to_string(self.home.path().join("server.log")).unwrap_or_default();
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the server ended with {status}:\n{}", log.trim_end()),
                ));
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Stops the server and removes the directory.
    pub(crate) fn clear(mut self) -> Result<(), Failure> {
        self.stop_server();
        let home = self.home.path().to_owned();
        fs::remove_dir_all(&home).map_err(|e| Failure::io("remove", home.display(), &e))?;
        self.text(format!("\nThe server has stopped, and {} is removed.", home.display()))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(self.home.path()).stdin(Stdio::null());
        // Settings of the user's own server must not reach the tour's.
        for (name, _) in
            std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("TIDETABLE_"))
        {
            command.env_remove(name);
        }
        if !self.url.is_empty() {
            command.env("TIDETABLE_SERVER", &self.url);
        }
        command
    }

    fn run(&self, command: &mut Command) -> Result<ExitStatus, Failure> {
        self.unless_interrupted()?;
        let program = command.get_program().to_string_lossy().into_owned();
        let status = command.status().map_err(|e| Failure::io("run", program, &e))?;
        self.unless_interrupted()?;
        Ok(status)
    }

    fn unless_interrupted(&self) -> Result<(), Failure> {
        if self.interrupted() { Err(Failure::new(Exit::Interrupted, "stopped")) } else { Ok(()) }
    }

    fn wait_for_enter(&self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(b"\n(Enter goes on)")?;
        out.flush()?;
        // A signal interrupts no read of a line, so the line is read aside.
        let (done, pressed) = std::sync::mpsc::channel();
        thread::spawn(move || done.send(io::stdin().lock().read_line(&mut String::new())));
        while pressed.recv_timeout(Duration::from_millis(100)).is_err() {
            self.unless_interrupted()?;
        }
        Ok(())
    }

    fn show(&self, command: &str) -> Result<(), Failure> {
        self.text(format!("\n{}", self.painted("32", &format!("$ {command}"))))
    }

    fn text(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.as_ref())?;
        // The next lines may come from another process.
        out.flush()?;
        Ok(())
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn stop_server(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // It may have ended by itself: then there is nothing to stop.
        let _ = kill_process(Pid::from_child(&server), Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < DRAIN && matches!(server.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = server.kill();
        let _ = server.wait();
    }
}

impl Drop for Stage {
    /// The directory is removed by its own `Drop`, after this.
    fn drop(&mut self) {
        self.stop_server();
    }
}

/// Sets the flag at Ctrl-C, SIGTERM, or when the terminal is closed.
fn watch_for_signals() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let failed = |e: io::Error| Failure::io("listen for", "signals", &e);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut signals = {
        let _entered = runtime.enter();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        kinds.map(signal).into_iter().collect::<io::Result<Vec<_>>>().map_err(failed)?
    };
    let set = Arc::clone(&flag);
    thread::spawn(move || {
        let received = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
        runtime.block_on(futures_util::future::select_all(received));
        set.store(true, Ordering::Relaxed);
        // The handlers stay: a second Ctrl-C must not cut the cleaning up short.
        thread::park();
    });
    Ok(flag)
}

/// The status and the headers of an answer, as `curl -i` shows them.
fn head_of(answer: &Answer) -> String {
    let status = StatusCode::from_u16(answer.status).unwrap_or_default();
    let mut text = format!("HTTP/1.1 {status}\n");
    for (name, value) in &answer.headers {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

/// An argument as a shell needs it.
fn for_a_shell(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/=@%+".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{argument}'")
    }
}

/// Text in lines of at most 80 characters.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        if length > 0 && length + 1 + word.chars().count() > 80 {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines += word;
        length += word.chars().count();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_a_shell_needs_it() {
        assert_eq!(for_a_shell("--order-by"), "--order-by");
        assert_eq!(for_a_shell("score:desc"), "score:desc");
        assert_eq!(for_a_shell("all counts are 0"), "'all counts are 0'");
        assert_eq!(for_a_shell(""), "''");
    }

    #[test]
    fn long_sentences_are_wrapped_between_words() {
        let text = wrapped(&"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= 80 && !line.ends_with(' ')), "{text}");
        assert_eq!(text.split_whitespace().count(), 40);
    }
}
