//! Implements the RPC over the parts of a running node, or over a folder opened for one command.

mod backup;
mod blocks_won;
mod chat;
mod fees;
mod friends;
mod ids;
mod mining;
mod names;
mod paid;
mod passphrase;
mod pay;
mod payments;
mod people;
mod proofs;
mod reach;
mod received;
mod settings;
mod setup;
mod status;
mod told;
mod unseen;
mod voided;
mod wallet;

use std::{iter::repeat, net::SocketAddr, pin::pin};

use jsonrpsee::core::async_trait;
use tokio::sync::mpsc;

use super::{
    blocking::blocking,
    clock::{moment_with_sleep, now},
    config::only_this_machine,
    keyring::Keyring,
    open::{OpenChainError, create_chain},
    parts::ChainParts,
    recovery::Recovery,
    router::RouterHandle,
    settings::Layers,
};
use crate::{
    chain::{
        ChainFault, ChainReader,
        api::{BlockInfo, ChainAudit, Funds, TxState},
    },
    consensus::Invite,
    datadir::DataDir,
    friends::FriendsHandle,
    primitives::{Address, Amount, Height, MiningMode, Owner, PeerId, TxId, printable},
    rpc::{
        EventFeed, FriendchainApiServer, ProgressBoard, ProgressGuard, RpcError,
        api::MAX_PRINTED_BLOCKS,
        types::{
            Account, AddressBalance, AddressList, AuditReport, BackupMade, BalanceReport, BanState,
            BlockList, BlockView, BranchAccepted, BroadcastSent, Cancel, ChainCreated,
            ChangePassphrase, ChatHistory, ChatSent, Coins, CreateBlockchain, CreateWallet,
            EventPage, FriendAccepted, FriendBlocked, FriendForgotten, FriendList, FriendView,
            InviteText, Joined, KnownNames, LeftChain, LockState, MarkedRead, MinedBlocks,
            PassphraseChanged, Payee, PaymentList, PaymentsRequest, PaymentsSeen, PeerList,
            Progress, ProofMade, ProofReport, RaiseFee, Renamed, Resend, Secret, SendTrade,
            SettingList, StatusReport, Stopping, Submitted, Synced, TxList, TxPlace, TxView, Units,
            VoidedPayments, WaitingView, WalletBalance, WalletCreated, WalletState, WriteNote,
        },
    },
};

pub(crate) use backup::restore;
pub(crate) use blocks_won::BlocksWon;
pub(crate) use friends::console_event;
pub(crate) use paid::{PaidParts, PaidSender, PaidTask, announce_payments};
pub(crate) use payments::Payments;
pub(crate) use people::OwnName;
pub(crate) use proofs::verify_without_chain;
pub(crate) use setup::move_to;
pub(crate) use unseen::UnseenPayments;

use friends::friend_view;
use ids::BlockName;
use mining::watched;
use status::{peer_list, synced};

/// Bytes of blocks after which a page of `print_chain` ends.
const MAX_PRINTED_BYTES: usize = 8 * 1024 * 1024;

/// The reasons why files of the folder could not be opened. A command that needs such a file fails
/// with its reason.
#[derive(Debug, Default)]
pub(crate) struct Unusable {
    pub(crate) chain: Option<UnusableChain>,
    pub(crate) friends: Option<RpcError>,
}

/// The reason why the chain's file could not be opened.
#[derive(Debug)]
pub(crate) struct UnusableChain {
    error: RpcError,
    /// True if the file's content is at fault, so that `reindex` may repair it.
    is_bad_file: bool,
}

impl From<OpenChainError> for UnusableChain {
    fn from(error: OpenChainError) -> Self {
        Self { is_bad_file: error.is_bad_file(), error: error.into() }
    }
}

