//! The text form of answers and events, for the shell and the console.

use std::{
    fmt,
    io::{self, Write},
};

use jiff::Timestamp;

pub(crate) use super::lists_text::{write_friends, write_peers};
use super::{
    chat_text, joining_text,
    lists_text::{duration, without_peer_id},
    look::{Look, short, short_address, with_short_ids, write_hanging, write_sentence},
    names::Names,
    paid_text::paid_line,
    reach_text,
    table::write_table,
};
use crate::{
    primitives::{
        Address, BlockHash, Height, TransactionKind, UnixMillis, count_of_blocks, counted, shown,
    },
    rpc::types::{
        Account, AddressBalance, AddressList, Anchor, AuditReport, BalanceReport, BlockView,
        BranchAccepted, ConsoleEvent, DivergenceView, InputView, MinedBlocks, OutputView,
        ProofReport, StatusReport, Submitted, TxList, TxStateName, TxView,
    },
};

/// The line between two blocks, as in the Go seed.
const RULE: &str = "------------------------------------------------------------";

/// Formats a time in UTC, to the second: `2026-11-20 09:43:06 UTC`.
pub(crate) fn utc(time: UnixMillis) -> String {
    // Times after the year 9999 are shown as the last one that jiff knows.
    let time = i64::try_from(time).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    time.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Formats a number of bytes, with one decimal from 1 KiB on.
fn bytes(count: u64) -> String {
    const STEP: f64 = 1_024.0;
    if count < 1_024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / STEP;
    for unit in ["KiB", "MiB", "GiB"] {
        if size < STEP {
            return format!("{size:.1} {unit}");
        }
        size /= STEP;
    }
    format!("{size:.1} TiB")
}

fn confirmations(count: u32) -> String {
    counted(count.into(), "confirmation", "confirmations")
}

/// Writes a line of a list of fields, the values aligned.
fn write_field(out: &mut dyn Write, head: &str, value: impl fmt::Display) -> io::Result<()> {
    write_hanging(out, &format!("{head:<10} "), &value.to_string())
}

/// Writes a block as the Go seed prints it, then its transactions.
pub(super) fn write_block(out: &mut dyn Write, block: &BlockView, names: &Names) -> io::Result<()> {
    write_header(out, block)?;
    for tx in &block.transactions {
        writeln!(out)?;
        write_tx(out, tx, false, names)?;
    }
    writeln!(out, "{RULE}")
}

/// Writes the header alone, as `create-blockchain` shows it.
pub(crate) fn write_genesis(out: &mut dyn Write, block: &BlockView) -> io::Result<()> {
    write_header(out, block)?;
    writeln!(out, "{RULE}")
}

fn write_header(out: &mut dyn Write, block: &BlockView) -> io::Result<()> {
    let previous = if block.previous_hash == BlockHash::ZERO {
        String::new()
    } else {
        format!(" {}", block.previous_hash)
    };
    writeln!(out, "Height: {}", block.height)?;
    writeln!(out, "Prev. version: {}", block.version)?;
    writeln!(out, "Prev. hash:{previous}")?;
    writeln!(out, "merkleroot: {}", block.merkle_root)?;
    writeln!(out, "time: {} ({})", block.time, utc(block.time))?;
    writeln!(out, "nbits: {}", block.bits)?;
    writeln!(out, "nonce: {}", block.nonce)?;
    writeln!(out, "Hash: {}", block.hash)?;
    writeln!(out, "PoW: {}", block.pow)
}

const fn kind_name(kind: TransactionKind) -> &'static str {
    match kind {
        TransactionKind::Coinbase => "coinbase",
        TransactionKind::Trade => "trade",
        TransactionKind::Note => "note",
    }
}

/// Writes the fields that a transaction and its proof have in common.
fn write_parties(
    out: &mut dyn Write,
    inputs: &[InputView],
    outputs: &[OutputView],
    names: &Names,
) -> io::Result<()> {
    let mut payers: Vec<_> = inputs.iter().map(|input| input.address).collect();
    payers.dedup();
    for payer in payers {
        writeln!(out, "  from {}", names.show(&payer))?;
    }
    outputs.iter().try_for_each(|output| {
        let name = names.of(&output.address).map(|name| format!(" ({name})")).unwrap_or_default();
        write_hanging(out, "  to   ", &format!("{} {}{name}", output.address, output.value))
    })
}

