//! The thread that owns [`Friends`], and the handle that hides the channel to it.
//!
//! Commands are bounded, each has one answer, and they are done in the order sent. The thread ends
//! when the last handle is dropped. Nobody but this thread touches `friends.redb`.

use std::{io, mem::ManuallyDrop, thread};

use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    AddressSource, ChatError, ChatRecord, Departure, FindError, FriendInfo, Friends, FriendsEvent,
    Kept, KnownPeer, OwnProfileError, ProfileError, QuitReceipt, Receipt, ReceiveError, SentLine,
    StoreFault,
};
use crate::{
    peers::Ban,
    primitives::{Owner, PeerId, UnixMillis},
    storage::contain,
    wire::{MessageId, Refusal, SignedLine, SignedProfile, SignedQuit},
};

/// Commands that wait at most; when half of them do, [`FriendsHandle::is_busy`].
const QUEUE: usize = 256;

/// Starts the thread. It ends when the last handle is dropped; joining it then makes sure that the
/// file is closed.
pub fn spawn(friends: Friends) -> io::Result<(FriendsHandle, thread::JoinHandle<()>)> {
    let (commands, mut inbox) = mpsc::channel::<FriendsCommand>(QUEUE);
    let handle = FriendsHandle { commands, events: friends.events.clone() };
    let thread = thread::Builder::new().name("friends".to_owned()).spawn(move || {
        let mut friends = ManuallyDrop::new(friends);
        let mut closing = None;
        while let Some(command) = inbox.blocking_recv() {
            if let FriendsCommand::ShutDown { reply } = command {
                closing = Some(reply);
                break;
            }
            // redb panics on some damaged pages. What that left half done is not touched again, not
            // even to close it.
            if let Err(reason) = contain(|| command.run(&mut friends)) {
                tracing::error!(reason, "friends.redb is damaged: the friends thread stops");
                return;
            }
            if friends.has_failed() {
                tracing::error!("friends.redb could not be written: the friends thread stops");
                break;
            }
        }
        if let Err(reason) = contain(|| drop(ManuallyDrop::into_inner(friends))) {
            tracing::error!(reason, "friends.redb could not be closed");
        }
        if let Some(reply) = closing {
            // Who asked may have given up waiting.
            let _ = reply.send(());
        }
    })?;
    Ok((handle, thread))
}

/// Speaks to the thread of [`Friends`]. Each method waits for its answer, and so for the disk;
/// [`StoreFault::Stopped`] when the thread has ended.
#[derive(Debug, Clone)]
pub struct FriendsHandle {
    commands: mpsc::Sender<FriendsCommand>,
    events: broadcast::Sender<FriendsEvent>,
}

