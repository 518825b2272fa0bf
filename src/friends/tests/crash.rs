//! Tests a crash after each write: every acknowledged change of chat is in the file, once, and the
//! node continues from there.

use super::*;
use crate::{
    friends::history::MAX_HISTORY,
    storage::crash::{CrashDisk, Unsynced},
};

/// A change of chat that the node acknowledged.
enum Ack {
    Sent(MessageId),
    Delivered(MessageId),
    Received(SignedLine),
}

fn open(disk: &CrashDisk) -> Friends {
    Friends::on_backend(disk.clone(), Key::new(0).config(NETWORK)).unwrap()
}

/// Writes and receives some lines. Returns each acknowledgement, with the number of disk operations
/// before it.
fn talk(disk: &CrashDisk) -> Vec<(usize, Ack)> {
    let (mut friends, yjf) = (open(disk), Key::new(1));
    friends.set_own_profile("yzw", &[], None, NOW).unwrap();
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let mut acks = Vec::new();
    for round in 0..6 {
        let now = NOW + round * MINUTE;
        let sent = friends.direct(yjf.peer, &format!("to {round}"), now).unwrap();
        acks.push((disk.operations(), Ack::Sent(sent.id)));
        let line = yjf.line(Some(Key::new(0).peer), &format!("from {round}"), now, round);
        friends.receive_direct(yjf.peer, line.clone(), now).unwrap();
        acks.push((disk.operations(), Ack::Received(line)));
        if round % 2 == 0 {
            assert!(friends.delivered(yjf.peer, sent.id).unwrap());
            acks.push((disk.operations(), Ack::Delivered(sent.id)));
        }
    }
    acks
}

/// Checks that `left` holds each change that was acknowledged before operation `cut`.
fn check(left: &CrashDisk, acks: &[(usize, Ack)], cut: usize) {
    let (mut friends, yjf) = (open(left), Key::new(1));
    let later = NOW + 60 * MINUTE;
    let waiting: HashSet<_> =
        friends.outbox_for(&yjf.peer, 100).unwrap().into_iter().map(|sent| sent.id).collect();
    let history = friends.history(None, MAX_HISTORY).unwrap();
    let ids: HashSet<_> = history.iter().map(|record| record.id).collect();
    assert_eq!(ids.len(), history.len(), "after {cut}: a line is kept twice");
    for (_, ack) in acks.iter().filter(|(done, _)| *done <= cut) {
        match ack {
            Ack::Sent(id) => {
                let record = history.iter().find(|record| record.id == *id);
                let record =
                    record.unwrap_or_else(|| panic!("after {cut}: a line that was taken is lost"));
                let queued = record.state == LineState::Queued;
                assert_eq!(
                    queued,
                    waiting.contains(id),
                    "after {cut}: it waits exactly while it is queued"
                );
            }
            Ack::Delivered(id) => {
                assert!(!waiting.contains(id), "after {cut}: what is delivered is not sent again");
            }
            Ack::Received(line) => {
                let again = friends.receive_direct(yjf.peer, line.clone(), later).unwrap();
                assert_eq!(again, Receipt::Known, "after {cut}: a line that was kept is lost");
            }
        }
    }
    // A counter that went back would give two lines the same id.
    let next = friends.direct(yjf.peer, "to 0", NOW).unwrap();
    assert!(!ids.contains(&next.id), "after {cut}: an id is used twice");
}

#[test]
fn a_power_cut_after_any_write_loses_no_line_that_was_acknowledged() {
    let disk = CrashDisk::default();
    drop(open(&disk));
    let disk = disk.restarted();
    let acks = talk(&disk);
    let seeds = std::env::var("FRIENDCHAIN_CRASH_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    for cut in 0..=disk.operations() {
        let torn = (0..seeds).map(|seed: u64| Unsynced::Some(seed << 32 | cut as u64));
        for unsynced in [Unsynced::All, Unsynced::None].into_iter().chain(torn) {
            check(&disk.after_crash(cut, unsynced), &acks, cut);
        }
    }
}
