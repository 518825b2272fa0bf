//! The first screen of a console: the last lines of the chat, and the unread ones.

use super::view::View;
use crate::rpc::{
    Client, FriendchainApiClient,
    types::{ChatHistory, ChatMessage, ChatState},
};

/// The number of lines that a console shows first.
const LAST_LINES: u32 = 15;

/// The most lines that it shows first if more are unread: two screens.
const MOST_LINES: u32 = 50;

/// Returns the last lines of the chat, and marks them as read. Empty if there are none.
pub(super) async fn last_lines(client: &Client, view: &mut View) -> String {
    let ask = |limit| client.history(None, Some(limit), None, None);
    let Ok(mut history) = ask(LAST_LINES).await else { return String::new() };
    if history.unread > LAST_LINES {
        let limit = history.unread.saturating_add(2).min(MOST_LINES);
        history = ask(limit).await.unwrap_or(history);
    }
    let text = write_lines(&history, view);
    mark_read(client).await;
    text
}

/// Returns a line about the payments that came while no console was open, and marks them as seen.
/// Empty if there are none.
pub(super) async fn new_payments(client: &Client, view: &View) -> String {
    let line = match mark_paid(client).await {
        0 => return String::new(),
        1 => "-- 1 payment since you were here: payments lists it --".to_owned(),
        many => format!("-- {many} payments since you were here: payments lists them --"),
    };
    view.dimmed(&line)
}

/// Marks all payments as seen, and returns how many were not.
pub(super) async fn mark_paid(client: &Client) -> u32 {
    client.payments_seen().await.map_or_else(
        |error| {
            tracing::debug!(%error, "the payments were not marked as seen");
            0
        },
        |seen| seen.payments,
    )
}

/// Marks all lines as read, now that they are on a screen.
pub(super) async fn mark_read(client: &Client) {
    if let Err(error) = client.mark_read().await {
        tracing::debug!(%error, "the lines were not marked as read");
    }
}

fn write_lines(history: &ChatHistory, view: &mut View) -> String {
    let unread = usize::try_from(history.unread).unwrap_or(usize::MAX);
    let received = |message: &&ChatMessage| message.state == ChatState::Received;
    let shown = history.messages.iter().filter(received).count();
    let mut before_unread = shown.saturating_sub(unread);
    let mut out = Vec::new();
    let mut head = (unread > 0).then(|| {
        let more = if unread > shown { "; history shows the earlier ones" } else { "" };
        let lines =
            if unread == 1 { "1 unread line".to_owned() } else { format!("{unread} unread lines") };
        format!("-- {lines}{more} --")
    });
    for message in &history.messages {
        if message.state == ChatState::Received {
            if before_unread == 0
                && let Some(head) = head.take()
            {
                out.push(view.dimmed(&head));
            }
            before_unread = before_unread.saturating_sub(1);
        }
        out.push(view.message(message));
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, state: ChatState) -> ChatMessage {
        ChatMessage {
            id: text.to_owned(),
            from: "yjf".to_owned(),
            to: None,
            text: text.to_owned(),
            time: 1_763_000_000_000,
            state,
            left_with: 0,
        }
    }

    #[test]
    fn unread_lines_stand_below_a_line_that_counts_them() {
        let messages = vec![
            message("one", ChatState::Received),
            message("mine", ChatState::Sent),
            message("two", ChatState::Received),
            message("three", ChatState::Received),
        ];
        let text = write_lines(&ChatHistory { messages, unread: 2 }, &mut View::new(false));
        let lines: Vec<_> = text.lines().filter(|line| !line.contains("2025 --")).collect();
        assert!(lines[0].ends_with("yjf to all: one") && lines[1].ends_with(": mine"), "{text}");
        assert_eq!(lines[2], "-- 2 unread lines --");
        assert!(lines[3].ends_with(": two") && lines.len() == 5, "{text}");
    }

    #[test]
    fn more_unread_lines_than_fit_are_counted_too() {
        let messages = vec![message("one", ChatState::Received)];
        let text = write_lines(&ChatHistory { messages, unread: 90 }, &mut View::new(false));
        assert!(text.contains("-- 90 unread lines; history shows the earlier ones --"), "{text}");
    }
}
