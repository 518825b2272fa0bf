//! Invites that are typed or pasted in a console, and the offer to move from the built-in chain
//! `lan` to an invite's chain.
//!
//! An invite may arrive in several rows, as mail programs and terminals break it. No row of it may
//! become a chat line, since it would reach people outside the group.

use std::time::Duration;

use tokio::time::Instant;

use super::words::{is_invite_part, is_known_word};
use crate::{
    commands::joining_text::move_offer,
    consensus::{INVITE_PREFIX, Invite, InviteError, Network},
    primitives::printable,
    rpc::{Client, FriendchainApiClient},
};

/// The wait for the next row of a pasted invite. The rows of a paste arrive together.
const NEXT_ROW: Duration = Duration::from_millis(500);

/// The shortest row that may continue an invite later, in characters. A shorter word is a command
/// or a text.
const LONG_ROW: usize = 20;

/// The next step after a line.
pub(super) enum Step {
    /// The line is not about an invite, and is handled like any other.
    Pass,
    /// The line is a row of an invite, and there is nothing to do yet.
    Nothing,
    /// The answer to the line.
    Say(String),
    /// The command line that runs instead.
    Run(String),
    /// The user agreed to move to the chain of this invite.
    Move(String),
}

/// The invite that a console reads or has offered to move to.
#[derive(Debug, Default)]
pub(super) struct Moving(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// The beginning of an invite.
    Rows {
        text: String,
        /// The moment at which the user learns that rows are missing. `None` afterwards.
        due: Option<Instant>,
    },
    /// An invite was refused, and rows of it may still arrive until this moment.
    Refused(Instant),
    /// The user is asked about a move to the chain of this invite.
    Offered(String),
}

/// The part of a line in an invite.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// The line is no part of an invite.
    None,
    /// The invite goes on, or the line belongs to a refused one.
    More,
    Refused(InviteError),
    Whole(String),
    Agreed(String),
    Stays,
}

impl Moving {
    /// Handles a typed line. `owns_node` is true if the console's process runs the node.
    pub(super) async fn step(&mut self, client: &Client, line: &str, owns_node: bool) -> Step {
        match self.read(line, Instant::now()) {
            Part::None => Step::Pass,
            Part::More => Step::Nothing,
            Part::Refused(error) => Step::Say(error.to_string()),
            Part::Agreed(invite) => Step::Move(invite),
            Part::Stays => Step::Say("This console stays on lan.".to_owned()),
            Part::Whole(invite) => self.offer(client, invite, owns_node).await,
        }
    }

    /// Returns the moment at which [`Moving::missing`] has something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.0 {
            State::Rows { due, .. } => *due,
            _ => None,
        }
    }

    /// True if a line belongs to the invite whose first rows were read.
    pub(super) fn continues(&self, line: &str) -> bool {
        match &self.0 {
            State::Rows { text, due } => continues(text, line, *due, Instant::now()),
            _ => false,
        }
    }

    /// Returns a sentence if rows of an invite are missing. Rows that follow still complete it.
    pub(super) fn missing(&mut self) -> Option<String> {
        let State::Rows { due, .. } = &mut self.0 else { return None };
        due.take()?;
        Some(format!("{}\nIf rows are missing, paste them now.", InviteError::Checksum))
    }

    fn read(&mut self, line: &str, now: Instant) -> Part {
        match std::mem::take(&mut self.0) {
            State::Offered(invite) => match line.trim().to_lowercase().as_str() {
                "y" | "yes" => Part::Agreed(invite),
                "n" | "no" | "" => Part::Stays,
                // Another line is not an answer, and runs as usual.
                _ => self.begin(line, now),
            },
            State::Rows { text, due } => {
                if continues(&text, line, due, now) {
                    self.check(format!("{text}{}", line.trim()), now)
                } else {
                    self.begin(line, now)
                }
            }
            State::Refused(until) if is_row(line, now < until) => {
                self.0 = State::Refused(after(now));
                Part::More
            }
            State::Idle | State::Refused(_) => self.begin(line, now),
        }
    }

    /// Handles a line that continues no invite.
    fn begin(&mut self, line: &str, now: Instant) -> Part {
        invite_in(line).map_or(Part::None, |invite| self.check(invite.to_owned(), now))
    }

    fn check(&mut self, text: String, now: Instant) -> Part {
        let Err(error) = Invite::from_text(&text) else { return Part::Whole(text) };
        if Invite::is_beginning(&text) {
            self.0 = State::Rows { text, due: Some(after(now)) };
            return Part::More;
        }
        self.0 = State::Refused(after(now));
        Part::Refused(error)
    }

    /// Offers to move to the chain of an invite, or returns the reason why it does not.
    async fn offer(&mut self, client: &Client, invite: String, owns_node: bool) -> Step {
        let run = Step::Run(format!("join {invite}"));
        // The command itself reports an error.
        let Ok(status) = client.status().await else { return run };
        let Ok(parsed) = Invite::from_text(&invite) else { return run };
        let wanted = parsed.network();
        let name = printable(&wanted.params.name);
        if status.network_id == wanted.id {
            return Step::Say(format!("This node is on the chain {name} already."));
        }
        if status.network_id != Network::lan().id {
            return run;
        }
        if !owns_node {
            return Step::Say(
                "This node is on lan, and a console cannot move it. In a shell, friendchain join \
                 INVITE does;\nwithout a terminal: friendchain stop, friendchain leave-chain, \
                 friendchain join INVITE."
                    .to_owned(),
            );
        }
        self.0 = State::Offered(invite);
        Step::Say(format!("{} y/n", move_offer(&name)))
    }
}

