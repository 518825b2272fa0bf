//! Formats events: time and coloured sender on each chat line, days, and few lines about presence.
//!
//! Nothing here prints or breaks lines. The console asks for the text of an event, and later for
//! the events that were gathered.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use tokio::time::Instant;

use crate::{
    commands::{
        chat_text::{left_with, mark as chat_mark},
        columns::STYLE,
        text::event_line,
    },
    primitives::{PeerId, UnixMillis, printable, shown},
    rpc::types::{ChatMessage, ChatState, ConsoleEvent},
};

/// The time for which arrivals, departures and deliveries are gathered into one line each.
const GATHERING: Duration = Duration::from_secs(1);

/// The most names that one line of arrivals lists; the others are counted.
const LISTED: usize = 3;

/// The number of own lines that are remembered for their delivery marks.
const REMEMBERED: usize = 256;

/// The longest part of an own line that its delivery mark repeats, in characters.
const QUOTED: usize = 40;

/// Colours of senders from the palette of 256, readable on a dark and on a light background.
const SENDERS: [u8; 12] = [33, 37, 64, 71, 97, 130, 133, 136, 161, 166, 172, 203];

/// The texts of own lines; `None` where unknown.
type Texts = Vec<Option<String>>;

/// A change of a friend's presence while events are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Left,
    Lost,
}

/// The formatter of a console's events.
pub(super) struct View {
    color: bool,
    zone: TimeZone,
    /// The day of the last line shown.
    day: Date,
    /// Ids and texts of own lines, oldest first.
    sent: VecDeque<(String, String)>,
    /// Ids of lines whose delivery was already reported with the command's answer.
    told: VecDeque<String>,
    /// Ids of the lines that the first screen showed.
    seen: Vec<String>,
    peers: HashMap<String, PeerId>,
    presence: Vec<(PeerId, String, Presence)>,
    delivered: Vec<(String, String)>,
    /// Receivers and ids of lines that friends keep, each with the number of friends.
    left: Vec<(String, String, u32)>,
    /// Ids of lines that were already reported as left.
    told_left: VecDeque<String>,
    /// The moment at which the gathered events are shown.
    due: Option<Instant>,
}

impl View {
    pub(super) fn new(color: bool) -> Self {
        let zone = TimeZone::system();
        let day = Timestamp::now().to_zoned_datetime(zone.clone()).date();
        Self {
            color,
            zone,
            day,
            sent: VecDeque::new(),
            told: VecDeque::new(),
            seen: Vec::new(),
            peers: HashMap::new(),
            presence: Vec::new(),
            delivered: Vec::new(),
            left: Vec::new(),
            told_left: VecDeque::new(),
            due: None,
        }
    }

    /// Sets the peers behind the names, which give names their colours.
    pub(super) fn know(&mut self, peers: impl Iterator<Item = (String, PeerId)>) {
        self.peers = peers.collect();
    }

    /// Returns a message of the node, dimmed.
    pub(super) fn dimmed(&self, text: &str) -> String {
        self.styled("2", text)
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.color { format!("{STYLE}{style}m{text}{STYLE}0m") } else { text.to_owned() }
    }

    /// Returns a sender's name in its colour, the same in every console.
    fn sender(&self, name: &str, peer: Option<&PeerId>) -> String {
        let bytes = peer.map_or(name.as_bytes(), |peer| &peer.0.0[..]);
        // FNV-1a with mixed bits, so that names and ids that differ in one letter get different
        // colours.
        let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        let hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        let hash = hash ^ (hash >> 13);
        let palette = u32::try_from(SENDERS.len()).unwrap_or(1);
        let at = usize::try_from(hash.checked_rem(palette).unwrap_or(0)).unwrap_or(0);
        let color = SENDERS.get(at).copied().unwrap_or_default();
        self.styled(&format!("1;38;5;{color}"), &printable(name))
    }

    /// Returns the local time of a chat line, after a line with the day if it is a new one.
    fn clock(&mut self, time: UnixMillis) -> String {
        let time = i64::try_from(time).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
        let local = time.unwrap_or(Timestamp::MAX).to_zoned_datetime(self.zone.clone());
        let clock = self.dimmed(&local.strftime("%H:%M").to_string());
        if local.date() == self.day {
            return clock;
        }
        self.day = local.date();
        let day = self.dimmed(&local.strftime("-- %A, %-d %B %Y --").to_string());
        format!("{day}\n{clock}")
    }

