//! Tests that compare `proto/storage.md` with files that the program writes. The tests open the
//! files with redb alone, so that they compare the page with the disk and not with the program.

use std::{collections::BTreeSet, path::Path};

use redb::{Database, Key, ReadableDatabase as _, ReadableTable as _, TableDefinition, Value};
use redb::{ReadOnlyTable, TableHandle as _};

use super::{
    examples::{agreer, friend, signer},
    page::{after, number, strings, table_in},
};
use crate::{
    chain::{
        Chain, Origin,
        store::create,
        testing::{NOW, genesis_coin, key, network, options, owner, pay},
    },
    consensus::{Checkpoint, Network, Work},
    friends::{AddressSource, Friends, FriendsConfig},
    peers::{Ban, BanTerm, Trust},
    primitives::{BlockHash, Encode, NetworkId, PeerId, PublicKey, Transaction},
    wire::{SealedLine, Secret, SignedLine, SignedProfile, SignedQuit, codec},
};

const PAGE: &str = include_str!("../../../proto/storage.md");
const FRIENDS_NETWORK: NetworkId = BlockHash([7; 32]);

type Key32 = &'static [u8; 32];
type BlockKey = &'static [u8; 36];

/// Opens a table by its page's name and types. redb refuses other types than those on the disk.
fn open<K: Key + 'static, V: Value + 'static>(
    database: &Database,
    name: &str,
) -> ReadOnlyTable<K, V> {
    let transaction = database.begin_read().expect("a transaction");
    transaction.open_table(TableDefinition::<K, V>::new(name)).expect("the table")
}

/// Panics unless the page has a row for the table with redb's names of these types.
fn assert_types<K: Key + 'static, V: Value + 'static>(
    rows: &[Vec<String>],
    database: &Database,
    name: &str,
) {
    open::<K, V>(database, name);
    let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("a row of {name}"));
    let plain = |type_name: &str| {
        type_name.replace("&'static ", "&").replace(' ', "").replace("alloc::", "")
    };
    assert_eq!(row[1].replace(' ', ""), plain(std::any::type_name::<K>()), "{name}");
    assert_eq!(row[2].replace(' ', ""), plain(std::any::type_name::<V>()), "{name}");
}

/// Panics unless the tables of the file are those of the page's section.
fn assert_names(rows: &[Vec<String>], database: &Database) {
    let transaction = database.begin_read().expect("a transaction");
    let found: BTreeSet<_> = transaction
        .list_tables()
        .expect("the tables")
        .map(|table| table.name().to_owned())
        .collect();
    let told: BTreeSet<_> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(told, found);
}

/// Returns the fields of a record by its layout table. The last field may have the rest.
fn fields<'a>(columns: &str, record: &'a [u8]) -> Vec<&'a [u8]> {
    let mut end = 0;
    let mut found = Vec::new();
    for row in table_in(PAGE, &[columns, "bytes", "field"]) {
        if let Ok(offset) = row[0].parse::<usize>() {
            assert_eq!(offset, end, "{columns}: {row:?}");
        }
        let length = match row[1].as_str() {
            "rest" => record.len() - end,
            "v" => usize::from(record[8]),
            length => usize::try_from(number(length)).expect("a length"),
        };
        found.push(&record[end..end + length]);
        end += length;
    }
    assert_eq!(end, record.len(), "{columns} covers the record");
    found
}

/// A chain file with the genesis, a block with a trade, and an own trade in the mempool.
struct ChainFile {
    _folder: tempfile::TempDir,
    database: Database,
    network: Network,
    mined: Transaction,
    waiting: Transaction,
}

/// The block that the chain's invite names.
const CHECKPOINT: Checkpoint =
    Checkpoint { height: 1_000, hash: BlockHash([2; 32]), work: Work::from_be_bytes([1; 32]) };

