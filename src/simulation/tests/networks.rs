//! Tests of whole networks of miners who pay each other: a few seeds of each kind.

use super::long;
use crate::simulation::{
    faults::Plan,
    scenario::{self, Options},
};

/// Runs a network. Panics with the command that repeats the run if it has violations.
fn play(options: &Options) -> scenario::Outcome {
    let outcome = scenario::network(options);
    assert!(
        outcome.violations.is_empty(),
        "{}\n  replay: {}",
        outcome.violations.join("\n"),
        options.replay()
    );
    outcome
}

fn options(nodes: usize, seed: u64) -> Options {
    Options {
        nodes,
        seed,
        minutes: 3,
        faults: Plan::default(),
        liars: 0,
        withhold: 0.0,
        unheard: 0.0,
        pay_every_ms: 10_000,
        without_liars: false,
        delay_ms: None,
    }
}

#[test]
fn miners_agree_and_every_payment_arrives() {
    for seed in 0..8 {
        let outcome = play(&options(5, seed));
        assert!(outcome.honest.1 > 8, "{outcome:?}");
        assert!(outcome.payments.0 > 3, "{outcome:?}");
    }
}

#[test]
fn crashes_partitions_and_wrong_clocks_leave_nothing_behind() {
    for seed in 0..8 {
        play(&Options { faults: Plan::ALL, ..options(5, seed) });
    }
}

#[test]
fn blocks_are_completed_whose_payments_gossip_did_not_bring() {
    for seed in 0..3 {
        let outcome = play(&Options { unheard: 0.5, liars: 4, ..options(6, seed) });
        // Sync would fetch these blocks after two seconds.
        assert!(outcome.each[1] < 2_000 && outcome.relay_requests > 0, "{outcome:?}");
    }
}

#[test]
fn liars_change_nothing_for_the_honest() {
    for seed in 0..6 {
        play(&Options { liars: 4, ..options(4, seed) });
    }
}

#[test]
fn a_newcomer_among_liars_fetches_the_chain() {
    for seed in 0..3 {
        let fetched = scenario::sync(seed, long(), (14, true));
        assert!(fetched.took.is_some(), "seed {seed}: {fetched:?}");
        assert!(fetched.bodies >= 600, "seed {seed}: {fetched:?}");
        assert_eq!(fetched.outcome.violations, Vec::<String>::new());
    }
}

#[test]
fn a_miner_who_withholds_bodies_wins_nothing() {
    let (mut beside, mut alone) = (0, 0);
    for seed in 0..3 {
        let options = Options { withhold: 0.25, minutes: 10, ..options(4, seed) };
        beside += play(&options).honest.1;
        alone += play(&Options { without_liars: true, ..options }).honest.1;
    }
    assert!(beside * 10 >= alone * 9, "{beside} honest blocks beside it, {alone} without");
}

#[test]
fn one_seed_gives_one_course_of_events() {
    let options = Options { faults: Plan::ALL, liars: 3, ..options(5, 11) };
    let (first, second) = (scenario::network(&options), scenario::network(&options));
    assert_eq!((first.course, first.violations), (second.course, second.violations));
}
