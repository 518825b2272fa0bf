//! Runs commands while the user types on, in the order in which they were typed.
//!
//! One command runs at a time. A chat line, however, does not wait for a slow command.

use std::{collections::VecDeque, io::Write, time::Duration};

use futures::future::{FutureExt as _, LocalBoxFuture};
use tokio::time::Instant;

use super::words::{self, Line};
use crate::{
    commands::{
        answer::Answer,
        args::{ClientCommand, PassphraseFlag},
        asking::Asking,
        chat_text,
        execute::{Context, execute},
        look::refusal,
        outcome::CommandError,
        print_chain::{BlockForm, print_chain},
        progress::ProgressMode,
        text,
    },
    primitives::printable,
    rpc::{Client, FriendchainApiClient, types::ChatState},
};

/// The number of blocks that `lb` lists: one or two screens.
const LISTED_BLOCKS: u32 = 50;

/// The time after which a command counts as slow.
const SLOW: Duration = Duration::from_secs(1);

/// The most lines that wait. Further input stays in the terminal.
const MOST_WAITING: usize = 1_000;

/// The longest title of a command in a sentence, in characters.
const TITLE_CHARS: usize = 40;

/// The answer to a line.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) text: String,
    /// The chat line that was sent.
    pub(super) sent: Option<Sent>,
    /// The text of a chat line that was not sent.
    unsent: Option<String>,
    /// True if names or addresses may have changed.
    pub(super) changes_names: bool,
}

/// A chat line that was sent from this console.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) state: Option<ChatState>,
}

struct Job {
    title: String,
    line: Line,
}

struct Running {
    title: String,
    started: Instant,
    work: LocalBoxFuture<'static, Result<Answered, CommandError>>,
}

/// The waiting lines, and those that are running.
pub(super) struct Jobs {
    client: Client,
    progress: ProgressMode,
    waiting: VecDeque<Job>,
    command: Option<Running>,
    chat: Option<Running>,
    asking: Asking,
    /// False if every line waits for the one before it, chat lines included.
    overtakes: bool,
    /// The texts of chat lines that were started here and whose events have not arrived yet.
    own: VecDeque<String>,
}

impl Jobs {
    pub(super) fn new(
        client: Client,
        progress: ProgressMode,
        overtakes: bool,
        asking: Asking,
    ) -> Self {
        let (waiting, own) = (VecDeque::new(), VecDeque::new());
        Self { client, progress, waiting, command: None, chat: None, asking, overtakes, own }
    }

    pub(super) fn push(&mut self, typed: &str, line: Line) {
        let title = printable(typed.trim());
        let title = match title.char_indices().nth(TITLE_CHARS) {
            Some((end, _)) => format!("{}…", title.get(..end).unwrap_or_default()),
            None => title,
        };
        self.waiting.push_back(Job { title, line });
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.command.is_none() && self.chat.is_none()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING
    }

    /// True if only a slow command, and lines that wait for it, are left.
    pub(super) fn only_slow_is_left(&self) -> bool {
        let waits_for_it = self.waiting.iter().all(|job| !is_chat(&job.line));
        self.is_slow() && self.chat.is_none() && waits_for_it
    }

    /// Returns the number of lines that have not started.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn is_slow(&self) -> bool {
        self.overtakes
            && self.command.as_ref().is_some_and(|running| running.started.elapsed() >= SLOW)
    }

    /// Returns the moment at which the running command becomes slow, if lines wait for it.
    pub(super) fn slow_at(&self) -> Option<Instant> {
        let running = self.command.as_ref().filter(|_| self.overtakes && !self.is_slow())?;
        running.started.checked_add(SLOW).filter(|_| !self.waiting.is_empty())
    }

    /// Returns a sentence about lines that wait for a slow command, if there are any.
    pub(super) fn delay(&self) -> Option<String> {
        let running = self.command.as_ref().filter(|_| self.is_slow())?;
        let first = self.waiting.front()?;
        Some(format!(
            "* {} waits for {} (Ctrl-C ends that wait)",
            quoted(&first.title),
            quoted(&running.title)
        ))
    }

    /// Starts the lines whose turn it is.
    pub(super) fn start(&mut self) {
        loop {
            let next = if self.command.is_none() && self.chat.is_none() {
                self.waiting.pop_front()
            } else if self.is_slow() && self.chat.is_none() {
                let chat = self.waiting.iter().position(|job| is_chat(&job.line));
                chat.and_then(|at| self.waiting.remove(at))
            } else {
                None
            };
            let Some(Job { title, line }) = next else { return };
            if let Some(text) = chat_text_of(&line) {
                if self.own.len() >= MOST_WAITING {
                    self.own.pop_front();
                }
                self.own.push_back(text);
            }
            let place = if is_chat(&line) { &mut self.chat } else { &mut self.command };
            let context = Context {
                client: self.client.clone(),
                json: false,
                full: false,
                progress: self.progress,
                asking: self.asking.clone(),
            };
            let work = answer(context, line).boxed_local();
            *place = Some(Running { title, started: Instant::now(), work });
        }
    }

    /// Waits for the next answer.
    pub(super) async fn next(&mut self) -> Result<Answered, CommandError> {
        let (command, chat) = (&mut self.command, &mut self.chat);
        let answered = tokio::select! {
            answered = done(command) => answered?,
            answered = done(chat) => answered?,
        };
        if let Some(text) = &answered.unsent {
            // The line was not sent, so no event of it will arrive.
            self.is_own(text);
        }
        Ok(answered)
    }

    /// Ends the wait for the command that runs. Returns its title.
    pub(super) fn give_up(&mut self) -> Option<String> {
        self.command.take().or_else(|| self.chat.take()).map(|running| quoted(&running.title))
    }

    /// True if the event belongs to a line of this console. Each line matches once.
    pub(super) fn is_own(&mut self, text: &str) -> bool {
        let at = self.own.iter().position(|own| own == text);
        at.and_then(|at| self.own.remove(at)).is_some()
    }
}

