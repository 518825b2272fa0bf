//! Tests of mempool policy: replacement, chains, free trades, expiry, and a full mempool.

use ed25519_dalek::SigningKey;

use crate::{
    chain::{
        AcceptTradeError, Blame, ChainEvent, DropReason, FLOOR_HALF_LIFE_MS, FREE_EXPIRY_MS,
        FeeRate, MAX_CHAIN, MAX_REPLACED, Origin, PAYING_EXPIRY_MS, PAYING_RATE, TxState,
        testing::{
            Branch, PEER, TestChain, coin_of, genesis_coin, key, network, note, owner, pay, signed,
        },
    },
    primitives::{Amount, OutPoint, PeerId, PublicKey, Transaction, TxId, TxOutput},
};

/// Units in each coin of a purse.
const COIN: u64 = 100_000_000;

/// A chain on which `key(1)` has a hundred coins of one coin each.
struct Purse {
    chain: TestChain,
    split: Transaction,
}

impl Purse {
    fn new() -> Self {
        let network = network();
        let mut chain = TestChain::new();
        let split = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(1)), COIN); 100]);
        chain.trade(&split, PEER).expect("good");
        chain.mine(owner(&key(9)));
        chain.events();
        Self { chain, split }
    }

    fn coin(&self, index: u32) -> OutPoint {
        coin_of(&self.split, index)
    }

    /// Returns a trade of one coin of the purse to `key(to)`.
    fn pays(&self, index: u32, to: u8, fee: u64) -> Transaction {
        spend(&key(1), self.coin(index), to, COIN, fee)
    }

    /// Returns a trade of several coins of the purse.
    fn joins(&self, indices: &[u32], fee: u64) -> Transaction {
        let me = key(1);
        let inputs: Vec<_> = indices.iter().map(|index| (&me, self.coin(*index))).collect();
        let value = Amount::from_units(COIN * u64::try_from(indices.len()).expect("few") - fee);
        signed(&network().id, &inputs, vec![TxOutput { value, owner: owner(&key(7)) }], b"")
    }

    fn takes(&mut self, trade: &Transaction, origin: Origin) -> TxId {
        let txid = self.chain.trade(trade, origin).expect("good");
        self.chain.chain.assert_consistent_mempool();
        txid
    }

    fn refuses(&mut self, trade: &Transaction, origin: Origin) -> AcceptTradeError {
        let error = self.chain.trade(trade, origin).expect_err("a refusal");
        self.chain.chain.assert_consistent_mempool();
        assert_eq!(error.blame(), Blame::Nobody, "{error}");
        error
    }

    fn waits(&self) -> Vec<TxId> {
        self.chain.chain.mempool().iter().map(|entry| entry.txid).collect()
    }

    /// Returns the trades dropped since the last call, with reasons.
    fn dropped(&mut self) -> Vec<(TxId, DropReason)> {
        let events = self.chain.events();
        let dropped = events.into_iter().filter_map(|event| match event {
            ChainEvent::TradeDropped { txid, reason } => Some((txid, reason)),
            _ => None,
        });
        dropped.collect()
    }

    fn state(&mut self, trade: &Transaction) -> Option<TxState> {
        self.chain.chain.transaction(trade.txid()).expect("a disk").map(|info| info.state)
    }

    fn reason(&mut self, trade: &Transaction) -> String {
        match self.state(trade) {
            Some(TxState::Void { reason }) => reason,
            state => panic!("not void but {state:?}"),
        }
    }

    fn later(&mut self, ms: u64) {
        self.chain.now += ms;
        self.chain.chain.due(self.chain.now).expect("a disk");
        self.chain.chain.assert_consistent_mempool();
    }
}

/// Returns a trade of one coin of `units` units to `key(to)`.
fn spend(from: &SigningKey, coin: OutPoint, to: u8, units: u64, fee: u64) -> Transaction {
    pay(&network(), from, coin, &[(owner(&key(to)), units - fee)])
}

fn other_peer(number: u8) -> Origin {
    Origin::Peer(PeerId(PublicKey([number; 32])))
}

