//! The text form of the lists of peers and friends.

use std::io::{self, Write};

use jiff::Timestamp;

use super::{
    look::{Look, short, short_address, write_sentence},
    reach_text,
    table::{Column, natural_width, write_fitted},
};
use crate::{
    primitives::{UnixMillis, counted},
    rpc::types::{FriendLevel, FriendList, FriendView, PathName, PeerList, PeerView},
};

/// Returns a duration in seconds, minutes, hours or days: the largest unit of which there are two.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match (seconds / 60, seconds / 3_600, seconds / 86_400) {
        (_, _, days) if days >= 2 => counted(days, "day", "days"),
        (_, hours, _) if hours >= 2 => counted(hours, "hour", "hours"),
        (minutes, ..) if minutes >= 2 => counted(minutes, "minute", "minutes"),
        _ => format!("{seconds} s"),
    }
}

/// Returns a connection's address without the peer id at its end, which has its own column.
pub(super) fn without_peer_id(address: &str) -> &str {
    if Look::current().full {
        return address;
    }
    address.split_once("/p2p/").map_or(address, |(start, _)| start)
}

/// Writes the connections and the bans.
pub(crate) fn write_peers(out: &mut dyn Write, list: &PeerList) -> io::Result<()> {
    if list.peers.is_empty() {
        writeln!(out, "no peer is connected")?;
    } else {
        let columns = [
            Column::shrinking("name"),
            Column::whole("peer id"),
            Column::whole("score"),
            Column::whole("height"),
            Column::whole(""),
            Column::shrinking("address"),
        ];
        write_fitted(out, columns, &list.peers.iter().map(peer_row).collect::<Vec<_>>())?;
    }
    list.banned.iter().try_for_each(|peer| writeln!(out, "banned {}", short(peer)))
}

fn peer_row(peer: &PeerView) -> [String; 6] {
    [
        peer.name.clone().unwrap_or_else(|| "-".to_owned()),
        short(peer.peer_id),
        peer.score.to_string(),
        peer.height.map_or_else(|| "-".to_owned(), |height| height.to_string()),
        if peer.inbound { "in" } else { "out" }.to_owned(),
        without_peer_id(&peer.address).to_owned(),
    ]
}

/// Writes the friends, online or not.
pub(crate) fn write_friends(out: &mut dyn Write, list: &FriendList) -> io::Result<()> {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    write_friends_at(out, list, now)
}

fn write_friends_at(out: &mut dyn Write, list: &FriendList, now: UnixMillis) -> io::Result<()> {
    if list.friends.is_empty() && list.only_this_machine {
        return writeln!(out, "{}", reach_text::NOBODY_ELSE);
    }
    if list.friends.is_empty() {
        return write_sentence(
            out,
            "no friends yet: give somebody an invite, accept-friend who comes, or start a second \
             node on the LAN",
        );
    }
    let columns = [
        Column::shrinking("name"),
        Column::shrinking("is"),
        Column::whole("last seen"),
        Column::whole("address"),
        Column::whole("peer id"),
    ];
    let heads = ["name", "is", "last seen", "address", "peer id"];
    let rows = |whole: bool| -> Vec<_> {
        list.friends.iter().map(|friend| friend_row(friend, now, whole)).collect()
    };
    // On a wide screen there is room for the whole ids, which users copy from here.
    let look = Look::current();
    let whole = rows(true);
    if look.full || natural_width(heads, &whole) <= look.width {
        write_fitted(out, columns, &whole)?;
    } else {
        write_fitted(out, columns, &rows(false))?;
    }
    write_reasons(out, list)
}

/// Returns the way to a friend behind a relay.
fn relayed_path(friend: &FriendView) -> String {
    let relay = friend.through.as_deref().unwrap_or("a relay");
    format!("here, through {relay}")
}

/// Writes the reasons why absent friends are not reached.
fn write_reasons(out: &mut dyn Write, list: &FriendList) -> io::Result<()> {
    list.friends.iter().try_for_each(|friend| match &friend.why {
        Some(why) => write_sentence(out, &format!("{}: {why}", friend.name)),
        None => Ok(()),
    })
}

