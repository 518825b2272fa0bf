//! The data of all examples: the network `test` of `networks.json`, its first block, and three
//! friends.

use std::sync::Arc;

use serde_bytes::ByteBuf;

use crate::{
    consensus::{
        CheckedHeader, HeaderWindow, Network, check_block,
        testing::{self, checked, key, note, owner, public_key, signed},
        verify_signatures,
    },
    primitives::{
        Amount, Block, BlockHash, Encode, OutPoint, Owner, PeerId, Signature, Transaction,
        TxOutput, leaf_hash, short_id,
    },
    wire::{
        BlockGossip, ChatGossip, ChatRequest, ChatResponse, CodecError, CompactBlock,
        FriendsRequest, FriendsResponse, GetBlockTrades, GetBlocks, GetRange, Gossip, HelloRequest,
        HelloResponse, Item, ItemId, LineIds, Protocol, Refusal, Request, Response, SealedLine,
        Secret, SignedLine, SignedProfile, SignedQuit, Status, SyncRequest, SyncResponse, Topic,
        TradeAnnouncement, TradeGossip, agree,
    },
};

/// The names of the friends, each with the byte that makes the seed of its key, 32 times.
pub(super) const FRIENDS: [(&str, u8); 3] = [("yzw", 11), ("yjf", 12), ("sr", 13)];

/// Returns the peer id of a friend by its position in [`FRIENDS`].
pub(super) fn friend(number: usize) -> PeerId {
    PeerId(public_key(&key(FRIENDS[number].1)))
}

/// Returns a function that signs with the friend's key.
pub(super) fn signer(number: usize) -> impl Fn(&[u8]) -> Signature {
    use ed25519_dalek::Signer;
    let key = key(FRIENDS[number].1);
    move |bytes| Signature(key.sign(bytes).to_bytes())
}

/// Returns a function that agrees on secrets by the friend's key.
pub(super) fn agreer(number: usize) -> impl Fn(&[u8; 32]) -> Secret {
    let key = key(FRIENDS[number].1);
    move |theirs| agree(&key, theirs)
}

/// The secret ephemeral key of the example's sealed line.
pub(super) const EPHEMERAL: [u8; 32] = [21; 32];

/// The network, its first block, and a transaction for the second.
pub(super) struct World {
    pub(super) network: Network,
    pub(super) header: CheckedHeader,
    pub(super) block: Block,
    pub(super) waiting: Transaction,
}

impl World {
    /// Makes a world whose block is valid.
    pub(super) fn new() -> Self {
        let network = testing::network(1_500);
        let window = HeaderWindow::genesis(&network);
        let to = |coins, owner: Owner| TxOutput { value: Amount::from_coins(coins), owner };
        let genesis_coin = OutPoint { txid: network.genesis.transactions[0].txid(), index: 0 };
        let trade = signed(
            &network.id,
            &[(&key(1), genesis_coin)],
            vec![to(10, owner(&key(2))), to(90, owner(&key(1)))],
            "for the tea".as_bytes(),
        );
        let good_morning = note(&network.id, &key(2), 1, b"GoodMorning!");
        let waiting = note(&network.id, &key(3), 7, "你好, friends".as_bytes());
        let block = testing::next_block(&network, &window, vec![trade, good_morning]);
        let header = checked(&network, &window, &block);
        let checked = check_block(Arc::new(block.clone()), &header).expect("a valid block");
        let claims: Vec<_> = checked.transactions().collect();
        verify_signatures(&network.id, &claims, 1).expect("valid signatures");
        Self { network, header, block, waiting }
    }

    fn status(&self, ahead: bool) -> Status {
        let genesis = self.network.genesis_work();
        let (tip, height, work) = if ahead {
            (self.header.hash(), 1, genesis.saturating_add(self.header.work()))
        } else {
            (self.network.id, 0, genesis)
        };
        Status {
            version: crate::wire::PROTOCOL_VERSION,
            features: 0,
            network: self.network.id,
            tip,
            height,
            work: ByteBuf::from(work.to_be_bytes()),
            time: testing::GENESIS_TIME + 2_000,
            mempool: u32::from(ahead),
        }
    }

