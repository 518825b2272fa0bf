//! Answers about friends and chat, and turns the router's notices into events for consoles.

use super::reach::try_view;
use crate::{
    chain::Divergence,
    friends::{ChatRecord, Departure, FriendInfo, FriendsEvent, LineState},
    node::{
        clock::now,
        router::{ENDED_AFTER, News},
    },
    peers::Level,
    primitives::printable,
    rpc::types::{ChatMessage, ChatState, ConsoleEvent, FriendLevel, FriendView},
};

pub(super) fn friend_view(friend: FriendInfo) -> FriendView {
    FriendView {
        name: printable(&friend.name),
        suffix: friend.suffix,
        peer_id: friend.peer_id,
        level: match friend.level {
            _ if friend.blocked => FriendLevel::Blocked,
            Level::Friend => FriendLevel::Friend,
            // The list contains no strangers.
            Level::Introduced | Level::Stranger => FriendLevel::Introduced,
        },
        online: friend.online,
        address: friend.address,
        last_seen: if friend.online { Some(now()) } else { friend.last_seen },
        path: None,
        through: None,
        why: None,
    }
}

pub(super) fn chat_message(record: ChatRecord) -> ChatMessage {
    ChatMessage {
        id: record.id.to_string(),
        from: printable(&record.from_name),
        to: record.to_name.map(|name| printable(&name)),
        text: record.text,
        time: record.time,
        state: match record.state {
            LineState::Queued => ChatState::Queued,
            LineState::Delivered => ChatState::Delivered,
            LineState::Refused => ChatState::Refused,
            LineState::Sent => ChatState::Sent,
            LineState::Received => ChatState::Received,
        },
        left_with: record.left_with,
    }
}

/// Turns a notice of the router into an event for consoles.
pub(crate) fn console_event(news: News) -> ConsoleEvent {
    match news {
        News::BlocksConnected { hash, height, count, notes } => {
            ConsoleEvent::BlockConnected { hash, height, count, notes }
        }
        News::Synced { height, blocks } => ConsoleEvent::Synced { height, blocks },
        News::Reorganised { tip, height, disconnected } => {
            ConsoleEvent::Reorganised { tip, height, disconnected }
        }
        News::Diverged(Divergence { fork_height, ours, theirs, .. }) => ConsoleEvent::Diverged {
            tip: ours.hash,
            height: ours.height,
            branch: theirs.hash,
            branch_height: theirs.height,
            fork_height,
        },
        News::Reunited { tip, height } => ConsoleEvent::Reunited { tip, height },
        News::TradeMined { txid, kind, block, height, was_void } => {
            ConsoleEvent::TradeMined { txid, kind, block, height, was_void }
        }
        News::TradeVoid { txid, kind, reason } => ConsoleEvent::TradeVoid { txid, kind, reason },
        News::CopyRuns { address } => ConsoleEvent::Notice { text: copy_text(address) },
        News::CopyEnded { address } => ConsoleEvent::Notice { text: copy_ended_text(address) },
        News::NoWay { attempt, name } => {
            let tried = try_view(attempt);
            let who = name.map_or_else(String::new, |name| format!("{} at ", printable(&name)));
            ConsoleEvent::Notice { text: format!("{who}{}: {}", tried.place(), tried.words()) }
        }
        News::Friend(event) => friends_event(event),
        News::Back { away_ms, friends, lines } => ConsoleEvent::Back { away_ms, friends, lines },
    }
}

fn copy_text(address: Option<String>) -> String {
    let place = address.map_or_else(|| "somewhere".to_owned(), |address| format!("at {address}"));
    printable(&format!(
        "WARNING: a copy of this node's folder runs {place}: stop one of the two, since lines and \
         payments get lost between them"
    ))
}

