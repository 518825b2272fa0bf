//! An arena: a victim, an honest friend and an honest miner as real processes, and the cost of an
//! attack to them.

use std::{
    fs,
    net::SocketAddr,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use friendchain::{consensus::Network, primitives::Block};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    attacker::Target,
    forge::{blocks, network, now, write_chain},
    support::{Folder, Node, TestNet, chain::text, ports::free_port},
};

/// Lines that victim and friend exchange before an attack.
const LINES: usize = 10;

/// The longest wait for an honest effect. Beyond it the effect counts as missing.
const GIVE_UP: Duration = Duration::from_secs(45);

const POLL: Duration = Duration::from_millis(50);

/// The extent to which an attack is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Some seconds, on every `cargo test`.
    Quick,
    /// The whole attack, in the long run.
    Long,
}

impl Scale {
    pub(crate) fn pick<T>(self, quick: T, long: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Long => long,
        }
    }
}

/// The chain on which an attack takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// The victim mines always; a block costs 2^22 hashes or more.
    Mining,
    /// A block costs 2^8 hashes, the genesis is old, and the honest chain has 20 blocks.
    Cheap,
    /// As `Cheap`, but the honest chain without its last 144 blocks has much more work than a few
    /// thousand cheap headers.
    Grown,
    /// As `Cheap`, with 2,000 honest blocks.
    Deep,
    /// As `Deep`, but the victim has none of the blocks yet, and has not met the friend.
    Syncing,
}

/// The age of the old genesis, in ms: room for 1,500,000 headers 2.2 s apart.
const OLD: u64 = 45 * 86_400_000;

/// A network and its honest blocks. Each is made once per process.
pub(crate) struct Ground {
    pub(crate) network: Network,
    pub(crate) blocks: Vec<Block>,
}

impl Ground {
    fn of(scene: Scene) -> &'static Self {
        static MINING: OnceLock<Ground> = OnceLock::new();
        static CHEAP: OnceLock<Ground> = OnceLock::new();
        static GROWN: OnceLock<Ground> = OnceLock::new();
        static DEEP: OnceLock<Ground> = OnceLock::new();
        let make = |spacing, bits, age, runs: &[(usize, u64)]| {
            let network = network(spacing, bits, now() - age);
            let blocks = blocks(&network, runs, 2_000);
            Self { network, blocks }
        };
        match scene {
            Scene::Mining => MINING.get_or_init(|| make(5_000, 22, 600_000, &[(1, 1_000)])),
            Scene::Cheap => CHEAP.get_or_init(|| make(2_000, 8, OLD, &[(20, 2_200)])),
            Scene::Grown => GROWN.get_or_init(|| make(2_000, 8, OLD, &[(90, 100), (260, 2_000)])),
            Scene::Deep | Scene::Syncing => {
                DEEP.get_or_init(|| make(2_000, 8, OLD, &[(2_000, 2_200)]))
            }
        }
    }
}

/// Roles that only some attacks need.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs {
    /// The number of peers of the test that are the victim's friends.
    pub(crate) pals: usize,
    /// True if the victim relays for its friends.
    pub(crate) relays: bool,
}

/// The nodes of one attack.
pub(crate) struct Arena {
    pub(crate) scale: Scale,
    pub(crate) ground: &'static Ground,
    pub(crate) target: Target,
    pub(crate) victim: Node,
    pub(crate) friend: Option<Node>,
    friend_port: u16,
    pub(crate) miner: Node,
    pub(crate) friend_folder: Folder,
    pub(crate) runtime: Runtime,
    /// The peer id and the name of each node.
    pub(crate) victim_id: String,
    pub(crate) friend_id: String,
    pub(crate) miner_id: String,
    mines: bool,
    /// True once victim and friend have exchanged lines.
    met: bool,
    /// Ports at which the victim accepts any peer as its friend, as many as the attack needs.
    pub(crate) pal_ports: Vec<u16>,
    _net: TestNet,
}

/// The cost of an attack. Times are in seconds; `None` if the effect did not come at all.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) memory_mib: u64,
    pub(crate) connects: Option<f64>,
    pub(crate) line: Option<f64>,
    pub(crate) block: Option<f64>,
    /// The share of the attack in which the miner's thread ran or waited for a core; `None` if the
    /// victim does not mine in the scene. A busy machine does not lower it, but a pause does.
    pub(crate) mining: Option<f64>,
    pub(crate) charged: usize,
    pub(crate) lost: usize,
}

fn id_of(folder: &Folder) -> String {
    text(&folder.json(["status"])["peer_id"])
}

