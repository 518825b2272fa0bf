//! The miner beside a real chain in memory.

use std::sync::Arc;

use redb::backends::InMemoryBackend;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::{
    chain::{
        self, Chain, ChainOptions,
        api::{Origin, SpendQuery},
        store::Store,
    },
    consensus::testing::{GENESIS_TIME, key, network, note, owner},
    primitives::{Amount, TxOutput},
    wallet::{Order, Wallet, build_trade},
};

struct Node {
    chain: ChainHandle,
    miner: MinerHandle,
    solved: Receiver<Header>,
}

fn payee() -> Owner {
    owner(&key(9))
}

impl Node {
    /// Starts a node on a chain of easy blocks.
    fn start(mode: MiningMode) -> Self {
        Self::start_at(mode, GENESIS_TIME + 1_000)
    }

    /// Starts a node on a chain of easy blocks, with its clock at `now`.
    fn start_at(mode: MiningMode, now: UnixMillis) -> Self {
        let store = Store::on_backend(InMemoryBackend::new(), &network(0), 16).unwrap();
        let options = ChainOptions { cache_mib: 16, threads: 1, nonce_seed: 0 };
        let chain = Chain::on_store(store, options).unwrap();
        let (events, _) = mpsc::channel(1);
        let (chain, _) = chain::spawn(chain, Arc::new(move || now), events).unwrap();
        let (sender, solved) = mpsc::channel(16);
        let config = MinerConfig { mode, owner: Some(payee()), threads: 2 };
        let miner = spawn(chain.clone(), config, Some(sender)).unwrap();
        Self { chain, miner, solved }
    }

    async fn submit_note(&self, index: u32) -> TxId {
        let network = self.chain.summary().network;
        let note = note(&network.id, &key(2), index, b"GoodMorning!");
        self.chain.accept_trade(note, Origin::Local).await.unwrap()
    }

    fn height(&self) -> Height {
        self.chain.summary().tip.height
    }

    /// Waits until the miner has mined `blocks` in all and rests.
    async fn at_rest_after(&self, blocks: u64) {
        let mut status = self.miner.watch();
        status.wait_for(|status| status.blocks >= blocks && !status.mining).await.unwrap();
    }
}

#[tokio::test]
async fn the_blocks_that_were_asked_for_are_on_the_chain_in_order() {
    let node = Node::start(MiningMode::Off);
    let hashes = node.miner.mine_blocks(20, payee()).await.unwrap();
    assert_eq!((hashes.len(), node.height()), (20, 20));
    let reader = node.chain.reader();
    for (height, hash) in (1..).zip(&hashes) {
        let block = reader.block_at(height).unwrap();
        assert_eq!(block.hash, *hash);
        assert_eq!(block.block.transactions[0].outputs[0].owner, payee());
    }
    assert_eq!(node.miner.mine_blocks(0, payee()).await, Ok(vec![]));
    assert_eq!(node.miner.mine_blocks(u32::MAX, payee()).await, Err(MineError::TooMany(u32::MAX)));
}

#[tokio::test]
async fn a_miner_whose_clock_is_behind_the_chain_sleeps_and_says_until_when() {
    let node = Node::start_at(MiningMode::Always, GENESIS_TIME - 60_000);
    let limit = node.chain.summary().network.params.future_limit_ms();
    let due = GENESIS_TIME + 1 - limit;
    let mut status = node.miner.watch();
    status.wait_for(|status| status.waits_until == Some(due)).await.unwrap();
    let asked = tokio::time::timeout(
        std::time::Duration::from_millis(300),
        node.miner.mine_blocks(1, payee()),
    );
    assert!(asked.await.is_err(), "a request is not served either");
    assert_eq!((node.miner.hashes(), node.miner.status().mining), (0, false));
    node.miner.set_mode(MiningMode::Off).await.unwrap();
    status.wait_for(|status| status.waits_until.is_none()).await.unwrap();
}

