//! Logs go to stderr, as text or JSON, and optionally to files, as JSON.
//!
//! Logging is set up once for the process. Answers of commands go to stdout, not through here.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::{Level, Metadata, Subscriber};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, LevelFilter, filter_fn},
    layer::{Filter, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use super::{minute, text_log::TextLog};
use crate::{
    commands::bar::{Stray, above_bar, taken_by_console},
    primitives::printable,
    storage::{create_folder, make_private, prepare_private},
};

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object on each line, with the event's fields at the top level
    Json,
}

/// The rule that decides about colours in output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    Always,
    Never,
}

impl ColorChoice {
    /// True if output to a stream is coloured. `terminal` is true if the stream is a terminal.
    pub(crate) fn decide(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}

/// The log filter if the user gave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogDefault {
    /// This program's events from INFO on, and warnings of libraries.
    Daemon,
    /// Warnings only, so that the answers of a command or console stay readable.
    Command,
}

/// The reason why logging did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The filter could not be parsed.
    #[error(
        "'{text}' is not a log filter ({cause}): write one like info, or friendchain=debug,warn"
    )]
    Filter { text: String, cause: tracing_subscriber::filter::ParseError },
    /// A lone word is not a level. As a target it would hide all of this program's events.
    #[error(
        "'{0}' is not a log level: write off, error, warn, info, debug or trace, or a target with \
         its level, like \
         friendchain=debug,warn"
    )]
    Level(String),
    /// The log files cannot be written.
    #[error("logs cannot be written to {} ({cause}): give a folder that can be written to with \
         --log-dir", folder.display())]
    Folder { folder: PathBuf, cause: String },
}

/// The settings of logging.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) format: LogFormat,
    /// The user's filter, in the syntax of `RUST_LOG`.
    pub(crate) filter: Option<String>,
    pub(crate) color: ColorChoice,
    pub(crate) default: LogDefault,
    /// Additional log files, if any.
    pub(crate) files: Option<LogFiles>,
}

/// Log files of JSON lines: one file a day, the last [`KEPT_DAYS`] of them.
#[derive(Debug, Clone)]
pub(crate) struct LogFiles {
    /// The folder, which is created if it is missing.
    pub(crate) folder: PathBuf,
    /// The start of the files' names: NAME.2026-01-31.log.
    pub(crate) name: String,
}

/// The number of log files that are kept, one for each day.
pub(crate) const KEPT_DAYS: usize = 14;

/// The interval between two removals of old files.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// The length of a day, in seconds. Log files are named by their UTC day.
const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// The prefix of targets that are never logged below INFO.
///
/// # Security
/// At DEBUG and TRACE these libraries log whole requests, which may hold passphrases.
const NEVER_VERBOSE: &str = "jsonrpsee";

/// Starts logging. A second call has no effect.
pub(crate) fn init(options: &LogOptions) -> Result<(), LogError> {
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(|| LogLine { line: Vec::new() })
        .with_ansi(options.color.decide(io::stderr().is_terminal()));
    let stderr = match options.format {
        LogFormat::Text => stderr.event_format(TextLog).boxed(),
        LogFormat::Json => {
            stderr.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    let is_json = options.format == LogFormat::Json;
    let here = filter_fn(move |metadata| !is_json || !is_for_people(metadata));
    let asked = filter(options.filter.as_deref(), options.default)?;
    let mut layers =
        vec![stderr.with_filter(asked.and(here.with_max_level_hint(LevelFilter::TRACE))).boxed()];
    if let Some(files) = &options.files {
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(Mutex::new(DailyFiles::open(files)?))
            .json();
        let layer = layer.flatten_event(true).with_current_span(false).with_span_list(false);
        let asked = filter(options.filter.as_deref(), LogDefault::Daemon)?;
        let here = filter_fn(|metadata| !is_for_people(metadata));
        let here = here.with_max_level_hint(LevelFilter::TRACE);
        layers.push(layer.with_filter(asked.and(here)).boxed());
    }
    // Fails if logging has already started, which happens only in tests.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Ok(())
}

/// True for lines that summarise events for people. JSON logs have the events themselves.
fn is_for_people(metadata: &Metadata<'_>) -> bool {
    metadata.target() == minute::TARGET
}

/// A writer to one file a day. It removes old files of its own node, and of no other node.
struct DailyFiles {
    appender: RollingFileAppender,
    files: LogFiles,
    pruned: Instant,
    /// The day of the newest file, in days since 1970.
    day: i64,
}

impl DailyFiles {
    fn open(files: &LogFiles) -> Result<Self, LogError> {
        let failed = |cause: &dyn std::fmt::Display| LogError::Folder {
            folder: files.folder.clone(),
            cause: cause.to_string(),
        };
        create_folder(&files.folder).map_err(|cause| failed(&cause))?;
        let day = today();
        files.prepare(day).map_err(|cause| failed(&cause))?;
        let builder = RollingFileAppender::builder().rotation(Rotation::DAILY);
        let named = builder.filename_prefix(&files.name).filename_suffix("log");
        let appender = named.build(&files.folder).map_err(|cause| failed(&cause))?;
        files.prune();
        Ok(Self { appender, files: files.clone(), pruned: Instant::now(), day })
    }
}

impl Write for DailyFiles {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pruned.elapsed() > PRUNE_EVERY {
            self.files.prune();
            self.pruned = Instant::now();
        }
        let day = today();
        if day != self.day {
            // If a file cannot be written, the appender reports it.
            let _ = self.files.prepare(day);
            self.day = day;
        }
        self.appender.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.appender.flush()
    }
}

/// Returns the day in UTC, in days since 1970.
fn today() -> i64 {
    Timestamp::now().as_second().div_euclid(SECONDS_A_DAY)
}

impl LogFiles {
    /// Creates a day's file with mode 0600 before the appender would create it with a wider mode.
    fn prepare(&self, day: i64) -> io::Result<()> {
        let start = Timestamp::from_second(day.saturating_mul(SECONDS_A_DAY));
        let date = start.map_err(io::Error::other)?.strftime("%Y-%m-%d");
        prepare_private(&self.folder.join(format!("{}.{date}.log", self.name)))
    }

    /// Removes all files except the newest, and makes those private. Ignores failures.
    fn prune(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut ours: Vec<_> = names.filter(|name| self.is_ours(name)).collect();
        ours.sort_unstable();
        let old = ours.len().saturating_sub(KEPT_DAYS);
        for name in ours.drain(..old) {
            let _ = fs::remove_file(self.folder.join(name));
        }
        for name in ours {
            let _ = make_private(&self.folder.join(name));
        }
    }

    /// True if a file name has the form NAME.2026-01-31.log.
    fn is_ours(&self, name: &str) -> bool {
        let date = name
            .strip_prefix(&self.name)
            .and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".log"));
        date.is_some_and(|date| date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok())
    }
}

