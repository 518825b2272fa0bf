//! Claims, headers and blocks that promise work and do not deliver it.

use std::{io, sync::Arc, time::Duration};

use friendchain::{
    primitives::{BlockHash, Encode, Header, MerkleRoot},
    wire::{BlockGossip, CompactBlock, Gossip, Topic},
};
use serde_bytes::ByteBuf;
use tokio::{task::block_in_place, time::sleep};

use super::{Running, crowd, headers_of, newcomer, no_more};
use crate::{
    arena::{Arena, Scale},
    attacker::{Actor, Source},
    forge::{block, cheap_headers, child, header_bytes, now, solve},
    script::{Branch, Script, claim},
};

/// New identities claim 2^200 work, one after the other, and answer nothing on `sync`.
pub(crate) fn claims(arena: &Arena) -> Running {
    let target = arena.target;
    arena.runtime.spawn(async move {
        let mut kept = Vec::new();
        for salt in 1.. {
            let status = claim(target.network, salt);
            let script = Arc::new(Script::claiming(status, None));
            if let Ok(actor) = Actor::connect(target, Source::Many, &script).await {
                let _ = actor.hello(&script.status).await;
                kept.push(actor);
            }
            sleep(Duration::from_secs(3)).await;
        }
    });
    no_more()
}

/// Announces headers on the victim's tip, each valid, whose bodies no peer has.
pub(crate) fn headers_without_bodies(arena: &Arena) -> Running {
    let (target, network) = (arena.target, &arena.ground.network);
    arena.runtime.spawn(async move {
        let mut kept = Vec::new();
        for salt in 1.. {
            let round = async {
                let scout = newcomer(target, Source::Many).await?;
                let mut headers = headers_of(&scout, network).await?;
                let root = MerkleRoot([salt; 32]);
                headers.push(block_in_place(|| child(network, &headers, now(), root)));
                let solved = *headers.last().expect("headers");
                let branch = Arc::new(Branch::new(headers));
                let script = Arc::new(Script::claiming(branch.status(), Some(branch)));
                let actor = Actor::connect(target, Source::Many, &script).await?;
                actor.hello(&script.status).await?;
                let mut gossip = actor.gossip().await?;
                gossip.publish(Topic::Blocks, &[&solved_gossip(&solved)]).await?;
                kept.push((actor, gossip));
                io::Result::Ok(())
            };
            let _ = round.await;
            sleep(Duration::from_secs(2)).await;
        }
    });
    no_more()
}

fn solved_gossip(header: &Header) -> Vec<u8> {
    let solved = BlockGossip::Solved(ByteBuf::from(header_bytes(header)));
    Gossip::Block(solved).encode().expect("within its limits")
}

fn compact_gossip(header: &Header, coinbase: Vec<u8>, ids: usize) -> Vec<u8> {
    let salt = header.nonce.to_le_bytes()[0];
    let short_ids: Vec<u8> = (0..=250).cycle().take(ids * 5).map(|at: u8| at ^ salt).collect();
    let compact = CompactBlock {
        header: ByteBuf::from(header_bytes(header)),
        coinbase: ByteBuf::from(coinbase),
        short_ids: ByteBuf::from(short_ids),
    };
    Gossip::Block(BlockGossip::Compact(compact)).encode().expect("within its limits")
}

/// Announces 16 compact blocks on the victim's tip, each valid so far, and withholds the rest.
pub(crate) fn withheld_compact_blocks(arena: &Arena) -> Running {
    let (target, network) = (arena.target, &arena.ground.network);
    arena.runtime.spawn(async move {
        loop {
            let round = async {
                let actor = newcomer(target, Source::Many).await?;
                let headers = headers_of(&actor, network).await?;
                let mut gossip = actor.gossip().await?;
                for salt in 0..16 {
                    let gossiped = block_in_place(|| {
                        let coinbase = block(network, &headers, now()).transactions[0].to_bytes();
                        let header = child(network, &headers, now(), MerkleRoot([salt; 32]));
                        compact_gossip(&header, coinbase, 200)
                    });
                    gossip.publish(Topic::Blocks, &[&gossiped]).await?;
                }
                // The identity stays, and answers that it has no such transactions.
                sleep(Duration::from_secs(8)).await;
                io::Result::Ok(())
            };
            let _ = round.await;
            sleep(Duration::from_millis(200)).await;
        }
    });
    no_more()
}

