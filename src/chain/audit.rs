//! The whole chain, checked from genesis, and its tables rebuilt from its blocks.

use std::collections::HashMap;

use redb::ReadableTable as _;
use sha2::{Digest, Sha256};

use super::{
    api::ChainAudit,
    errors::ChainFault,
    ledger::{self, Body, Refusal},
    state::{Chain, load_tree},
    store::tables::{ReadTables, coin_from_bytes, place_from_bytes, stored, tx_key},
};
use crate::{
    consensus::{Coin, CoinKey, HeaderWindow, Work, check_body, check_header},
    primitives::{Amount, Block, Height, UnixMillis},
};

/// What the coins table holds.
struct CoinsSummary {
    coins: u64,
    supply: Amount,
    hash: [u8; 32],
}

/// Why an audit did not get through.
enum Finding {
    /// Something does not agree, as a sentence.
    Problem(String),
    /// The disk failed, or nobody waits any more.
    Fault(ChainFault),
}

impl<E: Into<ChainFault>> From<E> for Finding {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

fn summarise(tables: &ReadTables) -> Result<CoinsSummary, ChainFault> {
    let (mut coins, mut supply, mut hasher) = (0u64, Amount::ZERO, Sha256::new());
    for entry in tables.coins.iter()? {
        let (key, value) = entry?;
        hasher.update(key.value());
        hasher.update(value.value());
        let coin = coin_from_bytes(value.value());
        coins = coins.saturating_add(u64::from(!coin.is_stamp()));
        supply = supply.saturating_add(coin.value);
    }
    Ok(CoinsSummary { coins, supply, hash: hasher.finalize().into() })
}

impl Chain {
    /// SHA-256 over every entry of the coins table in key order: two chains with one tip have one hash.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn coins_hash(&mut self) -> Result<[u8; 32], ChainFault> {
        self.commit()?;
        Ok(summarise(&self.overlay.store().read()?)?.hash)
    }

    /// Checks everything from genesis: headers, bodies, signatures, coins, undo records and index.
    ///
    /// `progress` is given heights done and to do, and says whether to go on.
    ///
    /// # Errors
    /// When the disk fails. That something does not agree is no error but the answer.
    pub fn verify(&mut self, progress: &mut dyn FnMut(Height, Height) -> bool) -> Result<ChainAudit, ChainFault> {
        self.commit()?;
        let tables = self.overlay.store().read()?;
        let summary = summarise(&tables)?;
        let problem = match self.walk(&tables, progress) {
            Ok(coins) => compare(&tables, coins)?,
            Err(Finding::Problem(problem)) => Some(problem),
            Err(Finding::Fault(ChainFault::Corrupt(reason))) => Some(reason),
            Err(Finding::Fault(fault)) => return Err(fault),
        };
        Ok(self.audit(&summary, problem))
    }

    fn audit(&self, summary: &CoinsSummary, problem: Option<String>) -> ChainAudit {
        let tip = self.tip();
        ChainAudit {
            height: tip.height,
            tip: tip.hash,
            coins: summary.coins,
            supply: summary.supply,
            coins_hash: summary.hash,
            ok: problem.is_none(),
            problem,
        }
    }

