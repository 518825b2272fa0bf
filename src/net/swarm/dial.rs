//! Dials addresses of the address book and of the user, and explains failures.

use std::time::Instant;

use libp2p::{
    Multiaddr,
    swarm::{
        ConnectionId, DialError as SwarmDialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::sync::oneshot;

use super::Network;
use crate::{
    net::{
        address::{ip, is_far, is_this_machine, peer_of, with_peer, without_peer},
        address_book::Dial,
        copies::End,
        dial_cause::DialCause,
        event::{DialError, NetEvent},
        gate::Denied,
        listen::root_cause,
        peer::{from_libp2p, to_libp2p},
    },
    primitives::PeerId,
};

/// The origin of a dial in progress.
#[derive(Debug)]
pub(super) enum Dialing {
    /// The address book chose the entry.
    Book(Dial),
    /// The address claims to be this node.
    Copy(Multiaddr),
    /// The user asked for the address and waits for the outcome.
    Asked(Multiaddr, oneshot::Sender<Result<PeerId, DialError>>),
    /// A direct dial of a peer behind a relay.
    Direct,
}

impl Network {
    /// Dials an address from the user, and replies with the outcome.
    pub(super) fn dial_asked(
        &mut self,
        address: Multiaddr,
        reply: oneshot::Sender<Result<PeerId, DialError>>,
    ) {
        let peer = peer_of(&address);
        let outcome = match peer {
            _ if peer == Some(self.me) || self.is_own(&address) => {
                Err(DialError::Oneself(address.to_string()))
            }
            Some(peer) if self.peers.contains_key(&peer) => Ok(peer),
            _ => {
                let options = dial_options(peer, vec![address.clone()]);
                let id = options.connection_id();
                match self.dial(options) {
                    Ok(()) => {
                        self.dials.insert(id, Dialing::Asked(address, reply));
                        return;
                    }
                    Err(error) => Err(dial_error(&address, peer, &error)),
                }
            }
        };
        let _ = reply.send(outcome);
    }

    /// Dials the entries of the address book that are due.
    pub(super) fn dial_due(&mut self, now: Instant) {
        // Once the node listens, it dials from the listening port: routers map that port.
        let is_near = |address: &Multiaddr| ip(address).is_none_or(|ip| ip.is_loopback());
        if self.wakes.is_starting(now) && self.listening.iter().all(is_near) {
            return;
        }
        let Self { book, peers, swarm, trust, target_peers, .. } = self;
        // Strangers that dial this node must not end its own search.
        let sought = peers.iter().filter(|(id, peer)| trust.is_friend(id) || peer.was_dialed());
        let enough = sought.count() >= *target_peers;
        let gate = &swarm.behaviour().gate;
        let due = book.due(now, enough, |peer| !gate.is_banned(peer));
        for dial in due {
            let Some(dial) = self.without_own(dial, now) else { continue };
            let options = match &dial {
                Dial::Peer(peer, addresses) => dial_options(Some(*peer), addresses.clone()),
                Dial::Seed(address) => dial_options(peer_of(address), vec![address.clone()]),
                Dial::Hint(peer, address) => dial_options(Some(*peer), vec![address.clone()]),
            };
            let id = options.connection_id();
            match self.dial(options) {
                Ok(()) => {
                    self.dials.insert(id, Dialing::Book(dial));
                }
                Err(error) => self.dial_failed(&dial, &error, now),
            }
        }
    }

    /// Takes the addresses out of a dial at which this node itself listens. Another node of this
    /// machine may have had them before. Returns `None` if there is no other address.
    fn without_own(&mut self, dial: Dial, now: Instant) -> Option<Dial> {
        match dial {
            Dial::Seed(address) if self.is_own(&address) => {
                let reason = DialError::Oneself(address.to_string()).to_string();
                self.book.remove_seed(&address);
                self.emit_failure(&address, None, DialCause::SameIdentity, reason);
                None
            }
            Dial::Hint(_, ref address) if self.is_own(address) => {
                self.book.failed(&dial, now);
                None
            }
            Dial::Peer(peer, addresses) => {
                let (own, others): (Vec<_>, Vec<_>) =
                    addresses.into_iter().partition(|address| self.is_own(address));
                for address in &own {
                    self.book.forget_address(&peer, address);
                }
                let is_vain = others.is_empty();
                let dial = Dial::Peer(peer, others);
                if is_vain {
                    self.book.failed(&dial, now);
                }
                (!is_vain).then_some(dial)
            }
            other => Some(other),
        }
    }

    /// Dials a peer behind a relay at its own addresses.
    pub(super) fn dial_directly(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>) {
        addresses.retain(|address| !self.is_own(address));
        let Some(id) = to_libp2p(&peer).filter(|_| !addresses.is_empty()) else { return };
        let options = DialOpts::peer_id(id).condition(PeerCondition::Always).addresses(addresses);
        let options = options.build();
        let dial = options.connection_id();
        if self.dial(options).is_ok() {
            self.dials.insert(dial, Dialing::Direct);
        }
    }

    /// Starts a dial. No other dial of the swarm task passes the dial gate.
    fn dial(&mut self, options: DialOpts) -> Result<(), SwarmDialError> {
        self.swarm.behaviour_mut().dial_gate.permit(options.connection_id());
        self.swarm.dial(options)
    }

    /// True if the node listens on the address. It must not dial it: the system would connect the
    /// socket with itself.
    pub(super) fn is_own(&self, address: &Multiaddr) -> bool {
        self.listening.contains(&without_peer(address))
    }

    /// Dials the addresses that claim to be this node, and emits an event for a copy.
    pub(super) fn look_for_copies(&mut self, now: Instant) {
        if let Some(address) = self.copies.found(now, rand::random()) {
            self.emit_if_room(NetEvent::CopySeen { address: address.to_string() });
        }
        while let Some(address) = self.copies.due(now, rand::random()) {
            let options = dial_options(None, vec![address.clone()]);
            let id = options.connection_id();
            if self.dial(options).is_ok() {
                self.dials.insert(id, Dialing::Copy(address));
            } else {
                self.no_copy_at(&address, false);
            }
        }
    }

    /// Records that a dial met no copy at an address, and emits an event if one has ended there.
    /// `answered` is true if the machine at the address answered.
    pub(super) fn no_copy_at(&mut self, address: &Multiaddr, answered: bool) {
        if self.copies.unfounded(address, answered) {
            self.emit_if_room(NetEvent::CopyEnded { address: address.to_string() });
        }
    }

    pub(super) fn on_dial_error(&mut self, id: ConnectionId, error: &SwarmDialError) {
        let oneself = self.met_oneself(error);
        if let Some(address) = oneself {
            let end = match self.dials.get(&id) {
                Some(Dialing::Book(Dial::Peer(peer, _) | Dial::Hint(peer, _)))
                    if !self.trust.is_friend(peer) =>
                {
                    End::DialerForStranger
                }
                Some(Dialing::Direct) => End::DialerForStranger,
                _ => End::Dialer,
            };
            self.copies.refused(end, &without_peer(address), Instant::now());
        }
        match self.dials.remove(&id) {
            Some(Dialing::Copy(address)) if oneself.is_none() => {
                let cause = DialCause::of(error);
                let answered = matches!(cause, DialCause::Refused | DialCause::WrongPeer);
                self.no_copy_at(&address, answered);
            }
            Some(Dialing::Book(dial)) => self.dial_failed(&dial, error, Instant::now()),
            Some(Dialing::Asked(address, reply)) => {
                let expected = peer_of(&address);
                let _ = reply.send(Err(dial_error(&address, expected, error)));
            }
            Some(Dialing::Copy(_) | Dialing::Direct) | None => {}
        }
    }

    /// Returns the address at which a dial met this node's own identity. libp2p reports a peer of
    /// a wrong id if the dial was for another peer.
    fn met_oneself<'a>(&self, error: &'a SwarmDialError) -> Option<&'a Multiaddr> {
        match error {
            SwarmDialError::LocalPeerId { address } => Some(address),
            SwarmDialError::WrongPeerId { obtained, address }
                if from_libp2p(obtained) == Some(self.me) =>
            {
                Some(address)
            }
            _ => None,
        }
    }

    /// Records a failed dial in the address book, and reports it to the node if the address is from
    /// the user.
    fn dial_failed(&mut self, dial: &Dial, error: &SwarmDialError, now: Instant) {
        if let (Dial::Seed(address), Some(peer)) = (dial, connected_already(error)) {
            self.book.seed_answered(address, peer);
            return self.accept_named(peer);
        }
        self.book.failed(dial, now);
        match (dial, error) {
            (Dial::Peer(peer, _), SwarmDialError::WrongPeerId { address, .. }) => {
                self.book.forget_address(peer, address);
            }
            (Dial::Peer(peer, addresses), _) => {
                tracing::debug!(?dial, %error, "a dial failed");
                if !matches!(error, SwarmDialError::DialPeerConditionFalse(_))
                    && (self.trust.is_friend(peer) || self.book.is_users(peer))
                {
                    self.peer_failed(*peer, addresses, error);
                }
            }
            (Dial::Hint(..), _) => tracing::debug!(?dial, %error, "a dial failed"),
            // Both ends dialed at once, or another address answered first.
            (Dial::Seed(_), SwarmDialError::DialPeerConditionFalse(_)) => {}
            (Dial::Seed(address), _) => {
                let (peer, cause) = (peer_of(address), DialCause::of(error));
                let error = dial_error(address, peer, error);
                if matches!(error, DialError::Oneself(_)) {
                    self.book.remove_seed(address);
                }
                self.emit_failure(address, peer, cause, error.to_string());
            }
        }
    }

    /// Reports the failure of each address of a peer.
    fn peer_failed(&mut self, peer: PeerId, addresses: &[Multiaddr], error: &SwarmDialError) {
        if let SwarmDialError::Transport(errors) = error {
            for (address, error) in errors {
                let cause = DialCause::of_transport(error).unwrap_or(DialCause::Other);
                self.emit_failure(address, Some(peer), cause, root_cause(error));
            }
        } else if let Some(address) = addresses.first() {
            let reason = dial_error(address, Some(peer), error).to_string();
            self.emit_failure(address, Some(peer), DialCause::of(error), reason);
        }
    }

    fn emit_failure(
        &mut self,
        address: &Multiaddr,
        peer: Option<PeerId>,
        cause: DialCause,
        reason: String,
    ) {
        let address = address.to_string();
        self.emit_if_room(NetEvent::DialFailed { address, peer, cause, reason });
    }
}

