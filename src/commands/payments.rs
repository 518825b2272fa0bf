//! The commands `balance` and `payments`: the wallet's coins, and its history.

use std::io::{self, Write};

use super::{args::PaymentsArgs, outcome::CommandError, payments_text, session::Session};
use crate::rpc::{
    FriendchainApiClient,
    types::{PaymentList, PaymentsRequest},
};

/// Number of payments in the list if the user gives no limit.
const LISTED: u32 = 20;

/// Number of payments per request: replies stay small, even with the longest memos.
const PAGE: u32 = 500;

pub(super) async fn balance(session: &mut Session<'_>) -> Result<(), CommandError> {
    let balance = session.client.balance().await?;
    session.write(&balance, |out| payments_text::write_wallet_balance(out, &balance))
}

pub(super) async fn payments(
    session: &mut Session<'_>,
    args: PaymentsArgs,
) -> Result<(), CommandError> {
    let limit = match args.limit {
        None if args.csv => u32::MAX,
        None => LISTED,
        Some(0) => u32::MAX,
        Some(limit) => limit,
    };
    let with = args.with.map(|with| with.trim().to_owned());
    let without_rewards = args.no_rewards;
    let mut request = PaymentsRequest { limit: None, with, without_rewards, after: None };
    let (mut list, mut left) = (PaymentList::default(), limit);
    if args.csv {
        payments_text::write_csv_head(session.answer.out)?;
    }
    while left > 0 {
        let asked = left.min(PAGE);
        request.limit = Some(asked);
        let page = session.showing(session.client.payments(request.clone())).await?;
        let count = u32::try_from(page.payments.len()).unwrap_or(u32::MAX);
        request.after = page.payments.last().map(|last| last.txid);
        list.older = page.older;
        if args.csv {
            for payment in &page.payments {
                payments_text::write_csv_row(session.answer.out, payment)?;
            }
        } else {
            list.payments.extend(page.payments);
        }
        left = left.saturating_sub(count);
        if count < asked {
            break;
        }
    }
    if args.csv {
        if list.older > 0 {
            // On stderr, so that stdout holds only the table.
            let mut notes = io::stderr();
            writeln!(notes, "{} older payments are not in the table.", list.older)?;
        }
        return Ok(());
    }
    session.write(&list, |out| payments_text::write_payments(out, &list))
}