    /// Connects the best chain once more, in a map of its own; the coins that result.
    fn walk(
        &self,
        tables: &ReadTables,
        progress: &mut dyn FnMut(Height, Height) -> bool,
    ) -> Result<HashMap<CoinKey, Coin>, Finding> {
        let tip = self.tip().height;
        let mut coins = HashMap::new();
        let mut window = HeaderWindow::genesis(&self.network);
        let mut work = Work::ZERO;
        for height in 0..=tip {
            let id = self.tree.connected_at(height).ok_or_else(|| problem(height, "is not in the tree"))?;
            let node = self.tree.node(id);
            let key = node.key();
            let record = tables.header(&key)?.ok_or_else(|| problem(height, "has no header"))?;
            let bytes = tables.blocks.get(&key)?.ok_or_else(|| problem(height, "has no body"))?;
            let block: Block = stored(&format!("block {height}"), bytes.value())?;
            let body = if height == 0 {
                if block != self.network.genesis {
                    return Err(problem(height, "is not the genesis"));
                }
                work = self.network.genesis_work();
                Body::from_store(block)
            } else {
                // Its own time is the latest clock that it needed.
                let checked = check_header(&record.header, &self.network, &window, record.header.time)
                    .map_err(|error| problem(height, &error.to_string()))?;
                window.push(&checked);
                work = work.saturating_add(checked.work());
                let names = check_body(&block, &checked).map_err(|error| problem(height, &error.to_string()))?;
                Body::new(std::sync::Arc::new(block), names)
            };
            if work != record.work {
                return Err(problem(height, "has another cumulative work than stored"));
            }
            let undo = ledger::connect(&mut coins, &self.network, &body, self.options.threads, |_| false);
            let undo = undo.map_err(|refusal| match refusal {
                Refusal::Rule(error) => problem(height, &error.to_string()),
                Refusal::Fault(fault) => Finding::Fault(fault),
            })?;
            let kept = tables.undo.get(&key)?.ok_or_else(|| problem(height, "has no undo record"))?;
            if stored::<super::store::tables::Undo>("an undo record", kept.value())? != undo {
                return Err(problem(height, "has a wrong undo record"));
            }
            for (position, txid) in (0u32..).zip(&body.txids) {
                let place = tables.tx_index.get(tx_key(txid))?.map(|place| place_from_bytes(*place.value()));
                if place != Some((height, position)) {
                    return Err(problem(height, &format!("has transaction {txid}, which the index does not know")));
                }
            }
            if !progress(height, tip) {
                return Err(Finding::Fault(ChainFault::Cancelled));
            }
        }
        Ok(coins)
    }

    /// Rebuilds coins, undo records and index from the stored blocks; `ok` says whether the old coins agreed.
    ///
    /// What is done is committed in parts: after a crash in the middle, opening goes on where it stopped.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn reindex(
        &mut self,
        now: UnixMillis,
        progress: &mut dyn FnMut(Height, Height) -> bool,
    ) -> Result<ChainAudit, ChainFault> {
        self.commit()?;
        let before = (self.tip(), summarise(&self.overlay.store().read()?)?.hash);
        self.overlay.reset()?;
        self.tree = {
            let tables = self.overlay.store().read()?;
            let index = std::sync::Arc::clone(self.tree.index());
            load_tree(&tables, &self.network)?.with_index(index)
        };
        self.window = None;
        self.template = None;
        self.catch_up(now, progress)?;
        self.recheck_mempool()?;
        self.commit()?;
        let summary = summarise(&self.overlay.store().read()?)?;
        let tip = self.tip();
        let problem = if tip.hash != before.0.hash {
            Some(format!("the blocks lead to {} at height {}, not to {}", tip.hash, tip.height, before.0.hash))
        } else if summary.hash != before.1 {
            Some("the old coins were not those that the blocks lead to; they are now".to_owned())
        } else {
            None
        };
        Ok(self.audit(&summary, problem))
    }
}

fn problem(height: Height, what: &str) -> Finding {
    Finding::Problem(format!("block {height} {what}"))
}

/// Compares the coins table with the coins that the blocks lead to.
fn compare(tables: &ReadTables, mut coins: HashMap<CoinKey, Coin>) -> Result<Option<String>, ChainFault> {
    let name = |key: &CoinKey| format!("{}:{}", key.outpoint.txid, key.outpoint.index);
    for entry in tables.coins.iter()? {
        let (key, value) = entry?;
        let key = CoinKey::from_bytes(key.value());
        if coins.remove(&key) != Some(coin_from_bytes(value.value())) {
            return Ok(Some(format!("the coin {} is stored, but the blocks do not lead to it", name(&key))));
        }
    }
    Ok(coins.keys().next().map(|key| format!("the blocks lead to the coin {}, which is not stored", name(key))))
}
