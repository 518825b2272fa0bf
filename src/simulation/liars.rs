//! Nodes that lie, each in one way: every kind of hostile stranger that sync, relay or chain can
//! meet.

use std::{collections::BTreeMap, sync::Arc};

use rand::{Rng as _, RngExt};
use serde_bytes::ByteBuf;

use super::{
    history::{owner_of, solve, wallet_key},
    queue::{Event, Message, Packet},
    world::World,
};
use crate::{
    chain::{Chain, api::HeaderContext},
    consensus::{Network, SUBSIDY, Work, check_header, min_time, next_bits},
    primitives::{
        Amount, Block, BlockHash, Decode as _, Encode as _, Header, MerkleRoot, Transaction,
        TxOutput, coinbase_memo,
        encoding::{Reader, from_bytes},
    },
    wire::{
        BlockGossip, CompactBlock, Gossip, Item, ItemId, Status, SyncRequest, SyncResponse,
        gossip_id, limits::MAX_INV_HEADERS,
    },
};

/// The behaviour of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Claims much work again and again, and answers no request.
    Silent,
    /// Sends a true Status and answers no request.
    Mute,
    /// Claims more work than its chain has.
    Boasting,
    /// Sends bytes that do not decode to a block.
    Garbage,
    /// Sends answers that the network cannot decode.
    Garbled,
    /// Sends another block than the requested one.
    WrongBlock,
    /// Serves headers and no bodies.
    Withholding,
    /// Mines, announces the headers of its blocks, and keeps their bodies.
    Selfish,
    /// Sends headers without a known parent.
    LooseHeaders,
    /// Claims much work, and serves a long branch of little work.
    Cheap,
    /// Answers every request with Busy.
    Busy,
    /// Answers each request with a response of another kind.
    Confused,
    /// Announces blocks whose parents do not exist.
    Orphans,
    /// Sends old announcements again.
    Stale,
    /// Serves a branch of valid headers with an invalid block in it.
    Invalid,
}

/// A branch that a liar forged, which no chain would store.
#[derive(Debug, Clone)]
pub(crate) struct Forged {
    /// The last block of its chain below the branch.
    base: BlockHash,
    headers: Vec<Header>,
    bodies: BTreeMap<BlockHash, Block>,
    /// The work of the branch, the chain below included.
    work: Work,
}

impl Forged {
    /// Forges blocks on the chain of a node. The first of them mints too many coins.
    pub(crate) fn new(chain: &mut Chain, network: &Network, count: u32) -> Option<Self> {
        let HeaderContext { tip, mut window } = chain.header_context(&chain.tip().hash).ok()??;
        let mut forged =
            Self { base: tip.hash, headers: Vec::new(), bodies: BTreeMap::new(), work: tip.work };
        for number in 0..count {
            let time = min_time(&window).max(window.parent_time() + network.params.spacing_ms);
            let height = window.parent_height() + 1;
            let extra = if number == 0 { SUBSIDY } else { Amount::ZERO };
            let value = SUBSIDY.saturating_add(extra);
            let owner = owner_of(&wallet_key(6_000));
            let coinbase = Transaction {
                inputs: Vec::new(),
                outputs: vec![TxOutput { value, owner }],
                memo: coinbase_memo(height, b"forged"),
            };
            let bits = next_bits(network, &window, time);
            let (previous, merkle_root) = (window.parent(), MerkleRoot::ZERO);
            let header = Header { previous, merkle_root, height, time, bits, nonce: 0 };
            let mut block = Block { header, transactions: vec![coinbase] };
            block.header.merkle_root = block.computed_merkle_root();
            solve(&mut block);
            let checked = check_header(&block.header, network, &window, time).ok()?;
            forged.work = forged.work.checked_add(checked.work())?;
            window.push(&checked);
            forged.headers.push(block.header);
            forged.bodies.insert(block.hash(), block);
        }
        Some(forged)
    }

