//! Parses texts from people: invites, proofs, addresses, amounts, ids, names, phrases, console
//! lines, JSON for the RPC, logs for `observe`, and `friendchain.toml`.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

use data_encoding::BASE64URL_NOPAD;
use serde::{Serialize, de::DeserializeOwned};

use super::choices::Choices;
use crate::{
    consensus::{
        ChainParams, HeaderWindow, INVITE_PREFIX, Invite, MAX_INVITE_CHARS, PROOF_PREFIX, Proof,
        Work,
        testing::{key, network, next_block, note},
    },
    datadir::NodeId,
    friends::{check_address, split_address},
    node::{
        config::{parse_listen, parse_peer, parse_rpc},
        settings::parse_text,
    },
    primitives::{
        Address, Amount, BlockHash, Encode, FriendName, LeafHash, MerkleRoot, MiningMode, PeerId,
        TxId, composed, printable, sha256d,
    },
    rpc::check_rpc,
    rpc::types::{
        Bits, Coins, CreateBlockchain, CreateWallet, Secret, SendTrade, SignedCoins, SignedUnits,
        Units, WriteNote,
    },
    wire::MessageId,
};

/// Runs the target. The first byte decides the kind of the rest: a short text, an invite or proof
/// or the bytes inside it, a console line, JSON, a log, or a settings file.
pub fn texts(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 16 {
        1 => examine_invite(&String::from_utf8_lossy(rest)),
        2 => examine_invite(&sealed(INVITE_PREFIX, rest)),
        3 => {
            // The chain in the invite is valid, so that the bytes after it are parsed.
            let payload = [&[1], network(0).genesis.to_bytes().as_slice(), rest].concat();
            examine_invite(&sealed(INVITE_PREFIX, &payload));
        }
        4 => examine_console_line(&String::from_utf8_lossy(rest)),
        5 => examine_json(rest),
        6 => examine_proof(&String::from_utf8_lossy(rest)),
        7 => examine_proof(&sealed(PROOF_PREFIX, rest)),
        8 => changed_proof(&mut Choices::new(rest)),
        9 => examine_log(rest),
        10 => examine_settings(&String::from_utf8_lossy(rest)),
        _ => short_forms(&String::from_utf8_lossy(rest)),
    }
}

/// Returns a text with a valid checksum around any payload.
fn sealed(prefix: &str, payload: &[u8]) -> String {
    let sum = sha256d(&[payload]);
    format!("{prefix}{}", BASE64URL_NOPAD.encode(&[payload, &sum[..4]].concat()))
}

fn examine_invite(text: &str) {
    match Invite::from_text(text) {
        Ok(invite) => {
            let printed = invite.to_text();
            assert!(printed.len() <= MAX_INVITE_CHARS);
            assert_eq!(Invite::from_text(&printed).as_ref(), Ok(&invite));
            let found: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            assert_eq!(found, printed, "a second text of one invite");
            for address in invite.addresses() {
                let _ = split_address(address);
            }
        }
        Err(error) => check_sentence(&error),
    }
}

fn examine_settings(text: &str) {
    if let Err(error) = parse_text(text) {
        check_sentence(&error);
    }
}

fn examine_proof(text: &str) {
    match Proof::from_text(text) {
        Ok(proof) => {
            let printed = proof.to_text();
            assert_eq!(text.trim_end_matches(['\n', '\r']), printed, "a second text of one proof");
            assert_eq!(proof.block(), proof.header().hash());
            assert_eq!(proof.txid(), proof.transaction().txid());
        }
        Err(error) => {
            check_sentence(&error);
            assert!(!error.code().is_empty());
        }
    }
}

