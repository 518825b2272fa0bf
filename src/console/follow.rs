//! Fetches the node's events, and notices its end at once.

use std::time::Duration;

use jsonrpsee::core::client::Error as ClientError;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use crate::rpc::{
    Client, FriendchainApiClient,
    types::{ConsoleEvent, EventPage},
};

/// The wait of one request for events, in ms: less than any time-out between here and the node.
const EVENTS_WAIT_MS: u64 = 25_000;

/// The pause after a failed request for events.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The number of retries before the node counts as dead. When a node dies, its connections close at
/// once and new ones are refused.
const RETRIES: u32 = 3;

/// Capacity of the queue of event pages for the console.
const PAGES: usize = 4;

/// A message of the task that fetches events.
#[derive(Debug)]
pub(super) enum Heard {
    Page(EventPage),
    /// The node refuses the feed, but still answers commands.
    Refused(String),
    /// The node has stopped and announced it.
    Stopped,
    /// The node has ended without an announcement.
    Died,
}

/// A task that fetches events until the node is gone. Ends when it is dropped.
pub(super) struct Follower {
    pub(super) heard: mpsc::Receiver<Heard>,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts to follow a node from an event of its feed on. 0 starts with the next event.
pub(super) fn follow(client: Client, first_event: u64) -> Follower {
    let (sender, heard) = mpsc::channel(PAGES);
    let task = tokio::spawn(async move {
        let end = fetch(&client, first_event, &sender).await;
        // Fails if the console has ended first.
        let _ = sender.send(end).await;
    });
    Follower { heard, task }
}

async fn fetch(client: &Client, first_event: u64, sender: &mpsc::Sender<Heard>) -> Heard {
    let mut place = first_event;
    let mut failures: u32 = 0;
    loop {
        let page = match client.events(place, EVENTS_WAIT_MS).await {
            Ok(page) => page,
            Err(ClientError::Call(object)) => return Heard::Refused(object.message().to_owned()),
            Err(_) if failures < RETRIES => {
                failures = failures.saturating_add(1);
                sleep(RETRY_AFTER).await;
                continue;
            }
            Err(_) => return Heard::Died,
        };
        failures = 0;
        place = page.next;
        let stops = page.events.iter().any(|event| matches!(event, ConsoleEvent::Stopping));
        if sender.send(Heard::Page(page)).await.is_err() || stops {
            return Heard::Stopped;
        }
    }
}
