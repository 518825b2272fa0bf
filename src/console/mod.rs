//! The console: an interactive shell that runs typed lines and prints events above its prompt.
//!
//! A console owns nothing except its terminal: it is a client of the RPC, in `people` as in
//! `console`. One thread reads the input and another writes the output. One loop handles lines and
//! events as they arrive, while commands run.

mod backlog;
mod complete;
mod follow;
mod input;
mod jobs;
mod moving;
mod questions;
mod resize;
mod screen;
pub(crate) mod signals;
mod start;
mod suspend;
mod terminal;
mod view;
pub(crate) mod words;

use std::{sync::Arc, time::Duration};

use futures::future::FutureExt as _;
use tokio::time::{Instant, sleep_until, timeout};

use self::{
    backlog::Flow,
    complete::SharedNames,
    follow::{Follower, Heard, follow},
    input::{Input, Lines},
    jobs::{Answered, Jobs},
    moving::{Moving, Step as Move},
    questions::Questions,
    screen::Screen,
    signals::{Ending, Signals},
    suspend::{Attached, Attachment},
    terminal::{Kind, Mode, Modes, logs_and_progress_aside},
    view::View,
    words::{Line, Talk},
};
pub(crate) use self::{input::Keyboard, terminal::logs_aside};
use crate::{
    commands::{asking::Question, outcome::CommandError, progress::ProgressMode},
    datadir::DataDir,
    primitives::{counted, printable},
    rpc::{
        Client, FriendchainApiClient, RpcError,
        types::{ConsoleEvent, EventPage, FriendList, FriendView, StatusReport},
    },
};

/// The longest wait for the list of friends when the user chooses a conversation.
const CHOOSING: Duration = Duration::from_secs(2);

/// The time in which running commands may still answer when the node ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

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
    /// The node moves to the chain of this invite, and a new console follows.
    Move(String),
}

/// Answers lines until `q`, the end of the input, a signal, or the node's end.
pub(crate) async fn run(
    client: Client,
    options: ConsoleOptions,
    signals: &mut Signals,
    keyboard: &mut Keyboard,
) -> Result<Ended, CommandError> {
    let mut console = Console::open(client, &options, keyboard)?;
    console.greet(&options).await?;
    let ended = console.talk(signals).await;
    console.screen.flush();
    if console.kind != Kind::Editor {
        keyboard.keep(console.lines);
    }
    ended
}

/// A step of a console's loop.
enum Step {
    Input(Input),
    Answered(Result<Answered, CommandError>),
    Heard(Option<Heard>),
    /// A command asks the user a question.
    Asked(Question),
    /// Gathered events are due.
    Due,
    /// A command has become slow.
    Slow,
    /// Rows of an invite are missing.
    CutInvite,
    Signal(Ending),
}

struct Console {
    client: Client,
    kind: Kind,
    names: SharedNames,
    view: View,
    talk: Talk,
    lines: Lines,
    screen: Arc<Screen>,
    jobs: Jobs,
    questions: Questions,
    follower: Follower,
    /// True after `q`, or at the end of the input.
    closing: bool,
    /// True if the feed has ended while the node still runs.
    deaf: bool,
    owns_node: bool,
    moving: Moving,
    /// The invite to whose chain the user moves.
    invite: Option<String>,
    /// Dropped before the mode, which then is the shell's again.
    _attachment: Option<Attachment>,
    mode: Option<Mode>,
}

