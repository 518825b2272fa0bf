//! Bookkeeping of the requests that the node has yet to answer, without libp2p.
//!
//! # Security
//! The requests are bounded for each peer and in total. Friends, proven peers, and all others have
//! shares of their own. Keys cost nothing, so all others also have a share for each host, and a
//! small one for requests that wait for a hello.

use std::{collections::HashMap, net::IpAddr};

use super::{
    event::ReplyId,
    limits::{
        MAX_EARLY, MAX_EARLY_PER_HOST, MAX_INBOUND, MAX_INBOUND_BYTES, MAX_INBOUND_BYTES_PER_HOST,
        MAX_INBOUND_BYTES_STRANGERS, MAX_INBOUND_BYTES_UNPROVEN, MAX_INBOUND_PER_HOST,
        MAX_INBOUND_PER_PEER, MAX_INBOUND_STRANGERS, MAX_INBOUND_UNPROVEN,
    },
};
use crate::{primitives::PeerId, wire::Protocol};

/// The trust in the sender of a request. The shares of [`Inbound`] depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Friend,
    /// No friend, but a peer that delivered something that this node lacked.
    Proven,
    Unproven,
}

/// The sender of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) peer: PeerId,
    pub(super) standing: Standing,
    /// True once the peer has said hello.
    pub(super) has_greeted: bool,
    /// The IP address or /64 of the peer, or of its relay.
    pub(super) host: Option<IpAddr>,
}

/// A request of a peer that the node has yet to answer.
#[derive(Debug)]
struct Owed<Channel> {
    asker: Asker,
    protocol: Protocol,
    size: usize,
    channel: Channel,
}

impl<Channel> Owed<Channel> {
    /// True if the request has to wait for its sender's hello. A friend's request does not count.
    fn is_early(&self) -> bool {
        is_early(&self.asker, self.protocol)
    }
}

fn is_early(asker: &Asker, protocol: Protocol) -> bool {
    asker.standing != Standing::Friend && !asker.has_greeted && protocol != Protocol::Hello
}

/// The requests of peers that the node has yet to answer. The transport takes a response through a
/// `Channel`.
#[derive(Debug)]
pub(super) struct Inbound<Channel> {
    next: u64,
    owed: HashMap<u64, Owed<Channel>>,
    per_peer: HashMap<PeerId, usize>,
    bytes: usize,
    /// The requests of peers that are no friends, and their bytes.
    strangers: (usize, usize),
}

impl<Channel> Inbound<Channel> {
    pub(super) fn new() -> Self {
        let (owed, per_peer) = (HashMap::new(), HashMap::new());
        Self { next: 0, owed, per_peer, bytes: 0, strangers: (0, 0) }
    }

    /// Stores the channel of a request. Returns it as an error if a limit is reached.
    pub(super) fn admit(
        &mut self,
        asker: Asker,
        protocol: Protocol,
        size: usize,
        channel: Channel,
    ) -> Result<ReplyId, Channel> {
        let (peer, is_friend) = (asker.peer, asker.standing == Standing::Friend);
        let (count, bytes) = self.strangers;
        let strangers = (count.saturating_add(1), bytes.saturating_add(size));
        let has_share = match asker.standing {
            Standing::Friend => true,
            Standing::Proven => {
                strangers.0 <= MAX_INBOUND_STRANGERS && strangers.1 <= MAX_INBOUND_BYTES_STRANGERS
            }
            Standing::Unproven => {
                strangers.0 <= MAX_INBOUND_UNPROVEN
                    && strangers.1 <= MAX_INBOUND_BYTES_UNPROVEN
                    && self.has_host_share(&asker, size)
            }
        };
        if !has_share || (is_early(&asker, protocol) && !self.has_early_share(&asker)) {
            return Err(channel);
        }
        let of_peer = self.per_peer.get(&peer).copied().unwrap_or(0);
        let bytes = self.bytes.saturating_add(size);
        if self.owed.len() >= MAX_INBOUND
            || of_peer >= MAX_INBOUND_PER_PEER
            || bytes > MAX_INBOUND_BYTES
        {
            return Err(channel);
        }
        self.bytes = bytes;
        if !is_friend {
            self.strangers = strangers;
        }
        self.per_peer.insert(peer, of_peer.saturating_add(1));
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.owed.insert(id, Owed { asker, protocol, size, channel });
        Ok(ReplyId(id))
    }

