use std::fs;

use tempfile::TempDir;

use super::*;
use crate::{
    consensus::{check_transaction, verify_signatures},
    primitives::{BlockHash, OutPoint, TxInput},
};

const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";
const NETWORK: NetworkId = BlockHash([3; 32]);

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("wallet.json");
    (folder, path)
}

/// Returns an unlocked wallet of a known phrase, sealed at the least cost.
fn sealed(path: &Path) -> Wallet {
    Wallet::make(path, RecoveryPhrase::parse(WORDS).unwrap(), 2, Some("open sesame"), Cost::TEST)
        .unwrap()
}

fn spend(keys: &[PublicKey]) -> Transaction {
    let input = |(index, key): (u32, &PublicKey)| TxInput {
        outpoint: OutPoint { txid: TxId([9; 32]), index },
        public_key: *key,
        signature: Signature([0; 64]),
    };
    Transaction {
        inputs: (0..).zip(keys).map(input).collect(),
        outputs: Vec::new(),
        memo: Vec::new(),
    }
}

#[test]
fn a_wallet_is_the_same_after_it_is_opened_again() {
    let (_folder, path) = folder();
    let mut wallet = Wallet::open_or_create(&path).unwrap();
    wallet.new_address(0).unwrap();
    wallet.new_address(0).unwrap();
    let mut again = Wallet::open_or_create(&path).unwrap();
    assert_eq!(again.addresses(), wallet.addresses());
    assert_eq!(again.addresses().len(), 3);
    assert_eq!(again.new_address(0).unwrap(), again.addresses()[3]);
    assert!(!fs::exists(beside_of(&path)).unwrap());
}

fn beside_of(path: &Path) -> PathBuf {
    path.with_file_name("wallet.json.new")
}

#[test]
fn what_a_crash_left_half_written_does_no_harm() {
    let (_folder, path) = folder();
    fs::write(beside_of(&path), b"half").unwrap();
    let wallet = Wallet::create(&path, None).unwrap();
    assert_eq!(Wallet::open(&path).unwrap().addresses(), wallet.addresses());
}

#[cfg(unix)]
#[test]
fn only_the_user_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = folder();
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let mut wallet = Wallet::create(&path, None).unwrap();
    assert_eq!(mode(), 0o600);
    wallet.new_address(0).unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Wallet::open(&path).unwrap();
    assert_eq!(mode(), 0o600, "a copy that anybody could read is narrowed");
}

#[cfg(unix)]
#[test]
fn a_linked_wallet_stays_where_it_is_and_a_missing_disk_makes_no_new_one() {
    use std::os::unix::fs::symlink;
    let ((_folder, path), (_disk, place)) = (folder(), folder());
    let mut wallet = Wallet::create(&place, None).unwrap();
    symlink(&place, &path).unwrap();
    let mut linked = Wallet::open_or_create(&path).unwrap();
    linked.new_address(0).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(Wallet::open(&place).unwrap().addresses().len(), 2);
    assert!(matches!(wallet.new_address(0), Err(WalletError::Changed(_))), "it is one file");
    fs::remove_file(&place).unwrap();
    let phrase = RecoveryPhrase::parse(WORDS).unwrap();
    for refused in [
        Wallet::open(&path),
        Wallet::open_or_create(&path),
        Wallet::create(&path, None),
        Wallet::recover(&path, phrase, 1, None),
    ] {
        let sentence = refused.err().unwrap().to_string();
        assert!(sentence.contains("is the disk mounted?"), "{sentence}");
    }
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(!fs::exists(&place).unwrap());
}