    /// Returns the answer to a chat line typed here, with the time on a terminal.
    pub(super) fn mark(&mut self, answer: &str, timed: bool) -> String {
        if !timed {
            return answer.to_owned();
        }
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        format!("{} {}", self.clock(now), self.styled("2", answer))
    }

    /// Returns a line of the history that is shown at the start.
    pub(super) fn message(&mut self, message: &ChatMessage) -> String {
        self.seen.push(message.id.clone());
        let peer = self.peers.get(&message.from).copied();
        let own = matches!(
            message.state,
            ChatState::Queued | ChatState::Delivered | ChatState::Refused | ChatState::Sent
        );
        let to = match &message.to {
            None => " to all".to_owned(),
            Some(to) if own => format!(" to {}", printable(to)),
            Some(_) => String::new(),
        };
        let mark = chat_mark(message).map(|mark| format!(" ({mark})")).unwrap_or_default();
        if own {
            self.remember(message.id.clone(), &message.text);
        }
        let from = self.sender(&message.from, peer.as_ref());
        let text = format!("{}{mark}", shown(&message.text));
        self.line(message.time, &format!("{from}{to}: "), &text)
    }

    /// Formats a chat line with its time.
    fn line(&mut self, time: UnixMillis, head: &str, text: &str) -> String {
        format!("{} {head}{text}", self.clock(time))
    }

    fn remember(&mut self, id: String, text: &str) {
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((id, text.to_owned()));
    }

    /// Remembers a line that this console has sent, with the state in its answer.
    pub(super) fn was_sent(&mut self, id: String, text: &str, state: Option<ChatState>) {
        if state == Some(ChatState::Delivered) {
            if self.told.len() >= REMEMBERED {
                self.told.pop_front();
            }
            self.told.push_back(id.clone());
        }
        self.remember(id, text);
    }

    /// Returns the text of an event that is shown at once. Other events are gathered.
    pub(super) fn event(&mut self, event: &ConsoleEvent, now: Instant) -> Option<String> {
        let presence = match event {
            ConsoleEvent::Chat { id, peer_id, from, text, direct, time } => {
                if self.seen.contains(id) {
                    return None;
                }
                let from = self.sender(from, Some(peer_id));
                let to = if *direct { "" } else { " to all" };
                return Some(self.line(*time, &format!("{from}{to}: "), &shown(text)));
            }
            ConsoleEvent::ChatSent { id, to, text, time } => {
                if self.seen.contains(id) {
                    return None;
                }
                self.remember(id.clone(), text);
                let to = printable(to.as_deref().unwrap_or("all"));
                return Some(self.line(*time, &format!("you to {to}: "), &shown(text)));
            }
            ConsoleEvent::ChatLeft { to, id, friends } => {
                // Reported once for a line, even if further friends keep it later.
                if !self.told_left.contains(id) {
                    self.left.retain(|(_, other, _)| other != id);
                    self.left.push((to.clone(), id.clone(), *friends));
                    self.due.get_or_insert_with(|| now.checked_add(GATHERING).unwrap_or(now));
                }
                return None;
            }
            ConsoleEvent::ChatDelivered { to, id } => {
                self.delivered.push((to.clone(), id.clone()));
                self.due.get_or_insert_with(|| now.checked_add(GATHERING).unwrap_or(now));
                return None;
            }
            ConsoleEvent::FriendJoined { name, peer_id } => (*peer_id, name, Presence::Here),
            ConsoleEvent::FriendLeft { name, peer_id, quit: true } => {
                (*peer_id, name, Presence::Left)
            }
            ConsoleEvent::FriendLeft { name, peer_id, quit: false } => {
                (*peer_id, name, Presence::Lost)
            }
            other => return Some(self.dimmed(&shown(&event_line(other)))),
        };
        self.presence.retain(|(peer, ..)| *peer != presence.0);
        self.presence.push((presence.0, presence.1.clone(), presence.2));
        self.due.get_or_insert_with(|| now.checked_add(GATHERING).unwrap_or(now));
        None
    }

