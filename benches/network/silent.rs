//! The bar of silent peers: identities that claim much work and answer no request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use friendchain::primitives::NetworkId;

use crate::{
    attacker::{Actor, Source, Target},
    bench::{bar, median},
    chains::{Kept, chain},
    nodes::{await_late, fresh_folder, height_of, keep_log, server_folder, start, time_of},
    script::{Script, claim},
    support::TestNet,
    sync::rounds,
};

/// The number of silent claimants.
const CLAIMANTS: u8 = 24;

/// The blocks, and the trades of each.
const BLOCKS: usize = 3_040;
const TRADES: usize = 2;

/// The longest that one sync may take.
const LIMIT: Duration = Duration::from_mins(2);

/// Returns the seconds in which a fresh node gets the chain from one honest peer, which connects
/// after the claimants. For a sync beyond the limit, extrapolates the time.
fn sync(chain: &Kept, claimants: u8) -> f64 {
    let net = TestNet::new();
    let fresh = start(&fresh_folder(&net, "fresh", chain), &[]);
    let server = server_folder(&net, "server", chain);
    let network: NetworkId = {
        let started = fresh.await_event("node_started", |_| true);
        started["network"].as_str().and_then(|text| text.parse().ok()).expect("a network")
    };
    let port = fresh.address.rsplit('/').next().and_then(|port| port.parse().ok()).expect("TCP");
    let target = Target { address: ([127, 0, 0, 1], port).into(), network };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let silent: Vec<Actor> = runtime.block_on(async {
        let mut silent = Vec::new();
        for salt in 1..=claimants {
            let script = Arc::new(Script::claiming(claim(network, salt), None));
            let actor = Actor::connect(target, Source::Many, &script).await.expect("a place");
            actor.hello(&script.status).await.expect("a hello");
            silent.push(actor);
        }
        silent
    });
    // The claimants occupy what they can before the honest peer connects.
    std::thread::sleep(Duration::from_secs(2));
    let server = start(&server, &[&fresh.address]);
    let id = server.await_event("node_started", |_| true)["peer_id"].clone();
    let met = fresh.await_event("peer_connected", |event| event["peer"] == id);
    let begun = Instant::now();
    let whole = await_late(&fresh, chain.height(), LIMIT, |event| {
        event["event"] == "block_connected" && event["height"] == chain.height()
    });
    keep_log(&fresh);
    keep_log(&server);
    drop(silent);
    let seconds = whole.map_or_else(
        || begun.elapsed().as_secs_f64() * chain.height() as f64 / height_of(&fresh).max(1) as f64,
        |event| time_of(&event) - time_of(&met),
    );
    eprintln!("{claimants} silent claimants: {seconds:.2} s");
    seconds
}

/// Measures a sync from one honest peer beside 24 silent claimants.
pub(crate) fn silent() {
    let chain = chain(BLOCKS, TRADES);
    let ratios = (0..rounds()).map(|_| sync(&chain, 0) / sync(&chain, CLAIMANTS)).collect();
    bar("sync-silent", median(ratios), "of the speed without 24 silent claimants", 0.5);
}
