//! The answers of an attacker's identity to the node's requests.

use std::{collections::HashMap, sync::Arc};

use friendchain::{
    primitives::{BlockHash, Encode, Header, NetworkId},
    wire::{
        FriendsResponse, HelloRequest, HelloResponse, Item, ItemId, PROTOCOL_VERSION, Protocol,
        Request, Response, SignedProfile, Status, SyncRequest, SyncResponse,
    },
};
use libp2p::Multiaddr;
use serde_bytes::ByteBuf;
use tokio::sync::mpsc;

use crate::forge::{now, total_work};

/// The maximum number of headers in one answer.
const INV: usize = 2_000;

/// A branch that an identity claims and serves: headers without bodies, or with some.
#[derive(Default)]
pub(crate) struct Branch {
    headers: Vec<Header>,
    at: HashMap<BlockHash, usize>,
    /// The bodies' canonical bytes.
    pub(crate) bodies: HashMap<BlockHash, Vec<u8>>,
}

impl Branch {
    /// Takes headers in order, the genesis first.
    pub(crate) fn new(headers: Vec<Header>) -> Self {
        let at = headers.iter().enumerate().map(|(at, header)| (header.hash(), at)).collect();
        Self { headers, at, bodies: HashMap::new() }
    }

    pub(crate) fn tip(&self) -> &Header {
        self.headers.last().expect("a genesis at least")
    }

    /// Returns the status of a node at the branch's tip.
    pub(crate) fn status(&self) -> Status {
        let tip = self.tip();
        Status {
            work: ByteBuf::from(total_work(&self.headers).to_be_bytes().to_vec()),
            tip: tip.hash(),
            height: tip.height,
            ..plain_status(self.headers[0].hash())
        }
    }

    fn after(&self, locator: &[BlockHash], skip: u32, limit: u32) -> Vec<u8> {
        let known = locator.iter().filter_map(|hash| self.at.get(hash)).max();
        let from = known.map_or(0, |at| at + 1) + skip as usize;
        let limit = usize::try_from(limit).unwrap_or(INV).min(INV);
        let to = self.headers.len().min(from + limit);
        self.headers[from.min(to)..to].iter().flat_map(Header::to_bytes).collect()
    }
}

/// Returns a Status at the genesis block.
pub(crate) fn plain_status(network: NetworkId) -> Status {
    Status {
        version: PROTOCOL_VERSION,
        features: 0,
        network,
        tip: network,
        height: 0,
        work: ByteBuf::from([&[0; 30][..], &[1, 0]].concat()),
        time: now(),
        mempool: 0,
    }
}

/// Returns a claim of 2^200 work on an unknown tip.
pub(crate) fn claim(network: NetworkId, salt: u8) -> Status {
    let mut work = vec![0; 32];
    work[31 - 25] = 1;
    Status {
        tip: BlockHash([salt; 32]),
        height: 1_000_000,
        work: ByteBuf::from(work),
        ..plain_status(network)
    }
}

type Answer = Box<dyn Fn() -> Vec<u8> + Send + Sync>;

/// An identity's answers. Fields that are `None` mean silence.
pub(crate) struct Script {
    pub(crate) status: Status,
    /// The branch behind the answers on `sync`.
    pub(crate) branch: Option<Arc<Branch>>,
    /// The answer to Explore.
    pub(crate) profiles: Option<Vec<SignedProfile>>,
    /// The answer to `FIND_NODE`, framed. With it, identify lists Kademlia's protocol.
    pub(crate) kad: Option<Answer>,
    /// The addresses that identify announces.
    pub(crate) listen: Vec<Multiaddr>,
    /// A receiver of the node's gossip frames.
    pub(crate) heard: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// True if gossip is left unread.
    pub(crate) deaf: bool,
    /// The conduct as the far end of a relay's circuit. With it, identify lists the protocol.
    pub(crate) far: Option<FarEnd>,
}

/// The far end of circuits. It accepts each.
#[derive(Debug, Clone)]
pub(crate) enum FarEnd {
    /// It reads nothing.
    Deaf,
    /// It reads, and adds the bytes of each circuit that has ended.
    Reads(mpsc::UnboundedSender<u64>),
}

impl Script {
    /// Returns the script of an honest newcomer.
    pub(crate) fn plain(network: NetworkId) -> Self {
        Self::claiming(plain_status(network), Some(Arc::new(Branch::default())))
    }

    /// Returns a script that sends a status, and serves a branch or stays silent on `sync`.
    pub(crate) fn claiming(status: Status, branch: Option<Arc<Branch>>) -> Self {
        Self {
            status,
            branch,
            profiles: Some(Vec::new()),
            kad: None,
            listen: Vec::new(),
            heard: None,
            deaf: false,
            far: None,
        }
    }

    /// Returns the bytes of an answer, or `None` for silence.
    pub(crate) fn answer(&self, protocol: Protocol, bytes: &[u8]) -> Option<Vec<u8>> {
        let response = match protocol.decode_request(bytes).ok()? {
            Request::Hello(HelloRequest::Status(_)) => {
                let status = Status { time: now(), ..self.status.clone() };
                Response::Hello(HelloResponse::Status(status))
            }
            Request::Friends(friendchain::wire::FriendsRequest::Explore) => {
                Response::Friends(FriendsResponse::Profiles(self.profiles.clone()?))
            }
            Request::Friends(_) => Response::Friends(FriendsResponse::Welcome),
            Request::Chat(_) => Response::Chat(friendchain::wire::ChatResponse::Delivered),
            Request::Sync(request) => Response::Sync(sync_answer(self.branch.as_ref()?, &request)),
        };
        response.encode().ok()
    }
}

fn sync_answer(branch: &Branch, request: &SyncRequest) -> SyncResponse {
    match request {
        SyncRequest::GetBlocks(ask) => {
            SyncResponse::Inv(ByteBuf::from(branch.after(&ask.locator, ask.skip, ask.limit)))
        }
        SyncRequest::GetMempool => SyncResponse::MempoolIds(Vec::new()),
        SyncRequest::GetData(ids) => {
            let item = |id: &ItemId| match id {
                ItemId::Block(hash) => branch
                    .bodies
                    .get(hash)
                    .map_or(Item::NotFound, |body| Item::Block(ByteBuf::from(body.clone()))),
                ItemId::Trade(_) => Item::NotFound,
            };
            SyncResponse::Data(ids.iter().map(item).collect())
        }
        SyncRequest::GetRange(ask) => branch
            .bodies
            .get(&ask.first)
            .map_or(SyncResponse::NotFound, |body| SyncResponse::Blocks(body.clone().into())),
        SyncRequest::GetBlockTrades(_) => SyncResponse::NotFound,
    }
}
