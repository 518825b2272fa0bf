//! Logs: to stderr, as text or JSON, and to files, as JSON, once for the process. Answers go to stdout and never through
//! here.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{Directive, LevelFilter},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::rpc::RpcError;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, the event's fields at its top.
    Json,
}

/// Whether output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Whether to colour what goes to a stream that is a terminal or not.
    #[must_use]
    pub fn decide(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// What is logged when nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogDefault {
    /// A daemon: its own events, and others' warnings.
    Daemon,
    /// A command, or a console: warnings, so that answers stay readable.
    Command,
}

/// How to log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// How a line looks.
    pub format: LogFormat,
    /// What the user wants to see, as in `RUST_LOG`.
    pub filter: Option<String>,
    /// Whether to colour.
    pub color: ColorChoice,
    /// What to show when the user does not say.
    pub default: LogDefault,
    /// Where to keep logs as files, too.
    pub files: Option<LogFiles>,
}

/// Logs that are kept: JSON lines, a file a day, [`KEPT_DAYS`] of them.
#[derive(Debug, Clone)]
pub struct LogFiles {
    /// The folder; made when it is missing.
    pub folder: PathBuf,
    /// What their names begin with: NAME.2026-01-31.log.
    pub name: String,
}

/// How many days' files are kept.
pub const KEPT_DAYS: usize = 14;

/// How often it is looked whether there are more.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// The libraries that would write requests, passphrases among them, at their finest level.
const NEVER_VERBOSE: [&str; 6] = [
    "jsonrpsee",
    "jsonrpsee-client",
    "jsonrpsee-server",
    "jsonrpsee_core",
    "jsonrpsee_server",
    "jsonrpsee_http_client",
];

/// Starts logging; a second call changes nothing.
pub fn init(options: &LogOptions) -> Result<(), RpcError> {
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(|| LogLine { line: Vec::new() })
        .with_ansi(options.color.decide(io::stderr().is_terminal()));
    let stderr = match options.format {
        LogFormat::Text => stderr.with_target(false).boxed(),
        LogFormat::Json => stderr.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let mut layers = vec![stderr.with_filter(filter(options.filter.as_deref(), options.default)?).boxed()];
    if let Some(files) = &options.files {
        let layer = tracing_subscriber::fmt::layer().with_writer(Mutex::new(DailyFiles::open(files)?)).json();
        let layer = layer.flatten_event(true).with_current_span(false).with_span_list(false);
        layers.push(layer.with_filter(filter(options.filter.as_deref(), LogDefault::Daemon)?).boxed());
    }
    // Only tests start it twice, and they do not mind whose settings hold.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Ok(())
}

/// Writes a file a day, and removes those of the same node that are too old: no other's, whose names may begin alike.
struct DailyFiles {
    appender: RollingFileAppender,
    files: LogFiles,
    pruned: Instant,
}

impl DailyFiles {
    fn open(files: &LogFiles) -> Result<Self, RpcError> {
        let failed = |cause: &dyn std::fmt::Display| {
            let folder = files.folder.display();
            let what_to_do = "give a folder that can be written to with --log-dir";
            RpcError::new("log_dir", format!("logs cannot be written to {folder} ({cause}): {what_to_do}"))
        };
        fs::create_dir_all(&files.folder).map_err(|cause| failed(&cause))?;
        let builder = RollingFileAppender::builder().rotation(Rotation::DAILY);
        let named = builder.filename_prefix(&files.name).filename_suffix("log");
        let appender = named.build(&files.folder).map_err(|cause| failed(&cause))?;
        files.prune();
        Ok(Self { appender, files: files.clone(), pruned: Instant::now() })
    }
}

impl Write for DailyFiles {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pruned.elapsed() > PRUNE_EVERY {
            self.files.prune();
            self.pruned = Instant::now();
        }
        self.appender.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.appender.flush()
    }
}

impl LogFiles {
    /// Removes all but the youngest. What cannot be removed stays.
    fn prune(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut ours: Vec<_> = names.filter(|name| self.is_ours(name)).collect();
        ours.sort_unstable();
        let old = ours.len().saturating_sub(KEPT_DAYS);
        for name in ours.iter().take(old) {
            let _ = fs::remove_file(self.folder.join(name));
        }
    }

    /// Whether it is NAME.2026-01-31.log.
    fn is_ours(&self, name: &str) -> bool {
        let date = name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".log"));
        date.is_some_and(|date| date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok())
    }
}

fn filter(asked: Option<&str>, default: LogDefault) -> Result<EnvFilter, RpcError> {
    let default = match default {
        LogDefault::Daemon => "warn,friendchain=info,libp2p=error,netlink=error,quinn_udp=error",
        LogDefault::Command => "error,friendchain=warn",
    };
    let from_environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let text = asked.map(str::to_owned).or(from_environment).unwrap_or_else(|| default.to_owned());
    let mut filter = EnvFilter::try_new(&text).map_err(|cause| {
        let sentence =
            format!("'{text}' is not a log filter ({cause}): write one like info, or friendchain=debug,warn");
        RpcError::new("bad_log_filter", sentence)
    })?;
    let quiet = filter.max_level_hint().is_some_and(|level| level < LevelFilter::INFO);
    for library in NEVER_VERBOSE.iter().filter(|_| !quiet) {
        let directive: Directive = format!("{library}=info").parse().map_err(RpcError::internal)?;
        filter = filter.add_directive(directive);
    }
    Ok(filter)
}

/// The bar that is on the terminal now, which log lines must not tear.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Says which bar is on the terminal: log lines are written above it.
pub fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = bar;
}

/// Writes to the terminal, above the bar if there is one.
pub fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// One event's line, gathered until it is whole, and written above the bar if there is one.
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
        // A log that nobody can read any more must not end the node.
        let _ = above_bar(|| io::stderr().lock().write_all(&self.line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_read_is_a_sentence() {
        let error = filter(Some("a=b=c"), LogDefault::Daemon).expect_err("refused");
        assert_eq!(error.code, "bad_log_filter");
    }

    #[test]
    fn requests_with_secrets_are_never_logged_whatever_is_asked() {
        let filter = filter(Some("trace,jsonrpsee_core=trace"), LogDefault::Daemon).expect("a filter").to_string();
        assert!(filter.contains("jsonrpsee_core=info"), "{filter}");
        assert!(!filter.contains("jsonrpsee_core=trace"), "{filter}");
    }

    #[test]
    fn old_files_go_and_nobody_elses_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = LogFiles { folder: folder.path().to_owned(), name: "y".to_owned() };
        let others =
            ["yjf.2020-01-01.log", "y.2020-01-01.log.old", "y.backlog", "y.notes-of-me.log", "y-2020-01-01.log"];
        let old = (1..=20).map(|day| format!("y.2026-01-{day:02}.log"));
        for name in others.map(str::to_owned).into_iter().chain(old) {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        files.prune();
        let left = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, others.len() + KEPT_DAYS);
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert!(!folder.path().join("y.2026-01-06.log").exists() && folder.path().join("y.2026-01-07.log").exists());
    }

    #[test]
    fn colour_is_for_terminals_unless_told() {
        assert!(ColorChoice::Always.decide(false));
        assert!(!ColorChoice::Never.decide(true));
        assert!(!ColorChoice::Auto.decide(false));
    }
}
