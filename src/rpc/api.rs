//! Every method behind the commands, as one trait for both ends: `FriendchainApiServer` is what the
//! node implements, `FriendchainApiClient` what the command line calls, over HTTP or in process.

#![allow(missing_docs, reason = "the generated traits carry the methods' documentation")]

use jsonrpsee::proc_macros::rpc;

use super::{
    error::RpcError,
    types::{
        Account, AddressList, AuditReport, BalanceReport, BanState, BlockList, BlockView,
        BranchAccepted, BroadcastSent, ChainCreated, ChatHistory, ChatSent, CreateBlockchain,
        CreateWallet, EventPage, FriendList, InviteText, Joined, LeftChain, LockState, MinedBlocks,
        PeerList, Progress, ProofMade, ProofReport, RaiseFee, Secret, SendTrade, StatusReport,
        Stopping, Submitted, Synced, TxList, TxView, WalletCreated, WriteNote,
    },
};
use crate::primitives::{Address, BlockHash, Height, PeerId, TxId};

/// The most blocks that one `print_chain` answers.
pub(crate) const MAX_PRINTED_BLOCKS: u32 = 64; // of 2 MiB at most; the server also stops after 8 MiB of blocks

/// The longest that `events` waits, in ms: a console asks again after it.
pub(crate) const MAX_EVENTS_WAIT_MS: u64 = 30_000;

/// The RPC of a friendchain node.
#[rpc(server, client)]
pub trait FriendchainApi {
    /// A new wallet, or one more address of the wallet there is.
    #[method(name = "create_wallet")]
    async fn create_wallet(&self, request: CreateWallet) -> Result<WalletCreated, RpcError>;

    /// The wallet's recovery phrase.
    #[method(name = "recovery_phrase")]
    async fn recovery_phrase(&self, passphrase: Option<Secret>) -> Result<Secret, RpcError>;

    /// Opens the wallet, for so many ms or until locked.
    #[method(name = "unlock")]
    async fn unlock(&self, passphrase: Secret, for_ms: Option<u64>) -> Result<LockState, RpcError>;

    /// Locks the wallet.
    #[method(name = "lock")]
    async fn lock(&self) -> Result<LockState, RpcError>;

    /// The wallet's addresses with their confirmed coins. Works without a chain.
    #[method(name = "list_addresses")]
    async fn list_addresses(&self) -> Result<AddressList, RpcError>;

    /// What the console's `la` shows.
    #[method(name = "account")]
    async fn account(&self) -> Result<Account, RpcError>;

    /// Mines a genesis; refused where a chain is.
    #[method(name = "create_blockchain")]
    async fn create_blockchain(&self, request: CreateBlockchain) -> Result<ChainCreated, RpcError>;

    /// Text that lets another node join this chain.
    #[method(name = "invite")]
    async fn invite(&self) -> Result<InviteText, RpcError>;

    /// Takes up the chain of an invite; refused where a chain is.
    #[method(name = "join")]
    async fn join(&self, invite: String) -> Result<Joined, RpcError>;

    /// Back to no chain; refused while a node runs.
    #[method(name = "leave_chain")]
    async fn leave_chain(&self) -> Result<LeftChain, RpcError>;

    /// What an address has.
    #[method(name = "get_balance")]
    async fn get_balance(&self, address: Address) -> Result<BalanceReport, RpcError>;

    /// Pays somebody. With `mine` it answers when the trade is mined.
    #[method(name = "send")]
    async fn send(&self, request: SendTrade) -> Result<Submitted, RpcError>;

    /// Replaces an own trade that waits by the same one with a higher fee. With `mine` it answers
    /// when that is mined.
    #[method(name = "raise_fee")]
    async fn raise_fee(&self, request: RaiseFee) -> Result<Submitted, RpcError>;

    /// Writes a text on the chain and starts mining. With `wait` it answers when the note is mined.
    #[method(name = "note")]
    async fn note(&self, request: WriteNote) -> Result<Submitted, RpcError>;

    /// Mines so many blocks now (1), paid to an address (the wallet's first).
    #[method(name = "mine")]
    async fn mine(&self, count: Option<u32>, to: Option<Address>) -> Result<MinedBlocks, RpcError>;

