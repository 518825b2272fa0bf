//! `template` builds blocks to mine on the tip.

use super::{
    api::{Early, Template},
    errors::ChainFault,
    state::{Chain, TemplateKey},
};
use crate::{
    consensus::{MAX_BLOCK_BYTES, SUBSIDY, min_time, next_bits},
    primitives::{
        Amount, Block, HEADER_BYTES, Header, MerkleRoot, Owner, Transaction, TxOutput, UnixMillis,
        coinbase_memo, sha256,
    },
};

/// Bytes of a block without its trades: header, transaction count, and a coinbase with one output.
const FRAME_BYTES: usize = HEADER_BYTES + 4 + 128;

impl Chain {
    /// Returns a block to mine on the tip that pays `owner`, complete except for the nonce.
    /// Its time is `now`, or the earliest time that the rules allow if that is later.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn template(&mut self, owner: Owner, now: UnixMillis) -> Result<Template, ChainFault> {
        let tip = self.tree.tip();
        let key =
            TemplateKey { owner, tip: self.tree.node(tip).hash, mempool: self.mempool.changes() };
        let window = self.window_after(tip)?;
        let time = now.max(min_time(&window));
        let bits = next_bits(&self.network, &window, time);
        self.window = Some(window);
        let mut template = match self.template.take() {
            Some((made_from, template)) if made_from == key => template,
            _ => self.new_template(&key),
        };
        template.block.header.time = time;
        template.block.header.bits = bits;
        let due = time.saturating_sub(self.network.params.future_limit_ms());
        let ms = due.saturating_sub(now);
        template.early = (ms > 0).then_some(Early { due, ms });
        let height = self.tree.node(tip).height;
        template.below_checkpoint =
            self.checkpoint.is_some_and(|checkpoint| height < checkpoint.height);
        self.template = Some((key, template.clone()));
        Ok(template)
    }

    /// Builds a template without time and bits.
    fn new_template(&mut self, key: &TemplateKey) -> Template {
        self.generation = self.generation.wrapping_add(1);
        let height = self.tip().height.saturating_add(1);
        let chosen = self.mempool.select(MAX_BLOCK_BYTES.saturating_sub(FRAME_BYTES));
        let fees: Amount = chosen.iter().map(|waiting| waiting.entry.fee).sum();
        let extra =
            sha256(&[&self.options.nonce_seed.to_le_bytes(), &self.generation.to_le_bytes()]);
        let coinbase = Transaction {
            inputs: Vec::new(),
            outputs: vec![TxOutput { value: SUBSIDY.saturating_add(fees), owner: key.owner }],
            memo: coinbase_memo(height, &extra[..8]),
        };
        let has_local = chosen.iter().any(|waiting| waiting.entry.local);
        let has_trades = !chosen.is_empty();
        let mut transactions = vec![coinbase];
        transactions
            .extend(chosen.iter().map(|waiting| Transaction::clone(&waiting.entry.transaction)));
        let previous = key.tip;
        let header =
            Header { previous, merkle_root: MerkleRoot::ZERO, height, time: 0, bits: 0, nonce: 0 };
        let mut block = Block { header, transactions };
        block.header.merkle_root = block.computed_merkle_root();
        Template {
            block,
            generation: self.generation,
            has_local,
            has_trades,
            early: None,
            below_checkpoint: false,
        }
    }
}
