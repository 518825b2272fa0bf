//! The RPC methods behind the commands, declared as one trait.
//!
//! The macro generates two traits from it. The node implements `FriendchainApiServer`. The command
//! line calls `FriendchainApiClient`, over HTTP or in process.

use jsonrpsee::proc_macros::rpc;

use super::{
    error::RpcError,
    types::{
        Account, AddressList, AuditReport, BackupMade, BalanceReport, BanState, BlockList,
        BlockView, BranchAccepted, BroadcastSent, Cancel, ChainCreated, ChangePassphrase,
        ChatHistory, ChatSent, CreateBlockchain, CreateWallet, EventPage, FriendAccepted,
        FriendBlocked, FriendForgotten, FriendList, InviteText, Joined, KnownNames, LeftChain,
        LockState, MarkedRead, MinedBlocks, PassphraseChanged, Payee, PaymentList, PaymentsRequest,
        PaymentsSeen, PeerList, Progress, ProofMade, ProofReport, RaiseFee, Renamed, Resend,
        Secret, SendTrade, SettingList, StatusReport, Stopping, Submitted, Synced, TxList, TxView,
        VoidedPayments, WalletBalance, WalletCreated, WalletState, WriteNote,
    },
};
use crate::primitives::{Address, Height};

/// The most blocks in one reply of `print_chain`. A block has at most 2 MiB, so the server also
/// ends a reply after 8 MiB of blocks.
pub(crate) const MAX_PRINTED_BLOCKS: u32 = 64;

/// The longest wait of `events` for an event, in ms. The console then sends the request again.
pub(crate) const MAX_EVENTS_WAIT_MS: u64 = 30_000;

/// The RPC of a friendchain node.
#[rpc(server, client)]
pub trait FriendchainApi {
    /// Creates a wallet, or one more address in an existing wallet.
    #[method(name = "create_wallet")]
    async fn create_wallet(&self, request: CreateWallet) -> Result<WalletCreated, RpcError>;

    /// Returns the wallet's recovery phrase.
    #[method(name = "recovery_phrase")]
    async fn recovery_phrase(&self, passphrase: Option<Secret>) -> Result<Secret, RpcError>;

    /// Unlocks the wallet for `for_ms`, or without it until `lock` is called.
    #[method(name = "unlock")]
    async fn unlock(&self, passphrase: Secret, for_ms: Option<u64>) -> Result<LockState, RpcError>;

    /// Sets, changes or removes the wallet's passphrase.
    #[method(name = "change_passphrase")]
    async fn change_passphrase(
        &self,
        request: ChangePassphrase,
    ) -> Result<PassphraseChanged, RpcError>;

    /// Returns whether there is a wallet, and whether it needs a passphrase.
    #[method(name = "wallet_state")]
    async fn wallet_state(&self) -> Result<WalletState, RpcError>;

    /// Returns the balance of the whole wallet.
    #[method(name = "balance")]
    async fn balance(&self) -> Result<WalletBalance, RpcError>;

    /// Returns the wallet's payments, newest first.
    #[method(name = "payments")]
    async fn payments(&self, request: PaymentsRequest) -> Result<PaymentList, RpcError>;

    /// Returns the number of payments that blocks brought since the last call, and marks them as
    /// seen. A console sends this when it opens, and when it shows a payment.
    #[method(name = "payments_seen")]
    async fn payments_seen(&self) -> Result<PaymentsSeen, RpcError>;

    /// Returns the address in a text, or the payment address of the friend that the text names.
    /// `None` if there is neither.
    #[method(name = "address_of")]
    async fn address_of(&self, text: String) -> Result<Option<Address>, RpcError>;

    /// Returns the wallet's addresses, and the friends' names by payment address.
    #[method(name = "names")]
    async fn names(&self) -> Result<KnownNames, RpcError>;

    /// Locks the wallet.
    #[method(name = "lock")]
    async fn lock(&self) -> Result<LockState, RpcError>;

    /// Returns the wallet's addresses with their confirmed coins. Works without a chain.
    #[method(name = "list_addresses")]
    async fn list_addresses(&self) -> Result<AddressList, RpcError>;

    /// Returns the data of the console's command `la`.
    #[method(name = "account")]
    async fn account(&self) -> Result<Account, RpcError>;

    /// Mines a genesis block. Refused if the data folder has a chain.
    #[method(name = "create_blockchain")]
    async fn create_blockchain(&self, request: CreateBlockchain) -> Result<ChainCreated, RpcError>;

    /// Returns a text with which another node can join this chain.
    #[method(name = "invite")]
    async fn invite(&self) -> Result<InviteText, RpcError>;

