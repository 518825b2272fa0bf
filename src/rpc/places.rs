//! Limits on the RPC's connections: how many may be in each stage, and for how long.
//!
//! A connection carries one request. It starts without the token, and then moves from stage to
//! stage: its body is read, its call is answered, its reply is sent. Stages that depend on the
//! client have few places and a deadline. If a stage is full, its oldest connection is closed, so a
//! client that waits never keeps out one that works.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections that have not sent the token. This program's clients send it in their first packet.
pub(super) const MAX_UNPROVEN: usize = 32;

/// Connections with the token whose bodies are read. Each may hold a body of 1 MiB.
pub(super) const MAX_READING: usize = 16;

/// Replies that are sent at once. Each may hold a reply of 128 MiB, although almost none does.
pub(super) const MAX_SENDING: usize = 32;

/// Long polls at once: one for each open console.
pub(super) const MAX_POLLS: usize = 128;

/// Calls at once that may take long: they mine, wait for a block, or check the chain.
pub(super) const MAX_LONG_CALLS: usize = 64;

/// Other calls at once, which end within milliseconds.
pub(super) const MAX_SHORT_CALLS: usize = 32;

/// Calls that wait for a place of their class.
pub(super) const MAX_WAITING: usize = 64;

/// Calls that need no place: each is answered from memory at once. The command line finds a node by
/// asking for `progress`, before it sends `stop`.
const ALWAYS: [&str; 2] = ["stop", "progress"];

/// The call that waits for events.
const POLL: &str = "events";

/// The calls that may take long.
const LONG: [&str; 12] = [
    "create_blockchain",
    "invite",
    "backup",
    "send",
    "raise_fee",
    "payments",
    "note",
    "mine",
    "verify_chain",
    "reindex",
    "accept_branch",
    "sync",
];

/// The call that takes long if it waits for a delivery.
const CHAT: &str = "chat";

/// The times that connections and calls get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The time from the accept until the token has been sent.
    pub(super) head: Duration,
    /// The time from the token until the end of the body.
    pub(super) body: Duration,
    /// The time from the first byte of the reply until its last one.
    pub(super) reply: Duration,
    /// The wait for a place.
    pub(super) place: Duration,
}

impl Times {
    /// The times of a running node. All bytes cross this machine only, or an SSH tunnel. A reply of
    /// 16 MiB gets through one at 30 kB a second.
    pub(super) const NODE: Self = Self {
        head: Duration::from_secs(5),
        body: Duration::from_secs(10),
        reply: Duration::from_mins(10),
        place: Duration::from_secs(30),
    };
}

/// The present activity of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client has not sent the token.
    Unproven,
    /// The client has sent the token and sends its body.
    Reading,
    /// The node works. The places of [`CallPlaces`] bound this stage.
    Working,
    /// The reply is being sent.
    Sending,
}

impl Stage {
    /// Returns the most connections in this stage, and the longest stay. `None`: the client cannot
    /// make this stage last.
    const fn bounds(self, times: &Times) -> Option<(usize, Duration)> {
        match self {
            Self::Unproven => Some((MAX_UNPROVEN, times.head)),
            Self::Reading => Some((MAX_READING, times.body)),
            Self::Working => None,
            Self::Sending => Some((MAX_SENDING, times.reply)),
        }
    }
}

/// All connections with their stages.
#[derive(Debug)]
pub(super) struct Places {
    times: Times,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    stage: Stage,
    since: Instant,
    end: Arc<Notify>,
}

impl Open {
    /// Ends connections of a stage so that one more fits.
    fn make_room(&mut self, stage: Stage, most: usize) {
        let in_stage = self.connections.iter().filter(|(_, one)| one.stage == stage);
        let mut there: Vec<_> = in_stage.map(|(&id, one)| (one.since, id)).collect();
        there.sort_unstable();
        let surplus = there.len().saturating_add(1).saturating_sub(most);
        for (_, id) in there.into_iter().take(surplus) {
            self.end(id);
        }
    }

    fn end(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            connection.end.notify_one();
        }
    }
}

impl Places {
    pub(super) fn new(times: Times) -> Arc<Self> {
        Arc::new(Self { times, open: Mutex::default() })
    }

    /// Adds a new connection, which is unproven.
    pub(super) fn open(self: &Arc<Self>, now: Instant) -> Place {
        let mut open = self.lock();
        open.make_room(Stage::Unproven, MAX_UNPROVEN);
        let id = open.next;
        open.next = open.next.wrapping_add(1);
        let end = Arc::new(Notify::new());
        let connection = Connection { stage: Stage::Unproven, since: now, end: end.clone() };
        open.connections.insert(id, connection);
        drop(open);
        Place { places: self.clone(), id, end }
    }