/// The parts that the commands work on.
pub(crate) struct Service {
    pub(crate) datadir: DataDir,
    pub(crate) name: OwnName,
    pub(crate) peer_id: PeerId,
    pub(crate) keyring: Keyring,
    /// The search for the addresses of a restored wallet.
    pub(crate) recovery: Recovery,
    /// None if the folder has no usable chain.
    pub(crate) chain: Option<ChainParts>,
    /// None if the folder has no usable friends file.
    pub(crate) friends: Option<FriendsHandle>,
    pub(crate) unusable: Unusable,
    /// None if the folder is open for one command.
    pub(crate) router: Option<RouterHandle>,
    /// Events for the consoles.
    pub(crate) feed: EventFeed,
    /// Progress of the long command that runs.
    pub(crate) progress: ProgressBoard,
    /// The configured address that is paid for blocks mined here. None: the wallet's first one.
    pub(crate) miner_address: Option<Address>,
    /// The configured mining mode.
    pub(crate) mining: MiningMode,
    /// The address that serves health and metrics, if any.
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) blocks_won: BlocksWon,
    /// The settings that the node runs with. None if the folder is open for one command.
    pub(crate) layers: Option<Layers>,
    pub(crate) payments: Payments,
    /// None if the folder is open for one command.
    pub(crate) unseen: Option<UnseenPayments>,
}

impl Service {
    fn chain(&self) -> Result<&ChainParts, RpcError> {
        self.chain.as_ref().ok_or_else(|| self.no_chain())
    }

    /// Returns the reason why there is no chain.
    fn no_chain(&self) -> RpcError {
        self.unusable.chain.as_ref().map_or_else(RpcError::no_chain, |chain| chain.error.clone())
    }

    fn router(&self) -> Result<&RouterHandle, RpcError> {
        self.router.as_ref().ok_or_else(RpcError::not_running)
    }

    fn friends_handle(&self) -> Result<&FriendsHandle, RpcError> {
        self.friends
            .as_ref()
            .ok_or_else(|| self.unusable.friends.clone().unwrap_or_else(|| self.no_chain()))
    }

    /// Fails if the folder has a chain, since it holds at most one.
    fn check_no_chain(&self) -> Result<(), RpcError> {
        match &self.chain {
            None => self.unusable.chain.as_ref().map_or(Ok(()), |chain| Err(chain.error.clone())),
            Some(chain) => {
                let stop = if self.router.is_some() { "stop the node, then " } else { "" };
                let network = chain.handle.summary().network;
                let sentence = format!(
                    "this folder holds the chain {} ({}) already: {stop}leave-chain first, or use \
                     another --node-id or --data-dir",
                    printable(&network.params.name),
                    network.id
                );
                Err(RpcError::new("chain_exists", sentence))
            }
        }
    }

    /// Returns the balance of several owners; zero without a chain.
    async fn funds(&self, owners: Vec<Owner>) -> Result<Funds, RpcError> {
        match &self.chain {
            Some(chain) => Ok(chain.handle.funds(owners).await?),
            None => Ok(Funds::default()),
        }
    }

    async fn block_view(
        &self,
        which: impl FnOnce(&ChainReader) -> Option<BlockInfo> + Send + 'static,
    ) -> Result<Option<BlockView>, RpcError> {
        let reader = self.chain()?.reader.clone();
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
        self.reveal_phrase(passphrase).await
    }

    async fn unlock(&self, passphrase: Secret, for_ms: Option<u64>) -> Result<LockState, RpcError> {
        self.router()?;
        let wallet = self.keyring.open().await?;
        let until = for_ms.map(|ms| moment_with_sleep().saturating_add(ms));
        drop(wallet.unlock(passphrase, until).await?);
        self.recovery.go_on_unlocked(self.chain()?.reader.clone());
        Ok(LockState { unlocked: true })
    }

    async fn change_passphrase(
        &self,
        request: ChangePassphrase,
    ) -> Result<PassphraseChanged, RpcError> {
        self.replace_passphrase(request).await
    }

    async fn wallet_state(&self) -> Result<WalletState, RpcError> {
        self.state_of_wallet().await
    }

    async fn balance(&self) -> Result<WalletBalance, RpcError> {
        self.wallet_balance().await
    }

    async fn payments(&self, request: PaymentsRequest) -> Result<PaymentList, RpcError> {
        self.payment_list(request).await
    }

    async fn address_of(&self, text: String) -> Result<Option<Address>, RpcError> {
        self.find_address(&text).await
    }

    async fn names(&self) -> Result<KnownNames, RpcError> {
        self.known_names().await
    }

    async fn lock(&self) -> Result<LockState, RpcError> {
        self.router()?;
        self.keyring.open().await?.lock()?;
        Ok(LockState { unlocked: false })
    }