    /// Changes a Status so that it claims the branch.
    pub(super) fn claim(&self, status: &mut Status) {
        if let Some(last) = self.headers.last() {
            status.tip = last.hash();
            status.height = last.height;
            status.work = self.work.to_be_bytes().to_vec().into();
        }
    }

    /// Returns the headers after the newest block of a locator. `honest` are those of the chain.
    fn inv(&self, locator: &[BlockHash], honest: Vec<Header>) -> Vec<Header> {
        let known = self.headers.iter().rposition(|header| locator.contains(&header.hash()));
        if let Some(known) = known {
            return self.headers.iter().skip(known + 1).copied().collect();
        }
        let reaches = honest.last().is_none_or(|last| last.hash() == self.base);
        let mut all = honest;
        if reaches {
            all.extend(&self.headers);
        }
        all.truncate(MAX_INV_HEADERS);
        all
    }
}

/// The answer of a node to a request.
pub(super) enum Answered {
    With(SyncResponse),
    /// Bytes that do not decode.
    Garbled,
    Nothing,
}

/// The pause between two acts of a liar, in µs.
const ACT_US: u64 = 5_000_000;
/// The number of blocks without parents that a liar announces at once.
const ORPHANS_AT_ONCE: u64 = 8;
/// The number of old announcements that liars keep, and the number that they send at once.
const STALE: (usize, usize) = (200, 20);

impl Manner {
    /// All kinds of liars.
    pub(crate) const LIARS: [Self; 15] = [
        Self::Silent,
        Self::Mute,
        Self::Boasting,
        Self::Garbage,
        Self::Garbled,
        Self::WrongBlock,
        Self::Withholding,
        Self::Selfish,
        Self::LooseHeaders,
        Self::Cheap,
        Self::Busy,
        Self::Confused,
        Self::Orphans,
        Self::Stale,
        Self::Invalid,
    ];

    /// Returns true if the node acts without a request.
    pub(super) const fn acts(self) -> bool {
        matches!(self, Self::Silent | Self::Orphans | Self::Stale)
    }

    /// Returns true if the node follows no chain but its own.
    pub(super) const fn is_deaf(self) -> bool {
        matches!(self, Self::Cheap | Self::Invalid)
    }

    /// Returns the Status that the node sends.
    pub(super) fn status(self, status: Status) -> Status {
        if !matches!(
            self,
            Self::Silent
                | Self::Boasting
                | Self::Busy
                | Self::Confused
                | Self::LooseHeaders
                | Self::Cheap
        ) {
            return status;
        }
        let work = Work::from_be_bytes([0x7f; 32]).to_be_bytes().to_vec();
        Status { tip: BlockHash([0xee; 32]), height: u32::MAX, work: work.into(), ..status }
    }

    /// Returns true if the node publishes this message. `mined` are its own blocks.
    pub(super) fn publishes(self, gossip: &Gossip, mined: &[BlockHash]) -> bool {
        let Gossip::Block(BlockGossip::Compact(compact)) = gossip else { return true };
        let Ok(header) = from_bytes::<Header>(&compact.header) else { return true };
        self != Self::Selfish || !mined.contains(&header.hash())
    }
}