    /// Ends the connections that have stayed in a stage for too long. The server calls it often.
    pub(super) fn expire(&self, now: Instant) {
        self.end_if(|connection| {
            connection.stage.bounds(&self.times).is_some_and(|(_, longest)| {
                now.saturating_duration_since(connection.since) >= longest
            })
        });
    }

    /// Ends the connections whose request has not arrived.
    pub(super) fn end_requests(&self) {
        self.end_if(|connection| matches!(connection.stage, Stage::Unproven | Stage::Reading));
    }

    fn end_if(&self, over: impl Fn(&Connection) -> bool) {
        let mut open = self.lock();
        let ids: Vec<_> =
            open.connections.iter().filter(|(_, one)| over(one)).map(|(&id, _)| id).collect();
        for id in ids {
            open.end(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection. It is free again on drop.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    end: Arc<Notify>,
}

impl Place {
    /// Moves the connection to its next stage.
    pub(super) fn enter(&self, stage: Stage, now: Instant) {
        let mut open = self.places.lock();
        if let Some((most, _)) = stage.bounds(&self.places.times) {
            open.make_room(stage, most);
        }
        // A connection that was ended stays so.
        if let Some(connection) = open.connections.get_mut(&self.id) {
            (connection.stage, connection.since) = (stage, now);
        }
    }

    /// Completes when the connection is ended for another one, or is too slow.
    pub(super) async fn ended(&self) {
        self.end.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().connections.remove(&self.id);
    }
}

/// The kinds of calls, which never take each other's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Always,
    Poll,
    Long,
    Short,
}

/// The parts of a call that decide its class, and the id for its reply.
#[derive(Deserialize)]
struct Call {
    method: String,
    id: Option<Box<RawValue>>,
    params: Option<Box<RawValue>>,
}

/// The method and the parameters of a call in a batch.
#[derive(Deserialize)]
struct BatchedCall {
    method: String,
    params: Option<Box<RawValue>>,
}

/// The parameters of a `chat`, by position or by name.
#[derive(Deserialize)]
#[serde(untagged)]
enum ChatParams {
    Listed(IgnoredAny, IgnoredAny, Option<bool>),
    Named { wait: Option<bool> },
}

/// Returns the class of a body, and the id of its call in JSON. A text that is not a call counts as
/// a short one.
pub(super) fn classify(body: &[u8]) -> (Class, Option<Box<RawValue>>) {
    if let Ok(call) = serde_json::from_slice::<Call>(body) {
        return (class_of(&call.method, call.params.as_deref()), call.id);
    }
    let batch = serde_json::from_slice::<Vec<BatchedCall>>(body).unwrap_or_default();
    let class_of = |call: &BatchedCall| class_of(&call.method, call.params.as_deref());
    let has = |class: &Class| batch.iter().any(|call| class_of(call) == *class);
    // The call that lasts longest decides.
    let class = [Class::Poll, Class::Long].into_iter().find(has).unwrap_or(Class::Short);
    (class, None)
}

fn class_of(method: &str, params: Option<&RawValue>) -> Class {
    if method == POLL {
        Class::Poll
    } else if ALWAYS.contains(&method) {
        Class::Always
    } else if LONG.contains(&method) || (method == CHAT && waits(params)) {
        Class::Long
    } else {
        Class::Short
    }
}

/// True if a `chat` waits for the delivery of its line.
fn waits(params: Option<&RawValue>) -> bool {
    let params = params.and_then(|params| serde_json::from_str(params.get()).ok());
    match params {
        Some(ChatParams::Listed(_, _, wait) | ChatParams::Named { wait }) => wait == Some(true),
        None => false,
    }
}

/// The reason why a call got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Polls,
    Calls,
}

/// The places of the calls, by class.
#[derive(Debug)]
pub(super) struct CallPlaces {
    patience: Duration,
    polls: Arc<Semaphore>,
    long: Arc<Semaphore>,
    short: Arc<Semaphore>,
    waiting: Semaphore,
}

impl CallPlaces {
    pub(super) fn new(times: &Times) -> Self {
        Self {
            patience: times.place,
            polls: Arc::new(Semaphore::new(MAX_POLLS)),
            long: Arc::new(Semaphore::new(MAX_LONG_CALLS)),
            short: Arc::new(Semaphore::new(MAX_SHORT_CALLS)),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// Takes a place, which is free again when the permit is dropped. `None`: the class needs none.
    ///
    /// # Errors
    ///
    /// A poll without a place is refused at once. Other calls wait for a bounded time.
    pub(super) async fn take(&self, class: Class) -> Result<Option<OwnedSemaphorePermit>, Full> {
        let places = match class {
            Class::Always => return Ok(None),
            Class::Poll => {
                return self.polls.clone().try_acquire_owned().map(Some).map_err(|_| Full::Polls);
            }
            Class::Long => &self.long,
            Class::Short => &self.short,
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(Some(place));
        }
        let _turn = self.waiting.try_acquire().map_err(|_| Full::Calls)?;
        match tokio::time::timeout(self.patience, places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            _ => Err(Full::Calls),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn is_ended(place: &Place) -> bool {
        place.ended().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_connection_without_a_token_makes_room() {
        let (places, start) = (Places::new(Times::NODE), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let held: Vec<_> = (0..MAX_UNPROVEN as u64).map(|ms| places.open(at(ms))).collect();
        assert!(held.iter().all(|place| !is_ended(place)));
        let newest = places.open(at(1_000));
        assert!(is_ended(&held[0]) && !is_ended(&held[1]) && !is_ended(&newest));
        // A connection with the token no longer counts among those without it.
        held[1].enter(Stage::Reading, at(1_000));
        let _more = places.open(at(1_001));
        assert!(held[1..].iter().all(|place| !is_ended(place)));
    }

    #[test]
    fn each_stage_that_hangs_on_the_client_has_a_deadline_and_work_has_none() {
        let (places, start) = (Places::new(Times::NODE), Instant::now());
        let stages = [
            (Stage::Unproven, Some(Times::NODE.head)),
            (Stage::Reading, Some(Times::NODE.body)),
            (Stage::Working, None),
            (Stage::Sending, Some(Times::NODE.reply)),
        ];
        for (stage, longest) in stages {
            let place = places.open(start);
            place.enter(stage, start);
            let longest = longest.unwrap_or(Duration::from_hours(24));
            places.expire(start + longest.saturating_sub(Duration::from_millis(1)));
            assert!(!is_ended(&place), "{stage:?}");
            places.expire(start + longest);
            assert_eq!(is_ended(&place), stage != Stage::Working, "{stage:?}");
        }
        assert!(places.lock().connections.is_empty(), "a place that is dropped is free");
    }

    #[test]
    fn a_body_that_never_ends_makes_room_for_another() {
        let (places, start) = (Places::new(Times::NODE), Instant::now());
        let slow: Vec<_> = (0..=MAX_READING as u64)
            .map(|ms| {
                let place = places.open(start);
                place.enter(Stage::Reading, start + Duration::from_millis(ms));
                place
            })
            .collect();
        let ended: Vec<_> = slow.iter().map(is_ended).collect();
        assert!(ended[0] && !ended[1..].contains(&true), "{ended:?}");
        places.end_requests();
        assert!(slow[1..].iter().all(is_ended));
    }

    #[test]
    fn the_method_decides_the_class() {
        let of = |method: &str| {
            let body = format!(r#"{{"jsonrpc":"2.0","id":"x","method":"{method}"}}"#);
            let (class, id) = classify(body.as_bytes());
            assert_eq!(id.expect("an id").get(), "\"x\"");
            class
        };
        assert_eq!(of("events"), Class::Poll);
        assert_eq!(of("\\u0065vents"), Class::Poll, "an escape is the same letter");
        assert_eq!(of("stop"), Class::Always);
        assert_eq!(of("mine"), Class::Long);
        assert_eq!(of("status"), Class::Short);
        assert_eq!(of("chat"), Class::Short);
        for (params, class) in [
            (r#"["yjf","hi"]"#, Class::Short),
            (r#"["yjf","hi",null]"#, Class::Short),
            (r#"["yjf","hi",false]"#, Class::Short),
            (r#"["yjf","hi",true]"#, Class::Long),
            (r#"{"friend":"yjf","text":"hi","wait":true}"#, Class::Long),
            (r#"{"friend":"yjf","text":"hi"}"#, Class::Short),
        ] {
            let body = format!(r#"{{"method":"chat","params":{params}}}"#);
            assert_eq!(classify(body.as_bytes()).0, class, "{params}");
        }
        let batch = br#"[{"method":"stop"},{"method":"mine","id":1},{"method":"events"}]"#;
        assert_eq!(classify(batch).0, Class::Poll);
        assert_eq!(classify(br#"[{"method":"stop"}]"#).0, Class::Short);
        assert_eq!(classify(b"nonsense").0, Class::Short);
    }

    #[tokio::test]
    async fn classes_of_calls_have_places_of_their_own() {
        let calls = CallPlaces::new(&Times { place: Duration::from_millis(20), ..Times::NODE });
        let mut held = Vec::new();
        for (class, most) in [(Class::Poll, MAX_POLLS), (Class::Long, MAX_LONG_CALLS)] {
            for _ in 0..most {
                held.push(calls.take(class).await.expect("a place").expect("a permit"));
            }
        }
        assert_eq!(calls.take(Class::Poll).await.expect_err("full"), Full::Polls);
        assert_eq!(calls.take(Class::Long).await.expect_err("full"), Full::Calls);
        assert!(calls.take(Class::Short).await.is_ok());
        assert!(calls.take(Class::Always).await.expect("free").is_none());
        held.pop();
        assert!(calls.take(Class::Long).await.is_ok(), "a place is free again");
    }
}
