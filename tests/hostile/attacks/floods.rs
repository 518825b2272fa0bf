//! More messages than a node can answer: requests, and transactions that cost their authors
//! nothing.

use std::{io, time::Duration};

use friendchain::{
    primitives::Encode,
    wire::{
        FriendsRequest, GetBlocks, Gossip, HelloRequest, ItemId, Request, SyncRequest, Topic,
        TradeAnnouncement, TradeGossip,
    },
};
use futures::future::join_all;
use serde_bytes::ByteBuf;
use tokio::time::sleep;

use super::{Running, newcomer, no_more};
use crate::{
    arena::Arena,
    attacker::Source,
    forge::{note, phantom_trade},
    script::plain_status,
};

/// Sends requests of every kind, 48 at a time from each identity.
pub(crate) fn request_flood(arena: &Arena) -> Running {
    let target = arena.target;
    let network = target.network;
    for _ in 0..arena.scale.pick(6, 24) {
        arena.runtime.spawn(async move {
            loop {
                let round = async {
                    let actor = newcomer(target, Source::Many).await?;
                    let locator = vec![network];
                    let requests = [
                        Request::Sync(SyncRequest::GetMempool),
                        Request::Sync(SyncRequest::GetBlocks(GetBlocks {
                            locator,
                            limit: 2_000,
                            skip: 0,
                        })),
                        Request::Sync(SyncRequest::GetData(vec![ItemId::Block(network); 128])),
                        Request::Sync(SyncRequest::GetData(vec![ItemId::Block(network)])),
                        Request::Friends(FriendsRequest::Explore),
                        Request::Hello(HelloRequest::Status(plain_status(network))),
                    ];
                    while actor.alive() {
                        let many = requests.iter().cycle().take(48).map(|ask| actor.ask(ask));
                        join_all(many).await;
                    }
                    io::Result::Ok(())
                };
                let _ = round.await;
                sleep(Duration::from_millis(300)).await;
            }
        });
    }
    no_more()
}

/// Publishes notes of a new key each, and trades of coins that do not exist.
pub(crate) fn free_transactions(arena: &Arena) -> Running {
    let target = arena.target;
    let before = arena.file_bytes("chain.redb");
    for flooder in 0..arena.scale.pick(4, 12_u64) {
        arena.runtime.spawn(async move {
            let mut number = flooder << 32;
            loop {
                let round = async {
                    let actor = newcomer(target, Source::Many).await?;
                    let mut gossip = actor.gossip().await?;
                    while actor.alive() {
                        number += 1;
                        let transaction = if number % 3 == 0 {
                            phantom_trade(&target.network, number)
                        } else {
                            note(&target.network, number, &"free ".repeat(190))
                        };
                        let announcement = TradeAnnouncement {
                            transactions: vec![ByteBuf::from(transaction.to_bytes())],
                            round: 0,
                        };
                        let bytes = Gossip::Trade(TradeGossip::Trades(announcement))
                            .encode()
                            .map_err(io::Error::other)?;
                        gossip.publish(Topic::Trades, &[&bytes]).await?;
                        sleep(Duration::from_millis(5)).await;
                    }
                    io::Result::Ok(())
                };
                let _ = round.await;
                sleep(Duration::from_millis(300)).await;
            }
        });
    }
    Box::new(move |arena| {
        let grown = arena.file_bytes("chain.redb").saturating_sub(before) / 1_048_576;
        // The sum of three parts: half of the mempool's 64 MiB, beyond which all strangers have one
        // small share; the mined part of it; and the space that redb allocates ahead.
        (format!("chain file +{grown} MiB (bar: 48)"), grown <= 48)
    })
}
