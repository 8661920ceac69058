//! The settings of `tidetable serve`.
//!
//! Each setting is written down once, in the table below: its name, type, default and
//! help. It can be given as a flag (`--sort-memory 1GiB`), as a variable
//! (`TIDETABLE_SORT_MEMORY=1GiB`) or in the file that `--config` names
//! (`sort_memory = "1GiB"`); a flag goes before a variable, a variable before the file,
//! the file before the default. A name that no setting has is refused wherever it stands,
//! so that a misspelt limit cannot be silently absent. `[[webhooks]]` and `[sources.NAME]` alone
//! have no flags: each is several lines.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use tidetable_storage::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

use crate::access;

mod file;
mod given;
mod sources;
mod values;
mod webhooks;
use given::{Given, Origin};
pub(crate) use sources::Sources;
pub(crate) use values::{Bytes, Count, EnvironmentName, Listen, LogFormat, Rate, Span, Switch};
pub(crate) use webhooks::{Secret, Target};

macro_rules! settings {
    ($(
        $(#[doc = $help:literal])+
        $name:ident: $type:ty = $default:literal, $placeholder:literal;
    )*) => {
        // The settings as flags: each is a text that is parsed with the others later, so
        // that a mistake is told alike wherever it was made. (Not a doc comment: clap would
        // show it as the command's own help.)
        #[derive(Clone, Debug, Default, clap::Args)]
        pub(crate) struct ServeArgs {
            /// Read settings from this TOML file; names as the flags, with _ for -
            #[arg(long, value_name = "FILE", env = "TIDETABLE_CONFIG", hide_env_values = true)]
            pub(crate) config: Option<PathBuf>,
            $(
                #[arg(
                    long,
                    help = concat!($($help,)+ " [default: ", $default, "]").trim_start(),
                    value_name = $placeholder,
                    allow_hyphen_values = true,
                    num_args = arity($placeholder),
                    default_missing_value = "true",
                    require_equals = $placeholder == SWITCH,
                )]
                $name: Option<OsString>,
            )*
        }

        /// The settings as they hold for this process.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct ServeConfig {
            $($(#[doc = $help])+ pub(crate) $name: $type,)*
            /// Whom to tell of what happens; in the file alone.
            pub(crate) webhooks: Vec<Target>,
            /// From where data may be imported; in the file alone.
            pub(crate) sources: Sources,
        }

        /// The names of all settings, as they stand in the file.
        const NAMES: &[&str] = &[$(stringify!($name),)*];

        impl ServeArgs {
            fn flags(&mut self) -> Vec<(&'static str, Option<OsString>)> {
                vec![$((stringify!($name), self.$name.take()),)*]
            }
        }

        impl ServeConfig {
            fn parse(given: &Given) -> anyhow::Result<Self> {
                let config = Self {
                    $($name: given.parse(stringify!($name), $default)?,)*
                    webhooks: given.webhooks.clone(),
                    sources: given.sources.clone(),
                };
                config.check()?;
                Ok(config)
            }
        }
    };
}

/// The placeholder of a flag that stands without a value.
const SWITCH: &str = "BOOL";

fn arity(placeholder: &str) -> clap::builder::ValueRange {
    if placeholder == SWITCH { (0..=1).into() } else { (1..=1).into() }
}

