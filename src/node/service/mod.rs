//! The commands: the one implementation of the RPC, over the parts of a running node, or over a
//! folder opened for one command when no node runs.

mod wallet;

use std::{net::SocketAddr, pin::pin};

use super::{
    clock::now,
    keyring::{Keyring, blocking},
    proofs,
    router::{RouterHandle, is_far_off},
    setup,
};
use crate::{
    chain::{
        ChainFault, ChainHandle, ChainReader,
        api::{Balance, BlockInfo, ChainAudit, TxState},
    },
    consensus::{Invite, Network},
    datadir::DataDir,
    friends::{ChatRecord, FriendInfo, FriendsHandle, LineState},
    miner::MinerHandle,
    primitives::{Address, Amount, BlockHash, Height, Owner, PeerId, TxId, printable},
    rpc::{
        EventFeed, FriendchainApiServer, ProgressBoard, ProgressGuard, RpcError,
        api::MAX_PRINTED_BLOCKS,
        types::{
            Account, AddressBalance, AddressList, AuditReport, BalanceReport, BanState, BlockList,
            BlockView, BranchAccepted, BroadcastSent, ChainCreated, ChatHistory, ChatMessage,
            ChatSent, ChatState, Coins, CreateBlockchain, CreateWallet, EventPage, FriendList,
            FriendView, InviteText, Joined, LeftChain, LockState, MineMode, MinedBlocks, PeerList,
            Phase, Progress, ProofMade, ProofReport, RaiseFee, Secret, SendTrade, StatusReport,
            Stopping, Submitted, Synced, TxList, TxPlace, TxView, Units, WaitingView,
            WalletCreated, WriteNote,
        },
    },
};
use jsonrpsee::core::async_trait;
use tokio::sync::mpsc;

/// Bytes of blocks after which one page of `print_chain` ends.
const MAX_PRINTED_BYTES: usize = 8 * 1024 * 1024;

/// Chat lines in one answer to `history`.
const MAX_HISTORY: u32 = 1_000;

/// A chain and what works on it.
#[derive(Clone)]
pub(super) struct Ledger {
    /// The chain thread.
    pub(super) chain: ChainHandle,
    /// Its snapshots.
    pub(super) reader: ChainReader,
    /// The miners.
    pub(super) miner: MinerHandle,
}

/// Why files that are there could not be opened for one command.
#[derive(Debug, Default)]
pub(super) struct Unusable {
    /// The chain's.
    pub(super) chain: Option<RpcError>,
    /// The friends'.
    pub(super) friends: Option<RpcError>,
}

/// The parts that the commands work on.
pub(super) struct Service {
    /// The folder.
    pub(super) datadir: DataDir,
    /// What the node calls itself.
    pub(super) name: String,
    /// Its identity.
    pub(super) peer_id: PeerId,
    /// The wallet.
    pub(super) keyring: Keyring,
    /// The chain, when the folder has one.
    pub(super) ledger: Option<Ledger>,
    /// Friends and messages.
    pub(super) friends: Option<FriendsHandle>,
    /// Why one of them is missing though its file is there.
    pub(super) unusable: Unusable,
    /// The running node; none when the folder was opened for one command.
    pub(super) router: Option<RouterHandle>,
    /// What consoles show.
    pub(super) feed: EventFeed,
    /// How far long work is.
    pub(super) progress: ProgressBoard,
    /// Who is paid for blocks mined here, if not the wallet's first address.
    pub(super) miner_address: Option<Address>,
    /// How the node mines by itself.
    pub(super) mining: MineMode,
    /// Where health and metrics are shown.
    pub(super) metrics: Option<SocketAddr>,
    /// How many blocks of the best chain this wallet won, counted so far.
    pub(super) blocks_won: super::blocks_won::BlocksWon,
}

impl Service {
    fn ledger(&self) -> Result<&Ledger, RpcError> {
        self.ledger.as_ref().ok_or_else(|| self.without_ledger())
    }

    fn without_ledger(&self) -> RpcError {
        self.unusable.chain.clone().unwrap_or_else(RpcError::no_chain)
    }

    fn router(&self) -> Result<&RouterHandle, RpcError> {
        self.router.as_ref().ok_or_else(RpcError::not_running)
    }

    fn friends_book(&self) -> Result<&FriendsHandle, RpcError> {
        self.friends
            .as_ref()
            .ok_or_else(|| self.unusable.friends.clone().unwrap_or_else(|| self.without_ledger()))
    }

