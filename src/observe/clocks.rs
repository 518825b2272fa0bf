//! Corrects the clocks of the nodes by causality: nothing arrives before it was sent.
//!
//! Each block, trade and chat line that went from one node to another bounds how far their clocks
//! can differ: the corrected time of arrival is not before the corrected time of departure. The
//! least corrections that satisfy all these bounds are the longest paths in their graph
//! (Bellman–Ford, as in "difference constraints", CLRS 22.4).

use std::collections::HashMap;

use super::{
    line::Micros,
    story::{NodeId, Sighting, Story},
};

/// The shortest delay seen from one node to another. It is measured with both nodes' own clocks, so
/// it may be negative.
type LeastDelays = HashMap<(NodeId, NodeId), Micros>;

/// The most rounds of Bellman–Ford, which bounds the time that a hostile log costs. A chain of
/// bounds passes through each node once, and a group of friends has fewer nodes than this.
const MAX_ROUNDS: usize = 100;

fn add(delays: &mut LeastDelays, from: Option<Sighting>, to: impl IntoIterator<Item = Sighting>) {
    let Some((from, sent)) = from else { return };
    for (to, came) in to.into_iter().filter(|(to, _)| *to != from) {
        let delay = came.saturating_sub(sent);
        delays.entry((from, to)).and_modify(|least| *least = delay.min(*least)).or_insert(delay);
    }
}

/// Returns the µs to add to each node's times. All are zero if no clock contradicts another.
pub(super) fn corrections(story: &Story) -> Vec<Micros> {
    let mut delays = LeastDelays::new();
    for block in &story.blocks {
        add(&mut delays, block.journey.departure(), block.journey.sightings.iter().copied());
    }
    for trade in &story.trades {
        add(&mut delays, trade.departure(), trade.sightings.iter().copied());
    }
    for chat in &story.chats {
        let origin = chat.journey.departure();
        add(&mut delays, origin, chat.journey.sightings.iter().copied());
        // The receipt's path back to the sender.
        if let (Some(_), [received]) = (&chat.to, chat.journey.sightings.as_slice()) {
            add(&mut delays, Some(*received), chat.delivered);
        }
    }

    let mut corrections: Vec<Micros> = vec![0; story.nodes.len()];
    // If a clock was set while the logs were written, no corrections may satisfy all bounds. Hence
    // the limit of rounds.
    for _ in 0..story.nodes.len().min(MAX_ROUNDS) {
        let mut changed = false;
        for ((from, to), delay) in &delays {
            let least = corrections[*from].saturating_sub(*delay);
            if corrections[*to] < least {
                corrections[*to] = least;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    // Only differences between clocks are known. Take the median clock as right, so that most
    // clocks need no correction.
    let mut sorted = corrections.clone();
    sorted.sort_unstable();
    let middle = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0);
    corrections.iter().map(|correction| correction.saturating_sub(middle)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::story::{BlockStory, Journey, NodeStory};

    fn story(nodes: usize, blocks: &[(Sighting, &[Sighting])]) -> Story {
        let nodes = (0..nodes).map(|_| NodeStory::default()).collect();
        let blocks = blocks.iter().map(|(origin, sightings)| BlockStory {
            journey: Journey { origin: Some(*origin), sightings: sightings.to_vec() },
            ..BlockStory::default()
        });
        let mut story = Story::default();
        story.nodes = nodes;
        story.blocks = blocks.collect();
        story
    }

    #[test]
    fn clocks_that_agree_are_left_alone() {
        let story =
            story(3, &[((0, 100), &[(1, 105), (2, 120)]), ((2, 200), &[(0, 200), (1, 230)])]);
        assert_eq!(corrections(&story), [0, 0, 0]);
    }

    #[test]
    fn a_clock_that_is_behind_is_moved_until_nothing_arrives_before_it_was_made() {
        let blocks: [(Sighting, &[Sighting]); 3] = [
            ((0, 1_000), &[(1, 400), (2, 1_010)]),
            ((1, 500), &[(0, 1_150), (2, 1_160)]),
            ((2, 2_000), &[(0, 2_001)]),
        ];
        assert_eq!(corrections(&story(3, &blocks)), [0, 600, 0]);
    }

    #[test]
    fn a_chain_of_bounds_is_followed_and_bounds_that_nothing_satisfies_end() {
        let chain: [(Sighting, &[Sighting]); 2] = [((0, 100), &[(1, 50)]), ((1, 100), &[(2, 50)])];
        let found = corrections(&story(3, &chain));
        assert_eq!((found[1] - found[0], found[2] - found[1]), (50, 50));
        let never: [(Sighting, &[Sighting]); 2] = [((0, 100), &[(1, 50)]), ((1, 100), &[(0, 50)])];
        assert_eq!(corrections(&story(2, &never)).len(), 2);
    }
}