    async fn list_addresses(&self) -> Result<AddressList, RpcError> {
        let addresses = self.keyring.open().await?.addresses();
        let owners = addresses.iter().map(|address| address.0).collect();
        let each = self.funds(owners).await?.each.into_iter().chain(repeat(Amount::ZERO));
        let entry = |(address, balance)| AddressBalance::new(address, balance);
        Ok(AddressList { addresses: addresses.into_iter().zip(each).map(entry).collect() })
    }

    async fn account(&self) -> Result<Account, RpcError> {
        let addresses = self.list_addresses().await?.addresses;
        let owners: Vec<Owner> = addresses.iter().map(|entry| entry.address.0).collect();
        let blocks_won = match &self.chain {
            Some(chain) => self.blocks_won.count(chain.reader.clone(), owners).await?,
            None => 0,
        };
        Ok(Account { addresses, blocks_won })
    }

    async fn create_blockchain(&self, request: CreateBlockchain) -> Result<ChainCreated, RpcError> {
        self.check_no_chain()?;
        let task = self.progress.begin("create", None);
        let network = setup::mine_network(request, task).await?;
        let hash = network.genesis.hash();
        let genesis = BlockView::new(hash, &network.genesis, &[], 0, true);
        create_chain(&self.datadir, network.clone(), None).await?;
        Ok(ChainCreated { network_id: network.id, block: hash, genesis })
    }

    async fn invite(&self) -> Result<InviteText, RpcError> {
        self.make_invite().await
    }

    async fn join(&self, invite: String, name: Option<String>) -> Result<Joined, RpcError> {
        let invite = Invite::from_text(&invite)?;
        let chain = self.chain.as_ref().map(|chain| chain.handle.summary().network);
        setup::check_not_joined(chain.as_deref(), invite.network())?;
        self.check_no_chain()?;
        setup::join(&self.datadir, self.friends.as_ref(), invite, name).await
    }

    async fn backup(&self) -> Result<BackupMade, RpcError> {
        self.make_backup().await
    }

    async fn leave_chain(&self) -> Result<LeftChain, RpcError> {
        if self.router.is_some() {
            return Err(RpcError::new(
                "running",
                "a node runs on this folder: stop it first, then leave-chain",
            ));
        }
        let network_id = match (&self.chain, &self.unusable.chain) {
            (Some(chain), _) => Some(chain.handle.summary().network.id),
            // The unreadable file is moved aside too.
            (None, Some(_)) => None,
            (None, None) => return Err(RpcError::no_chain()),
        };
        let backup = setup::leave_chain(&self.datadir, network_id).await?;
        Ok(LeftChain { network_id, backup })
    }

    async fn get_balance(&self, address: Address) -> Result<BalanceReport, RpcError> {
        let balance = self.chain()?.handle.balance(address.0).await?;
        Ok(BalanceReport::new(
            address,
            balance.confirmed,
            balance.pending_in,
            balance.pending_out,
            balance.height,
        ))
    }

    async fn send(&self, request: SendTrade) -> Result<Submitted, RpcError> {
        Ok(self.say_who_mines(self.pay(request).await?).await)
    }

    async fn raise_fee(&self, request: RaiseFee) -> Result<Submitted, RpcError> {
        Ok(self.say_who_mines(self.pay_more(request).await?).await)
    }

    async fn cancel(&self, request: Cancel) -> Result<Submitted, RpcError> {
        Ok(self.say_who_mines(self.cancel_payment(request).await?).await)
    }

    async fn voided_by(&self, txid: String) -> Result<VoidedPayments, RpcError> {
        self.payments_voided_by(&txid).await
    }

    async fn resend(&self, request: Resend) -> Result<Submitted, RpcError> {
        Ok(self.say_who_mines(self.send_again(request).await?).await)
    }

    async fn note(&self, request: WriteNote) -> Result<Submitted, RpcError> {
        self.write_note(request).await
    }

