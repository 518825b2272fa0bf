//! Profiles: ours to friends, theirs to us.

use super::{Done, Purpose, Router, network::log_unsent};
use crate::{
    friends::{AddressSource, Kept, ProfileError},
    net::ReplyId,
    node::clock::now,
    peers::Offence,
    primitives::{Address, PeerId},
    wire::{
        FriendsRequest, FriendsResponse, Refusal, Request, Response, SignedProfile,
        limits::MAX_ADDRESSES,
    },
};

impl Router {
    /// Signs our profile anew, if anything in it has changed: the name, where we listen, and where
    /// coins for us go.
    pub(super) fn sign_profile(&self) {
        let (friends, net, keyring) =
            (self.friends.clone(), self.net.clone(), self.keyring.clone());
        let (name, before) = (self.name.clone(), self.profile.clone());
        self.spawn_work(async move {
            let addresses: Vec<String> =
                net.addresses().await.ok()?.into_iter().take(MAX_ADDRESSES).collect();
            let payment = keyring.first_address().await.map(|Address(owner)| owner);
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

    /// After the first hello: who we are, and whom the other knows.
    pub(super) fn introduce(&mut self, peer: PeerId) {
        if let Some(profile) = self.profile.clone() {
            self.ask(
                peer,
                Purpose::Introduce,
                &Request::Friends(FriendsRequest::Introduce(profile)),
            );
        }
        self.ask(peer, Purpose::Explore, &Request::Friends(FriendsRequest::Explore));
        self.send_outbox(peer);
    }

    /// Our profile is signed anew: everybody who is here gets it.
    pub(super) fn own_profile_signed(&mut self, profile: &SignedProfile) {
        self.profile = Some(profile.clone());
        let met = self.connected.iter().filter(|(_, state)| state.status.is_some());
        let peers: Vec<PeerId> = met.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.ask(
                peer,
                Purpose::Introduce,
                &Request::Friends(FriendsRequest::Introduce(profile.clone())),
            );
        }
    }

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

    /// A peer introduces somebody: only itself may it be.
    pub(super) fn introduced(&mut self, peer: PeerId, reply: ReplyId, profile: SignedProfile) {
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
                        tracing::warn!(%error, "an arrival could not be kept");
                    }
                    (FriendsResponse::Welcome, Some(Done::Profile(Box::new(profile))))
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

    /// Profiles that a peer knows: each is kept if its owner signed it.
    pub(super) fn explored(&mut self, peer: PeerId, profiles: Vec<SignedProfile>) {
        let (friends, me) = (self.friends.clone(), self.identity.peer_id());
        let done = self.done.clone();
        self.spawn_work(async move {
            for profile in profiles.into_iter().filter(|profile| profile.peer != me) {
                let introduces_itself = profile.peer == peer;
                let brought = match friends.keep_profile(profile.clone(), now()).await {
                    Ok(kept) => {
                        if introduces_itself && let Err(error) = friends.online(peer, now()).await {
                            tracing::warn!(%error, "an arrival could not be kept");
                        }
                        let news = introduces_itself || matches!(kept, Kept::New | Kept::Updated);
                        news.then(|| Done::Profile(Box::new(profile)))
                    }
                    Err(error) => profile_offence(peer, &error),
                };
                let stop = matches!(brought, Some(Done::Offence { .. }));
                if let Some(brought) = brought {
                    // The router has ended, and nobody needs it.
                    let _ = done.send(brought).await;
                }
                if stop {
                    break;
                }
            }
            None
        });
    }

    /// A friend's profile is held: it can be dialed.
    pub(super) fn profile_kept(&mut self, profile: &SignedProfile) {
        let peer = profile.peer;
        if !self.connected.contains_key(&peer) {
            // It may have left between its introduction and the disk.
            self.gone(peer);
        }
        if let Err(error) = self.net.add_known(peer, &profile.addresses) {
            tracing::debug!(%peer, %error, "addresses were not taken");
        }
        let (friends, addresses) = (self.friends.clone(), profile.addresses.clone());
        self.spawn_work(async move {
            if let Err(error) =
                friends.add_addresses(peer, addresses, AddressSource::Profile, now()).await
            {
                tracing::warn!(%error, "addresses could not be kept");
            }
            None
        });
    }
}

/// What a profile that was not taken costs whoever sent it.
fn profile_offence(peer: PeerId, error: &ProfileError) -> Option<Done> {
    error.offence().map(|offence| Done::Offence { peer, offence, reason: error.to_string() })
}
