//! Events and log lines that wait until what they report is durable.
//!
//! Owned by [`Chain`](super::Chain). An event is announced only when durable. It is staged while
//! its change is in memory, follows the change into the write, and is ready when the write is on
//! disk.

use std::{collections::VecDeque, mem};

use super::api::ChainEvent;
use crate::telemetry::events;

/// Maximum number of transaction ids in one event. Consecutive tips merge into one event up to
/// here.
const MAX_MERGED_TRANSACTIONS: usize = 10_000;

/// An entry for the log, emitted once it is durable.
#[derive(Debug)]
pub(super) enum LogEntry {
    Connected(events::BlockConnected),
    Disconnected(events::BlockDisconnected),
    Reorganised(events::Reorganised),
    Trade(events::TradeAccepted),
    Dropped(events::TradeDropped),
}

impl LogEntry {
    fn emit(&self) {
        match self {
            Self::Connected(event) => event.emit(),
            Self::Disconnected(event) => event.emit(),
            Self::Reorganised(event) => event.emit(),
            Self::Trade(event) if event.local => event.emit_always(),
            Self::Trade(event) => event.emit(),
            Self::Dropped(event) => event.emit(),
        }
    }
}

/// Announcements in three stages: of changes in memory, of changes being written, and durable.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    staged: VecDeque<ChainEvent>,
    logs: Vec<LogEntry>,
    writing: (VecDeque<ChainEvent>, Vec<LogEntry>),
    ready: Vec<ChainEvent>,
}

impl Announcements {
    /// Stages an event. Consecutive tips that only grow merge into one event.
    pub(super) fn stage(&mut self, event: ChainEvent) {
        if let ChainEvent::TipChanged { tip, disconnected, connected, mined } = &event
            && disconnected.is_empty()
            && mined.len() <= MAX_MERGED_TRANSACTIONS
            && let Some(ChainEvent::TipChanged {
                tip: last,
                connected: before,
                mined: mined_before,
                ..
            }) = self.staged.back_mut()
            && mined_before.len() <= MAX_MERGED_TRANSACTIONS
        {
            *last = *tip;
            before.extend(connected);
            mined_before.extend(mined);
            return;
        }
        self.staged.push_back(event);
    }

    /// Stages a log line.
    pub(super) fn log(&mut self, entry: LogEntry) {
        self.logs.push(entry);
    }

    /// Moves what is staged to the write that begins now.
    pub(super) fn begin_writing(&mut self) {
        self.writing = (mem::take(&mut self.staged), mem::take(&mut self.logs));
    }

    /// Releases what the last write made durable.
    pub(super) fn written(&mut self) {
        let (events, logs) = mem::take(&mut self.writing);
        self.ready.extend(events);
        logs.iter().for_each(LogEntry::emit);
    }

    /// Releases what is staged: no change is waiting for a write.
    pub(super) fn release_staged(&mut self) {
        self.ready.extend(self.staged.drain(..));
        self.logs.drain(..).for_each(|entry| entry.emit());
    }

    /// Takes the events that are ready, in order; each is returned once.
    pub(super) fn take_ready(&mut self) -> Vec<ChainEvent> {
        mem::take(&mut self.ready)
    }
}