/// Builds the filter of a log: the user's, or else `RUST_LOG`, or else the default.
///
/// # Security
/// Events that could hold a secret are dropped, even if the filter asks for them.
fn filter<S: Subscriber>(
    asked: Option<&str>,
    default: LogDefault,
) -> Result<impl Filter<S> + use<S>, LogError> {
    let default = match default {
        LogDefault::Daemon => "warn,friendchain=info,libp2p=error,netlink=error,quinn_udp=error",
        LogDefault::Command => "error,friendchain=warn",
    };
    if let Some(word) =
        asked.and_then(|text| text.split(',').map(str::trim).find(|word| is_no_level(word)))
    {
        return Err(LogError::Level(printable(word)));
    }
    // Not checked for mistyped levels, since it may also be meant for other programs.
    let from_environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let text = asked.map(str::to_owned).or(from_environment).unwrap_or_else(|| default.to_owned());
    // EnvFilter treats a space as part of a target's name.
    let text = text.split(',').map(str::trim).collect::<Vec<_>>().join(",");
    let filter = EnvFilter::try_new(&text).map_err(|cause| LogError::Filter { text, cause })?;
    // A directive cannot enforce this: the longest matching directive wins, and the user may write
    // a longer one.
    let harmless = filter_fn(|metadata| {
        *metadata.level() <= Level::INFO || !metadata.target().starts_with(NEVER_VERBOSE)
    });
    // Without a hint, tracing would build every event, even dropped ones.
    Ok(filter.and(harmless.with_max_level_hint(LevelFilter::TRACE)))
}

/// True if a directive is a single word that is neither a level nor one of our targets.
fn is_no_level(directive: &str) -> bool {
    let is_word = !directive.is_empty() && !directive.contains(['=', '[']);
    let is_ours = directive.split("::").next() == Some("friendchain");
    is_word && !is_ours && directive.parse::<LevelFilter>().is_err()
}

/// The line of one event. Dropping it writes the whole line at once, above the progress bar.
struct LogLine {
    line: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if taken_by_console(Stray::Log(&self.line)) {
            return;
        }
        // A closed stderr must not end the node.
        let _ = above_bar(|| io::stderr().lock().write_all(&self.line));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::Registry;

    use super::*;

    #[test]
    fn a_filter_that_does_not_read_is_a_sentence() {
        let error = filter::<Registry>(Some("a=b=c"), LogDefault::Daemon).err().expect("refused");
        assert!(error.to_string().starts_with("'a=b=c' is not a log filter"), "{error}");
    }

