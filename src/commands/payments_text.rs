//! The text form of payments: a new payment, the balance, the history, and incoming payments.

use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    look::{Look, fitted, short_address, with_short_ids},
    names::Names,
    table::write_table,
    text,
};
use crate::{
    primitives::{Address, UnixMillis, counted, shown},
    rpc::types::{
        Coins, PaymentDirection, PaymentList, PaymentView, Submitted, TxStateName, WalletBalance,
    },
};

/// Columns of a terminal.
const COLUMNS: usize = 80;

/// Columns of a name or a short address in the table.
const NAME_COLUMNS: usize = 16;

/// Characters with which a spreadsheet may begin a formula, and their full-width forms.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// The columns of the table for spreadsheets.
const CSV_HEAD: &str = "time,direction,with,address,amount,fee,memo,state,confirmations,height,\
     balance,txid";

/// Writes a payment that was just sent: its state, the payee, and unmined coins that it depends on.
pub(super) fn write_sent(
    out: &mut dyn Write,
    sent: &Submitted,
    amount: Coins,
    to: &str,
    names: &Names,
) -> io::Result<()> {
    text::write_submitted(out, "Trade", sent)?;
    let to = match to.parse::<Address>() {
        Ok(address) => match names.of(&address) {
            Some("you") => "yourself".to_owned(),
            Some(name) => format!("{name} ({})", short_address(address)),
            None => address.to_string(),
        },
        Err(_) => to.to_owned(),
    };
    let fee = match sent.fee.0.units() {
        0 => String::new(),
        _ => format!(", with a fee of {}", sent.fee),
    };
    writeln!(out, "It pays {amount} to {to}{fee}.")
}

/// Writes the balance of the whole wallet.
pub(super) fn write_wallet_balance(out: &mut dyn Write, balance: &WalletBalance) -> io::Result<()> {
    writeln!(out, "confirmed    {}", balance.confirmed)?;
    writeln!(out, "settled      {}  (at least 6 blocks deep)", balance.settled)?;
    writeln!(out, "pending in   {}", balance.pending_in)?;
    writeln!(out, "pending out  {}", balance.pending_out)
}

/// Writes the payments as a table of at most 80 columns, each memo below its payment.
pub(super) fn write_payments(out: &mut dyn Write, list: &PaymentList) -> io::Result<()> {
    if list.payments.is_empty() {
        return writeln!(out, "no payments yet: send AMOUNT TO pays, mine earns a reward");
    }
    let rows: Vec<_> = list.payments.iter().map(row).collect();
    let mut table = Vec::new();
    write_table(&mut table, ["time", "amount", "with", "state", "balance"], &rows)?;
    let table = String::from_utf8_lossy(&table);
    let mut lines = table.lines();
    lines.next().iter().try_for_each(|head| writeln!(out, "{head}"))?;
    for (line, payment) in lines.zip(&list.payments) {
        writeln!(out, "{line}")?;
        let below = [payment.memo.clone(), payment.reason.as_deref().map(with_short_ids)];
        for text in below.into_iter().flatten() {
            let line = shown(&text).replace('\n', " ");
            let width = Look::current().width.min(COLUMNS);
            writeln!(out, "  {}", fitted(&line, width.saturating_sub(2)))?;
        }
    }
    if list.older > 0 {
        let older = counted(list.older, "older one is", "older ones are");
        writeln!(out, "{older} in the chain, but no longer at hand.")?;
    }
    Ok(())
}

fn row(payment: &PaymentView) -> [String; 5] {
    let sign = match payment.direction {
        PaymentDirection::In | PaymentDirection::Reward => "+",
        PaymentDirection::Out => "-",
        PaymentDirection::Own => "",
    };
    let with = match (payment.direction, &payment.with, payment.address) {
        (PaymentDirection::Reward, ..) => "block reward".to_owned(),
        (PaymentDirection::Own, ..) => "yourself".to_owned(),
        (_, Some(with), Some(address)) if *with == address.to_string() => short_address(address),
        (_, Some(with), _) => fitted(with, NAME_COLUMNS),
        (_, None, _) => "?".to_owned(),
    };
    let state = match (payment.state, payment.height) {
        (TxStateName::Mempool, _) => "waiting".to_owned(),
        (TxStateName::Mined, Some(height)) => format!("in {height}"),
        (TxStateName::Mined, None) => "mined".to_owned(),
        (TxStateName::Void, _) => "void".to_owned(),
    };
    let balance = payment.balance.map(|balance| balance.to_string()).unwrap_or_default();
    [local(payment.time), format!("{sign}{}", payment.amount), with, state, balance]
}

