//! Answers as people read them: on the shell's standard output and in the console alike.

use std::io::{self, Write};

use super::table::write_table;
use crate::{
    primitives::{BlockHash, TransactionKind, UnixMillis},
    rpc::types::{
        Account, AddressList, Anchor, AuditReport, BalanceReport, BlockView, BranchAccepted,
        BroadcastSent, ChatHistory, ChatSent, ChatState, ConsoleEvent, DivergenceView, FriendList,
        FriendView, InviteText, MinedBlocks, PeerList, ProofReport, StatusReport, Submitted,
        TxStateName, TxView,
    },
};

/// Between two blocks, as in the Go seed.
const RULE: &str = "------------------------------------------------------------";

/// A time in UTC, to the second: `2026-11-20 09:43:06 UTC`.
#[must_use]
pub fn utc(time: UnixMillis) -> String {
    let seconds = time / 1_000;
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) =
        (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a count of days since 1970-01-01 (Howard Hinnant's algorithm for dates
/// after 1970).
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// A number of bytes, to one decimal.
fn bytes(count: u64) -> String {
    const STEP: f64 = 1_024.0;
    let mut size = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < STEP {
            return if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") };
        }
        size /= STEP;
    }
    format!("{size:.1} TiB")
}

/// So many of a thing: `1 block`, `2 blocks`.
fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A block as the Go seed prints it, then what is in it.
pub fn write_block(out: &mut dyn Write, block: &BlockView) -> io::Result<()> {
    write_header(out, block)?;
    for tx in &block.transactions {
        writeln!(out)?;
        write_tx(out, tx, false)?;
    }
    writeln!(out, "{RULE}")
}

/// The header alone, as `create-blockchain` shows it.
pub fn write_genesis(out: &mut dyn Write, block: &BlockView) -> io::Result<()> {
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

/// A transaction; with its state where that is not plain from where it stands.
pub fn write_tx(out: &mut dyn Write, tx: &TxView, with_state: bool) -> io::Result<()> {
    writeln!(out, "{} {}", kind_name(tx.kind), tx.txid)?;
    let mut payers: Vec<_> = tx.inputs.iter().map(|input| input.address).collect();
    payers.dedup();
    for payer in payers {
        writeln!(out, "  from {payer}")?;
    }
    for output in &tx.outputs {
        writeln!(out, "  to   {} {}", output.address, output.value)?;
    }
    match &tx.waiting {
        Some(waiting) if tx.fee.0.units() > 0 => {
            writeln!(out, "  fee  {}, {} for each 1,000 bytes", tx.fee, waiting.fee_rate)?;
        }
        None if tx.fee.0.units() > 0 => writeln!(out, "  fee  {}", tx.fee)?,
        _ => {}
    }
    if let Some(memo) = &tx.memo {
        writeln!(out, "  text {memo}")?;
    }
    if !with_state {
        return Ok(());
    }
    match (tx.state, tx.block) {
        (TxStateName::Mined, Some(block)) => {
            writeln!(
                out,
                "  mined in block {block}, {}",
                counted(tx.confirmations as usize, "confirmation")
            )
        }
        (TxStateName::Mined, None) => writeln!(out, "  mined"),
        (TxStateName::Mempool, _) => writeln!(out, "  waits to be mined"),
        (TxStateName::Void, _) => {
            writeln!(
                out,
                "  void: {}",
                tx.reason.as_deref().unwrap_or("it can never be mined any more")
            )
        }
    }
}

/// A block on one line, and its trades and notes: the console's `lb`.
pub fn write_block_short(out: &mut dyn Write, block: &BlockView) -> io::Result<()> {
    writeln!(out, "block {} {} {}", block.height, block.hash, utc(block.time))?;
    for tx in block.transactions.iter().filter(|tx| tx.kind != TransactionKind::Coinbase) {
        let author = tx.inputs.first().map(|input| input.address.to_string()).unwrap_or_default();
        let text = tx.memo.as_deref().unwrap_or_default();
        if tx.kind == TransactionKind::Note {
            writeln!(out, "  note  {author}: {text}")?;
            continue;
        }
        let paid: Vec<_> = tx
            .outputs
            .iter()
            .map(|output| format!("{} to {}", output.value, output.address))
            .collect();
        let separator = if text.is_empty() { "" } else { ": " };
        writeln!(out, "  trade {author} pays {}{separator}{text}", paid.join(", "))?;
    }
    Ok(())
}

/// `Balance of 'A': 190`, and what is pending.
pub fn write_balance(out: &mut dyn Write, balance: &BalanceReport) -> io::Result<()> {
    writeln!(out, "Balance of '{}': {}", balance.address, balance.confirmed)?;
    if !balance.pending.is_zero() {
        let plus = if balance.pending.is_negative() { "" } else { "+" };
        writeln!(out, "Pending: {plus}{}", balance.pending)?;
    }
    Ok(())
}

/// One address a line.
pub fn write_addresses(out: &mut dyn Write, list: &AddressList) -> io::Result<()> {
    list.addresses.iter().try_for_each(|entry| writeln!(out, "{}", entry.address))
}

/// The console's `la`.
pub fn write_account(out: &mut dyn Write, account: &Account) -> io::Result<()> {
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

/// What became of a trade or note.
pub fn write_submitted(out: &mut dyn Write, what: &str, sent: &Submitted) -> io::Result<()> {
    match (sent.state, sent.block) {
        (TxStateName::Mined, Some(block)) => {
            writeln!(out, "Success!")?;
            writeln!(out, "{what} {}: mined in block {block}", sent.txid)?;
        }
        (TxStateName::Mined, None) => writeln!(out, "{what} {}: mined", sent.txid)?,
        (TxStateName::Mempool, _) => {
            writeln!(out, "{what} {}: in the mempool, waiting to be mined", sent.txid)?
        }
        (TxStateName::Void, _) => {
            writeln!(out, "{what} {}: void, it can never be mined any more", sent.txid)?
        }
    }
    if let Some(replaced) = sent.replaces {
        writeln!(out, "It takes the place of {replaced}, which is void.")?;
    }
    for txid in &sent.also_void {
        writeln!(out, "{txid} rested on that one and is void, too: send it again.")?;
    }
    if sent.rests_on_young_coins {
        writeln!(
            out,
            "It rests on rewards fewer than 6 blocks deep: a reorganisation could undo it."
        )?;
    }
    Ok(())
}

/// An invite, and what it lacks.
pub fn write_invite(out: &mut dyn Write, invite: &InviteText) -> io::Result<()> {
    writeln!(out, "{}", invite.invite)
}

/// The hashes of mined blocks.
pub fn write_mined(out: &mut dyn Write, mined: &MinedBlocks) -> io::Result<()> {
    mined.blocks.iter().try_for_each(|hash| writeln!(out, "Mined block {hash}"))
}

/// What a check found.
pub fn write_audit(out: &mut dyn Write, audit: &AuditReport) -> io::Result<()> {
    writeln!(out, "height: {}", audit.height)?;
    writeln!(out, "tip: {}", audit.tip)?;
    writeln!(out, "coins: {}", audit.coins)?;
    writeln!(out, "supply: {}", audit.supply)?;
    writeln!(out, "coins hash: {}", audit.coins_hash)?;
    match &audit.problem {
        _ if audit.ok => writeln!(out, "Everything agrees."),
        Some(problem) => writeln!(out, "NOT OK: {problem}"),
        None => writeln!(out, "NOT OK"),
    }
}

/// The node's state.
pub fn write_status(out: &mut dyn Write, status: &StatusReport) -> io::Result<()> {
    let mut line = |head: &str, value: String| writeln!(out, "{head:<10} {value}");
    line("name", if status.name.is_empty() { "-".to_owned() } else { status.name.clone() })?;
    line("peer id", status.peer_id.to_string())?;
    line("chain", format!("{} {}", status.network_name, status.network_id))?;
    let phase = match (status.blocks_per_second, status.seconds_left) {
        (Some(rate), Some(left)) => {
            format!("{}, {rate} blocks a second, {left} s left", status.phase)
        }
        _ if !status.running => format!("{} (no node runs)", status.phase),
        _ => status.phase.to_string(),
    };
    line("phase", phase)?;
    line("height", format!("{} of {}", status.height, status.best_header_height))?;
    line("tip", status.tip.to_string())?;
    line("work", status.work.clone())?;
    line("peers", status.peers.to_string())?;
    let waiting = match status.fee_floor.0.units() {
        0 => status.mempool.to_string(),
        _ => format!(
            "{}, full: asks others for a fee of {} for each 1,000 bytes",
            status.mempool, status.fee_floor
        ),
    };
    line("mempool", waiting)?;
    line("mining", status.mining.to_string())?;
    if let Some(miner) = status.miner {
        line("miner", miner.to_string())?;
    }
    for address in &status.listen {
        line("listens", address.clone())?;
    }
    if let Some(address) = status.metrics {
        line("metrics", format!("http://{address}/metrics"))?;
    }
    line("disk", bytes(status.disk_bytes))?;
    if let Some(memory) = status.memory_bytes {
        line("memory", bytes(memory))?;
    }
    line("data", status.data_dir.clone())?;
    line("version", status.version.clone())?;
    if let Some(found) = &status.diverged {
        write_divergence(out, found)?;
    }
    if let Some(offset) = status.clock_offset_ms {
        let (minutes, side) =
            (offset.unsigned_abs() / 60_000, if offset < 0 { "behind" } else { "ahead of" });
        let minutes =
            if minutes == 1 { "a minute".to_owned() } else { format!("{minutes} minutes") };
        writeln!(out, "Your clock is {minutes} {side} your friends': set it.")?;
    }
    Ok(())
}

/// The two branches, and what to do.
fn write_divergence(out: &mut dyn Write, found: &DivergenceView) -> io::Result<()> {
    let mut line = |head: &str, value: String| writeln!(out, "{head:<10} {value}");
    line(
        "fork",
        format!("at block {} {}, since {}", found.fork_height, found.fork, utc(found.since)),
    )?;
    for (head, branch) in [("ours", &found.ours), ("theirs", &found.theirs)] {
        line(head, format!("up to block {} {}, work {}", branch.height, branch.tip, branch.work))?;
    }
    let mut advice = found.advice.chars();
    let first = advice.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    writeln!(out, "{first}{}.", advice.as_str())
}

/// The other branch was taken.
pub fn write_accepted(out: &mut dyn Write, accepted: &BranchAccepted) -> io::Result<()> {
    writeln!(out, "Taken: the tip is block {} {}", accepted.height, accepted.tip)
}

/// What a proof is worth.
pub fn write_proof_report(out: &mut dyn Write, report: &ProofReport) -> io::Result<()> {
    if let (Some(kind), Some(txid)) = (report.kind, report.txid) {
        writeln!(out, "{} {txid}", kind_name(kind))?;
        let mut payers: Vec<_> = report.inputs.iter().map(|input| input.address).collect();
        payers.dedup();
        for payer in payers {
            writeln!(out, "  from {payer}")?;
        }
        for output in &report.outputs {
            writeln!(out, "  to   {} {}", output.address, output.value)?;
        }
        if let Some(memo) = &report.memo {
            writeln!(out, "  text {memo}")?;
        }
    }
    if let (Some(block), Some(height), Some(time)) = (report.block, report.height, report.time) {
        writeln!(out, "  in block {height} {block} of {}", utc(time))?;
    }
    match (&report.problem, report.anchor) {
        (None, Some(Anchor::Chain)) => {
            let confirmations = counted(report.confirmations as usize, "confirmation");
            writeln!(out, "VALID: the block is on the best chain here, with {confirmations}.")
        }
        (None, Some(Anchor::Trust)) => writeln!(out, "VALID: the block is the one that you trust."),
        (Some(problem), _) => writeln!(out, "NOT VALID: {problem}"),
        (None, None) => writeln!(out, "NOT VALID"),
    }?;
    report.warning.iter().try_for_each(|warning| writeln!(out, "But {warning}."))
}

/// Connections.
pub fn write_peers(out: &mut dyn Write, list: &PeerList) -> io::Result<()> {
    if list.peers.is_empty() {
        writeln!(out, "no peer is connected")?;
    } else {
        let rows: Vec<_> = list
            .peers
            .iter()
            .map(|peer| {
                [
                    peer.name.clone().unwrap_or_else(|| "-".to_owned()),
                    peer.peer_id.to_string(),
                    peer.score.to_string(),
                    peer.height.map_or_else(|| "-".to_owned(), |height| height.to_string()),
                    if peer.inbound { "in" } else { "out" }.to_owned(),
                    peer.address.clone(),
                ]
            })
            .collect();
        write_table(out, ["name", "peer id", "score", "height", "", "address"], &rows)?;
    }
    list.banned.iter().try_for_each(|peer| writeln!(out, "banned {peer}"))
}

/// A friend as people refer to it: with the suffix where the name alone is not unique.
fn friend_name(friend: &FriendView, list: &FriendList) -> String {
    let shared = list.friends.iter().filter(|other| other.name == friend.name).count() > 1;
    if shared { format!("{}#{}", friend.name, friend.suffix) } else { friend.name.clone() }
}

/// Friends.
pub fn write_friends(out: &mut dyn Write, list: &FriendList) -> io::Result<()> {
    if list.friends.is_empty() {
        return writeln!(
            out,
            "no friends yet: give somebody an invite, or start a second node on the LAN"
        );
    }
    let rows: Vec<_> = list
        .friends
        .iter()
        .map(|friend| {
            [
                friend_name(friend, list),
                if friend.online { "here" } else { "away" }.to_owned(),
                friend.last_seen.map_or_else(|| "-".to_owned(), utc),
                friend.address.map_or_else(|| "-".to_owned(), |address| address.to_string()),
                friend.peer_id.to_string(),
            ]
        })
        .collect();
    write_table(out, ["name", "is", "last seen", "address", "peer id"], &rows)
}

/// What became of a line to one.
pub fn write_chat(out: &mut dyn Write, friend: &str, sent: &ChatSent) -> io::Result<()> {
    match sent.state {
        ChatState::Queued => writeln!(out, "queued: {friend} gets it when back"),
        state => writeln!(out, "{state}"),
    }
}

/// What became of a line to all.
pub fn write_broadcast(out: &mut dyn Write, sent: &BroadcastSent) -> io::Result<()> {
    match sent.peers {
        0 => writeln!(out, "sent, but no friend is here to hear it"),
        peers => writeln!(out, "sent to {}", counted(peers as usize, "friend")),
    }
}

/// Chat that is kept.
pub fn write_history(out: &mut dyn Write, history: &ChatHistory) -> io::Result<()> {
    for message in &history.messages {
        let to = message.to.as_deref().unwrap_or("all");
        let waits = if message.state == ChatState::Queued { " (queued)" } else { "" };
        writeln!(out, "{} {} to {to}: {}{waits}", utc(message.time), message.from, message.text)?;
    }
    Ok(())
}

/// An event of the feed on one line.
#[must_use]
pub fn event_line(event: &ConsoleEvent) -> String {
    match event {
        ConsoleEvent::Chat { from, text, direct: true, .. } => format!("{from}: {text}"),
        ConsoleEvent::Chat { from, text, direct: false, .. } => format!("{from} to all: {text}"),
        ConsoleEvent::ChatDelivered { to, .. } => format!("* {to} got your line"),
        ConsoleEvent::FriendJoined { name, .. } => format!("* {name} is here"),
        ConsoleEvent::FriendLeft { name, quit: true, .. } => format!("* {name} has left"),
        ConsoleEvent::FriendLeft { name, quit: false, .. } => {
            format!("* {name} is gone: the connection was lost")
        }
        ConsoleEvent::BlockConnected { hash, height, count, notes } => {
            let many = if *count > 1 { format!("{count} blocks, up to ") } else { String::new() };
            let notes =
                if notes.is_empty() { String::new() } else { format!(": {}", notes.join(" | ")) };
            format!("* {many}block {height} {hash}{notes}")
        }
        ConsoleEvent::BlockMined { hash, height } => format!("* won block {height} {hash}"),
        ConsoleEvent::Reorganised { tip, height, disconnected } => {
            let left = counted(*disconnected as usize, "block");
            format!(
                "* another branch has more work: {left} left the chain, the tip is {height} {tip}"
            )
        }
        ConsoleEvent::Diverged { tip, height, branch, branch_height, fork_height } => format!(
            "* a branch with more work (up to block {branch_height} {branch}) parts from yours \
             (up to {height} {tip}) at block \
             {fork_height}, too deep to be taken by itself: status says more, accept-branch \
             {branch} takes it"
        ),
        ConsoleEvent::Reunited { tip, height } => {
            format!("* one branch again: the tip is {height} {tip}")
        }
        ConsoleEvent::TradeMined { txid, height, .. } => {
            format!("* your trade {txid} is in block {height}")
        }
        ConsoleEvent::TradeVoid { txid, reason } => {
            format!("* your trade {txid} is void: {reason}")
        }
        ConsoleEvent::Notice { text } => format!("* {text}"),
        ConsoleEvent::Stopping => "* the node stops".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        primitives::{Address, Amount, Height, MerkleRoot, Owner, Transaction, TxId, TxOutput},
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
        let shown = text(|out| write_tx(out, &view, true));
        assert!(shown.contains(&format!("to   {} 10\n", Address(Owner::ZERO))), "{shown}");
        assert!(shown.contains("text tea\n") && shown.contains("3 confirmations"), "{shown}");
    }

    #[test]
    fn events_are_one_line_each() {
        let chat = |direct| ConsoleEvent::Chat {
            from: "yzw".into(),
            text: "Good morning".into(),
            direct,
            time: 0,
        };
        assert_eq!(event_line(&chat(true)), "yzw: Good morning");
        assert_eq!(event_line(&chat(false)), "yzw to all: Good morning");
    }

    #[test]
    fn sizes_are_shown_for_people() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
    }
}