fn chain_file() -> ChainFile {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain.redb");
    let network = network();
    let store = create(&path, &network, Some(&CHECKPOINT), 1).expect("a file");
    let mut chain = Chain::on_store(store, options()).expect("a chain");
    let all = [(owner(&key(2)), 10_000_000_000)];
    let mined = pay(&network, &key(1), genesis_coin(&network), &all);
    chain.accept_trade(mined.clone(), Origin::Local, NOW).expect("accepted");
    let mut block = chain.template(owner(&key(3)), NOW).expect("a template").block;
    crate::chain::testing::mine(&mut block);
    chain.accept_block(block, Origin::Local, NOW + 1).expect("connected");
    let coin = crate::chain::testing::coin_of(&mined, 0);
    let waiting = pay(&network, &key(2), coin, &[(owner(&key(4)), 9_000_000_000)]);
    chain.accept_trade(waiting.clone(), Origin::Local, NOW + 2).expect("accepted");
    chain.attend(7);
    chain.commit().expect("a commit");
    drop(chain);
    let database = Database::open(&path).expect("the file");
    ChainFile { _folder: folder, database, network, mined, waiting }
}

#[test]
fn the_tables_of_chain_redb_are_those_of_the_page() {
    let file = chain_file();
    let rows = table_in(after(PAGE, "## chain.redb"), &["table", "key", "value", "rows"]);
    let database = &file.database;
    assert_names(&rows, database);
    assert_types::<BlockKey, &'static [u8; 134]>(&rows, database, "headers_1");
    assert_types::<BlockKey, &'static [u8]>(&rows, database, "blocks_1");
    assert_types::<BlockKey, &'static [u8]>(&rows, database, "undo_1");
    assert_types::<&'static [u8; 56], &'static [u8; 13]>(&rows, database, "coins_1");
    assert_types::<Key32, &'static [u8; 8]>(&rows, database, "tx_index_1");
    assert_types::<Key32, &'static [u8]>(&rows, database, "mempool_1");
    assert_types::<Key32, &'static [u8]>(&rows, database, "own_1");
    assert_types::<&'static str, &'static [u8]>(&rows, database, "meta_1");
}

#[test]
fn headers_blocks_and_coins_are_stored_as_the_page_says() {
    let ChainFile { _folder, database, network, mined, .. } = chain_file();
    let headers = open::<BlockKey, &'static [u8; 134]>(&database, "headers_1");
    let (block_key, record) = headers.first().expect("a read").expect("the genesis");
    let (block_key, record) = (*block_key.value(), *record.value());
    let height_and_hash = fields("block key at", &block_key);
    assert_eq!(height_and_hash, [&[0; 4][..], &network.id.0[..]]);
    let header = network.genesis.header;
    let time = header.time.to_le_bytes();
    let work = network.genesis_work().to_be_bytes();
    let expected: [&[u8]; 5] = [&header.to_bytes(), &work, &[2], &[1], &time];
    assert_eq!(fields("header record at", &record), expected);

    let blocks = open::<BlockKey, &'static [u8]>(&database, "blocks_1");
    let genesis = blocks.get(&block_key).expect("a read").expect("the genesis");
    assert_eq!(genesis.value(), network.genesis.to_bytes());

    let undo = open::<BlockKey, &'static [u8]>(&database, "undo_1");
    assert_eq!(undo.get(&block_key).expect("a read").expect("its record").value(), [0, 0]);
    let (_, spent) = undo.last().expect("a read").expect("block 1");
    let spent = spent.value().to_vec();
    assert_eq!((spent.len(), &spent[..4]), (2 + 2 + 13, &[0, 0, 1, 0][..]));
    let hundred = 10_000_000_000_u64.to_le_bytes();
    let genesis_coin: [&[u8]; 3] = [&hundred, &[0; 4], &[1]];
    assert_eq!(fields("coin at", &spent[4..]), genesis_coin);

    let coins = open::<&'static [u8; 56], &'static [u8; 13]>(&database, "coins_1");
    let entry = coins.iter().expect("coins").map(|entry| entry.expect("a coin"));
    let paid = entry
        .map(|(key, coin)| (*key.value(), *coin.value()))
        .find(|(coin_key, _)| coin_key.starts_with(&owner(&key(2)).0))
        .expect("the coin of the trade");
    let owner_and_outpoint: [&[u8]; 3] = [&owner(&key(2)).0, &mined.txid().0, &[0; 4]];
    assert_eq!(fields("coin key at", &paid.0), owner_and_outpoint);
    let coin: [&[u8]; 3] = [&hundred, &[1, 0, 0, 0], &[0]];
    assert_eq!(fields("coin at", &paid.1), coin);
}

