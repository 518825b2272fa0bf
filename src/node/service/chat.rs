//! Sends chat lines and reads the history for the RPC.

use std::time::Duration;

use tokio::time::timeout;

use super::friends::chat_message;
use crate::{
    friends::{ChatRecord, FriendsHandle, in_sent_order},
    node::router::{DirectLine, LineEnd, RouterHandle},
    rpc::{
        RpcError,
        types::{ChatHistory, ChatSent, ChatState},
    },
};

/// The most chat lines in one answer to `history`.
const MAX_HISTORY: u32 = 1_000;
/// The number of chat lines in an answer to `history` without a limit.
const DEFAULT_HISTORY: u32 = 100;
/// The longest text to search for, in bytes: a line has no more.
const MAX_SEARCH_BYTES: usize = 4_096;
/// The longest wait for a friend who answers promptly, so that most lines are reported as
/// delivered. A friend who does not answer causes this wait only once.
const MOMENT: Duration = Duration::from_millis(300);
/// The longest wait for the delivery if the caller asks for it.
const WAIT: Duration = Duration::from_mins(1);

/// Stores a line to one friend, and waits as long as the caller wishes for its delivery.
pub(super) async fn send(
    router: &RouterHandle,
    friend: String,
    text: String,
    wait: Option<bool>,
) -> Result<ChatSent, RpcError> {
    let DirectLine { id, is_prompt, end } = router.chat(friend, text).await?;
    let patience = match wait {
        Some(true) => WAIT,
        None if is_prompt => MOMENT,
        None | Some(false) => Duration::ZERO,
    };
    let state = match timeout(patience, end).await {
        Ok(Ok(LineEnd::Delivered)) => ChatState::Delivered,
        Ok(Ok(LineEnd::Refused(why))) => {
            let sentence = format!(
                "the friend's node refuses the line ({why:?}), and it is not sent again: history \
                 has it"
            );
            return Err(RpcError::new("line_refused", sentence));
        }
        // The node is stopping, or the wait is over.
        Ok(Err(_)) | Err(_) => ChatState::Queued,
    };
    Ok(ChatSent { id: id.to_string(), state })
}

fn limit_of(limit: Option<u32>) -> usize {
    usize::try_from(limit.unwrap_or(DEFAULT_HISTORY).min(MAX_HISTORY)).unwrap_or(usize::MAX)
}

/// Returns the lines of peers who are no friends.
pub(super) async fn requests(
    friends: &FriendsHandle,
    limit: Option<u32>,
    search: Option<String>,
) -> Result<ChatHistory, RpcError> {
    let mut lines = friends.requests(limit_of(limit)).await?;
    if let Some(word) = search.map(|word| word.to_lowercase()) {
        lines.retain(|line| line.text.to_lowercase().contains(&word));
    }
    Ok(answer(lines, 0))
}

/// Returns the newest lines of one friend or of all, or the lines that contain a text.
pub(super) async fn history(
    friends: &FriendsHandle,
    friend: Option<String>,
    limit: Option<u32>,
    search: Option<String>,
) -> Result<ChatHistory, RpcError> {
    let limit = limit_of(limit);
    let peer = match friend {
        Some(friend) => Some(friends.resolve(friend).await?),
        None => None,
    };
    let unread = friends.unread(peer).await?;
    let Some(word) = search else {
        return Ok(answer(friends.history(peer, limit).await?, unread));
    };
    if word.is_empty() || word.len() > MAX_SEARCH_BYTES {
        return Err(RpcError::new(
            "bad_search",
            format!(
                "a text to search for has 1 to {MAX_SEARCH_BYTES} bytes, this one has {}",
                word.len()
            ),
        ));
    }
    let (mut lines, mut before) = (Vec::new(), Some(u64::MAX));
    while let Some(place) = before
        && lines.len() < limit
    {
        let left = limit.saturating_sub(lines.len());
        let found = friends.search(peer, word.clone(), place, left).await?;
        lines.extend(found.records);
        before = found.before;
    }
    lines.reverse();
    Ok(answer(in_sent_order(lines), unread))
}

fn answer(lines: Vec<ChatRecord>, unread: u32) -> ChatHistory {
    ChatHistory { messages: lines.into_iter().map(chat_message).collect(), unread }
}
