//! The messages themselves. Counts and lengths are checked where messages are decoded: see `codec`.

use serde_bytes::ByteBuf;

use super::array::{wire_enum, wire_struct};
use crate::primitives::{BlockHash, Height, NetworkId, Owner, PeerId, Signature, TxId, UnixMillis};

/// The version of all protocols here.
pub const PROTOCOL_VERSION: u32 = 1;

wire_struct! {
    /// Who a node is and how far it is: first on every connection, and again at news. The seed's
    /// `version`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Status {
        /// [`PROTOCOL_VERSION`].
        pub version: u32,
        /// Bits for what a node can do beyond the version; 0 today.
        pub features: u64,
        /// The genesis hash.
        pub network: NetworkId,
        /// The best block that the node has connected and made durable.
        pub tip: BlockHash,
        /// Its height.
        pub height: Height,
        /// Cumulative work of that chain, 32 bytes big-endian.
        pub work: ByteBuf,
        /// The node's clock.
        pub time: UnixMillis,
        /// How many trades wait in its mempool.
        pub mempool: u32,
    }

    /// A friend's card, signed with the key that is its identity.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignedProfile {
        /// Whose.
        pub peer: PeerId,
        /// What it wants to be called.
        pub name: String,
        /// Where it listens, as multiaddrs without `/p2p`.
        pub addresses: Vec<String>,
        /// Where coins for it go: null when it has no wallet, else the 20 bytes of an owner.
        pub payment: Option<Owner>,
        /// When it was signed; the highest is the one that counts.
        pub sequence: UnixMillis,
        /// Over [`SignedProfile::signing_bytes`].
        pub signature: Signature,
    }

    /// A chat line, signed by its author.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignedLine {
        /// Who wrote it.
        pub author: PeerId,
        /// For whom alone; none when for all.
        pub to: Option<PeerId>,
        /// When, by the author's clock.
        pub time: UnixMillis,
        /// Distinguishes lines of one millisecond.
        pub counter: u64,
        /// The whole line.
        pub text: String,
        /// Over [`SignedLine::signing_bytes`].
        pub signature: Signature,
    }

    /// A goodbye, signed by who leaves.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SignedQuit {
        /// Who leaves.
        pub author: PeerId,
        /// When, by the author's clock.
        pub time: UnixMillis,
        /// As in [`SignedLine`].
        pub counter: u64,
        /// Over [`SignedQuit::signing_bytes`].
        pub signature: Signature,
    }

    /// Asks for headers after the newest known block of the locator.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GetBlocks {
        /// Block hashes of the asker's best header chain, newest first, thinning out, genesis last.
        pub locator: Vec<BlockHash>,
        /// How many headers at most.
        pub limit: u32,
    }

    /// Asks for some transactions of a block, by position.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GetBlockTrades {
        /// The block.
        pub block: BlockHash,
        /// Positions in it, ascending, the coinbase being 0.
        pub positions: Vec<u32>,
    }

    /// A new block by its header, its coinbase, and short names of the rest.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CompactBlock {
        /// The 92 bytes.
        pub header: ByteBuf,
        /// The canonical coinbase.
        pub coinbase: ByteBuf,
        /// 6 bytes for each further transaction, in order.
        pub short_ids: ByteBuf,
    }
}