impl Console {
    fn open(
        client: Client,
        options: &ConsoleOptions,
        keyboard: &mut Keyboard,
    ) -> Result<Self, CommandError> {
        let mut kind = Kind::of_process();
        let names = SharedNames::default();
        let modes = Modes::default();
        let mut mode = (kind == Kind::Editor).then(|| Mode::set(&modes));
        let editor = (kind == Kind::Editor)
            .then(|| input::terminal(options.folder.history_file(), names.clone(), modes.clone()));
        let (lines, screen) = if let Some(Ok(editor)) = editor {
            editor
        } else {
            // A terminal that cannot have an editor still gets lines.
            mode = None;
            kind = if kind == Kind::Pipe { Kind::Pipe } else { Kind::Plain };
            let screen = if kind == Kind::Pipe { Screen::Pipe } else { Screen::plain() };
            (keyboard.piped().map_err(RpcError::no_threads)?, screen)
        };
        let screen = Arc::new(screen);
        let attachment = (kind != Kind::Pipe).then(|| {
            let (screen, owns_node) = (Arc::clone(&screen), options.owns_node);
            keyboard.suspender.attach(Attached { screen, modes, owns_node })
        });
        if kind != Kind::Pipe {
            let (screen, view) = (Arc::clone(&screen), View::new(options.color));
            logs_and_progress_aside(&options.folder, move |line| {
                // If progress cannot be shown, the work must still continue.
                let _ = screen.print(Flow::Talk, &view.dimmed(line));
            });
        }
        let (questions, asking) = Questions::new(kind, lines.asked.clone());
        let jobs = Jobs::new(client.clone(), ProgressMode::Lines, kind != Kind::Pipe, asking);
        let follower = follow(client.clone(), options.first_event);
        let view = View::new(options.color && kind != Kind::Plain);
        let talk = Talk::default();
        let (closing, deaf) = (false, false);
        Ok(Self {
            client,
            kind,
            names,
            view,
            talk,
            lines,
            screen,
            jobs,
            questions,
            follower,
            closing,
            deaf,
            owns_node: options.owns_node,
            moving: Moving::default(),
            invite: None,
            _attachment: attachment,
            mode,
        })
    }

    /// Shows the first screen.
    async fn greet(&mut self, options: &ConsoleOptions) -> Result<(), CommandError> {
        refresh(&self.client, &self.names).await;
        if let Ok(status) = self.client.status().await {
            let StatusReport { version, .. } = status;
            let from = if options.owns_node { "q stops it" } else { "q leaves it running" };
            let name = self.name();
            let welcome = format!("friendchain {version}: node {name}; h shows help, {from}");
            self.screen.print(Flow::Sentence, &welcome)?;
        }
        if self.kind != Kind::Pipe {
            if let Ok(list) = self.client.friends().await {
                self.view
                    .know(list.friends.iter().map(|friend| (friend.name.clone(), friend.peer_id)));
            }
            let last = start::last_lines(&self.client, &mut self.view).await;
            self.screen.print(Flow::Talk, &last)?;
            let paid = start::new_payments(&self.client, &self.view).await;
            self.screen.print(Flow::Talk, &paid)?;
        }
        self.ready();
        Ok(())
    }

    fn name(&self) -> String {
        Some(self.names.lock().own.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "friendchain".to_owned())
    }

    fn prompt(&self) -> String {
        if self.closing {
            return String::new();
        }
        if let Some(question) = self.questions.prompt() {
            return question;
        }
        match self.talk.name() {
            None => format!("{}> ", self.name()),
            Some(talk) => format!("{}→{}> ", self.name(), printable(talk)),
        }
    }

    /// Lets the editor read the next line.
    fn ready(&mut self) {
        let prompt = self.prompt();
        if let Some(mode) = &mut self.mode {
            mode.prompt_is_shown = !prompt.is_empty();
        }
        self.lines.ready(prompt);
    }

    async fn talk(&mut self, signals: &mut Signals) -> Result<Ended, CommandError> {
        loop {
            if let Some(invite) = self.invite.take() {
                return Ok(Ended::Move(invite));
            }
            self.jobs.start();
            if self.is_over()? {
                return Ok(Ended::Left);
            }
            let prompt = self.jobs.is_idle().then(|| self.prompt());
            self.screen.prompt(prompt.as_deref())?;
            match self.step(signals).await {
                Step::Input(input) => self.on_input(input).await?,
                Step::Answered(answered) => self.on_answer(answered?)?,
                Step::Heard(Some(Heard::Page(page))) => {
                    // An answer that is ready comes before the events that follow from it.
                    if let Some(answered) = self.jobs.next().now_or_never() {
                        self.on_answer(answered?)?;
                    }
                    self.on_page(&page)?;
                }
                Step::Heard(Some(Heard::Refused(why))) => {
                    self.say(&format!("* events are not shown: {why}"))?;
                }
                Step::Heard(Some(end)) => {
                    self.on_nodes_end(matches!(end, Heard::Died)).await?;
                    return Ok(Ended::Left);
                }
                Step::Heard(None) => self.deaf = true,
                Step::Asked(question) => {
                    self.screen.print(Flow::Sentence, &self.questions.open(question))?;
                }
                Step::Due => self.screen.print(Flow::Talk, &self.view.gathered())?,
                Step::Slow => self.say_delay()?,
                Step::CutInvite => self.say_cut_invite()?,
                Step::Signal(Ending::Interrupt) if self.interrupts() => self.interrupt()?,
                Step::Signal(_) => return Ok(Ended::Left),
            }
        }
    }