impl World {
    /// Returns the answer that a node gives instead of the true one.
    pub(super) fn lie_about(
        &mut self,
        node: usize,
        request: &SyncRequest,
        honest: SyncResponse,
    ) -> Answered {
        let none = |items: &[ItemId]| SyncResponse::Data(vec![Item::NotFound; items.len()]);
        let asks_block = |items: &[ItemId]| matches!(items.first(), Some(ItemId::Block(_)));
        Answered::With(match (self.nodes[node].manner, request) {
            (Manner::Silent | Manner::Mute, _) => return Answered::Nothing,
            (Manner::Garbled, SyncRequest::GetData(_) | SyncRequest::GetRange(_)) => {
                return Answered::Garbled;
            }
            (Manner::Busy, _) => SyncResponse::Busy,
            (Manner::Confused, SyncRequest::GetMempool) => SyncResponse::Inv(ByteBuf::new()),
            (Manner::Confused, _) => SyncResponse::MempoolIds(Vec::new()),
            (Manner::LooseHeaders, SyncRequest::GetBlocks(_)) => {
                let header = self.orphan(3).header;
                SyncResponse::Inv(ByteBuf::from(header.to_bytes()))
            }
            (Manner::Garbage, SyncRequest::GetRange(_)) => {
                let mut bytes = vec![0; 300];
                self.rng.fill_bytes(&mut bytes);
                SyncResponse::Blocks(ByteBuf::from(bytes))
            }
            (Manner::WrongBlock, SyncRequest::GetRange(_)) => {
                SyncResponse::Blocks(ByteBuf::from(self.orphan(4).to_bytes()))
            }
            (Manner::Selfish, SyncRequest::GetRange(_)) => self.range_without_own(node, honest),
            (Manner::Withholding, SyncRequest::GetData(items)) if asks_block(items) => none(items),
            (Manner::Withholding, SyncRequest::GetBlockTrades(_) | SyncRequest::GetRange(_)) => {
                SyncResponse::NotFound
            }
            (Manner::Selfish, SyncRequest::GetData(items)) if asks_block(items) => {
                return Answered::With(self.without_own(node, items, honest));
            }
            (Manner::Selfish, SyncRequest::GetBlockTrades(asked))
                if self.nodes[node].mined.contains(&asked.block) =>
            {
                SyncResponse::NotFound
            }
            (Manner::Invalid, _) => return Answered::With(self.forge(node, request, honest)),
            _ => honest,
        })
    }

    /// Makes a node serve a forged branch on its present chain.
    pub(super) fn make_forged(&mut self, node: usize, count: u32) {
        let network = Arc::clone(&self.history.network);
        let Some(run) = self.run(node) else { return };
        let forged = Forged::new(&mut run.chain, &network, count);
        self.nodes[node].forged = forged;
    }

    /// Answers with the forged branch if the request asks for it.
    fn forge(&mut self, node: usize, request: &SyncRequest, honest: SyncResponse) -> SyncResponse {
        let Some(forged) = self.nodes[node].forged.clone() else { return honest };
        match (request, honest) {
            (SyncRequest::GetBlocks(asked), _) => {
                let Some(run) = self.run(node) else { return SyncResponse::Busy };
                let own = run.reader.headers_after(&asked.locator, 0, MAX_INV_HEADERS);
                let all = forged.inv(&asked.locator, own);
                let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
                let skip = usize::try_from(asked.skip).unwrap_or(usize::MAX);
                let bytes: Vec<u8> = all
                    .iter()
                    .skip(skip)
                    .take(limit)
                    .flat_map(crate::primitives::Encode::to_bytes)
                    .collect();
                SyncResponse::Inv(ByteBuf::from(bytes))
            }
            (SyncRequest::GetData(items), SyncResponse::Data(found)) => {
                let all = items.iter().zip(found).map(|(asked, item)| match asked {
                    ItemId::Block(hash) => forged
                        .bodies
                        .get(hash)
                        .map_or(item, |block| Item::Block(ByteBuf::from(block.to_bytes()))),
                    ItemId::Trade(_) => item,
                });
                SyncResponse::Data(all.collect())
            }
            (SyncRequest::GetRange(asked), honest) => {
                let mut bytes = Vec::new();
                let mut next = forged.bodies.get(&asked.first);
                let mut count = 0;
                while let Some(block) = next.filter(|_| count < asked.count) {
                    count += 1;
                    bytes.extend(block.to_bytes());
                    let hash = block.hash();
                    next = forged.bodies.values().find(|above| above.header.previous == hash);
                }
                if bytes.is_empty() { honest } else { SyncResponse::Blocks(ByteBuf::from(bytes)) }
            }
            (_, honest) => honest,
        }
    }