    /// Refuses where a chain is: the folder holds one at most.
    fn without_chain(&self) -> Result<(), RpcError> {
        match &self.ledger {
            None => self.unusable.chain.clone().map_or(Ok(()), Err),
            Some(ledger) => Err(RpcError::new(
                "chain_exists",
                format!(
                    "this folder holds the chain {} already: leave-chain first, or use another \
                     --node-id or --data-dir",
                    ledger.chain.summary().network.id
                ),
            )),
        }
    }

    async fn balance_of(&self, owner: Owner) -> Result<Balance, RpcError> {
        match &self.ledger {
            Some(ledger) => Ok(ledger.chain.balance(owner).await?),
            None => Ok(Balance::default()),
        }
    }

    async fn block_view(
        &self,
        which: impl FnOnce(&ChainReader) -> Option<BlockInfo> + Send + 'static,
    ) -> Result<Option<BlockView>, RpcError> {
        let reader = self.ledger()?.reader.clone();
        let found = blocking(move || which(&reader)).await?;
        Ok(found
            .map(|info| BlockView::new(info.hash, &info.block, &info.fees, info.tip_height, true)))
    }
}

fn unknown_transaction(txid: TxId) -> RpcError {
    RpcError::new("unknown_transaction", format!("neither the chain nor the mempool has {txid}"))
}

#[async_trait]
impl FriendchainApiServer for Service {
    async fn create_wallet(&self, request: CreateWallet) -> Result<WalletCreated, RpcError> {
        self.make_wallet(request).await
    }

    async fn recovery_phrase(&self, passphrase: Option<Secret>) -> Result<Secret, RpcError> {
        let mut wallet = self.keyring.open_with(passphrase).await?;
        Ok(Secret::new(wallet.recovery_phrase(now())?.reveal().to_string()))
    }

    async fn unlock(&self, passphrase: Secret, for_ms: Option<u64>) -> Result<LockState, RpcError> {
        self.router()?;
        let wallet = self.keyring.open().await?;
        let until = for_ms.map(|ms| now().saturating_add(ms));
        wallet.unlock(passphrase, until).await?;
        Ok(LockState { unlocked: true })
    }

    async fn lock(&self) -> Result<LockState, RpcError> {
        self.router()?;
        self.keyring.open().await?.lock()?;
        Ok(LockState { unlocked: false })
    }

    async fn list_addresses(&self) -> Result<AddressList, RpcError> {
        let addresses = self.keyring.open().await?.addresses();
        let mut list = AddressList::default();
        for address in addresses {
            let balance = self.balance_of(address.0).await?;
            list.addresses.push(AddressBalance::new(address, balance.confirmed));
        }
        Ok(list)
    }

    async fn account(&self) -> Result<Account, RpcError> {
        let addresses = self.list_addresses().await?.addresses;
        let owners: Vec<Owner> = addresses.iter().map(|entry| entry.address.0).collect();
        let blocks_won = match &self.ledger {
            Some(ledger) => self.blocks_won.count(ledger.reader.clone(), owners).await?,
            None => 0,
        };
        Ok(Account { addresses, blocks_won })
    }

    async fn create_blockchain(&self, request: CreateBlockchain) -> Result<ChainCreated, RpcError> {
        self.without_chain()?;
        let task = self.progress.begin("create", None, now());
        let network = setup::mine_network(request, task).await?;
        let hash = network.genesis.hash();
        let genesis = BlockView::new(hash, &network.genesis, &[], 0, true);
        setup::create_chain(&self.datadir, network.clone(), None).await?;
        Ok(ChainCreated { network_id: network.id, block: hash, genesis })
    }

    async fn invite(&self) -> Result<InviteText, RpcError> {
        let ledger = self.ledger()?;
        let checkpoint = ledger.chain.invite_checkpoint().await?;
        let addresses = match &self.router {
            Some(router) => router.invite_addresses().await?,
            None => Vec::new(),
        };
        let network = Network::clone(&ledger.chain.summary().network);
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let invite = Invite::new(network, checkpoint, addresses)?.to_text();
        Ok(InviteText { invite, addresses: count })
    }

    async fn join(&self, invite: String) -> Result<Joined, RpcError> {
        self.without_chain()?;
        let invite = Invite::from_text(&invite)?;
        let network_id = invite.network().id;
        setup::join(&self.datadir, invite).await?;
        Ok(Joined { network_id })
    }