#[test]
fn a_file_that_is_not_understood_is_left_as_it_is() {
    let (_folder, path) = folder();
    let newer = r#"{"version": 2, "shape": "another"}"#;
    for text in [
        "",
        "{",
        "[]",
        r#"{"version": 1}"#,
        r#"{"version":1,"public_keys":[],"secret":{"plain":"00"}}"#,
        newer,
    ] {
        fs::write(&path, text).unwrap();
        let error = Wallet::open_or_create(&path).unwrap_err();
        assert_eq!(
            matches!(error, WalletError::Newer { version: 2, .. }),
            text == newer,
            "{error}"
        );
        assert!(matches!(Wallet::create(&path, None), Err(WalletError::Exists(_))));
        let phrase = RecoveryPhrase::parse(WORDS).unwrap();
        assert!(Wallet::recover(&path, phrase, 1, None).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_file_that_another_program_changed_is_not_written_over() {
    let (_folder, path) = folder();
    let mut one = Wallet::create(&path, None).unwrap();
    let mut two = Wallet::open(&path).unwrap();
    one.new_address(0).unwrap();
    assert!(matches!(two.new_address(0), Err(WalletError::Changed(_))));
    assert_eq!(two.addresses().len(), 1);
    assert_eq!(Wallet::open(&path).unwrap().addresses(), one.addresses());
}

#[test]
fn a_locked_wallet_lists_and_knows_its_addresses_but_does_not_sign() {
    let (_folder, path) = folder();
    let addresses = sealed(&path).addresses();
    let mut wallet = Wallet::open(&path).unwrap();
    assert!(wallet.is_locked(0));
    assert_eq!(wallet.addresses(), addresses);
    let key = wallet.public_key(&addresses[1].0).unwrap();
    assert_eq!(wallet.sign(&mut spend(&[key]), &NETWORK, 0), Err(SignError::Locked(LockedError)));
    assert!(matches!(wallet.new_address(0), Err(WalletError::Locked(_))));
    assert_eq!(wallet.recovery_phrase(0).unwrap_err(), LockedError);
    let sentence = LockedError.to_string();
    assert!(sentence.contains("unlock") && sentence.contains("--passphrase-file"));

    assert_eq!(wallet.unlock("open barley", None), Err(UnlockError::WrongPassphrase));
    wallet.unlock("open sesame", None).unwrap();
    wallet.sign(&mut spend(&[key]), &NETWORK, 0).unwrap();
    assert_eq!(*wallet.recovery_phrase(0).unwrap().reveal(), WORDS);
    wallet.new_address(0).unwrap();

    wallet.lock().unwrap();
    assert!(wallet.sign(&mut spend(&[key]), &NETWORK, 0).is_err());
    let reopened = Wallet::open(&path).unwrap();
    assert!(reopened.has_passphrase(), "a new address keeps the seal");
    assert_eq!(reopened.addresses().len(), 3);
}

#[test]
fn unlocking_for_a_while_ends_by_itself() {
    let (_folder, path) = folder();
    sealed(&path);
    let mut wallet = Wallet::open(&path).unwrap();
    wallet.unlock("open sesame", Some(1_000)).unwrap();
    assert!(!wallet.is_locked(999));
    assert!(wallet.is_locked(1_000));
    assert!(wallet.is_locked(0), "a clock that goes back opens nothing");
}

#[test]
fn a_wallet_without_passphrase_is_never_locked() {
    let (_folder, path) = folder();
    let mut wallet = Wallet::create(&path, None).unwrap();
    assert_eq!(wallet.lock(), Err(UnlockError::NoPassphrase));
    assert_eq!(wallet.unlock("x", Some(0)), Err(UnlockError::NoPassphrase));
    assert!(!wallet.is_locked(u64::MAX));
    assert!(matches!(
        Wallet::create(&path.with_file_name("w2"), Some("")),
        Err(WalletError::EmptyPassphrase)
    ));
}

#[test]
fn an_address_slipped_into_the_file_is_noticed() {
    let (_folder, path) = folder();
    let mine = sealed(&path).public_keys[1];
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace(&mine.to_string(), &PublicKey([1; 32]).to_string());
    fs::write(&path, text).unwrap();
    let mut wallet = Wallet::open(&path).unwrap();
    let foreign = Address(PublicKey([1; 32]).owner());
    assert_eq!(wallet.unlock("open sesame", None), Err(UnlockError::ForeignAddress(foreign)));
    assert!(wallet.is_locked(0));
}

#[test]
fn signatures_are_of_the_key_the_network_and_the_transaction() {
    let (_folder, path) = folder();
    let mut wallet = sealed(&path);
    let keys = wallet.public_keys.clone();
    let mut transaction = spend(&[keys[1], keys[0]]);
    let txid = wallet.sign(&mut transaction, &NETWORK, 0).unwrap();
    assert_eq!(txid, transaction.txid());
    assert_eq!(verify_signatures(&NETWORK, &[(&transaction, txid)], 1), Ok(()));
    assert!(verify_signatures(&BlockHash([4; 32]), &[(&transaction, txid)], 1).is_err());
}

#[test]
fn a_foreign_input_is_named_and_nothing_is_signed() {
    let (_folder, path) = folder();
    let mut wallet = sealed(&path);
    let foreign = PublicKey([1; 32]);
    let mut transaction = spend(&[wallet.public_keys[0], foreign]);
    let before = transaction.clone();
    let address = Address(foreign.owner());
    assert_eq!(wallet.sign(&mut transaction, &NETWORK, 0), Err(SignError::NotOurs(address)));
    assert_eq!(transaction, before);
    let note = wallet.note(&foreign.owner(), "hello", &NETWORK, 0);
    assert_eq!(note, Err(NoteError::Sign(SignError::NotOurs(address))));
}

#[test]
fn two_notes_of_one_text_are_two_notes() {
    let (_folder, path) = folder();
    let mut wallet = sealed(&path);
    let owner = wallet.first_address().0;
    let note = |wallet: &mut Wallet| wallet.note(&owner, "GoodMorning!", &NETWORK, 0).unwrap();
    assert_ne!(note(&mut wallet).txid(), note(&mut wallet).txid());
    let note = note(&mut wallet);
    assert_eq!(check_transaction(&note), Ok(()));
    assert_eq!(verify_signatures(&NETWORK, &[(&note, note.txid())], 1), Ok(()));
}

#[test]
fn a_phrase_brings_back_the_addresses_that_were_in_use() {
    let (_folder, path) = folder();
    let phrase = RecoveryPhrase::parse(WORDS).unwrap();
    let used = phrase.public_keys(5)[4].owner();
    let wallet = Wallet::recover(&path, phrase.clone(), 5, None).unwrap();
    assert_eq!(wallet.addresses().len(), 5);
    assert_eq!(wallet.addresses()[4], Address(used));
    // A second recovery that found more addresses extends the same wallet.
    assert_eq!(Wallet::recover(&path, phrase.clone(), 7, None).unwrap().addresses().len(), 7);
    assert_eq!(Wallet::recover(&path, phrase, 1, None).unwrap().addresses().len(), 7);
    let other = RecoveryPhrase::generate().unwrap();
    assert!(matches!(Wallet::recover(&path, other, 1, None), Err(WalletError::Exists(_))));
}

#[test]
fn a_locked_wallet_takes_on_addresses_that_a_search_finds_and_signs_for_them_once_unlocked() {
    let (_folder, path) = folder();
    let mut wallet = sealed(&path);
    let keys = wallet.keys_ahead(6, 0).unwrap();
    wallet.lock().unwrap();
    wallet.add_found(&keys[..4]).unwrap();
    wallet.add_found(&keys[..3]).unwrap();
    assert_eq!(wallet.addresses().len(), 4);
    assert_eq!(wallet.keys_ahead(9, 0), Err(LockedError));
    let mut again = Wallet::open(&path).unwrap();
    assert_eq!(again.addresses(), wallet.addresses());
    again.unlock("open sesame", None).unwrap();
    again.add_found(&keys).unwrap();
    again.sign(&mut spend(&keys), &NETWORK, 0).unwrap();
    let foreign = [keys.as_slice(), &[PublicKey([1; 32])]].concat();
    again.add_found(&foreign).unwrap();
    assert_eq!(again.addresses().len(), 6, "no key of another phrase");
}

#[test]
fn no_debug_output_holds_a_secret() {
    let (_folder, path) = folder();
    let phrase = RecoveryPhrase::parse(WORDS).unwrap();
    let plain = Wallet::make(&path, phrase.clone(), 1, None, Cost::TEST).unwrap();
    let file = WalletFile::read(&path).unwrap().0;
    let shown = format!(
        "{plain:?} {plain:#?} {phrase:?} {file:?} {:?} {:?}",
        phrase.entropy(),
        plain.unlocked.as_ref().unwrap().signing_keys
    );
    let secret_key = plain.unlocked.as_ref().unwrap().signing_keys[0].to_bytes();
    let secrets = [
        "7f7f7f7f".to_owned(),
        "127, 127".to_owned(),
        "winner".to_owned(),
        data_encoding::HEXLOWER.encode(&secret_key),
        format!("{secret_key:?}"),
    ];
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} in {shown}");
    }
}

#[test]
fn a_passphrase_is_set_changed_and_removed_and_the_file_keeps_the_addresses() {
    let (_folder, path) = folder();
    let mut wallet =
        Wallet::make(&path, RecoveryPhrase::parse(WORDS).unwrap(), 3, None, Cost::TEST).unwrap();
    let addresses = wallet.addresses();
    let mut change = |old, new| wallet.change_passphrase_at(old, new, Cost::TEST);
    assert!(matches!(change(None, None), Err(PassphraseError::Nothing)));
    assert!(matches!(change(Some("x"), Some("y")), Err(PassphraseError::Unlock(_))));
    change(None, Some("one")).unwrap();
    assert!(!fs::read_to_string(&path).unwrap().contains("plain"));
    assert!(Wallet::open(&path).unwrap().is_locked(0));
    assert!(matches!(change(None, Some("two")), Err(PassphraseError::OldMissing)));
    assert!(matches!(change(Some("two"), Some("two")), Err(PassphraseError::Unlock(_))));
    change(Some("one"), Some("two")).unwrap();
    let mut again = Wallet::open(&path).unwrap();
    assert_eq!(again.unlock("one", None), Err(UnlockError::WrongPassphrase));
    again.unlock("two", None).unwrap();
    assert_eq!(again.addresses(), addresses);
    change(Some("two"), None).unwrap();
    assert!(!Wallet::open(&path).unwrap().is_locked(0));
    assert!(matches!(
        again.change_passphrase_at(Some("two"), Some("three"), Cost::TEST),
        Err(PassphraseError::Wallet(WalletError::Changed(_)))
    ));
    assert!(!fs::exists(beside_of(&path)).unwrap());
}