#[tokio::test]
async fn a_solved_header_is_told_before_its_block_is_on_the_chain() {
    let mut node = Node::start(MiningMode::Off);
    let hashes = node.miner.mine_blocks(1, payee()).await.unwrap();
    let header = node.solved.recv().await.unwrap();
    assert_eq!(header.hash(), hashes[0]);
    // Mining continues if no receiver for headers is left.
    drop(node.solved);
    assert_eq!(node.miner.mine_blocks(3, payee()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn two_callers_are_served_one_after_the_other() {
    let node = Node::start(MiningMode::Off);
    let (first, second) =
        tokio::join!(node.miner.mine_blocks(5, payee()), node.miner.mine_blocks(5, owner(&key(3))));
    assert_eq!(node.height(), 10);
    let reader = node.chain.reader();
    let height = |hash: &BlockHash| reader.block(hash).unwrap().block.header.height;
    assert_eq!(first.unwrap().iter().map(height).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(second.unwrap().iter().map(height).collect::<Vec<_>>(), [6, 7, 8, 9, 10]);
}

#[tokio::test]
async fn a_trade_is_mined_for_the_caller_who_waits_for_it() {
    let node = Node::start(MiningMode::Off);
    let txid = node.submit_note(1).await;
    let mined = node.miner.mine_until(txid, payee()).await.unwrap();
    assert_eq!((mined.height, mined.block), (1, node.chain.summary().tip.hash));
    let again = node.miner.mine_until(txid, payee()).await.unwrap();
    assert_eq!(again, mined, "it need not be mined twice");
    assert_eq!(node.height(), 1);
    let unknown = TxId([1; 32]);
    assert_eq!(node.miner.mine_until(unknown, payee()).await, Err(MineError::Unknown(unknown)));
}

#[tokio::test]
async fn on_demand_own_trades_are_mined_at_once_and_then_it_rests() {
    let node = Node::start(MiningMode::OnDemand);
    for index in 1..=3 {
        node.submit_note(index).await;
        node.at_rest_after(u64::from(index)).await;
    }
    assert_eq!((node.height(), node.chain.summary().mempool), (3, 0));
}

#[tokio::test]
async fn always_mines_until_it_is_turned_off() {
    let node = Node::start(MiningMode::Always);
    let mut status = node.miner.watch();
    status.wait_for(|status| status.blocks >= 3).await.unwrap();
    node.miner.set_mode(MiningMode::Off).await.unwrap();
    status.wait_for(|status| status.mode == MiningMode::Off && !status.mining).await.unwrap();
    node.miner.set_owner(None).await.unwrap();
    node.miner.set_mode(MiningMode::Always).await.unwrap();
    status.wait_for(|status| status.mode == MiningMode::Always).await.unwrap();
    assert!(!node.miner.status().mining, "without an owner nothing is mined");
}

#[tokio::test]
async fn a_caller_who_stops_waiting_ends_the_mining() {
    let node = Node::start(MiningMode::Off);
    let mut status = node.miner.watch();
    tokio::select! {
        result = node.miner.mine_blocks(MAX_BLOCKS_AT_ONCE, payee()) => panic!("{result:?}"),
        result = status.wait_for(|status| status.blocks >= 3) => drop(result.unwrap()),
    }
    let blocks = node.miner.status().blocks;
    node.at_rest_after(blocks).await;
    let next = node.miner.mine_blocks(1, payee()).await.unwrap();
    assert_eq!(next, [node.chain.summary().tip.hash]);
}

#[tokio::test]
async fn stopping_ends_the_threads_and_tells_who_waits() {
    let node = Node::start(MiningMode::Off);
    let mut status = node.miner.watch();
    let stop = async {
        status.wait_for(|status| status.blocks >= 1).await.unwrap();
        node.miner.stop().await;
    };
    let (waiting, ()) = tokio::join!(node.miner.mine_blocks(MAX_BLOCKS_AT_ONCE, payee()), stop);
    assert_eq!(waiting, Err(MineError::Stopped));
    assert_eq!(node.miner.set_mode(MiningMode::Always).await, Err(MineError::Stopped));
    node.miner.stop().await;
}

#[tokio::test]
async fn the_wallet_sends_many_times_before_a_block_and_all_of_it_lands() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut wallet = Wallet::create(&folder.path().join("wallet.json"), None).unwrap();
    let from = wallet.first_address().0;
    let to = wallet.new_address(0).unwrap().0;
    let keys = wallet.keys();
    let node = Node::start(MiningMode::Off);
    let network = node.chain.summary().network.id;
    node.miner.mine_blocks(1, from).await.unwrap();

    let coin = Amount::from_coins(1);
    let mut last = None;
    for index in 0..30 {
        let query = SpendQuery { wallet: vec![from, to], from: Some(from), needs: coin };
        let spendable = node.chain.spendable(query).await.unwrap();
        // The last one goes to the sender itself.
        let to = if index == 29 { from } else { to };
        let outputs = vec![TxOutput { value: coin, owner: to }];
        let order = Order { outputs, from: Some(from), ..Order::default() };
        let mut built = build_trade(&spendable, &keys, &order).unwrap();
        let rests_on_change = !built.rests_on.is_empty();
        assert_eq!((built.rests_on_young_rewards, rests_on_change), (index == 0, index > 0));
        wallet.sign(&mut built.transaction, &network, 0).unwrap();
        last = Some(node.chain.accept_trade(built.transaction, Origin::Local).await.unwrap());
    }
    node.miner.mine_until(last.unwrap(), payee()).await.unwrap();

    let confirmed = async |owner| node.chain.balance(owner).await.unwrap().confirmed;
    assert_eq!(confirmed(to).await, Amount::from_coins(29));
    assert_eq!(confirmed(from).await, Amount::from_coins(71));
    assert_eq!(confirmed(payee()).await, Amount::from_coins(100));
}