    /// Blocks of the best chain, newest first, from a height (the tip) downward. Answers at least
    /// one where there is one, and fewer than asked when there are more than [`MAX_PRINTED_BLOCKS`]
    /// or they are large: ask again from the next height.
    #[method(name = "print_chain")]
    async fn print_chain(
        &self,
        from: Option<Height>,
        limit: Option<u32>,
    ) -> Result<BlockList, RpcError>;

    /// One block, by its hash or its height in decimal.
    #[method(name = "block")]
    async fn block(&self, block: String) -> Result<BlockView, RpcError>;

    /// Waiting trades and notes.
    #[method(name = "mempool")]
    async fn mempool(&self) -> Result<TxList, RpcError>;

    /// One transaction and its state.
    #[method(name = "tx")]
    async fn tx(&self, txid: TxId) -> Result<TxView, RpcError>;

    /// Checks everything from genesis. An audit that finds a fault is an answer, with `ok` false.
    #[method(name = "verify_chain")]
    async fn verify_chain(&self) -> Result<AuditReport, RpcError>;

    /// Rebuilds coins and indexes from the blocks.
    #[method(name = "reindex")]
    async fn reindex(&self) -> Result<AuditReport, RpcError>;

    /// Takes the other branch of a diverged chain, up to its last block here; `block` is any of its
    /// blocks.
    #[method(name = "accept_branch")]
    async fn accept_branch(&self, block: BlockHash) -> Result<BranchAccepted, RpcError>;

    /// A proof that a trade or note is in a block of the best chain.
    #[method(name = "prove")]
    async fn prove(&self, txid: TxId) -> Result<ProofMade, RpcError>;

    /// What a proof is worth. Works without a chain. A proof that is not valid is an answer, with
    /// `valid` false.
    #[method(name = "verify_proof")]
    async fn verify_proof(
        &self,
        proof: String,
        trust: Option<BlockHash>,
    ) -> Result<ProofReport, RpcError>;

    /// The state of the node.
    #[method(name = "status")]
    async fn status(&self) -> Result<StatusReport, RpcError>;

    /// Connections, with scores.
    #[method(name = "peers")]
    async fn peers(&self) -> Result<PeerList, RpcError>;

    /// Friends, here or not.
    #[method(name = "friends")]
    async fn friends(&self) -> Result<FriendList, RpcError>;

    /// A line to one friend: a name, a name with an id suffix, or a peer id. Answers once it is
    /// delivered, or queued.
    #[method(name = "chat")]
    async fn chat(&self, friend: String, text: String) -> Result<ChatSent, RpcError>;

    /// A line to all.
    #[method(name = "broadcast")]
    async fn broadcast(&self, text: String) -> Result<BroadcastSent, RpcError>;

    /// The newest chat lines that are kept, of one friend or all; oldest first.
    #[method(name = "history")]
    async fn history(
        &self,
        friend: Option<String>,
        limit: Option<u32>,
    ) -> Result<ChatHistory, RpcError>;

    /// Asks a friend, or all, for news, and answers when there is none left.
    #[method(name = "sync")]
    async fn sync(&self, friend: Option<String>) -> Result<Synced, RpcError>;

    /// Refuses a peer from now on.
    #[method(name = "ban")]
    async fn ban(&self, peer: PeerId) -> Result<BanState, RpcError>;

    /// Takes a ban back.
    #[method(name = "unban")]
    async fn unban(&self, peer: PeerId) -> Result<BanState, RpcError>;

    /// Ends the node cleanly; answers before it does.
    #[method(name = "stop")]
    async fn stop(&self) -> Result<Stopping, RpcError>;

    /// How far the long work is that a command waits for; none when there is none.
    #[method(name = "progress")]
    async fn progress(&self) -> Result<Option<Progress>, RpcError>;

    /// The console's feed: events from a place in it on, waiting up to so many ms, at most
    /// [`MAX_EVENTS_WAIT_MS`], for the first. At place 0 it answers at once: no events, and the
    /// place of the next one.
    #[method(name = "events")]
    async fn events(&self, after: u64, wait_ms: u64) -> Result<EventPage, RpcError>;
}