// Replacement

#[test]
fn a_higher_fee_replaces_a_trade_and_all_that_rests_on_it() {
    let mut purse = Purse::new();
    let first = purse.pays(0, 2, 300);
    let child = spend(&key(2), coin_of(&first, 0), 3, COIN - 300, 500);
    let bystander = purse.pays(1, 2, 0);
    for trade in [&first, &child, &bystander] {
        purse.takes(trade, PEER);
    }
    let length = u64::try_from(first.encoded_len()).expect("small");
    let needs = 800 + length;
    let too_little = purse.pays(0, 4, needs - 1);
    let error = purse.refuses(&too_little, PEER);
    let outpoint = purse.coin(0);
    let expected = AcceptTradeError::Conflict {
        txid: too_little.txid(),
        outpoint,
        by: first.txid(),
        needs: Some(Amount::from_units(needs)),
    };
    assert_eq!(error, expected);
    assert!(
        error
            .to_string()
            .ends_with(&format!("pay a fee of {} at least", Amount::from_units(needs))),
        "{error}"
    );

    let enough = purse.pays(0, 4, needs);
    purse.takes(&enough, other_peer(3));
    assert_eq!(purse.waits(), [bystander.txid(), enough.txid()]);
    let left = [(first.txid(), DropReason::Replaced), (child.txid(), DropReason::Replaced)];
    assert_eq!(purse.dropped(), left);
    let block = purse.chain.mine(owner(&key(9)));
    assert_eq!(block.transactions.len(), 3);
}

#[test]
fn a_replacement_needs_a_higher_rate_too() {
    let mut purse = Purse::new();
    let small = purse.pays(0, 2, 2_000);
    purse.takes(&small, PEER);
    // Four coins: about three times as long, so its rate is lower although its fee is higher.
    let long = purse.joins(&[0, 1, 2, 3], 4_000);
    let rate = FeeRate::of(Amount::from_units(2_000), small.encoded_len());
    assert!(FeeRate::of(Amount::from_units(4_000), long.encoded_len()) < rate);
    let needs = rate.plus(FeeRate::from_units(1)).fee(long.encoded_len());
    assert!(matches!(purse.refuses(&long, PEER),
            AcceptTradeError::Conflict { needs: Some(n), .. } if n == needs));
    let enough = purse.joins(&[0, 1, 2, 3], needs.units());
    purse.takes(&enough, PEER);
    assert_eq!(purse.waits(), [enough.txid()]);
}

#[test]
fn a_replacement_that_rests_on_what_nobody_mines_is_refused() {
    let mut purse = Purse::new();
    let rival = purse.pays(0, 2, 2_000);
    let ballast = pay(&network(), &key(1), purse.coin(1), &[(owner(&key(1)), 1_000_000); 100]);
    purse.takes(&rival, PEER);
    purse.takes(&ballast, PEER);
    let me = key(1);
    let inputs = [(&me, purse.coin(0)), (&me, coin_of(&ballast, 0))];
    let outputs =
        vec![TxOutput { value: Amount::from_units(COIN + 1_000_000 - 5_000), owner: owner(&me) }];
    let pinned = signed(&network().id, &inputs, outputs, b"");
    let AcceptTradeError::Conflict { needs: Some(needs), .. } = purse.refuses(&pinned, PEER) else {
        panic!()
    };
    let rank =
        FeeRate::of(Amount::from_units(2_000), rival.encoded_len()).plus(FeeRate::from_units(1));
    assert_eq!(
        needs,
        rank.fee(pinned.encoded_len() + ballast.encoded_len()),
        "as miners see it, with what it rests on"
    );
}

