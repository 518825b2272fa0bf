//! Budgets: how many requests, messages and bytes a peer may use in a minute.
//!
//! Each protocol has a budget for each peer, by its level of trust. Peers that are no friends also
//! share a budget for each IP address, so that many keys at one address get only [`ADDRESS_SHARE`]
//! times that of one. A budget outlives the connection: reconnecting refills nothing. It is a token
//! bucket that holds a minute's worth, so that all of it may be used at once. The module has no I/O
//! and no clock.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Level, Trust, host_group};
use crate::{primitives::PeerId, wire::Protocol};

/// A bound for each level of trust.
#[derive(Debug, Clone, Copy)]
struct Levels {
    stranger: u64,
    introduced: u64,
    friend: u64,
}

impl Levels {
    const fn of(self, level: Level) -> u64 {
        match level {
            Level::Stranger => self.stranger,
            Level::Introduced => self.introduced,
            Level::Friend => self.friend,
        }
    }
}

/// Requests on `hello` in a minute. An honest peer makes up to 90: one a second with its news, and
/// one every two seconds with a question.
const HELLO_REQUESTS: Levels = Levels { stranger: 120, introduced: 120, friend: 240 };
/// Requests on `friends` in a minute. An honest peer makes two after its hello, and one for each
/// new profile.
const FRIENDS_REQUESTS: Levels = Levels { stranger: 30, introduced: 30, friend: 60 };
/// Requests on `chat` in a minute. A friend's outbox of 1,000 lines leaves in one go.
const CHAT_REQUESTS: Levels = Levels { stranger: 120, introduced: 300, friend: 1_200 };
/// Requests on `sync` in a minute. No disk connects 3,000 ranges of 2,000 blocks in a minute.
const SYNC_REQUESTS: Levels = Levels { stranger: 3_000, introduced: 6_000, friend: 12_000 };
/// Gossip messages in a minute: what the rates of blocks and trades allow one peer to forward.
const GOSSIP_MESSAGES: Levels = Levels { stranger: 18_000, introduced: 18_000, friend: 36_000 };
/// Bytes on `hello` in a minute, both ways: 2 KiB for each request.
const HELLO_BYTES: Levels =
    Levels { stranger: 240 << 10, introduced: 240 << 10, friend: 480 << 10 };
/// Bytes on `friends` in a minute, both ways: sixteen full answers for a stranger.
const FRIENDS_BYTES: Levels = Levels { stranger: 4 << 20, introduced: 4 << 20, friend: 16 << 20 };
/// Bytes on `chat` in a minute, both ways. A friend's outbox of the longest lines fits.
const CHAT_BYTES: Levels = Levels { stranger: 512 << 10, introduced: 2 << 20, friend: 10 << 20 };
/// Bytes on `sync` in a minute, both ways: a chain of 512 MiB for a stranger without a pause.
const SYNC_BYTES: Levels = Levels { stranger: 512 << 20, introduced: 1 << 30, friend: 4 << 30 };
/// Bytes of gossip in a minute: 64 of the largest payloads from a stranger.
const GOSSIP_BYTES: Levels =
    Levels { stranger: 64 << 20, introduced: 128 << 20, friend: 256 << 20 };

/// Budgets of one peer that all peers of an IP address share, friends and proven peers excepted.
const ADDRESS_SHARE: u64 = 8;
/// The maximum number of peers, and of addresses, whose used budgets are remembered. Beyond it,
/// those that have used the least are forgotten.
const MAX_ACCOUNTS: usize = 4_096;
/// The time for which a peer that delivered something counts as proven, in ms. It then uses only
/// its own budget, and none of its address.
const USEFUL_MS: u64 = 600_000;

/// Milliseconds in a minute. Budgets count in parts of this size, so that none is lost to rounding.
const MINUTE_MS: u64 = 60_000;

/// A kind of traffic with a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Requests on a protocol, with their answers.
    Requests(Protocol),
    /// Gossip messages that the peer forwards.
    Gossip,
}

impl Traffic {
    const COUNT: usize = 5;

    const fn index(self) -> usize {
        match self {
            Self::Requests(Protocol::Hello) => 0,
            Self::Requests(Protocol::Friends) => 1,
            Self::Requests(Protocol::Chat) => 2,
            Self::Requests(Protocol::Sync) => 3,
            Self::Gossip => 4,
        }
    }