    async fn leave_chain(&self) -> Result<LeftChain, RpcError> {
        if self.router.is_some() {
            return Err(RpcError::new(
                "running",
                "a node runs on this folder: stop it first, then leave-chain",
            ));
        }
        let network_id = match (&self.ledger, &self.unusable.chain) {
            (Some(ledger), _) => Some(ledger.chain.summary().network.id),
            // Its file is kept, whatever it is.
            (None, Some(_)) => None,
            (None, None) => return Err(RpcError::no_chain()),
        };
        let backup = setup::leave_chain(&self.datadir, network_id).await?;
        Ok(LeftChain { network_id, backup })
    }

    async fn get_balance(&self, address: Address) -> Result<BalanceReport, RpcError> {
        let balance = self.ledger()?.chain.balance(address.0).await?;
        Ok(BalanceReport::new(
            address,
            balance.confirmed,
            balance.pending_in,
            balance.pending_out,
            balance.height,
        ))
    }

    async fn send(&self, request: SendTrade) -> Result<Submitted, RpcError> {
        self.pay(request).await
    }

    async fn raise_fee(&self, request: RaiseFee) -> Result<Submitted, RpcError> {
        self.pay_more(request).await
    }

    async fn note(&self, request: WriteNote) -> Result<Submitted, RpcError> {
        self.write_note(request).await
    }

    async fn mine(&self, count: Option<u32>, to: Option<Address>) -> Result<MinedBlocks, RpcError> {
        let ledger = self.ledger()?;
        let owner = match to {
            Some(address) => address.0,
            None => self.reward_owner().await?,
        };
        let count = count.unwrap_or(1);
        let task = self.progress.begin("mine", Some(u64::from(count)), now());
        let mut blocks = Vec::new();
        // In short runs, so that progress shows and a client that leaves ends the work.
        while let left @ 1.. = count.saturating_sub(u32::try_from(blocks.len()).unwrap_or(u32::MAX))
        {
            blocks.extend(ledger.miner.mine_blocks(left.min(16), owner).await?);
            task.update(blocks.len() as u64, Some(u64::from(count)));
        }
        Ok(MinedBlocks { blocks })
    }

    async fn print_chain(
        &self,
        from: Option<Height>,
        limit: Option<u32>,
    ) -> Result<BlockList, RpcError> {
        let limit = limit.unwrap_or(MAX_PRINTED_BLOCKS).min(MAX_PRINTED_BLOCKS);
        let ledger = self.ledger()?;
        let tip = ledger.chain.summary().tip.height;
        let reader = ledger.reader.clone();
        let blocks = blocking(move || {
            let (mut blocks, mut bytes) = (Vec::new(), 0_usize);
            let mut height = Some(from.unwrap_or(tip).min(tip));
            while let Some(at) = height
                && blocks.len() < usize::try_from(limit).unwrap_or(usize::MAX)
                && bytes < MAX_PRINTED_BYTES
            {
                let Some(info) = reader.block_at(at) else { break };
                bytes = bytes.saturating_add(info.block.encoded_len());
                blocks.push(BlockView::new(
                    info.hash,
                    &info.block,
                    &info.fees,
                    info.tip_height,
                    true,
                ));
                height = at.checked_sub(1);
            }
            blocks
        });
        Ok(BlockList { blocks: blocks.await? })
    }

    async fn block(&self, block: String) -> Result<BlockView, RpcError> {
        let missing = || {
            RpcError::new(
                "unknown_block",
                format!(
                    "the best chain has no block '{}': print-chain shows what it has",
                    printable(&block)
                ),
            )
        };
        // A hash may be digits alone and read as a number: its length tells.
        let found = match (block.parse::<BlockHash>(), block.parse::<Height>()) {
            (Err(_), Ok(height)) => self.block_view(move |reader| reader.block_at(height)).await?,
            (hash, _) => {
                let hash = hash?;
                self.block_view(move |reader| reader.block(&hash)).await?
            }
        };
        found.ok_or_else(missing)
    }

    async fn mempool(&self) -> Result<TxList, RpcError> {
        let entries = self.ledger()?.chain.mempool().await?;
        let transactions = entries.iter().map(|entry| TxView {
            waiting: Some(WaitingView::new(entry)),
            ..TxView::new(&entry.transaction, entry.txid, entry.fee, TxPlace::Mempool)
        });
        Ok(TxList { transactions: transactions.collect() })
    }