    /// Joins the chain of an invite. Refused if the data folder has a chain. `name` is the name
    /// that friends see; without it, the node keeps its present one.
    #[method(name = "join")]
    async fn join(&self, invite: String, name: Option<String>) -> Result<Joined, RpcError>;

    /// Removes the chain from the data folder and keeps a backup. Refused while a node runs.
    #[method(name = "leave_chain")]
    async fn leave_chain(&self) -> Result<LeftChain, RpcError>;

    /// Makes a backup of the data folder without the chain. The caller moves the file out of the
    /// folder.
    #[method(name = "backup")]
    async fn backup(&self) -> Result<BackupMade, RpcError>;

    /// Returns the balance of an address.
    #[method(name = "get_balance")]
    async fn get_balance(&self, address: Address) -> Result<BalanceReport, RpcError>;

    /// Pays an address or a friend. With `mine` it replies when the trade is mined.
    #[method(name = "send")]
    async fn send(&self, request: SendTrade) -> Result<Submitted, RpcError>;

    /// Replaces a trade of this wallet in the mempool by the same trade with a higher fee. With
    /// `mine` it replies when the new trade is mined.
    #[method(name = "raise_fee")]
    async fn raise_fee(&self, request: RaiseFee) -> Result<Submitted, RpcError>;

    /// Replaces a waiting trade of this wallet by one that pays its coins back to the wallet.
    #[method(name = "cancel")]
    async fn cancel(&self, request: Cancel) -> Result<Submitted, RpcError>;

    /// Returns the payments of this wallet that become void if a waiting trade is replaced.
    #[method(name = "voided_by")]
    async fn voided_by(&self, txid: String) -> Result<VoidedPayments, RpcError>;

    /// Sends a void trade of this wallet again: the same if it is valid, else a new one. Refused if
    /// both could be mined.
    #[method(name = "resend")]
    async fn resend(&self, request: Resend) -> Result<Submitted, RpcError>;

    /// Writes a text on the chain and starts mining. With `wait` it replies when the note is mined.
    #[method(name = "note")]
    async fn note(&self, request: WriteNote) -> Result<Submitted, RpcError>;

    /// Mines `count` blocks now, default 1. The reward goes to `to`, default the wallet's first
    /// address.
    #[method(name = "mine")]
    async fn mine(&self, count: Option<u32>, to: Option<Address>) -> Result<MinedBlocks, RpcError>;

    /// Returns blocks of the best chain from height `from` downward, default from the tip.
    ///
    /// The reply has at least one block if there is one. It has fewer than `limit` if `limit` is
    /// above [`MAX_PRINTED_BLOCKS`] or if the blocks are large. The caller then sends another
    /// request from the next height.
    #[method(name = "print_chain")]
    async fn print_chain(
        &self,
        from: Option<Height>,
        limit: Option<u32>,
    ) -> Result<BlockList, RpcError>;

    /// Returns one block by hash, by the start of its hash, or by height in decimal.
    #[method(name = "block")]
    async fn block(&self, block: String) -> Result<BlockView, RpcError>;

    /// Returns the trades and notes in the mempool.
    #[method(name = "mempool")]
    async fn mempool(&self) -> Result<TxList, RpcError>;

    /// Returns a transaction and its state. `txid` may be the start of an id, as in all methods.
    #[method(name = "tx")]
    async fn tx(&self, txid: String) -> Result<TxView, RpcError>;

    /// Checks the whole chain from genesis. A fault is reported with `ok` false, not as an error.
    #[method(name = "verify_chain")]
    async fn verify_chain(&self) -> Result<AuditReport, RpcError>;

    /// Rebuilds the unspent outputs and the indexes from the blocks.
    #[method(name = "reindex")]
    async fn reindex(&self) -> Result<AuditReport, RpcError>;

    /// Makes the other branch of a diverged chain the best chain, up to its last block on this
    /// node. `block` is any block of that branch.
    #[method(name = "accept_branch")]
    async fn accept_branch(&self, block: String) -> Result<BranchAccepted, RpcError>;

    /// Returns a proof that a trade or note is in a block of the best chain.
    #[method(name = "prove")]
    async fn prove(&self, txid: String) -> Result<ProofMade, RpcError>;

    /// Checks a proof. Works without a chain. A bad proof is reported with `valid` false, not as an
    /// error. `trust` is a block's hash; the start of one must be on the chain here.
    #[method(name = "verify_proof")]
    async fn verify_proof(
        &self,
        proof: String,
        trust: Option<String>,
    ) -> Result<ProofReport, RpcError>;