fn copy_ended_text(address: Option<String>) -> String {
    match address {
        Some(address) => {
            printable(&format!("the copy of this node's folder at {address} has ended"))
        }
        None => format!(
            "the copy of this node's folder was not seen for {} minutes: it has ended, or it is \
             out of reach",
            ENDED_AFTER.as_secs() / 60
        ),
    }
}

fn friends_event(event: FriendsEvent) -> ConsoleEvent {
    match event {
        FriendsEvent::Joined { peer, name } => {
            ConsoleEvent::FriendJoined { name: printable(&name), peer_id: peer }
        }
        FriendsEvent::Left { peer, name, how } => ConsoleEvent::FriendLeft {
            name: printable(&name),
            peer_id: peer,
            quit: how == Departure::Quit,
        },
        FriendsEvent::Renamed { old, new, .. } => {
            ConsoleEvent::Notice { text: printable(&format!("{old} is called {new} now")) }
        }
        FriendsEvent::Asks { name, .. } => ConsoleEvent::Notice {
            text: printable(&format!("{name} wants to be your friend: accept-friend {name}")),
        },
        FriendsEvent::Introduced { name, by, .. } => {
            let by = by.map_or_else(String::new, |by| format!(", introduced by {by},"));
            let text = format!("{name}{by} is no friend yet: accept-friend {name}");
            ConsoleEvent::Notice { text: printable(&text) }
        }
        FriendsEvent::Requested { name, .. } => ConsoleEvent::Notice {
            text: printable(&format!(
                "{name}, who is no friend yet, wrote: accept-friend {name} shows it in the chat \
                 (history --requests reads it first)"
            )),
        },
        FriendsEvent::Sent(record) => ConsoleEvent::ChatSent {
            id: record.id.to_string(),
            to: record.to_name.map(|name| printable(&name)),
            text: record.text,
            time: record.time,
        },
        FriendsEvent::Received(record) => ConsoleEvent::Chat {
            id: record.id.to_string(),
            peer_id: record.from,
            from: printable(&record.from_name),
            text: record.text,
            direct: record.to.is_some(),
            time: record.time,
        },
        FriendsEvent::LeftWith { id, name, friends, .. } => {
            ConsoleEvent::ChatLeft { to: printable(&name), id: id.to_string(), friends }
        }
        FriendsEvent::Delivered { id, name, .. } => {
            ConsoleEvent::ChatDelivered { to: printable(&name), id: id.to_string() }
        }
        FriendsEvent::Refused { name, why, .. } => ConsoleEvent::Notice {
            text: printable(&format!("{name} refuses your line ({why:?}): it is not sent again")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::router::{Attempt, Failure},
        primitives::{PeerId, PublicKey},
    };

    fn text(news: News) -> String {
        match console_event(news) {
            ConsoleEvent::Notice { text } => text,
            other => panic!("{other:?} is no notice"),
        }
    }

    #[test]
    fn notices_name_the_person_and_the_command() {
        let peer = PeerId(PublicKey([1; 32]));
        let attempt = Attempt {
            address: "/ip6/fd00::2/tcp/8891".to_owned(),
            peer: Some(peer),
            by_user: true,
            failure: Some((Failure::OtherNetwork, String::new())),
            failures: 1,
        };
        let name = Some("ann".to_owned());
        let said = text(News::NoWay { attempt: attempt.clone(), name });
        assert!(said.starts_with("ann at [fd00::2]:8891: that node is on another chain"), "{said}");
        let said = text(News::NoWay { attempt, name: None });
        assert!(said.starts_with("[fd00::2]:8891: "), "{said}");

        let (name, by) = ("sr".to_owned(), Some("yjf".to_owned()));
        let introduced = FriendsEvent::Introduced { peer, name: name.clone(), by };
        assert_eq!(
            text(News::Friend(introduced)),
            "sr, introduced by yjf, is no friend yet: accept-friend sr"
        );
        let said = text(News::Friend(FriendsEvent::Requested { peer, name }));
        assert!(said.contains("accept-friend sr"), "{said}");
    }
}
