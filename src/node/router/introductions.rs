//! Exchanges signed profiles with peers: sends ours, and receives theirs and their friends'.

use std::time::Duration;

use tokio::time::Instant;

use super::{Connected, Done, Purpose, Router, network::log_unsent};
use crate::{
    friends::{AddressSource, ProfileError, ProfileReceipt},
    net::{ReplyId, Told},
    node::clock::{moment, now},
    peers::{Level, Offence},
    primitives::{Address, PeerId},
    wire::{
        FriendsRequest, FriendsResponse, Refusal, Request, Response, SignedProfile,
        limits::MAX_ADDRESSES,
    },
};

/// Least time between two Explores to a peer whose profiles were signed too far ahead of our clock.
pub(super) const REPEAT: Duration = Duration::from_mins(1);

/// Least time between two Explores that a friend's introductions cause.
const EXPLORE_PAUSE: Duration = Duration::from_secs(1);

/// Difference between the progress of both clocks in one tick that counts as a jump, in ms: well
/// above the steps of NTP.
const JUMP_MS: u64 = 10_000;

impl Router {
    /// Signs our profile again if its name, its addresses or its payment address have changed.
    pub(super) fn sign_profile(&self) {
        let (friends, net) = (self.friends.clone(), self.net.clone());
        let payment_address = self.payment_address.clone();
        let (name, before) = (self.name.clone(), self.profile.clone());
        self.spawn_work(async move {
            let addresses: Vec<String> =
                net.addresses().await.ok()?.into_iter().take(MAX_ADDRESSES).collect();
            let payment = payment_address().await.map(|Address(owner)| owner);
            let unchanged = |before: &SignedProfile| {
                before.name == name && before.addresses == addresses && before.payment == payment
            };
            if before.as_ref().is_some_and(unchanged) {
                return None;
            }
            match friends.set_own_profile(name, addresses, payment, now()).await {
                Ok(profile) => Some(Done::OwnProfile(Box::new(profile))),
                Err(error) => {
                    tracing::warn!(%error, "the profile could not be signed");
                    None
                }
            }
        });
    }

    /// Sends a peer our profile and queued lines, and asks for the profiles that it knows.
    pub(super) fn introduce(&mut self, peer: PeerId) {
        if let Some(profile) = self.profile.clone() {
            self.request(
                peer,
                Purpose::Introduce,
                &Request::Friends(FriendsRequest::Introduce(profile)),
            );
        }
        self.send_explore(peer);
        self.send_outbox(peer);
        self.bring_kept(peer);
        self.ask_missed(peer);
    }

    fn send_explore(&mut self, peer: PeerId) {
        if let Some(state) = self.connected.get_mut(&peer) {
            state.explored = Some(Instant::now());
            state.ask_again = None;
        }
        self.request(peer, Purpose::Explore, &Request::Friends(FriendsRequest::Explore));
    }

