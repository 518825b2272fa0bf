//! The feed keeps recent events and the progress of long tasks for the consoles of the node.
//!
//! The node pushes events into a bounded ring. Each event has a place, a sequence number. Any
//! number of consoles fetch events by place, each at its own pace. A console that is too slow
//! misses the oldest events and learns their number. It never blocks the node or another console.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    api::MAX_EVENTS_WAIT_MS,
    types::{ConsoleEvent, EventPage, Progress},
};
use crate::primitives::UnixMillis;

/// The most events kept for consoles that have not fetched them yet: some minutes of lively chat.
/// Beyond it the oldest event is dropped.
const KEPT_EVENTS: usize = 1_024;

/// The place of the first event. A console that passes it as `after` gets all events that are kept.
/// A console that passes 0 gets only the place of the next event.
pub(crate) const FIRST_PLACE: u64 = 1;

/// A handle to the feed. Clones share one feed.
#[derive(Debug, Clone)]
pub(crate) struct EventFeed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<VecDeque<ConsoleEvent>>,
    /// The place of the next event. A change wakes the waiting consoles.
    next: watch::Sender<u64>,
}

impl Default for EventFeed {
    fn default() -> Self {
        let (next, _) = watch::channel(FIRST_PLACE);
        Self { shared: Arc::new(Shared { ring: Mutex::new(VecDeque::new()), next }) }
    }
}

impl EventFeed {
    /// Appends an event and wakes the waiting consoles. Drops the oldest event if the ring is full.
    pub(crate) fn push(&self, event: ConsoleEvent) {
        let mut ring = self.ring();
        if ring.len() >= KEPT_EVENTS {
            ring.pop_front();
        }
        ring.push_back(event);
        // The ring's lock is still held: a console that sees the new place also finds its event.
        self.shared.next.send_modify(|next| *next = next.saturating_add(1));
    }

    /// True while a console waits for events.
    pub(crate) fn is_read(&self) -> bool {
        self.shared.next.receiver_count() > 0
    }

    /// Returns the events from the place `after` on. Waits for the first one at most `wait_ms`,
    /// capped at [`MAX_EVENTS_WAIT_MS`]. With `after` 0 it returns at once, without events.
    pub(crate) async fn page(&self, after: u64, wait_ms: u64) -> EventPage {
        let mut news = self.shared.next.subscribe();
        if after == 0 {
            return EventPage { next: *news.borrow(), ..EventPage::default() };
        }
        let wait = Duration::from_millis(wait_ms.min(MAX_EVENTS_WAIT_MS));
        // A time-out yields an empty page. The channel cannot close while `self` holds the sender.
        let _ = tokio::time::timeout(wait, news.wait_for(|next| *next > after)).await;
        self.read(after)
    }

    fn read(&self, after: u64) -> EventPage {
        let ring = self.ring();
        let next = *self.shared.next.borrow();
        let oldest = next.saturating_sub(u64::try_from(ring.len()).unwrap_or(u64::MAX));
        // A place beyond `next` comes from an earlier run of the node: start at the next event.
        let from = if after > next { next } else { after };
        let missed = oldest.saturating_sub(from);
        let skip = usize::try_from(from.saturating_sub(oldest)).unwrap_or(usize::MAX);
        EventPage { next, missed, events: ring.iter().skip(skip).cloned().collect() }
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<ConsoleEvent>> {
        self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The progress of the long task that was started last. Clones share one board.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProgressBoard {
    current: Arc<Mutex<Option<Task>>>,
}

/// A task under way.
#[derive(Debug)]
struct Task {
    name: String,
    done: u64,
    total: Option<u64>,
    started: Instant,
    waits_until: Option<UnixMillis>,
}

impl ProgressBoard {
    /// Publishes the start of a task, until the guard is dropped.
    #[must_use]
    pub(crate) fn begin(&self, task: &str, total: Option<u64>) -> ProgressGuard {
        let started = Instant::now();
        *self.lock() =
            Some(Task { name: task.to_owned(), done: 0, total, started, waits_until: None });
        ProgressGuard { board: self.clone() }
    }

    /// Returns the progress of the current task, if one runs.
    #[must_use]
    pub(crate) fn current(&self) -> Option<Progress> {
        self.lock().as_ref().map(|task| Progress {
            task: task.name.clone(),
            done: task.done,
            total: task.total,
            elapsed_ms: u64::try_from(task.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            waits_until: task.waits_until,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Task>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task. Its progress is removed from the board on drop.
#[derive(Debug)]
pub(crate) struct ProgressGuard {
    board: ProgressBoard,
}

impl ProgressGuard {
    /// Publishes new counts. `total` is `None` if it is unknown.
    pub(crate) fn update(&self, done: u64, total: Option<u64>) {
        if let Some(task) = self.board.lock().as_mut() {
            task.done = done;
            task.total = total;
        }
    }

    /// Publishes the time that the task waits for, in unix ms. `None`: it does not wait.
    pub(crate) fn wait_until(&self, time: Option<UnixMillis>) {
        if let Some(task) = self.board.lock().as_mut() {
            task.waits_until = time;
        }
    }
}

impl Drop for ProgressGuard {
    fn drop(&mut self) {
        *self.board.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(text: &str) -> ConsoleEvent {
        ConsoleEvent::Notice { text: text.to_owned() }
    }

    #[tokio::test]
    async fn a_console_gets_each_event_once_and_in_order() {
        let feed = EventFeed::default();
        let start = feed.page(0, 0).await;
        assert_eq!((start.next, start.events.len()), (FIRST_PLACE, 0));
        feed.push(notice("a"));
        feed.push(notice("b"));
        let page = feed.page(start.next, 0).await;
        assert_eq!(page.events, [notice("a"), notice("b")]);
        feed.push(notice("c"));
        let page = feed.page(page.next, 0).await;
        assert_eq!((page.events.as_slice(), page.missed), (&[notice("c")][..], 0));
    }

    #[tokio::test]
    async fn a_waiting_console_wakes_at_the_event() {
        let feed = EventFeed::default();
        let waiting = tokio::spawn({
            let feed = feed.clone();
            async move { feed.page(FIRST_PLACE, MAX_EVENTS_WAIT_MS).await }
        });
        tokio::task::yield_now().await;
        feed.push(notice("a"));
        assert_eq!(waiting.await.expect("a page").events, [notice("a")]);
    }

    #[tokio::test]
    async fn a_slow_console_is_told_what_it_missed() {
        let feed = EventFeed::default();
        for index in 0..KEPT_EVENTS + 3 {
            feed.push(notice(&index.to_string()));
        }
        let page = feed.page(FIRST_PLACE, 0).await;
        assert_eq!((page.missed, page.events.len()), (3, KEPT_EVENTS));
    }

    #[tokio::test]
    async fn a_place_of_an_earlier_node_begins_anew() {
        let feed = EventFeed::default();
        feed.push(notice("a"));
        let page = feed.page(500, 0).await;
        assert_eq!((page.next, page.missed, page.events.len()), (2, 0, 0));
    }

    #[test]
    fn progress_is_shown_while_the_work_lasts() {
        let board = ProgressBoard::default();
        let guard = board.begin("verify", Some(10));
        guard.update(3, Some(10));
        assert_eq!(
            board.current().map(|progress| (progress.done, progress.total)),
            Some((3, Some(10)))
        );
        drop(guard);
        assert_eq!(board.current(), None);
    }
}