    pub(super) fn profile(&self, number: usize) -> SignedProfile {
        let (name, _) = FRIENDS[number];
        let addresses = match number {
            0 => vec![
                "/ip4/192.168.1.7/tcp/8891".to_owned(),
                "/ip4/192.168.1.7/udp/8891/quic-v1".to_owned(),
            ],
            _ => vec![],
        };
        let payment = (number == 0).then(|| owner(&key(1)));
        let sequence = testing::GENESIS_TIME + 1_000;
        SignedProfile::sign(
            &self.network.id,
            friend(number),
            name,
            addresses,
            payment,
            sequence,
            &signer(number),
        )
        .expect("within the limits")
    }

    /// Returns a line of the first friend, to the second or to all.
    pub(super) fn line(&self, direct: bool) -> SignedLine {
        let to = direct.then(|| friend(1));
        let text = if direct { "Good morning to you" } else { "good night, 朋友们" };
        let (time, counter) = (testing::GENESIS_TIME + 3_000, if direct { 1 } else { 2 });
        SignedLine::sign(&self.network.id, friend(0), to, time, counter, text, &signer(0))
            .expect("within the limits")
    }

    /// Returns the line to the second friend, sealed.
    pub(super) fn sealed(&self) -> SealedLine {
        SealedLine::seal(&self.network.id, &self.line(true), &Secret::new(EPHEMERAL))
            .expect("within the limits")
    }

    pub(super) fn quit(&self) -> SignedQuit {
        SignedQuit::sign(&self.network.id, friend(0), testing::GENESIS_TIME + 4_000, 3, &signer(0))
    }

    /// Returns the bytes of a transaction of the block.
    fn transaction(&self, position: usize) -> ByteBuf {
        ByteBuf::from(self.block.transactions[position].to_bytes())
    }

    fn header_bytes(&self) -> ByteBuf {
        ByteBuf::from(self.header.header().to_bytes())
    }

    fn compact(&self) -> CompactBlock {
        let short_ids = self.block.transactions[1..]
            .iter()
            .flat_map(|transaction| short_id(&self.header.hash(), &leaf_hash(transaction)));
        CompactBlock {
            header: self.header_bytes(),
            coinbase: self.transaction(0),
            short_ids: ByteBuf::from(short_ids.collect::<Vec<u8>>()),
        }
    }

    /// Returns examples of all messages, refusals and kinds of items.
    pub(super) fn messages(&self) -> Vec<Example> {
        [
            self.hello_messages(),
            self.friends_messages(),
            self.chat_messages(),
            self.sync_requests(),
            self.sync_responses(),
            self.gossip_messages(),
        ]
        .concat()
    }

    fn hello_messages(&self) -> Vec<Example> {
        let answer = |response: HelloResponse| Message::Response(Response::Hello(response));
        vec![
            (
                "a newcomer, at the genesis",
                Message::Request(Request::Hello(HelloRequest::Status(self.status(false)))),
            ),
            (
                "the answer of a friend at height 1",
                answer(HelloResponse::Status(self.status(true))),
            ),
            ("a friend of the network lan", answer(HelloResponse::WrongNetwork(Network::lan().id))),
            ("a node that has no room", answer(HelloResponse::Busy)),
        ]
    }

    fn friends_messages(&self) -> Vec<Example> {
        let ask = |request: FriendsRequest| Message::Request(Request::Friends(request));
        let answer = |response: FriendsResponse| Message::Response(Response::Friends(response));
        vec![
            ("whom do you know?", ask(FriendsRequest::Explore)),
            ("yzw says who it is", ask(FriendsRequest::Introduce(self.profile(0)))),
            (
                "two friends",
                answer(FriendsResponse::Profiles(vec![self.profile(1), self.profile(0)])),
            ),
            ("nobody, not even myself", answer(FriendsResponse::Profiles(vec![]))),
            ("kept", answer(FriendsResponse::Welcome)),
            ("forged", answer(FriendsResponse::Refused(Refusal::BadSignature))),
            ("somebody else's", answer(FriendsResponse::Refused(Refusal::NotYours))),
            ("a name that may not be one", answer(FriendsResponse::Refused(Refusal::Invalid))),
            ("a node that has no room", answer(FriendsResponse::Busy)),
        ]
    }