    #[test]
    fn a_mistyped_level_is_not_taken_for_a_target() {
        let read = |asked| filter::<Registry>(Some(asked), LogDefault::Daemon).map(drop);
        for (asked, word) in
            [("inof", "inof"), ("warn,frendchain", "frendchain"), ("debgu, libp2p=info", "debgu")]
        {
            let error = read(asked).expect_err("refused");
            assert!(matches!(&error, LogError::Level(wrong) if wrong == word), "{asked}: {error}");
        }
        for asked in [
            "debug",
            "INFO",
            "off",
            "friendchain",
            "friendchain::net,warn",
            "friendchain=debug,libp2p=info",
            "info,libp2p_gossipsub=trace",
            "[span]",
            "",
        ] {
            assert!(read(asked).is_ok(), "{asked}");
        }
    }

    #[test]
    fn spaces_between_directives_are_nothing() {
        assert!(let_through("error, hyper=trace ").contains("a read"));
    }

    /// Returns the log of one event from each of several targets, under a filter.
    fn let_through(asked: &str) -> String {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(SharedLines(Arc::clone(&lines)));
        let filter = filter(Some(asked), LogDefault::Daemon).expect("a filter");
        tracing::subscriber::with_default(
            Registry::default().with(layer.with_filter(filter)),
            || {
                tracing::trace!(target: "jsonrpsee", "a secret");
                tracing::trace!(target: "jsonrpsee-http", "a secret");
                tracing::debug!(target: "jsonrpsee_core::server", "a secret");
                tracing::trace!(target: "jsonrpsee_http_client::client", "a secret");
                tracing::info!(target: "jsonrpsee-server", "a start");
                tracing::trace!(target: "hyper", "a read");
            },
        );
        let lines = lines.lock().expect("alone").clone();
        String::from_utf8(lines).expect("text")
    }

    #[derive(Clone)]
    struct SharedLines(Arc<Mutex<Vec<u8>>>);

    impl tracing_subscriber::fmt::MakeWriter<'_> for SharedLines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Write for SharedLines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("alone").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn requests_with_secrets_are_never_logged_whatever_is_asked() {
        for asked in [
            "trace",
            "jsonrpsee=trace",
            "jsonrpsee-http=trace",
            "jsonrpsee_core::server=trace,trace",
        ] {
            let log = let_through(asked);
            assert!(!log.contains("a secret"), "{asked}: {log}");
        }
        let log = let_through("jsonrpsee_http_client::client=trace,trace");
        assert!(
            log.contains("a start") && log.contains("a read") && !log.contains("a secret"),
            "{log}"
        );
        assert_eq!(let_through("error"), "");
    }

    #[test]
    fn what_is_not_wanted_is_not_even_made() {
        let hint = |asked| {
            filter::<Registry>(Some(asked), LogDefault::Daemon).expect("a filter").max_level_hint()
        };
        assert_eq!(hint("warn,friendchain=info"), Some(LevelFilter::INFO));
        assert_eq!(hint("trace"), Some(LevelFilter::TRACE));
    }

    #[test]
    fn old_files_go_and_nobody_elses_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = LogFiles { folder: folder.path().to_owned(), name: "y".to_owned() };
        let others = [
            "yjf.2020-01-01.log",
            "y.2020-01-01.log.old",
            "y.backlog",
            "y.notes-of-me.log",
            "y-2020-01-01.log",
        ];
        let old = (1..=20).map(|day| format!("y.2026-01-{day:02}.log"));
        for name in others.map(str::to_owned).into_iter().chain(old) {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        files.prune();
        let left = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, others.len() + KEPT_DAYS);
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert!(
            !folder.path().join("y.2026-01-06.log").exists()
                && folder.path().join("y.2026-01-07.log").exists()
        );
    }

    #[cfg(unix)]
    #[test]
    fn logs_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let files = LogFiles { folder: folder.path().join("logs"), name: "y".to_owned() };
        let mode = |path: &std::path::Path| {
            fs::metadata(path).expect("there").permissions().mode() & 0o777
        };
        let mut log = DailyFiles::open(&files).expect("open");
        assert_eq!(mode(&files.folder), 0o700);
        let all = || {
            let entries = fs::read_dir(&files.folder).expect("a folder");
            entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
        };
        log.write_all(b"a line\n").expect("written");
        assert_eq!(all().len(), 1, "the appender takes the file that was made for it");
        files.prepare(20_000).expect("another day");
        assert!(all().iter().all(|path| mode(path) == 0o600), "{:?}", all());
        assert!(files.folder.join("y.2024-10-04.log").exists());
        fs::set_permissions(&all()[0], fs::Permissions::from_mode(0o644)).expect("widened");
        files.prune();
        assert!(all().iter().all(|path| mode(path) == 0o600), "older logs are narrowed");
    }

    #[test]
    fn colour_is_for_terminals_unless_told() {
        assert!(ColorChoice::Always.decide(false));
        assert!(!ColorChoice::Never.decide(true));
        assert!(!ColorChoice::Auto.decide(false));
    }
}
