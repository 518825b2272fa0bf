//! The progress of long work: a bar on a terminal, plain lines elsewhere.
//!
//! Progress goes to stderr, so that stdout holds only the answer.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, interval, sleep};

use super::{
    bar::{Stray, set_bar, taken_by_console},
    lists_text::duration,
    text::utc,
};
use crate::rpc::{
    Client, FriendchainApiClient,
    types::{Progress, StatusReport},
};

/// The delay before progress is shown. Work that ends sooner shows none. The first display comes
/// within a second, which people wait without wondering.
const SHOW_AFTER: Duration = Duration::from_millis(600);

/// The interval between two updates of a bar.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// The minimum interval between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The time after a daemon's start in which its sync is polled every [`BAR_EVERY`]. Later polls are
/// [`SETTLED_POLL`] apart.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
const SETTLED_POLL: Duration = Duration::from_secs(1);

/// Number of new blocks between two polls that starts a bar. Mining is never so fast, except in
/// tests.
const MANY_BLOCKS: u32 = 100;

/// The form in which progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    /// One bar that is redrawn in place.
    Bar,
    /// A new line every few seconds.
    Lines,
}

impl ProgressMode {
    /// Returns [`ProgressMode::Bar`] if stderr is a terminal.
    pub(crate) fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }
}

/// Waits for long work of the node, and shows its progress.
pub(crate) async fn while_showing<T>(
    client: &Client,
    mode: ProgressMode,
    work: impl Future<Output = T>,
) -> T {
    // If the node is too busy to report its progress, the next poll asks again.
    let report = async || Some((client.progress().await.ok()??, 0));
    shown(mode, report, work).await
}

/// Waits for a sync that a command started, and shows its progress.
pub(crate) async fn while_syncing<T>(
    client: &Client,
    mode: ProgressMode,
    work: impl Future<Output = T>,
) -> T {
    let begun = Instant::now();
    let first = Mutex::new(None);
    let report = async || {
        let status = client.status().await.ok()?;
        let elapsed = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *first.get_or_insert(status.height);
        if status.is_syncing() || status.height > first {
            let progress = Progress { elapsed_ms: elapsed, ..sync_progress(&status) };
            return Some((progress, u64::from(first)));
        }
        let asking = Progress {
            task: "ask".to_owned(),
            done: 0,
            total: None,
            elapsed_ms: elapsed,
            waits_until: None,
        };
        Some((asking, 0))
    };
    shown(mode, report, work).await
}

/// Waits for work, and shows the progress that `report` returns, with the part that was done before
/// the work began.
async fn shown<T>(
    mode: ProgressMode,
    mut report: impl AsyncFnMut() -> Option<(Progress, u64)>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = sleep(SHOW_AFTER) => {}
    }
    let mut display = Display::new(mode);
    let mut ticks = interval(BAR_EVERY);
    loop {
        let next = async {
            ticks.tick().await;
            report().await
        };
        tokio::select! {
            biased;
            done = &mut work => return done,
            next = next => {
                if let Some((progress, before)) = next {
                    let elapsed = Duration::from_millis(progress.elapsed_ms);
                    display.show_since(&progress, before, elapsed);
                }
            }
        }
    }
}

/// Shows the progress of a daemon's sync. Never returns.
///
/// A sync that begins and ends between two polls leaves its finished bar too.
pub(crate) async fn show_sync(client: &Client) {
    let mut display = Display::new(ProgressMode::Bar);
    let begun = Instant::now();
    let mut last: Option<(u32, Instant)> = None;
    let mut start: Option<(u32, Instant)> = None;
    loop {
        let often = display.bar.is_some() || begun.elapsed() < SETTLED_AFTER;
        sleep(if often { BAR_EVERY } else { SETTLED_POLL }).await;
        let Ok(status) = client.status().await else { continue };
        let (before, polled) = last.unwrap_or((status.height, Instant::now()));
        last = Some((status.height, Instant::now()));
        let syncing = status.is_syncing();
        if syncing || status.height.saturating_sub(before) >= MANY_BLOCKS {
            // The rate counts from the poll before the first block of this sync.
            let (first, since) = *start.get_or_insert((before, polled));
            display.show_since(&sync_progress(&status), first.into(), since.elapsed());
        }
        if !syncing {
            start = None;
            display.finish();
        }
    }
}