#[test]
fn what_is_replaced_is_bounded_and_never_spent() {
    let mut purse = Purse::new();
    let first = purse.pays(0, 1, 0);
    purse.takes(&first, PEER);
    let me = key(1);
    let outputs = |units| vec![TxOutput { value: Amount::from_units(units), owner: owner(&me) }];
    let inputs = [(&me, purse.coin(0)), (&me, coin_of(&first, 0))];
    let both = signed(&network().id, &inputs, outputs(COIN), b"");
    assert!(matches!(purse.refuses(&both, PEER),
            AcceptTradeError::ReplacesParent { parent, .. } if parent == first.txid()));
    let child = spend(&me, coin_of(&first, 0), 1, COIN, 0);
    purse.takes(&child, PEER);
    let inputs = [(&me, purse.coin(0)), (&me, coin_of(&child, 0))];
    let through = signed(&network().id, &inputs, outputs(COIN), b"");
    assert!(matches!(purse.refuses(&through, PEER),
            AcceptTradeError::ReplacesParent { parent, .. } if parent == child.txid()));

    // Fifty pairs, and one more.
    for index in 1..51 {
        let parent = purse.pays(index, 1, 0);
        purse.takes(&parent, PEER);
        purse.takes(&spend(&me, coin_of(&parent, 0), 1, COIN, 0), PEER);
    }
    let all = purse.joins(&(0..51).collect::<Vec<_>>(), COIN);
    assert!(matches!(
        purse.refuses(&all, PEER),
        AcceptTradeError::TooManyReplaced { limit: MAX_REPLACED, .. }
    ));
    let fewer = purse.joins(&(1..51).collect::<Vec<_>>(), COIN);
    purse.takes(&fewer, PEER);
    assert_eq!(purse.waits(), [first.txid(), child.txid(), fewer.txid()]);
}

#[test]
fn a_note_is_replaced_by_nothing() {
    let network = network();
    let mut purse = Purse::new();
    purse.takes(&note(&network.id, &key(5), 7, b"first"), PEER);
    let error = purse.refuses(&note(&network.id, &key(5), 7, b"second"), Origin::Local);
    assert!(matches!(error, AcceptTradeError::Conflict { needs: None, .. }));
    assert!(error.to_string().ends_with("spends"), "{error}");
}

#[test]
fn an_own_trade_that_is_replaced_is_void_and_says_by_what() {
    let mut purse = Purse::new();
    let stuck = purse.pays(0, 2, 0);
    let child = spend(&key(2), coin_of(&stuck, 0), 3, COIN, 0);
    purse.takes(&stuck, Origin::Local);
    purse.takes(&child, Origin::Local);
    // The same key signed it, perhaps on another machine: the owner changed its mind.
    let bumped = purse.pays(0, 2, 5_000);
    purse.takes(&bumped, PEER);
    assert!(purse.reason(&stuck).contains(&format!("replaced by {}", bumped.txid())));
    assert!(purse.reason(&child).contains(&format!("replaced by {}", bumped.txid())));
    let voids = purse
        .chain
        .events()
        .into_iter()
        .filter(|event| matches!(event, ChainEvent::TradeVoid { .. }));
    assert_eq!(voids.count(), 2);

    // It is void while the other waits, after a restart, and once the other is mined.
    purse.chain.mine(owner(&key(9)));
    purse.chain.chain.commit().expect("a commit");
    purse.chain = purse.chain.reopen();
    assert!(purse.reason(&stuck).contains("replaced by"));
    assert!(matches!(purse.state(&bumped), Some(TxState::Mined { .. })));
    assert_eq!(purse.waits(), []);
}

#[test]
fn an_own_trade_that_was_replaced_stays_void_when_what_replaced_it_is_gone() {
    let mut purse = Purse::new();
    let own = purse.pays(0, 2, 0);
    purse.takes(&own, Origin::Local);
    let other = purse.pays(0, 3, 900);
    purse.takes(&other, PEER);
    assert!(purse.reason(&own).contains("replaced"));
    purse.later(PAYING_EXPIRY_MS);
    let mut branch = crate::chain::testing::Branch::new(&network(), 0);
    let first = purse.chain.chain.reader().block_at(1).expect("a block");
    branch.push(&first.block);
    purse.chain.connect(&branch.extend(1));
    assert_eq!(purse.waits(), []);
    assert!(purse.reason(&own).contains("replaced"));
    assert_eq!(purse.refuses(&own, PEER), AcceptTradeError::Void { txid: own.txid() });
    purse.takes(&own, Origin::Local);
    assert_eq!(purse.state(&own), Some(TxState::Mempool));
}