    async fn mine(&self, count: Option<u32>, to: Option<Address>) -> Result<MinedBlocks, RpcError> {
        let chain = self.chain()?;
        let owner = match to {
            Some(address) => address.0,
            None => self.reward_owner().await?,
        };
        let count = count.unwrap_or(1);
        let task = self.progress.begin("mine", Some(u64::from(count)));
        let mut blocks = Vec::new();
        // One by one, so that the progress counts each. Mining stops if the client disconnects.
        for done in 1..=count {
            blocks.extend(watched(&chain.miner, &task, chain.miner.mine_blocks(1, owner)).await?);
            task.update(u64::from(done), Some(u64::from(count)));
        }
        Ok(MinedBlocks { blocks })
    }

    async fn print_chain(
        &self,
        from: Option<Height>,
        limit: Option<u32>,
    ) -> Result<BlockList, RpcError> {
        let limit = limit.unwrap_or(MAX_PRINTED_BLOCKS).min(MAX_PRINTED_BLOCKS);
        let chain = self.chain()?;
        let tip = chain.handle.summary().tip.height;
        let reader = chain.reader.clone();
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
        let found = match self.block_name(&block).await? {
            BlockName::Height(height) => {
                self.block_view(move |reader| reader.block_at(height)).await?
            }
            BlockName::Hash(hash) => self.block_view(move |reader| reader.block(&hash)).await?,
        };
        found.ok_or_else(missing)
    }

    async fn mempool(&self) -> Result<TxList, RpcError> {
        let entries = self.chain()?.handle.mempool().await?;
        let transactions = entries.iter().map(|entry| TxView {
            waiting: Some(WaitingView::new(entry)),
            ..TxView::new(&entry.transaction, entry.txid, entry.fee, TxPlace::Mempool)
        });
        Ok(TxList { transactions: transactions.collect() })
    }

    async fn tx(&self, txid: String) -> Result<TxView, RpcError> {
        let txid = self.transaction_id(&txid).await?;
        let chain = self.chain()?;
        let info = chain.handle.transaction(txid).await?;
        let info = info.ok_or_else(|| unknown_transaction(txid))?;
        let tip_height = chain.handle.summary().tip.height;
        let place = match info.state {
            TxState::Mempool => TxPlace::Mempool,
            TxState::Mined { block, height } => TxPlace::Mined { block, height, tip_height },
            TxState::Void { reason } => TxPlace::Void { reason },
        };
        Ok(TxView::new(&info.transaction, txid, info.fee, place))
    }

    async fn verify_chain(&self) -> Result<AuditReport, RpcError> {
        let chain = self.chain()?.handle.clone();
        let task = self.progress.begin("verify", None);
        let audit = follow(task, |progress| async move { chain.verify(progress).await }).await?;
        Ok(audit_report(audit))
    }

    async fn reindex(&self) -> Result<AuditReport, RpcError> {
        if let Some(chain) = &self.chain {
            let chain = chain.handle.clone();
            let task = self.progress.begin("reindex", None);
            match follow(task, |progress| async move { chain.reindex(progress).await }).await {
                // The file is too damaged to be repaired in place.
                Err(ChainFault::Corrupt(_)) if self.router.is_none() => {}
                audit => return Ok(audit_report(audit?)),
            }
        } else if self.unusable.chain.as_ref().is_none_or(|chain| !chain.is_bad_file) {
            return Err(self.no_chain());
        }
        let task = self.progress.begin("reindex", None);
        Ok(audit_report(setup::salvage_chain(&self.datadir, task).await?))
    }

    async fn accept_branch(&self, block: String) -> Result<BranchAccepted, RpcError> {
        let block = self.block_hash(&block, false).await?;
        let tip = self.chain()?.handle.accept_branch(block).await?;
        Ok(BranchAccepted { tip: tip.hash, height: tip.height })
    }

    async fn prove(&self, txid: String) -> Result<ProofMade, RpcError> {
        let txid = self.transaction_id(&txid).await?;
        proofs::prove(self.chain()?, txid).await
    }

    async fn verify_proof(
        &self,
        proof: String,
        trust: Option<String>,
    ) -> Result<ProofReport, RpcError> {
        let trust = match trust {
            Some(trust) => Some(self.trusted_block(&trust).await?),
            None => None,
        };
        proofs::verify(self.chain.as_ref(), proof, trust).await
    }

    async fn status(&self) -> Result<StatusReport, RpcError> {
        self.status_report().await
    }

    async fn peers(&self) -> Result<PeerList, RpcError> {
        Ok(peer_list(self.router()?.peers().await?))
    }

