//! The command `print-chain`: fetches and writes the blocks page by page, newest first.

use super::{
    answer::{Answer, to_json},
    names::Names,
    outcome::CommandError,
    text,
};
use crate::rpc::{Client, FriendchainApiClient, api::MAX_PRINTED_BLOCKS, types::BlockView};

/// The text form of a block. It has no effect on JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockForm {
    /// All fields and transactions.
    Full,
    /// One line for the block, and one for each trade and note.
    Short,
}

/// Writes at most `limit` blocks, from height `from` (default: the tip) downward.
pub(crate) async fn print_chain(
    client: &Client,
    answer: &mut Answer<'_>,
    mut from: Option<u32>,
    limit: Option<u32>,
    form: BlockForm,
) -> Result<(), CommandError> {
    let names = if answer.json { Names::default() } else { Names::ask(client).await };
    let mut left = limit.unwrap_or(u32::MAX);
    let mut is_first = true;
    while left > 0 {
        // The first page is fetched before anything is written, so that an error is the whole
        // answer.
        let page = client.print_chain(from, Some(left.min(MAX_PRINTED_BLOCKS))).await?;
        for block in &page.blocks {
            write_one(answer, block, form, is_first, &names)?;
            is_first = false;
            left = left.saturating_sub(1);
        }
        match page.blocks.last().and_then(|block| block.height.checked_sub(1)) {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    if answer.json {
        let head = if is_first { JSON_HEAD } else { "" };
        writeln!(answer.out, "{head}]}}")?;
    }
    Ok(())
}

/// The JSON document up to its first block.
const JSON_HEAD: &str = r#"{"blocks":["#;

fn write_one(
    answer: &mut Answer<'_>,
    block: &BlockView,
    form: BlockForm,
    is_first: bool,
    names: &Names,
) -> Result<(), CommandError> {
    if answer.json {
        let separator = if is_first { JSON_HEAD } else { "," };
        return Ok(write!(answer.out, "{separator}{}", to_json(block)?)?);
    }
    let _: () = match form {
        BlockForm::Short => text::write_block_short(answer.out, block, names)?,
        BlockForm::Full => text::write_block(answer.out, block, names)?,
    };
    Ok(())
}