wire_enum! {
    /// Asked on `/friendchain/hello/1`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum HelloRequest {
        /// This is who I am; who are you?
        0 = Status(Status),
    }

    /// Answered on `/friendchain/hello/1`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum HelloResponse {
        /// Same network.
        0 = Status(Status),
        /// Mine is another one: goodbye.
        1 = WrongNetwork(NetworkId),
        /// Not now.
        2 = Busy,
    }

    /// Asked on `friends`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum FriendsRequest {
        /// Whom do you know? The seed's `explore-query`.
        0 = Explore,
        /// This is me. The seed's `introduce`.
        1 = Introduce(SignedProfile),
    }

    /// Answered on `friends`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum FriendsResponse {
        /// Friends I know, myself first, 64 at most. The seed's `explore-answer`.
        0 = Profiles(Vec<SignedProfile>),
        /// Your profile is kept.
        1 = Welcome,
        /// I refuse.
        2 = Refused(Refusal),
        /// Not now.
        3 = Busy,
    }

    /// Asked on `chat`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ChatRequest {
        /// A line for you alone.
        0 = Direct(SignedLine),
    }

    /// Answered on `chat`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ChatResponse {
        /// Kept: it is on my disk.
        0 = Delivered,
        /// I refuse.
        1 = Refused(Refusal),
        /// Not now.
        2 = Busy,
    }

    /// Asked on `sync`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum SyncRequest {
        /// Which blocks come next?
        0 = GetBlocks(GetBlocks),
        /// Which trades wait?
        1 = GetMempool,
        /// These, whole.
        2 = GetData(Vec<ItemId>),
        /// Parts of a block.
        3 = GetBlockTrades(GetBlockTrades),
    }

    /// Answered on `sync`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum SyncResponse {
        /// Headers, 92 bytes each, one after the other, parents first: the ids and their proof.
        /// Empty: nothing newer.
        0 = Inv(ByteBuf),
        /// Ids of waiting trades.
        1 = MempoolIds(Vec<TxId>),
        /// In the order asked; shorter than asked when the budget is spent, never empty.
        2 = Data(Vec<Item>),
        /// The canonical transactions asked for, in that order.
        3 = BlockTrades(Vec<ByteBuf>),
        /// I know of the block but do not have it yet.
        4 = NotYet,
        /// I do not have it.
        5 = NotFound,
        /// I refuse.
        6 = Refused(Refusal),
        /// Not now.
        7 = Busy,
    }

    /// A thing to fetch, by kind and id.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum ItemId {
        /// A block.
        0 = Block(BlockHash),
        /// A trade or note.
        1 = Trade(TxId),
    }

    /// A thing fetched.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Item {
        /// A canonical block.
        0 = Block(ByteBuf),
        /// A canonical transaction.
        1 = Trade(ByteBuf),
        /// I do not have that one.
        2 = NotFound,
    }

    /// Why a request was refused.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Refusal {
        /// A limit of `proto/README.md` is exceeded.
        0 = OverLimit,
        /// A signature does not fit.
        1 = BadSignature,
        /// The sender is not the author.
        2 = NotYours,
        /// Not addressed to me.
        3 = NotMine,
        /// Older than what is known.
        4 = Stale,
        /// Too many of these.
        5 = RateLimited,
        /// It breaks a rule of its type (a name that may not be one, an empty line).
        6 = Invalid,
    }

    /// Published on the topic `chat`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ChatGossip {
        /// The seed's `broadcast`.
        0 = Line(SignedLine),
        /// The seed's `quit`.
        1 = Quit(SignedQuit),
    }

    /// Published on the topic `trades`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum TradeGossip {
        /// A canonical transaction, and when it was announced, so that an announcement again is
        /// another message.
        0 = Trade(TradeAnnouncement),
    }

    /// Published on the topic `blocks`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum BlockGossip {
        /// The 92 bytes of a header just solved. The seed's `block-miner-priority`.
        0 = Solved(ByteBuf),
        /// The seed's `block-new-block`.
        1 = Compact(CompactBlock),
    }
}

wire_struct! {
    /// A trade as gossip carries it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TradeAnnouncement {
        /// The canonical transaction.
        pub transaction: ByteBuf,
        /// Which announcement of it: 0 the first.
        pub round: u32,
    }
}

/// A request on any of the protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// On `hello`.
    Hello(HelloRequest),
    /// On `friends`.
    Friends(FriendsRequest),
    /// On `chat`.
    Chat(ChatRequest),
    /// On `sync`.
    Sync(SyncRequest),
}

/// A response on any of the protocols; always on the protocol of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// On `hello`.
    Hello(HelloResponse),
    /// On `friends`.
    Friends(FriendsResponse),
    /// On `chat`.
    Chat(ChatResponse),
    /// On `sync`.
    Sync(SyncResponse),
}

/// A decoded gossip payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gossip {
    /// On the topic `chat`.
    Chat(ChatGossip),
    /// On the topic `trades`.
    Trade(TradeGossip),
    /// On the topic `blocks`.
    Block(BlockGossip),
}