    /// Returns the messages and the bytes that a peer of this level may use in a minute.
    const fn budget(self, level: Level) -> (u64, u64) {
        let (messages, bytes) = match self {
            Self::Requests(Protocol::Hello) => (HELLO_REQUESTS, HELLO_BYTES),
            Self::Requests(Protocol::Friends) => (FRIENDS_REQUESTS, FRIENDS_BYTES),
            Self::Requests(Protocol::Chat) => (CHAT_REQUESTS, CHAT_BYTES),
            Self::Requests(Protocol::Sync) => (SYNC_REQUESTS, SYNC_BYTES),
            Self::Gossip => (GOSSIP_MESSAGES, GOSSIP_BYTES),
        };
        (messages.of(level), bytes.of(level))
    }
}

/// The state of a budget after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spent {
    /// The message is within the budget.
    Within,
    /// The budget is used up: the message is not served. That alone is no offence.
    Beyond,
    /// The peer kept sending until it had used up a second budget.
    Flooding,
}

/// A budget in use. It refills within a minute.
#[derive(Debug, Clone, Copy)]
struct Meter {
    /// The used part, times [`MINUTE_MS`].
    used: u64,
    at: Instant,
}

impl Meter {
    const fn new(now: Instant) -> Self {
        Self { used: 0, at: now }
    }

    fn refill(&mut self, budget: u64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        if elapsed > 0 {
            self.used = self.used.saturating_sub(elapsed.saturating_mul(budget));
            self.at = now;
        }
    }

    fn spent(&self, budget: u64) -> Spent {
        let whole = budget.saturating_mul(MINUTE_MS);
        if self.used < whole {
            Spent::Within
        } else if self.used < whole.saturating_mul(2) {
            Spent::Beyond
        } else {
            Spent::Flooding
        }
    }

    /// Uses a part of the budget. At most two whole budgets count as used.
    fn take(&mut self, amount: u64, budget: u64) {
        let most = budget.saturating_mul(MINUTE_MS).saturating_mul(2);
        self.used = self.used.saturating_add(amount.saturating_mul(MINUTE_MS)).min(most);
    }
}

/// All budgets of a peer, or of an address.
#[derive(Debug)]
struct Account {
    /// Messages and bytes of each kind of traffic.
    meters: [(Meter, Meter); Traffic::COUNT],
    /// The last time that the peer delivered something that we lacked.
    proven: Option<Instant>,
}

impl Account {
    const fn new(now: Instant) -> Self {
        Self { meters: [(Meter::new(now), Meter::new(now)); Traffic::COUNT], proven: None }
    }

    fn is_proven(&self, now: Instant) -> bool {
        self.proven.is_some_and(|then| {
            now.saturating_duration_since(then) < Duration::from_millis(USEFUL_MS)
        })
    }

    /// Returns the state of the budget for `share` peers of this level.
    fn spent(&mut self, traffic: Traffic, level: Level, share: u64, now: Instant) -> Spent {
        let (most, most_bytes) = traffic.budget(level);
        let (most, most_bytes) = (most.saturating_mul(share), most_bytes.saturating_mul(share));
        let Some((messages, bytes)) = self.meters.get_mut(traffic.index()) else {
            return Spent::Within;
        };
        messages.refill(most, now);
        bytes.refill(most_bytes, now);
        // Large answers are the server's choice too: only messages show that a peer floods.
        messages.spent(most).max(bytes.spent(most_bytes).min(Spent::Beyond))
    }

    fn take(&mut self, traffic: Traffic, level: Level, share: u64, amount: (u64, u64)) {
        let (most, most_bytes) = traffic.budget(level);
        if let Some((messages, bytes)) = self.meters.get_mut(traffic.index()) {
            messages.take(amount.0, most.saturating_mul(share));
            bytes.take(amount.1, most_bytes.saturating_mul(share));
        }
    }

    /// Returns the largest used part of all budgets, in thousandths, of a peer of the lowest level.
    fn used(&self, now: Instant) -> u64 {
        let used = |meter: &Meter, budget: u64| {
            let mut meter = *meter;
            meter.refill(budget, now);
            meter.used.saturating_mul(1_000).checked_div(budget.saturating_mul(MINUTE_MS))
        };
        let all = ALL_TRAFFIC.iter().zip(&self.meters).flat_map(|(traffic, (messages, bytes))| {
            let (most, most_bytes) = traffic.budget(Level::Stranger);
            [used(messages, most), used(bytes, most_bytes)]
        });
        all.flatten().max().unwrap_or(0)
    }
}