    /// Returns true if the sender's host may have one more request of this size.
    fn has_host_share(&self, asker: &Asker, size: usize) -> bool {
        let of_host = self.owed.values().filter(|owed| {
            owed.asker.standing == Standing::Unproven && owed.asker.host == asker.host
        });
        let (count, bytes) = of_host.fold((0_usize, size), |(count, bytes), owed| {
            (count.saturating_add(1), bytes.saturating_add(owed.size))
        });
        count < MAX_INBOUND_PER_HOST && bytes <= MAX_INBOUND_BYTES_PER_HOST
    }

    /// Returns true if one more request may wait for its sender's hello.
    fn has_early_share(&self, asker: &Asker) -> bool {
        let early = || self.owed.values().filter(|owed| owed.is_early());
        early().count() < MAX_EARLY
            && early().filter(|owed| owed.asker.host == asker.host).count() < MAX_EARLY_PER_HOST
    }

    /// Removes a request, and returns its protocol, channel and peer. Returns `None` if the peer no
    /// longer waits.
    pub(super) fn take(&mut self, reply: &ReplyId) -> Option<(Protocol, Channel, PeerId)> {
        let owed = self.owed.remove(&reply.0)?;
        self.bytes = self.bytes.saturating_sub(owed.size);
        let peer = owed.asker.peer;
        if owed.asker.standing != Standing::Friend {
            let (count, bytes) = self.strangers;
            self.strangers = (count.saturating_sub(1), bytes.saturating_sub(owed.size));
        }
        if let Some(count) = self.per_peer.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_peer.remove(&peer);
            }
        }
        Some((owed.protocol, owed.channel, peer))
    }

    /// Removes the requests whose peer no longer waits.
    pub(super) fn sweep(&mut self, is_open: impl Fn(&Channel) -> bool) {
        let closed: Vec<u64> = self
            .owed
            .iter()
            .filter(|(_, owed)| !is_open(&owed.channel))
            .map(|(id, _)| *id)
            .collect();
        for id in closed {
            self.take(&ReplyId(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    fn peer(number: u8) -> PeerId {
        PeerId(PublicKey([number; 32]))
    }

    /// Returns a peer that has said hello, on a host of its own.
    fn asker(number: u8, standing: Standing) -> Asker {
        let host = Some(IpAddr::from([192, 0, 2, number]));
        Asker { peer: peer(number), standing, has_greeted: true, host }
    }

    #[test]
    fn an_answer_that_is_owed_is_taken_once() {
        let mut inbound = Inbound::new();
        let friend = asker(1, Standing::Friend);
        let reply = inbound.admit(friend, Protocol::Chat, 10, "channel").unwrap();
        assert_eq!(inbound.take(&reply), Some((Protocol::Chat, "channel", peer(1))));
        assert_eq!(inbound.take(&reply), None);
        assert!(inbound.per_peer.is_empty() && inbound.bytes == 0);
    }

    #[test]
    fn one_peer_does_not_take_all_the_room() {
        let mut inbound = Inbound::new();
        let (one, other) = (asker(1, Standing::Unproven), asker(2, Standing::Unproven));
        for _ in 0..MAX_INBOUND_PER_PEER {
            inbound.admit(one, Protocol::Chat, 1, true).unwrap();
        }
        assert!(inbound.admit(one, Protocol::Chat, 1, true).is_err());
        inbound.admit(other, Protocol::Chat, 1, false).unwrap();
        let friend = asker(3, Standing::Friend);
        assert!(
            inbound.admit(friend, Protocol::Sync, MAX_INBOUND_BYTES, true).is_err(),
            "bytes are bounded"
        );
        inbound.sweep(|open| *open);
        assert_eq!(inbound.owed.len(), MAX_INBOUND_PER_PEER);
    }

    #[test]
    fn strangers_leave_room_for_proven_peers_and_these_for_friends() {
        use Standing::{Friend, Proven, Unproven};
        let mut inbound = Inbound::new();
        let taken = |inbound: &mut Inbound<bool>, standing, count: usize| {
            let all = (0..count).filter(|number| {
                let who = asker(u8::try_from(number / 16).unwrap(), standing);
                inbound.admit(who, Protocol::Sync, 1, true).is_ok()
            });
            all.count()
        };
        let unproven = taken(&mut inbound, Unproven, MAX_INBOUND);
        assert_eq!(unproven, MAX_INBOUND_UNPROVEN);
        assert!(inbound.admit(asker(99, Unproven), Protocol::Hello, 1, true).is_err());
        let proven = (100..200_u8)
            .filter(|who| inbound.admit(asker(*who, Proven), Protocol::Sync, 1, true).is_ok());
        assert_eq!(proven.count(), MAX_INBOUND_STRANGERS - MAX_INBOUND_UNPROVEN);
        assert!(inbound.admit(asker(99, Friend), Protocol::Sync, 1, true).is_ok());
        inbound.sweep(|_| false);
        assert_eq!(inbound.strangers, (0, 0));
        let all = taken(&mut inbound, Friend, 2 * MAX_INBOUND);
        assert_eq!(all, MAX_INBOUND, "friends have a bound too");
        inbound.sweep(|_| false);
        let large = 1 << 20;
        for (standing, most) in
            [(Unproven, MAX_INBOUND_BYTES_UNPROVEN), (Proven, MAX_INBOUND_BYTES_STRANGERS)]
        {
            for who in 0..100_u8 {
                let _ = inbound.admit(asker(who, standing), Protocol::Sync, large, true);
            }
            assert_eq!(inbound.bytes, most);
        }
        assert!(inbound.admit(asker(200, Friend), Protocol::Sync, large, true).is_ok());
    }

    #[test]
    fn one_host_has_a_share_of_the_requests_of_strangers_and_of_their_bytes() {
        let mut inbound = Inbound::new();
        let at_one_host =
            |number, standing| Asker { host: asker(1, standing).host, ..asker(number, standing) };
        let taken = |inbound: &mut Inbound<bool>, size| {
            let all = (0..100).filter(|number| {
                let who = at_one_host(*number, Standing::Unproven);
                inbound.admit(who, Protocol::Sync, size, true).is_ok()
            });
            all.count()
        };
        assert_eq!(taken(&mut inbound, 1), MAX_INBOUND_PER_HOST);
        for other in [
            asker(2, Standing::Unproven),
            at_one_host(200, Standing::Proven),
            at_one_host(201, Standing::Friend),
        ] {
            assert!(inbound.admit(other, Protocol::Sync, 1, true).is_ok(), "{other:?}");
        }
        inbound.sweep(|_| false);
        let size = MAX_INBOUND_BYTES_PER_HOST / 4;
        assert_eq!(taken(&mut inbound, size), 4);
    }

    #[test]
    fn requests_before_a_hello_fill_a_small_share_and_no_hello_waits_for_them() {
        let mut inbound = Inbound::new();
        let silent = |number| Asker { has_greeted: false, ..asker(number, Standing::Unproven) };
        let at_one_host = |number| Asker { host: silent(1).host, ..silent(number) };
        let early = (0..100)
            .filter(|number| inbound.admit(at_one_host(*number), Protocol::Sync, 1, true).is_ok());
        assert_eq!(early.count(), MAX_EARLY_PER_HOST);
        let early = (2..200)
            .filter(|number| inbound.admit(silent(*number), Protocol::Sync, 1, true).is_ok());
        assert_eq!(early.count(), MAX_EARLY - MAX_EARLY_PER_HOST);
        for other in [asker(201, Standing::Unproven), asker(202, Standing::Friend)] {
            assert!(inbound.admit(other, Protocol::Sync, 1, true).is_ok(), "it has said hello");
        }
        let mut hello = |who| inbound.admit(who, Protocol::Hello, 1, true).is_ok();
        assert!(hello(silent(203)) && hello(at_one_host(204)));
        let mut early = |who| inbound.admit(who, Protocol::Sync, 1, true).is_ok();
        assert!(early(Asker { standing: Standing::Friend, ..silent(205) }));
    }
}
