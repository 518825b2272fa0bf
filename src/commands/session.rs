//! A running command: the node that it asks, and the writer of its answer.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    answer::Answer,
    asking::Asking,
    names::Names,
    outcome::CommandError,
    progress::{ProgressMode, while_showing, while_syncing},
};
use crate::rpc::Client;

/// The node that a command asks, and the form of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// A client of the running node, or of the opened folder.
    pub(crate) client: Client,
    /// True to print one JSON document instead of text.
    pub(crate) json: bool,
    /// True to show ids and columns in full.
    pub(crate) full: bool,
    pub(crate) progress: ProgressMode,
    /// The person or program that the command can ask.
    pub(crate) asking: Asking,
}

/// One command's context and answer.
pub(super) struct Session<'a> {
    pub(super) client: &'a Client,
    pub(super) asking: &'a Asking,
    pub(super) answer: Answer<'a>,
    progress: ProgressMode,
}

impl<'a> Session<'a> {
    pub(super) fn new(context: &'a Context, out: &'a mut dyn Write) -> Self {
        let answer = Answer { json: context.json, out };
        Self {
            client: &context.client,
            asking: &context.asking,
            answer,
            progress: context.progress,
        }
    }

    /// Returns the names of addresses for text output. JSON has none.
    pub(super) async fn names(&self) -> Names {
        if self.answer.json { Names::default() } else { Names::ask(self.client).await }
    }

    /// Waits for long work of the node, and shows its progress.
    pub(super) async fn showing<T>(&self, work: impl Future<Output = T>) -> T {
        while_showing(self.client, self.progress, work).await
    }

    /// Waits for a sync, and shows its progress.
    pub(super) async fn showing_sync<T>(&self, work: impl Future<Output = T>) -> T {
        while_syncing(self.client, self.progress, work).await
    }

    /// Writes the answer: `value` as JSON, or what `text` writes.
    pub(super) fn write<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        self.answer.write(value, text)
    }
}