#[test]
fn transactions_and_meta_are_stored_as_the_page_says() {
    let ChainFile { _folder, database, network, mined, waiting } = chain_file();
    let index = open::<Key32, &'static [u8; 8]>(&database, "tx_index_1");
    let entry = *index.get(&mined.txid().0).expect("a read").expect("mined").value();
    assert_eq!(fields("index entry at", &entry), [&[1, 0, 0, 0], &[1, 0, 0, 0]]);

    let mempool = open::<Key32, &'static [u8]>(&database, "mempool_1");
    assert!(mempool.get(&mined.txid().0).expect("a read").is_none());
    let record = mempool.get(&waiting.txid().0).expect("a read").expect("in the mempool");
    let record = record.value().to_vec();
    let (time, transaction) = ((NOW + 2).to_le_bytes(), waiting.to_bytes());
    let found = fields("mempool record at", &record);
    assert_eq!(found[1..], [&time[..], &[1], &transaction]);

    let own = open::<Key32, &'static [u8]>(&database, "own_1");
    for (trade, time) in [(&mined, NOW), (&waiting, NOW + 2)] {
        let record = own.get(&trade.txid().0).expect("a read").expect("own").value().to_vec();
        let expected: [&[u8]; 4] = [&time.to_le_bytes(), &[0; 4], &[], &trade.to_bytes()];
        assert_eq!(fields("own record at", &record), expected);
    }

    let meta = open::<&'static str, &'static [u8]>(&database, "meta_1");
    let names: BTreeSet<_> = meta
        .iter()
        .expect("names")
        .map(|entry| entry.expect("a name").0.value().to_owned())
        .collect();
    let told = table_in(PAGE, &["chain meta"]);
    assert_eq!(told.iter().map(|row| row[0].clone()).collect::<BTreeSet<_>>(), names);
    let value = |name: &str| meta.get(name).expect("a read").expect("a value").value().to_vec();
    assert_eq!(value("schema"), 1_u32.to_le_bytes());
    assert_eq!(value("genesis"), network.genesis.to_bytes());
    assert_eq!(value("network"), network.id.0);
    assert_eq!(value("min_work"), [1; 32]);
    assert_eq!(value("tip"), value("best_header"));
    let checkpoint = value("checkpoint");
    let found = fields("block key at", &checkpoint);
    assert_eq!(found, [&1_000_u32.to_be_bytes()[..], &[2; 32]]);
    let attended = value("attended");
    assert_eq!(fields("attended record at", &attended), [&[7, 0, 0, 0], &value("tip")[..]]);
    assert_eq!(fields("block key at", &value("tip"))[0], [0, 0, 0, 1]);
}

/// A banned peer that is no friend.
const BANNED: PeerId = PeerId(PublicKey([9; 32]));

fn config() -> FriendsConfig {
    let sign = signer(1);
    FriendsConfig {
        me: friend(1),
        network: FRIENDS_NETWORK,
        signer: Box::new(move |bytes| sign(bytes)),
        agree: Box::new(agreer(1)),
        trust: Trust::new([friend(0)], false),
        clock: Box::new(|| 1_000),
    }
}

/// Writes a row to every table: a profile, a line in each direction, a goodbye, an address, a ban,
/// and a line of a stranger.
fn write_friends(path: &Path) -> (SignedProfile, SignedLine, SignedQuit) {
    let mut room = Friends::open(path, config()).expect("a file");
    let signer_of = signer;
    let (network, signer) = (&FRIENDS_NETWORK, &signer(0));
    let profile = SignedProfile::sign(network, friend(0), "yzw", vec![], None, NOW, signer);
    let profile = profile.expect("short");
    room.keep_profile(profile.clone(), friend(0), NOW + 1).expect("kept");
    let line = SignedLine::sign(network, friend(0), None, NOW, 5, "hi", signer).expect("short");
    room.receive_broadcast(line.clone(), NOW + 2).expect("kept");
    let sent = room.direct(friend(0), "hello", NOW + 3).expect("kept");
    room.left_with(friend(0), sent.id, &[friend(2)], NOW + 9).expect("kept");
    room.broadcast("all", NOW + 4).expect("kept");
    let quit = SignedQuit::sign(network, friend(0), NOW + 1, 6, signer);
    room.receive_quit(&quit, NOW).expect("kept");
    let address = ["/ip4/10.0.0.1/tcp/1".to_owned()];
    room.add_addresses(friend(0), &address, AddressSource::Command, NOW + 5).expect("kept");
    room.keep_ban(Ban { peer: BANNED, term: BanTerm::Forever }).expect("kept");
    room.block(&PeerId(PublicKey([8; 32])).to_string(), NOW + 8).expect("kept");
    room.set_own_name("me").expect("kept");
    let told = SignedLine::sign(network, friend(2), None, NOW, 0, "psst", &signer_of(2));
    room.receive_broadcast(told.expect("short"), NOW + 7).expect("kept");
    let other = PeerId(PublicKey(crate::consensus::testing::public_key(&key(9)).0));
    room.accept(&other.to_string(), NOW).expect("accepted");
    let away = SignedLine::sign(network, friend(0), Some(other), NOW, 9, "psst", signer);
    let away = SealedLine::seal(network, &away.expect("short"), &Secret::new([3; 32]));
    room.keep_sealed(friend(0), &away.expect("sealed"), NOW + 9).expect("kept");
    room.set_own_profile("me", &[], None, NOW + 6).expect("signed");
    (profile, line, quit)
}