// Packages

#[test]
fn what_rests_on_one_trade_is_bounded() {
    let mut purse = Purse::new();
    let wide = pay(&network(), &key(1), purse.coin(0), &[(owner(&key(2)), 1_000_000); 30]);
    purse.takes(&wide, PEER);
    let child = |index| spend(&key(2), coin_of(&wide, index), 3, 1_000_000, 10);
    for index in 1..u32::try_from(MAX_CHAIN).expect("small") {
        purse.takes(&child(index), PEER);
    }
    let error = purse.refuses(&child(29), PEER);
    assert!(matches!(error, AcceptTradeError::TooManyDescendants { descendants, .. }
            if descendants == MAX_CHAIN + 1));
    // One that replaces another does not exceed the limit.
    let instead = spend(&key(2), coin_of(&wide, 1), 4, 1_000_000, 9_000);
    purse.takes(&instead, PEER);
    purse.takes(&child(29), Origin::Local);
}

#[test]
fn packages_are_bounded_in_bytes_so_that_pinning_is_cheap_to_undo() {
    let mut purse = Purse::new();
    let large = pay(&network(), &key(1), purse.coin(0), &vec![(owner(&key(2)), 30_000); 3_300]);
    purse.takes(&large, PEER);
    let child = pay(&network(), &key(2), coin_of(&large, 0), &[(owner(&key(3)), 100); 300]);
    assert!(large.encoded_len() + child.encoded_len() > 101_000);
    assert!(matches!(
        purse.refuses(&child, PEER),
        AcceptTradeError::TooLargePackage { limit: 101_000, .. }
    ));
    let siblings: Vec<_> = (0..2)
        .map(|index| {
            pay(&network(), &key(2), coin_of(&large, index), &[(owner(&key(3)), 100); 150])
        })
        .collect();
    purse.takes(&siblings[0], PEER);
    assert!(matches!(purse.refuses(&siblings[1], PEER), AcceptTradeError::TooLargePackage { .. }));
}

#[test]
fn a_child_that_pays_for_its_parent_brings_it_into_the_block() {
    let mut purse = Purse::new();
    let poor = purse.pays(0, 2, 0);
    let middling = purse.pays(1, 2, 400);
    let generous = spend(&key(2), coin_of(&poor, 0), 3, COIN, 2_000);
    for trade in [&poor, &middling, &generous] {
        purse.takes(trade, PEER);
    }
    let template = purse.chain.chain.template(owner(&key(9)), purse.chain.now).expect("a template");
    let order: Vec<_> = template.block.transactions[1..].iter().map(Transaction::txid).collect();
    assert_eq!(order, [&poor, &generous, &middling].map(Transaction::txid));
}

#[test]
fn a_child_is_ranked_anew_once_its_parent_is_chosen() {
    let mut purse = Purse::new();
    // The parent is chosen with the first child. Then the second child comes before the third,
    // although its package had the lower rate.
    let parent = pay(&network(), &key(1), purse.coin(0), &[(owner(&key(2)), COIN / 2); 2]);
    let first = spend(&key(2), coin_of(&parent, 0), 3, COIN / 2, 3_000);
    let second = spend(&key(2), coin_of(&parent, 1), 3, COIN / 2, 800);
    let third = purse.pays(1, 2, 600);
    for trade in [&parent, &first, &second, &third] {
        purse.takes(trade, PEER);
    }
    let template = purse.chain.chain.template(owner(&key(9)), purse.chain.now).expect("a template");
    let order: Vec<_> = template.block.transactions[1..].iter().map(Transaction::txid).collect();
    assert_eq!(order, [&parent, &first, &second, &third].map(Transaction::txid));
}

// Free trades

