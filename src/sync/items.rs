//! Decoding of the blocks in a response.

use crate::{
    peers::Offence,
    primitives::{Block, BlockHash, Decode, encoding::Reader},
};

/// A decoded block, with its hash and its size in bytes.
pub(super) struct Body {
    pub(super) block: Box<Block>,
    pub(super) hash: BlockHash,
    pub(super) bytes: usize,
}

/// Decodes blocks that follow each other without a gap, at most `most`.
pub(super) fn read_blocks(bytes: &[u8], most: usize) -> Result<Vec<Body>, (Offence, String)> {
    let mut reader = Reader::new(bytes);
    let mut blocks = Vec::new();
    while reader.remaining() > 0 {
        if blocks.len() >= most {
            let reason = format!("more blocks than the {most} that were asked");
            return Err((Offence::WrongAnswer, reason));
        }
        let before = reader.remaining();
        let block = Block::decode(&mut reader)
            .map_err(|error| (Offence::Malformed, format!("instead of a block: {error}")))?;
        let bytes = before.saturating_sub(reader.remaining());
        blocks.push(Body { hash: block.hash(), block: Box::new(block), bytes });
    }
    Ok(blocks)
}
