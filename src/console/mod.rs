//! The interactive shell answers typed lines, and prints events above the prompt.
//!
//! A console owns nothing but its terminal: it is a client of the RPC, in `people` as in `console`.
//! It has a thread that reads the input, a task that prints events, and a loop that answers one
//! line after the other.

mod input;
mod moving;
mod screen;
pub(crate) mod signals;
pub(crate) mod words;

pub(crate) use self::input::Keyboard;

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, PoisonError},
    time::Duration,
};

use jsonrpsee::core::client::Error as ClientError;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use self::{
    input::{FriendNames, Input, Lines},
    moving::{Moving, Step},
    screen::Screen,
    signals::{Ending, Signals},
    words::Line,
};
use crate::{
    commands::{
        answer::Answer,
        chat_text,
        execute::{Context, execute},
        outcome::CommandError,
        print_chain::{BlockForm, print_chain},
        progress::ProgressMode,
        text,
    },
    datadir::DataDir,
    primitives::{counted, printable},
    rpc::{
        Client, FriendchainApiClient, RpcError,
        types::{ConsoleEvent, WriteNote},
    },
};

/// The time that one request for events waits, in ms: less than any timeout on its way.
const EVENTS_WAIT_MS: u64 = 25_000;

/// The pause after a failed request for events.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The number of retries before the node counts as gone.
const RETRIES: u32 = 4;

/// The number of blocks that `lb` lists: one or two screens.
const LISTED_BLOCKS: u32 = 50;

/// The settings of a console.
#[derive(Debug, Clone)]
pub(crate) struct ConsoleOptions {
    /// The node's data folder, which holds the history of lines.
    pub(crate) folder: DataDir,
    pub(crate) color: bool,
    /// The first event of the feed to show. 0 shows only events from now on.
    pub(crate) first_event: u64,
    /// True if the node stops when the console ends.
    pub(crate) owns_node: bool,
}

/// The end of a console.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The user has left, or the node has ended.
    Left,
    /// The node is to move to the chain of this invite, and a new console follows.
    Move(String),
}

/// Answers lines until `q`, the end of the input, a signal, the node's end, or a move.
pub(crate) async fn run(
    client: Client,
    options: ConsoleOptions,
    signals: &mut Signals,
    keyboard: &mut Keyboard,
) -> Result<Ended, CommandError> {
    let status = client.status().await;
    let name =
        status.as_ref().map_or_else(|_| "friendchain".to_owned(), |status| printable(&status.name));
    let names = FriendNames::default();
    let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
    let (lines, screen) = if interactive {
        let history = options.folder.history_file();
        let (lines, printer) = input::terminal(format!("{name}> "), history, names.clone())
            .map_err(|cause| {
                RpcError::new("terminal", format!("the terminal cannot be used: {cause}"))
            })?;
        (lines, Screen::terminal(printer, options.color))
    } else {
        (keyboard.piped().map_err(RpcError::no_threads)?, Screen::plain())
    };
    if let Ok(status) = &status {
        let from = if options.owns_node { "q stops it" } else { "q leaves it running" };
        Screen::line(&format!(
            "friendchain {}: node {name}, {}; h shows help, {from}",
            status.version, status.peer_id
        ))?;
    }
    let screen = Arc::new(screen);
    let (gone, node_gone) = watch::channel(false);
    let feed = tokio::spawn(follow(
        client.clone(),
        screen.clone(),
        names.clone(),
        options.first_event,
        gone,
    ));
    let feed = AbortOnDrop(feed);
    let progress = if interactive { ProgressMode::of_stderr() } else { ProgressMode::Lines };
    let owns_node = options.owns_node;
    let moving = Moving::default();
    let mut console =
        Console { client, names, progress, interactive, lines, node_gone, owns_node, moving };
    let ended = console.talk(signals).await;
    drop(feed);
    if !interactive {
        keyboard.keep(console.lines);
    }
    ended
}

/// A task that is aborted when this is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Prints events until the node is gone.
async fn follow(
    client: Client,
    screen: Arc<Screen>,
    names: FriendNames,
    first_event: u64,
    gone: watch::Sender<bool>,
) {
    refresh_names(&client, &names).await;
    let mut place = first_event;
    let mut failures = 0;
    loop {
        let page = match client.events(place, EVENTS_WAIT_MS).await {
            Ok(page) => page,
            Err(ClientError::Call(object)) => {
                // The node refuses the feed, but still answers commands.
                tracing::warn!(error = object.message(), "events are not shown");
                return;
            }
            Err(_) if failures < RETRIES => {
                failures += 1;
                sleep(RETRY_AFTER).await;
                continue;
            }
            Err(_) => break,
        };
        failures = 0;
        place = page.next;
        if page.missed > 0 && screen.event(&missed_line(page.missed)).is_err() {
            return;
        }
        for event in &page.events {
            if screen.event(&text::event_line(event)).is_err() {
                return;
            }
            if matches!(event, ConsoleEvent::FriendJoined { .. }) {
                refresh_names(&client, &names).await;
            }
            if matches!(event, ConsoleEvent::Stopping) {
                gone.send_replace(true);
                return;
            }
        }
    }
    gone.send_replace(true);
}

