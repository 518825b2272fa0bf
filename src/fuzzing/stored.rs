//! Reads data from the node's disk, which others may have changed: table records, small files, and
//! whole chains with one changed record.

use std::{fmt, fs, path::Path};

use super::choices::Choices;
use crate::{
    chain::{
        Chain, ChainFault, ChainOptions, OpenError, Origin,
        store::{
            Store,
            tables::{
                self, HeaderRecord, MempoolRecord, OwnRecord, Undo, coin_from_bytes, coin_to_bytes,
            },
        },
        testing::{Branch, Disk, NOW, PEER, genesis_coin, key, network, note, open, owner, pay},
    },
    datadir::{DataDir, IDENTITY_FILE, NODE_FILE, TOKEN_FILE, WALLET_FILE},
    net::Identity,
    primitives::{Decode, Encode, encoding::from_bytes},
    wallet::Wallet,
};

/// Runs the target. The first byte decides the kind of the rest.
pub fn stored_records(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 16 {
        0 => {
            let Ok(bytes) = rest.try_into() else { return };
            let Ok(record) = HeaderRecord::from_bytes(bytes) else { return };
            assert_eq!(HeaderRecord::from_bytes(&record.to_bytes()).ok(), Some(record));
        }
        1 => {
            let Ok(bytes) = rest.try_into() else { return };
            if let Ok(coin) = coin_from_bytes(bytes) {
                assert_eq!(&coin_to_bytes(&coin), bytes);
            }
        }
        2 => reads_back::<Undo>(rest),
        3 => reads_back::<MempoolRecord>(rest),
        4 => reads_back::<OwnRecord>(rest),
        5 => in_a_folder(|folder| {
            let path = folder.join(WALLET_FILE);
            fs::write(&path, rest).expect("a file");
            examine_wallet(&path, rest);
        }),
        6 => in_a_folder(|folder| {
            let path = folder.join(IDENTITY_FILE);
            fs::write(&path, rest).expect("a file");
            match Identity::load(&path) {
                Ok(identity) => {
                    let again = Identity::load(&path).expect("the same file");
                    assert_eq!(identity.peer_id(), again.peer_id());
                    assert_eq!(identity.sign(b"a line"), again.sign(b"a line"));
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            assert_eq!(fs::read(&path).expect("still there"), rest);
        }),
        7 => in_a_folder(|folder| {
            for name in [NODE_FILE, TOKEN_FILE] {
                fs::write(folder.join(name), rest).expect("a file");
            }
            let folder = DataDir::at(folder);
            let _ = (folder.node_file(), folder.token());
        }),
        _ => damaged_chain(&mut Choices::new(rest)),
    }
}

/// Decodes a record, and checks that its encoding decodes to the same record.
fn reads_back<T: Encode + Decode + PartialEq + fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = from_bytes::<T>(bytes) else { return };
    assert_eq!(from_bytes::<T>(&value.to_bytes()), Ok(value));
}

/// Runs with a temporary folder of this thread.
fn in_a_folder(run: impl FnOnce(&Path)) {
    let thread = format!("{:?}", std::thread::current().id());
    let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
    let folder =
        std::env::temp_dir().join(format!("friendchain-fuzzing-{}-{thread}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    run(&folder);
    let _ = fs::remove_dir_all(&folder);
}

fn examine_wallet(path: &Path, bytes: &[u8]) {
    match Wallet::open(path) {
        Ok(wallet) => {
            assert!(!wallet.addresses().is_empty());
            assert_eq!(wallet.first_address(), wallet.addresses()[0]);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert_eq!(fs::read(path).expect("still there"), bytes, "reading changed the wallet");
}

/// Changes one record of a small chain. The chain opens or fails with an error, and no audit of it
/// panics.
fn damaged_chain(choices: &mut Choices<'_>) {
    let network = network();
    let disk = Disk::default();
    {
        let mut chain = open(&disk, &network);
        let mut branch = Branch::new(&network, 1);
        let spent = pay(&network, &key(1), genesis_coin(&network), &[(owner(&key(2)), 7)]);
        let text = note(&network.id, &key(3), 1, b"words");
        for block in [branch.next(&[]), branch.next(&[spent, text]), branch.next(&[])] {
            chain.accept_block(block, PEER, NOW).expect("a good block");
        }
        let waiting = note(&network.id, &key(3), 2, b"more words");
        chain.accept_trade(waiting, Origin::Local, NOW).expect("a good note");
        chain.commit().expect("a commit");
    }
    {
        let store = Store::on_backend(disk.open(), &network, 4).expect("a store");
        let damaged = store.write(|tables| damage(tables, choices));
        damaged.expect("a write");
    }
    let store = match Store::on_backend(disk.open(), &network, 4) {
        Ok(store) => store,
        Err(error) => return check_sentence(&error),
    };
    match Chain::on_store(store, ChainOptions { cache_mib: 16, threads: 1, nonce_seed: 1 }) {
        Ok(mut chain) => {
            let audit = chain.verify(&mut |_, _| true);
            if let Ok(audit) = &audit {
                assert_eq!(audit.ok, audit.problem.is_none());
            }
            let _ = chain.balance(owner(&key(1)));
            let _ = chain.transaction(network.genesis.transactions[0].txid());
            let _ = chain.reader().headers_after(&[network.id], 0, 10);
            let _ = chain.reader().block_at(2);
            let _ = chain.template(owner(&key(1)), NOW);
            if chain.reindex(NOW, &mut |_, _| true).is_ok() {
                // Reindexing rebuilt every table that follows from the blocks.
                let rebuilt = chain.verify(&mut |_, _| true);
                if let Ok(rebuilt) = rebuilt {
                    assert_eq!(rebuilt.ok, rebuilt.problem.is_none());
                }
            }
        }
        Err(error) => check_sentence(&error),
    }
}

fn check_sentence(error: &OpenError) {
    assert!(!error.to_string().is_empty());
}

/// Changes one byte of a value, its end, or all of it.
fn changed(value: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = value.to_vec();
    match choices.below(4) {
        0 => {
            let at = usize::from(u16::from_le_bytes(choices.array())) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= choices.byte().max(1);
            }
        }
        1 => bytes.truncate(usize::from(u16::from_le_bytes(choices.array())) % bytes.len().max(1)),
        2 => bytes.extend(choices.take(16)),
        _ => bytes = choices.rest().to_vec(),
    }
    bytes
}

/// Changes a value of fixed length.
fn fixed<const N: usize>(value: &[u8; N], choices: &mut Choices<'_>) -> [u8; N] {
    let mut bytes = *value;
    for (to, from) in bytes.iter_mut().zip(changed(value, choices)) {
        *to = from;
    }
    bytes
}

/// Returns one of the first six entries of a table; `None` if there are fewer.
macro_rules! entry {
    ($table:expr, $choices:expr) => {{
        let number = $choices.below(6);
        let entry = redb::ReadableTable::iter(&$table)?.nth(number).transpose()?;
        entry.map(|(key, value)| (key.value().to_owned(), value.value().to_owned()))
    }};
}

/// Removes or changes one entry of one table.
fn damage(
    tables: &mut tables::WriteTables<'_>,
    choices: &mut Choices<'_>,
) -> Result<(), ChainFault> {
    let remove = choices.byte() < 32;
    match choices.below(8) {
        0 => {
            let Some((key, value)) = entry!(tables.headers, choices) else { return Ok(()) };
            tables.headers.remove(&key)?;
            if !remove {
                tables.headers.insert(&key, &fixed(&value, choices))?;
            }
        }
        1 => {
            let Some((key, value)) = entry!(tables.blocks, choices) else { return Ok(()) };
            tables.blocks.remove(&key)?;
            if !remove {
                tables.blocks.insert(&key, changed(&value, choices).as_slice())?;
            }
        }
        2 => {
            let Some((key, value)) = entry!(tables.undo, choices) else { return Ok(()) };
            tables.undo.remove(&key)?;
            if !remove {
                tables.undo.insert(&key, changed(&value, choices).as_slice())?;
            }
        }
        3 => {
            let Some((key, value)) = entry!(tables.coins, choices) else { return Ok(()) };
            tables.coins.remove(&key)?;
            if !remove {
                tables.coins.insert(&key, &fixed(&value, choices))?;
            }
        }
        4 => {
            let Some((key, value)) = entry!(tables.tx_index, choices) else { return Ok(()) };
            tables.tx_index.remove(&key)?;
            if !remove {
                tables.tx_index.insert(&key, &fixed(&value, choices))?;
            }
        }
        5 => {
            let Some((key, value)) = entry!(tables.mempool, choices) else { return Ok(()) };
            tables.mempool.remove(&key)?;
            if !remove {
                tables.mempool.insert(&key, changed(&value, choices).as_slice())?;
            }
        }
        6 => {
            let Some((key, value)) = entry!(tables.own, choices) else { return Ok(()) };
            tables.own.remove(&key)?;
            if !remove {
                tables.own.insert(&key, changed(&value, choices).as_slice())?;
            }
        }
        _ => {
            let Some((key, value)) = entry!(tables.meta, choices) else { return Ok(()) };
            tables.meta.remove(key.as_str())?;
            if !remove {
                tables.meta.insert(key.as_str(), changed(&value, choices).as_slice())?;
            }
        }
    }
    Ok(())
}