/// All kinds of traffic, in the order of [`Traffic::index`].
const ALL_TRAFFIC: [Traffic; Traffic::COUNT] = [
    Traffic::Requests(Protocol::Hello),
    Traffic::Requests(Protocol::Friends),
    Traffic::Requests(Protocol::Chat),
    Traffic::Requests(Protocol::Sync),
    Traffic::Gossip,
];

/// The used budgets of peers and addresses.
#[derive(Debug)]
pub(crate) struct Budgets {
    trust: Trust,
    peers: HashMap<PeerId, Account>,
    addresses: HashMap<IpAddr, Account>,
}

impl Budgets {
    /// Starts with all budgets full. Levels are asked for at each message, since they change.
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, peers: HashMap::new(), addresses: HashMap::new() }
    }

    /// Counts a message of a peer, and returns the state of its budget.
    ///
    /// A message beyond the peer's own budget does not count for its address. So one peer uses at
    /// most its share of the address's budget, however much it sends.
    pub(crate) fn message(
        &mut self,
        peer: PeerId,
        address: Option<IpAddr>,
        traffic: Traffic,
        bytes: usize,
        now: Instant,
    ) -> Spent {
        let level = self.trust.level(&peer);
        let amount = (1, u64::try_from(bytes).unwrap_or(u64::MAX));
        let own = account(&mut self.peers, peer, now);
        let spent = own.spent(traffic, level, 1, now);
        if spent != Spent::Within {
            // The message counts, but not its bytes, which are not read.
            own.take(traffic, level, 1, (1, 0));
            return spent;
        }
        let alone = level == Level::Friend || own.is_proven(now);
        if let (Some(address), false) = (address, alone) {
            let shared = account(&mut self.addresses, host_group(address), now);
            if shared.spent(traffic, Level::Stranger, ADDRESS_SHARE, now) != Spent::Within {
                own.take(traffic, level, 1, (1, 0));
                return Spent::Beyond;
            }
            shared.take(traffic, Level::Stranger, ADDRESS_SHARE, amount);
        }
        own.take(traffic, level, 1, amount);
        Spent::Within
    }

    /// Counts the bytes of an answer to a peer.
    pub(crate) fn answered(
        &mut self,
        peer: PeerId,
        address: Option<IpAddr>,
        traffic: Traffic,
        bytes: usize,
        now: Instant,
    ) {
        let level = self.trust.level(&peer);
        let amount = (0, u64::try_from(bytes).unwrap_or(u64::MAX));
        let own = account(&mut self.peers, peer, now);
        own.take(traffic, level, 1, amount);
        let alone = level == Level::Friend || own.is_proven(now);
        if let (Some(address), false) = (address, alone) {
            account(&mut self.addresses, host_group(address), now).take(
                traffic,
                Level::Stranger,
                ADDRESS_SHARE,
                amount,
            );
        }
    }

    /// Returns true once the peer's own budget of this traffic is not used up any more.
    pub(crate) fn has_recovered(&mut self, peer: PeerId, traffic: Traffic, now: Instant) -> bool {
        let level = self.trust.level(&peer);
        account(&mut self.peers, peer, now).spent(traffic, level, 1, now) == Spent::Within
    }

    /// Returns true if the peer delivered something that this node lacked, not long ago.
    pub(crate) fn is_proven(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers.get(peer).is_some_and(|account| account.is_proven(now))
    }

    /// Records that a peer delivered something that this node lacked.
    pub(crate) fn useful(&mut self, peer: PeerId, now: Instant) {
        account(&mut self.peers, peer, now).proven = Some(now);
    }
}

