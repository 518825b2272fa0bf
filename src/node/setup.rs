//! Chains come and go: making one, joining one, leaving one. All on a folder on which no node runs.

use std::{io, path::PathBuf};

use super::{
    clock::now,
    datadir::{CHAIN_FILE, DataDir, FRIENDS_FILE, IDENTITY_FILE},
    keyring::blocking,
    rpc::{
        RpcError,
        types::CreateBlockchain,
        ProgressGuard,
    },
};
use crate::{
    chain::{miner::mine_genesis, store},
    consensus::{ChainParams, Checkpoint, DEFAULT_FLOOR_BITS, DEFAULT_SPACING_MS, Invite, Network},
    friends::FriendsHandle,
    net::Identity,
    primitives::NetworkId,
};

/// The cache while a chain is made or joined: one block passes through it.
const SETUP_CACHE_MIB: usize = 16;

/// Mines the genesis that was asked for.
pub(super) async fn mine_network(request: CreateBlockchain, task: ProgressGuard) -> Result<Network, RpcError> {
    let name = request.name.unwrap_or_else(|| "friends".to_owned());
    let spacing = request.spacing_ms.unwrap_or(DEFAULT_SPACING_MS);
    let params = ChainParams::new(&name, spacing, request.bits.unwrap_or(DEFAULT_FLOOR_BITS))?;
    let template = Network::genesis_to_mine(&params, request.address.0, now())?;
    let expected = 1_u64 << params.floor_bits.min(63);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let genesis = blocking(move || {
        mine_genesis(template, threads, &mut |tried| {
            // How long luck takes nobody knows: the bar fills at what is expected and waits there.
            task.update(tried.min(expected), Some(expected));
            std::ops::ControlFlow::Continue(())
        })
    });
    let genesis = genesis.await?.ok_or_else(|| RpcError::new("cancelled", "mining the genesis was cancelled"))?;
    Ok(Network::from_genesis(genesis)?)
}

/// Makes the chain's file with its genesis, and for an invite, with its checkpoint.
pub(super) async fn create_chain(
    folder: &DataDir,
    network: Network,
    checkpoint: Option<Checkpoint>,
) -> Result<(), RpcError> {
    let path = folder.file(CHAIN_FILE);
    blocking(move || store::create(&path, &network, checkpoint, SETUP_CACHE_MIB).map(drop)).await??;
    Ok(())
}

/// Takes up an invite's chain, and notes where its friends are.
pub(super) async fn join(folder: &DataDir, invite: Invite) -> Result<(), RpcError> {
    let network = invite.network().clone();
    let addresses = invite.addresses().to_vec();
    if !addresses.is_empty() {
        let identity = Identity::load_or_create(&folder.file(IDENTITY_FILE))?;
        let (friends, thread) = FriendsHandle::open(folder.file(FRIENDS_FILE), network.id, identity.peer_id())?;
        friends.keep_invited(addresses, now()).await?;
        drop(friends);
        blocking(move || thread.join()).await?.map_err(|_| RpcError::internal("the friends thread panicked"))?;
    }
    create_chain(folder, network, Some(*invite.checkpoint())).await
}

/// Moves the chain's file aside. Wallet and friends stay.
pub(super) async fn leave_chain(folder: &DataDir, network: NetworkId) -> Result<String, RpcError> {
    let from = folder.file(CHAIN_FILE);
    let short: String = network.to_string().chars().take(8).collect();
    let backup: PathBuf = folder.file(&format!("chain-{short}-{}.redb", now()));
    let to = backup.clone();
    blocking(move || std::fs::rename(&from, &to)).await?.map_err(|cause: io::Error| {
        RpcError::new("disk", format!("the chain's file could not be moved to '{}': {cause}", backup.display()))
    })?;
    Ok(backup.display().to_string())
}