fn write_memo(out: &mut dyn Write, memo: Option<&str>) -> io::Result<()> {
    memo.iter().try_for_each(|memo| write_hanging(out, "  text ", &shown(memo)))
}

/// Writes the transactions of the mempool.
pub(super) fn write_mempool(out: &mut dyn Write, list: &TxList, names: &Names) -> io::Result<()> {
    if list.transactions.is_empty() {
        return writeln!(out, "nothing waits to be mined");
    }
    list.transactions.iter().try_for_each(|tx| write_tx(out, tx, false, names))
}

/// Writes a transaction, and its state if `with_state` is set.
pub(super) fn write_tx(
    out: &mut dyn Write,
    tx: &TxView,
    with_state: bool,
    names: &Names,
) -> io::Result<()> {
    writeln!(out, "{} {}", kind_name(tx.kind), short(tx.txid))?;
    write_parties(out, &tx.inputs, &tx.outputs, names)?;
    match &tx.waiting {
        Some(waiting) if tx.fee.0.units() > 0 => {
            writeln!(out, "  fee  {}, {} for each 1,000 bytes", tx.fee, waiting.fee_rate)?;
        }
        None if tx.fee.0.units() > 0 => writeln!(out, "  fee  {}", tx.fee)?,
        _ => {}
    }
    write_memo(out, tx.memo.as_deref())?;
    if !with_state {
        return Ok(());
    }
    match (tx.state, tx.block) {
        (TxStateName::Mined, Some(block)) => {
            let depth = confirmations(tx.confirmations);
            let height = tx.height.map(|height| format!("{height} ")).unwrap_or_default();
            writeln!(out, "  mined in block {height}{}, {depth}", short(block))
        }
        (TxStateName::Mined, None) => writeln!(out, "  mined"),
        (TxStateName::Mempool, _) => writeln!(out, "  waits to be mined"),
        (TxStateName::Void, _) => {
            let reason = tx.reason.as_deref().unwrap_or("it can never be mined any more");
            write_hanging(out, "  void: ", &with_short_ids(reason))
        }
    }
}

/// Writes a block on one line, then its trades and notes: the console's `lb`.
pub(super) fn write_block_short(
    out: &mut dyn Write,
    block: &BlockView,
    names: &Names,
) -> io::Result<()> {
    let named = |party: Address| names.of(&party).map_or_else(|| address(party), str::to_owned);
    writeln!(out, "block {} {} {}", block.height, short(block.hash), utc(block.time))?;
    for tx in block.transactions.iter().filter(|tx| tx.kind != TransactionKind::Coinbase) {
        let author = tx.inputs.first().map(|input| named(input.address)).unwrap_or_default();
        let text = &tx.memo.as_deref().map(shown).unwrap_or_default();
        if tx.kind == TransactionKind::Note {
            write_hanging(out, &format!("  note  {author}: "), text)?;
            continue;
        }
        let payers: Vec<_> = tx.inputs.iter().map(|input| named(input.address)).collect();
        let paid = tx.outputs.iter().map(|output| (output.value, named(output.address)));
        // Change goes back to the payer, and is no payment.
        let (back, mut paid): (Vec<_>, Vec<_>) = paid.partition(|(_, to)| payers.contains(to));
        if paid.is_empty() {
            paid = back;
        }
        let paid: Vec<_> = paid.iter().map(|(value, to)| format!("{value} to {to}")).collect();
        let separator = if text.is_empty() { "" } else { ": " };
        let pays = if author == "you" { "pay" } else { "pays" };
        let said = format!("{author} {pays} {}{separator}{text}", paid.join(", "));
        write_hanging(out, "  trade ", &said)?;
    }
    Ok(())
}

/// Formats an address in a line with several: its start, or all of it if the user asked for that.
fn address(address: Address) -> String {
    if Look::current().full { address.to_string() } else { short_address(address) }
}

/// Writes `Balance of 'A': 190`, and the pending amount if there is one.
pub(crate) fn write_balance(out: &mut dyn Write, balance: &BalanceReport) -> io::Result<()> {
    writeln!(out, "Balance of '{}': {}", balance.address, balance.confirmed)?;
    if !balance.pending.is_zero() {
        let plus = if balance.pending.is_negative() { "" } else { "+" };
        writeln!(out, "Pending: {plus}{}", balance.pending)?;
    }
    Ok(())
}

