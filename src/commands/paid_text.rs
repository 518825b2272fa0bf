//! The console's lines about received payments.

use crate::{
    primitives::shown,
    rpc::types::{ConsoleEvent, PaymentLoss},
};

/// Formats an event of received payments: `yzw paid you 10: for the tea (waiting)`. Empty for any
/// other event.
pub(super) fn paid_line(event: &ConsoleEvent) -> String {
    match event {
        ConsoleEvent::Paid { from, amount, memo, height, replaces, .. } => {
            let from = payer(from.as_deref());
            let memo = memo.as_deref().map(|memo| format!(": {}", shown(memo).replace('\n', " ")));
            let place = match height {
                Some(height) => format!("in block {height}"),
                None => "waiting".to_owned(),
            };
            let replaces = replaces.map(|before| format!("; it replaces the payment of {before}"));
            let (memo, replaces) = (memo.unwrap_or_default(), replaces.unwrap_or_default());
            format!("* {from} paid you {amount}{memo} ({place}{replaces})")
        }
        ConsoleEvent::PaidMany { payments, amount } => {
            format!("* {payments} payments to you came in, {amount} in all: payments lists them")
        }
        ConsoleEvent::PaymentLost { from, amount, loss, .. } => {
            format!("* {}'s payment of {amount} {}", payer(from.as_deref()), fate(*loss))
        }
        _ => String::new(),
    }
}

fn payer(name: Option<&str>) -> &str {
    name.unwrap_or("somebody")
}

/// Says what became of a payment, after its name.
const fn fate(loss: PaymentLoss) -> &'static str {
    match loss {
        PaymentLoss::Replaced => "will not come: another payment took its place",
        PaymentLoss::Spent => "will not come: a block holds another payment of the same coins",
        PaymentLoss::Evicted => "may not come: too many with higher fees wait",
        PaymentLoss::Expired => "may not come: no block took it in time",
        PaymentLoss::NoCoins => "will not come: the coins that it spends are gone",
        PaymentLoss::Unmined => "is no longer in a block, and waits again",
        PaymentLoss::Undone => "is no longer in a block, and will not come",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        primitives::{Amount, Height, TxId},
        rpc::types::Coins,
    };

    const TEN: Coins = Coins(Amount::from_coins(10));

    fn paid(from: Option<&str>, height: Option<Height>, replaces: Option<Coins>) -> String {
        paid_line(&ConsoleEvent::Paid {
            txid: TxId::ZERO,
            from: from.map(str::to_owned),
            amount: TEN,
            memo: from.map(|_| "for the tea".to_owned()),
            height,
            replaces,
        })
    }

    #[test]
    fn the_payee_is_told_who_paid_and_where_the_payment_is() {
        assert_eq!(paid(Some("yzw"), None, None), "* yzw paid you 10: for the tea (waiting)");
        assert_eq!(paid(None, Some(12), None), "* somebody paid you 10 (in block 12)");
        assert_eq!(
            paid(Some("yzw"), None, Some(TEN)),
            "* yzw paid you 10: for the tea (waiting; it replaces the payment of 10)"
        );
    }

    #[test]
    fn the_payee_is_told_that_a_payment_does_not_come() {
        let lost = |from: Option<&str>, loss| {
            let from = from.map(str::to_owned);
            paid_line(&ConsoleEvent::PaymentLost { txid: TxId::ZERO, from, amount: TEN, loss })
        };
        assert_eq!(
            lost(Some("yzw"), PaymentLoss::Replaced),
            "* yzw's payment of 10 will not come: another payment took its place"
        );
        assert_eq!(
            lost(None, PaymentLoss::Unmined),
            "* somebody's payment of 10 is no longer in a block, and waits again"
        );
    }
}