settings! {
    /// Directory of the journal and all versions; made if it is not there
    data: PathBuf = "tidetable-data", "DIR";
    /// Address or localhost, and port; port 0 takes a free one
    listen: Listen = "127.0.0.1:7070", "ADDR";
    /// Listen on an address that other machines can reach without TLS, or without tokens:
    /// whoever is between can read both; whoever reaches a server without tokens may do everything
    insecure: Switch = "false", "BOOL";
    /// PEM file with the server's certificate, then the intermediate certificates up to its root.
    /// With it the server speaks TLS, and nothing else
    tls_certificate: PathBuf = "", "FILE";
    /// PEM file of the certificate's key. Both are read again when they change, and on SIGHUP
    tls_key: PathBuf = "", "FILE";
    /// PEM file of certificates: only clients that show one signed by these are let in
    tls_client_ca: PathBuf = "", "FILE";
    /// What this server is for, up to 32 characters: production, staging. The console shows it
    /// above every page
    environment: EnvironmentName = "none", "NAME";
    /// Threads that serve requests
    threads: Count = "auto", "N";
    /// Memory for sorting, for each build; what does not fit goes to disk in sorted runs
    sort_memory: Bytes = "512MiB", "SIZE";
    /// Memory for blocks that scans read again and again; lookups need none of it
    block_cache: Bytes = "32MiB", "SIZE";
    /// Pushes that are built at the same time; others wait
    builds_at_once: Count = "1", "N";
    /// Pushes use only the processor time that lookups and all other programs leave, which is next
    /// to none if the processors are always busy; false: always a small share
    pushes_give_way: Switch = "true", "BOOL";
    /// Directory of programs that the gate `check` of a dataset may name, to refuse versions by
    /// rules of your own; without it there are none
    checks_dir: PathBuf = "", "DIR";
    /// Time that such a program may take; after that the version is refused
    check_timeout: Span = "60s", "TIME";
    /// Percentage of the disk that may be in use when a push begins; 100: no limit but the 64 MiB
    /// that pushes always leave free
    max_disk_percent: Count = "95", "N";
    /// Longest data of one push request, or of one part, as sent; of an import, of all of it
    max_push_bytes: Bytes = "64GiB", "SIZE";
    /// Most bytes that one compressed byte of a push may become, beyond its first 256 MiB
    max_decompression_ratio: Count = "200", "N";
    /// Most bytes that the compressed data of one push may become, in all its parts
    max_decompressed_bytes: Bytes = "512GiB", "SIZE";
    /// Longest answer of a batch or scan
    max_answer_bytes: Bytes = "32MiB", "SIZE";
    /// Memory for answers of 64 KiB and more that clients are taking; meanwhile batches, scans and
    /// values as long are refused
    max_answers_in_memory: Bytes = "1GiB", "SIZE";
    /// Most keys in one batch, over all its datasets
    max_batch_keys: Count = "1000", "N";
    /// Most records in one page of a scan
    max_scan_records: Count = "1000", "N";
    /// Longest JSON body of a batch
    max_batch_bytes: Bytes = "4MiB", "SIZE";
    /// Longest JSON body of any other request
    max_json_bytes: Bytes = "1MiB", "SIZE";
    /// Longest key that a push may bring, up to 64KiB
    max_key_bytes: Bytes = "64KiB", "SIZE";
    /// Longest value that a push may bring, up to 16MiB
    max_value_bytes: Bytes = "16MiB", "SIZE";
    /// Bodies of pushes that are received at the same time; more are refused with 503
    max_bodies: Count = "256", "N";
    /// The same for one dataset; more are refused with 429
    max_bodies_per_dataset: Count = "64", "N";
    /// Most datasets; a push or a setting of one more is refused with 409. Those that are there stay
    max_datasets: Count = "10000", "N";
    /// Pushes of all datasets that were begun and have not all their data yet; more are
    /// refused with 429
    max_open_pushes: Count = "1000", "N";
    /// The same for one dataset
    max_open_pushes_per_dataset: Count = "100", "N";
    /// Reads that run at the same time, beside plain lookups in memory, which never wait; more are
    /// refused with 503, as with the following
    max_reads: Count = "1000", "N";
    /// Reads that wait for the disk at the same time
    max_cold_reads: Count = "1000", "N";
    /// Requests of pushes that run at the same time, those among them that wait for their build
    max_push_requests: Count = "1000", "N";
    /// Operations and looks at datasets and versions that run at the same time
    max_operations: Count = "500", "N";
    /// A thread that is this late refuses batches, scans, comparisons and the like with 503, so that
    /// what it takes is answered in time
    overload_after: Span = "500ms", "TIME";
    /// Longest path and query of a request, up to 65534 bytes; longer keys can be looked up
    /// in a batch
    max_uri_bytes: Bytes = "65534", "SIZE";
    /// Longest headers of a request, its first line included
    max_header_bytes: Bytes = "96KiB", "SIZE";
    /// Most open connections; more are closed at once
    max_connections: Count = "10000", "N";
    /// Most open connections from one address; high, since most clients come by a proxy
    max_connections_per_address: Count = "10000", "N";
    /// Requests that run at the same time on one HTTP/2 connection
    http2_max_streams: Count = "100", "N";
    /// Requests of one HTTP/2 connection that its client has given up and that were not yet looked
    /// at; with more the connection is closed
    http2_max_resets: Count = "20", "N";
    /// An HTTP/2 client is asked this often whether it is there, and has as long to answer
    http2_keep_alive: Span = "20s", "TIME";
    /// A connection that has not sent a whole request head this long after it was opened,
    /// or after the first byte of the head, is closed; with TLS this includes the handshake
    header_timeout: Span = "10s", "TIME";
    /// A connection without a request is closed after this time
    idle_timeout: Span = "60s", "TIME";
    /// A request whose body does not go on for this time fails, and an answer that the
    /// client does not take for this time is cut off
    body_timeout: Span = "30s", "TIME";
    /// Bytes a second, on average, that a body has to bring while it is waited for; 0: any number
    min_body_rate: Bytes = "500B", "SIZE";
    /// Bytes a second, on average, that a client has to take of answers that wait for it; 0: any
    /// number
    min_answer_rate: Bytes = "16KiB", "SIZE";
    /// Time that running requests have to end when the server is told to stop
    drain_timeout: Span = "30s", "TIME";
    /// Time that the parts of a push that was never committed are kept
    part_retention: Span = "24h", "TIME";
    /// How often every version that is kept is read again, for damage that has come to the
    /// disk meanwhile; 0: never
    scrub_interval: Span = "24h", "TIME";
    /// How fast that reads, at most
    scrub_rate: Rate = "20MiB/s", "RATE";
    /// Form of the log: text or json
    log_format: LogFormat = "text", "FORMAT";
    /// What is logged: error, warn, info, debug or trace; RUST_LOG goes before it
    log_level: String = "info", "LEVEL";
}