/// Writes one address on each line, with its balance.
pub(crate) fn write_addresses(out: &mut dyn Write, list: &AddressList) -> io::Result<()> {
    let line = |entry: &AddressBalance| writeln!(out, "{}  {}", entry.address, entry.balance);
    list.addresses.iter().try_for_each(line)
}

/// Writes addresses, balances and blocks won: the console's `la`.
pub(crate) fn write_account(out: &mut dyn Write, account: &Account) -> io::Result<()> {
    if account.addresses.is_empty() {
        return writeln!(out, "no wallet yet: create-wallet makes one");
    }
    let rows: Vec<_> = account
        .addresses
        .iter()
        .map(|entry| [entry.address.to_string(), entry.balance.to_string()])
        .collect();
    write_table(out, ["address", "balance"], &rows)?;
    writeln!(out, "blocks won: {}", account.blocks_won)
}

/// Writes the state of a trade or note that was just submitted. `what` is `Trade` or `Note`.
pub(crate) fn write_submitted(out: &mut dyn Write, what: &str, sent: &Submitted) -> io::Result<()> {
    match (sent.state, sent.block) {
        (TxStateName::Mined, Some(block)) => {
            writeln!(out, "Success!")?;
            writeln!(out, "{what} {}: mined in block {}", short(sent.txid), short(block))?;
        }
        (TxStateName::Mined, None) => writeln!(out, "{what} {}: mined", short(sent.txid))?,
        (TxStateName::Mempool, _) => {
            writeln!(out, "{what} {}: in the mempool, waiting to be mined", short(sent.txid))?;
        }
        (TxStateName::Void, _) => {
            writeln!(out, "{what} {}: void, it can never be mined any more", short(sent.txid))?;
        }
    }
    if let Some(replaced) = sent.replaces {
        writeln!(out, "It takes the place of {}, which is void.", short(replaced))?;
    }
    for txid in sent.also_void.iter().flatten() {
        writeln!(
            out,
            "{} rested on that one and is void, too: resend sends it again.",
            short(txid)
        )?;
    }
    if sent.rests_on_unconfirmed {
        writeln!(out, "It spends coins that wait to be mined themselves.")?;
    }
    if sent.rests_on_young_coins {
        let sentence =
            "It rests on rewards fewer than 6 blocks deep: a reorganisation could undo it.";
        write_sentence(out, sentence)?;
    }
    joining_text::write_who_mines(out, sent)
}

/// Writes the hashes of mined blocks.
pub(crate) fn write_mined(out: &mut dyn Write, mined: &MinedBlocks) -> io::Result<()> {
    mined.blocks.iter().try_for_each(|hash| writeln!(out, "Mined block {}", short(hash)))
}

/// Writes the result of `verify-chain` or `reindex`.
pub(crate) fn write_audit(out: &mut dyn Write, audit: &AuditReport) -> io::Result<()> {
    writeln!(out, "height: {}", audit.height)?;
    writeln!(out, "tip: {}", short(audit.tip))?;
    writeln!(out, "coins: {}", audit.coins)?;
    writeln!(out, "supply: {}", audit.supply)?;
    writeln!(out, "coins hash: {}", audit.coins_hash)?;
    match &audit.problem {
        _ if audit.ok => writeln!(out, "Everything agrees."),
        Some(problem) => write_sentence(out, &format!("NOT OK: {problem}")),
        None => writeln!(out, "NOT OK"),
    }
}

/// Returns the phase in words: why nothing is left to fetch, or why it does not arrive.
pub(crate) fn phase_text(status: &StatusReport) -> String {
    let phase = status.phase;
    match (status.blocks_per_second, status.seconds_left) {
        (Some(rate), Some(left)) => {
            format!("{phase}, {} a second, {left} s left", count_of_blocks(rate))
        }
        _ if !status.running => format!("{phase} (no node runs)"),
        _ if status.is_synced() => {
            let peers = counted(status.proven_peers.into(), "proven peer", "proven peers");
            let age = duration(status.tip_age_ms);
            format!("{phase}, confirmed by {peers}; the tip is {age} old")
        }
        _ => match status.obstacle {
            Some(obstacle) => format!("{phase}: {}", obstacle.text()),
            None => phase.to_string(),
        },
    }
}

