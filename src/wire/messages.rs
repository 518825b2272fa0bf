//! The types of messages. `codec` checks counts and lengths when it decodes them.

use serde_bytes::ByteBuf;

use super::array::{wire_enum, wire_struct};
use crate::primitives::{BlockHash, Height, NetworkId, Owner, PeerId, Signature, TxId, UnixMillis};

/// The version of all protocols here.
pub const PROTOCOL_VERSION: u32 = 1;

/// The bit in [`Status::features`] of a node that mines, on demand or always.
pub const FEATURE_MINES: u64 = 1;

wire_struct! {
    /// The state of a node's chain: the first message on every connection, sent again after
    /// changes. Logs call it `version`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Status {
        /// The constant [`PROTOCOL_VERSION`].
        pub version: u32,
        /// Bits for the node's abilities: [`FEATURE_MINES`]. Readers ignore the others.
        pub features: u64,
        pub network: NetworkId,
        /// The best block that the node has connected and made durable.
        pub tip: BlockHash,
        /// The height of the tip.
        pub height: Height,
        /// The cumulative work of the tip's chain, 32 bytes big-endian.
        pub work: ByteBuf,
        /// The sender's clock.
        pub time: UnixMillis,
        /// The number of transactions in the sender's mempool.
        pub mempool: u32,
    }

    /// A friend's profile, signed with its identity key.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignedProfile {
        pub peer: PeerId,
        pub name: String,
        /// The addresses at which the peer listens, as multiaddrs without `/p2p`.
        pub addresses: Vec<String>,
        /// The owner of coins that are sent to the peer; `None` if it has no wallet.
        pub payment: Option<Owner>,
        /// The time of signing. The profile with the highest sequence counts.
        pub sequence: UnixMillis,
        /// The signature over [`SignedProfile::signing_bytes`].
        pub signature: Signature,
    }

    /// A chat line, signed by its author.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignedLine {
        pub author: PeerId,
        /// The only receiver; `None` for a line to all.
        pub to: Option<PeerId>,
        /// The time of writing, by the author's clock.
        pub time: UnixMillis,
        /// A number that grows with each line of the author, whatever the author's clock does. It
        /// orders the author's lines.
        pub counter: u64,
        pub text: String,
        /// The signature over [`SignedLine::signing_bytes`].
        pub signature: Signature,
    }

    /// A direct line that a friend of both ends keeps until its receiver is back.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SealedLine {
        /// The only peer that can open it.
        pub to: PeerId,
        /// The box with the line in it, see [`SealedLine::seal`].
        pub sealed: ByteBuf,
    }

    /// A goodbye, signed by the peer that leaves.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignedQuit {
        pub author: PeerId,
        /// The time of leaving, by the author's clock.
        pub time: UnixMillis,
        /// A number that distinguishes goodbyes of one millisecond.
        pub counter: u64,
        /// The signature over [`SignedQuit::signing_bytes`].
        pub signature: Signature,
    }

    /// A page of the ids of lines to all that the answerer keeps.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LineIds {
        /// The ids, 16 bytes each, in the order in which the answerer got the lines.
        pub ids: ByteBuf,
        /// The place in the answerer's list at which the next page starts. If it equals the
        /// requested place, there are no more ids.
        pub next: u64,
    }

    /// A request for headers after the newest known block of the locator.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GetBlocks {
        /// Block hashes of the asker's best header chain: newest first, at growing distances, the
        /// genesis last.
        pub locator: Vec<BlockHash>,
        /// The maximum number of headers in the answer.
        pub limit: u32,
        /// The number of headers to skip first, so that several requests can be in flight.
        pub skip: u32,
    }

    /// A request for a block and those above it on the answerer's best chain.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GetRange {
        pub first: BlockHash,
        /// The maximum number of blocks in the answer.
        pub count: u32,
        /// The maximum size of the answer's blocks in bytes. The first block may be larger.
        pub bytes: u32,
    }

    /// A request for some transactions of a block.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GetBlockTrades {
        pub block: BlockHash,
        /// Positions in the block, strictly ascending. The coinbase is position 0.
        pub positions: Vec<u32>,
    }

    /// A new block: its header, its coinbase, and the short ids of the other transactions.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CompactBlock {
        /// The header's 92 bytes.
        pub header: ByteBuf,
        /// The canonical bytes of the coinbase.
        pub coinbase: ByteBuf,
        /// The short ids, 6 bytes each, in the order of the transactions.
        pub short_ids: ByteBuf,
    }
}

