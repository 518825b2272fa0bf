//! Tests of the state of tested addresses, and of questions on real sockets.

use std::{net::TcpListener, time::Duration};

use futures::StreamExt;
use libp2p::{
    Swarm, SwarmBuilder, identify, noise,
    swarm::{ExternalAddrExpired, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use tokio::time::{sleep, timeout};

use super::*;
use crate::net::dial_gate::DialGate;

const DEADLINE: Duration = Duration::from_mins(1);

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn witness(connection: usize, seen: &[&str]) -> Witness {
    Witness {
        peer: PeerId::random(),
        connection: ConnectionId::new_unchecked(connection),
        seen: seen.iter().map(|text| address(text)).collect(),
    }
}

/// Returns a client to which all these friends answer.
fn asking(witnesses: &[Witness]) -> Asking {
    let mut asking = Asking::new(Vec::new());
    asking.answering.extend(witnesses.iter().map(|it| it.connection));
    asking
}

/// Returns the open questions.
fn asked(asking: &Asking) -> Vec<(PeerId, String)> {
    asking.questions.iter().map(|(peer, it)| (*peer, it.address.to_string())).collect()
}

#[test]
fn only_a_friend_that_sees_the_node_at_the_ip_address_is_asked() {
    let now = Instant::now();
    let (v4, v6) = ("/ip4/5.1.0.1/tcp/8891", "/ip6/2a00:1::1/tcp/8891");
    let all = [witness(1, &[]), witness(2, &[v6]), witness(3, &[v4])];
    let mut asking = asking(&all);
    asking.answering.remove(&all[2].connection);
    asking.look(&all, now);
    assert_eq!(asked(&asking), [(all[1].peer, v6.to_owned())], "the other one waits");
    asking.answering.insert(all[2].connection);
    asking.look(&all, now);
    let mut both = asked(&asking);
    both.sort_by_key(|(_, address)| address.clone());
    assert_eq!(both, [(all[2].peer, v4.to_owned()), (all[1].peer, v6.to_owned())]);
}

#[test]
fn the_users_address_waits_for_a_friend_that_sees_the_node_there() {
    let now = Instant::now();
    let users = ["/ip4/9.9.9.9/tcp/1", "/ip4/192.168.1.2/tcp/1", "/dns/yzw.example/tcp/1"];
    let all = [witness(1, &["/ip4/5.1.0.1/tcp/8891"]), witness(2, &["/ip4/9.9.9.9/tcp/8891"])];
    let mut asking = Asking::new(users.map(address).into());
    asking.answering.extend(all.iter().map(|it| it.connection));
    asking.look(&all[..1], now);
    assert_eq!(asked(&asking), [(all[0].peer, "/ip4/5.1.0.1/tcp/8891".to_owned())]);
    asking.look(&all[1..], now);
    assert!(asked(&asking).contains(&(all[1].peer, users[0].to_owned())));
}

#[test]
fn a_failed_address_waits_and_then_another_friend_is_asked() {
    let mut now = Instant::now();
    let own = "/ip4/5.1.0.1/tcp/8891";
    let both = [witness(1, &[own]), witness(2, &[own])];
    let mut asking = asking(&both);
    let mut wait = RETEST_WAIT;
    let mut last = None;
    for _ in 0..10 {
        asking.look(&both, now);
        let [(peer, _)]: [_; 1] = asked(&asking).try_into().expect("one question");
        assert_ne!(Some(peer), last);
        last = Some(peer);
        asking.settle(&peer, false, now);
        // The friends are away for a while.
        asking.look(&[], now + wait / 2);
        asking.look(&both, now + wait.saturating_sub(Duration::from_secs(1)));
        assert!(asked(&asking).is_empty());
        now += wait;
        wait = (2 * wait).min(LONGEST_RETEST_WAIT);
    }
}

#[test]
fn an_address_starts_anew_once_it_is_forgotten_and_after_a_change_of_networks() {
    let now = Instant::now();
    let friends = [witness(1, &["/ip4/5.1.0.1/tcp/8891"])];
    let mut asking = asking(&friends);
    let question = [(friends[0].peer, "/ip4/5.1.0.1/tcp/8891".to_owned())];
    asking.look(&friends, now);
    asking.settle(&friends[0].peer, true, now);
    asking.look(&[], now);
    asking.look(&friends, now);
    assert!(asked(&asking).is_empty(), "it is confirmed, also while no friend sees it");
    let addr = &friends[0].seen[0];
    asking.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
    asking.look(&friends, now);
    assert_eq!(asked(&asking), question);
    asking.settle(&friends[0].peer, false, now);
    asking.start_anew();
    asking.look(&friends, now);
    assert_eq!(asked(&asking), question, "on a connection from before");
    let late = now + QUESTION_TIME;
    asking.look(&friends, late);
    assert!(asked(&asking).is_empty(), "a friend that does not answer is no test");
    assert!(matches!(asking.candidates[0].state, State::Failed { until } if until > late));
}

#[test]
fn addresses_that_friends_invent_are_few_and_give_room_to_others() {
    let now = Instant::now();
    let mut asking = Asking::new(Vec::new());
    for port in 0..4 * MAX_CANDIDATES {
        let invented = format!("/ip4/5.1.0.1/tcp/{}", 1 + port);
        let liar = [witness(1, &[&invented])];
        asking.answering.insert(liar[0].connection);
        asking.look(&liar, now);
        asking.settle(&liar[0].peer, false, now);
        assert!(asking.candidates.len() <= MAX_CANDIDATES);
    }
    let honest = [witness(2, &["/ip4/5.2.0.1/tcp/8891"])];
    asking.answering.insert(honest[0].connection);
    asking.look(&honest, now);
    assert_eq!(asked(&asking).len(), 1);
}

/// A node that asks and answers, with the gate that denies all other dials.
#[derive(NetworkBehaviour)]
struct Node {
    gate: DialGate,
    identify: identify::Behaviour,
    asking: Asking,
    back: DialingBack,
}

/// Starts a node that listens on loopback, and that all nodes with this trust count as a friend.
async fn node(trust: &Trust) -> (Swarm<Node>, Multiaddr) {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let permits = Permits::default();
            let settings = identify::Config::new("/friendchain/1".to_owned(), key.public());
            Node {
                gate: DialGate::new(permits.clone()),
                identify: identify::Behaviour::new(settings),
                asking: Asking::new(Vec::new()),
                back: DialingBack::new(permits, trust.clone()),
            }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
        .build();
    trust.accept(from_libp2p(swarm.local_peer_id()).unwrap());
    let at = listens(&mut swarm, address("/ip4/127.0.0.1/tcp/0")).await;
    (swarm, at)
}

async fn listens(swarm: &mut Swarm<Node>, at: Multiaddr) -> Multiaddr {
    swarm.listen_on(at).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

/// Runs both nodes until the first one has the result of a test.
async fn tested(own: &mut Swarm<Node>, friend: &mut Swarm<Node>) -> bool {
    let search = async {
        loop {
            tokio::select! {
                event = own.select_next_some() => {
                    if let SwarmEvent::Behaviour(NodeEvent::Asking(test)) = event {
                        return test.result.is_ok();
                    }
                }
                _ = friend.select_next_some() => {}
            }
        }
    };
    timeout(DEADLINE, search).await.expect("a result")
}

#[tokio::test]
async fn one_friend_tests_an_address_again_after_a_failure_and_once_it_is_forgotten() {
    let trust = Trust::default();
    let ((mut own, _), (mut friend, at)) = (node(&trust).await, node(&trust).await);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tested_at = format!("/ip4/127.0.0.1/tcp/{free}");
    let dial = DialOpts::unknown_peer_id().address(at).build();
    let connection = dial.connection_id();
    own.behaviour().gate.permit(connection);
    own.dial(dial).unwrap();
    let answers = async {
        while own.behaviour().asking.answering.is_empty() {
            tokio::select! {
                _ = own.select_next_some() => {}
                _ = friend.select_next_some() => {}
                () = sleep(Duration::from_millis(10)) => {}
            }
        }
    };
    timeout(DEADLINE, answers).await.expect("the friend answers questions");
    let peer = *friend.local_peer_id();
    let friends = [Witness { peer, connection, seen: vec![address(&tested_at)] }];
    own.behaviour_mut().asking.look(&friends, Instant::now());
    assert!(!tested(&mut own, &mut friend).await, "nobody listens there");
    listens(&mut own, address(&tested_at)).await;
    own.behaviour_mut().asking.look(&friends, Instant::now() + RETEST_WAIT);
    assert!(tested(&mut own, &mut friend).await, "the same friend, on the same connection");
    own.remove_external_address(&address(&tested_at));
    own.behaviour_mut().asking.look(&friends, Instant::now());
    assert!(tested(&mut own, &mut friend).await, "it was forgotten");
}