/// Changes bytes of a valid proof, and checks that the parser detects each change.
fn changed_proof(choices: &mut Choices<'_>) {
    let network = network(0);
    let count = u32::from(choices.byte() % 6);
    let notes = (0..=count).map(|index| note(&network.id, &key(3), index, b"words")).collect();
    let block = next_block(&network, &HeaderWindow::genesis(&network), notes);
    let position = 1 + choices.below(block.transactions.len() - 1);
    let text = Proof::of_block(network.id, &block, position).expect("a proof").to_text();
    examine_proof(&text);
    let bytes = BASE64URL_NOPAD.decode(&text.as_bytes()[PROOF_PREFIX.len()..]).expect("base64");
    let mut payload = bytes[..bytes.len() - 4].to_vec();
    let whole = payload.clone();
    while !choices.is_empty() {
        let at = usize::from(u16::from_le_bytes(choices.array())) % payload.len();
        payload[at] ^= choices.byte();
    }
    match Proof::from_text(&sealed(PROOF_PREFIX, &payload)) {
        // One changed header in 256 meets this low target. It is then a header of another block.
        Ok(changed) => {
            assert!(payload == whole || changed.block() != block.hash(), "a change is overlooked");
        }
        Err(error) => {
            check_sentence(&error);
            assert_ne!(payload, whole, "a good proof is refused");
        }
    }
}

/// Checks that an error sentence stays short, though it may quote the wrong text.
fn check_sentence(error: &impl Display) {
    let sentence = error.to_string();
    assert!(
        !sentence.is_empty() && sentence.len() < 2_000,
        "{} bytes: {sentence:?}",
        sentence.len()
    );
}

/// Parses a text, and checks that the value prints as a text that parses to the same value.
fn reads_back<T>(text: &str) -> Option<T>
where
    T: FromStr + Display + PartialEq + Debug,
    T::Err: Display + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            let again = printed.parse::<T>().expect("what is printed can be read");
            assert_eq!(again, value, "{text:?} prints as {printed:?}");
            Some(value)
        }
        Err(error) => {
            check_sentence(&error);
            None
        }
    }
}

fn short_forms(text: &str) {
    for hex in [
        reads_back::<BlockHash>(text).as_ref().map(ToString::to_string),
        reads_back::<TxId>(text).as_ref().map(ToString::to_string),
        reads_back::<LeafHash>(text).as_ref().map(ToString::to_string),
        reads_back::<MerkleRoot>(text).as_ref().map(ToString::to_string),
        reads_back::<MessageId>(text).as_ref().map(ToString::to_string),
        reads_back::<Address>(text).as_ref().map(ToString::to_string),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(hex, text.to_ascii_lowercase(), "a second text of one value");
    }
    for exact in [
        reads_back::<PeerId>(text).as_ref().map(ToString::to_string),
        reads_back::<NodeId>(&composed(text)).as_ref().map(ToString::to_string),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(exact, composed(text), "a second text of one value");
    }
    reads_back::<Amount>(text);
    reads_back::<Work>(text);
    reads_back::<Coins>(text);
    reads_back::<Units>(text);
    reads_back::<SignedCoins>(text);
    reads_back::<SignedUnits>(text);
    reads_back::<Bits>(text);

    let shown = printable(text);
    assert_eq!(printable(&shown), shown);
    examine_name(text);
    if let Ok(id) = text.parse::<NodeId>() {
        let path = std::path::Path::new(id.as_str());
        assert_eq!(path.components().count(), 1, "an id leads to another folder");
        assert!(path.file_name().is_some_and(|name| *name == *composed(text)));
        let _ = id.port();
    }
    examine_addresses(text);
    // A revealed phrase parses to the same phrase. Most texts have too few words, which is cheap.
    if let Ok(phrase) = crate::wallet::RecoveryPhrase::parse(text) {
        let revealed = phrase.reveal();
        let again = crate::wallet::RecoveryPhrase::parse(&revealed).expect("a phrase");
        assert_eq!(*again.reveal(), *revealed);
    }
}