fn friend_row(friend: &FriendView, now: UnixMillis, whole: bool) -> [String; 5] {
    let none = || "-".to_owned();
    let last_seen = match friend.last_seen {
        _ if friend.online => "now".to_owned(),
        Some(time) => format!("{} ago", duration(now.saturating_sub(time))),
        None => none(),
    };
    let address = friend
        .address
        .map(|address| if whole { address.to_string() } else { short_address(address) });
    [
        friend.name.clone(),
        match (friend.online, friend.level) {
            (true, FriendLevel::Friend) if friend.path == Some(PathName::Relayed) => {
                relayed_path(friend)
            }
            (true, FriendLevel::Friend) => "here".to_owned(),
            (false, FriendLevel::Friend) => "away".to_owned(),
            (true, FriendLevel::Introduced) => "here, introduced".to_owned(),
            (false, FriendLevel::Introduced) => "away, introduced".to_owned(),
            (_, FriendLevel::Blocked) => "blocked".to_owned(),
        },
        last_seen,
        address.unwrap_or_else(none),
        if whole { friend.peer_id.to_string() } else { short(friend.peer_id) },
    ]
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::primitives::{Address, Owner, PeerId, PublicKey};

    fn friends() -> FriendList {
        let friend = |name: String, byte: u8| FriendView {
            name,
            suffix: "3f2a0000".to_owned(),
            peer_id: PeerId(PublicKey([byte; 32])),
            level: FriendLevel::Introduced,
            online: byte.is_multiple_of(2),
            address: Some(Address(Owner::ZERO)),
            last_seen: Some(1),
            path: None,
            through: None,
            why: None,
        };
        let names = ["W".repeat(32), "名".repeat(32), "yzw".to_owned(), "yzw#3f2a0000".to_owned()];
        let friends = names.into_iter().zip(5..).map(|(n, b)| friend(n, b)).collect();
        FriendList { friends, only_this_machine: false }
    }

    fn shown(width: usize, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        let look = Look { width, full: false, breaks_sentences: false };
        look.with(|| write(&mut out)).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_longest_names_fit_80_columns() {
        let list = shown(80, |out| write_friends_at(out, &friends(), 100_000_000_000));
        assert!(list.lines().all(|line| line.width() <= 80), "{list}");
        assert!(list.contains("yzw#3f2a0000") && list.contains("1157 days ago"), "{list}");
        let peers = friends().friends.into_iter().map(|friend| PeerView {
            peer_id: friend.peer_id,
            name: Some(friend.name),
            address: format!("/ip6/{}/udp/65535/quic-v1/p2p/12D3KooW", "2001:db8:".repeat(5)),
            inbound: false,
            relay: None,
            score: -100,
            height: Some(1_000_000),
            connected_at: None,
        });
        let peers = PeerList { peers: peers.collect(), banned: vec![PeerId(PublicKey([9; 32]))] };
        let list = shown(80, |out| write_peers(out, &peers));
        assert!(list.lines().all(|line| line.width() <= 80), "{list}");
        assert!(!list.contains("/p2p/"), "{list}");
    }

    #[test]
    fn a_wide_screen_shows_whole_addresses_and_ids() {
        let list = shown(300, |out| write_friends_at(out, &friends(), 10));
        assert!(list.contains(&Address(Owner::ZERO).to_string()), "{list}");
        assert!(list.contains(&PeerId(PublicKey([5; 32])).to_string()), "{list}");
    }

    #[test]
    fn durations_have_a_unit_of_which_there_are_two() {
        assert_eq!(duration(1_000), "1 s");
        assert_eq!(duration(119_000), "119 s");
        assert_eq!(duration(120_000), "2 minutes");
        assert_eq!(duration(7_200_000), "2 hours");
        assert_eq!(duration(200_000_000), "2 days");
    }
}
