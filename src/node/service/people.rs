//! Commands about people: forgetting, blocking, the own name, and the payee of a payment.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Service, names::not_a_payee};
use crate::{
    node::clock::now,
    primitives::{Address, PeerId, printable},
    rpc::{
        RpcError,
        types::{BanState, FriendBlocked, FriendForgotten, Payee, Renamed},
    },
};

/// The node's name, not yet made printable. Empty in a folder that never had a name.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnName(Arc<RwLock<String>>);

impl OwnName {
    #[must_use]
    pub(crate) fn new(name: String) -> Self {
        Self(Arc::new(RwLock::new(name)))
    }

    #[must_use]
    pub(crate) fn get(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, name: String) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = name;
    }
}

impl Service {
    /// Stores the node's name for its next start. Returns it with composed accents.
    async fn set_own_name(&self, name: String) -> Result<String, RpcError> {
        let name = self.friends_handle()?.set_own_name(name).await?;
        self.name.set(name.clone());
        Ok(name)
    }

    /// Changes the own name, and announces it to the connected friends.
    pub(super) async fn take_name(&self, name: String) -> Result<Renamed, RpcError> {
        let name = self.set_own_name(name).await?;
        self.keep_name(&name).await?;
        if let Some(router) = &self.router {
            router.rename(name.clone()).await?;
        }
        Ok(Renamed { name: printable(&name) })
    }

    pub(super) async fn forget_friend(&self, friend: String) -> Result<FriendForgotten, RpcError> {
        let (peer_id, name) = self.friends_handle()?.forget(friend, now()).await?;
        Ok(FriendForgotten { name: printable(&name), peer_id, forgotten: true })
    }

    /// Blocks a peer, or lifts the block. Connections change only after the change is durable.
    pub(super) async fn block(
        &self,
        friend: String,
        blocked: bool,
    ) -> Result<FriendBlocked, RpcError> {
        let friends = self.friends_handle()?;
        let (peer_id, name) = if blocked {
            friends.block(friend, now()).await?
        } else {
            friends.unblock(friend).await?
        };
        if let Some(router) = &self.router {
            router.block(peer_id, blocked).await?;
            if !blocked {
                router.befriended(peer_id).await?;
            }
        }
        Ok(FriendBlocked { name: printable(&name), peer_id, blocked })
    }

    /// Bans a peer, or lifts its ban.
    pub(super) async fn set_ban(&self, peer: &str, banned: bool) -> Result<BanState, RpcError> {
        let router = self.router()?;
        let peer_id = self.peer(peer).await?;
        if !banned {
            self.check_not_blocked(peer_id).await?;
        } else if peer_id == self.peer_id {
            let sentence =
                "that is this node itself, which cannot be banned: peers says who else is there";
            return Err(RpcError::new("oneself", sentence));
        }
        router.ban(peer_id, banned).await?;
        Ok(BanState { peer_id, banned })
    }

    /// Fails for a blocked peer, which would stay shut out without its ban.
    async fn check_not_blocked(&self, peer: PeerId) -> Result<(), RpcError> {
        if self.friends_handle()?.blocked().await?.contains(&peer) {
            let sentence = format!("{peer} is blocked: unblock-friend lets it in again");
            return Err(RpcError::new("blocked", sentence));
        }
        Ok(())
    }

    /// Returns the peer that `send` would pay, and what the user must confirm first.
    pub(super) async fn payee_of(&self, to: String) -> Result<Payee, RpcError> {
        if Address::looks_like(&to) {
            let address = to.parse::<Address>()?;
            return Ok(Payee { to, name: None, address, candidates: Vec::new() });
        }
        let payee = self.friends_handle()?.payee(to.clone()).await;
        let payee = payee.map_err(|error| not_a_payee(&to, error))?;
        let candidates: Vec<_> = payee.candidates.iter().map(|text| printable(text)).collect();
        let to = candidates.first().cloned().unwrap_or(to);
        let (name, address) = (Some(printable(&payee.label)), Address(payee.owner));
        Ok(Payee { to, name, address, candidates })
    }
}
