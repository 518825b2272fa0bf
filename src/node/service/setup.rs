//! Creates, joins, repairs and leaves chains, in a folder on which no node runs.

use std::{io, path::PathBuf, sync::atomic::AtomicBool};

use crate::{
    chain::{ChainOptions, api::ChainAudit, repair::salvage::salvage},
    consensus::{ChainParams, DEFAULT_FLOOR_BITS, DEFAULT_SPACING_MS, Invite, Network},
    datadir::{CHAIN_FILE, DataDir, FolderLock, IDENTITY_FILE},
    friends::{AddressSource, FriendsHandle, split_address},
    miner::{default_threads, mine_genesis},
    net::Identity,
    node::{
        blocking::blocking,
        clock::now,
        open::{create_chain, open_friends},
    },
    peers::Trust,
    primitives::{NetworkId, printable},
    rpc::{
        ProgressGuard, RpcError,
        types::{CreateBlockchain, Joined},
    },
};

/// The store's cache while a damaged chain is rebuilt, in MiB.
const SALVAGE_CACHE_MIB: usize = 128;

/// Mines the genesis of a new network.
pub(super) async fn mine_network(
    request: CreateBlockchain,
    task: ProgressGuard,
) -> Result<Network, RpcError> {
    let name = request.name.unwrap_or_else(|| "friends".to_owned());
    let spacing = request.spacing_ms.unwrap_or(DEFAULT_SPACING_MS);
    let params = ChainParams::new(&name, spacing, request.bits.unwrap_or(DEFAULT_FLOOR_BITS))?;
    let template = Network::genesis_to_mine(&params, request.address.0, now())?;
    let expected = 1_u64 << params.floor_bits.min(63);
    let genesis = blocking(move || {
        // Only the end of the process stops the search, and nothing is lost then.
        mine_genesis(template, default_threads(), &AtomicBool::new(false), |tried| {
            // The search may take longer than expected. The bar then stays full.
            task.update(tried.min(expected), Some(expected));
        })
    });
    let genesis = genesis.await??;
    Ok(Network::from_genesis(genesis)?)
}

/// Fails if the folder holds the invite's chain.
pub(super) fn check_not_joined(held: Option<&Network>, wanted: &Network) -> Result<(), RpcError> {
    if held.is_none_or(|held| held.id != wanted.id) {
        return Ok(());
    }
    let name = printable(&wanted.params.name);
    let sentence = format!(
        "this node is on the chain {name} ({}) already: there is nothing to join",
        wanted.id
    );
    Err(RpcError::new("chain_exists", sentence))
}

/// Creates an invite's chain, stores the invite's addresses, and stores the user's name if one is
/// given. `open` is the friends' file if it is open.
pub(super) async fn join(
    folder: &DataDir,
    open: Option<&FriendsHandle>,
    invite: Invite,
    name: Option<String>,
) -> Result<Joined, RpcError> {
    let network = invite.network().clone();
    let addresses = invite.addresses().to_vec();
    let joined = Joined {
        network_id: network.id,
        network_name: printable(&network.params.name),
        addresses: u32::try_from(addresses.len()).unwrap_or(u32::MAX),
    };
    match open {
        Some(friends) => store_invite(friends, addresses, name).await?,
        None if addresses.is_empty() && name.is_none() => {}
        None => {
            let identity = Identity::load_or_create(&folder.file(IDENTITY_FILE))?;
            let (friends, thread) =
                open_friends(folder, &identity, network.id, Trust::default(), false).await?;
            store_invite(&friends, addresses, name).await?;
            friends.shut_down().await;
            blocking(move || thread.join())
                .await?
                .map_err(|_| RpcError::internal("the friends thread panicked"))?;
        }
    }
    create_chain(folder, network, Some(*invite.checkpoint())).await?;
    Ok(joined)
}

async fn store_invite(
    friends: &FriendsHandle,
    addresses: Vec<String>,
    name: Option<String>,
) -> Result<(), RpcError> {
    if let Some(name) = name {
        friends.set_own_profile(name, Vec::new(), None, now()).await?;
    }
    for address in addresses {
        if let Ok((address, Some(peer))) = split_address(&address) {
            let address = vec![address.to_owned()];
            friends.add_addresses(peer, address, AddressSource::Invite, now()).await?;
        }
    }
    Ok(())
}

/// Moves a folder from its chain to an invite's chain. Returns the path of the old chain's backup.
/// After a failure the folder has its old chain.
pub(crate) async fn move_to(
    lock: &FolderLock,
    from: NetworkId,
    invite: &str,
) -> Result<(Joined, String), RpcError> {
    let folder = lock.folder();
    let invite = Invite::from_text(invite)?;
    let backup = leave_chain(folder, Some(from)).await?;
    match join(folder, None, invite, None).await {
        Ok(joined) => Ok((joined, backup)),
        Err(error) => {
            let (old, chain) = (backup.clone(), folder.file(CHAIN_FILE));
            let restored = blocking(move || std::fs::rename(old, chain)).await?;
            let Err(cause) = restored else { return Err(error) };
            let sentence = format!("{error}; the old chain is in {backup}: {cause}");
            Err(RpcError::new("disk", sentence))
        }
    }
}

/// Rebuilds a damaged chain from its blocks. No process may have its file open.
pub(super) async fn salvage_chain(
    folder: &DataDir,
    task: ProgressGuard,
) -> Result<ChainAudit, RpcError> {
    let path = folder.file(CHAIN_FILE);
    let options = ChainOptions { cache_mib: SALVAGE_CACHE_MIB, ..ChainOptions::default() };
    let work = move || {
        salvage(&path, options, now(), &mut |done, goal| {
            task.update(u64::from(done), Some(u64::from(goal)));
        })
    };
    Ok(blocking(work).await??.audit)
}

/// Moves the chain's file aside, readable or not, and returns its new path. Wallet and friends
/// stay.
pub(super) async fn leave_chain(
    folder: &DataDir,
    network: Option<NetworkId>,
) -> Result<String, RpcError> {
    let from = folder.file(CHAIN_FILE);
    let short = network.map_or_else(
        || "unread".to_owned(),
        |network| network.to_string().chars().take(8).collect(),
    );
    let backup: PathBuf = folder.file(&format!("chain-{short}-{}.redb", now()));
    let to = backup.clone();
    blocking(move || std::fs::rename(&from, &to)).await?.map_err(|cause: io::Error| {
        RpcError::new(
            "disk",
            format!("the chain's file could not be moved to '{}': {cause}", backup.display()),
        )
    })?;
    Ok(backup.display().to_string())
}
