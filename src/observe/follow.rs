//! `observe --follow`: keeps the report up to date in a terminal. If the output is not a terminal,
//! prints the time line entry by entry.

use std::{
    collections::HashSet,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use super::{ObserveError, Options, open, report::Report, text, write_page};

/// The time between two reads of the logs.
const INTERVAL: Duration = Duration::from_secs(1);

/// The age at which an entry is printed, so that its block has had time to spread. If the logs get
/// no new lines for as long, all remaining entries are printed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Clears the terminal and moves the cursor to its first line (ECMA-48 ED and CUP).
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

/// The rows of a common terminal that are left for the time line, beside the tables of a small
/// group.
const ROWS: usize = 15;

/// Keeps the report up to date until `ended` resolves, or until all logs were pipes and have ended.
///
/// # Errors
/// See [`ObserveError`].
pub(crate) async fn follow(
    options: &Options,
    ended: impl Future<Output = ()>,
) -> Result<(), ObserveError> {
    let mut logs = open(options, true)?;
    let live = io::stdout().is_terminal() && !options.json;
    let mut printed = HashSet::new();
    let mut ended = std::pin::pin!(ended);
    // The time of the last new line, and whether all lines up to it have been printed.
    let (mut came, mut all_printed) = (Instant::now(), false);
    let mut is_last = false;
    loop {
        let changed = logs.read_on()?;
        if changed {
            (came, all_printed) = (Instant::now(), false);
        }
        if is_last {
            logs.finish();
        }
        let is_silent = is_last || came.elapsed() >= PATIENCE;
        if changed || is_last || (is_silent && !all_printed) {
            all_printed = is_silent;
            let report = Report::of(logs.story());
            let mut out = io::stdout().lock();
            if live {
                write!(out, "{CLEAR}")?;
                text::write(&mut out, &report, options.limit.min(ROWS))?;
                if !is_last {
                    writeln!(out, "\nlive; ctrl-c ends it")?;
                }
            } else {
                print_new(&mut out, &report, is_silent, &mut printed, options.json)?;
            }
            out.flush()?;
            if let Some(path) = &options.html {
                write_page(path, &report)?;
            }
        }
        if is_last {
            return Ok(());
        }
        tokio::select! {
            () = &mut ended => is_last = true,
            () = tokio::time::sleep(INTERVAL) => is_last = logs.have_ended(),
        }
    }
}

/// Prints the entries of the time line that are new and old enough; with `all`, every new one.
fn print_new(
    out: &mut dyn Write,
    report: &Report,
    all: bool,
    printed: &mut HashSet<usize>,
    json: bool,
) -> io::Result<()> {
    let patience = i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX);
    let old = report.until.unwrap_or_default().saturating_sub(patience);
    for moment in report.timeline.iter().filter(|moment| all || moment.time <= old) {
        // Another log's line may come late and shift the positions in the time line. Only the id
        // of an entry stays the same.
        if !printed.insert(moment.id) {
            continue;
        }
        if json {
            serde_json::to_writer(&mut *out, moment)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}  {}  {}", text::clock(moment.time), moment.node, moment.text)?;
        }
    }
    Ok(())
}