    async fn step(&mut self, signals: &mut Signals) -> Step {
        // Without a terminal, lines run one by one.
        let room = if self.kind == Kind::Pipe {
            self.jobs.is_idle()
        } else {
            !self.jobs.is_full() && !self.screen.is_full()
        };
        let (due, slow) = (self.view.due(), self.jobs.slow_at());
        let cut = self.moving.due();
        let asks = !self.closing && !self.questions.is_open();
        tokio::select! {
            input = self.lines.next(), if room && !self.closing => Step::Input(input),
            answered = self.jobs.next() => Step::Answered(answered),
            heard = self.follower.heard.recv(), if !self.deaf => Step::Heard(heard),
            question = self.questions.next(), if asks => Step::Asked(question),
            () = moment(due) => Step::Due,
            () = moment(slow) => Step::Slow,
            () = moment(cut) => Step::CutInvite,
            ending = signals.next() => Step::Signal(ending),
        }
    }

    /// True if the console closes and all lines typed before have been answered.
    fn is_over(&self) -> Result<bool, CommandError> {
        if !self.closing {
            return Ok(false);
        }
        let left = self.jobs.waiting();
        if self.jobs.only_slow_is_left() {
            if left > 0 {
                self.say(&format!(
                    "* lines that were not done, since a command is under way: {left}"
                ))?;
            }
            return Ok(true);
        }
        Ok(self.jobs.is_idle())
    }

    async fn on_input(&mut self, input: Input) -> Result<(), CommandError> {
        // Enter has moved the cursor off the prompt's line.
        self.screen.prompt(None)?;
        match input {
            Input::Lines(lines) => {
                for line in lines {
                    self.on_line(&line).await?;
                }
            }
            Input::Answer(line) => {
                if !self.questions.answer(line) {
                    self.say("* nothing asks for that any more: it was not sent")?;
                }
            }
            Input::End => {
                self.say_cut_invite()?;
                self.closing = true;
                self.questions.give_up();
            }
            Input::Interrupt if self.interrupts() => self.interrupt()?,
            Input::Interrupt => self.show("q, or Ctrl-D, quits")?,
            Input::TooLong => self.show("that line is too long, and was passed over")?,
            Input::Unreadable => self.show("that was no UTF-8, and was passed over")?,
        }
        // This console's line editor must not read while the next console starts.
        if self.invite.is_none() {
            self.ready();
        } else if let Some(mode) = &mut self.mode {
            mode.prompt_is_shown = false;
        }
        Ok(())
    }

    async fn on_line(&mut self, typed: &str) -> Result<(), CommandError> {
        if self.closing || self.invite.is_some() {
            return Ok(());
        }
        if !self.moving.continues(typed) {
            self.say_cut_invite()?;
        }
        let line = match self.moving.step(&self.client, typed, self.owns_node).await {
            Move::Pass => words::parse(typed, &self.talk),
            Move::Nothing => return Ok(()),
            Move::Say(text) => Line::Show(text),
            Move::Run(line) => words::parse(&line, &self.talk),
            Move::Move(invite) => {
                self.invite = Some(invite);
                return Ok(());
            }
        };
        match line {
            Line::Empty => {}
            Line::Quit => self.closing = true,
            Line::Show(text) => self.show(&text)?,
            Line::Help => self.screen.print(Flow::Talk, &words::help())?,
            Line::ChooseAll => {
                self.talk = Talk::Everybody;
                self.say(
                    "* to everybody from now on: a line that is no command goes to all friends",
                )?;
            }
            Line::ChooseFriend(friend) => self.choose(&friend).await?,
            line => {
                let waited = self.jobs.waiting();
                let renames = words::renames(&line);
                self.jobs.push(typed, line);
                self.jobs.start();
                if waited == 0 {
                    self.say_delay()?;
                }
                if renames {
                    self.await_name().await?;
                }
            }
        }
        Ok(())
    }

