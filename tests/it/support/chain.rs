//! Queries the chain through commands, for several tests.

use serde_json::Value;

use super::{Folder, eventually, holds};

impl Folder {
    /// Returns a new address of the wallet.
    #[track_caller]
    pub(crate) fn new_address(&self) -> String {
        text(&self.json(["create-wallet"])["address"])
    }

    /// Makes a chain whose blocks are cheap to mine, and returns the genesis hash.
    #[track_caller]
    pub(crate) fn create_chain(&self, address: &str) -> String {
        let args = ["create-blockchain", "--address", address, "--spacing", "0", "--bits", "8"];
        text(&self.json(args)["network_id"])
    }

    /// Returns an invite to the folder's chain, as a newcomer gets it.
    #[track_caller]
    pub(crate) fn invite(&self) -> String {
        text(&self.json(["invite"])["invite"])
    }

    /// Makes the users of both folders friends, while their nodes run.
    #[track_caller]
    pub(crate) fn befriends(&self, other: &Self) {
        for (one, other) in [(self, other), (other, self)] {
            let id = other.json(["status"])["peer_id"].as_str().expect("an id").to_owned();
            assert_eq!(one.json(["accept-friend", &id])["peer_id"], id.as_str());
        }
    }

    /// Joins the chain of another folder.
    #[track_caller]
    pub(crate) fn join(&self, other: &Self) {
        self.json(["join", &other.invite()]);
    }

    /// Creates folders of two friends with a chain of their own. On the built-in network they would
    /// meet other nodes at the chat room's meeting place on this machine.
    #[track_caller]
    pub(crate) fn apart_from_others(&self, friend: &Self) {
        self.create_chain(&self.new_address());
        friend.join(self);
    }

    /// Returns the confirmed balance of an address in coins.
    #[track_caller]
    pub(crate) fn balance(&self, address: &str) -> String {
        text(&self.json(["get-balance", "--address", address])["confirmed"])
    }

    /// Sends coins without mining, and returns the id of the acknowledged trade.
    #[track_caller]
    pub(crate) fn send(&self, from: &str, to: &str, amount: &str) -> String {
        let answer = self.json(["send", "--from", from, "--to", to, "--amount", amount]);
        assert_eq!(answer["state"], "mempool", "{answer}");
        text(&answer["txid"])
    }

    /// Mines blocks and returns their hashes.
    #[track_caller]
    pub(crate) fn mine(&self, count: usize, to: Option<&str>) -> Vec<String> {
        let count_text = count.to_string();
        let mut args = vec!["mine", &count_text];
        if let Some(address) = to {
            args.extend(["--to", address]);
        }
        let answer = self.json(args);
        let blocks: Vec<_> =
            answer["blocks"].as_array().expect("blocks").iter().map(text).collect();
        assert_eq!(blocks.len(), count, "{answer}");
        blocks
    }

    /// Returns every block, newest first.
    #[track_caller]
    pub(crate) fn blocks(&self) -> Vec<Value> {
        let answer = self.json(["print-chain", "--limit", "1000000"]);
        answer["blocks"].as_array().expect("blocks").clone()
    }

    /// Returns every transaction of the chain.
    #[track_caller]
    pub(crate) fn transactions(&self) -> Vec<Value> {
        let of = |block: &Value| block["transactions"].as_array().expect("transactions").clone();
        self.blocks().iter().flat_map(of).collect()
    }

    /// Counts how often a transaction is in the chain.
    #[track_caller]
    pub(crate) fn count_of(&self, txid: &str) -> usize {
        self.transactions().iter().filter(|transaction| transaction["txid"] == txid).count()
    }

    /// Counts the notes of the chain with exactly this text.
    #[track_caller]
    pub(crate) fn notes_saying(&self, words: &str) -> usize {
        self.transactions().iter().filter(|tx| tx["kind"] == "note" && tx["memo"] == words).count()
    }

    /// Returns the ids of the mempool's entries.
    #[track_caller]
    pub(crate) fn mempool(&self) -> Vec<String> {
        let answer = self.json(["mempool"]);
        answer["transactions"]
            .as_array()
            .expect("transactions")
            .iter()
            .map(|tx| text(&tx["txid"]))
            .collect()
    }

    /// Returns height and hash of the tip.
    #[track_caller]
    pub(crate) fn tip(&self) -> (u64, String) {
        let newest = self.json(["print-chain", "--limit", "1"]);
        let block = &newest["blocks"][0];
        (number(&block["height"]), text(&block["hash"]))
    }

    /// Verifies everything from genesis, and checks that exactly 100 coins per block exist. Returns
    /// the audit.
    #[track_caller]
    pub(crate) fn assert_sound(&self) -> Value {
        let audit = self.json(["verify-chain"]);
        assert_eq!(audit["ok"], true, "{audit}");
        let expected = (100 * (number(&audit["height"]) + 1)).to_string();
        assert_eq!(text(&audit["supply"]), expected, "100 coins a block: {audit}");
        audit
    }
}

/// Waits until all folders have the same tip at `height` or above. Returns its height and hash.
#[track_caller]
pub(crate) fn await_one_tip(folders: &[&Folder], height: u64) -> (u64, String) {
    eventually(&format!("one tip everywhere, at {height} or above"), || {
        let tips: Vec<_> = folders.iter().map(|folder| folder.tip()).collect();
        holds(tips.iter().all(|tip| *tip == tips[0] && tip.0 >= height), &tips)?;
        Ok(tips[0].clone())
    })
}

/// Returns the content of a JSON string.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

/// Returns the content of a JSON number.
#[track_caller]
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a whole number: {value}"))
}
