//! The rows of the outbox: the lines that wait for a friend, and the friends that also keep them.

use redb::ReadableTable as _;

use super::{
    StoreFault,
    conversations::read_line,
    store::{Key32, Tables},
};
use crate::{
    primitives::{NetworkId, PeerId, PublicKey},
    wire::MessageId,
};

/// Returns the range of one friend's keys in the outbox.
pub(super) fn rows_of(friend: &Key32) -> std::ops::RangeInclusive<(&Key32, u64)> {
    (friend, 0)..=(friend, u64::MAX)
}

/// Returns the order of arrival of a line to a friend.
pub(super) fn order_of(
    tables: &Tables<'_>,
    network: &NetworkId,
    to: &PeerId,
    id: MessageId,
) -> Result<Option<u64>, StoreFault> {
    if let Some(order) = tables.chat_ids.get(&id.0)? {
        return Ok(Some(order.value()));
    }
    // The history is full and has dropped the line.
    for row in tables.outbox.range(rows_of(&to.0.0))? {
        let (key, row) = row?;
        if read_line(row.value().1)?.id(network) == id {
            return Ok(Some(key.value().1));
        }
    }
    Ok(None)
}

/// Returns the friends that keep a line of the outbox.
pub(super) fn carriers_of(
    tables: &Tables<'_>,
    to: &PeerId,
    order: u64,
) -> Result<Vec<PeerId>, StoreFault> {
    let (first, last) = ((&to.0.0, order, &[0; 32]), (&to.0.0, order, &[0xff; 32]));
    let mut carriers = Vec::new();
    for row in tables.left.range(first..=last)? {
        carriers.push(PeerId(PublicKey(*row?.0.value().2)));
    }
    Ok(carriers)
}

/// Returns the number of friends that keep a line of the outbox.
pub(super) fn count_left(tables: &Tables<'_>, to: &PeerId, order: u64) -> Result<u32, StoreFault> {
    Ok(u32::try_from(carriers_of(tables, to, order)?.len()).unwrap_or(u32::MAX))
}

/// Removes the record of the friends that keep a line, since it leaves the outbox.
pub(super) fn forget_left(
    tables: &mut Tables<'_>,
    to: &PeerId,
    order: u64,
) -> Result<(), StoreFault> {
    for carrier in carriers_of(tables, to, order)? {
        tables.left.remove((&to.0.0, order, &carrier.0.0))?;
    }
    Ok(())
}
