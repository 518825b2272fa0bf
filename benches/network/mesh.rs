//! Nodes that are all connected with each other, each pair over a line.

use std::{thread, time::Duration};

use crate::{
    line::{Line, Quality},
    nodes::start,
    support::{Folder, Node, eventually, holds},
};

/// The wait for gossip's mesh after the last connection: some heartbeats of 1 s.
const SETTLING: Duration = Duration::from_secs(5);

/// Nodes, and the line before each of them.
pub(crate) struct Mesh {
    pub(crate) nodes: Vec<Node>,
    pub(crate) lines: Vec<Line>,
}

impl Mesh {
    /// Starts a node on each folder, and connects each with all earlier ones.
    #[track_caller]
    pub(crate) fn new(folders: &[Folder], quality: Quality) -> Self {
        let mut mesh = Self { nodes: Vec::new(), lines: Vec::new() };
        for folder in folders {
            let addresses: Vec<&str> = mesh.lines.iter().map(|line| &*line.address).collect();
            let node = start(folder, &addresses);
            mesh.lines.push(Line::to(&node.address, quality));
            mesh.nodes.push(node);
        }
        let others = folders.len() - 1;
        for node in &mesh.nodes {
            eventually("each node has greeted all others", || {
                let greeted = node.events_since(0, |event| event["event"] == "status_exchanged");
                let peers: std::collections::BTreeSet<_> =
                    greeted.iter().map(|event| event["peer"].to_string()).collect();
                holds(peers.len() == others, peers.len())
            });
        }
        thread::sleep(SETTLING);
        mesh.assert_on_lines();
        mesh
    }

    /// Checks that no pair is connected without its line.
    #[track_caller]
    pub(crate) fn assert_on_lines(&self) {
        let open: usize = self.lines.iter().map(Line::open).sum();
        let pairs = self.nodes.len() * (self.nodes.len() - 1) / 2;
        assert!(open >= pairs, "{open} connections over lines for {pairs} pairs");
    }

    /// Returns the bytes that all lines have carried, both ways.
    pub(crate) fn carried(&self) -> u64 {
        self.lines.iter().flat_map(Line::carried).sum()
    }
}
