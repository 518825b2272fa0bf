//! The progress of long work: a bar on a terminal, plain lines elsewhere.
//!
//! Progress goes to stderr, so that stdout holds the answer alone.

use std::{
    fmt,
    future::Future,
    io::{self, IsTerminal, Write},
    pin::pin,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::time::{Instant, interval, sleep};

use super::bar::{Stray, set_bar, taken_by_console};
use crate::rpc::{
    Client, FriendchainApiClient,
    types::{Progress, StatusReport},
};

/// The delay before progress is shown: shorter work shows nothing.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// The interval between two updates of a bar.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// The minimum interval between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The time after a daemon's start in which its sync is polled every [`BAR_EVERY`]. Later polls are
/// [`SETTLED_POLL`] apart.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
const SETTLED_POLL: Duration = Duration::from_secs(1);

/// New blocks between two polls from which on a bar is shown: mining alone is never so fast,
/// except in tests.
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
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = sleep(SHOW_AFTER) => {}
    }
    let mut display = Display::new(mode);
    let mut ticks = interval(BAR_EVERY);
    loop {
        let report = async {
            ticks.tick().await;
            client.progress().await
        };
        tokio::select! {
            biased;
            done = &mut work => return done,
            report = report => {
                // A node that is too busy to report its progress is asked again.
                if let Ok(Some(progress)) = report {
                    display.show(&progress);
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
    loop {
        let often = display.bar.is_some() || begun.elapsed() < SETTLED_AFTER;
        sleep(if often { BAR_EVERY } else { SETTLED_POLL }).await;
        let Ok(status) = client.status().await else { continue };
        let (before, polled) = last.unwrap_or((status.height, Instant::now()));
        last = Some((status.height, Instant::now()));
        let syncing = status.is_syncing();
        if syncing || status.height.saturating_sub(before) >= MANY_BLOCKS {
            display.show_since(&sync_progress(&status), before.into(), polled.elapsed());
        }
        if !syncing {
            display.finish();
        }
    }
}

fn sync_progress(status: &StatusReport) -> Progress {
    Progress {
        task: "sync".to_owned(),
        done: status.height.into(),
        total: Some(status.best_header_height.into()),
        elapsed_ms: 0,
    }
}

/// The progress on the terminal. Dropping it clears the bar.
struct Display {
    mode: ProgressMode,
    bar: Option<ProgressBar>,
    task: String,
    last_line: Option<Instant>,
}

impl Display {
    fn new(mode: ProgressMode) -> Self {
        Self { mode, bar: None, task: String::new(), last_line: None }
    }

    /// Shows work with a known start.
    fn show(&mut self, progress: &Progress) {
        self.show_since(progress, 0, Duration::from_millis(progress.elapsed_ms));
    }

    /// Shows work of which `before` was done when it began, `elapsed` ago. The rate counts from
    /// there.
    fn show_since(&mut self, progress: &Progress, before: u64, elapsed: Duration) {
        if self.task != progress.task {
            self.clear();
            self.task.clone_from(&progress.task);
        }
        match self.mode {
            ProgressMode::Bar => self.show_bar(progress, before, elapsed),
            ProgressMode::Lines => self.show_line(progress, elapsed),
        }
    }

    fn show_bar(&mut self, progress: &Progress, before: u64, elapsed: Duration) {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(progress.total, ProgressDrawTarget::stderr());
            bar.set_message(title(&progress.task));
            // Earlier work must not count in the rate.
            bar.set_position(before);
            bar.reset_eta();
            set_bar(Some(bar.clone()));
            bar.with_elapsed(elapsed)
        });
        // The total may become known only while the work is under way.
        bar.set_style(style(progress.total.is_some()));
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_position(progress.done);
        bar.tick();
    }

    fn show_line(&mut self, progress: &Progress, elapsed: Duration) {
        if self.last_line.is_some_and(|last| last.elapsed() < LINE_EVERY) {
            return;
        }
        self.last_line = Some(Instant::now());
        let line = plain_line(progress, elapsed.as_secs_f64());
        if !taken_by_console(Stray::Progress(&line)) {
            // A closed stderr must not fail the command.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Leaves the full bar on the terminal.
    fn finish(&mut self) {
        self.task.clear();
        if let Some(bar) = self.bar.take() {
            set_bar(None);
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

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{msg} [{bar:30}] {pos}/{len}, {rate}, {eta} left"
    } else {
        "{spinner} {msg} {human_pos}, {rate}, {elapsed}"
    };
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A failed write is repaired by the next redraw.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
        .progress_chars("=> ")
}

fn title(task: &str) -> String {
    match task {
        "verify" => "Checking blocks",
        "reindex" => "Rebuilding from blocks",
        "mine" => "Mining",
        "create" => "Mining a new block",
        "sync" => "Syncing blocks",
        other => other,
    }
    .to_owned()
}

/// Formats a line: `Checking blocks: 1200 of 5000, 800 a second, 5 s left`.
fn plain_line(progress: &Progress, seconds: f64) -> String {
    let title = title(&progress.task);
    let rate = if seconds > 0.0 { progress.done as f64 / seconds } else { 0.0 };
    let Some(total) = progress.total else {
        return format!("{title}: {}, {rate:.0} a second", progress.done);
    };
    let left = total.saturating_sub(progress.done) as f64;
    let eta = if rate > 0.0 { format!(", {:.0} s left", left / rate) } else { String::new() };
    format!("{title}: {} of {total}, {rate:.0} a second{eta}", progress.done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, total: Option<u64>) -> Progress {
        Progress { task: "verify".to_owned(), done, total, elapsed_ms: 0 }
    }

    #[test]
    fn a_plain_line_says_how_far_how_fast_and_how_long() {
        let line = plain_line(&progress(1_200, Some(5_200)), 1.5);
        assert_eq!(line, "Checking blocks: 1200 of 5200, 800 a second, 5 s left");
        assert_eq!(plain_line(&progress(7, None), 1.0), "Checking blocks: 7, 7 a second");
        assert_eq!(plain_line(&progress(0, Some(9)), 0.0), "Checking blocks: 0 of 9, 0 a second");
    }

    #[test]
    fn the_templates_read() {
        assert!(
            ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}, {rate}, {eta} left")
                .is_ok()
        );
        let _ = (style(true), style(false));
    }

    #[tokio::test]
    async fn work_that_ends_at_once_shows_nothing() {
        let client = Client::local(jsonrpsee::RpcModule::new(()));
        assert_eq!(while_showing(&client, ProgressMode::Lines, async { 7 }).await, 7);
    }
}