#[test]
fn one_peers_free_trades_do_not_take_more_than_their_share_of_a_mempool_that_fills() {
    let network = network();
    let mut purse = Purse::new();
    let room = 64 * 1_024;
    purse.chain.chain.mempool.shrink(room);
    let text = [b'x'; 1_024];
    let mut notes = (0..).map(|stamp| note(&network.id, &key(5), stamp, &text));
    let mut next = || notes.next().expect("endless");
    let bytes = |purse: &Purse| purse.chain.chain.summary().mempool_bytes;
    let first = next();
    purse.takes(&first, PEER);
    while bytes(&purse) <= room / 2 {
        purse.takes(&next(), PEER);
    }
    assert_eq!(purse.refuses(&next(), PEER).code(), "too_many_free");
    purse.takes(&next(), other_peer(3));
    assert_eq!(
        purse.refuses(&next(), other_peer(3)).code(),
        "too_many_free",
        "a second is more than its share"
    );
    purse.takes(&purse.pays(1, 2, 1_000), PEER);
    purse.takes(&next(), Origin::Local);
    // A trade that is sent here too becomes our own, and no longer counts against the peer.
    purse.takes(&first, Origin::Local);
    assert_eq!(purse.refuses(&next(), PEER).code(), "too_many_free");
    // A reorg keeps this state.
    for block in Branch::new(&network, 1).extend(2) {
        purse.chain.block(&block).expect("a good block");
    }
    assert_eq!(purse.state(&purse.split.clone()), Some(TxState::Mempool));
    assert_eq!(purse.refuses(&next(), PEER).code(), "too_many_free");
    purse.chain.mine(owner(&key(9)));
    purse.takes(&next(), PEER);
}

#[test]
fn free_trades_of_one_peer_are_limited_and_those_of_others_are_not() {
    let network = network();
    let mut purse = Purse::new();
    let text = [b'x'; 1_024];
    let mut brought = 0;
    let error = loop {
        let one = note(&network.id, &key(5), brought, &text);
        match purse.chain.trade(&one, PEER) {
            Ok(_) => brought += 1,
            Err(error) => break error,
        }
        assert!(brought < 2_000, "never limited");
    };
    assert!(
        matches!(error, AcceptTradeError::TooManyFree { .. }) && error.blame() == Blame::Nobody
    );
    let next = note(&network.id, &key(5), brought, &text);
    assert_eq!(purse.refuses(&next, PEER).code(), "too_many_free");
    let small = (0..).map(|stamp| note(&network.id, &key(6), stamp, b"x"));
    assert!(
        small.take(10).any(|small| purse.chain.trade(&small, PEER).is_err()),
        "the rest is used up"
    );
    let barely = purse.pays(0, 2, 1);
    assert_eq!(
        purse.refuses(&barely, PEER).code(),
        "too_many_free",
        "a unit of fee is no way around it"
    );
    purse.takes(&purse.pays(1, 2, 1_000), PEER);
    purse.takes(&next, other_peer(3));
    purse.takes(&barely, Origin::Local);
    purse.chain.now += 1_000;
    purse.takes(&note(&network.id, &key(5), brought + 1, &text), PEER);
}

#[test]
fn all_strangers_share_one_allowance_of_free_trades() {
    let network = network();
    let mut purse = Purse::new();
    let text = [b'x'; 1_024];
    let stranger = |number: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Origin::Stranger(PeerId(PublicKey(bytes)))
    };
    let brought = (0..2_000)
        .take_while(|number| {
            let one = note(&network.id, &key(5), *number, &text);
            purse.chain.trade(&one, stranger(*number)).is_ok()
        })
        .count();
    assert!(brought < 1_100, "a new key for each note is no way around it");
    let next = note(&network.id, &key(6), 1, &text);
    assert_eq!(purse.refuses(&next, stranger(9_999)).code(), "too_many_free");
    purse.takes(&next, PEER);
}

// Expiry