wire_enum! {
    /// A request on `hello`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum HelloRequest {
        /// The sender's Status; asks for that of the receiver.
        0 = Status(Status),
    }

    /// A response on `hello`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum HelloResponse {
        /// The answerer's Status. Both are on the same network.
        0 = Status(Status),
        /// The answerer is on this other network.
        1 = WrongNetwork(NetworkId),
        2 = Busy,
    }

    /// A request on `friends`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum FriendsRequest {
        /// A request for known profiles.
        0 = Explore,
        /// The sender's own profile.
        1 = Introduce(SignedProfile),
    }

    /// A response on `friends`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum FriendsResponse {
        /// Known profiles, the answerer's own first.
        0 = Profiles(Vec<SignedProfile>),
        /// The answer to Introduce: the profile, or a later one, is kept.
        1 = Welcome,
        2 = Refused(Refusal),
        3 = Busy,
    }

    /// A request on `chat`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ChatRequest {
        /// A line for the receiver alone.
        0 = Direct(SignedLine),
        /// A request for the ids of the lines to all of the last 30 days, from a place in the
        /// answerer's list on. The list starts at place 0.
        1 = GetLineIds(u64),
        /// A request for lines to all by their ids, 16 bytes each.
        2 = GetLines(ByteBuf),
        /// A sealed line: for the receiver, or to be kept for a friend who is away.
        3 = Sealed(SealedLine),
    }

    /// A response on `chat`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ChatResponse {
        /// The line is on the answerer's disk.
        0 = Delivered,
        1 = Refused(Refusal),
        2 = Busy,
        /// The answer to `GetLineIds`.
        3 = LineIds(LineIds),
        /// The requested lines that the answerer has, in the order of the request.
        4 = Lines(Vec<SignedLine>),
    }

    /// A request on `sync`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum SyncRequest {
        /// A request for the headers of the next blocks.
        0 = GetBlocks(GetBlocks),
        /// A request for the ids of the transactions in the mempool.
        1 = GetMempool,
        /// A request for whole blocks and transactions.
        2 = GetData(Vec<ItemId>),
        /// A request for some transactions of a block.
        3 = GetBlockTrades(GetBlockTrades),
        /// A request for blocks that follow each other.
        4 = GetRange(GetRange),
    }

    /// A response on `sync`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum SyncResponse {
        /// Headers, 92 bytes each, parents first. An answer without headers means that none are
        /// newer.
        0 = Inv(ByteBuf),
        /// The ids of the transactions in the mempool, parents first.
        1 = MempoolIds(Vec<TxId>),
        /// The items in the order of the request. There are fewer if the budget is spent, but at
        /// least one.
        2 = Data(Vec<Item>),
        /// The canonical bytes of the transactions, in the order of the request.
        3 = BlockTrades(Vec<ByteBuf>),
        /// The block's header is known, its body is not.
        4 = NotYet,
        5 = NotFound,
        6 = Refused(Refusal),
        7 = Busy,
        /// The answer to `GetRange`: the canonical bytes of blocks, one block after the other.
        8 = Blocks(ByteBuf),
    }

    /// The kind and id of an item to fetch.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum ItemId {
        0 = Block(BlockHash),
        /// A trade or note in the mempool.
        1 = Trade(TxId),
    }

    /// An item of an answer to `GetData`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Item {
        /// The canonical bytes of a block.
        0 = Block(ByteBuf),
        /// The canonical bytes of a transaction.
        1 = Trade(ByteBuf),
        2 = NotFound,
    }

    /// The reason why a request was refused.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Refusal {
        /// A limit of `proto/README.md` is exceeded.
        0 = OverLimit,
        /// The signature does not match key, network and fields.
        1 = BadSignature,
        /// The sender is not the author.
        2 = NotYours,
        /// The answerer is not the receiver.
        3 = NotMine,
        /// The time of a sealed line is too far from the answerer's clock.
        4 = Stale,
        /// The sender sends too many of these.
        5 = RateLimited,
        /// The content breaks a rule of its type, such as a bad name or a blank line.
        6 = Invalid,
    }

    /// A message on the topic `chat`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ChatGossip {
        /// A line to all.
        0 = Line(SignedLine),
        /// A goodbye.
        1 = Quit(SignedQuit),
    }

    /// A message on the topic `trades`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum TradeGossip {
        0 = Trades(TradeAnnouncement),
    }

    /// A message on the topic `blocks`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum BlockGossip {
        /// The 92 bytes of a header just solved.
        0 = Solved(ByteBuf),
        /// A new block. The seed called it `block-new-block`.
        1 = Compact(CompactBlock),
    }
}

wire_struct! {
    /// The announcement of trades and notes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TradeAnnouncement {
        /// The canonical bytes of each transaction, at least one, parents first.
        pub transactions: Vec<ByteBuf>,
        /// Zero in the first announcement, and a random number in each repetition. It makes each of
        /// them a new message, since gossip drops repeated bytes.
        pub round: u32,
    }
}

/// A request on any of the protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Hello(HelloRequest),
    Friends(FriendsRequest),
    Chat(ChatRequest),
    Sync(SyncRequest),
}

/// A response on any of the protocols. It is on the protocol of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    Hello(HelloResponse),
    Friends(FriendsResponse),
    Chat(ChatResponse),
    Sync(SyncResponse),
}

/// A decoded gossip payload on any of the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gossip {
    Chat(ChatGossip),
    Trade(TradeGossip),
    Block(BlockGossip),
}
