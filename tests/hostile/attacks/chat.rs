//! Strangers who write, introduce themselves, and obstruct the lines of others.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use friendchain::{
    primitives::PeerId,
    wire::{
        ChatGossip, ChatRequest, ChatResponse, FriendsRequest, Gossip, Request, Response,
        SignedLine, SignedProfile, Topic,
    },
};
use libp2p::identity::Keypair;
use tokio::{net::TcpListener, time::sleep};

use super::{Running, greeting, newcomer, no_more};
use crate::{
    arena::Arena,
    attacker::{Actor, Source},
    attacks::addresses::{fake_profiles, unreachable},
    forge::now,
    script::Script,
};

fn line_gossip(actor: &Actor, time: u64, counter: u64, words: &str) -> Vec<u8> {
    let signer = |message: &[u8]| actor.sign(message);
    let line = SignedLine::sign(&actor.network, actor.id, None, time, counter, words, &signer)
        .expect("within its limits");
    Gossip::Chat(ChatGossip::Line(line)).encode().expect("within its limits")
}

/// Lets many identities write to all, as much as they may.
pub(crate) fn chat_flood(arena: &Arena) -> Running {
    let target = arena.target;
    let pause = Duration::from_millis(arena.scale.pick(50, 380));
    for _ in 0..arena.scale.pick(20, 126) {
        arena.runtime.spawn(async move {
            loop {
                let round = async {
                    let actor = newcomer(target, Source::Many).await?;
                    let mut gossip = actor.gossip().await?;
                    for counter in 0..800 {
                        let bytes = line_gossip(&actor, now(), counter, "buy now, buy more");
                        gossip.publish(Topic::Chat, &[&bytes]).await?;
                        sleep(pause).await;
                        if !actor.alive() {
                            break;
                        }
                    }
                    io::Result::Ok(())
                };
                let _ = round.await;
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
    no_more()
}

/// Lets 25 identities introduce themselves and write long lines to the victim alone.
pub(crate) fn direct_lines(arena: &Arena) -> Running {
    let before = arena.file_bytes("friends.redb");
    let target = arena.target;
    let to: PeerId = arena.victim_id.parse().expect("a peer id");
    let delivered = Arc::new(AtomicUsize::new(0));
    for _ in 0..25 {
        let delivered = Arc::clone(&delivered);
        arena.runtime.spawn(async move {
            loop {
                let _ = write_to(target, to, &delivered).await;
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
    Box::new(move |arena| {
        let grown = arena.file_bytes("friends.redb").saturating_sub(before) / 1_048_576;
        let delivered = delivered.load(Ordering::Relaxed);
        (format!("{delivered} delivered, friends file +{grown} MiB (bar: 16)"), grown <= 16)
    })
}

async fn write_to(
    target: crate::attacker::Target,
    to: PeerId,
    delivered: &AtomicUsize,
) -> io::Result<()> {
    let actor = newcomer(target, Source::Many).await?;
    let signer = |message: &[u8]| actor.sign(message);
    let profile =
        SignedProfile::sign(&target.network, actor.id, "pest", Vec::new(), None, now(), &signer)
            .map_err(io::Error::other)?;
    actor.ask(&Request::Friends(FriendsRequest::Introduce(profile))).await?;
    let words = "x".repeat(4_000);
    for counter in 0.. {
        let line =
            SignedLine::sign(&target.network, actor.id, Some(to), now(), counter, &words, &signer)
                .map_err(io::Error::other)?;
        match actor.ask(&Request::Chat(ChatRequest::Direct(line))).await? {
            Response::Chat(ChatResponse::Delivered) => {
                delivered.fetch_add(1, Ordering::Relaxed);
            }
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
    Ok(())
}

/// Tells of thousands of friends who do not exist, half of them under the honest friend's name.
pub(crate) fn fake_friends(arena: &Arena) -> Running {
    let network = arena.target.network;
    // 64 in each answer: 1,024 or 10,240.
    for teller in 0..arena.scale.pick(16, 160) {
        let name = if teller % 2 == 0 { "honest" } else { "nobody" };
        let profiles = fake_profiles(&network, 64, name, |_, at| unreachable(teller * 512 + at));
        let target = arena.target;
        arena.runtime.spawn(async move {
            sleep(Duration::from_millis(150 * teller as u64)).await;
            for _ in 0..5 {
                let script = Script { profiles: Some(profiles.clone()), ..Script::plain(network) };
                if let Ok(actor) = greeting(target, Source::Many, script).await {
                    // The victim asks once for each connection.
                    for _ in 0..40 {
                        if !actor.alive() {
                            break;
                        }
                        sleep(Duration::from_millis(200)).await;
                    }
                }
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
    Box::new(|arena| {
        let friends = arena.victim.folder.json(["friends"]);
        let friends = friends["friends"].as_array().cloned().unwrap_or_default();
        let fakes = friends
            .iter()
            .filter(|friend| {
                let fake = friend["name"] == "honest" || friend["name"] == "nobody";
                fake && friend["peer_id"] != *arena.friend_id
            })
            .count();
        (format!("{fakes} fake friends listed (bar: 0)"), fakes == 0)
    })
}

/// The number of lines of a friend whose bytes the attacker sends first on other topics.
const RACED: usize = 6;

/// Sends a friend's lines first on another topic, so that they would count as seen.
pub(crate) fn other_topics(arena: &Arena) -> Running {
    let target = arena.target;
    let port = *arena.pal_ports.first().expect("an arena with a pal");
    let story = async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let script = Arc::new(Script::plain(target.network));
        let pal = Actor::accept(Keypair::generate_ed25519(), &listener, target, &script).await?;
        pal.hello(&script.status).await?;
        let signer = |message: &[u8]| pal.sign(message);
        let profile =
            SignedProfile::sign(&target.network, pal.id, "pal", Vec::new(), None, now(), &signer)
                .map_err(io::Error::other)?;
        pal.ask(&Request::Friends(FriendsRequest::Introduce(profile))).await?;
        let mut honest = pal.gossip().await?;
        sleep(Duration::from_secs(2)).await;
        for number in 0..RACED {
            let attacker = newcomer(target, Source::Many).await?;
            let mut first = attacker.gossip().await?;
            let words = format!("raced {number}");
            let bytes = line_gossip(&pal, now(), number as u64, &words);
            let name = format!("/friendchain/topic/none/1/{}", target.tag());
            match number % 3 {
                0 => first.publish(Topic::Trades, &[&bytes]).await?,
                1 => first.publish(Topic::Blocks, &[&bytes]).await?,
                _ => first.publish_at(&name, &[&bytes]).await?,
            }
            sleep(Duration::from_millis(400)).await;
            honest.publish(Topic::Chat, &[&bytes]).await?;
        }
        sleep(Duration::from_mins(2)).await;
        io::Result::Ok(())
    };
    arena.runtime.spawn(async move {
        if let Err(error) = story.await {
            eprintln!("the pal's story broke off: {error}");
        }
    });
    Box::new(|arena| {
        let arrived = || {
            let history = arena.whole_history();
            let has = |number: &usize| {
                history.iter().any(|line| line["text"] == format!("raced {number}"))
            };
            (0..RACED).filter(has).count()
        };
        let all = Arena::wait(Duration::from_secs(20), || arrived() == RACED);
        (format!("{} of {RACED} raced lines arrive", arrived()), all.is_some())
    })
}

/// Publishes a banned identity's lines through another identity.
pub(crate) fn banned_author(arena: &Arena) -> Running {
    let target = arena.target;
    let author = arena.runtime.block_on(newcomer(target, Source::Many)).expect("connected");
    arena.victim.folder.json(["ban", &author.id.to_string()]);
    arena.runtime.spawn(async move {
        loop {
            let round = async {
                let other = newcomer(target, Source::Many).await?;
                let mut gossip = other.gossip().await?;
                for counter in 0..20 {
                    let bytes = line_gossip(&author, now(), counter, "from the banned");
                    gossip.publish(Topic::Chat, &[&bytes]).await?;
                    sleep(Duration::from_millis(100)).await;
                }
                io::Result::Ok(())
            };
            let _ = round.await;
            sleep(Duration::from_millis(500)).await;
        }
    });
    Box::new(|arena| {
        let heard =
            arena.whole_history().iter().filter(|line| line["text"] == "from the banned").count();
        (format!("{heard} lines of the banned author heard (bar: 0)"), heard == 0)
    })
}

/// Repeats old lines, and one line over and over.
pub(crate) fn stale_gossip(arena: &Arena) -> Running {
    let target = arena.target;
    for _ in 0..arena.scale.pick(4, 20) {
        arena.runtime.spawn(async move {
            loop {
                let round = async {
                    let actor = newcomer(target, Source::Many).await?;
                    let mut gossip = actor.gossip().await?;
                    let same = line_gossip(&actor, now(), 1, "again and again");
                    for counter in 0.. {
                        let year = 365 * 86_400_000;
                        let old = line_gossip(&actor, now() - year, counter, "from last year");
                        gossip.publish(Topic::Chat, &[&same, &same, &same, &old]).await?;
                        sleep(Duration::from_millis(20)).await;
                        if !actor.alive() {
                            break;
                        }
                    }
                    io::Result::Ok(())
                };
                let _ = round.await;
                sleep(Duration::from_millis(300)).await;
            }
        });
    }
    no_more()
}