    fn chat_messages(&self) -> Vec<Example> {
        let answer = |response: ChatResponse| Message::Response(Response::Chat(response));
        let ids = ByteBuf::from(self.line(false).id(&self.network.id).0);
        vec![
            ("yzw to yjf", Message::Request(Request::Chat(ChatRequest::Direct(self.line(true))))),
            ("on yjf's disk", answer(ChatResponse::Delivered)),
            ("to somebody else", answer(ChatResponse::Refused(Refusal::NotMine))),
            ("too old", answer(ChatResponse::Refused(Refusal::Stale))),
            ("too many", answer(ChatResponse::Refused(Refusal::RateLimited))),
            ("a node that has no room", answer(ChatResponse::Busy)),
            (
                "which lines to all have you kept?",
                Message::Request(Request::Chat(ChatRequest::GetLineIds(0))),
            ),
            ("one line", answer(ChatResponse::LineIds(LineIds { ids: ids.clone(), next: 7 }))),
            ("no more", answer(ChatResponse::LineIds(LineIds { ids: ByteBuf::new(), next: 7 }))),
            ("that line", Message::Request(Request::Chat(ChatRequest::GetLines(ids)))),
            ("here it is", answer(ChatResponse::Lines(vec![self.line(false)]))),
            ("it is kept no longer", answer(ChatResponse::Lines(vec![]))),
            (
                "yzw to yjf, sealed, for sr to keep",
                Message::Request(Request::Chat(ChatRequest::Sealed(self.sealed()))),
            ),
        ]
    }

    fn sync_requests(&self) -> Vec<Example> {
        let (hash, waiting) = (self.header.hash(), self.waiting.txid());
        let ask = |request: SyncRequest| Message::Request(Request::Sync(request));
        let blocks = |locator: Vec<BlockHash>, limit| {
            ask(SyncRequest::GetBlocks(GetBlocks { locator, limit, skip: 0 }))
        };
        let parts = GetBlockTrades { block: hash, positions: vec![1, 2] };
        let range = GetRange { first: hash, count: 1, bytes: 2_097_152 };
        vec![
            ("what comes after the genesis?", blocks(vec![self.network.id], 2_000)),
            ("what comes after the first block?", blocks(vec![hash, self.network.id], 2_000)),
            ("a limit of 0, answered by an Inv without headers", blocks(vec![hash], 0)),
            ("which trades wait?", ask(SyncRequest::GetMempool)),
            ("the first block", ask(SyncRequest::GetData(vec![ItemId::Block(hash)]))),
            (
                "a block and a note",
                ask(SyncRequest::GetData(vec![ItemId::Block(hash), ItemId::Trade(waiting)])),
            ),
            ("its second and third transactions", ask(SyncRequest::GetBlockTrades(parts))),
            ("the first block, and none above it", ask(SyncRequest::GetRange(range))),
        ]
    }

    fn sync_responses(&self) -> Vec<Example> {
        let answer = |response: SyncResponse| Message::Response(Response::Sync(response));
        let block = ByteBuf::from(self.block.to_bytes());
        let range = block.clone();
        vec![
            ("one header", answer(SyncResponse::Inv(self.header_bytes()))),
            ("nothing newer", answer(SyncResponse::Inv(ByteBuf::new()))),
            ("one note waits", answer(SyncResponse::MempoolIds(vec![self.waiting.txid()]))),
            ("the first block", answer(SyncResponse::Data(vec![Item::Block(block)]))),
            (
                "a note, and something that is not here",
                answer(SyncResponse::Data(vec![
                    Item::Trade(ByteBuf::from(self.waiting.to_bytes())),
                    Item::NotFound,
                ])),
            ),
            (
                "the second and third transactions",
                answer(SyncResponse::BlockTrades(vec![self.transaction(1), self.transaction(2)])),
            ),
            ("the only block from there on", answer(SyncResponse::Blocks(range))),
            ("a block that is on its way", answer(SyncResponse::NotYet)),
            ("an unknown block", answer(SyncResponse::NotFound)),
            ("over a limit", answer(SyncResponse::Refused(Refusal::OverLimit))),
            ("a node that has no room", answer(SyncResponse::Busy)),
        ]
    }