/// Writes the node's state.
pub(crate) fn write_status(out: &mut dyn Write, status: &StatusReport) -> io::Result<()> {
    write_field(out, "name", if status.name.is_empty() { "-" } else { &status.name })?;
    write_field(out, "peer id", short(status.peer_id))?;
    write_field(out, "chain", format!("{} {}", status.network_name, short(status.network_id)))?;
    write_field(out, "phase", phase_text(status))?;
    joining_text::write_tries(out, status)?;
    write_field(out, "height", format!("{} of {}", status.height, status.best_header_height))?;
    write_field(out, "tip", short(status.tip))?;
    write_field(out, "work", &status.work)?;
    write_field(out, "peers", status.peers)?;
    if status.kept_lines > 0 {
        let lines = counted(status.kept_lines, "sealed line", "sealed lines");
        write_field(out, "keeps", format!("{lines} for friends who are away"))?;
    }
    let waiting = match status.fee_floor.0.units() {
        0 => status.mempool.to_string(),
        _ => format!(
            "{}, full: asks others for a fee of {} for each 1,000 bytes",
            status.mempool, status.fee_floor
        ),
    };
    write_field(out, "mempool", waiting)?;
    match status.mining_waits_until {
        None => write_field(out, "mining", status.mining)?,
        Some(until) => write_field(
            out,
            "mining",
            format!("{}, waits for the clock until {}", status.mining, utc(until)),
        )?,
    }
    if let Some(miner) = status.miner {
        write_field(out, "miner", miner)?;
    }
    for address in &status.listen {
        write_field(out, "listens", without_peer_id(address))?;
    }
    if let Some(address) = status.metrics {
        write_field(out, "metrics", format!("http://{address}/metrics"))?;
    }
    write_field(out, "disk", bytes(status.disk_bytes))?;
    if let Some(memory) = status.memory_bytes {
        write_field(out, "memory", bytes(memory))?;
    }
    write_field(out, "data", &status.data_dir)?;
    write_field(out, "version", &status.version)?;
    reach_text::write_reach(out, status, utc)?;
    if let Some(found) = &status.diverged {
        write_divergence(out, found)?;
    }
    if let Some(offset) = status.clock_offset_ms {
        let (minutes, side) =
            (offset.unsigned_abs() / 60_000, if offset < 0 { "behind" } else { "ahead of" });
        let minutes = counted(minutes, "minute", "minutes");
        writeln!(out, "Your clock is {minutes} {side} your friends': set it.")?;
    }
    Ok(())
}

/// Writes the two branches of a diverged chain, and the advice on them.
fn write_divergence(out: &mut dyn Write, found: &DivergenceView) -> io::Result<()> {
    write_field(
        out,
        "fork",
        format!("at block {} {}, since {}", found.fork_height, short(found.fork), utc(found.since)),
    )?;
    for (head, branch) in [("ours", &found.ours), ("theirs", &found.theirs)] {
        // The hashes are whole, since friends compare them.
        write_field(out, head, format!("up to block {}, work {}", branch.height, branch.work))?;
        write_field(out, "", branch.tip)?;
    }
    let mut advice = found.advice.chars();
    let first = advice.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    write_sentence(out, &format!("{first}{}.", advice.as_str()))
}

/// Writes the new tip after `accept-branch`.
pub(crate) fn write_accepted(out: &mut dyn Write, accepted: &BranchAccepted) -> io::Result<()> {
    writeln!(out, "Taken: the tip is block {} {}", accepted.height, short(accepted.tip))
}

/// Writes a proof's transaction and block, and the verdict on it.
pub(crate) fn write_proof_report(out: &mut dyn Write, report: &ProofReport) -> io::Result<()> {
    if let (Some(kind), Some(txid)) = (report.kind, report.txid) {
        writeln!(out, "{} {}", kind_name(kind), short(txid))?;
        write_parties(out, &report.inputs, &report.outputs, &Names::default())?;
        write_memo(out, report.memo.as_deref())?;
    }
    if let (Some(block), Some(height), Some(time)) = (report.block, report.height, report.time) {
        writeln!(out, "  in block {height} {} of {}", short(block), utc(time))?;
    }
    match (&report.problem, report.anchor) {
        (None, Some(Anchor::Chain)) => {
            let depth = confirmations(report.confirmations);
            writeln!(out, "VALID: the block is on the best chain here, with {depth}.")
        }
        (None, Some(Anchor::Trust)) => writeln!(out, "VALID: the block is the one that you trust."),
        (Some(problem), _) => write_sentence(out, &format!("NOT VALID: {problem}")),
        (None, None) => writeln!(out, "NOT VALID"),
    }?;
    report.warning.iter().try_for_each(|warning| write_sentence(out, &format!("But {warning}.")))
}