    /// Cuts an answer before the first block that the node itself has mined.
    fn range_without_own(&self, node: usize, honest: SyncResponse) -> SyncResponse {
        let SyncResponse::Blocks(bytes) = honest else { return honest };
        let mut reader = Reader::new(&bytes);
        let mut kept = 0;
        while let Ok(block) = Block::decode(&mut reader) {
            if self.nodes[node].mined.contains(&block.hash()) {
                break;
            }
            kept = bytes.len() - reader.remaining();
        }
        match kept {
            0 => SyncResponse::NotFound,
            _ => SyncResponse::Blocks(ByteBuf::from(&bytes[..kept])),
        }
    }

    /// Removes a miner's own blocks from its answer.
    fn without_own(&self, node: usize, items: &[ItemId], honest: SyncResponse) -> SyncResponse {
        let SyncResponse::Data(found) = honest else { return honest };
        let mined = &self.nodes[node].mined;
        let kept = items.iter().zip(found).map(|(asked, item)| match asked {
            ItemId::Block(hash) if mined.contains(hash) => Item::NotFound,
            _ => item,
        });
        SyncResponse::Data(kept.collect())
    }

    /// Makes a block without a parent, with the least work.
    fn orphan(&mut self, salt: u8) -> Block {
        let height = 1_000 + self.rng.random_range(0..1_000_000);
        let mut previous = [salt; 32];
        self.rng.fill_bytes(&mut previous);
        let owner = owner_of(&wallet_key(usize::from(salt)));
        let coinbase = Transaction {
            inputs: Vec::new(),
            outputs: vec![TxOutput { value: SUBSIDY, owner }],
            memo: coinbase_memo(height, &[]),
        };
        let bits = self.history.network.genesis.header.bits;
        let (previous, merkle_root, time) =
            (BlockHash(previous), MerkleRoot::ZERO, self.true_wall());
        let header = Header { previous, merkle_root, height, time, bits, nonce: 0 };
        let mut block = Block { header, transactions: vec![coinbase] };
        block.header.merkle_root = block.computed_merkle_root();
        solve(&mut block);
        block
    }

    /// Keeps an announcement for liars that send old ones again.
    pub(super) fn keep_stale(&mut self, packet: &Arc<Packet>) {
        if self.stale.len() < STALE.0 && matches!(packet.gossip, Gossip::Block(_)) {
            self.stale.push(Arc::clone(packet));
        }
    }

    /// Makes a liar act.
    pub(super) fn lie(&mut self, node: usize) {
        match self.nodes[node].manner {
            Manner::Silent => {
                for other in self.links.neighbours(node) {
                    self.hello(node, other);
                }
            }
            Manner::Orphans => {
                for _ in 0..ORPHANS_AT_ONCE {
                    let block = self.orphan(5);
                    let compact = CompactBlock {
                        header: block.header.to_bytes().into(),
                        coinbase: block.transactions[0].to_bytes().into(),
                        short_ids: ByteBuf::new(),
                    };
                    self.shout(node, Gossip::Block(BlockGossip::Compact(compact)));
                }
            }
            Manner::Stale => {
                for _ in 0..STALE.1.min(self.stale.len()) {
                    let chosen = self.rng.random_range(0..self.stale.len());
                    let packet = Arc::clone(&self.stale[chosen]);
                    self.shout_packet(node, &packet);
                }
            }
            _ => return,
        }
        self.push(ACT_US, Event::Lie { node });
    }

    fn shout(&mut self, node: usize, gossip: Gossip) {
        let Ok(payload) = gossip.encode() else { return };
        let id = gossip_id(gossip.topic().code(), &payload);
        self.shout_packet(node, &Arc::new(Packet { id, gossip, bytes: payload.len() }));
    }

    /// Sends a message to all neighbours, even if they have seen it.
    fn shout_packet(&mut self, node: usize, packet: &Arc<Packet>) {
        for other in self.links.neighbours(node) {
            let message = Message::Gossip(Arc::clone(packet));
            self.send(node, other, message, packet.bytes);
        }
    }
}
