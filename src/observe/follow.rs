//! `observe --follow`: the report kept live in a terminal, or the time line line by line elsewhere.

use std::{
    collections::HashSet,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use super::{ObserveError, Options, open, report::Report, text, write_page};

/// How often the logs are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// A moment is printed once it is this old, so that its block has had time to spread, or once the
/// logs are silent for so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Clears the terminal and goes to its first line (ECMA-48 ED and CUP).
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

/// Rows of a terminal that are left for the time line beside the tables of a small group.
const ROWS: usize = 15;

/// Keeps the report live until the process is told to end, or all logs were pipes that have ended.
///
/// # Errors
/// See [`ObserveError`].
pub async fn follow(
    options: &Options,
    ended: impl Future<Output = ()>,
) -> Result<(), ObserveError> {
    let mut logs = open(options, true)?;
    let live = io::stdout().is_terminal() && !options.json;
    let mut printed = HashSet::new();
    let mut ended = std::pin::pin!(ended);
    // When something last came, and whether all of it has been told.
    let (mut came, mut all_told) = (Instant::now(), false);
    let mut is_last = false;
    loop {
        let changed = logs.read_on()?;
        if changed {
            (came, all_told) = (Instant::now(), false);
        }
        if is_last {
            logs.finish();
        }
        let is_silent = is_last || came.elapsed() >= PATIENCE;
        if changed || is_last || (is_silent && !all_told) {
            all_told = is_silent;
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

/// Prints what has not been printed of the time line: what is old enough, or all of it.
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
        // A line of another log may come late: by its place in the time line it would be told
        // twice, or never.
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