    async fn tx(&self, txid: TxId) -> Result<TxView, RpcError> {
        let ledger = self.ledger()?;
        let info = ledger.chain.transaction(txid).await?;
        let info = info.ok_or_else(|| unknown_transaction(txid))?;
        let tip_height = ledger.chain.summary().tip.height;
        let place = match info.state {
            TxState::Mempool => TxPlace::Mempool,
            TxState::Mined { block, height } => TxPlace::Mined { block, height, tip_height },
            TxState::Void { reason } => TxPlace::Void { reason },
        };
        Ok(TxView::new(&info.transaction, txid, info.fee, place))
    }

    async fn verify_chain(&self) -> Result<AuditReport, RpcError> {
        let chain = self.ledger()?.chain.clone();
        let task = self.progress.begin("verify", None, now());
        let audit = follow(task, |progress| async move { chain.verify(progress).await }).await?;
        Ok(audit_report(audit))
    }

    async fn reindex(&self) -> Result<AuditReport, RpcError> {
        if let Some(ledger) = &self.ledger {
            let chain = ledger.chain.clone();
            let task = self.progress.begin("reindex", None, now());
            match follow(task, |progress| async move { chain.reindex(progress).await }).await {
                // Too damaged to be mended in place.
                Err(ChainFault::Corrupt(_)) if self.router.is_none() => {}
                audit => return Ok(audit_report(audit?)),
            }
        } else if self.unusable.chain.as_ref().is_none_or(|error| error.code != "bad_chain_file") {
            return Err(self.without_ledger());
        }
        let task = self.progress.begin("reindex", None, now());
        Ok(audit_report(setup::salvage_chain(&self.datadir, task).await?))
    }

    async fn accept_branch(&self, block: BlockHash) -> Result<BranchAccepted, RpcError> {
        let tip = self.ledger()?.chain.accept_branch(block).await?;
        Ok(BranchAccepted { tip: tip.hash, height: tip.height })
    }

    async fn prove(&self, txid: TxId) -> Result<ProofMade, RpcError> {
        proofs::prove(self.ledger()?, txid).await
    }

    async fn verify_proof(
        &self,
        proof: String,
        trust: Option<BlockHash>,
    ) -> Result<ProofReport, RpcError> {
        proofs::verify(self.ledger.as_ref(), proof, trust).await
    }