    /// Returns the moment at which [`View::gathered`] has something to show.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns the gathered events: one line for each kind, however many there were.
    pub(super) fn gathered(&mut self) -> String {
        self.due = None;
        let mut out = Vec::new();
        let presence = std::mem::take(&mut self.presence);
        for (kind, one, many) in [
            (Presence::Here, "is here", "are here"),
            (Presence::Left, "has left", "have left"),
            (
                Presence::Lost,
                "is gone: the connection was lost",
                "are gone: the connections were lost",
            ),
        ] {
            let of_kind = presence.iter().filter(|(.., presence)| *presence == kind);
            let names: Vec<_> = of_kind.map(|(_, name, _)| printable(name)).collect();
            match names.as_slice() {
                [] => {}
                [name] => out.push(self.dimmed(&format!("* {name} {one}"))),
                _ => out.push(self.dimmed(&format!("* {} {many}", listed(&names)))),
            }
        }
        for ((to, friends), lines) in self.left() {
            let (left, to, what) = (left_with(friends), printable(&to), which(&lines));
            out.push(self.dimmed(&format!("* {left} for {to}: {what}")));
        }
        for (to, lines) in self.deliveries() {
            let what = which(&lines);
            out.push(self.dimmed(&format!("* delivered to {}: {what}", printable(&to))));
        }
        out.join("\n")
    }

    /// Returns the gathered lines that friends keep, by receiver and number of friends, with the
    /// texts that are known.
    fn left(&mut self) -> Vec<((String, u32), Texts)> {
        let mut all: Vec<((String, u32), Texts)> = Vec::new();
        for (to, id, friends) in std::mem::take(&mut self.left) {
            let text = self.text_of(&id);
            if self.told_left.len() >= REMEMBERED {
                self.told_left.pop_front();
            }
            self.told_left.push_back(id);
            match all.iter_mut().find(|(of, _)| *of == (to.clone(), friends)) {
                Some((_, lines)) => lines.push(text),
                None => all.push(((to, friends), vec![text])),
            }
        }
        all
    }

    fn text_of(&self, id: &str) -> Option<String> {
        self.sent.iter().find(|(sent, _)| sent == id).map(|(_, text)| text.clone())
    }

    /// Returns the gathered deliveries of each friend, with the texts that are known.
    fn deliveries(&mut self) -> Vec<(String, Vec<Option<String>>)> {
        let mut by_friend: Vec<(String, Vec<Option<String>>)> = Vec::new();
        for (to, id) in std::mem::take(&mut self.delivered) {
            if self.told.contains(&id) {
                continue;
            }
            let text = self.text_of(&id);
            match by_friend.iter_mut().find(|(friend, _)| *friend == to) {
                Some((_, lines)) => lines.push(text),
                None => by_friend.push((to, vec![text])),
            }
        }
        by_friend
    }
}

/// Returns words for a set of own lines whose texts may be unknown.
fn which(lines: &[Option<String>]) -> String {
    match lines {
        [Some(text)] => quote(text),
        [None] => "a line of yours".to_owned(),
        lines => format!("{} of your lines", lines.len()),
    }
}

/// Lists names: `yzw, yjf and sr`, or `yzw, yjf, sr and 4 more`.
fn listed(names: &[String]) -> String {
    match names.split_at_checked(LISTED) {
        Some((first, rest @ [_, _, ..])) => format!("{} and {} more", first.join(", "), rest.len()),
        _ => match names.split_last() {
            Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            _ => names.concat(),
        },
    }
}