/// Checks a text as a friend's name, typed and signed, and as the name of a network.
fn examine_name(text: &str) {
    match FriendName::typed(text) {
        Ok(name) => {
            let shown = name.as_str();
            assert_eq!(printable(shown), shown, "a name shows something else than itself");
            assert!(shown.chars().count() <= 32 && !shown.contains(['#', ' ']));
            assert!(
                shown.parse::<Address>().is_err() && shown.parse::<PeerId>().is_err(),
                "a name reads as an address"
            );
            assert_eq!(FriendName::signed(shown).as_ref(), Ok(&name), "it is refused when signed");
            assert!(FriendName::of_any(text).is_like(&name), "a name does not find itself");
        }
        Err(error) => check_sentence(&error),
    }
    if let Ok(name) = FriendName::signed(text) {
        assert_eq!(name.as_str(), text);
        assert_eq!(FriendName::typed(text), Ok(name));
    }
    let any = FriendName::of_any(text);
    assert_eq!(FriendName::of_any(any.as_str()).as_str(), any.as_str());
    if let Err(error) = ChainParams::new(text, 0, 8) {
        check_sentence(&error);
    }
}

/// Parses addresses to listen at and to dial.
fn examine_addresses(text: &str) {
    if let Ok(printed) = crate::net::check_address(text) {
        assert_eq!(crate::net::check_address(&printed).ok(), Some(printed.clone()), "{text:?}");
    }
    if let Ok(address) = parse_peer(text) {
        // `parse_peer` accepts any multiaddr. An address that it built from another form must be
        // valid for the network.
        assert!(
            text.starts_with('/') || crate::net::check_address(&address).is_ok(),
            "{text:?}: {address:?}"
        );
    }
    if let Ok(addresses) = parse_listen(text) {
        for address in addresses {
            assert!(
                text.starts_with('/') || crate::net::check_address(&address).is_ok(),
                "{text:?}: {address:?}"
            );
        }
    }
    if let Ok(address) = parse_rpc(text) {
        assert_eq!(check_rpc(address).is_ok(), address.ip().is_loopback());
    }
    if let Err(error) = check_address(text) {
        check_sentence(&error);
    }
    match split_address(text) {
        Ok((address, peer)) => {
            let whole =
                peer.map_or_else(|| address.to_owned(), |peer| format!("{address}/p2p/{peer}"));
            assert_eq!(whole, text);
        }
        Err(error) => check_sentence(&error),
    }
}

fn examine_console_line(line: &str) {
    use crate::console::words::{Line, Talk, parse};
    match parse(line, &Talk::Everybody) {
        Line::Chat { friend, text, .. } => assert!(!friend.is_empty() && !text.trim().is_empty()),
        Line::Note(text) | Line::ChatAll(text) => assert!(!text.trim().is_empty()),
        Line::Show(text) => assert!(!text.is_empty()),
        _ => {}
    }
}

/// Checks that no log can move a terminal's cursor or put a script on the page of `observe`.
fn examine_log(log: &[u8]) {
    let [text, json, page] =
        crate::observe::rendered(log).map(|form| String::from_utf8(form).expect("UTF-8"));
    for line in text.lines() {
        assert_eq!(printable(line), line);
    }
    assert!(!json.contains(char::is_control));
    assert!(
        !page.contains("<script") && !page.replace('\n', "").contains(char::is_control),
        "{page}"
    );
}

/// Parses JSON as each type that the RPC accepts.
fn examine_json(text: &[u8]) {
    json_reads_back::<CreateBlockchain>(text);
    json_reads_back::<SendTrade>(text);
    json_reads_back::<WriteNote>(text);
    json_reads_back::<CreateWallet>(text);
    json_reads_back::<MiningMode>(text);
    json_reads_back::<(String, Option<u64>, Option<Secret>)>(text);
    json_reads_back::<(BlockHash, TxId, Address, PeerId, Coins, Bits)>(text);
}

fn json_reads_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(text) else { return };
    let printed = serde_json::to_vec(&value).expect("it can be written");
    assert_eq!(serde_json::from_slice::<T>(&printed).expect("what is written can be read"), value);
}
