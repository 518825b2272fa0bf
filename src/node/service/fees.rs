//! Fees of payments: the estimate for the next block, `--fee auto`, and the guard against a slip.

use crate::{
    chain::{BlockFees, FeeRate, PAYING_RATE, estimate},
    consensus::{MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES},
    node::{blocking::blocking, clock::now, parts::ChainParts},
    primitives::Amount,
    rpc::{RpcError, types::FeeChoice},
    wallet::{BuildError, BuiltTrade},
};

/// The blocks below the tip that the estimate uses: one minute on the network `lan`.
const RECENT_BLOCKS: u32 = 6;

/// A fee is refused if it exceeds the amount divided by this, and the estimate times
/// [`MOST_ESTIMATES`].
const AMOUNT_PART: u64 = 10;
const MOST_ESTIMATES: u64 = 100;

/// The hint in the error that a large fee causes.
const WAY_PAST: &str = ", or --force if you mean it";

/// Attempts to build a trade whose fee suits its size. A larger fee may need one more input.
const ROUNDS: usize = 8;

/// The chosen fee, with the estimate if the choice needs it.
pub(super) struct Fees {
    choice: FeeChoice,
    force: bool,
    /// The payment without the fee.
    amount: Amount,
    rate: FeeRate,
    /// The hint at the end of the error for a large fee.
    way_past: &'static str,
}

impl Fees {
    /// Looks up the estimate if the choice needs it.
    pub(super) async fn new(
        chain: &ChainParts,
        choice: FeeChoice,
        force: bool,
        amount: Amount,
    ) -> Result<Self, RpcError> {
        let rate = match choice {
            FeeChoice::Units(fee) if force || !is_large(fee, amount) => FeeRate::ZERO,
            _ => estimated_rate(chain).await?,
        };
        let way_past = WAY_PAST;
        Ok(Self { choice, force, amount, rate, way_past })
    }

    /// Does the same as [`Fees::new`] for `resend`, whose `--force` allows a second payment, but no
    /// large fee.
    pub(super) async fn to_resend(
        chain: &ChainParts,
        choice: FeeChoice,
        amount: Amount,
    ) -> Result<Self, RpcError> {
        let way_past = ", and once it waits, raise-fee --force pays more";
        Ok(Self { way_past, ..Self::new(chain, choice, false, amount).await? })
    }

    /// Returns an upper bound of the trade's fee, to select enough coins.
    pub(super) fn most(&self) -> Amount {
        match self.choice {
            FeeChoice::Units(fee) => fee,
            FeeChoice::Auto => self.rate.fee(MAX_TRANSACTION_BYTES),
        }
    }

    /// Builds the trade with the chosen fee, or with one that suits its size. Returns the fee too.
    pub(super) fn build(
        &self,
        mut build: impl FnMut(Amount) -> Result<BuiltTrade, BuildError>,
    ) -> Result<(BuiltTrade, Amount), RpcError> {
        let fee = match self.choice {
            FeeChoice::Units(fee) => fee,
            FeeChoice::Auto => return self.guarded(self.build_auto(build)?),
        };
        let built = build(fee)?;
        let likely = self.rate.fee(built.transaction.encoded_len());
        if !self.force && is_large(fee, self.amount) && is_absurd(fee, likely) {
            return Err(RpcError::new(
                "fee_too_high",
                format!(
                    "a fee of {fee} is more than a tenth of the amount of {}, and more than \
                     {MOST_ESTIMATES} times the {likely} that the next block asks for: give a \
                     lower --fee, or --fee auto{}",
                    self.amount, self.way_past
                ),
            ));
        }
        Ok((built, fee))
    }

    /// Builds a trade that replaces one with a lower fee. An automatic fee exceeds `before` by at
    /// least the required increment of a replacement.
    pub(super) fn raise(
        &self,
        before: Amount,
        mut build: impl FnMut(Amount) -> Result<BuiltTrade, BuildError>,
    ) -> Result<(BuiltTrade, Amount), RpcError> {
        if self.choice != FeeChoice::Auto {
            return self.build(build);
        }
        let mut added = Amount::from_units(1);
        for _ in 0..ROUNDS {
            let fee = before.saturating_add(added);
            let built = build(fee)?;
            let bytes = built.transaction.encoded_len();
            let step = FeeRate::from_units(PAYING_RATE).fee(bytes);
            let asked = self.rate.fee(bytes).max(before.saturating_add(step));
            if fee >= asked {
                return self.guarded((built, fee));
            }
            added = asked.checked_sub(before).unwrap_or_default();
        }
        let fee = before.saturating_add(added);
        self.guarded((build(fee)?, fee))
    }

    /// Rejects an automatic fee that is large for the amount and for the trade's length.
    ///
    /// # Security
    /// A miner can fill blocks with costly trades to himself, and so raise the estimate.
    fn guarded(&self, done: (BuiltTrade, Amount)) -> Result<(BuiltTrade, Amount), RpcError> {
        let (built, fee) = &done;
        let usual = FeeRate::from_units(PAYING_RATE).fee(built.transaction.encoded_len());
        if self.force || !is_large(*fee, self.amount) || !is_absurd(*fee, usual) {
            return Ok(done);
        }
        Err(RpcError::new(
            "fee_too_high",
            format!(
                "the next block asks for a fee of {fee}, which is more than a tenth of the amount \
                 of {}, and more than {MOST_ESTIMATES} times the usual {usual}: wait, or give a \
                 lower --fee{}",
                self.amount, self.way_past
            ),
        ))
    }