    /// Waits a moment for a new name, so that the next prompt shows it.
    async fn await_name(&mut self) -> Result<(), CommandError> {
        let Ok(answered) = timeout(CHOOSING, self.jobs.next()).await else { return Ok(()) };
        self.on_answer(answered?)?;
        // If the node does not answer in time, the next command asks again.
        let _ = timeout(CHOOSING, refresh(&self.client, &self.names)).await;
        Ok(())
    }

    /// Makes a friend the current conversation.
    async fn choose(&mut self, friend: &str) -> Result<(), CommandError> {
        let Ok(Ok(list)) = timeout(CHOOSING, self.client.friends()).await else {
            return self.show("the node did not list the friends: try again");
        };
        match find(&list, friend) {
            Ok(talk) => {
                let name = printable(talk.name().unwrap_or_default());
                self.talk = talk;
                self.say(&format!("* to {name} from now on: a line that is no command goes there"))
            }
            Err(why) => self.show(&why),
        }
    }

    fn on_answer(&mut self, answered: Answered) -> Result<(), CommandError> {
        self.names.see(&answered.text);
        if let Some(sent) = answered.sent {
            self.view.was_sent(sent.id, &sent.text, sent.state);
            let mark = self.view.mark(answered.text.trim_end(), self.kind != Kind::Pipe);
            self.screen.print(Flow::Talk, &mark)?;
        } else {
            self.screen.print(Flow::Answer, &answered.text)?;
        }
        if answered.changes_names {
            self.refresh_soon();
        }
        Ok(())
    }

    fn refresh_soon(&self) {
        let (client, names) = (self.client.clone(), self.names.clone());
        tokio::spawn(async move { refresh(&client, &names).await });
    }

    fn on_page(&mut self, page: &EventPage) -> Result<(), CommandError> {
        if page.missed > 0 {
            let were = if page.missed == 1 { "was" } else { "were" };
            self.say(&format!("* {} {were} missed", counted(page.missed, "event", "events")))?;
        }
        let changes_names = |event: &ConsoleEvent| {
            matches!(event, ConsoleEvent::FriendJoined { .. } | ConsoleEvent::Notice { .. })
        };
        if page.events.iter().any(changes_names) {
            self.refresh_soon();
        }
        let mut out = Vec::new();
        for event in &page.events {
            if let ConsoleEvent::ChatSent { id, text, .. } = event
                && self.jobs.is_own(text)
            {
                self.view.was_sent(id.clone(), text, None);
                continue;
            }
            out.extend(self.view.event(event, Instant::now()));
        }
        if out.is_empty() {
            return Ok(());
        }
        let text = out.join("\n");
        self.names.see(&text);
        self.screen.print(Flow::Talk, &text)?;
        let is_chat = |event: &ConsoleEvent| matches!(event, ConsoleEvent::Chat { .. });
        if page.events.iter().any(is_chat) && self.kind != Kind::Pipe {
            let client = self.client.clone();
            tokio::spawn(async move { start::mark_read(&client).await });
        }
        let is_mined = |event: &ConsoleEvent| {
            matches!(
                event,
                ConsoleEvent::Paid { height: Some(_), .. } | ConsoleEvent::PaidMany { .. }
            )
        };
        if page.events.iter().any(is_mined) && self.kind != Kind::Pipe {
            let client = self.client.clone();
            tokio::spawn(async move { start::mark_paid(&client).await });
        }
        Ok(())
    }

    /// Shows the last answers, and ends.
    async fn on_nodes_end(&mut self, died: bool) -> Result<(), CommandError> {
        while !self.jobs.is_idle() {
            let Ok(answered) = timeout(LAST_ANSWERS, self.jobs.next()).await else { break };
            self.on_answer(answered?)?;
            self.jobs.start();
        }
        self.screen.print(Flow::Talk, &self.view.gathered())?;
        if died {
            let sentence = "the node has ended without a word: start it again, and read its log";
            return Err(RpcError::new("node_gone", sentence).into());
        }
        self.show("the node has ended")
    }

    /// True if an interrupt ends the wait for a command, and not the console.
    fn interrupts(&self) -> bool {
        self.kind != Kind::Pipe && !self.jobs.is_idle()
    }

    /// Ends the wait for the answer of the running command. The node may still carry it out.
    fn interrupt(&mut self) -> Result<(), CommandError> {
        let was_asked = self.questions.is_open();
        self.questions.give_up();
        match self.jobs.give_up() {
            Some(title) if was_asked => self.say(&format!("* {title} is given up")),
            Some(title) => self.say(&format!("* no longer waits for {title}; the node may go on")),
            None => Ok(()),
        }
    }