fn dial_options(peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> DialOpts {
    // On one local network, the dial uses a fresh port. Two nodes that dial each other at once from
    // their listening ports would share one TCP connection without a listener. Further away the
    // listening port is used, since the routers between let others in only at that port.
    let is_far = addresses.iter().any(|address| is_far(address) && !is_this_machine(address));
    if let Some((peer, id)) = peer.and_then(|peer| to_libp2p(&peer).map(|id| (peer, id))) {
        let addresses = addresses.iter().map(|address| with_peer(address, &peer)).collect();
        // A dial in progress does not prevent another one, since its address may be wrong.
        let options = DialOpts::peer_id(id).condition(PeerCondition::Disconnected);
        let options = options.addresses(addresses);
        if is_far { options.build() } else { options.allocate_new_port().build() }
    } else {
        let address = addresses.into_iter().next().unwrap_or_else(Multiaddr::empty);
        let options = DialOpts::unknown_peer_id().address(address);
        if is_far { options.build() } else { options.allocate_new_port().build() }
    }
}

/// Returns the peer that answered a dial, if it has the maximum number of connections already.
fn connected_already(error: &SwarmDialError) -> Option<PeerId> {
    let SwarmDialError::Denied { cause } = error else { return None };
    match cause.downcast_ref()? {
        Denied::Connected(peer) => Some(*peer),
        Denied::Banned(_) | Denied::NotEd25519(_) | Denied::NoPlace(_) | Denied::Lost(_) => None,
    }
}

/// Explains to the user why a dial failed.
fn dial_error(address: &Multiaddr, expected: Option<PeerId>, error: &SwarmDialError) -> DialError {
    let shown = address.to_string();
    match error {
        SwarmDialError::LocalPeerId { .. } => DialError::Oneself(shown),
        SwarmDialError::WrongPeerId { obtained, .. } => DialError::WrongPeer {
            address: without_peer(address).to_string(),
            expected: expected
                .map_or_else(|| "the peer it names".to_owned(), |peer| peer.to_string()),
            obtained: obtained.to_string(),
        },
        SwarmDialError::Denied { cause } => DialError::Refused {
            address: shown,
            reason: cause
                .downcast_ref::<Denied>()
                .map_or_else(|| root_cause(cause), ToString::to_string),
        },
        SwarmDialError::NoAddresses => {
            DialError::Unreachable { address: shown, reason: "no address".to_owned() }
        }
        SwarmDialError::DialPeerConditionFalse(_) => DialError::Unreachable {
            address: shown,
            reason: "it is being dialed already".to_owned(),
        },
        SwarmDialError::Aborted => {
            DialError::Unreachable { address: shown, reason: "the attempt was given up".to_owned() }
        }
        SwarmDialError::Transport(errors) => {
            let mut reasons: Vec<_> = errors.iter().map(|(_, error)| root_cause(error)).collect();
            reasons.dedup();
            DialError::Unreachable { address: shown, reason: reasons.join("; ") }
        }
    }
}