impl Arena {
    /// Starts the nodes, and waits until they are connected.
    #[track_caller]
    pub(crate) fn new(scene: Scene, scale: Scale, needs: Needs) -> Self {
        let ground = Ground::of(scene);
        let net = TestNet::new();
        let [victim, friend, miner] = ["victim", "honest", "digger"].map(|id| net.folder(id));
        for folder in [&victim, &friend, &miner] {
            folder.new_address();
            let held = if scene == Scene::Syncing && folder.id == "victim" {
                &[][..]
            } else {
                &ground.blocks
            };
            write_chain(&folder.path(), &ground.network, held);
        }
        let friend_port = free_port();
        let pal_ports: Vec<u16> = (0..needs.pals).map(|_| free_port()).collect();
        let at = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}");
        let friend_at = at(friend_port);
        let miner_node = miner.start(&["--threads", "1", "--peer", &friend_at]);
        let mines = scene == Scene::Mining;
        let mode = if mines { "always" } else { "off" };
        let mut flags: Vec<String> = vec!["--peer".to_owned(), friend_at];
        flags.extend(["--mine", mode, "--threads", "1"].map(str::to_owned));
        flags.extend(pal_ports.iter().flat_map(|port| ["--peer".to_owned(), at(*port)]));
        if scene != Scene::Syncing {
            flags.extend(["--peer".to_owned(), miner_node.address.clone()]);
        }
        let port = free_port();
        if needs.relays {
            flags.extend(["--external".to_owned(), at(port)]);
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let victim_node = victim.start_at(port, &flags);
        let target = Target {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            network: ground.network.id,
        };
        let mut arena = Self {
            scale,
            ground,
            target,
            friend: None,
            friend_port,
            friend_folder: friend.clone(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime"),
            victim_id: id_of(&victim),
            friend_id: id_of(&friend),
            miner_id: id_of(&miner),
            victim: victim_node,
            miner: miner_node,
            mines,
            met: false,
            pal_ports,
            _net: net,
        };
        if scene != Scene::Syncing {
            arena.meet();
        }
        arena
    }

    /// Starts the friend, and exchanges some lines that no attack may lose.
    #[track_caller]
    fn meet(&mut self) {
        let connects = self.friend_comes();
        assert!(connects.is_some(), "the friend connects before the attack");
        // The friend may dial first. It is a stranger until the victim's own dial has found it.
        let joined =
            |event: &Value| event["event"] == "friend_joined" && event["peer"] == *self.friend_id;
        Self::wait(GIVE_UP, || !self.victim.events_since(0, joined).is_empty())
            .expect("the victim finds its friend before the attack");
        for number in 0..LINES {
            let line = self.friend_writes(&format!("before the attack {number}"));
            assert!(line.is_some(), "a line arrives before the attack");
        }
        Self::wait(GIVE_UP, || {
            let miner = &self.miner_id;
            self.victim.folder.json(["peers"])["peers"]
                .as_array()
                .is_some_and(|peers| peers.iter().any(|peer| peer["peer_id"] == **miner))
        })
        .expect("the miner is connected before the attack");
        self.met = true;
    }

    /// Waits for a condition, and returns the seconds it took.
    pub(crate) fn wait(limit: Duration, claim: impl Fn() -> bool) -> Option<f64> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if claim() {
                return Some(start.elapsed().as_secs_f64());
            }
            thread::sleep(POLL);
        }
        None
    }

    /// Restarts the friend's node. Returns the seconds until it has exchanged hellos with the
    /// victim.
    ///
    /// The first time it listens at the address that the victim dials. Later it listens at others,
    /// so that it has to get a place among the peers that dial the victim.
    #[track_caller]
    pub(crate) fn friend_comes(&mut self) -> Option<f64> {
        let port = if self.met { free_port() } else { self.friend_port };
        self.friend = None;
        let friend = self.friend_folder.start_at(port, &["--peer", &self.victim.address]);
        let start = Instant::now();
        let victim = self.victim_id.clone();
        let seconds = Self::wait(GIVE_UP, || {
            !friend
                .events_since(0, |event| {
                    event["event"] == "status_exchanged" && event["peer"] == *victim
                })
                .is_empty()
        });
        self.friend = Some(friend);
        seconds.map(|_| start.elapsed().as_secs_f64())
    }

    /// Sends a line from the friend. Returns the seconds until the victim has it.
    pub(crate) fn friend_writes(&self, words: &str) -> Option<f64> {
        let start = Instant::now();
        while start.elapsed() < GIVE_UP {
            let sent = self.friend_folder.try_json(["chat", &self.victim_id, words]);
            if sent.is_ok_and(|sent| sent["state"] == "delivered") {
                return Some(start.elapsed().as_secs_f64());
            }
            let arrived = Self::wait(Duration::from_secs(5), || self.victim_has(words));
            if arrived.is_some() {
                return Some(start.elapsed().as_secs_f64());
            }
        }
        None
    }

    /// True if the victim's history of the friend holds a line.
    fn victim_has(&self, words: &str) -> bool {
        self.history().is_ok_and(|history| history.iter().any(|line| line["text"] == words))
    }

    /// Counts the lines from before the attack that the victim has lost.
    fn lost(&self) -> usize {
        let words = (0..LINES).map(|number| format!("before the attack {number}"));
        let Ok(history) = self.history() else { return LINES };
        words.filter(|words| self.met && !history.iter().any(|line| line["text"] == *words)).count()
    }

    /// Returns the victim's history of the friend.
    fn history(&self) -> Result<Vec<Value>, String> {
        let args = ["history", &self.friend_id, "--limit", "10000"];
        let answer = self.victim.folder.try_json(args)?;
        answer["messages"].as_array().cloned().ok_or_else(|| answer.to_string())
    }

    /// Returns the victim's whole history.
    pub(crate) fn whole_history(&self) -> Vec<Value> {
        let answer = self.victim.folder.try_json(["history", "--limit", "10000"]);
        answer.ok().and_then(|answer| answer["messages"].as_array().cloned()).unwrap_or_default()
    }

    /// Mines a block at the miner. Returns the seconds until the victim has it, the best of three:
    /// a block that lost a race to the victim's own need not arrive.
    pub(crate) fn block_arrives(&self) -> Option<f64> {
        for _ in 0..3 {
            let mark = self.victim.log_mark();
            let mined = self.miner.folder.try_json(["mine", "1"]);
            let start = Instant::now();
            let Some(hash) = mined.ok().map(|mined| text(&mined["blocks"][0])) else { continue };
            let names = ["block_connected", "block_received"];
            let here = || {
                let found = |event: &Value| {
                    event["hash"] == *hash && names.iter().any(|name| event["event"] == **name)
                };
                !self.victim.events_since(mark, found).is_empty()
            };
            if let Some(seconds) = Self::wait(Duration::from_secs(15), here) {
                return Some(seconds.min(start.elapsed().as_secs_f64()));
            }
        }
        None
    }

    /// Returns a number of the victim's `/proc/PID/status` in MiB.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.victim.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        let number = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        number.unwrap_or(0) / 1_024
    }

    /// Resets the measurement of the victim's peak memory.
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.victim.pid()), "5").expect("our child");
    }

    /// Returns the bytes of a file in the victim's folder.
    pub(crate) fn file_bytes(&self, name: &str) -> u64 {
        fs::metadata(self.victim.folder.path().join(name)).map_or(0, |file| file.len())
    }

    /// Returns the nanoseconds for which the mining thread ran or waited for a core.
    fn mining_time(&self) -> Option<u64> {
        if !self.mines {
            return None;
        }
        let tasks = fs::read_dir(format!("/proc/{}/task", self.victim.pid())).ok()?;
        let of = |path: std::path::PathBuf| {
            let name = fs::read_to_string(path.join("comm")).ok()?;
            name.starts_with("miner").then_some(())?;
            let times = fs::read_to_string(path.join("schedstat")).ok()?;
            let mut times = times.split_whitespace().filter_map(|time| time.parse::<u64>().ok());
            Some(times.next()? + times.next()?)
        };
        Some(tasks.flatten().filter_map(|task| of(task.path())).sum())
    }

    /// Counts the honest peers that a node charged, and bans or charges of the victim by its
    /// friends.
    fn charged(&self) -> usize {
        let honest = [&self.victim_id, &self.friend_id, &self.miner_id];
        let nodes = [Some(&self.victim), self.friend.as_ref(), Some(&self.miner)];
        let of = |node: &Node| {
            node.events_since(0, |event| {
                event["event"] == "peer_penalised" && honest.iter().any(|id| event["peer"] == **id)
            })
            .len()
        };
        nodes.into_iter().flatten().map(of).sum()
    }

    /// Runs an attack, and measures its cost. `hold` is the time before the friend comes.
    #[track_caller]
    pub(crate) fn measure<T>(
        &mut self,
        hold: Duration,
        attack: impl FnOnce(&Self) -> T,
    ) -> (Figures, T) {
        self.forget_peak();
        let (start, mined) = (Instant::now(), self.mining_time());
        let running = attack(self);
        thread::sleep(hold);
        let mining = self.mining_time().zip(mined).map(|(after, before)| {
            Duration::from_nanos(after - before).as_secs_f64() / start.elapsed().as_secs_f64()
        });
        let connects = self.friend_comes();
        let line = self.friend_writes("during the attack");
        let block = self.block_arrives();
        let lost = self.lost();
        let figures = Figures {
            memory_mib: self.memory("VmHWM"),
            connects,
            line,
            block,
            mining,
            charged: self.charged(),
            lost,
        };
        (figures, running)
    }
}