    async fn status(&self) -> Result<StatusReport, RpcError> {
        let summary = self.ledger()?.chain.summary();
        let live = match &self.router {
            Some(router) => Some(router.status().await?),
            None => None,
        };
        let datadir = self.datadir.clone();
        let disk_bytes = blocking(move || datadir.disk_bytes()).await?;
        let miner = match self.miner_address {
            Some(address) => Some(address),
            None => self.keyring.first_address().await,
        };
        let progress = live.as_ref().map(|live| live.progress);
        let floor = Amount::from_units(summary.floor.at(now()).units());
        Ok(StatusReport {
            name: printable(&self.name),
            peer_id: self.peer_id,
            network_id: summary.network.id,
            network_name: printable(&summary.network.params.name),
            phase: match (&summary.diverged, progress) {
                (Some(_), _) => Phase::Diverged,
                (None, Some(progress)) => progress.phase,
                (None, None) => Phase::Alone,
            },
            height: summary.tip.height,
            tip: summary.tip.hash,
            best_header_height: summary.best_header.height,
            work: summary.tip.work.to_string(),
            peers: live.as_ref().map_or(0, |live| live.peers),
            mempool: u32::try_from(summary.mempool).unwrap_or(u32::MAX),
            mempool_bytes: summary.mempool_bytes,
            fee_floor: Coins(floor),
            fee_floor_units: Units(floor),
            listen: live.as_ref().map(|live| live.listen.clone()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: live.is_some(),
            mining: self.mining,
            miner,
            blocks_per_second: progress
                .map(|progress| progress.blocks_per_second)
                .filter(|rate| *rate > 0),
            seconds_left: progress.and_then(|progress| progress.seconds_left),
            disk_bytes,
            memory_bytes: super::process::resident_bytes(),
            clock_offset_ms: live
                .as_ref()
                .and_then(|live| live.clock_offset_ms)
                .filter(|offset| is_far_off(*offset)),
            metrics: self.metrics,
            diverged: summary.diverged.map(Into::into),
            data_dir: self.datadir.path().display().to_string(),
        })
    }

    async fn peers(&self) -> Result<PeerList, RpcError> {
        self.router()?.peers().await
    }

    async fn friends(&self) -> Result<FriendList, RpcError> {
        let mut friends: Vec<FriendView> =
            self.friends_book()?.list().await?.into_iter().map(friend_view).collect();
        friends.sort_by(|a, b| (&a.name, &a.suffix).cmp(&(&b.name, &b.suffix)));
        Ok(FriendList { friends })
    }

    async fn chat(&self, friend: String, text: String) -> Result<ChatSent, RpcError> {
        self.router()?.chat(friend, text).await
    }

    async fn broadcast(&self, text: String) -> Result<BroadcastSent, RpcError> {
        self.router()?.broadcast(text).await
    }

    async fn history(
        &self,
        friend: Option<String>,
        limit: Option<u32>,
    ) -> Result<ChatHistory, RpcError> {
        let friends = self.friends_book()?;
        let limit = limit.unwrap_or(100).min(MAX_HISTORY);
        let peer = match friend {
            Some(friend) => Some(friends.resolve(friend).await?),
            None => None,
        };
        let lines = friends.history(peer, usize::try_from(limit).unwrap_or(usize::MAX)).await?;
        Ok(ChatHistory { messages: lines.into_iter().map(chat_message).collect() })
    }

    async fn sync(&self, friend: Option<String>) -> Result<Synced, RpcError> {
        let peer = match friend {
            Some(friend) => Some(self.friends_book()?.resolve(friend).await?),
            None => None,
        };
        self.router()?.sync(peer).await
    }

    async fn ban(&self, peer: PeerId) -> Result<BanState, RpcError> {
        let router = self.router()?;
        if peer == self.peer_id {
            let sentence =
                "that is this node itself, which cannot be banned: peers says who else is there";
            return Err(RpcError::new("oneself", sentence));
        }
        router.ban(peer, true).await
    }

    async fn unban(&self, peer: PeerId) -> Result<BanState, RpcError> {
        self.router()?.ban(peer, false).await
    }

    async fn stop(&self) -> Result<Stopping, RpcError> {
        self.router()?.stop();
        Ok(Stopping { stopping: true })
    }

    async fn progress(&self) -> Result<Option<Progress>, RpcError> {
        Ok(self.progress.current())
    }

    async fn events(&self, after: u64, wait_ms: u64) -> Result<EventPage, RpcError> {
        Ok(self.feed.page(after, wait_ms).await)
    }
}

/// Shows how far the chain thread is while it works.
async fn follow<T, F: Future<Output = T>>(
    task: ProgressGuard,
    work: impl FnOnce(mpsc::Sender<(Height, Height)>) -> F,
) -> T {
    let (progress, mut steps) = mpsc::channel(1);
    let mut work = pin!(work(progress));
    loop {
        tokio::select! {
            result = &mut work => return result,
            Some((done, total)) = steps.recv() => task.update(u64::from(done), Some(u64::from(total))),
        }
    }
}

fn audit_report(audit: ChainAudit) -> AuditReport {
    AuditReport {
        height: audit.height,
        tip: audit.tip,
        coins: audit.coins,
        supply: Coins(audit.supply),
        supply_units: Units(audit.supply),
        coins_hash: data_encoding::HEXLOWER.encode(&audit.coins_hash),
        ok: audit.ok,
        problem: audit.problem,
    }
}

fn friend_view(friend: FriendInfo) -> FriendView {
    FriendView {
        name: printable(&friend.name),
        suffix: friend.suffix,
        peer_id: friend.peer_id,
        online: friend.online,
        address: friend.address,
        last_seen: if friend.online { Some(now()) } else { friend.last_seen },
    }
}

fn chat_message(record: ChatRecord) -> ChatMessage {
    ChatMessage {
        id: record.id.to_string(),
        from: printable(&record.from_name),
        to: record.to_name.map(|name| printable(&name)),
        text: printable(&record.text),
        time: record.time,
        state: match record.state {
            LineState::Queued => ChatState::Queued,
            LineState::Delivered => ChatState::Delivered,
            LineState::Refused => ChatState::Refused,
            LineState::Sent => ChatState::Sent,
            LineState::Received => ChatState::Received,
        },
    }
}