#[test]
fn what_waits_too_long_is_forgotten_but_not_our_own_nor_what_it_rests_on() {
    let mut purse = Purse::new();
    let free = purse.pays(0, 2, 0);
    let child = spend(&key(2), coin_of(&free, 0), 3, COIN, 5_000);
    let paying = purse.pays(1, 2, 5_000);
    let own = purse.pays(2, 2, 0);
    let base = purse.pays(3, 2, 0);
    for (trade, origin) in
        [(&free, PEER), (&child, PEER), (&paying, PEER), (&own, Origin::Local), (&base, PEER)]
    {
        purse.takes(trade, origin);
    }
    let on_base = spend(&key(2), coin_of(&base, 0), 3, COIN, 0);
    purse.takes(&on_base, Origin::Local);
    let start = purse.chain.now;
    assert_eq!(purse.chain.chain.next_due(), Some(start + FREE_EXPIRY_MS));
    purse.later(FREE_EXPIRY_MS - 1);
    assert_eq!(purse.waits().len(), 6);

    // The time of admission survives a restart.
    purse.chain.chain.commit().expect("a commit");
    purse.chain = purse.chain.reopen();
    assert_eq!(purse.waits().len(), 6);
    purse.later(1);
    assert_eq!(purse.waits(), [&paying, &own, &base, &on_base].map(Transaction::txid));
    let expired = [(free.txid(), DropReason::Expired), (child.txid(), DropReason::Expired)];
    assert_eq!(purse.dropped(), expired);
    purse.later(PAYING_EXPIRY_MS);
    assert_eq!(purse.waits(), [&own, &base, &on_base].map(Transaction::txid));
    purse.later(10 * PAYING_EXPIRY_MS);
    assert_eq!(purse.waits(), [&own, &base, &on_base].map(Transaction::txid));

    // An expired trade may be sent again.
    purse.takes(&free, PEER);
}

#[test]
fn in_a_chain_that_is_only_read_nothing_falls_due() {
    let mut purse = Purse::new();
    let free = purse.pays(0, 2, 0);
    purse.takes(&free, PEER);
    purse.chain.chain.commit().expect("a commit");
    purse.chain.chain.overlay.seal();
    assert_eq!(purse.chain.chain.next_due(), None);
    purse.later(FREE_EXPIRY_MS);
    assert_eq!(purse.waits(), [free.txid()]);
    assert_eq!(purse.chain.chain.commit(), Ok(()));
}

#[test]
fn a_peers_trade_that_is_sent_here_too_becomes_our_own_and_stays() {
    let mut purse = Purse::new();
    let trade = purse.pays(0, 2, 0);
    purse.takes(&trade, PEER);
    let miner = owner(&key(9));
    assert!(!purse.chain.chain.template(miner, purse.chain.now).expect("a template").has_local);
    purse.chain.events();
    purse.takes(&trade, Origin::Local);
    // It is mined and announced again at once, like any other trade of our own.
    assert!(purse.chain.chain.template(miner, purse.chain.now).expect("a template").has_local);
    let told = purse.chain.events();
    let is_own = |event: &ChainEvent| match event {
        ChainEvent::TradeAccepted { entry, origin } => {
            *origin == Origin::Local && entry.local && entry.expires.is_none()
        }
        _ => false,
    };
    assert!(told.iter().any(is_own), "{told:?}");
    purse.later(FREE_EXPIRY_MS);
    assert_eq!(purse.waits(), [trade.txid()]);
}

// A full mempool