    fn gossip_messages(&self) -> Vec<Example> {
        let trades = |transactions: Vec<ByteBuf>, round| {
            let announcement = TradeAnnouncement { transactions, round };
            Message::Gossip(Gossip::Trade(TradeGossip::Trades(announcement)))
        };
        let waiting = || ByteBuf::from(self.waiting.to_bytes());
        let chat = |gossip: ChatGossip| Message::Gossip(Gossip::Chat(gossip));
        let block = |gossip: BlockGossip| Message::Gossip(Gossip::Block(gossip));
        vec![
            ("yzw to all", chat(ChatGossip::Line(self.line(false)))),
            ("yzw leaves", chat(ChatGossip::Quit(self.quit()))),
            ("a note, announced", trades(vec![waiting()], 0)),
            ("the same note, six spacings later", trades(vec![waiting()], 1)),
            ("two at once", trades(vec![self.transaction(1), waiting()], 0)),
            ("the first block's header", block(BlockGossip::Solved(self.header_bytes()))),
            ("the first block", block(BlockGossip::Compact(self.compact()))),
        ]
    }
}

/// A message, with its description.
pub(super) type Example = (&'static str, Message);

/// A message of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Request(Request),
    Response(Response),
    Gossip(Gossip),
}

/// A protocol or topic, with the direction of messages on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Request(Protocol),
    Response(Protocol),
    Gossip(Topic),
}

impl Channel {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let protocols =
            Protocol::ALL.into_iter().flat_map(|each| [Self::Request(each), Self::Response(each)]);
        protocols.chain(Topic::ALL.map(Self::Gossip))
    }

    /// Returns the name of the protocol or topic.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Request(Protocol::Hello) | Self::Response(Protocol::Hello) => "hello",
            Self::Request(Protocol::Friends) | Self::Response(Protocol::Friends) => "friends",
            Self::Request(Protocol::Chat)
            | Self::Response(Protocol::Chat)
            | Self::Gossip(Topic::Chat) => "chat",
            Self::Request(Protocol::Sync) | Self::Response(Protocol::Sync) => "sync",
            Self::Gossip(Topic::Trades) => "trades",
            Self::Gossip(Topic::Blocks) => "blocks",
        }
    }

    pub(super) const fn direction(self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Response(_) => "response",
            Self::Gossip(_) => "gossip",
        }
    }

    /// Returns the CDDL file and the name of its rule.
    pub(super) const fn rule(self) -> (&'static str, &'static str) {
        const HELLO: &str = include_str!("../../../proto/hello.cddl");
        const FRIENDS: &str = include_str!("../../../proto/friends.cddl");
        const CHAT: &str = include_str!("../../../proto/chat.cddl");
        const SYNC: &str = include_str!("../../../proto/sync.cddl");
        const GOSSIP: &str = include_str!("../../../proto/gossip.cddl");
        match self {
            Self::Request(Protocol::Hello) => (HELLO, "hello-request"),
            Self::Response(Protocol::Hello) => (HELLO, "hello-response"),
            Self::Request(Protocol::Friends) => (FRIENDS, "friends-request"),
            Self::Response(Protocol::Friends) => (FRIENDS, "friends-response"),
            Self::Request(Protocol::Chat) => (CHAT, "chat-request"),
            Self::Response(Protocol::Chat) => (CHAT, "chat-response"),
            Self::Request(Protocol::Sync) => (SYNC, "sync-request"),
            Self::Response(Protocol::Sync) => (SYNC, "sync-response"),
            Self::Gossip(Topic::Chat) => (GOSSIP, "chat-gossip"),
            Self::Gossip(Topic::Trades) => (GOSSIP, "trade-gossip"),
            Self::Gossip(Topic::Blocks) => (GOSSIP, "block-gossip"),
        }
    }

    /// Returns the maximum size of a message in bytes.
    pub(super) const fn max_bytes(self) -> usize {
        match self {
            Self::Request(protocol) => protocol.max_request_bytes(),
            Self::Response(protocol) => protocol.max_response_bytes(),
            Self::Gossip(topic) => topic.max_bytes(),
        }
    }

    pub(super) fn decode(self, bytes: &[u8]) -> Result<Message, CodecError> {
        match self {
            Self::Request(protocol) => protocol.decode_request(bytes).map(Message::Request),
            Self::Response(protocol) => protocol.decode_response(bytes).map(Message::Response),
            Self::Gossip(topic) => topic.decode(bytes).map(Message::Gossip),
        }
    }
}