impl ServeConfig {
    /// The settings that hold, from the flags, the variables of this process, and the
    /// file. The error names the setting, its value, where it stands, and what is expected.
    pub(crate) fn load(args: ServeArgs) -> anyhow::Result<Self> {
        Self::resolve(args, std::env::vars_os())
    }

    fn resolve(
        mut args: ServeArgs,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> anyhow::Result<Self> {
        let mut given = Given::default();
        if let Some(path) = &args.config {
            given.add_file(path)?;
        }
        given.add_variables(variables)?;
        for (name, value) in args.flags() {
            if let Some(value) = value {
                given.add(name, &value, Origin::Flag(name))?;
            }
        }
        Self::parse(&given)
    }

    /// The defaults alone.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn defaults() -> Self {
        Self::parse(&Given::default()).expect("the defaults are valid, as a test shows")
    }

    /// Whether connections are encrypted.
    pub(crate) fn has_tls(&self) -> bool {
        !self.tls_certificate.as_os_str().is_empty()
    }

    /// Whether the files and directories that settings name are there, before anything is started.
    pub(crate) fn look(&self) -> anyhow::Result<()> {
        for (name, path, expected) in [
            ("tls_certificate", &self.tls_certificate, "a file"),
            ("tls_key", &self.tls_key, "a file"),
            ("tls_client_ca", &self.tls_client_ca, "a file"),
            ("checks_dir", &self.checks_dir, "a directory"),
        ] {
            if path.as_os_str().is_empty() {
                continue;
            }
            let said = || format!("{name} is {}: expected {expected}", path.display());
            let is_directory = path.metadata().with_context(said)?.is_dir();
            if is_directory != (expected == "a directory") {
                bail!(said());
            }
        }
        Ok(())
    }

