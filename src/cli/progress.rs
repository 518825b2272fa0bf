//! Progress of long work: a bar on a terminal, plain lines elsewhere; always on stderr, so that answers stay clean.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    pin::pin,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, interval, sleep};

use crate::node::{
    logging::set_bar,
    rpc::{
        Client, FriendchainApiClient,
        types::{Phase, Progress, StatusReport},
    },
};

/// Work that is done sooner shows nothing.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// How often a bar moves.
const BAR_EVERY: Duration = Duration::from_millis(250);

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// A bar that moves.
    Bar,
    /// A line now and then.
    Lines,
}

impl ProgressMode {
    /// A bar when stderr is a terminal.
    #[must_use]
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }
}

/// Waits for work that the node does, showing how far it is.
pub(crate) async fn while_showing<T>(client: &Client, mode: ProgressMode, work: impl Future<Output = T>) -> T {
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
                // A node too busy to say how far it is will say so next time.
                if let Ok(Some(progress)) = report {
                    display.show(&progress);
                }
            }
        }
    }
}

/// Shows a daemon's sync until the future that this is selected against is done.
pub(crate) async fn show_sync(client: &Client) {
    let mut display = Display::new(ProgressMode::Bar);
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let Ok(status) = client.status().await else { continue };
        match sync_progress(&status) {
            Some(progress) => display.show(&progress),
            None => display.clear(),
        }
    }
}

fn sync_progress(status: &StatusReport) -> Option<Progress> {
    (status.phase == Phase::Syncing).then(|| Progress {
        task: "sync".to_owned(),
        done: status.height.into(),
        total: Some(status.best_header_height.into()),
        started: 0,
    })
}

/// What is on the terminal, and taken off it when dropped.
struct Display {
    mode: ProgressMode,
    bar: Option<ProgressBar>,
    task: String,
    begun: Instant,
    begun_at: u64,
    last_line: Option<Instant>,
}

impl Display {
    fn new(mode: ProgressMode) -> Self {
        Self { mode, bar: None, task: String::new(), begun: Instant::now(), begun_at: 0, last_line: None }
    }

    fn show(&mut self, progress: &Progress) {
        if self.task != progress.task {
            self.clear();
            self.task.clone_from(&progress.task);
            self.begun = Instant::now();
            self.begun_at = progress.done;
        }
        match self.mode {
            ProgressMode::Bar => self.show_bar(progress),
            ProgressMode::Lines => self.show_line(progress),
        }
    }

    fn show_bar(&mut self, progress: &Progress) {
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(progress.total, ProgressDrawTarget::stderr());
            bar.set_style(style(progress.total.is_some()));
            bar.set_message(title(&progress.task));
            // The rate is of what is done from now on, not of what was done before.
            bar.set_position(progress.done);
            bar.reset_eta();
            set_bar(Some(bar.clone()));
            bar
        });
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_position(progress.done);
        bar.tick();
    }

    fn show_line(&mut self, progress: &Progress) {
        if self.last_line.is_some_and(|last| last.elapsed() < LINE_EVERY) {
            return;
        }
        self.last_line = Some(Instant::now());
        let seconds = self.begun.elapsed().as_secs_f64();
        let line = plain_line(progress, progress.done.saturating_sub(self.begun_at), seconds);
        // Progress that nobody can read is no reason to fail.
        let _ = writeln!(io::stderr(), "{line}");
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
        "{msg} [{bar:30}] {pos}/{len}, {per_sec}, {eta} left"
    } else {
        "{spinner} {msg} {human_pos}, {per_sec}, {elapsed}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
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

/// `Checking blocks: 1200 of 5000, 800 a second, 5 s left`.
fn plain_line(progress: &Progress, done_here: u64, seconds: f64) -> String {
    let title = title(&progress.task);
    let rate = if seconds > 0.0 { done_here as f64 / seconds } else { 0.0 };
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
        Progress { task: "verify".to_owned(), done, total, started: 0 }
    }

    #[test]
    fn a_plain_line_says_how_far_how_fast_and_how_long() {
        let line = plain_line(&progress(1_200, Some(5_200)), 800, 1.0);
        assert_eq!(line, "Checking blocks: 1200 of 5200, 800 a second, 5 s left");
        assert_eq!(plain_line(&progress(7, None), 7, 1.0), "Checking blocks: 7, 7 a second");
        assert_eq!(plain_line(&progress(0, Some(9)), 0, 0.0), "Checking blocks: 0 of 9, 0 a second");
    }

    #[test]
    fn the_templates_read() {
        assert!(ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}, {per_sec}, {eta} left").is_ok());
        let _ = (style(true), style(false));
    }

    #[tokio::test]
    async fn work_that_ends_at_once_shows_nothing() {
        let client = Client::local(jsonrpsee::RpcModule::new(()));
        assert_eq!(while_showing(&client, ProgressMode::Lines, async { 7 }).await, 7);
    }
}
