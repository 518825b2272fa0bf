//! Tests of the chain thread: replies after the commit, events in order, and a clean end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    chain::{
        AcceptBlockError, BlockAccepted, Chain, ChainCommand, ChainEvent, ChainFault, ChainHandle,
        Origin, spawn,
        store::Store,
        testing::{Branch, Disk, NOW, PEER, genesis_coin, key, network, open, options, owner, pay},
    },
    primitives::{Amount, TxId},
    storage::crash::CrashDisk,
};

fn start(
    disk: &Disk,
    events: mpsc::Sender<ChainEvent>,
) -> (ChainHandle, std::thread::JoinHandle<()>) {
    let chain: Chain = open(disk, &network());
    spawn(chain, Arc::new(|| NOW), events).expect("a thread")
}

#[tokio::test]
async fn commands_are_answered_once_durable_and_events_follow() {
    let disk = Disk::default();
    let (events, mut told) = mpsc::channel(8);
    let (handle, thread) = start(&disk, events);
    let mut branch = Branch::new(&network(), 0);
    let blocks = branch.extend(3);
    let headers = blocks.iter().map(|block| block.header).collect();
    let accepted = handle.accept_headers(headers, PEER, None).await.expect("good headers");
    assert_eq!((accepted.new, accepted.best_header.height), (3, 3));
    for block in &blocks {
        assert_eq!(handle.accept_block(block.clone(), PEER).await, Ok(BlockAccepted::Connected));
        assert_eq!(handle.summary().tip.hash, block.hash());
        assert!(handle.reader().block(&block.hash()).is_some());
    }
    let mut connected = Vec::new();
    while connected.len() < 3 {
        if let Some(ChainEvent::TipChanged { connected: joined, .. }) = told.recv().await {
            connected.extend(joined);
        }
    }
    let network = network();
    let trade = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 10_000_000_000)]);
    assert_eq!(handle.accept_trade(trade.clone(), Origin::Local).await, Ok(trade.txid()));
    assert!(matches!(
        told.recv().await,
        Some(ChainEvent::TradeAccepted { origin: Origin::Local, .. })
    ));
    assert_eq!(handle.mempool().await.map(|waiting| waiting.len()), Ok(1));
    assert_eq!(handle.mempool_ids(2).await, Ok(vec![trade.txid()]));
    assert_eq!(handle.mempool_ids(0).await, Ok(Vec::new()), "the caller bounds them");
    assert_eq!(
        handle.balance(owner(&key(2))).await.map(|balance| balance.pending_in),
        Ok(Amount::from_coins(100))
    );
    let (mined, unknown) = (network.genesis.transactions[0].txid(), TxId([7; 32]));
    let waiting = handle.waiting_trades(vec![mined, trade.txid(), unknown]).await;
    assert_eq!(waiting, Ok(vec![None, Some(Arc::new(trade)), None]));
    assert!(handle.template(owner(&key(3))).await.is_ok_and(|template| template.has_local));
    let (progress, mut steps) = mpsc::channel(100);
    let audit = handle.verify(progress.clone()).await.expect("an audit");
    assert!(audit.ok && audit.height == 3);
    assert_eq!(steps.recv().await, Some((0, 3)));
    assert!(handle.reindex(progress).await.is_ok_and(|audit| audit.ok));
    assert_eq!(handle.invite_checkpoint().await.map(|checkpoint| checkpoint.hash), Ok(network.id));

    drop(handle);
    thread.join().expect("a clean end");
    let chain = open(&disk, &network);
    assert_eq!((chain.tip().height, chain.mempool().len()), (3, 1));
}

#[tokio::test]
async fn blocks_that_are_looked_at_ahead_get_the_verdicts_that_they_get_one_by_one() {
    let network = network();
    let mut branch = Branch::new(&network, 0);
    let mut blocks = branch.extend(6);
    let mut trade =
        pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 10_000_000_000)]);
    trade.inputs[0].signature.0[3] ^= 1;
    blocks.push(branch.next(&[trade]));
    blocks.extend(branch.extend(3));
    let headers: Vec<_> = blocks.iter().map(|block| block.header).collect();
    let mut other_body = blocks[2].clone();
    other_body.transactions.push(blocks[1].transactions[0].clone());
    blocks.insert(2, other_body);

    let mut alone = open(&Disk::default(), &network);
    alone.accept_headers(&headers, PEER, NOW).expect("good headers");
    let expected: Vec<_> =
        blocks.iter().map(|block| alone.accept_block(block.clone(), PEER, NOW)).collect();
    assert_eq!(
        expected.iter().filter(|verdict| **verdict == Ok(BlockAccepted::Connected)).count(),
        6
    );

    let (events, mut told) = mpsc::channel(64);
    let disk = Disk::default();
    let (handle, thread) = start(&disk, events);
    handle.accept_headers(headers, PEER, None).await.expect("good headers");
    let mut answers = Vec::new();
    for block in &blocks {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let command =
            ChainCommand::AcceptBlock { block: Box::new(block.clone()), origin: PEER, reply };
        handle.try_send(command).expect("room");
        answers.push(answer);
    }
    for (answer, expected) in answers.into_iter().zip(expected) {
        assert_eq!(answer.await.expect("an answer"), expected);
    }
    assert_eq!(handle.summary().tip, alone.tip());
    assert!(matches!(told.recv().await, Some(ChainEvent::TipChanged { .. })));
    drop(handle);
    thread.join().expect("a clean end");
    assert_eq!(open(&disk, &network).tip(), alone.tip());
}

