//! `observe` reads the logs of several nodes together. It reports a time line, how fast blocks,
//! trades and chat spread, and how the chain grew and forked.
//!
//! The only input is JSON logs (`--log-format json`); no node has to run. Broken lines are counted
//! and skipped.
//!
//! ```text
//! files ─► reading ─► line ─► story (each node's events, by its own clock)
//!                               └─► clocks (corrected) ─► report ─► text | JSON | html
//! ```

mod chain_plot;
mod clocks;
mod follow;
mod html;
mod line;
mod pipe;
mod plots;
mod reading;
mod report;
mod story;
#[doc(hidden)]
pub mod svg;
mod text;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub(crate) use self::follow::follow;
use self::{reading::Logs, report::Report};

/// The flags of `observe`: inputs and form of the report.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Log files, folders of them, or `-` for standard input.
    pub(crate) logs: Vec<PathBuf>,
    /// The number of entries of the time line, and of rows in each table, that are printed: the
    /// last ones.
    pub(crate) limit: usize,
    /// True to print one JSON document instead of text.
    pub(crate) json: bool,
    /// The file to write the HTML page to, if any.
    pub(crate) html: Option<PathBuf>,
}

/// The reason why `observe` gave no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error("the log {} cannot be read: {cause}; give the files that the nodes write with \
         --log-dir, or their stderr with --log-format json", path.display())]
    Log { path: PathBuf, cause: io::Error },
    #[error("there are no logs in {}: a log's name ends in .log, .json or .jsonl", path.display())]
    NoLogs { path: PathBuf },
    /// None of the lines is an event of a node.
    #[error(
        "none of the lines ({broken}) is of a node's JSON log; start nodes with --log-format json"
    )]
    NothingThere {
        /// The number of lines that could not be parsed.
        broken: u64,
    },
    #[error("the page {} cannot be written: {cause}", path.display())]
    Page { path: PathBuf, cause: io::Error },
    /// The page would overwrite one of the logs.
    #[error("the page {} would take the place of a log: give another name with --html",
        path.display())]
    PageIsLog { path: PathBuf },
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Reads the logs once and writes the report to `out`. Also writes the page, if `options` asks for
/// one.
///
/// # Errors
/// See [`ObserveError`]. Broken lines are no error.
pub(crate) fn observe(options: &Options, out: &mut dyn Write) -> Result<(), ObserveError> {
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

/// Opens the logs. Fails if the page would overwrite one of them.
fn open(options: &Options, live: bool) -> Result<Logs, ObserveError> {
    let logs = Logs::open(&options.logs, live)?;
    match options.html.as_ref().filter(|path| logs.contains(path)) {
        Some(path) => Err(ObserveError::PageIsLog { path: path.clone() }),
        None => Ok(logs),
    }
}

/// Writes the page atomically. A path that exists and is not a regular file, such as a device, is
/// written to in place.
fn write_page(path: &Path, report: &Report) -> Result<(), ObserveError> {
    let failed = |cause| ObserveError::Page { path: path.to_owned(), cause };
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, html::page(report)).map_err(failed);
    }
    // If the path is a link, its target is replaced.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let unfinished = place.with_extension("html-unfinished");
    fs::write(&unfinished, html::page(report)).map_err(failed)?;
    fs::rename(&unfinished, place).map_err(failed)
}

/// Renders one log as text, JSON and page, in that order.
#[cfg(any(test, fuzzing))]
pub(crate) fn rendered(log: &[u8]) -> [Vec<u8>; 3] {
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