/// True if a line continues the invite that begins with `text`.
fn continues(text: &str, line: &str, due: Option<Instant>, now: Instant) -> bool {
    let row = line.trim();
    let is_last = !row.is_empty() && Invite::from_text(&format!("{text}{row}")).is_ok();
    is_last || is_row(row, due.is_some_and(|due| now < due))
}

/// Returns the end of the wait for a row that follows one at `now`.
fn after(now: Instant) -> Instant {
    now.checked_add(NEXT_ROW).unwrap_or(now)
}

/// True for a line that may continue an invite. A short one does so only within a paste.
fn is_row(line: &str, is_pasted: bool) -> bool {
    let row = line.trim();
    let is_long = row.len() >= LONG_ROW || (is_pasted && !is_known_word(row));
    is_long && is_invite_part(row)
}

/// Returns the invite of a line `join INVITE`, or of a line that is an invite. A line that begins
/// with a space is text.
fn invite_in(line: &str) -> Option<&str> {
    let line = line.trim_end();
    if line.starts_with(INVITE_PREFIX) {
        return Some(line);
    }
    // As the README shows it for a shell.
    let line = line.strip_prefix("friendchain ").map_or(line, str::trim_start);
    let rest = line.strip_prefix('/').unwrap_or(line).strip_prefix("join")?;
    let invite = rest.trim_start();
    (invite.len() < rest.len() && invite.starts_with(INVITE_PREFIX)).then_some(invite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::Checkpoint;

    fn invite() -> String {
        let network = Network::lan();
        let work = network.genesis_work();
        let checkpoint = Checkpoint { height: 0, hash: network.id, work };
        Invite::new(network, checkpoint, Vec::new()).expect("an invite").to_text()
    }

    /// Returns the invite in rows of some columns; the last one is short.
    fn rows(invite: &str, columns: usize) -> Vec<String> {
        let letters: Vec<char> = invite.chars().collect();
        let mut rows: Vec<String> =
            letters.chunks(columns).map(|row| row.iter().collect()).collect();
        let last = rows.pop().expect("a row");
        let (long, short) = last.split_at(last.len().saturating_sub(3));
        rows.extend([long.to_owned(), short.to_owned()].into_iter().filter(|row| !row.is_empty()));
        rows
    }

    #[test]
    fn only_a_join_with_an_invite_is_about_moving() {
        assert_eq!(invite_in("join friendchain:abc "), Some("friendchain:abc"));
        assert_eq!(invite_in("/join  friendchain:abc"), Some("friendchain:abc"));
        assert_eq!(invite_in("friendchain join friendchain:abc"), Some("friendchain:abc"));
        assert_eq!(invite_in("friendchain:abc"), Some("friendchain:abc"));
        for other in
            ["join", "joinfriendchain:a", "join me", "c yzw join friendchain:a", "y", " join a"]
        {
            assert_eq!(invite_in(other), None, "{other}");
        }
        assert_eq!(invite_in(" friendchain:abc"), None, "a leading space is text");
    }

    #[test]
    fn an_invite_in_rows_is_read_to_its_end_and_none_is_another_line() {
        let invite = invite();
        let now = Instant::now();
        for columns in [40, 79, 80] {
            for first in ["join ", "/join ", ""] {
                let mut moving = Moving::default();
                let mut rows = rows(&invite, columns);
                rows[0] = format!("{first}{}", rows[0]);
                let (last, before) = rows.split_last().expect("rows");
                for row in before {
                    assert_eq!(moving.read(row, now), Part::More, "{row}");
                    assert!(moving.due().is_some());
                }
                assert_eq!(moving.read(last, now), Part::Whole(invite.clone()));
                assert_eq!((moving.due(), moving.missing()), (None, None));
            }
        }
    }

    #[test]
    fn a_cut_invite_is_said_and_its_rest_is_read_later() {
        let invite = invite();
        let rows = rows(&invite, 80);
        let mut moving = Moving::default();
        let now = Instant::now();
        assert_eq!(moving.read(&format!("join {}", rows[0]), now), Part::More);
        let said = moving.missing().expect("a sentence");
        assert!(said.contains("checksum does not fit"), "{said}");
        assert_eq!(moving.missing(), None, "it is said once");
        let later = now + 10 * NEXT_ROW;
        for row in &rows[1..rows.len() - 1] {
            assert_eq!(moving.read(row, later), Part::More);
        }
        let last = rows.last().expect("a row");
        assert_eq!(moving.read(last, later + 10 * NEXT_ROW), Part::Whole(invite.clone()));

        // Any other line ends it, and runs as usual.
        for other in ["", "hello", "la", "b GoodMorning!", "q"] {
            let mut moving = Moving::default();
            assert_eq!(moving.read(&format!("join {}", rows[0]), now), Part::More);
            moving.missing();
            assert_eq!(moving.read(other, later), Part::None, "{other}");
            assert_eq!(moving.read(&rows[1], later), Part::None);
        }
        let mut moving = Moving::default();
        assert_eq!(moving.read("join friendchain:AQEAAAAAAA", now), Part::More);
        assert!(moving.continues(&rows[1]) && !moving.continues("la"));
        assert_eq!(moving.read("la", now), Part::None, "a command is no row, even at once");
    }

    #[test]
    fn the_rows_of_a_damaged_invite_are_no_lines_either() {
        let rows = rows(&invite(), 80);
        let mut moving = Moving::default();
        let now = Instant::now();
        let damaged = format!("join {}.", rows[0]);
        assert!(matches!(moving.read(&damaged, now), Part::Refused(InviteError::Character { .. })));
        for row in &rows[1..] {
            assert_eq!(moving.read(row, now), Part::More, "{row}");
        }
        assert_eq!(moving.read("hello to you", now), Part::None);
        assert_eq!(moving.read("hello", now + 10 * NEXT_ROW), Part::None);
    }
}