fn quoted(title: &str) -> String {
    format!("'{title}'")
}

/// Waits for a running line, and removes it. Never returns if there is none.
async fn done(place: &mut Option<Running>) -> Result<Answered, CommandError> {
    let answered = match place {
        Some(running) => (&mut running.work).await,
        None => std::future::pending().await,
    };
    *place = None;
    answered
}

const fn is_chat(line: &Line) -> bool {
    matches!(line, Line::Chat { .. } | Line::ChatAll(_))
}

/// Returns the text of a chat line, by a word of the chat room or by a command.
fn chat_text_of(line: &Line) -> Option<String> {
    match line {
        Line::Chat { text, .. } | Line::ChatAll(text) => Some(text.clone()),
        Line::Command { command, .. } => match &**command {
            ClientCommand::Chat { text, .. } | ClientCommand::Broadcast { text, .. } => {
                Some(text.join(" "))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Answers one line. A failure of the command is part of the answer. Only a failure to write it is
/// an error.
async fn answer(context: Context, line: Line) -> Result<Answered, CommandError> {
    let mut out = Vec::new();
    let changes_names = matches!(line, Line::Command { .. });
    let own = chat_text_of(&line).filter(|_| is_chat(&line));
    let mut sent = None;
    match write_answer(context, line, &mut out, &mut sent).await {
        Ok(()) | Err(CommandError::BadNews) => {}
        Err(CommandError::Failed(error) | CommandError::Usage(error)) => {
            writeln!(out, "{}", refusal(&error.message))?;
        }
        Err(error @ CommandError::Output(_)) => return Err(error),
    }
    let unsent = own.filter(|_| sent.is_none());
    Ok(Answered { text: String::from_utf8_lossy(&out).into_owned(), sent, unsent, changes_names })
}

async fn write_answer(
    context: Context,
    line: Line,
    out: &mut Vec<u8>,
    was_sent: &mut Option<Sent>,
) -> Result<(), CommandError> {
    let client = &context.client;
    match line {
        Line::Empty | Line::Quit | Line::ChooseAll | Line::ChooseFriend(_) => Ok(()),
        Line::Show(text) => Ok(writeln!(out, "{text}")?),
        Line::Help => Ok(writeln!(out, "{}", words::help())?),
        Line::Note(text) => {
            let passphrase = PassphraseFlag::default();
            let note = ClientCommand::Note { text: vec![text], wait: false, passphrase };
            execute(note, &context, out).await
        }
        Line::Chat { friend, peer, text } => {
            let to = peer.map_or_else(|| friend.clone(), |peer| peer.to_string());
            let sent = client.chat(to, text.clone(), None).await?;
            chat_text::write_chat(out, &friend, &sent)?;
            *was_sent = Some(Sent { id: sent.id, text, state: Some(sent.state) });
            Ok(())
        }
        Line::ChatAll(text) => {
            let sent = client.broadcast(text.clone()).await?;
            chat_text::write_broadcast(out, &sent)?;
            *was_sent = Some(Sent { id: sent.id, text, state: None });
            Ok(())
        }
        Line::Account => {
            let account = client.account().await?;
            Ok(text::write_account(out, &account)?)
        }
        Line::Blocks => {
            let mut answer = Answer { json: false, out };
            print_chain(client, &mut answer, None, Some(LISTED_BLOCKS), BlockForm::Short).await
        }
        Line::Friends => {
            let friends = client.friends().await?;
            Ok(text::write_friends(out, &friends)?)
        }
        Line::Node => {
            let status = client.status().await?;
            Ok(text::write_status(out, &status)?)
        }
        Line::Command { command, json, full } => {
            execute(*command, &Context { json, full, ..context }, out).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_answered_in_the_order_in_which_they_were_typed() {
        let client = Client::local(jsonrpsee::RpcModule::new(()));
        let mut jobs = Jobs::new(client, ProgressMode::Lines, true, Asking::Nobody);
        for text in ["one", "two", "three"] {
            jobs.push(text, Line::Show(text.to_owned()));
        }
        for text in ["one", "two", "three"] {
            jobs.start();
            let answered = jobs.next().await.expect("an answer");
            assert_eq!(answered.text, format!("{text}\n"));
        }
        assert!(jobs.is_idle());
    }

    #[tokio::test]
    async fn an_own_line_is_known_once_by_its_event() {
        let client = Client::local(jsonrpsee::RpcModule::new(()));
        let mut jobs = Jobs::new(client, ProgressMode::Lines, true, Asking::Nobody);
        jobs.push("ca hello", Line::ChatAll("hello".to_owned()));
        jobs.start();
        assert!(jobs.is_own("hello") && !jobs.is_own("hello") && !jobs.is_own("other"));
        assert!(jobs.next().await.is_ok(), "a failure is an answer");
        jobs.push("ca again", Line::ChatAll("again".to_owned()));
        jobs.start();
        assert!(jobs.next().await.is_ok());
        assert!(!jobs.is_own("again"), "it was not sent");
    }
}
