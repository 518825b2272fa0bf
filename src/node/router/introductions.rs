//! Exchanges signed profiles with peers: ours to them, theirs and their friends' to us.

use super::{Done, Purpose, Router, network::log_unsent};
use crate::{
    friends::{AddressSource, ProfileError, ProfileReceipt},
    net::{ReplyId, Told},
    node::clock::now,
    peers::Offence,
    primitives::{Address, PeerId},
    wire::{
        FriendsRequest, FriendsResponse, Refusal, Request, Response, SignedProfile,
        limits::MAX_ADDRESSES,
    },
};

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
        self.request(peer, Purpose::Explore, &Request::Friends(FriendsRequest::Explore));
        self.send_outbox(peer);
    }

    /// Sends our new profile to every peer that has said hello.
    pub(super) fn own_profile_signed(&mut self, profile: &SignedProfile) {
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

    /// Responds with the profiles that this node knows.
    pub(super) fn explore(&self, reply: ReplyId) {
        if self.friends.is_busy() {
            return self.respond(reply, &Response::Friends(FriendsResponse::Busy));
        }
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let response = friends
                .explore_answer()
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
        if self.friends.is_busy() {
            return self.respond(reply, &Response::Friends(FriendsResponse::Busy));
        }
        let (friends, net) = (self.friends.clone(), self.net.clone());
        self.spawn_work(async move {
            let (response, done) = match friends.keep_profile(profile.clone(), now()).await {
                Ok(_) => {
                    if let Err(error) = friends.online(peer, now()).await {
                        tracing::warn!(%error, "an arrival could not be stored");
                    }
                    (FriendsResponse::Welcome, Some(Done::Profile(peer, Box::new(profile))))
                }
                Err(error) => {
                    let done = profile_offence(peer, &error);
                    (error.refusal().map_or(FriendsResponse::Busy, FriendsResponse::Refused), done)
                }
            };
            log_unsent(net.respond(reply, &Response::Friends(response)));
            done
        });
    }

    /// Stores the profiles that a peer knows, up to the first one that its owner did not sign.
    pub(super) fn on_profiles(&mut self, peer: PeerId, profiles: Vec<SignedProfile>) {
        let (friends, me) = (self.friends.clone(), self.me);
        let done = self.done.clone();
        self.spawn_work(async move {
            for profile in profiles.into_iter().filter(|profile| profile.peer != me) {
                let introduces_itself = profile.peer == peer;
                let result = match friends.keep_profile(profile.clone(), now()).await {
                    Ok(kept) => {
                        if introduces_itself && let Err(error) = friends.online(peer, now()).await {
                            tracing::warn!(%error, "an arrival could not be stored");
                        }
                        let news = introduces_itself
                            || matches!(kept, ProfileReceipt::New | ProfileReceipt::Updated);
                        news.then(|| Done::Profile(peer, Box::new(profile)))
                    }
                    Err(error) => profile_offence(peer, &error),
                };
                let stop = matches!(result, Some(Done::Offence { .. }));
                if let Some(result) = result {
                    // An error means that the router has ended and needs no result.
                    let _ = done.send(result).await;
                }
                if stop {
                    break;
                }
            }
            None
        });
    }

    /// Passes the addresses in a stored profile on to the network, as the word of the peer that
    /// sent the profile.
    pub(super) fn profile_stored(&mut self, teller: PeerId, profile: &SignedProfile) {
        let peer = profile.peer;
        if !self.connected.contains_key(&peer) {
            // It may have left while its introduction was written to the disk.
            self.set_offline(peer);
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

/// Returns the offence of a peer that sent a profile which was refused, if it is one.
fn profile_offence(peer: PeerId, error: &ProfileError) -> Option<Done> {
    error.offence().map(|offence| Done::Offence { peer, offence, reason: error.to_string() })
}