/// Formats an event of the feed on one line.
pub(crate) fn event_line(event: &ConsoleEvent) -> String {
    match event {
        ConsoleEvent::Chat { from, text, direct: true, .. } => format!("{from}: {}", shown(text)),
        ConsoleEvent::Chat { from, text, direct: false, .. } => {
            format!("{from} to all: {}", shown(text))
        }
        ConsoleEvent::ChatSent { to, text, .. } => {
            format!("you to {}: {}", to.as_deref().unwrap_or("all"), shown(text))
        }
        ConsoleEvent::ChatLeft { to, friends, .. } => {
            format!("* {} for {to}", chat_text::left_with(*friends))
        }
        ConsoleEvent::ChatDelivered { to, .. } => format!("* {to} got your line"),
        ConsoleEvent::FriendJoined { name, .. } => format!("* {name} is here"),
        ConsoleEvent::FriendLeft { name, quit: true, .. } => format!("* {name} has left"),
        ConsoleEvent::FriendLeft { name, quit: false, .. } => {
            format!("* {name} is gone: the connection was lost")
        }
        ConsoleEvent::BlockConnected { hash, height, count, notes } => {
            let many = if *count > 1 {
                format!("{}, up to ", count_of_blocks(u64::from(*count)))
            } else {
                String::new()
            };
            let notes = notes.iter().map(|note| shown(note)).collect::<Vec<_>>().join(" | ");
            let notes = if notes.is_empty() { notes } else { format!(": {notes}") };
            format!("* {many}block {height} {}{notes}", short(hash))
        }
        ConsoleEvent::Synced { height, blocks } => {
            format!("* synced: {}, height {height}", count_of_blocks(u64::from(*blocks)))
        }
        ConsoleEvent::Reorganised { tip, height, disconnected } => {
            let (left, tip) = (count_of_blocks((*disconnected).into()), short(tip));
            format!(
                "* another branch has more work: {left} left the chain, and the coins won there \
                 are gone; the tip is {height} {tip}"
            )
        }
        ConsoleEvent::Diverged { tip, height, branch, branch_height, fork_height } => {
            let (tip, branch) = (short(tip), short(branch));
            format!(
                "* a branch with more work (up to block {branch_height} {branch}) parts from yours \
                 (up to {height} {tip}) at block {fork_height}, too deep to be taken by itself: \
                 status says more, accept-branch {branch} takes it"
            )
        }
        ConsoleEvent::Reunited { tip, height } => {
            format!("* one branch again: the tip is {height} {}", short(tip))
        }
        ConsoleEvent::TradeMined { txid, kind, height, was_void, .. } => {
            let (kind, txid) = (kind_name(*kind), short(txid));
            mined_line(kind, &txid, *height, *was_void)
        }
        ConsoleEvent::TradeVoid { txid, kind, reason } => {
            let (kind, txid) = (kind_name(*kind), short(txid));
            format!("* your {kind} {txid} is void: {}", with_short_ids(reason))
        }
        ConsoleEvent::Paid { .. }
        | ConsoleEvent::PaidMany { .. }
        | ConsoleEvent::PaymentLost { .. } => paid_line(event),
        ConsoleEvent::Back { away_ms, friends, lines } => {
            chat_text::back(*away_ms, *friends, *lines)
        }
        ConsoleEvent::Notice { text } => format!("* {}", with_short_ids(text)),
        ConsoleEvent::Stopping => "* the node stops".to_owned(),
    }
}