/// Returns the line for events that this console fetched too late.
fn missed_line(missed: u64) -> String {
    let were = if missed == 1 { "was" } else { "were" };
    format!("* {} {were} missed", counted(missed, "event", "events"))
}

async fn refresh_names(client: &Client, names: &FriendNames) {
    if let Ok(list) = client.friends().await {
        let mut known: Vec<_> = list.friends.into_iter().map(|friend| friend.name).collect();
        known.sort_unstable();
        known.dedup();
        *names.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

/// The step after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Line,
    End,
}

struct Console {
    client: Client,
    names: FriendNames,
    progress: ProgressMode,
    interactive: bool,
    lines: Lines,
    node_gone: watch::Receiver<bool>,
    owns_node: bool,
    moving: Moving,
}

impl Console {
    async fn talk(&mut self, signals: &mut Signals) -> Result<Ended, CommandError> {
        loop {
            self.lines.ready();
            let node_gone = self.node_gone.clone();
            let input = tokio::select! {
                input = self.lines.next() => input,
                () = signals.any() => return Ok(Ended::Left),
                // Not while the line editor has the terminal in raw mode. There the console ends
                // with the next line.
                true = is_gone(node_gone), if !self.interactive => return Self::node_is_gone(),
            };
            if *self.node_gone.borrow() {
                return Self::node_is_gone();
            }
            let line = match input {
                Input::End => return Ok(Ended::Left),
                Input::Interrupt => {
                    Screen::line("q, or Ctrl-D, quits")?;
                    continue;
                }
                Input::TooLong => {
                    Screen::line("that line is too long, and was passed over")?;
                    continue;
                }
                Input::Line(line) => {
                    match self.moving.step(&self.client, &line, self.owns_node).await {
                        Step::Pass => words::parse(&line),
                        Step::Say(text) => Line::Show(text),
                        Step::Move(invite) => return Ok(Ended::Move(invite)),
                    }
                }
            };
            let answered = tokio::select! {
                next = answer(&self.client, self.progress, line) => next?,
                ending = signals.next() => match ending {
                    // Ctrl-C ends the wait for the answer, not the console. The node may still
                    // carry out the command.
                    Ending::Interrupt if self.interactive => Next::Line,
                    _ => Next::End,
                },
            };
            if answered == Next::End {
                return Ok(Ended::Left);
            }
            refresh_if_empty(&self.client, &self.names).await;
        }
    }

    fn node_is_gone() -> Result<Ended, CommandError> {
        Screen::line("the node has ended")?;
        Ok(Ended::Left)
    }
}

/// Waits until the node is gone. Returns false if the feed ended without noticing that.
async fn is_gone(mut node_gone: watch::Receiver<bool>) -> bool {
    node_gone.wait_for(|gone| *gone).await.is_ok()
}

/// Fetches the friends' names if none are known: friends may have joined before the feed began.
async fn refresh_if_empty(client: &Client, names: &FriendNames) {
    let empty = names.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
    if empty {
        refresh_names(client, names).await;
    }
}

/// Answers one line. A failure of the command is part of the answer. Only a failure to write it is
/// an error.
async fn answer(client: &Client, progress: ProgressMode, line: Line) -> Result<Next, CommandError> {
    if matches!(line, Line::Quit) {
        return Ok(Next::End);
    }
    let mut out = Vec::new();
    match write_answer(client, progress, line, &mut out).await {
        Ok(()) | Err(CommandError::BadNews) => {}
        Err(CommandError::Failed(error) | CommandError::Usage(error)) => {
            writeln!(out, "{}", error.message)?;
        }
        Err(error @ CommandError::Output(_)) => return Err(error),
    }
    Screen::answer(&out)?;
    Ok(Next::Line)
}

async fn write_answer(
    client: &Client,
    progress: ProgressMode,
    line: Line,
    out: &mut Vec<u8>,
) -> Result<(), CommandError> {
    match line {
        Line::Empty | Line::Quit => Ok(()),
        Line::Show(text) => Ok(writeln!(out, "{text}")?),
        Line::Help => Ok(writeln!(out, "{}", words::help())?),
        Line::Note(text) => {
            let sent = client.note(WriteNote { text, wait: false, passphrase: None }).await?;
            Ok(text::write_submitted(out, "Note", &sent)?)
        }
        Line::Chat { friend, text } => {
            let sent = client.chat(friend.clone(), text, None).await?;
            Ok(chat_text::write_chat(out, &friend, &sent)?)
        }
        Line::ChatAll(text) => {
            let sent = client.broadcast(text).await?;
            Ok(chat_text::write_broadcast(out, &sent)?)
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
            let context =
                Context { client: client.clone(), json, full, progress, owns_stdin: false };
            execute(*command, &context, out).await
        }
    }
}