    fn build_auto(
        &self,
        mut build: impl FnMut(Amount) -> Result<BuiltTrade, BuildError>,
    ) -> Result<(BuiltTrade, Amount), BuildError> {
        let mut fee = Amount::ZERO;
        let mut built = build(fee)?;
        for _ in 0..ROUNDS {
            let asked = self.rate.fee(built.transaction.encoded_len());
            if fee >= asked {
                break;
            }
            fee = asked;
            built = build(fee)?;
        }
        Ok((built, fee))
    }
}

fn is_large(fee: Amount, amount: Amount) -> bool {
    fee.units() > amount.units() / AMOUNT_PART
}

fn is_absurd(fee: Amount, likely: Amount) -> bool {
    fee.units() > likely.units().saturating_mul(MOST_ESTIMATES)
}

/// Returns the rate that should bring a trade into the next block.
async fn estimated_rate(chain: &ChainParts) -> Result<FeeRate, RpcError> {
    let waiting = chain.handle.mempool().await?;
    let waiting = waiting.iter().map(|entry| (entry.rate(), entry.bytes)).collect();
    let summary = chain.handle.summary();
    let floor = summary.floor.at(now());
    let reader = chain.reader.clone();
    let recent = blocking(move || {
        let heights = (0..RECENT_BLOCKS).filter_map(|below| summary.tip.height.checked_sub(below));
        let blocks = heights.filter_map(|height| reader.block_at(height));
        let fees = blocks.map(|info| {
            let rates = info.block.transactions.iter().zip(&info.fees);
            let rates = rates.map(|(trade, fee)| FeeRate::of(*fee, trade.encoded_len()));
            let lowest = rates.filter(|rate| !rate.is_free()).min();
            BlockFees { bytes: info.block.encoded_len(), lowest }
        });
        fees.collect::<Vec<_>>()
    });
    Ok(estimate(waiting, floor, &recent.await?, MAX_BLOCK_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::{Owner, Transaction, TxOutput};

    fn built(outputs: usize) -> BuiltTrade {
        let output = TxOutput { value: Amount::from_units(1), owner: Owner::ZERO };
        let transaction =
            Transaction { inputs: Vec::new(), outputs: vec![output; outputs], memo: Vec::new() };
        BuiltTrade {
            transaction,
            rests_on_young_rewards: false,
            rests_on: Vec::new(),
            payer: Owner::ZERO,
        }
    }

    fn fees(choice: FeeChoice, amount: Amount, force: bool) -> Fees {
        Fees { choice, force, amount, rate: FeeRate::from_units(1_000), way_past: WAY_PAST }
    }

    #[test]
    fn a_fee_of_60_on_an_amount_of_1_is_a_slip() {
        let fee = |fee, amount, force| {
            fees(FeeChoice::Units(fee), amount, force).build(|_| Ok(built(2))).map(|(_, fee)| fee)
        };
        let (one, sixty) = (Amount::from_coins(1), Amount::from_coins(60));
        let refused = fee(sixty, one, false).expect_err("refused");
        assert_eq!(refused.code, "fee_too_high");
        assert!(refused.message.contains("--force"), "{refused}");
        assert_eq!(fee(sixty, one, true), Ok(sixty));
        assert_eq!(fee(one, Amount::from_coins(10), false), Ok(one), "a tenth");
        let small = Amount::from_units(50);
        assert_eq!(fee(small, Amount::from_units(10), false), Ok(small), "a little on dust");
        assert_eq!(fee(Amount::ZERO, one, false), Ok(Amount::ZERO));
    }

    #[test]
    fn an_automatic_fee_has_a_ceiling_although_miners_fill_the_blocks() {
        let auto = |rate, force| {
            let rate = FeeRate::from_units(rate);
            Fees { rate, ..fees(FeeChoice::Auto, Amount::from_units(1_000), force) }
        };
        let build = |_| Ok(built(2));
        let (high, usual) = (1_000 * PAYING_RATE, PAYING_RATE);
        let before = Amount::from_units(1);
        for refused in [auto(high, false).build(build), auto(high, false).raise(before, build)] {
            let error = refused.expect_err("refused");
            assert_eq!(error.code, "fee_too_high");
            assert!(error.message.contains("--force"), "{error}");
        }
        assert!(
            auto(high, true).build(build).is_ok() && auto(high, true).raise(before, build).is_ok()
        );
        assert!(auto(usual, false).build(build).is_ok(), "dust pays the usual fee");
        let large = Fees { amount: Amount::from_coins(10), ..auto(high, false) };
        assert!(large.build(build).is_ok(), "less than a tenth");
    }

    #[test]
    fn an_automatic_fee_suits_the_size_that_the_trade_has_with_it() {
        let rate = FeeRate::from_units(1_000);
        let grows = |fee: Amount| Ok(built(if fee > Amount::ZERO { 20 } else { 2 }));
        let fees = fees(FeeChoice::Auto, Amount::from_coins(1), false);
        let (trade, fee) = fees.build(grows).expect("built");
        assert_eq!(fee, rate.fee(trade.transaction.encoded_len()));
        let poor = BuildError::ZeroAmount;
        assert_eq!(fees.build(|_| Err(poor)).expect_err("refused").code, "bad_amount");
    }
}
