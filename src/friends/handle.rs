//! The thread that owns [`Friends`], and the handle with which the node calls it.
//!
//! A bounded channel leads from the handles to the thread, and each command has one reply. The
//! thread runs commands in the order sent, and ends when the last handle is dropped. Only this
//! thread opens `friends.redb`.
//!
//! The commands that wait in the queue share one commit, at most [`BATCH`] of them. Their replies
//! and events follow the commit.

use std::{
    io,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    AddressSource, Answer, ChatError, ChatRecord, Departure, FindError, Found, FriendInfo, Friends,
    FriendsEvent, JudgedProfile, KeepError, KeptLine, KnownPeer, Missed, OwnProfileError,
    PayeeInfo, ProfileError, ProfileReceipt, Receipt, ReceiveError, SealedError, SentLine,
    StoreFault, ToLeave,
};
use crate::{
    peers::Ban,
    primitives::{Owner, PeerId, UnixMillis},
    storage::{contain, copy_private},
    wire::{LineIds, MessageId, Refusal, SealedLine, SignedLine, SignedProfile, SignedQuit},
};

/// Length of the command queue. With a quarter of it in use, the node serves only friends; with
/// half of it, nobody. See [`FriendsHandle::is_busy_for`].
const QUEUE: usize = 256;

/// The most commands that share one commit, so that the first of them does not wait for long.
const BATCH: usize = 64;

/// Runs a command and those queued behind it, in one commit. If a command to shut down is among
/// them, returns the oneshot for its reply, and does not run the commands behind it.
fn run_batch(
    friends: &mut Friends,
    first: FriendsCommand,
    inbox: &mut mpsc::Receiver<FriendsCommand>,
) -> Option<oneshot::Sender<()>> {
    let mut closing = None;
    let mut next = Some(first);
    friends.begin_batch();
    for left in (0..BATCH).rev() {
        match next.take() {
            None => break,
            Some(FriendsCommand::ShutDown { reply }) => {
                closing = Some(reply);
                break;
            }
            Some(command) => command.run(friends),
        }
        next = if left > 0 { inbox.try_recv().ok() } else { None };
    }
    friends.commit_batch();
    closing
}

/// Starts the thread. It ends when the last handle is dropped; the file is closed once it is
/// joined.
pub(crate) fn spawn(friends: Friends) -> io::Result<(FriendsHandle, thread::JoinHandle<()>)> {
    let (commands, mut inbox) = mpsc::channel::<FriendsCommand>(QUEUE);
    let (events, kept) = (friends.events.clone(), friends.kept.count());
    let handle = FriendsHandle { commands, events, kept };
    let thread = thread::Builder::new().name("friends".to_owned()).spawn(move || {
        let mut friends = ManuallyDrop::new(friends);
        let mut closing = None;
        while let Some(command) = inbox.blocking_recv() {
            // redb panics on some damaged pages. The database is then in an unknown state. Even
            // dropping it would write to the file, which could lose data.
            match contain(|| run_batch(&mut friends, command, &mut inbox)) {
                Ok(reply) => closing = reply,
                Err(reason) => {
                    tracing::error!(reason, "friends.redb is damaged: the friends thread stops");
                    return;
                }
            }
            if friends.has_failed() {
                tracing::error!("friends.redb could not be written: the friends thread stops");
                break;
            }
            if closing.is_some() {
                break;
            }
        }
        if let Err(reason) = contain(|| drop(ManuallyDrop::into_inner(friends))) {
            tracing::error!(reason, "friends.redb could not be closed");
        }
        if let Some(reply) = closing {
            // The caller may have stopped waiting for the reply.
            let _ = reply.send(());
        }
    })?;
    Ok((handle, thread))
}

/// A cloneable handle to the friends thread.
///
/// Each async method has the name of the [`Friends`] method that the thread runs. It waits for the
/// result, and therefore for the disk.
///
/// # Errors
/// Each method fails with [`StoreFault::Stopped`] once the thread has ended.
///
/// # Cancel safety
/// A command that was sent runs even if its caller stops waiting.
#[derive(Debug, Clone)]
pub(crate) struct FriendsHandle {
    commands: mpsc::Sender<FriendsCommand>,
    events: broadcast::Sender<FriendsEvent>,
    kept: Arc<AtomicU64>,
}

