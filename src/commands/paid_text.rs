//! The console's line about a received payment.

use crate::{
    primitives::{Height, shown},
    rpc::types::Coins,
};

/// Formats a received payment: `yzw paid you 10: for the tea (waiting)`.
pub(super) fn paid_line(
    from: Option<&str>,
    amount: Coins,
    memo: Option<&str>,
    height: Option<Height>,
) -> String {
    let from = from.unwrap_or("somebody");
    let memo = memo.map(|memo| format!(": {}", shown(memo).replace('\n', " "))).unwrap_or_default();
    let place = match height {
        Some(height) => format!("in block {height}"),
        None => "waiting".to_owned(),
    };
    format!("* {from} paid you {amount}{memo} ({place})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::Amount;

    #[test]
    fn the_payee_is_told_who_paid_and_where_the_payment_is() {
        let ten = Coins(Amount::from_coins(10));
        assert_eq!(
            paid_line(Some("yzw"), ten, Some("for the tea"), None),
            "* yzw paid you 10: for the tea (waiting)"
        );
        assert_eq!(paid_line(None, ten, None, Some(12)), "* somebody paid you 10 (in block 12)");
    }
}