/// Returns an account. If there are too many, those that have used the least make room for a new
/// one.
fn account<Key: Hash + Eq + Copy>(
    accounts: &mut HashMap<Key, Account>,
    key: Key,
    now: Instant,
) -> &mut Account {
    if accounts.len() >= MAX_ACCOUNTS && !accounts.contains_key(&key) {
        let used = |account: &Account| (account.is_proven(now), account.used(now));
        let mut all: Vec<_> = accounts.iter().map(|(key, account)| (used(account), *key)).collect();
        all.sort_unstable_by_key(|(used, _)| *used);
        // Evicts an eighth at once, so that not every newcomer costs a pass over all accounts.
        for (_, least) in all.into_iter().take(MAX_ACCOUNTS / 8) {
            accounts.remove(&least);
        }
    }
    accounts.entry(key).or_insert_with(|| Account::new(now))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::primitives::PublicKey;

    const HELLO: Traffic = Traffic::Requests(Protocol::Hello);
    const SYNC: Traffic = Traffic::Requests(Protocol::Sync);

    fn peer(number: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PeerId(PublicKey(bytes))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the tested functions take an option")]
    fn home() -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Sends requests until one is not within the budget, and returns the number of those before.
    fn served(budgets: &mut Budgets, peer: PeerId, traffic: Traffic, now: Instant) -> u64 {
        (0..1_000_000)
            .take_while(|_| budgets.message(peer, home(), traffic, 1, now) == Spent::Within)
            .count() as u64
    }

    /// The budgets of each kind of traffic, in messages and in bytes.
    const ALL: [(Traffic, Levels, Levels); Traffic::COUNT] = [
        (HELLO, HELLO_REQUESTS, HELLO_BYTES),
        (Traffic::Requests(Protocol::Friends), FRIENDS_REQUESTS, FRIENDS_BYTES),
        (Traffic::Requests(Protocol::Chat), CHAT_REQUESTS, CHAT_BYTES),
        (SYNC, SYNC_REQUESTS, SYNC_BYTES),
        (Traffic::Gossip, GOSSIP_MESSAGES, GOSSIP_BYTES),
    ];

    #[test]
    fn each_level_has_its_own_budget_of_messages_and_bytes() {
        let (friend, introduced, stranger) = (peer(1), peer(2), peer(3));
        let trust = Trust::new([friend], false);
        trust.vouch(&friend, introduced);
        let now = Instant::now();
        for (traffic, messages, bytes) in ALL {
            for (peer, messages, bytes) in [
                (friend, messages.friend, bytes.friend),
                (introduced, messages.introduced, bytes.introduced),
                (stranger, messages.stranger, bytes.stranger),
            ] {
                let mut budgets = Budgets::new(trust.clone());
                assert_eq!(served(&mut budgets, peer, traffic, now), messages, "{traffic:?}");
                // Half of the bytes each time: two messages fit, and the third one is beyond.
                let mut budgets = Budgets::new(trust.clone());
                let half = usize::try_from(bytes / 2).unwrap();
                let mut spent = || budgets.message(peer, None, traffic, half, now);
                let all = [spent(), spent(), spent()];
                assert_eq!(all, [Spent::Within, Spent::Within, Spent::Beyond], "{traffic:?}");
                let mut budgets = Budgets::new(trust.clone());
                budgets.answered(peer, None, traffic, 2 * half - 1, now);
                assert_eq!(budgets.message(peer, None, traffic, 1, now), Spent::Within);
                assert_eq!(budgets.message(peer, None, traffic, 1, now), Spent::Beyond);
            }
        }
    }

    #[test]
    fn a_peer_that_delivered_something_uses_its_own_budget_alone_for_a_while() {
        let mut budgets = Budgets::new(Trust::default());
        let now = Instant::now();
        for number in 0..100 {
            served(&mut budgets, peer(number), HELLO, now);
        }
        budgets.useful(peer(500), now);
        let at = |ms| now + Duration::from_millis(ms);
        // The address stays crowded.
        let crowd = |budgets: &mut Budgets, at| {
            for number in 1_000..1_000 + 2 * u32::try_from(ADDRESS_SHARE).unwrap() {
                served(budgets, peer(number), HELLO, at);
            }
        };
        crowd(&mut budgets, at(USEFUL_MS - 1));
        assert_eq!(budgets.message(peer(500), home(), HELLO, 1, at(USEFUL_MS - 1)), Spent::Within);
        crowd(&mut budgets, at(USEFUL_MS));
        assert_eq!(budgets.message(peer(500), home(), HELLO, 1, at(USEFUL_MS)), Spent::Beyond);
    }

    #[test]
    fn a_budget_ends_and_comes_back_with_time() {
        let mut budgets = Budgets::new(Trust::default());
        let start = Instant::now();
        assert_eq!(served(&mut budgets, peer(1), HELLO, start), HELLO_REQUESTS.stranger);
        assert!(!budgets.has_recovered(peer(1), HELLO, start));
        // Half a minute brings back half of it, less the one request that was refused.
        let half = start + Duration::from_secs(30);
        assert_eq!(served(&mut budgets, peer(1), HELLO, half), HELLO_REQUESTS.stranger / 2 - 1);
        assert_eq!(served(&mut budgets, peer(1), SYNC, half), SYNC_REQUESTS.stranger);
    }

    #[test]
    fn only_who_goes_on_for_a_whole_budget_is_flooding() {
        let mut budgets = Budgets::new(Trust::default());
        let now = Instant::now();
        let most = HELLO_REQUESTS.stranger;
        let spent: Vec<_> =
            (0..2 * most + 5).map(|_| budgets.message(peer(1), home(), HELLO, 1, now)).collect();
        let count = |what: Spent| spent.iter().filter(|spent| **spent == what).count() as u64;
        assert_eq!((count(Spent::Within), count(Spent::Beyond)), (most, most));
        assert_eq!(count(Spent::Flooding), 5);
        let after = now + Duration::from_secs(61);
        assert!(budgets.has_recovered(peer(1), HELLO, after), "no more than two can be owed");
    }

    #[test]
    fn large_answers_use_up_bytes_and_are_no_offence() {
        let mut budgets = Budgets::new(Trust::default());
        let now = Instant::now();
        for _ in 0..3 {
            let bytes = usize::try_from(SYNC_BYTES.stranger).unwrap();
            budgets.answered(peer(1), home(), SYNC, bytes, now);
        }
        assert_eq!(budgets.message(peer(1), home(), SYNC, 1, now), Spent::Beyond);
        assert_eq!(budgets.message(peer(1), home(), HELLO, 1, now), Spent::Within);
    }

    #[test]
    fn many_keys_of_one_address_get_the_budget_of_a_few() {
        let friend = peer(9_999);
        let mut budgets = Budgets::new(Trust::new([friend], false));
        let now = Instant::now();
        let proven = peer(8_888);
        budgets.useful(proven, now);
        let all: u64 = (0..100).map(|one| served(&mut budgets, peer(one), HELLO, now)).sum();
        assert_eq!(all, ADDRESS_SHARE * HELLO_REQUESTS.stranger);
        // Elsewhere, and for friends and proven peers anywhere, nothing is used up.
        let elsewhere = "192.0.2.1".parse().ok();
        assert_eq!(budgets.message(peer(5_000), elsewhere, HELLO, 1, now), Spent::Within);
        assert_eq!(served(&mut budgets, friend, HELLO, now), HELLO_REQUESTS.friend);
        assert_eq!(served(&mut budgets, proven, HELLO, now), HELLO_REQUESTS.stranger);
        // Others at the crowded address are refused, and not charged.
        for _ in 0..2 * HELLO_REQUESTS.stranger {
            assert_eq!(budgets.message(peer(200), home(), HELLO, 1, now), Spent::Beyond);
        }
    }

    #[test]
    fn a_flooding_peer_does_not_use_up_the_budget_of_its_address() {
        let mut budgets = Budgets::new(Trust::default());
        let now = Instant::now();
        for _ in 0..100_000 {
            budgets.message(peer(1), home(), HELLO, 1, now);
        }
        assert_eq!(served(&mut budgets, peer(2), HELLO, now), HELLO_REQUESTS.stranger);
    }

    #[test]
    fn accounts_are_bounded_and_the_most_used_are_remembered() {
        let mut budgets = Budgets::new(Trust::default());
        let now = Instant::now();
        served(&mut budgets, peer(0), HELLO, now);
        for number in 1..2 * u32::try_from(MAX_ACCOUNTS).unwrap() {
            let address = IpAddr::V4(Ipv4Addr::from(number));
            budgets.message(peer(number), Some(address), HELLO, 1, now);
            assert!(budgets.peers.len() <= MAX_ACCOUNTS);
            assert!(budgets.addresses.len() <= MAX_ACCOUNTS);
        }
        assert_eq!(budgets.message(peer(0), home(), HELLO, 1, now), Spent::Beyond);
    }

    #[test]
    fn all_addresses_of_a_host_count_as_one() {
        let block = |text: &str| host_group(text.parse().unwrap());
        assert_eq!(block("2001:db8::1"), block("2001:db8::ffff:1"));
        assert_ne!(block("2001:db8::1"), block("2001:db8:0:1::1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
    }

    #[test]
    fn each_traffic_has_its_own_index() {
        let indices: Vec<_> = ALL_TRAFFIC.iter().map(|traffic| traffic.index()).collect();
        assert_eq!(indices, (0..Traffic::COUNT).collect::<Vec<_>>());
    }
}
