//! Arguments of the commands about payments and the passphrase.

use std::path::PathBuf;

use clap::Args;

use super::{args::PassphraseFlag, outcome::CommandError};
use crate::rpc::RpcError;

/// Arguments of `send`: `send AMOUNT TO`, or `send --amount AMOUNT --to TO`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Coins (10, or 0.25), and the recipient: an address or a friend's name
    #[arg(
        value_names = ["AMOUNT", "TO"],
        num_args = 1..,
        allow_negative_numbers = true,
        required_unless_present_all = ["amount", "to"]
    )]
    payment: Vec<String>,
    /// The only address of this wallet that pays [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// An address, or a friend's name
    #[arg(long)]
    to: Option<String>,
    /// Coins: 10, or 0.25
    #[arg(long, allow_hyphen_values = true)]
    amount: Option<String>,
    /// Coins for the miner; auto: enough for the next block [default: 0]
    #[arg(long, allow_hyphen_values = true, value_name = "COINS|auto")]
    pub(crate) fee: Option<String>,
    /// Pay a fee that is much too large for the amount
    #[arg(long)]
    pub(crate) force: bool,
    /// Also spend coins that others sent and that are not mined yet: the sender can take them back
    #[arg(long)]
    pub(crate) unconfirmed: bool,
    /// A text that is written on the chain with the trade
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) memo: Option<String>,
    /// Mine here too, with the reward to the payer, and wait until any node has mined the trade
    #[arg(long)]
    pub(crate) mine: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFlag,
}

impl SendArgs {
    /// Returns the amount and the recipient, from the flags and the words without a flag.
    pub(crate) fn amount_and_recipient(&self) -> Result<(String, String), CommandError> {
        let mut words = self.payment.iter();
        let amount = self.amount.as_ref().or_else(|| words.next());
        let to = self.to.as_ref().or_else(|| words.next());
        match (amount, to, words.next()) {
            (Some(amount), Some(to), None) => Ok((amount.clone(), to.clone())),
            (Some(_), Some(to), Some(_)) if self.payment.len() > 2 => {
                Err(CommandError::Usage(RpcError::new(
                    "usage",
                    format!("a text goes after --memo: send 10 {to} --memo 'tea'"),
                )))
            }
            (_, _, Some(_)) => Err(usage("the amount or the recipient is given twice")),
            (_, None, _) => Err(usage("it is not said who gets the coins")),
            (None, ..) => Err(usage("the amount is missing")),
        }
    }
}

fn usage(what: &str) -> CommandError {
    CommandError::Usage(RpcError::new("usage", format!("{what}: send 10 yjf, for instance")))
}

/// Arguments of `payments`.
#[derive(Debug, Args)]
pub(crate) struct PaymentsArgs {
    /// Maximum number of payments; 0: all [default: 20; with --csv: all]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// Only payments from or to this friend or address
    #[arg(long, value_name = "FRIEND")]
    pub(crate) with: Option<String>,
    /// Leave out block rewards
    #[arg(long)]
    pub(crate) no_rewards: bool,
    /// Write a table for a spreadsheet, as comma-separated values
    #[arg(long)]
    pub(crate) csv: bool,
}

/// Arguments of `change-passphrase`.
#[derive(Debug, Args)]
pub(crate) struct ChangePassphraseArgs {
    /// A file that holds the old passphrase
    #[arg(long, value_name = "FILE")]
    pub(crate) old_file: Option<PathBuf>,
    /// A file that holds the new passphrase; an empty one removes the passphrase
    #[arg(long, value_name = "FILE", conflicts_with = "remove")]
    pub(crate) new_file: Option<PathBuf>,
    /// Remove the passphrase
    #[arg(long)]
    pub(crate) remove: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        send: SendArgs,
    }

    #[test]
    fn amount_and_recipient_are_words_or_flags() {
        let parsed = |line: &str| {
            let words = ["send"].into_iter().chain(line.split_whitespace());
            Line::try_parse_from(words).ok()?.send.amount_and_recipient().ok()
        };
        let both = Some(("10".to_owned(), "yjf".to_owned()));
        for line in [
            "10 yjf",
            "--amount 10 --to yjf --from a",
            "10 --to yjf",
            "yjf --amount 10",
            "10 yjf --memo -tea --fee auto --mine",
        ] {
            assert_eq!(parsed(line), both, "{line}");
        }
        let words = "send 2 nina for the tea".split_whitespace();
        let memo = Line::try_parse_from(words).expect("parsed").send.amount_and_recipient();
        let sentence = memo.expect_err("a memo without its flag").to_string();
        assert!(sentence.contains("--memo"), "{sentence}");
        for line in [
            "",
            "10",
            "--to yjf",
            "--amount 10",
            "10 yjf ann",
            "10 yjf for the tea",
            "10 yjf --to ann",
        ] {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