impl FriendsHandle {
    /// Whether half of the queue is full: inbound requests then get Busy, and gossip Ignore.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.commands.capacity() <= QUEUE / 2
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Ends the thread, whoever else holds a handle; done when the file is closed.
    pub async fn shut_down(&self) {
        let (reply, closed) = oneshot::channel();
        // A thread that has ended has closed its file.
        if self.commands.send(FriendsCommand::ShutDown { reply }).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// What happens from now on: see [`Friends::subscribe`].
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<FriendsEvent> {
        self.events.subscribe()
    }
}

/// Declares each command once: its variant, the handle's method, and what the thread does for it.
macro_rules! commands {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $method:ident ( $($argument:ident : $ty:ty),* ) -> Result<$ok:ty, $error:ty>
            = |$friends:ident| $run:expr;
    )+) => {
        #[derive(Debug)]
        enum FriendsCommand {
            /// Close the file and end, whoever else holds a handle.
            ShutDown { reply: oneshot::Sender<()> },
            $( $variant { $($argument: $ty,)* reply: oneshot::Sender<Result<$ok, $error>> }, )+
        }

        impl FriendsCommand {
            fn run(self, friends: &mut Friends) {
                match self {
                    // The thread's loop has taken it.
                    Self::ShutDown { .. } => {}
                    $( Self::$variant { $($argument,)* reply } => {
                        let $friends = friends;
                        // Who asked may have given up waiting.
                        let _ = reply.send($run);
                    } )+
                }
            }
        }

        impl FriendsHandle {
            $(
                $(#[doc = $doc])+
                pub async fn $method(&self, $($argument: $ty),*) -> Result<$ok, $error> {
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
    /// See [`Friends::set_own_profile`].
    SetOwnProfile set_own_profile(name: String, addresses: Vec<String>, payment: Option<Owner>, now: UnixMillis)
        -> Result<SignedProfile, OwnProfileError> = |friends| friends.set_own_profile(&name, &addresses, payment, now);
    /// See [`Friends::own_profile`].
    OwnProfile own_profile() -> Result<Option<SignedProfile>, StoreFault> = |friends| Ok(friends.own_profile().cloned());
    /// See [`Friends::keep_profile`].
    KeepProfile keep_profile(profile: SignedProfile, now: UnixMillis)
        -> Result<Kept, ProfileError> = |friends| friends.keep_profile(profile, now);
    /// See [`Friends::explore_answer`].
    ExploreAnswer explore_answer()
        -> Result<Vec<SignedProfile>, StoreFault> = |friends| Ok(friends.explore_answer());
    /// See [`Friends::list`].
    List list() -> Result<Vec<FriendInfo>, StoreFault> = |friends| Ok(friends.list());
    /// See [`Friends::friend`].
    Friend friend(peer: PeerId) -> Result<Option<FriendInfo>, StoreFault> = |friends| Ok(friends.friend(&peer));
    /// See [`Friends::label`].
    Label label(peer: PeerId) -> Result<String, StoreFault> = |friends| Ok(friends.label(&peer));
    /// See [`Friends::resolve`].
    Resolve resolve(text: String) -> Result<PeerId, FindError> = |friends| friends.resolve(&text).map_err(FindError::from);
    /// See [`Friends::resolve_to_pay`].
    ResolveToPay resolve_to_pay(text: String)
        -> Result<(PeerId, Owner), FindError> = |friends| friends.resolve_to_pay(&text).map_err(FindError::from);
    /// See [`Friends::online`].
    Online online(peer: PeerId, now: UnixMillis) -> Result<(), StoreFault> = |friends| friends.online(peer, now);
    /// See [`Friends::offline`].
    Offline offline(peer: PeerId, how: Departure, now: UnixMillis)
        -> Result<(), StoreFault> = |friends| friends.offline(peer, how, now);
    /// See [`Friends::direct`].
    Direct direct(to: PeerId, text: String, now: UnixMillis)
        -> Result<SentLine, ChatError> = |friends| friends.direct(to, &text, now);
    /// See [`Friends::broadcast`].
    Broadcast broadcast(text: String, now: UnixMillis)
        -> Result<SentLine, ChatError> = |friends| friends.broadcast(&text, now);
    /// See [`Friends::goodbye`].
    Goodbye goodbye(now: UnixMillis) -> Result<SignedQuit, StoreFault> = |friends| friends.goodbye(now);
    /// See [`Friends::outbox_for`].
    OutboxFor outbox_for(peer: PeerId, limit: usize)
        -> Result<Vec<SentLine>, StoreFault> = |friends| friends.outbox_for(&peer, limit);
    /// See [`Friends::outbox_peers`].
    OutboxPeers outbox_peers() -> Result<Vec<PeerId>, StoreFault> = |friends| friends.outbox_peers();
    /// See [`Friends::delivered`].
    Delivered delivered(to: PeerId, id: MessageId)
        -> Result<bool, StoreFault> = |friends| friends.delivered(to, id);
    /// See [`Friends::refused`].
    Refused refused(by: PeerId, id: MessageId, why: Refusal)
        -> Result<bool, StoreFault> = |friends| friends.refused(by, id, why);
    /// See [`Friends::receive_direct`].
    ReceiveDirect receive_direct(sender: PeerId, line: SignedLine, now: UnixMillis)
        -> Result<Receipt, ReceiveError> = |friends| friends.receive_direct(sender, line, now);
    /// See [`Friends::receive_broadcast`].
    ReceiveBroadcast receive_broadcast(line: SignedLine, now: UnixMillis)
        -> Result<Receipt, ReceiveError> = |friends| friends.receive_broadcast(line, now);
    /// See [`Friends::receive_quit`].
    ReceiveQuit receive_quit(quit: SignedQuit, now: UnixMillis)
        -> Result<QuitReceipt, ReceiveError> = |friends| friends.receive_quit(&quit, now);
    /// See [`Friends::history`].
    History history(friend: Option<PeerId>, limit: usize)
        -> Result<Vec<ChatRecord>, StoreFault> = |friends| friends.history(friend.as_ref(), limit);
    /// See [`Friends::add_addresses`].
    AddAddresses add_addresses(peer: PeerId, addresses: Vec<String>, source: AddressSource, now: UnixMillis)
        -> Result<(), StoreFault> = |friends| friends.add_addresses(peer, &addresses, source, now);
    /// See [`Friends::touch_address`].
    TouchAddress touch_address(peer: PeerId, address: String, now: UnixMillis)
        -> Result<(), StoreFault> = |friends| friends.touch_address(peer, &address, now);
    /// See [`Friends::forget_addresses`].
    ForgetAddresses forget_addresses(peer: PeerId)
        -> Result<(), StoreFault> = |friends| friends.forget_addresses(peer);
    /// See [`Friends::known_peers`].
    KnownPeers known_peers(limit: usize)
        -> Result<Vec<KnownPeer>, StoreFault> = |friends| friends.known_peers(limit);
    /// See [`Friends::keep_ban`].
    KeepBan keep_ban(ban: Ban) -> Result<(), StoreFault> = |friends| friends.keep_ban(ban);
    /// See [`Friends::forget_ban`].
    ForgetBan forget_ban(peer: PeerId) -> Result<(), StoreFault> = |friends| friends.forget_ban(peer);
    /// See [`Friends::bans`].
    Bans bans(now: UnixMillis) -> Result<Vec<Ban>, StoreFault> = |friends| friends.bans(now);
}