    /// What one setting cannot know of the others.
    fn check(&self) -> anyhow::Result<()> {
        // Whether there are tokens is seen when the data directory is opened.
        access::check_address(self.listen.0, self.insecure.0, self.has_tls(), true)
            .map_err(anyhow::Error::msg)?;
        let least = |name: &str, bytes: Bytes, least: u64| {
            if bytes.0 >= least {
                return Ok(());
            }
            bail!("{name} is {bytes}: expected at least {}", Bytes(least))
        };
        if self.max_disk_percent.0 > 100 {
            bail!("max_disk_percent is {}: expected 1 to 100", self.max_disk_percent.0);
        }
        least("max_header_bytes", self.max_header_bytes, 8 * 1024)?;
        least("max_uri_bytes", self.max_uri_bytes, 256)?;
        least("sort_memory", self.sort_memory, 1024 * 1024)?;
        least("max_json_bytes", self.max_json_bytes, 1024)?;
        least("max_batch_bytes", self.max_batch_bytes, 1024)?;
        let most = |name: &str, bytes: Bytes, most: usize| {
            if (1..=most as u64).contains(&bytes.0) {
                return Ok(());
            }
            bail!("{name} is {bytes}: expected from 1 to {}", Bytes(most as u64))
        };
        most("max_key_bytes", self.max_key_bytes, MAX_KEY_BYTES)?;
        most("max_value_bytes", self.max_value_bytes, MAX_VALUE_BYTES)?;
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        for (given, other) in [
            (("tls_certificate", &self.tls_certificate), ("tls_key", &self.tls_key)),
            (("tls_key", &self.tls_key), ("tls_certificate", &self.tls_certificate)),
            (("tls_client_ca", &self.tls_client_ca), ("tls_certificate", &self.tls_certificate)),
        ] {
            if named(given.1) && !named(other.1) {
                bail!(
                    "{} is {}, and there is no {}: TLS takes a certificate and its key",
                    given.0,
                    given.1.display(),
                    other.0
                );
            }
        }
        for (name, span) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("body_timeout", self.body_timeout),
            ("http2_keep_alive", self.http2_keep_alive),
            ("overload_after", self.overload_after),
        ] {
            if span.0.is_zero() {
                bail!("{name} is 0: expected a time such as 30s; there is no waiting for ever");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};
    use std::time::Duration;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn load(flags: &[&str], variables: &[(&str, &str)], file: &str) -> anyhow::Result<ServeConfig> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tidetable.toml");
        std::fs::write(&path, file).unwrap();
        let mut args = Cli::try_parse_from([&["serve"], flags].concat())?.serve;
        args.config = Some(path);
        ServeConfig::resolve(args, variables.iter().map(|(n, v)| (n.into(), v.into())))
    }

    fn refusal(flags: &[&str], variables: &[(&str, &str)], file: &str) -> String {
        format!("{:#}", load(flags, variables, file).unwrap_err())
    }

    #[test]
    fn the_defaults_are_valid_and_local() {
        let config = ServeConfig::defaults();
        assert_eq!(config, load(&[], &[], "").unwrap());
        assert_eq!(config.listen, Listen(([127, 0, 0, 1], 7070).into()));
        assert_eq!(config.sort_memory, Bytes(512 << 20));
        assert_eq!(config.max_answer_bytes, Bytes(32 << 20));
        assert_eq!(config.max_batch_keys, Count(1000));
        assert_eq!(config.header_timeout, Span(Duration::from_secs(10)));
        assert_eq!(config.part_retention, Span(Duration::from_secs(24 * 3600)));
        assert!(config.threads.0 >= 1);
    }