#[test]
fn the_tables_of_friends_redb_are_those_of_the_page() {
    type Bytes = &'static [u8];
    type Id = &'static [u8; 16];
    type Name = (Key32, &'static str);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("friends.redb");
    write_friends(&path);
    let database = &Database::open(&path).expect("the file");
    let section = after(PAGE, "## friends.redb");
    let rows = table_in(section, &["table", "key", "value", "rows"]);
    assert_names(&rows, database);
    assert_types::<Key32, (Key32, u64, Key32, Bytes)>(&rows, database, "profiles_2");
    assert_types::<Key32, (u64, bool, bool, bool)>(&rows, database, "people_1");
    assert_types::<Name, u64>(&rows, database, "names_1");
    assert_types::<u64, (Id, u64, u8, Bytes)>(&rows, database, "chat_1");
    assert_types::<Id, u64>(&rows, database, "chat_ids_1");
    assert_types::<(Key32, bool, u64), ()>(&rows, database, "chat_friends_2");
    assert_types::<u64, (Id, u64, Key32, Key32)>(&rows, database, "chat_to_all_1");
    assert_types::<u64, (Id, u64, Bytes)>(&rows, database, "requests_1");
    assert_types::<(Key32, u64), (Key32, Bytes)>(&rows, database, "outbox_1");
    assert_types::<(Key32, u64, Key32), u64>(&rows, database, "left_1");
    assert_types::<(Key32, u64), (Key32, u64, Bytes)>(&rows, database, "kept_1");
    assert_types::<Key32, (u64, u64)>(&rows, database, "quits_1");
    assert_types::<Name, (u64, u64, u8)>(&rows, database, "peers_1");
    assert_types::<Key32, u64>(&rows, database, "bans_1");
    assert_types::<Key32, (u64, &'static str)>(&rows, database, "blocked_1");
    assert_types::<Key32, (u64, &'static str)>(&rows, database, "former_1");
    assert_types::<Key32, &'static str>(&rows, database, "payees_1");
    assert_types::<&'static str, &'static str>(&rows, database, "own_1");
    assert_types::<&'static str, u64>(&rows, database, "meta_1");
    let meaning = table_in(section, &["friends table"]);
    let described: Vec<_> = meaning.iter().map(|row| row[0].clone()).collect();
    let names: Vec<_> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(described, names[..names.len() - 1]);
    let names = table_in(section, &["friends meta"]);
    let told: BTreeSet<_> = names.iter().map(|row| row[0].clone()).collect();
    let meta = open::<&'static str, u64>(database, "meta_1");
    let entries = meta.iter().expect("names").map(|entry| entry.expect("a name"));
    let found: BTreeSet<_> = entries.map(|(name, _)| name.value().to_owned()).collect();
    assert_eq!(told, found);
    assert_eq!(meta.get("schema").expect("a read").expect("a value").value(), 1);
}

#[test]
fn rows_of_friends_redb_are_stored_as_the_page_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("friends.redb");
    let (profile, line, quit) = write_friends(&path);
    let database = &Database::open(&path).expect("the file");
    let them = friend(0).0.0;
    let network = FRIENDS_NETWORK.0;

    let table = open::<Key32, (Key32, u64, Key32, &'static [u8])>(database, "profiles_2");
    let row = table.get(&them).expect("a read").expect("a profile");
    let bytes = codec::encode(&profile);
    assert_eq!(row.value(), (&network, 0, &[0; 32], &bytes[..]), "no friend vouched for it");

    let table = open::<Key32, (u64, bool, bool, bool)>(database, "people_1");
    let row = table.get(&them).expect("a read").expect("a person");
    assert_eq!(
        row.value(),
        (NOW + 5, false, true, true),
        "written to, and accepted by its address"
    );

    let table = open::<u64, (&'static [u8; 16], u64, u8, &'static [u8])>(database, "chat_1");
    let states: Vec<u8> =
        table.iter().expect("lines").map(|row| row.expect("a line").1.value().2).collect();
    assert_eq!(states, [4, 0, 3], "received, queued, sent");
    let row = table.get(0).expect("a read").expect("a line");
    let (id, bytes) = (line.id(&FRIENDS_NETWORK), codec::encode(&line));
    assert_eq!(row.value(), (&id.0, NOW + 2, 4, &bytes[..]));

    let table = open::<(Key32, bool, u64), ()>(database, "chat_friends_2");
    for (peer, is_direct, order) in [(them, false, 0), (them, true, 1), (friend(1).0.0, false, 2)] {
        assert!(table.get((&peer, is_direct, order)).expect("a read").is_some(), "{order}");
    }

    let table = open::<u64, (&'static [u8; 16], u64, Key32, Key32)>(database, "chat_to_all_1");
    let row = table.get(0).expect("a read").expect("a line to all");
    assert_eq!(row.value(), (&id.0, NOW, &them, &network));

    let table = open::<u64, (&'static [u8; 16], u64, &'static [u8])>(database, "requests_1");
    let row = table.get(3).expect("a read").expect("a line of a stranger");
    assert_eq!(row.value().1, NOW + 7);

    let table = open::<(Key32, u64), (Key32, &'static [u8])>(database, "outbox_1");
    let row = table.get((&them, 1)).expect("a read").expect("an undelivered line");
    assert_eq!(row.value().0, &network);

    let table = open::<Key32, (u64, u64)>(database, "quits_1");
    let row = table.get(&them).expect("a read").expect("a goodbye");
    assert_eq!(row.value(), (quit.time, quit.counter));

    let table = open::<(Key32, &'static str), (u64, u64, u8)>(database, "peers_1");
    let row = table.get((&them, "/ip4/10.0.0.1/tcp/1")).expect("a read").expect("an address");
    assert_eq!(row.value(), (NOW + 5, 0, 4));

    let table = open::<Key32, u64>(database, "bans_1");
    assert_eq!(table.get(&BANNED.0.0).expect("a read").expect("a ban").value(), u64::MAX);

    let table = open::<Key32, (u64, &'static str)>(database, "blocked_1");
    let row = table.get(&[8; 32]).expect("a read").expect("a block");
    assert_eq!(row.value(), (NOW + 8, ""), "its name was not known");
    let table = open::<&'static str, &'static str>(database, "own_1");
    assert_eq!(table.get("name").expect("a read").expect("a name").value(), "me");

    let states = table_in(PAGE, &["line state", "name"]);
    let names: Vec<_> = states.iter().map(|row| row[1].clone()).collect();
    assert_eq!(names, strings(&["queued", "delivered", "refused", "sent", "received"]));
}

#[test]
fn sealed_lines_are_stored_as_the_page_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("friends.redb");
    write_friends(&path);
    let database = &Database::open(&path).expect("the file");
    let them = friend(0).0.0;

    let table = open::<(Key32, u64, Key32), u64>(database, "left_1");
    let row = table.get((&them, 1, &friend(2).0.0)).expect("a read").expect("a carrier");
    assert_eq!(row.value(), NOW + 9);

    let table = open::<(Key32, u64), (Key32, u64, &'static [u8])>(database, "kept_1");
    let row = table.first().expect("a read").expect("a kept line");
    let sender = &friend(0).0.0;
    assert_eq!((row.1.value().0, row.1.value().1, row.1.value().2.len()), (sender, NOW + 9, 305));
}
