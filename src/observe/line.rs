//! One line of a node's JSON log: its time, event and fields.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use crate::telemetry::events;

/// The longest line that is read into memory, in bytes; longer ones count as broken. A node's own
/// lines are under 2 kB.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// Microseconds since 1970, by the clock of the node that wrote the line.
pub(super) type Micros = i64;

/// The events that `observe` uses, among those that `telemetry/events.rs` declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Listening,
    NodeStarted,
    NodeStopped,
    LogSuppressed,
    PeerConnected,
    PeerDisconnected,
    PeerPenalised,
    GossipDeaf,
    FriendJoined,
    FriendLeft,
    BlockMined,
    BlockConnected,
    BlockDisconnected,
    Reorganised,
    SyncStalled,
    TradeAccepted,
    TradeRefused,
    ChatSent,
    ChatReceived,
    ChatDelivered,
}

impl Event {
    /// Returns the event with this name; `None` if `observe` does not use it.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            events::Listening::NAME => Self::Listening,
            events::NodeStarted::NAME => Self::NodeStarted,
            events::NodeStopped::NAME => Self::NodeStopped,
            events::LogSuppressed::NAME => Self::LogSuppressed,
            events::PeerConnected::NAME => Self::PeerConnected,
            events::PeerDisconnected::NAME => Self::PeerDisconnected,
            events::PeerPenalised::NAME => Self::PeerPenalised,
            events::GossipDeaf::NAME => Self::GossipDeaf,
            events::FriendJoined::NAME => Self::FriendJoined,
            events::FriendLeft::NAME => Self::FriendLeft,
            events::BlockMined::NAME => Self::BlockMined,
            events::BlockConnected::NAME => Self::BlockConnected,
            events::BlockDisconnected::NAME => Self::BlockDisconnected,
            events::Reorganised::NAME => Self::Reorganised,
            events::SyncStalled::NAME => Self::SyncStalled,
            events::TradeAccepted::NAME => Self::TradeAccepted,
            events::TradeRefused::NAME => Self::TradeRefused,
            events::ChatSent::NAME => Self::ChatSent,
            events::ChatReceived::NAME => Self::ChatReceived,
            events::ChatDelivered::NAME => Self::ChatDelivered,
            _ => return None,
        })
    }
}

/// The fields that `observe` uses, named as `telemetry/events.rs` declares them. Other fields are
/// ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) node: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) peer_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) peer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) hash: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) previous: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) txid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    how: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) old_tip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) new_tip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) offence: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) version: Option<Cow<'a, str>>,
    pub(super) count: Option<u64>,
    pub(super) height: Option<u32>,
    pub(super) transactions: Option<u64>,
    pub(super) disconnected: Option<u64>,
    pub(super) connected: Option<u64>,
    pub(super) local: Option<bool>,
}

impl Fields<'_> {
    /// Returns the line's event; `None` for plain log lines and events that `observe` ignores.
    pub(super) fn event(&self) -> Option<Event> {
        Event::named(self.event.as_deref()?)
    }

    /// True for level `WARN` or `ERROR`.
    pub(super) fn is_warning(&self) -> bool {
        self.level == "WARN" || self.level == "ERROR"
    }

    /// True if the friend of a `friend_left` event announced that it quits.
    pub(super) fn said_goodbye(&self) -> bool {
        self.how.as_deref() == Some("quit")
    }
}

/// A parsed log line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// The time of writing, by the node's own clock.
    pub(super) time: Micros,
    pub(super) fields: Fields<'a>,
}

/// Returns a line from its first `{` on. Docker compose prefixes lines with the container's name.
pub(super) fn object(line: &[u8]) -> Option<&[u8]> {
    let start = line.iter().position(|byte| *byte == b'{')?;
    line.get(start..)
}

/// Parses the output of [`object`]; returns `None` if the line is broken.
pub(super) fn parse(object: &[u8]) -> Option<Line<'_>> {
    let fields: Fields<'_> = serde_json::from_slice(object).ok()?;
    let time = fields.timestamp.parse::<Timestamp>().ok()?.as_microsecond();
    Some(Line { time, fields })
}

/// Decodes a hash of 32 bytes from lower-case hex.
pub(super) fn hash(text: &str) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_its_time_and_fields_whatever_stands_before_it() {
        let text = concat!(
            r#"yzw-1  | {"timestamp":"1970-01-01T00:00:01.5Z","level":"INFO","event":"synced","#,
            r#""node":"yzw","height":7,"new":[1]}"#
        );
        let line = object(text.as_bytes()).and_then(parse).expect("a line");
        assert_eq!((line.time, line.fields.height), (1_500_000, Some(7)));
        let fields = &line.fields;
        assert_eq!((fields.node.as_ref(), fields.event.as_deref()), ("yzw", Some("synced")));
    }

    #[test]
    fn what_is_no_json_line_with_a_time_is_broken() {
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"timestamp":"yesterday"}"#,
            r#"{"timestamp":5}"#,
            "plain words",
        ] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(parse(&[0xff; 40]).is_none() && object(&[0xff; 40]).is_none());
    }
}