impl FriendsHandle {
    /// Returns the number of sealed lines that this node keeps for friends who are away.
    #[must_use]
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// True if the queue is too long for a request or gossip from a friend, or from another peer.
    /// The node then replies Busy or ignores the gossip.
    ///
    /// # Security
    /// Others get half of a friend's part, so that their lines never make a friend's wait or fail.
    #[must_use]
    pub(crate) fn is_busy_for(&self, is_friend: bool) -> bool {
        let most = if is_friend { QUEUE / 2 } else { QUEUE / 4 };
        QUEUE.saturating_sub(self.commands.capacity()) >= most
    }

    /// True if the thread has ended.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Ends the thread, even if there are other handles. Returns when the file is closed.
    pub(crate) async fn shut_down(&self) {
        let (reply, closed) = oneshot::channel();
        // A thread that has ended has closed its file.
        if self.commands.send(FriendsCommand::ShutDown { reply }).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// Returns the events from now on. A subscriber more than 256 events behind misses some.
    #[must_use]
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<FriendsEvent> {
        self.events.subscribe()
    }
}

/// Copies the file `from` to a new private file. This thread is the only writer, so the copy has
/// the state of the last commit.
fn copy_file(from: &Path, to: PathBuf) -> Result<(), StoreFault> {
    copy_private(from, &to).map_err(|error| StoreFault::Io { path: to, reason: error.to_string() })
}

/// Declares each command once: its variant, the handle's method, and the call that the thread
/// makes.
macro_rules! commands {
    ($(
        $variant:ident $method:ident ( $($argument:ident : $ty:ty),* ) -> Result<$ok:ty, $error:ty>
            = |$friends:ident| $run:expr;
    )+) => {
        #[derive(Debug)]
        enum FriendsCommand {
            /// Ends the thread even if there are other handles; the reply follows the closing.
            ShutDown { reply: oneshot::Sender<()> },
            $( $variant { $($argument: $ty,)* reply: oneshot::Sender<Result<$ok, $error>> }, )+
        }

        impl FriendsCommand {
            fn run(self, friends: &mut Friends) {
                match self {
                    // The thread's loop handles this one itself.
                    Self::ShutDown { .. } => {}
                    $( Self::$variant { $($argument,)* reply } => {
                        let result = { let $friends = &mut *friends; $run };
                        // The caller may have stopped waiting.
                        friends.announce(move || drop(reply.send(result)));
                    } )+
                }
            }
        }

        impl FriendsHandle {
            $(
                pub(crate) async fn $method(&self, $($argument: $ty),*) -> Result<$ok, $error> {
                    let (reply, answer) = oneshot::channel();
                    let command = FriendsCommand::$variant { $($argument,)* reply };
                    self.commands.send(command).await.map_err(|_| StoreFault::Stopped)?;
                    answer.await.map_err(|_| StoreFault::Stopped)?
                }
            )+
        }
    };
}

commands! {
    SetOwnProfile set_own_profile(
        name: String, addresses: Vec<String>, payment: Option<Owner>, now: UnixMillis
    ) -> Result<SignedProfile, OwnProfileError>
        = |friends| friends.set_own_profile(&name, &addresses, payment, now);
    OwnName own_name() -> Result<Option<String>, StoreFault>
        = |friends| Ok(friends.own_name().map(str::to_owned));
    SetOwnName set_own_name(name: String) -> Result<String, OwnProfileError>
        = |friends| friends.set_own_name(&name);
    StartNamed start_named(given: Option<String>, default: String)
        -> Result<String, OwnProfileError>
        = |friends| friends.start_named(given.as_deref(), &default);
    KeepProfile keep_profile(profile: SignedProfile, by: PeerId, now: UnixMillis)
        -> Result<ProfileReceipt, ProfileError>
        = |friends| friends.keep_profile(profile, by, now);
    KeepProfiles keep_profiles(profiles: Vec<SignedProfile>, by: PeerId, now: UnixMillis)
        -> Result<Vec<JudgedProfile>, StoreFault>
        = |friends| Ok(friends.keep_profiles(profiles, by, now));
    KeepFriends keep_friends(peers: Vec<PeerId>, now: UnixMillis) -> Result<(), StoreFault>
        = |friends| friends.keep_friends(&peers, now);
    Accept accept(text: String, now: UnixMillis) -> Result<(PeerId, String), FindError>
        = |friends| friends.accept(&text, now);
    ExploreAnswer explore_answer(to: PeerId, now: UnixMillis)
        -> Result<Vec<SignedProfile>, StoreFault>
        = |friends| Ok(friends.explore_answer(&to, now));
    Forget forget(text: String, now: UnixMillis) -> Result<(PeerId, String), FindError>
        = |friends| friends.forget(&text, now);
    Block block(text: String, now: UnixMillis) -> Result<(PeerId, String), FindError>
        = |friends| friends.block(&text, now);
    Unblock unblock(text: String) -> Result<(PeerId, String), FindError>
        = |friends| friends.unblock(&text);
    Blocked blocked() -> Result<Vec<PeerId>, StoreFault> = |friends| Ok(friends.blocked());
    List list(now: UnixMillis) -> Result<Vec<FriendInfo>, StoreFault>
        = |friends| Ok(friends.list(now));
    Friend friend(peer: PeerId) -> Result<Option<FriendInfo>, StoreFault>
        = |friends| Ok(friends.friend(&peer));
    Resolve resolve(text: String) -> Result<PeerId, FindError>
        = |friends| friends.resolve(&text).map_err(FindError::from);
    ResolveAnybody resolve_anybody(text: String) -> Result<PeerId, FindError>
        = |friends| friends.resolve_anybody(&text).map_err(FindError::from);
    ResolveToPay resolve_to_pay(text: String) -> Result<(PeerId, Owner), FindError>
        = |friends| friends.resolve_to_pay(&text);
    Payee payee(text: String) -> Result<PayeeInfo, FindError>
        = |friends| friends.payee(&text).map_err(FindError::from);
    Online online(peer: PeerId, now: UnixMillis) -> Result<(), StoreFault>
        = |friends| friends.online(peer, now);
    Offline offline(peer: PeerId, how: Departure, now: UnixMillis) -> Result<(), StoreFault>
        = |friends| friends.offline(peer, how, now);
    Direct direct(to: PeerId, text: String, now: UnixMillis) -> Result<SentLine, ChatError>
        = |friends| friends.direct(to, &text, now);
    Broadcast broadcast(text: String, now: UnixMillis) -> Result<SentLine, ChatError>
        = |friends| friends.broadcast(&text, now);
    Goodbye goodbye(now: UnixMillis) -> Result<SignedQuit, StoreFault>
        = |friends| friends.goodbye(now);
    OutboxFor outbox_for(peer: PeerId, limit: usize) -> Result<Vec<SentLine>, StoreFault>
        = |friends| friends.outbox_for(&peer, limit);
    OutboxPeers outbox_peers() -> Result<Vec<PeerId>, StoreFault>
        = |friends| friends.outbox_peers();
    Delivered delivered(to: PeerId, id: MessageId) -> Result<bool, StoreFault>
        = |friends| friends.delivered(to, id);
    Refused refused(by: PeerId, id: MessageId, why: Refusal) -> Result<bool, StoreFault>
        = |friends| friends.refused(by, id, why);
    ReceiveDirect receive_direct(sender: PeerId, line: SignedLine, now: UnixMillis)
        -> Result<Receipt, ReceiveError>
        = |friends| friends.receive_direct(sender, line, now);
    ToLeaveFor to_leave(to: PeerId, candidates: Vec<PeerId>, limit: usize, now: UnixMillis)
        -> Result<Vec<ToLeave>, StoreFault>
        = |friends| friends.to_leave(&to, &candidates, limit, now);
    LeftWith left_with(to: PeerId, id: MessageId, carriers: Vec<PeerId>, now: UnixMillis)
        -> Result<(), StoreFault>
        = |friends| friends.left_with(to, id, &carriers, now);
    KeepSealed keep_sealed(by: PeerId, line: SealedLine, now: UnixMillis) -> Result<(), KeepError>
        = |friends| friends.keep_sealed(by, &line, now);
    KeptFor kept_for(to: PeerId, limit: usize) -> Result<Vec<KeptLine>, StoreFault>
        = |friends| friends.kept_for(&to, limit);
    DropKept drop_kept(to: PeerId, order: u64) -> Result<(), StoreFault>
        = |friends| friends.drop_kept(to, order);
    DropOldKept drop_old_kept(now: UnixMillis) -> Result<(), StoreFault>
        = |friends| friends.drop_old_kept(now);
    ReceiveSealed receive_sealed(by: PeerId, line: SealedLine, now: UnixMillis)
        -> Result<Receipt, SealedError>
        = |friends| friends.receive_sealed(by, &line, now);
    HearLine hear_line(by: PeerId, line: SignedLine, now: UnixMillis) -> Result<bool, ReceiveError>
        = |friends| friends.hear_line(by, line, now);
    HearQuit hear_quit(by: PeerId, quit: SignedQuit, now: UnixMillis) -> Result<bool, ReceiveError>
        = |friends| friends.hear_quit(by, &quit, now);
    History history(friend: Option<PeerId>, limit: usize) -> Result<Vec<ChatRecord>, StoreFault>
        = |friends| friends.history(friend.as_ref(), limit);
    Search search(friend: Option<PeerId>, word: String, before: u64, limit: usize)
        -> Result<Found, StoreFault>
        = |friends| friends.search(friend.as_ref(), &word, before, limit);
    Unread unread(friend: Option<PeerId>) -> Result<u32, StoreFault>
        = |friends| friends.unread(friend.as_ref());
    MarkRead mark_read() -> Result<u32, StoreFault> = |friends| friends.mark_read();
    LineIdsFor line_ids(to: PeerId, place: u64, now: UnixMillis) -> Result<LineIds, StoreFault>
        = |friends| friends.line_ids(&to, place, now);
    LinesFor lines(to: PeerId, ids: Vec<MessageId>, now: UnixMillis)
        -> Result<Vec<SignedLine>, StoreFault>
        = |friends| friends.lines(&to, &ids, now);
    UnknownLines unknown_lines(ids: Vec<MessageId>) -> Result<Vec<MessageId>, StoreFault>
        = |friends| friends.unknown_lines(ids);
    ReceiveMissed receive_missed(answer: Answer, now: UnixMillis) -> Result<Missed, ReceiveError>
        = |friends| friends.receive_missed(answer, now);
    Requests requests(limit: usize) -> Result<Vec<ChatRecord>, StoreFault>
        = |friends| Ok(friends.requests(limit));
    AddAddresses add_addresses(
        peer: PeerId, addresses: Vec<String>, source: AddressSource, now: UnixMillis
    ) -> Result<(), StoreFault>
        = |friends| friends.add_addresses(peer, &addresses, source, now);
    TouchAddress touch_address(peer: PeerId, address: String, now: UnixMillis)
        -> Result<(), StoreFault>
        = |friends| friends.touch_address(peer, &address, now);
    KnownPeers known_peers(limit: usize) -> Result<Vec<KnownPeer>, StoreFault>
        = |friends| friends.known_peers(limit);
    KeepBan keep_ban(ban: Ban) -> Result<(), StoreFault> = |friends| friends.keep_ban(ban);
    ForgetBan forget_ban(peer: PeerId) -> Result<(), StoreFault>
        = |friends| friends.forget_ban(peer);
    Bans bans(now: UnixMillis) -> Result<Vec<Ban>, StoreFault> = |friends| friends.bans(now);
    CopyTo copy_to(from: PathBuf, to: PathBuf) -> Result<(), StoreFault>
        = |_friends| copy_file(&from, to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_full_for_others_has_as_much_room_again_for_friends() {
        let (commands, _inbox) = mpsc::channel(QUEUE);
        let events = broadcast::Sender::new(1);
        let handle = FriendsHandle { commands, events, kept: Arc::default() };
        let mut served = [0, 0];
        for _ in 0..QUEUE {
            for (served, is_friend) in served.iter_mut().zip([true, false]) {
                *served += usize::from(!handle.is_busy_for(is_friend));
            }
            let reply = oneshot::channel().0;
            handle.commands.try_send(FriendsCommand::OutboxPeers { reply }).expect("room");
        }
        assert_eq!(served, [QUEUE / 2, QUEUE / 4]);
    }
}