#[tokio::test]
async fn a_busy_thread_writes_what_nobody_waits_for_as_well() {
    let network = network();
    let disk = CrashDisk::default();
    let store = Store::on_backend(disk.clone(), &network, 4).expect("a store");
    let chain = Chain::on_store(store, options()).expect("a chain");
    let (events, _told) = mpsc::channel(8);
    let (handle, thread) = spawn(chain, Arc::new(|| NOW), events).expect("a thread");
    let trade = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 10_000_000_000)]);
    handle.accept_trade(trade, PEER).await.expect("good");
    let before = disk.operations();
    let deadline = Instant::now() + Duration::from_mins(1);
    // A miner requests templates too, only less often.
    while disk.operations() == before {
        assert!(Instant::now() < deadline, "nothing was written");
        handle.template(owner(&key(3))).await.expect("a template");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(handle);
    thread.join().expect("a clean end");
}

#[tokio::test]
async fn the_thread_ends_though_nobody_takes_its_events() {
    let disk = Disk::default();
    let (events, told) = mpsc::channel(1);
    let (handle, thread) = start(&disk, events);
    let mut branch = Branch::new(&network(), 0);
    let asked: Vec<_> = branch
        .extend(5)
        .into_iter()
        .map(|block| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.accept_block(block, PEER).await })
        })
        .collect();
    drop(handle);
    for answer in asked {
        answer.abort();
    }
    tokio::task::spawn_blocking(move || thread.join()).await.expect("a task").expect("a clean end");
    drop(told);
}

#[tokio::test]
async fn a_closed_chain_says_so() {
    let disk = Disk::default();
    let (events, _told) = mpsc::channel(8);
    let (handle, thread) = start(&disk, events);
    let reader = handle.reader().clone();
    drop(handle);
    thread.join().expect("a clean end");
    assert_eq!(reader.block_at(0), None);
    assert_eq!(reader.locator(), vec![network().id]);
    assert_eq!(ChainFault::Closed.code(), "closed");
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_thread_and_nothing_is_acknowledged() {
    let disk = Disk::default();
    let (events, mut told) = mpsc::channel(8);
    let (handle, thread) = start(&disk, events);
    disk.fail();
    let block = Branch::new(&network(), 0).next(&[]);
    let answer = handle.accept_block(block, PEER).await;
    assert!(
        matches!(&answer, Err(AcceptBlockError::Fault(ChainFault::Disk(reason)))
            if reason.contains("no space")),
        "who waits is told why: {answer:?}"
    );
    let event = told.recv().await;
    assert!(
        matches!(&event, Some(ChainEvent::Failed(ChainFault::Disk(reason)))
            if reason.contains("no space")),
        "{event:?}"
    );
    assert!(told.recv().await.is_none(), "nothing else was told");
    thread.join().expect("a clean end");
    assert!(handle.is_closed());
    assert_eq!(handle.summary().tip.height, 0);
}

#[tokio::test]
async fn a_panic_inside_ends_the_thread_as_damage_does() {
    let (events, mut told) = mpsc::channel(8);
    let chain: Chain = open(&Disk::default(), &network());
    // redb panics like this on some damaged pages. The spawning thread reads the clock once, too.
    let spawning = std::thread::current().id();
    let clock = move || {
        if std::thread::current().id() == spawning { NOW } else { panic!("a page with no end") }
    };
    let (handle, thread) = spawn(chain, Arc::new(clock), events).expect("a thread");
    let block = Branch::new(&network(), 0).next(&[]);
    let answer = handle.accept_block(block, PEER).await;
    let is_damage = |fault: &ChainFault| {
        let ChainFault::Corrupt(what) = fault else { return false };
        what.contains("a page with no end")
    };
    assert!(
        matches!(&answer, Err(AcceptBlockError::Fault(fault)) if is_damage(fault)),
        "{answer:?}"
    );
    assert!(matches!(told.recv().await, Some(ChainEvent::Failed(fault)) if is_damage(&fault)));
    thread.join().expect("a clean end");
    assert!(handle.is_closed());
}