/// Formats the event that an own trade or note was mined.
fn mined_line(kind: &str, txid: &str, height: Height, was_void: bool) -> String {
    if was_void {
        format!(
            "* your {kind} {txid} was void, and is in block {height} all the same: somebody who \
             had it has sent it on, and it is paid"
        )
    } else {
        format!("* your {kind} {txid} is in block {height}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        primitives::{
            Address, Amount, MerkleRoot, Owner, PeerId, PublicKey, Transaction, TxId, TxOutput,
        },
        rpc::types::{Bits, TxPlace},
    };

    fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("written");
        String::from_utf8(out).expect("text")
    }

    fn genesis() -> BlockView {
        BlockView {
            hash: BlockHash([1; 32]),
            height: 0,
            version: 1,
            previous_hash: BlockHash::ZERO,
            merkle_root: MerkleRoot([2; 32]),
            time: 1_536_984_640_000,
            bits: Bits(0x1e03_ffff),
            nonce: 45_673,
            pow: true,
            transactions: Vec::new(),
        }
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_536_984_640_999), "2018-09-15 04:10:40 UTC");
    }

    #[test]
    fn a_header_looks_as_in_the_go_seed() {
        let shown = text(|out| write_genesis(out, &genesis()));
        for line in [
            "Prev. version: 1",
            "Prev. hash:",
            "nbits: 1e03ffff",
            "nonce: 45673",
            "PoW: true",
            RULE,
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
        }
        assert!(shown.contains("\nHash: 0101"), "{shown}");
    }

    #[test]
    fn a_balance_says_what_is_pending_only_when_something_is() {
        let address = Address(Owner::ZERO);
        let report = |pending_in, pending_out| {
            let amount = Amount::from_coins;
            BalanceReport::new(
                address,
                amount(190),
                amount(pending_in),
                amount(pending_out),
                2 as Height,
            )
        };
        assert_eq!(
            text(|out| write_balance(out, &report(0, 0))),
            format!("Balance of '{address}': 190\n")
        );
        assert!(text(|out| write_balance(out, &report(0, 10))).ends_with("\nPending: -10\n"));
        assert!(text(|out| write_balance(out, &report(3, 0))).ends_with("\nPending: +3\n"));
    }

    #[test]
    fn a_trade_says_whom_it_pays_and_where_it_is() {
        let transaction = Transaction {
            inputs: Vec::new(),
            outputs: vec![TxOutput { value: Amount::from_coins(10), owner: Owner::ZERO }],
            memo: b"\0\0\0\0tea".to_vec(),
        };
        let place = TxPlace::Mined { block: BlockHash([1; 32]), height: 2, tip_height: 4 };
        let view = TxView::new(&transaction, TxId([3; 32]), Amount::ZERO, place);
        assert_eq!(view.confirmations, 3);
        let shown = text(|out| write_tx(out, &view, true, &Names::default()));
        assert!(shown.contains(&format!("to   {} 10\n", Address(Owner::ZERO))), "{shown}");
        assert!(shown.contains("text tea\n") && shown.contains("3 confirmations"), "{shown}");
    }

    #[test]
    fn a_block_on_one_line_says_who_pays_whom_and_leaves_out_change() {
        let (you, other) = (Address(Owner::ZERO), Address(Owner([7; 20])));
        let output =
            |owner: Address, coins| TxOutput { value: Amount::from_coins(coins), owner: owner.0 };
        let transaction = Transaction {
            inputs: vec![],
            outputs: vec![output(other, 1), output(you, 99)],
            memo: vec![],
        };
        let place = TxPlace::Mined { block: BlockHash([1; 32]), height: 2, tip_height: 4 };
        let mut tx = TxView::new(&transaction, TxId([3; 32]), Amount::ZERO, place);
        tx.kind = TransactionKind::Trade;
        tx.inputs = vec![InputView { txid: TxId([4; 32]), index: 0, address: you }];
        let block = BlockView { transactions: vec![tx], ..genesis() };
        let names = Names::known(you, other, "g4");
        let shown = text(|out| write_block_short(out, &block, &names));
        assert!(shown.ends_with("  trade you pay 1 to g4\n"), "{shown}");
    }

    #[test]
    fn events_are_one_line_each() {
        let chat = |direct| ConsoleEvent::Chat {
            id: "a".into(),
            peer_id: PeerId(PublicKey([5; 32])),
            from: "yzw".into(),
            text: "Good morning".into(),
            direct,
            time: 0,
        };
        assert_eq!(event_line(&chat(true)), "yzw: Good morning");
        assert_eq!(event_line(&chat(false)), "yzw to all: Good morning");
        let mined = |kind, was_void| {
            let (txid, block) = (TxId([0x5f; 32]), BlockHash::ZERO);
            event_line(&ConsoleEvent::TradeMined { txid, kind, block, height: 7, was_void })
        };
        let (trade, note) = (TransactionKind::Trade, TransactionKind::Note);
        assert_eq!(mined(trade, false), "* your trade 5f5f5f5f5f5f is in block 7");
        assert_eq!(mined(note, false), "* your note 5f5f5f5f5f5f is in block 7");
        assert!(mined(trade, true).contains("was void, and is in block 7 all the same"));
    }

    #[test]
    fn sizes_are_shown_for_people() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
    }
}