    /// Asks peers for profiles again. One kind of peer sent profiles from the future: one of the
    /// two clocks was wrong and may be right by now. The other kind are friends that may now send
    /// more.
    pub(super) fn explore_again(&mut self) {
        let is_due = |state: &Connected| {
            let since = state.explored.map_or(Duration::MAX, |at| at.elapsed());
            state.status.is_some() && state.ask_again.is_some_and(|pause| since >= pause)
        };
        let due = self.connected.iter().filter(|(_, state)| is_due(state));
        let peers: Vec<PeerId> = due.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.send_explore(peer);
        }
    }

    /// Detects a jump of the wall clock. Our profile may have a time that others reject, and we may
    /// have rejected theirs.
    pub(super) fn watch_clock(&mut self) {
        let (wall, at) = self.clocks;
        self.clocks = (now(), moment());
        let expected = wall.saturating_add(self.clocks.1.saturating_sub(at));
        if self.clocks.0.abs_diff(expected) >= JUMP_MS {
            self.profile = None;
            self.sign_profile();
            // The next tick asks the peers again whose profiles were rejected.
            for state in self.connected.values_mut().filter(|state| state.ask_again.is_some()) {
                state.explored = None;
            }
        }
    }

    /// Stores for the next run which connected peers are friends by their address.
    pub(super) fn keep_friends(&self) {
        let here = self.connected.keys().copied();
        let peers: Vec<PeerId> = here.filter(|peer| self.trust.is_friend(peer)).collect();
        let friends = self.friends.clone();
        self.spawn_work(async move {
            if !peers.is_empty()
                && let Err(error) = friends.keep_friends(peers, now()).await
            {
                tracing::warn!(%error, "friends could not be stored");
            }
            None
        });
    }

    /// Exchanges profiles with a peer that the user has made a friend, and dials it from now on.
    pub(super) fn befriended(&mut self, peer: PeerId) {
        if self.connected.get(&peer).is_some_and(|state| state.status.is_some()) {
            self.introduce(peer);
        }
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let friend = friends.friend(peer).await.ok().flatten()?;
            log_unsent(net.add_known(peer, &friend.addresses, Told::By(peer)));
            let source = AddressSource::Profile;
            if let Err(error) = friends.add_addresses(peer, friend.addresses, source, now()).await {
                tracing::warn!(%error, "addresses could not be stored");
            }
            None
        });
    }

    /// Sends our new profile to every peer that has said hello.
    pub(super) fn own_profile_signed(&mut self, profile: &SignedProfile) {
        if profile.name != self.name {
            // The node was renamed while the profile was being signed.
            return self.sign_profile();
        }
        self.profile = Some(profile.clone());
        let met = self.connected.iter().filter(|(_, state)| state.status.is_some());
        let peers: Vec<PeerId> = met.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.request(
                peer,
                Purpose::Introduce,
                &Request::Friends(FriendsRequest::Introduce(profile.clone())),
            );
        }
    }

    /// Responds with the profiles that this peer may know.
    pub(super) fn explore(&self, peer: PeerId, reply: ReplyId) {
        if self.friends.is_busy_for(self.trust.is_friend(&peer)) {
            return self.respond(reply, &Response::Friends(FriendsResponse::Busy));
        }
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let response = friends
                .explore_answer(peer, now())
                .await
                .map_or(FriendsResponse::Busy, FriendsResponse::Profiles);
            log_unsent(net.respond(reply, &Response::Friends(response)));
            None
        });
    }

    /// Stores the profile of a peer that introduces itself.
    pub(super) fn on_introduction(&mut self, peer: PeerId, reply: ReplyId, profile: SignedProfile) {
        if profile.peer != peer {
            self.respond(reply, &Response::Friends(FriendsResponse::Refused(Refusal::NotYours)));
            return self.penalise(
                peer,
                Offence::NotTheAuthor,
                "it introduced somebody else as itself",
            );
        }
        if self.friends.is_busy_for(self.trust.is_friend(&peer)) {
            return self.respond(reply, &Response::Friends(FriendsResponse::Busy));
        }
        // A friend may be ready to send more than when it was asked.
        if self.trust.is_friend(&peer)
            && let Some(state) = self.connected.get_mut(&peer)
            && state.explored.is_some()
        {
            state.ask_again = Some(EXPLORE_PAUSE);
            // The peer may now also send lines that it withheld before.
            self.ask_missed(peer);
        }
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let (response, done) = match friends.keep_profile(profile.clone(), peer, now()).await {
                Ok(_) => {
                    if let Err(error) = friends.online(peer, now()).await {
                        tracing::warn!(%error, "an arrival could not be stored");
                    }
                    (FriendsResponse::Welcome, Some(Done::Profile(peer, Box::new(profile))))
                }
                Err(error) => {
                    let done = profile_fault(peer, &error);
                    (error.refusal().map_or(FriendsResponse::Busy, FriendsResponse::Refused), done)
                }
            };
            log_unsent(net.respond(reply, &Response::Friends(response)));
            done
        });
    }

    /// Stores the profiles that a peer knows, up to the first one that its owner did not sign.
    /// Drops them while the friends thread is busy, and asks again later.
    pub(super) fn on_profiles(&mut self, peer: PeerId, profiles: Vec<SignedProfile>) {
        let is_friend = self.trust.is_friend(&peer);
        if self.friends.is_busy_for(is_friend) {
            if let Some(state) = self.connected.get_mut(&peer) {
                state.ask_again = Some(REPEAT);
            }
            return;
        }
        self.knows(peer, &profiles);
        let profiles = if is_friend { profiles } else { of_itself(profiles, [peer, self.me]) };
        let friends = self.friends.clone();
        let done = self.done.clone();
        self.spawn_work(async move {
            for (profile, result) in friends.keep_profiles(profiles, peer, now()).await.ok()? {
                let introduces_itself = profile.peer == peer;
                let result = match result {
                    Ok(ProfileReceipt::Own) => None,
                    Ok(ProfileReceipt::OfCopy) => Some(Done::OfCopy),
                    Ok(kept) => {
                        if introduces_itself && let Err(error) = friends.online(peer, now()).await {
                            tracing::warn!(%error, "an arrival could not be stored");
                        }
                        let news = introduces_itself
                            || matches!(kept, ProfileReceipt::New | ProfileReceipt::Updated);
                        news.then(|| Done::Profile(peer, Box::new(profile)))
                    }
                    Err(error) => profile_fault(peer, &error),
                };
                if let Some(result) = result {
                    // An error means that the router has ended and needs no result.
                    let _ = done.send(result).await;
                }
            }
            None
        });
    }

    /// Makes connected friends ask for profiles again, since a friend's profile has changed. They
    /// have no other way to learn the new address of a peer behind a router.
    fn tell_friends_of(&mut self, changed: PeerId) {
        let Some(profile) = self.profile.clone() else { return };
        let is_told = |peer: &PeerId, state: &Connected| {
            *peer != changed && state.status.is_some() && self.trust.is_friend(peer)
        };
        let friends: Vec<PeerId> = self
            .connected
            .iter()
            .filter(|(peer, state)| is_told(peer, state))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in friends {
            let request = FriendsRequest::Introduce(profile.clone());
            self.request(peer, Purpose::Introduce, &Request::Friends(request));
        }
    }

    /// Passes the addresses in a stored profile to the network, together with the peer that sent
    /// it. A stranger's addresses are neither dialed nor stored.
    pub(super) fn profile_stored(&mut self, teller: PeerId, profile: &SignedProfile) {
        let peer = profile.peer;
        if !self.connected.contains_key(&peer) {
            // The peer may have disconnected while its profile was being written.
            self.set_offline(peer);
        } else if teller == peer {
            self.online.insert(peer);
        }
        if self.trust.level(&peer) == Level::Stranger {
            return;
        }
        if teller == peer && self.trust.is_friend(&peer) && self.reach.is_new(profile) {
            self.tell_friends_of(peer);
        }
        if let Err(error) = self.net.add_known(peer, &profile.addresses, Told::By(teller)) {
            tracing::debug!(%peer, %error, "addresses were not added");
        }
        let (friends, addresses) = (self.friends.clone(), profile.addresses.clone());
        self.spawn_work(async move {
            if let Err(error) =
                friends.add_addresses(peer, addresses, AddressSource::Profile, now()).await
            {
                tracing::warn!(%error, "addresses could not be stored");
            }
            None
        });
    }
}