/// Claims much work, and serves forks at the genesis: 16 with 900 cheap headers each.
pub(crate) fn forks_at_genesis(arena: &Arena) -> Running {
    let before = arena.file_bytes("chain.redb");
    let network = &arena.ground.network;
    for salt in 0..16 {
        let branch = Arc::new(Branch::new(cheap_headers(network, 900, salt)));
        let tip = branch.tip();
        let (tip, height) = (tip.hash(), tip.height);
        let status = friendchain::wire::Status { tip, height, ..claim(arena.target.network, salt) };
        crowd(arena, 1, Source::Many, Script::claiming(status, Some(branch)), true);
    }
    Box::new(move |arena| {
        let grown = arena.file_bytes("chain.redb").saturating_sub(before) / 1_024;
        (format!("chain file +{grown} KiB (bar: 1024)"), grown <= 1_024)
    })
}

/// Serves one chain of valid headers with more work than the honest one, but no body.
pub(crate) fn bodiless_chain(arena: &Arena) -> Running {
    let count = arena.scale.pick(3_000, 1_500_000);
    let before = arena.file_bytes("chain.redb");
    let branch = Arc::new(Branch::new(cheap_headers(&arena.ground.network, count, 1)));
    let status = branch.status();
    crowd(arena, 2, Source::Many, Script::claiming(status, Some(branch)), true);
    Box::new(move |arena| {
        let phase = || arena.victim.status()["phase"].as_str().unwrap_or_default().to_owned();
        let limit = Duration::from_secs(90);
        let synced = Arena::wait(limit, || phase() == "synced");
        let grown = arena.file_bytes("chain.redb").saturating_sub(before) / 1_048_576;
        let told = synced.map_or(format!("phase {}", phase()), |s| format!("synced in {s:.0} s"));
        (
            format!("{told}, chain file +{grown} MiB (bars: 90, 100)"),
            synced.is_some() && grown <= 100,
        )
    })
}

/// Lets 24 identities claim much work and stay silent, while the victim has to fetch the whole
/// chain.
pub(crate) fn silent_claimants(arena: &Arena) -> Running {
    for salt in 1..=24 {
        let script = Script::claiming(claim(arena.target.network, salt), None);
        crowd(arena, 1, Source::Many, script, true);
    }
    let goal = arena.ground.blocks.len() as u64;
    let bar = arena.scale.pick(90, 60);
    Box::new(move |arena| {
        let height = || arena.victim.status()["height"].as_u64().unwrap_or(0);
        let whole = Arena::wait(Duration::from_secs(bar), || height() >= goal);
        let told = whole.map_or(format!("stuck at {}", height()), |s| format!("in {s:.0} s"));
        (format!("{goal} blocks {told} more (bar: {bar})"), whole.is_some())
    })
}

/// Floods the victim with valid headers of forks at the genesis, one by one.
pub(crate) fn cheap_header_flood(arena: &Arena) -> Running {
    header_flood(arena, |network, number| {
        let root = root_of(number);
        let parent = network.genesis.header;
        child(network, &[parent], parent.time + network.params.spacing_ms * 11 / 10, root)
    })
}

/// Floods the victim with headers whose parents no peer has.
pub(crate) fn orphan_flood(arena: &Arena) -> Running {
    header_flood(arena, |network, number| {
        let mut header = network.genesis.header;
        header.previous = BlockHash(root_of(number ^ 0xffff_ffff).0);
        header.merkle_root = root_of(number);
        (header.height, header.time, header.nonce) = (40, now(), 0);
        solve(&mut header);
        header
    })
}

fn root_of(number: u64) -> MerkleRoot {
    let mut root = [3; 32];
    root[..8].copy_from_slice(&number.to_le_bytes());
    MerkleRoot(root)
}

fn header_flood(
    arena: &Arena,
    make: fn(&friendchain::consensus::Network, u64) -> Header,
) -> Running {
    let (target, network) = (arena.target, &arena.ground.network);
    let before = arena.file_bytes("chain.redb");
    for flooder in 0..arena.scale.pick(2, 6_u64) {
        arena.runtime.spawn(async move {
            let mut number = flooder << 32;
            loop {
                let round = async {
                    let actor = newcomer(target, Source::Many).await?;
                    let mut gossip = actor.gossip().await?;
                    loop {
                        number += 1;
                        let header = block_in_place(|| make(network, number));
                        let bytes = if number % 4 == 0 {
                            compact_gossip(&header, vec![1; 100], 50)
                        } else {
                            solved_gossip(&header)
                        };
                        gossip.publish(Topic::Blocks, &[&bytes]).await?;
                        sleep(Duration::from_millis(10)).await;
                        if !actor.alive() {
                            return io::Result::Ok(());
                        }
                    }
                };
                let _ = round.await;
                sleep(Duration::from_millis(300)).await;
            }
        });
    }
    Box::new(move |arena| {
        let grown = arena.file_bytes("chain.redb").saturating_sub(before) / 1_024;
        let bar = if arena.scale == Scale::Quick { 4_096 } else { 8_192 };
        (format!("chain file +{grown} KiB (bar: {bar})"), grown <= bar)
    })
}