    #[test]
    fn a_flag_goes_before_a_variable_and_that_before_the_file() {
        let file = "idle_timeout = \"3s\"\nbody_timeout = \"3s\"\ndrain_timeout = 3\n";
        let variables = [("TIDETABLE_IDLE_TIMEOUT", "2s"), ("TIDETABLE_BODY_TIMEOUT", "2s")];
        let config = load(&["--idle-timeout", "1s"], &variables, file).unwrap();
        let seconds = |span: Span| span.0.as_secs();
        assert_eq!(seconds(config.idle_timeout), 1);
        assert_eq!(seconds(config.body_timeout), 2);
        assert_eq!(seconds(config.drain_timeout), 3);
        assert_eq!(seconds(config.header_timeout), 10);
    }

    #[test]
    fn what_is_no_setting_is_refused_by_name() {
        let text = refusal(&[], &[], "\n# sizes\nblok_cache = \"1GiB\"\n");
        assert!(text.contains("tidetable.toml:3: blok_cache is no setting"), "{text}");
        assert!(text.contains("did you mean block_cache? The settings are data, "), "{text}");
        let text = refusal(&[], &[], "sort_mem = \"1GiB\"\n");
        assert!(text.contains("did you mean sort_memory?"), "{text}");
        let text = refusal(&[], &[], "zebra = 1\n");
        assert!(text.contains("zebra is no setting; the settings are"), "{text}");
        let text = refusal(&[], &[("TIDETABLE_THREDS", "2")], "");
        assert!(text.contains("TIDETABLE_THREDS is no setting"), "{text}");
        assert!(text.contains("did you mean TIDETABLE_THREADS?"), "{text}");
        assert!(refusal(&[], &[("TIDETABLE_threads", "2")], "").contains("no setting"));
        assert!(refusal(&["--thredas=2"], &[], "").contains("--thredas"));
        let others = [("TIDETABLE_SERVER", "x"), ("TIDETABLE_TOKEN", "y"), ("OTHER_THREADS", "z")];
        assert!(load(&[], &others, "").is_ok());
        let text = refusal(&[], &[], "[limits]\nthreads = 1\n");
        assert!(text.contains(":1: limits"), "{text}");
    }

