//! `observe`: the logs of several nodes, read together: a time line, how fast blocks, trades and
//! chat spread, what became of the chain.
//!
//! Reads JSON logs (`--log-format json`) and nothing else: no node has to run. A broken line is
//! counted and passed over.
//!
//! ```text
//! files ─► reading ─► line ─► story (gathered, each node's own clock)
//!                               └─► clocks (set right) ─► report ─► text | JSON | html
//! ```

mod clocks;
mod follow;
mod html;
mod line;
mod pipe;
mod plots;
mod reading;
mod report;
mod story;
mod text;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub use self::follow::follow;
use self::{reading::Logs, report::Report};

/// What to read, and how to tell it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Log files, folders of them, or `-` for standard input.
    pub logs: Vec<PathBuf>,
    /// How many entries of the time line, and rows of each table, are printed: the last ones.
    pub limit: usize,
    /// Whether to print one JSON document instead of text.
    pub json: bool,
    /// Where to write a page to.
    pub html: Option<PathBuf>,
}

/// Why nothing could be told.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// A log cannot be read.
    #[error("the log {} cannot be read: {cause}; give the files that the nodes write with \
         --log-dir, or their stderr with --log-format json", path.display())]
    Log {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A folder holds no logs.
    #[error("there are no logs in {}: a log's name ends in .log, .json or .jsonl", path.display())]
    NoLogs {
        /// Which.
        path: PathBuf,
    },
    /// The logs hold no event of a node.
    #[error("{broken} lines, and none is of a node's JSON log; start nodes with --log-format json")]
    NothingThere {
        /// How many lines could not be read.
        broken: u64,
    },
    /// The page cannot be written.
    #[error("the page {} cannot be written: {cause}", path.display())]
    Page {
        /// Where.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The page would take the place of a log.
    #[error("the page {} would take the place of a log: give another name with --html", path.display())]
    PageIsLog {
        /// Where.
        path: PathBuf,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Reads the logs once and tells what is in them; the page too, when one is asked for.
///
/// # Errors
/// See [`ObserveError`]; broken lines are none.
pub fn observe(options: &Options, out: &mut dyn Write) -> Result<(), ObserveError> {
    let mut logs = open(options, false)?;
    logs.read_on()?;
    logs.finish();
    let report = Report::of(logs.story());
    if report.nodes.is_empty() {
        return Err(ObserveError::NothingThere { broken: report.broken_lines });
    }
    if let Some(path) = &options.html {
        write_page(path, &report)?;
    }
    if options.json {
        serde_json::to_writer(&mut *out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        text::write(out, &report, options.limit)?;
        if let Some(path) = &options.html {
            writeln!(out, "\nthe page: {}", path.display())?;
        }
    }
    Ok(())
}

/// Opens the logs, to be followed or not, unless the page would take the place of one.
fn open(options: &Options, live: bool) -> Result<Logs, ObserveError> {
    let logs = Logs::open(&options.logs, live)?;
    match options.html.as_ref().filter(|path| logs.hold(path)) {
        Some(path) => Err(ObserveError::PageIsLog { path: path.clone() }),
        None => Ok(logs),
    }
}

/// Writes the page, whole or not at all; into what is no file as it is, a device say.
fn write_page(path: &Path, report: &Report) -> Result<(), ObserveError> {
    let failed = |cause| ObserveError::Page { path: path.to_owned(), cause };
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, html::page(report)).map_err(failed);
    }
    let unfinished = path.with_extension("html-unfinished");
    fs::write(&unfinished, html::page(report)).map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)
}

/// What a log makes of the text, the JSON and the page.
#[cfg(any(test, fuzzing))]
pub(crate) fn told(log: &[u8]) -> [Vec<u8>; 3] {
    let mut logs = Logs::of_bytes(log);
    logs.read_on().expect("it is in memory");
    logs.finish();
    let report = Report::of(logs.story());
    let mut text = Vec::new();
    text::write(&mut text, &report, usize::MAX).expect("into memory");
    [
        text,
        serde_json::to_vec(&report).expect("it can be written"),
        html::page(&report).into_bytes(),
    ]
}

#[cfg(test)]
mod tests;