fn sync_progress(status: &StatusReport) -> Progress {
    Progress {
        task: "sync".to_owned(),
        done: status.height.into(),
        total: Some(status.target_height.max(status.best_header_height).into()),
        elapsed_ms: 0,
        waits_until: None,
    }
}

/// The progress on the terminal. Dropping it clears the bar.
struct Display {
    mode: ProgressMode,
    bar: Option<ProgressBar>,
    task: String,
    last_line: Option<(Instant, String)>,
}

impl Display {
    fn new(mode: ProgressMode) -> Self {
        Self { mode, bar: None, task: String::new(), last_line: None }
    }

    /// Shows work that began `elapsed` ago with `before` done. The rate counts from there.
    fn show_since(&mut self, progress: &Progress, before: u64, elapsed: Duration) {
        if self.task != progress.task {
            self.clear();
            self.task.clone_from(&progress.task);
        }
        let pace = Pace::new(progress, before, elapsed);
        match self.mode {
            ProgressMode::Bar => self.show_bar(progress, &pace),
            ProgressMode::Lines => self.show_line(plain_line(progress, &pace)),
        }
    }

    fn show_bar(&mut self, progress: &Progress, pace: &Pace) {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(progress.total, ProgressDrawTarget::stderr());
            bar.set_message(title(&progress.task));
            set_bar(Some(bar.clone()));
            bar
        });
        // The total may become known only during the work.
        bar.set_style(style(progress.total.is_some()));
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_prefix(pace.beside_bar(progress));
        bar.set_position(progress.done);
        bar.tick();
    }

    /// Writes a line, unless the last one was written a moment ago or is the same.
    fn show_line(&mut self, line: String) {
        let repeats = |(at, said): &(Instant, String)| at.elapsed() < LINE_EVERY || *said == line;
        if self.last_line.as_ref().is_some_and(repeats) {
            return;
        }
        if !taken_by_console(Stray::Progress(&line)) {
            // A closed stderr must not fail the command.
            let _ = writeln!(io::stderr(), "{line}");
        }
        self.last_line = Some((Instant::now(), line));
    }

    /// Leaves the full bar on the terminal.
    fn finish(&mut self) {
        self.task.clear();
        if let Some(bar) = self.bar.take() {
            set_bar(None);
            // Finished work has no time left.
            let rate = bar.prefix();
            let rate = rate.rsplit_once(", ").map_or("", |(rate, _)| rate);
            bar.set_prefix(rate.to_owned());
            bar.finish();
        }
    }

    fn clear(&mut self) {
        self.task.clear();
        if let Some(bar) = self.bar.take() {
            set_bar(None);
            bar.finish_and_clear();
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The rate of work since its start, and the time left at that rate.
#[derive(Debug)]
struct Pace {
    /// Work done per second. `None` before any is done.
    per_second: Option<f64>,
    left_ms: Option<u64>,
    elapsed: Duration,
}

impl Pace {
    fn new(progress: &Progress, before: u64, elapsed: Duration) -> Self {
        let done = progress.done.saturating_sub(before);
        let seconds = elapsed.as_secs_f64();
        let per_second = (done > 0 && seconds > 0.0).then(|| done as f64 / seconds);
        let left = progress.total.map(|total| total.saturating_sub(progress.done));
        let left_ms = per_second.zip(left).map(|(rate, left)| {
            let left = Duration::try_from_secs_f64(left as f64 / rate).unwrap_or(Duration::MAX);
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        });
        Self { per_second, left_ms, elapsed }
    }

    /// Returns the text to the right of the bar, or after the name if the total is unknown.
    fn beside_bar(&self, progress: &Progress) -> String {
        if let Some(until) = progress.waits_until {
            return format!(", waits until {}", utc(until));
        }
        if progress.total.is_some() {
            return self.text("/s");
        }
        let done = if progress.done > 0 { format!(" {}", progress.done) } else { String::new() };
        format!("{done}{}, {} s", self.text("/s"), self.elapsed.as_secs())
    }

    /// Returns the rate and the time left: `, 800/s, 5 s left`.
    fn text(&self, per_second: &str) -> String {
        let rate = match self.per_second {
            None => return String::new(),
            Some(rate) if rate >= 10.0 => format!(", {rate:.0}{per_second}"),
            Some(rate) if rate >= 1.0 => format!(", {rate:.1}{per_second}"),
            Some(rate) => format!(", {:.1} s each", 1.0 / rate),
        };
        let left = self.left_ms.map(|left| format!(", {} left", duration(left)));
        rate + &left.unwrap_or_default()
    }
}

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{msg} [{wide_bar}] {pos}/{len}{prefix}"
    } else {
        "{spinner} {msg}{prefix}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn title(task: &str) -> String {
    match task {
        "verify" => "Checking blocks",
        "reindex" => "Rebuilding from blocks",
        "mine" => "Mining",
        "wait" => "Waiting for a block with it",
        "ask" => "Asking friends for news",
        "create" => "Mining a new block",
        "sync" => "Syncing blocks",
        other => other,
    }
    .to_owned()
}

/// Formats a line: `Checking blocks: 1200 of 5000, 800 a second, 5 s left`.
fn plain_line(progress: &Progress, pace: &Pace) -> String {
    let title = title(&progress.task);
    let done = match progress.total {
        Some(total) => format!("{} of {total}", progress.done),
        None if progress.done == 0 => format!("{} s", pace.elapsed.as_secs()),
        None => progress.done.to_string(),
    };
    let pace = match progress.waits_until {
        Some(until) => format!(", waits for the clock until {}", utc(until)),
        None => pace.text(" a second"),
    };
    format!("{title}: {done}{pace}")
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    fn line(done: u64, total: Option<u64>, before: u64, seconds: f64) -> String {
        let progress =
            Progress { task: "verify".to_owned(), done, total, elapsed_ms: 0, waits_until: None };
        plain_line(&progress, &Pace::new(&progress, before, Duration::from_secs_f64(seconds)))
    }

    #[tokio::test]
    async fn long_work_shows_its_progress_in_its_first_second_and_short_work_none() {
        const { assert!(SHOW_AFTER.as_millis() + BAR_EVERY.as_millis() < 1_000) };
        let shows = Notify::new();
        let report = async || {
            shows.notify_one();
            None
        };
        // The work ends after two polls.
        let work = async {
            shows.notified().await;
            shows.notified().await;
        };
        shown(ProgressMode::Lines, report, work).await;
        let none = async || panic!("short work shows nothing");
        shown(ProgressMode::Lines, none, std::future::ready(())).await;
    }

    #[test]
    fn a_plain_line_says_how_far_how_fast_and_how_long() {
        assert_eq!(
            line(1_200, Some(5_200), 0, 1.5),
            "Checking blocks: 1200 of 5200, 800 a second, 5 s left"
        );
        assert_eq!(line(7, None, 0, 1.0), "Checking blocks: 7, 7.0 a second");
        assert_eq!(line(0, Some(9), 0, 0.0), "Checking blocks: 0 of 9");
    }

    #[test]
    fn the_rate_is_that_of_the_work_done_now() {
        assert_eq!(
            line(1_100, Some(1_300), 1_000, 2.0),
            "Checking blocks: 1100 of 1300, 50 a second, 4 s left"
        );
        assert_eq!(
            line(2, Some(6), 0, 60.0),
            "Checking blocks: 2 of 6, 30.0 s each, 2 minutes left"
        );
        assert_eq!(line(0, Some(6), 0, 60.0), "Checking blocks: 0 of 6", "nothing is known yet");
    }

    #[test]
    fn a_wait_for_the_clock_says_until_when() {
        let progress = Progress {
            task: "mine".to_owned(),
            done: 0,
            total: Some(1),
            elapsed_ms: 5_000,
            waits_until: Some(1_536_984_640_999),
        };
        let pace = Pace::new(&progress, 0, Duration::from_secs(5));
        assert_eq!(
            plain_line(&progress, &pace),
            "Mining: 0 of 1, waits for the clock until 2018-09-15 04:10:40 UTC"
        );
        assert_eq!(pace.beside_bar(&progress), ", waits until 2018-09-15 04:10:40 UTC");
    }

    #[test]
    fn the_templates_read() {
        for template in ["{msg} [{wide_bar}] {pos}/{len}{prefix}", "{spinner} {msg}{prefix}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
        let _ = (style(true), style(false));
    }

    #[tokio::test]
    async fn work_that_ends_at_once_shows_nothing() {
        let client = Client::local(jsonrpsee::RpcModule::new(()));
        assert_eq!(while_showing(&client, ProgressMode::Lines, async { 7 }).await, 7);
    }
}
