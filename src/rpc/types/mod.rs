//! Requests and replies of the RPC, in their JSON form.
//!
//! Users' scripts depend on this JSON, so field names never change. The command line prints the
//! same values under `--json`.
//!
//! - Amounts are decimal strings, in coins (`x`) and in units (`x_units`).
//! - Hashes are hex.
//! - Times are unix milliseconds.
//! - Fields that do not apply are left out.

mod branch;
mod chain;
mod console;
mod friends;
mod node;
mod payments;
mod people;
mod reach;
mod settings;
mod undo;
mod values;
mod wallet;

pub(crate) use branch::{Anchor, BranchAccepted, DivergenceView, ProofMade, ProofReport};
pub(crate) use chain::{
    AuditReport, BalanceReport, BlockList, BlockView, ChainCreated, CreateBlockchain, InputView,
    InviteText, Joined, LeftChain, MinedBlocks, OutputView, RaiseFee, SendTrade, Submitted, TxList,
    TxPlace, TxStateName, TxView, WaitingView, WriteNote,
};
pub(crate) use console::{ConsoleEvent, EventPage, PaymentLoss};
pub(crate) use friends::{
    BroadcastSent, ChatHistory, ChatMessage, ChatSent, ChatState, FriendAccepted, FriendLevel,
    FriendList, FriendView, MarkedRead,
};
pub(crate) use node::{
    BanState, CopyView, PeerList, PeerView, Progress, StatusReport, Stopping, Synced,
};
pub(crate) use payments::{
    ChangePassphrase, KnownNames, PassphraseChanged, PaymentDirection, PaymentList, PaymentView,
    PaymentsRequest, PaymentsSeen, WalletBalance, WalletState,
};
pub(crate) use people::{FriendBlocked, FriendForgotten, Payee, Renamed};
pub(crate) use reach::{
    BackupFile, BackupMade, PathName, Reach, ReachName, ReachView, RouterName, TryFailure, TryView,
};
pub(crate) use settings::{Origin, SettingList, SettingView};
pub(crate) use undo::{Cancel, Resend, VoidedPayment, VoidedPayments};
#[cfg(any(test, fuzzing))]
pub(crate) use values::{Bits, SignedCoins, SignedUnits};
pub(crate) use values::{Coins, FeeChoice, Secret, Units};
pub(crate) use wallet::{
    Account, AddressBalance, AddressList, CreateWallet, LockState, WalletCreated,
};