/// Formats a time by the local clock, to the minute.
fn local(time: UnixMillis) -> String {
    let time = i64::try_from(time).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    let time = TimeZone::system().to_datetime(time.unwrap_or(Timestamp::MAX));
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

/// Writes the head of the table for spreadsheets.
pub(super) fn write_csv_head(out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{CSV_HEAD}\r\n")
}

/// Writes a row of the table for spreadsheets.
///
/// # Security
/// Memos and names come from others. An apostrophe is put before a cell that a spreadsheet would
/// take for a formula.
pub(super) fn write_csv_row(out: &mut dyn Write, payment: &PaymentView) -> io::Result<()> {
    let state = match payment.state {
        TxStateName::Mempool => "waiting",
        TxStateName::Mined => "mined",
        TxStateName::Void => "void",
    };
    let text = |value: Option<String>| value.unwrap_or_default();
    let cells = [
        text::utc(payment.time),
        payment.direction.to_string(),
        text(payment.with.clone()),
        text(payment.address.map(|address| address.to_string())),
        payment.amount.to_string(),
        payment.fee.to_string(),
        text(payment.memo.as_deref().map(shown)),
        state.to_owned(),
        payment.confirmations.to_string(),
        text(payment.height.map(|height| height.to_string())),
        text(payment.balance.map(|balance| balance.to_string())),
        payment.txid.to_string(),
    ];
    let cells: Vec<_> = cells.iter().map(|cell| csv_cell(cell)).collect();
    write!(out, "{}\r\n", cells.join(","))
}

fn csv_cell(text: &str) -> String {
    let guard = if text.trim_start().starts_with(FORMULA) { "'" } else { "" };
    if text.contains(['"', ',', '\r', '\n', '\t']) || !guard.is_empty() {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::{
        primitives::{Amount, Owner, TxId},
        rpc::types::Units,
    };

    fn payment(memo: &str, with: Option<&str>) -> PaymentView {
        let address = Address(Owner([1; 20]));
        PaymentView {
            txid: TxId([7; 32]),
            direction: PaymentDirection::In,
            with: Some(with.map_or_else(|| address.to_string(), str::to_owned)),
            address: Some(address),
            amount: Coins(Amount::from_units(12_345_678_901)),
            amount_units: Units(Amount::from_units(12_345_678_901)),
            fee: Coins::default(),
            fee_units: Units::default(),
            memo: Some(memo.to_owned()),
            state: TxStateName::Mined,
            confirmations: 2,
            time: 1_700_000_000_000,
            block: None,
            height: Some(249_716),
            balance: Some(Coins(Amount::from_units(99_999_999_999))),
            balance_units: None,
            reason: None,
        }
    }

    #[test]
    fn no_cell_of_the_csv_is_a_formula_or_breaks_its_row() {
        for (text, cell) in [
            ("for the tea", "for the tea"),
            ("tea, milk", "\"tea, milk\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("  +1", "\"'  +1\""),
            ("-1", "\"'-1\""),
            ("@a", "\"'@a\""),
            ("＝1", "\"'＝1\""),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
        let mut out = Vec::new();
        write_csv_row(&mut out, &payment("=1", Some("yzw"))).expect("written");
        let row = String::from_utf8(out).expect("text");
        assert_eq!(row.split(',').count(), CSV_HEAD.split(',').count(), "{row}");
        assert!(row.contains(",in,yzw,fc1") && row.contains(",\"'=1\",mined,2,249716,"), "{row}");
    }

    #[test]
    fn the_table_fits_in_80_columns() {
        let payments =
            vec![payment(&"wide 世界 ".repeat(40), Some(&"名".repeat(32))), payment("tea", None)];
        let mut out = Vec::new();
        write_payments(&mut out, &PaymentList { payments, older: 0 }).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(text.lines().all(|line| line.width() <= COLUMNS), "{text}");
        assert!(text.contains("+123.45678901") && text.contains("in 249716"), "{text}");
        assert!(text.contains("fc1qyqszqgpq…"), "{text}");
    }
}