    /// Returns the state of the node.
    #[method(name = "status")]
    async fn status(&self) -> Result<StatusReport, RpcError>;

    /// Returns all settings of the node, with the origin of each.
    #[method(name = "config")]
    async fn config(&self) -> Result<SettingList, RpcError>;

    /// Stores a setting in the data folder, for the next start. An empty value removes it. Returns
    /// the changed setting.
    #[method(name = "set_config")]
    async fn set_config(&self, key: String, value: String) -> Result<SettingList, RpcError>;

    /// Returns the connected peers with their scores, and the banned peers.
    #[method(name = "peers")]
    async fn peers(&self) -> Result<PeerList, RpcError>;

    /// Returns all friends, online or offline, and the introduced peers that were here once.
    #[method(name = "friends")]
    async fn friends(&self) -> Result<FriendList, RpcError>;

    /// Makes a peer a friend: a name, a name with an id suffix, or a peer id.
    #[method(name = "accept_friend")]
    async fn accept_friend(&self, friend: String) -> Result<FriendAccepted, RpcError>;

    /// Forgets a friend: a name, a name with an id suffix, or a peer id. Its chat stays.
    #[method(name = "forget")]
    async fn forget(&self, friend: String) -> Result<FriendForgotten, RpcError>;

    /// Blocks a peer, named as for `forget`: its lines, profile and connections are refused.
    #[method(name = "block_friend")]
    async fn block_friend(&self, friend: String) -> Result<FriendBlocked, RpcError>;

    /// Lifts the block of a peer, which returns to its former standing.
    #[method(name = "unblock_friend")]
    async fn unblock_friend(&self, friend: String) -> Result<FriendBlocked, RpcError>;

    /// Changes this node's name, stores it, and announces it to connected friends.
    #[method(name = "rename")]
    async fn rename(&self, name: String) -> Result<Renamed, RpcError>;

    /// Returns the peer that `send` would pay, and what the user must confirm first.
    #[method(name = "payee")]
    async fn payee(&self, to: String) -> Result<Payee, RpcError>;

    /// Sends a chat line to one friend: a name, a name with an id suffix, or a peer id. Replies
    /// once the line is stored here, which is at once.
    ///
    /// Without `wait`, the reply waits a moment for a friend who answers promptly. With `wait`
    /// false it does not wait. With `wait` true it waits up to a minute for the delivery.
    #[method(name = "chat")]
    async fn chat(
        &self,
        friend: String,
        text: String,
        wait: Option<bool>,
    ) -> Result<ChatSent, RpcError>;

    /// Publishes a chat line to all.
    #[method(name = "broadcast")]
    async fn broadcast(&self, text: String) -> Result<BroadcastSent, RpcError>;

    /// Returns the newest stored chat lines, of one friend or of all, oldest first. With
    /// `requests`, returns the lines of peers who are no friends. With `search`, returns the newest
    /// lines that contain this text in capital or small letters.
    #[method(name = "history")]
    async fn history(
        &self,
        friend: Option<String>,
        limit: Option<u32>,
        requests: Option<bool>,
        search: Option<String>,
    ) -> Result<ChatHistory, RpcError>;

    /// Marks all chat lines as read.
    #[method(name = "mark_read")]
    async fn mark_read(&self) -> Result<MarkedRead, RpcError>;

    /// Syncs with one friend or with all peers. Replies when the sync is complete.
    #[method(name = "sync")]
    async fn sync(&self, friend: Option<String>) -> Result<Synced, RpcError>;

    /// Bans a peer: a name, a name with an id suffix, a peer id or the start of one.
    #[method(name = "ban")]
    async fn ban(&self, peer: String) -> Result<BanState, RpcError>;

    /// Lifts the ban of a peer, named as for `ban`.
    #[method(name = "unban")]
    async fn unban(&self, peer: String) -> Result<BanState, RpcError>;

    /// Starts a clean shutdown of the node. Replies before the node ends.
    #[method(name = "stop")]
    async fn stop(&self) -> Result<Stopping, RpcError>;

    /// Returns the progress of the current long task, if one runs.
    #[method(name = "progress")]
    async fn progress(&self) -> Result<Option<Progress>, RpcError>;

    /// Returns the events of the console's feed from the place `after` on.
    ///
    /// The node waits for the first event at most `wait_ms`, capped at [`MAX_EVENTS_WAIT_MS`]. With
    /// `after` 0 it replies at once with no events and the place of the next one.
    #[method(name = "events")]
    async fn events(&self, after: u64, wait_ms: u64) -> Result<EventPage, RpcError>;
}
