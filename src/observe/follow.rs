//! `observe --follow`: the report kept live in a terminal, or the time line line by line elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use super::{ObserveError, Options, reading::Logs, report::Report, text, write_page};

/// How often the logs are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// A moment is printed once it is this old, so that its block has had time to spread.
const PATIENCE_MS: i64 = 2_000;

/// Clears the terminal and goes to its first line (ECMA-48 ED and CUP).
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

/// Rows of a terminal that are left for the time line beside the tables of a small group.
const ROWS: usize = 15;

/// Keeps the report live until the process is told to end.
///
/// # Errors
/// See [`ObserveError`].
pub async fn follow(options: &Options, ended: impl Future<Output = ()>) -> Result<(), ObserveError> {
    let mut logs = Logs::open(&options.logs)?;
    let live = io::stdout().is_terminal() && !options.json;
    let mut printed = 0;
    let mut ended = std::pin::pin!(ended);
    loop {
        let changed = logs.read_on()?;
        if changed || printed == 0 {
            let report = Report::of(logs.story());
            let mut out = io::stdout().lock();
            if live {
                let shown = options.limit.min(ROWS);
                write!(out, "{CLEAR}")?;
                text::write(&mut out, &report, shown)?;
                writeln!(out, "\nlive; ctrl-c ends it")?;
                printed = 1;
            } else {
                printed = print_new(&mut out, &report, printed, options.json)?;
            }
            out.flush()?;
            if let Some(path) = &options.html {
                write_page(path, &report)?;
            }
        }
        tokio::select! {
            () = &mut ended => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Prints what is new and old enough of the time line; gives how much of it has been printed.
fn print_new(out: &mut dyn Write, report: &Report, printed: usize, json: bool) -> io::Result<usize> {
    let now = report.until.unwrap_or_default();
    let mut count = printed;
    for moment in report.timeline.iter().skip(printed) {
        if moment.time.saturating_add(PATIENCE_MS) > now {
            break;
        }
        if json {
            serde_json::to_writer(&mut *out, moment)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}  {}  {}", text::clock(moment.time), moment.node, moment.text)?;
        }
        count += 1;
    }
    Ok(count)
}