/// Returns the beginning of a line, on one line.
fn quote(text: &str) -> String {
    let line = printable(text.lines().next().unwrap_or_default());
    let mut beginning: String = line.chars().take(QUOTED).collect();
    if beginning.len() < line.len() || text.lines().nth(1).is_some() {
        beginning.push('…');
    }
    beginning
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    const NOON: UnixMillis = 1_763_000_000_000;
    const DAY_MS: UnixMillis = 86_400_000;

    fn peer(byte: u8) -> PeerId {
        PeerId(PublicKey([byte; 32]))
    }

    fn chat(text: &str, time: UnixMillis) -> ConsoleEvent {
        ConsoleEvent::Chat {
            id: "1".to_owned(),
            peer_id: peer(1),
            from: "yzw".to_owned(),
            text: text.to_owned(),
            direct: true,
            time,
        }
    }

    fn show(view: &mut View, event: &ConsoleEvent) -> String {
        view.event(event, Instant::now()).expect("shown at once")
    }

    #[test]
    fn a_chat_line_shows_its_time_and_a_new_day_once() {
        let mut view = View::new(false);
        view.zone = TimeZone::UTC;
        let first = show(&mut view, &chat("Good morning", NOON));
        assert_eq!(first, "-- Thursday, 13 November 2025 --\n02:13 yzw: Good morning");
        assert_eq!(show(&mut view, &chat("again", NOON)), "02:13 yzw: again");
        let next = show(&mut view, &chat("next day", NOON + DAY_MS));
        assert!(next.starts_with("-- Friday, 14 November 2025 --\n"), "{next}");
    }

    #[test]
    fn a_sender_keeps_a_colour_and_none_is_written_without() {
        let view = View::new(true);
        assert_eq!(view.sender("yzw", Some(&peer(1))), view.sender("yzw", Some(&peer(1))));
        let colors: std::collections::HashSet<_> =
            (0..60).map(|byte| view.sender("yzw", Some(&peer(byte)))).collect();
        assert!(colors.len() > 6, "{}", colors.len());
        assert!(view.dimmed("* x").starts_with("\u{1b}[2m"));
        assert!(!show(&mut View::new(false), &chat("x", NOON)).contains('\u{1b}'));
    }

    #[test]
    fn many_arrivals_are_one_line_and_who_comes_and_goes_is_named_once() {
        let mut view = View::new(false);
        let now = Instant::now();
        for (byte, name) in [(1, "yzw"), (2, "yjf"), (3, "sr"), (4, "hjs"), (5, "xzq")] {
            let event = ConsoleEvent::FriendJoined { name: name.to_owned(), peer_id: peer(byte) };
            assert_eq!(view.event(&event, now), None);
        }
        let left =
            ConsoleEvent::FriendLeft { name: "yzw".to_owned(), peer_id: peer(1), quit: true };
        assert_eq!(view.event(&left, now), None);
        assert!(view.due().is_some());
        assert_eq!(view.gathered(), "* yjf, sr, hjs and xzq are here\n* yzw has left");
        assert_eq!((view.due(), view.gathered()), (None, String::new()));
    }

    #[test]
    fn a_delivery_names_its_line_unless_the_answer_has_told_it() {
        let mut view = View::new(false);
        view.was_sent("a".to_owned(), "read this later", Some(ChatState::Queued));
        view.was_sent("b".to_owned(), "hello", Some(ChatState::Delivered));
        for id in ["a", "b"] {
            let event = ConsoleEvent::ChatDelivered { to: "yjf".to_owned(), id: id.to_owned() };
            assert_eq!(view.event(&event, Instant::now()), None);
        }
        assert_eq!(view.gathered(), "* delivered to yjf: read this later");
    }

    #[test]
    fn a_line_that_friends_keep_is_told_once() {
        let mut view = View::new(false);
        view.was_sent("a".to_owned(), "read this later", Some(ChatState::Queued));
        let left = |id: &str, friends| ConsoleEvent::ChatLeft {
            to: "yjf".to_owned(),
            id: id.to_owned(),
            friends,
        };
        for friends in [1, 2] {
            assert_eq!(view.event(&left("a", friends), Instant::now()), None);
        }
        assert_eq!(view.gathered(), "* left with 2 friends for yjf: read this later");
        for id in ["a", "b", "c"] {
            assert_eq!(view.event(&left(id, 3), Instant::now()), None);
        }
        assert_eq!(view.gathered(), "* left with 3 friends for yjf: 2 of your lines");
    }

    #[test]
    fn no_event_can_move_the_terminals_cursor() {
        let evil = "\u{1b}[2J\u{9b}1m\rx\u{8}\u{202e}";
        let text = || evil.to_owned();
        let hash = crate::primitives::BlockHash([1; 32]);
        let mut view = View::new(false);
        for event in [
            ConsoleEvent::Chat {
                id: text(),
                peer_id: peer(1),
                from: text(),
                text: text(),
                direct: false,
                time: NOON,
            },
            ConsoleEvent::ChatSent { id: text(), to: Some(text()), text: text(), time: NOON },
            ConsoleEvent::ChatDelivered { to: text(), id: text() },
            ConsoleEvent::ChatLeft { to: text(), id: text(), friends: 2 },
            ConsoleEvent::FriendJoined { name: text(), peer_id: peer(1) },
            ConsoleEvent::FriendLeft { name: text(), peer_id: peer(2), quit: false },
            ConsoleEvent::BlockConnected { hash, height: 1, count: 1, notes: vec![text()] },
            ConsoleEvent::TradeVoid {
                txid: crate::primitives::TxId([1; 32]),
                kind: crate::primitives::TransactionKind::Note,
                reason: text(),
            },
            ConsoleEvent::Notice { text: text() },
        ] {
            let mut shown = view.event(&event, Instant::now()).unwrap_or_default();
            shown.push_str(&view.gathered());
            let harmful = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!shown.is_empty() && !shown.contains(harmful), "{shown:?}");
        }
    }
}
