//! What consoles show above their prompts: a bounded ring of events with a number each, and a wait for the next.
//!
//! Owned by the service; the router and the service push, any number of consoles read at their own pace. A console that is
//! too slow misses the oldest, and is told how many.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::rpc::types::{ConsoleEvent, EventPage};

/// Events kept for consoles that are slow: some minutes of a lively room.
const MAX_EVENTS: usize = 1_024;

/// Events in one page.
const MAX_PAGE: usize = 256;

/// The ring; clones share it.
#[derive(Debug, Clone)]
pub struct Feed {
    ring: Arc<Mutex<VecDeque<ConsoleEvent>>>,
    /// The number of the newest event.
    pushed: watch::Sender<u64>,
}

impl Default for Feed {
    fn default() -> Self {
        // 0 asks for "from now on", so the numbers of events begin above it.
        Self { ring: Arc::default(), pushed: watch::Sender::new(1) }
    }
}

impl Feed {
    /// Adds an event.
    pub fn push(&self, event: ConsoleEvent) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= MAX_EVENTS {
            ring.pop_front();
        }
        ring.push_back(event);
        // Counted while the ring is held, so that a reader never sees one without the other.
        self.pushed.send_modify(|count| *count = count.saturating_add(1));
    }

    /// The events after number `after` (0: from now on), waiting up to `wait` for the first.
    pub async fn page(&self, after: u64, wait: Duration) -> EventPage {
        let mut pushed = self.pushed.subscribe();
        let newest = *pushed.borrow_and_update();
        // A number from before a restart is ahead of ours: such a console begins anew.
        let after = if after == 0 || after > newest { newest } else { after };
        if after == newest {
            // Whether it is time or an event that ends the wait, what is there is the answer.
            let _ = tokio::time::timeout(wait, pushed.wait_for(|count| *count > after)).await;
        }
        self.read(after)
    }

    fn read(&self, after: u64) -> EventPage {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = *self.pushed.borrow();
        let oldest = newest.saturating_sub(ring.len() as u64);
        let from = after.max(oldest);
        let skip = usize::try_from(from.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let events: Vec<_> = ring.iter().skip(skip).take(MAX_PAGE).cloned().collect();
        EventPage { next: from.saturating_add(events.len() as u64), missed: from.saturating_sub(after), events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(text: &str) -> ConsoleEvent {
        ConsoleEvent::Notice { text: text.to_owned() }
    }

    #[tokio::test]
    async fn a_reader_sees_each_event_once_and_in_order() {
        let feed = Feed::default();
        feed.push(notice("before"));
        let start = feed.page(0, Duration::ZERO).await;
        assert!(start.events.is_empty(), "what was before the console is not shown");
        feed.push(notice("one"));
        feed.push(notice("two"));
        let page = feed.page(start.next, Duration::ZERO).await;
        assert_eq!(page.events, [notice("one"), notice("two")]);
        assert!(feed.page(page.next, Duration::ZERO).await.events.is_empty());
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_the_next_event() {
        let feed = Feed::default();
        feed.push(notice("first"));
        let reader = tokio::spawn({
            let feed = feed.clone();
            async move { feed.page(2, Duration::from_secs(60)).await }
        });
        feed.push(notice("second"));
        assert_eq!(reader.await.expect("the reader ends").events, [notice("second")]);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let feed = Feed::default();
        feed.push(notice("seen"));
        for n in 0..MAX_EVENTS + 5 {
            feed.push(notice(&n.to_string()));
        }
        let page = feed.page(2, Duration::ZERO).await;
        assert_eq!(page.missed, 5);
        assert_eq!(page.events.first(), Some(&notice("5")));
        assert_eq!(page.events.len(), MAX_PAGE);
    }
}