impl Message {
    pub(super) const fn channel(&self) -> Channel {
        match self {
            Self::Request(request) => Channel::Request(request.protocol()),
            Self::Response(response) => Channel::Response(response.protocol()),
            Self::Gossip(gossip) => Channel::Gossip(gossip.topic()),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let bytes = match self {
            Self::Request(request) => request.encode(),
            Self::Response(response) => response.encode(),
            Self::Gossip(gossip) => gossip.encode(),
        };
        bytes.expect("within the limits")
    }

    /// Returns the name of the message, as in the README.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Request(Request::Hello(HelloRequest::Status(_)))
            | Self::Response(Response::Hello(HelloResponse::Status(_))) => "Status",
            Self::Response(Response::Hello(HelloResponse::WrongNetwork(_))) => "WrongNetwork",
            Self::Response(
                Response::Hello(HelloResponse::Busy)
                | Response::Friends(FriendsResponse::Busy)
                | Response::Chat(ChatResponse::Busy)
                | Response::Sync(SyncResponse::Busy),
            ) => "Busy",
            Self::Request(Request::Friends(FriendsRequest::Explore)) => "Explore",
            Self::Request(Request::Friends(FriendsRequest::Introduce(_))) => "Introduce",
            Self::Response(Response::Friends(FriendsResponse::Profiles(_))) => "Profiles",
            Self::Response(Response::Friends(FriendsResponse::Welcome)) => "Welcome",
            Self::Response(
                Response::Friends(FriendsResponse::Refused(_))
                | Response::Chat(ChatResponse::Refused(_))
                | Response::Sync(SyncResponse::Refused(_)),
            ) => "Refused",
            Self::Request(Request::Chat(ChatRequest::Direct(_))) => "Direct",
            Self::Response(Response::Chat(ChatResponse::Delivered)) => "Delivered",
            Self::Request(Request::Chat(ChatRequest::GetLineIds(_))) => "GetLineIds",
            Self::Response(Response::Chat(ChatResponse::LineIds(_))) => "LineIds",
            Self::Request(Request::Chat(ChatRequest::GetLines(_))) => "GetLines",
            Self::Request(Request::Chat(ChatRequest::Sealed(_))) => "Sealed",
            Self::Response(Response::Chat(ChatResponse::Lines(_))) => "Lines",
            Self::Request(Request::Sync(SyncRequest::GetBlocks(_))) => "GetBlocks",
            Self::Request(Request::Sync(SyncRequest::GetMempool)) => "GetMempool",
            Self::Request(Request::Sync(SyncRequest::GetData(_))) => "GetData",
            Self::Request(Request::Sync(SyncRequest::GetBlockTrades(_))) => "GetBlockTrades",
            Self::Request(Request::Sync(SyncRequest::GetRange(_))) => "GetRange",
            Self::Response(Response::Sync(SyncResponse::Inv(_))) => "Inv",
            Self::Response(Response::Sync(SyncResponse::MempoolIds(_))) => "MempoolIds",
            Self::Response(Response::Sync(SyncResponse::Data(_))) => "Data",
            Self::Response(Response::Sync(SyncResponse::BlockTrades(_))) => "BlockTrades",
            Self::Response(Response::Sync(SyncResponse::Blocks(_))) => "Blocks",
            Self::Response(Response::Sync(SyncResponse::NotYet)) => "NotYet",
            Self::Response(Response::Sync(SyncResponse::NotFound)) => "NotFound",
            Self::Gossip(Gossip::Chat(ChatGossip::Line(_))) => "Line",
            Self::Gossip(Gossip::Chat(ChatGossip::Quit(_))) => "Quit",
            Self::Gossip(Gossip::Trade(TradeGossip::Trades(_))) => "Trades",
            Self::Gossip(Gossip::Block(BlockGossip::Solved(_))) => "Solved",
            Self::Gossip(Gossip::Block(BlockGossip::Compact(_))) => "Compact",
        }
    }
}