    fn say_delay(&self) -> Result<(), CommandError> {
        self.jobs.delay().map_or(Ok(()), |sentence| self.say(&sentence))
    }

    /// Tells the user that rows of an invite are missing.
    fn say_cut_invite(&mut self) -> Result<(), CommandError> {
        self.moving.missing().map_or(Ok(()), |sentence| self.show(&sentence))
    }

    /// Prints a sentence of the console's own.
    fn say(&self, sentence: &str) -> Result<(), CommandError> {
        Ok(self.screen.print(Flow::Talk, &self.view.dimmed(sentence))?)
    }

    /// Prints an answer of the console's own.
    fn show(&self, sentence: &str) -> Result<(), CommandError> {
        Ok(self.screen.print(Flow::Sentence, sentence)?)
    }
}

/// Waits until a moment. Never returns if there is none.
async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Finds the friend that a text names: a name, a name with an id suffix, or a peer id.
fn find(list: &FriendList, friend: &str) -> Result<Talk, String> {
    let (name, suffix) = friend.split_once('#').unwrap_or((friend, ""));
    let is_exact =
        |known: &&FriendView| known.name == friend || known.peer_id.to_string() == friend;
    let is_near = |known: &&FriendView| {
        let base = known.name.split('#').next().unwrap_or_default();
        base == name && known.suffix.starts_with(suffix)
    };
    let mut found: Vec<_> = list.friends.iter().filter(is_exact).collect();
    if found.is_empty() {
        found = list.friends.iter().filter(is_near).collect();
    }
    match found.as_slice() {
        [one] => Ok(Talk::Friend { name: friend.to_owned(), peer: one.peer_id }),
        [] => Err(format!("no friend is called '{}': lf lists all of them", printable(friend))),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|known| {
                    let base = known.name.split('#').next().unwrap_or_default();
                    format!("{}#{}", printable(base), known.suffix)
                })
                .collect();
            Err(format!("several friends are called so: type {}", names.join(" or ")))
        }
    }
}

/// Fetches the own name, and the names and addresses for completion.
async fn refresh(client: &Client, names: &SharedNames) {
    if let Ok(status) = client.status().await {
        names.lock().own = printable(&status.name);
    }
    if let Ok(list) = client.friends().await {
        let mut known: Vec<_> = list.friends.into_iter().map(|friend| friend.name).collect();
        known.sort_unstable();
        known.dedup();
        names.lock().friends = known;
    }
    if let Ok(list) = client.list_addresses().await {
        let addresses = list.addresses.iter().map(|entry| entry.address.to_string());
        names.lock().addresses = addresses.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        primitives::{PeerId, PublicKey},
        rpc::types::FriendLevel,
    };

    fn friend(name: &str, byte: u8) -> FriendView {
        FriendView {
            name: name.to_owned(),
            suffix: format!("{byte:02x}3f"),
            peer_id: PeerId(PublicKey([byte; 32])),
            level: FriendLevel::Friend,
            online: true,
            address: None,
            last_seen: None,
            path: None,
            through: None,
            why: None,
        }
    }

    #[test]
    fn a_conversation_is_chosen_by_name_suffix_or_peer_id() {
        let friends = vec![friend("yzw", 1), friend("yzw#023f", 2), friend("yjf", 3)];
        let list = FriendList { friends, ..FriendList::default() };
        let peer = |typed: &str| match find(&list, typed) {
            Ok(Talk::Friend { peer, .. }) => Ok(peer.0.0[0]),
            Ok(other) => panic!("{other:?}"),
            Err(why) => Err(why),
        };
        assert_eq!(peer("yzw"), Ok(1), "the friend known first has the plain name");
        assert_eq!(peer("yzw#02"), Ok(2));
        assert_eq!(peer(&list.friends[2].peer_id.to_string()), Ok(3));
        assert!(peer("nobody").expect_err("unknown").contains("'nobody'"));
        let twins = vec![friend("sr", 4), friend("sr", 5)];
        let twins = FriendList { friends: twins, ..FriendList::default() };
        let why = find(&twins, "sr").expect_err("two of them");
        assert!(why.contains("sr#043f or sr#053f"), "{why}");
    }
}