    async fn config(&self) -> Result<SettingList, RpcError> {
        self.settings().await
    }

    async fn set_config(&self, key: String, value: String) -> Result<SettingList, RpcError> {
        self.change_setting(&key, &value).await
    }

    async fn friends(&self) -> Result<FriendList, RpcError> {
        let mut friends: Vec<FriendView> =
            self.friends_handle()?.list(now()).await?.into_iter().map(friend_view).collect();
        friends.sort_by(|a, b| (&a.name, &a.suffix).cmp(&(&b.name, &b.suffix)));
        let Some(router) = &self.router else {
            return Ok(FriendList { friends, only_this_machine: false });
        };
        let live = router.status().await?;
        reach::add_paths(&mut friends, &live);
        Ok(FriendList { friends, only_this_machine: only_this_machine(&live.listen) })
    }

    async fn accept_friend(&self, friend: String) -> Result<FriendAccepted, RpcError> {
        let (peer_id, name) =
            self.friends_handle()?.accept(self.friend(&friend).await?, now()).await?;
        if let Some(router) = &self.router {
            router.befriended(peer_id).await?;
        }
        Ok(FriendAccepted { name: printable(&name), peer_id })
    }

    async fn forget(&self, friend: String) -> Result<FriendForgotten, RpcError> {
        self.forget_friend(friend).await
    }

    async fn block_friend(&self, friend: String) -> Result<FriendBlocked, RpcError> {
        self.block(friend, true).await
    }

    async fn unblock_friend(&self, friend: String) -> Result<FriendBlocked, RpcError> {
        self.block(friend, false).await
    }

    async fn rename(&self, name: String) -> Result<Renamed, RpcError> {
        self.take_name(name).await
    }

    async fn payee(&self, to: String) -> Result<Payee, RpcError> {
        self.payee_of(to).await
    }

    async fn chat(
        &self,
        friend: String,
        text: String,
        wait: Option<bool>,
    ) -> Result<ChatSent, RpcError> {
        chat::send(self.router()?, self.friend(&friend).await?, text, wait).await
    }

    async fn broadcast(&self, text: String) -> Result<BroadcastSent, RpcError> {
        let line = self.router()?.broadcast(text).await?;
        Ok(BroadcastSent { id: line.id.to_string(), peers: line.peers, later: line.later })
    }

    async fn history(
        &self,
        friend: Option<String>,
        limit: Option<u32>,
        requests: Option<bool>,
        search: Option<String>,
    ) -> Result<ChatHistory, RpcError> {
        let friends = self.friends_handle()?;
        if requests == Some(true) {
            return chat::requests(friends, limit, search).await;
        }
        let friend = match friend {
            Some(friend) => Some(self.friend(&friend).await?),
            None => None,
        };
        chat::history(friends, friend, limit, search).await
    }

    async fn mark_read(&self) -> Result<MarkedRead, RpcError> {
        Ok(MarkedRead { read: self.friends_handle()?.mark_read().await? })
    }

    async fn payments_seen(&self) -> Result<PaymentsSeen, RpcError> {
        self.mark_payments().await
    }

    async fn sync(&self, friend: Option<String>) -> Result<Synced, RpcError> {
        let peer = match friend {
            Some(friend) => {
                let friend = self.friend(&friend).await?;
                Some(self.friends_handle()?.resolve(friend).await?)
            }
            None => None,
        };
        synced(&self.router()?.sync(peer).await?, peer.is_some())
    }

    async fn ban(&self, peer: String) -> Result<BanState, RpcError> {
        self.set_ban(&peer, true).await
    }

    async fn unban(&self, peer: String) -> Result<BanState, RpcError> {
        self.set_ban(&peer, false).await
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

/// Awaits a long command of the chain thread, and updates `task` with its progress.
async fn follow<T, F: Future<Output = T>>(
    task: ProgressGuard,
    work: impl FnOnce(mpsc::Sender<(Height, Height)>) -> F,
) -> T {
    let (progress, mut steps) = mpsc::channel(1);
    let mut work = pin!(work(progress));
    loop {
        tokio::select! {
            result = &mut work => return result,
            Some((done, total)) = steps.recv() => {
                task.update(u64::from(done), Some(u64::from(total)));
            }
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
