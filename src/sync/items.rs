//! Decoding of blocks in responses.

use crate::{
    peers::Offence,
    primitives::{Block, BlockHash, encoding},
    wire::Item,
};

/// Decodes the block in an item, and checks that it is the requested one.
pub(super) fn read_block(
    item: &Item,
    asked: &BlockHash,
) -> Result<Option<Box<Block>>, (Offence, String)> {
    match item {
        Item::NotFound => Ok(None),
        Item::Trade(_) => {
            Err((Offence::WrongAnswer, format!("a trade instead of the block {asked}")))
        }
        Item::Block(bytes) => {
            let block: Block = encoding::from_bytes(bytes).map_err(|error| {
                (Offence::Malformed, format!("instead of the block {asked}: {error}"))
            })?;
            match block.hash() {
                hash if hash == *asked => Ok(Some(Box::new(block))),
                other => {
                    Err((Offence::WrongAnswer, format!("the block {other} instead of {asked}")))
                }
            }
        }
    }
}