#[test]
fn a_full_mempool_lets_go_of_what_pays_least_and_asks_more_of_whoever_comes_next() {
    let mut purse = Purse::new();
    let own = purse.pays(0, 2, 10);
    let poor = purse.pays(1, 2, 1_000);
    let rich = purse.pays(2, 2, 9_000);
    purse.takes(&own, Origin::Local);
    purse.takes(&poor, PEER);
    let room = purse.chain.chain.summary().mempool_bytes;
    purse.chain.chain.mempool.shrink(room);

    let same = purse.pays(3, 2, 1_000);
    let error = purse.refuses(&same, PEER);
    let rate = FeeRate::of(Amount::from_units(1_000), poor.encoded_len());
    let floor = rate.plus(FeeRate::from_units(PAYING_RATE));
    assert_eq!(error, AcceptTradeError::BelowFloor { txid: same.txid(), rate, floor });
    purse.takes(&rich, PEER);
    assert_eq!(purse.waits(), [own.txid(), rich.txid()]);
    assert_eq!(purse.dropped(), [(poor.txid(), DropReason::Evicted)]);
    assert_eq!(purse.chain.chain.summary().floor.at(purse.chain.now), floor);
    assert_eq!(
        purse.refuses(&poor, PEER).code(),
        "fee_too_low",
        "what left does not come back at once"
    );

    // Own trades are admitted at any fee. The floor falls with time. As soon as there is room, free
    // trades are admitted again.
    let another = purse.pays(4, 2, 0);
    purse.takes(&another, Origin::Local);
    assert_eq!(purse.waits(), [own.txid(), another.txid()]);
    purse.chain.mine(owner(&key(9)));
    assert_eq!(purse.refuses(&poor, PEER).code(), "fee_too_low");
    purse.chain.now += 10 * FLOOR_HALF_LIFE_MS;
    assert_eq!(purse.chain.chain.summary().floor.at(purse.chain.now), FeeRate::ZERO);
    purse.takes(&purse.pays(5, 2, 0), PEER);
}

#[test]
fn in_a_full_mempool_a_replacement_has_the_room_of_what_it_replaces_and_no_more() {
    let mut purse = Purse::new();
    let (poor, rich) = (purse.pays(1, 2, 1_000), purse.pays(2, 2, 9_000));
    purse.takes(&poor, PEER);
    purse.takes(&rich, PEER);
    purse.chain.chain.mempool.shrink(purse.chain.chain.summary().mempool_bytes);
    let better = purse.pays(1, 3, 3_000);
    purse.takes(&better, PEER);
    assert_eq!(purse.dropped(), [(poor.txid(), DropReason::Replaced)]);
    // For a longer one, the next entry would have to leave too, and that one pays more.
    let longer = purse.joins(&[1, 3], 6_000);
    assert_eq!(purse.refuses(&longer, PEER).code(), "fee_too_low");
    assert_eq!((purse.waits(), purse.dropped()), (vec![rich.txid(), better.txid()], vec![]));
}

#[test]
fn a_child_does_not_hold_what_does_not_pay_together_with_it() {
    let mut purse = Purse::new();
    // A long free trade below a small one with a high fee rate.
    let ballast = pay(&network(), &key(1), purse.coin(0), &vec![(owner(&key(2)), 33_333); 3_000]);
    let cover = spend(&key(2), coin_of(&ballast, 0), 3, 33_333, 20_000);
    purse.takes(&ballast, PEER);
    purse.takes(&cover, PEER);
    purse.chain.chain.mempool.shrink(purse.chain.chain.summary().mempool_bytes);
    let fair = purse.pays(1, 2, 2_000);
    assert!(
        FeeRate::of(Amount::from_units(20_000), cover.encoded_len())
            > FeeRate::of(Amount::from_units(2_000), 250)
    );
    purse.takes(&fair, PEER);
    assert_eq!(purse.waits(), [ballast.txid(), fair.txid()]);
}

#[test]
fn what_an_own_trade_rests_on_is_not_evicted() {
    let mut purse = Purse::new();
    let base = purse.pays(0, 2, 0);
    let own = spend(&key(2), coin_of(&base, 0), 3, COIN, 0);
    purse.takes(&base, PEER);
    purse.takes(&own, Origin::Local);
    purse.chain.chain.mempool.shrink(1);
    let error = purse.refuses(&purse.pays(1, 2, 90_000), PEER);
    assert_eq!(error.code(), "fee_too_low");
    assert_eq!(purse.waits(), [base.txid(), own.txid()]);
    let floor = purse.chain.chain.summary().floor;
    assert_eq!(floor.at(purse.chain.now), FeeRate::ZERO, "a block makes room, and not a fee");
}
