//! One line of a node's JSON log: what `observe` reads of it.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

/// Longer lines are counted as broken, and not read into memory, in bytes. A node's own are under 2
/// kB.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// Microseconds since 1970, by the clock of the node that wrote the line.
pub(super) type Micros = i64;

/// The fields that `observe` knows, as `primitives/events.rs` names them. What else is there is
/// passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) level: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) event: Option<Cow<'a, str>>,
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
    pub(super) how: Option<Cow<'a, str>>,
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

/// A line that was understood.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// When it was written, by the clock of its node.
    pub(super) time: Micros,
    pub(super) fields: Fields<'a>,
}

/// A line from its first `{` on: before it, compose puts the container's name.
pub(super) fn object(line: &[u8]) -> Option<&[u8]> {
    let start = line.iter().position(|byte| *byte == b'{')?;
    line.get(start..)
}

/// Reads what [`object`] gives; `None` when it is broken.
pub(super) fn parse(object: &[u8]) -> Option<Line<'_>> {
    let fields: Fields<'_> = serde_json::from_slice(object).ok()?;
    let time = fields.timestamp.parse::<Timestamp>().ok()?.as_microsecond();
    Some(Line { time, fields })
}

/// The 32 bytes of a hash in hex.
pub(super) fn hash(text: &str) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_its_time_and_fields_whatever_stands_before_it() {
        let text = r#"yzw-1  | {"timestamp":"1970-01-01T00:00:01.5Z","level":"INFO","event":"synced","node":"yzw","height":7,"new":[1]}"#;
        let line = object(text.as_bytes()).and_then(parse).expect("a line");
        assert_eq!((line.time, line.fields.height), (1_500_000, Some(7)));
        assert_eq!(
            (line.fields.node.as_ref(), line.fields.event.as_deref()),
            ("yzw", Some("synced"))
        );
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
