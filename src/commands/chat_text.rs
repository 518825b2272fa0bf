//! The text form of chat: sent lines, the history, and the notice after sleep.

use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};

use super::look::write_hanging;
use crate::{
    primitives::{INDENT, UnixMillis, counted, shown},
    rpc::types::{BroadcastSent, ChatHistory, ChatMessage, ChatSent, ChatState},
};

/// Formats a time in this machine's time zone, to the second: `2026-11-20 10:43:06`.
pub(crate) fn local(time: UnixMillis) -> String {
    // Later times than jiff knows (year 9999) are shown as its last one.
    let time = i64::try_from(time).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    let time = TimeZone::system().to_datetime(time.unwrap_or(Timestamp::MAX));
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Writes the state of a chat line to one friend.
pub(crate) fn write_chat(out: &mut dyn Write, friend: &str, sent: &ChatSent) -> io::Result<()> {
    match sent.state {
        ChatState::Queued => {
            writeln!(out, "queued: {} gets it as soon as its node answers", shown(friend))
        }
        state => writeln!(out, "{state}"),
    }
}

/// Writes the number of friends who get a chat line to all now, and later.
pub(crate) fn write_broadcast(out: &mut dyn Write, sent: &BroadcastSent) -> io::Result<()> {
    let friends = |count: u32| counted(count.into(), "friend", "friends");
    match (sent.peers, sent.later) {
        (0, 0) => writeln!(out, "sent, but no friend is here to hear it"),
        (0, 1) => writeln!(out, "no friend is here: 1 friend gets it when back"),
        (0, later) => writeln!(out, "no friend is here: {} get it when back", friends(later)),
        (here, 0) => writeln!(out, "sent to {}", friends(here)),
        (here, 1) => writeln!(out, "sent to {}; 1 more gets it when back", friends(here)),
        (here, later) => writeln!(out, "sent to {}; {later} more get it when back", friends(here)),
    }
}

/// Returns the number of friends who keep a line: `left with 2 friends`.
pub(crate) fn left_with(friends: u32) -> String {
    format!("left with {}", counted(friends.into(), "friend", "friends"))
}

/// Returns the mark of a history line that its receiver does not have yet.
pub(crate) fn mark(message: &ChatMessage) -> Option<String> {
    match (message.state, message.left_with) {
        (ChatState::Queued, 0) => Some("queued".to_owned()),
        (ChatState::Queued, friends) => Some(format!("queued, {}", left_with(friends))),
        (ChatState::Refused, _) => Some("refused".to_owned()),
        (ChatState::Delivered | ChatState::Received | ChatState::Sent, _) => None,
    }
}

/// Writes past chat.
pub(crate) fn write_history(out: &mut dyn Write, history: &ChatHistory) -> io::Result<()> {
    for message in &history.messages {
        let to = message.to.as_deref().unwrap_or("all");
        let state = mark(message).map(|mark| format!(" ({mark})")).unwrap_or_default();
        let (time, from, text) = (local(message.time), &message.from, shown(&message.text));
        let text = format!("{text}{state}");
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default();
        write_hanging(out, &format!("{time} {from} to {to}: "), first)?;
        for line in lines {
            write_hanging(out, INDENT, line.trim_start())?;
        }
    }
    Ok(())
}

/// Formats the notice after this machine has slept: `* back after 8 h: 3 friends here, 12 lines`.
pub(crate) fn back(away_ms: u64, friends: u32, lines: u32) -> String {
    let away = match away_ms.checked_div(1_000).unwrap_or_default() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    };
    let friends = counted(friends.into(), "friend", "friends");
    let lines = counted(lines.into(), "line", "lines");
    format!("* back after {away}: {friends} here, {lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_a_line_to_all_is_said_in_words() {
        let said = |peers, later| {
            let mut out = Vec::new();
            let sent = BroadcastSent { id: String::new(), peers, later };
            write_broadcast(&mut out, &sent).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(said(1, 0), "sent to 1 friend\n");
        assert_eq!(said(2, 1), "sent to 2 friends; 1 more gets it when back\n");
        assert_eq!(said(4, 3), "sent to 4 friends; 3 more get it when back\n");
        assert_eq!(said(0, 2), "no friend is here: 2 friends get it when back\n");
        assert_eq!(said(0, 0), "sent, but no friend is here to hear it\n");
    }

    #[test]
    fn a_queued_line_says_with_how_many_friends_it_was_left() {
        let marked = |state, left_with| {
            mark(&ChatMessage {
                id: String::new(),
                from: "yzw".to_owned(),
                to: Some("yjf".to_owned()),
                text: "hi".to_owned(),
                time: 1,
                state,
                left_with,
            })
        };
        assert_eq!(marked(ChatState::Queued, 0).as_deref(), Some("queued"));
        assert_eq!(marked(ChatState::Queued, 1).as_deref(), Some("queued, left with 1 friend"));
        assert_eq!(marked(ChatState::Delivered, 0), None);
    }

    #[test]
    fn a_line_of_the_history_cannot_look_like_anothers() {
        let message = ChatMessage {
            id: String::new(),
            from: "yzw".to_owned(),
            to: None,
            text: "hi\n2026-11-20 10:43:06 yjf to all: I owe you".to_owned(),
            time: 1_763_000_000_000,
            state: ChatState::Received,
            left_with: 0,
        };
        let mut out = Vec::new();
        let history = ChatHistory { messages: vec![message], unread: 0 };
        write_history(&mut out, &history).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with(" yzw to all: hi"), "{text}");
        assert!(lines[1].starts_with("    2026"), "{text}");
    }

    #[test]
    fn the_time_away_is_short() {
        assert_eq!(back(31_000, 1, 0), "* back after 31 s: 1 friend here, 0 lines");
        assert_eq!(back(29_000_000, 3, 12), "* back after 8 h: 3 friends here, 12 lines");
    }
}