/// Returns the first profile of each of these peers. Drops all other profiles, so that a stranger
/// cannot make the friends thread verify many signatures.
fn of_itself(profiles: Vec<SignedProfile>, wanted: [PeerId; 2]) -> Vec<SignedProfile> {
    let mut kept: Vec<SignedProfile> = Vec::new();
    for profile in profiles {
        let is_new = kept.iter().all(|other| other.peer != profile.peer);
        if is_new && wanted.contains(&profile.peer) {
            kept.push(profile);
        }
    }
    kept
}

/// Returns the consequence of a rejected profile for its sender: a penalty, or another request
/// later.
fn profile_fault(peer: PeerId, error: &ProfileError) -> Option<Done> {
    if let ProfileError::TooFarAhead { .. } = error {
        return Some(Done::Ahead(peer));
    }
    error.offence().map(|offence| Done::Offence { peer, offence, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::{PublicKey, Signature};

    #[test]
    fn one_profile_of_a_stranger_and_one_of_our_own_are_looked_at() {
        let peer = |number| PeerId(PublicKey([number; 32]));
        let profile = |number, sequence| SignedProfile {
            peer: peer(number),
            name: "sr".to_owned(),
            addresses: Vec::new(),
            payment: None,
            sequence,
            signature: Signature([0; 64]),
        };
        let sent: Vec<_> =
            (0..8).flat_map(|round| [3, 1, 2].map(|who| profile(who, round))).collect();
        assert_eq!(of_itself(sent, [peer(1), peer(2)]), [profile(1, 0), profile(2, 0)]);
    }
}