    #[test]
    fn what_kubernetes_says_of_a_service_is_no_setting_and_no_mistake() {
        let variables = [
            ("TIDETABLE_SERVICE_HOST", "10.96.0.17"),
            ("TIDETABLE_SERVICE_PORT", "7070"),
            ("TIDETABLE_SERVICE_PORT_HTTP", "7070"),
            ("TIDETABLE_PORT", "tcp://10.96.0.17:7070"),
            ("TIDETABLE_PORT_7070_TCP", "tcp://10.96.0.17:7070"),
            ("TIDETABLE_PORT_7070_TCP_ADDR", "10.96.0.17"),
            ("TIDETABLE_PORT_7070_TCP_PORT", "7070"),
            ("TIDETABLE_PORT_7070_TCP_PROTO", "tcp"),
        ];
        assert_eq!(load(&[], &variables, "").unwrap(), ServeConfig::defaults());
        for other in
            ["SERVICE", "SERVICE_HOSTS", "PORTS", "PORT_HTTP", "PORT__TCP", "PORT_7070", "port"]
        {
            let name = format!("TIDETABLE_{other}");
            assert!(
                refusal(&[], &[(name.as_str(), "7070")], "").contains("is no setting"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_bad_value_is_told_with_its_place() {
        let text = refusal(&["--sort-memory", "much"], &[], "");
        assert!(text.contains("sort_memory is \"much\" (--sort-memory): expected"), "{text}");
        let text = refusal(&[], &[("TIDETABLE_LISTEN", "nowhere")], "");
        assert!(text.contains("listen is \"nowhere\" (TIDETABLE_LISTEN)"), "{text}");
        for address in ["tide.example:7070", "127.0.0.1", ":7070"] {
            let text = refusal(&["--listen", address], &[], "");
            assert!(text.contains("(--listen): expected an address and a port"), "{text}");
        }
        let text = refusal(&[], &[], "threads = \"many\"");
        assert!(text.contains("tidetable.toml:1): expected"), "{text}");
        let text = refusal(&[], &[], "threads = [1]");
        assert!(text.contains(":1: threads is an array"), "{text}");
        let text = refusal(&[], &[], "threads = 1\nthreads = 2\n");
        assert!(text.contains(":2: "), "{text}");
        assert!(refusal(&["--threads", "0"], &[], "").contains("threads is \"0\""));
        assert!(refusal(&["--idle-timeout", "0s"], &[], "").contains("idle_timeout is 0"));
        assert!(refusal(&["--max-header-bytes", "1KiB"], &[], "").contains("at least 8KiB"));
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let args = ServeArgs { config: Some("/no/such/file.toml".into()), ..ServeArgs::default() };
        let text = format!("{:#}", ServeConfig::resolve(args, []).unwrap_err());
        assert!(text.contains("cannot read the settings in /no/such/file.toml"), "{text}");
    }

    #[test]
    fn what_a_setting_names_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (file, checks, absent) = (at("a.pem"), at("checks"), at("absent"));
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&checks).unwrap();
        let look = |flags: &[&str]| load(flags, &[], "").unwrap().look();
        look(&[]).unwrap();
        look(&["--tls-certificate", &file, "--tls-key", &file, "--checks-dir", &checks]).unwrap();
        for (flags, says) in [
            (
                &["--checks-dir", &absent][..],
                format!("checks_dir is {absent}: expected a directory: "),
            ),
            (&["--checks-dir", &file], format!("checks_dir is {file}: expected a directory")),
            (
                &["--tls-certificate", &absent, "--tls-key", &file],
                format!("tls_certificate is {absent}: expected a file: "),
            ),
            (
                &["--tls-certificate", &file, "--tls-key", &checks],
                format!("tls_key is {checks}: expected a file"),
            ),
        ] {
            let text = format!("{:#}", look(flags).unwrap_err());
            assert!(text.starts_with(&says), "{text}");
        }
    }

    #[test]
    fn other_machines_are_let_in_only_when_it_is_spelled_out() {
        for open in ["0.0.0.0:7070", "[::]:7070", "10.0.0.5:7070"] {
            let text = refusal(&["--listen", open], &[], "");
            assert!(text.contains("--insecure") && text.contains(open), "{text}");
            assert!(load(&["--listen", open, "--insecure"], &[], "").is_ok());
            assert!(load(&["--listen", open], &[], "insecure = true").is_ok());
            assert!(load(&["--listen", open, "--insecure=false"], &[], "insecure = true").is_err());
        }
        assert!(load(&["--listen", "[::1]:0"], &[], "").is_ok());
        let local = load(&[], &[], "listen = \"localhost:7071\"").unwrap();
        assert_eq!(local.listen, Listen(([127, 0, 0, 1], 7071).into()));
    }

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        for (one, other) in [
            ("--tls-certificate", "tls_key"),
            ("--tls-key", "tls_certificate"),
            ("--tls-client-ca", "tls_certificate"),
        ] {
            let text = refusal(&[one, "/x.pem"], &[], "");
            assert!(text.contains(&format!("there is no {other}")), "{text}");
        }
        assert!(load(&["--tls-certificate", "/a", "--tls-key", "/b"], &[], "").is_ok());
        assert!(refusal(&["--max-key-bytes", "65537"], &[], "").contains("from 1 to 64KiB"));
        assert!(refusal(&["--max-value-bytes", "0"], &[], "").contains("from 1 to 16MiB"));
    }

    #[test]
    fn the_help_names_every_setting_and_its_default() {
        let help = Cli::command().render_long_help().to_string();
        for name in NAMES {
            assert!(help.contains(&format!("--{}", name.replace('_', "-"))), "{name}\n{help}");
        }
        assert!(help.contains("[default: 127.0.0.1:7070]"), "{help}");
        Cli::command().debug_assert();
    }
}