pub(crate) use crate::sync::Phase;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::primitives::{
        Address, Amount, Block, BlockHash, Header, MerkleRoot, MiningMode, Owner, PeerId,
        PublicKey, Transaction, TxId, TxOutput,
    };

    /// Returns the field names of a JSON object.
    fn fields(value: &impl Serialize) -> BTreeSet<String> {
        let Value::Object(object) = serde_json::to_value(value).expect("JSON") else {
            panic!("no object")
        };
        object.into_iter().map(|(field, _)| field).collect()
    }

    #[track_caller]
    fn assert_fields(value: &impl Serialize, expected: &[&str]) {
        let expected: BTreeSet<_> = expected.iter().map(|&field| field.to_owned()).collect();
        assert_eq!(fields(value), expected);
    }

    fn block() -> BlockView {
        let coinbase = Transaction {
            inputs: Vec::new(),
            outputs: vec![TxOutput { value: Amount::from_coins(100), owner: Owner::ZERO }],
            memo: vec![0; 4],
        };
        let header = Header {
            previous: BlockHash::ZERO,
            merkle_root: MerkleRoot::ZERO,
            height: 3,
            time: 1_700_000_000_000,
            bits: 0x1e03_ffff,
            nonce: u64::MAX,
        };
        let block = Block { header, transactions: vec![coinbase] };
        BlockView::new(BlockHash([1; 32]), &block, &[Amount::ZERO], 5, true)
    }

    #[test]
    fn blocks_and_transactions_keep_the_contract() {
        let block = block();
        assert_fields(
            &block,
            &[
                "hash",
                "height",
                "version",
                "previous_hash",
                "merkle_root",
                "time",
                "bits",
                "nonce",
                "pow",
                "transactions",
            ],
        );
        let value = serde_json::to_value(&block).expect("JSON");
        assert_eq!(value["bits"], "1e03ffff");
        assert_eq!(value["hash"], "01".repeat(32));
        assert_eq!(value["nonce"], u64::MAX);
        let tx = &value["transactions"][0];
        assert_fields(
            tx,
            &[
                "txid",
                "kind",
                "inputs",
                "outputs",
                "fee",
                "state",
                "block",
                "height",
                "confirmations",
            ],
        );
        assert_eq!(
            (&tx["kind"], &tx["state"], &tx["confirmations"]),
            (&json!("coinbase"), &json!("mined"), &json!(3))
        );
        let paid =
            json!({"address": Address(Owner::ZERO), "value": "100", "value_units": "10000000000"});
        assert_eq!(tx["outputs"][0], paid);
        assert_eq!(serde_json::from_value::<BlockView>(value).expect("it reads back"), block);
    }

    #[test]
    fn a_balance_keeps_the_contract() {
        let amount = Amount::from_units;
        let report =
            BalanceReport::new(Address(Owner::ZERO), amount(25_000_000), amount(0), amount(1), 7);
        let expected = json!({
            "address": Address(Owner::ZERO),
            "confirmed": "0.25",
            "confirmed_units": "25000000",
            "pending": "-0.00000001",
            "pending_units": "-1",
            "height": 7,
        });
        let value = serde_json::to_value(&report).expect("JSON");
        assert_eq!(value, expected);
        assert_eq!(serde_json::from_value::<BalanceReport>(value).expect("it reads back"), report);
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let sent = Submitted::waits(TxId::ZERO, false);
        assert_fields(&sent, &["txid", "state", "fee", "rests_on_unconfirmed"]);
        let mined = Submitted { state: TxStateName::Mined, block: Some(BlockHash::ZERO), ..sent };
        let of_mined = ["txid", "state", "block", "fee", "rests_on_unconfirmed"];
        assert_fields(&mined, &of_mined);
        let audit = AuditReport {
            height: 1,
            tip: BlockHash::ZERO,
            coins: 2,
            supply: Coins(Amount::from_coins(200)),
            supply_units: Units(Amount::from_coins(200)),
            coins_hash: "00".repeat(32),
            ok: true,
            problem: None,
        };
        assert_fields(
            &audit,
            &["height", "tip", "coins", "supply", "supply_units", "coins_hash", "ok"],
        );
    }

    #[test]
    fn friends_and_chat_keep_the_contract() {
        let friend = FriendView {
            name: "yzw".to_owned(),
            suffix: "3f2a0000".to_owned(),
            peer_id: PeerId(PublicKey([5; 32])),
            level: FriendLevel::Friend,
            online: false,
            address: None,
            last_seen: None,
            path: None,
            through: None,
            why: None,
        };
        // The fields `address` and `last_seen` are present even if unknown: null.
        let fields = ["name", "suffix", "peer_id", "level", "online", "address", "last_seen"];
        assert_fields(&friend, &fields);
        assert_fields(&ChatSent { id: "a".to_owned(), state: ChatState::Queued }, &["id", "state"]);
        let sent = BroadcastSent { id: "a".to_owned(), peers: 4, later: 1 };
        assert_fields(&sent, &["id", "peers", "later"]);
        assert_eq!(serde_json::to_value(ChatState::Delivered).expect("JSON"), "delivered");
        assert_eq!(serde_json::to_value(MiningMode::OnDemand).expect("JSON"), "on-demand");
        let message = ChatMessage {
            id: "a".to_owned(),
            from: "yzw".to_owned(),
            to: None,
            text: "hi".to_owned(),
            time: 1,
            state: ChatState::Queued,
            left_with: 0,
        };
        assert_fields(&message, &["id", "from", "to", "text", "time", "state"]);
        let left = ChatMessage { left_with: 2, ..message };
        assert_fields(&left, &["id", "from", "to", "text", "time", "state", "left_with"]);
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("open sesame".to_owned());
        assert!(!format!("{secret:?}").contains("sesame"));
        let request = WriteNote { text: "hi".to_owned(), wait: false, passphrase: Some(secret) };
        assert!(!format!("{request:?}").contains("sesame"));
    }

    #[test]
    fn amounts_in_a_request_are_decimal_coins() {
        let request = json!({"from": Address(Owner::ZERO), "to": "yjf", "amount": "0.25"});
        let send: SendTrade = serde_json::from_value(request).expect("a request");
        assert_eq!((send.amount.0.units(), send.fee), (25_000_000, FeeChoice::default()));
        assert!(!send.mine && !send.force && !send.unconfirmed);
        let request = json!({"to": "yjf", "amount": "1", "fee": "auto"});
        let send: SendTrade = serde_json::from_value(request).expect("a request");
        assert_eq!((send.from, send.fee), (None, FeeChoice::Auto));
        let request = json!({"from": Address(Owner::ZERO), "to": "yjf", "amount": 0.25});
        assert!(serde_json::from_value::<SendTrade>(request).is_err(), "a number is not exact");
    }
}
