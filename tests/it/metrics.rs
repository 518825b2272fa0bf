//! Tests `--metrics`: health and metrics pages, for friendly and hostile clients and for the real
//! Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    Folder, Node, TestNet,
    chain::{await_one_tip, number, text},
    eventually, holds,
    ports::free_port,
    tools::{prometheus_wanted, shell},
};

/// The longest time that a listener may send a test no byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// An HTTP response.
#[derive(Debug)]
struct Page {
    status: u16,
    head: String,
    body: String,
}

/// Sends bytes and reads the response to its end.
fn exchange(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Requests a page by HTTP/1.0, so that the response comes in one piece.
fn ask(address: SocketAddr, method: &str, path: &str) -> Result<Page, String> {
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).map_err(|error| error.to_string())?;
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("no status: {head:?}"))?;
    Ok(Page { status, head: head.to_lowercase(), body: body.to_owned() })
}

#[track_caller]
fn get(address: SocketAddr, path: &str) -> Page {
    ask(address, "GET", path).expect("a page")
}

/// Returns the metrics address of a node that was started with `--metrics`.
#[track_caller]
fn shown_at(node: &Node) -> SocketAddr {
    text(&node.await_event("node_started", |_| true)["metrics"]).parse().expect("an address")
}

/// Two friends on a chain of their own with three blocks, each with metrics.
struct Friends {
    nodes: [Node; 2],
    addresses: [SocketAddr; 2],
}

impl Friends {
    #[track_caller]
    fn with_three_blocks() -> Self {
        let net = TestNet::new();
        let (one, two) = (net.folder("yzw"), net.folder("yjf"));
        let address = one.new_address();
        one.create_chain(&address);
        two.join(&one);
        let first = one.start(&["--metrics", "127.0.0.1:0"]);
        let second = two.start(&["--metrics", "127.0.0.1:0", "--peer", &first.address]);
        one.mine(3, Some(&address));
        await_one_tip(&[&one, &two], 3);
        let addresses = [shown_at(&first), shown_at(&second)];
        Self { nodes: [first, second], addresses }
    }
}

/// Returns the path of a file in `deploy/`.
fn deployed(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// Returns, by name, the documentation table's row for each metric family of ours on an OpenMetrics
/// page.
#[track_caller]
fn families(page: &str) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    let words = |line: &str, head: &str| {
        let rest = line.strip_prefix(head)?;
        rest.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.to_owned()))
    };
    let described =
        page.lines().filter_map(|line| words(line, "# HELP ")).collect::<BTreeMap<_, _>>();
    let units = page.lines().filter_map(|line| words(line, "# UNIT ")).collect::<BTreeMap<_, _>>();
    for (name, kind) in page.lines().filter_map(|line| words(line, "# TYPE ")) {
        if !name.starts_with("friendchain_") {
            continue;
        }
        let shown = if kind == "counter" { format!("{name}_total") } else { name.clone() };
        let suffixes = ["", "_total", "_bucket", "_sum", "_count"];
        let ours = |sample: &str| suffixes.iter().any(|suffix| sample == format!("{name}{suffix}"));
        let mut labels = BTreeSet::new();
        let mut samples = 0;
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (sample, rest) = line.split_at(line.find(['{', ' ']).expect("a value"));
            if ours(sample) {
                samples += 1;
                let inside = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split_once('}'))
                    .map_or("", |(inside, _)| inside);
                let names = inside
                    .split("\",")
                    .filter_map(|label| label.split_once("=\""))
                    .map(|(name, _)| name);
                labels.extend(names.filter(|name| *name != "le"));
            }
        }
        assert!(samples > 0, "{name} has no series");
        let labels =
            labels.into_iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let unit = units.get(&name).map_or("", String::as_str);
        let meaning = described
            .get(&name)
            .unwrap_or_else(|| panic!("{name} has no help"))
            .trim_end_matches('.');
        rows.insert(
            shown.clone(),
            format!("| `{shown}` | {kind} | {labels} | {unit} | {meaning} |"),
        );
    }
    rows
}

#[test]
fn what_a_node_measures_is_what_its_table_says() {
    let friends = Friends::with_three_blocks();
    let page = get(friends.addresses[0], "/metrics");
    assert_eq!(page.status, 200);
    assert!(
        page.head
            .contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{page:?}"
    );
    assert!(page.body.ends_with("\n# EOF\n"), "{}", page.body);
    assert!(
        page.body.contains("\nfriendchain_height 3\n")
            && page.body.contains("\nfriendchain_peers 1\n")
    );
    assert!(page.body.contains("\nfriendchain_blocks_mined_total 3\n"), "{}", page.body);
    assert!(
        page.body.contains("\nlibp2p_swarm_connections_established_total{"),
        "libp2p's own are there"
    );
    let other = friends.nodes[1].status();
    assert!(!page.body.contains(&text(&other["peer_id"])), "no label is a peer's");

    let readme = fs::read_to_string(deployed("README.md")).expect("the readme");
    let table: Vec<&str> =
        readme.lines().filter(|line| line.starts_with("| `friendchain_")).collect();
    let measured: Vec<String> = families(&page.body).into_values().collect();
    assert_eq!(
        table,
        measured,
        "the table of deploy/README.md should be:\n{}",
        measured.join("\n")
    );

    let head = ask(friends.addresses[0], "HEAD", "/metrics").expect("a head");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn every_alert_is_explained_and_tried_out_and_rests_on_what_is_measured() {
    let read = |path| fs::read_to_string(deployed(path)).expect("a file");
    let (readme, rules, trials) =
        (read("README.md"), read("prometheus/alerts.yml"), read("prometheus/alerts_test.yml"));
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(
            readme.contains(&format!("| `{alert}` |")),
            "deploy/README.md does not explain {alert}"
        );
        let tried = format!("alertname: {alert}\n");
        let (fires, quiet) = trials.split(&tried).skip(1).partition::<Vec<_>, _>(|rest| {
            rest.trim_start().lines().next().is_some_and(|line| line.trim() == "exp_alerts:")
        });
        assert!(!fires.is_empty() && !quiet.is_empty(), "{alert} is not tried out both ways");
    }
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    for word in rules.split(ends).filter(|word| word.starts_with("friendchain_")) {
        let name = word.strip_suffix("_bucket").unwrap_or(word);
        assert!(readme.contains(&format!("| `{name}` |")), "{word} is in no table");
    }
}

#[test]
fn a_node_says_why_it_is_not_ready_until_it_is() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    // No node listens there, so for a while the height of the chain is unknown.
    let nobody = format!("127.0.0.1:{}", free_port());
    let node = folder.start(&["--metrics", "127.0.0.1:0", "--peer", &nobody]);
    let address = shown_at(&node);
    let page = get(address, "/readyz");
    assert_eq!(
        (page.status, page.body.as_str()),
        (503, "starting: no friend has said yet how far the chain is\n")
    );
    assert!(get(address, "/metrics").body.contains("\nfriendchain_ready 0\n"));
    assert_eq!(get(address, "/livez").status, 200);
    eventually("alone is ready", || {
        let page = get(address, "/readyz");
        holds((page.status, page.body.as_str()) == (200, "ready\n"), &page)
    });
    assert!(
        get(address, "/metrics").body.contains("\nfriendchain_sync_phase{phase=\"alone\"} 1\n")
    );
    assert_eq!(text(&node.status()["metrics"]), address.to_string());
    let file = fs::read_to_string(folder.path().join("node.json")).expect("the node's file");
    assert!(file.contains(&address.to_string()), "{file}");
    node.stop();
    assert!(TcpStream::connect(address).is_err(), "nobody listens after the end");
}

#[test]
fn hostile_askers_get_nothing_and_cost_nothing() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.create_chain(&folder.new_address());
    let mut node = folder.start(&["--metrics", "127.0.0.1:0"]);
    let address = shown_at(&node);

    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(ask(address, method, "/metrics").expect("an answer").status, 405, "{method}");
    }
    assert_eq!(get(address, "/").status, 404);
    let huge = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // The server closes the connection or replies that the header is too large.
    let answer = exchange(address, huge.as_bytes()).unwrap_or_default();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n"]
    {
        let answer = exchange(address, &[garbage, b"\r\n\r\n"].concat()).unwrap_or_default();
        assert!(!answer.contains(" 200 "), "{answer}");
    }

    // Open more connections than the server handles at once: silent ones, ones with half a request,
    // and ones that never read the response.
    let opened = |first: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("the system's queue takes it");
        stream.write_all(first).expect("sent");
        stream
    };
    let held: Vec<TcpStream> = (0..60)
        .map(|number| match number % 3 {
            0 => opened(b""),
            1 => opened(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "),
            _ => opened(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
        })
        .collect();
    eventually("who asks properly is answered, when the others have had their time", || {
        let page = ask(address, "GET", "/livez")?;
        holds((page.status, page.body.as_str()) == (200, "alive\n"), &page)
    });
    drop(held);
    assert!(node.is_running());
    assert_eq!(number(&node.status()["height"]), 0);
    node.stop();
}

#[test]
fn a_port_that_is_taken_is_a_sentence() {
    let folder = TestNet::new().folder("yzw");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let answer = folder.run([
        "--json",
        "start-node",
        "--no-mdns",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        &address,
    ]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let (code, sentence) = answer.error();
    assert_eq!(code, "metrics_port_in_use");
    assert!(sentence.contains(&address) && sentence.contains("--metrics"), "{sentence}");
}

/// A Prometheus process; killed when dropped.
struct Prometheus {
    address: SocketAddr,
    child: Child,
}

impl Prometheus {
    /// Scrapes the addresses each second, with the deployed alert rules.
    #[track_caller]
    fn start(folder: &Folder, targets: &[SocketAddr]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let base = folder.path();
        let rules = deployed("prometheus/alerts.yml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
             scrape_configs: [{{job_name: friendchain, static_configs: [{{targets: \
             {targets:?}}}]}}]\n",
            rules.display(),
            targets = targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        );
        let file = base.join("prometheus.yml");
        fs::write(&file, config).expect("written");
        let log = fs::File::create(base.join("prometheus.log")).expect("a log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", base.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        Self { address, child }
    }

    /// Queries the HTTP API of Prometheus.
    fn api(&self, path: &str) -> Result<Value, String> {
        let page = ask(self.address, "GET", &format!("/api/v1/{path}"))?;
        let answer: Value =
            serde_json::from_str(&page.body).map_err(|error| format!("{error}: {page:?}"))?;
        if answer["status"] == "success" {
            Ok(answer["data"].clone())
        } else {
            Err(answer.to_string())
        }
    }

    /// Returns the values of a query by instance.
    fn values(&self, query: &str) -> Result<BTreeMap<String, String>, String> {
        let data = self.api(&format!("query?query={query}"))?;
        let result = data["result"].as_array().ok_or_else(|| data.to_string())?;
        Ok(result
            .iter()
            .map(|entry| (text(&entry["metric"]["instance"]), text(&entry["value"][1])))
            .collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_real_prometheus_scrapes_two_friends() {
    if !prometheus_wanted() {
        return;
    }
    let friends = Friends::with_three_blocks();
    let prometheus = Prometheus::start(&friends.nodes[0].folder, &friends.addresses);
    let both = |value: &str| -> BTreeMap<String, String> {
        friends.addresses.iter().map(|address| (address.to_string(), value.to_owned())).collect()
    };
    eventually("both targets are up", || {
        let targets = prometheus.api("targets?state=active")?;
        let up = |target: &Value| target["health"] == "up" && target["lastError"] == "";
        let all = targets["activeTargets"].as_array().ok_or("no targets")?;
        holds(all.len() == 2 && all.iter().all(up), &targets)
    });
    for (query, value) in [
        ("up", "1"),
        ("friendchain_height", "3"),
        ("friendchain_peers", "1"),
        ("friendchain_ready", "1"),
    ] {
        eventually(query, || {
            let values = prometheus.values(query)?;
            holds(values == both(value), &values)
        });
    }
    let rules = eventually("every rule was evaluated", || {
        let rules = prometheus.api("rules")?;
        let all = rules["groups"][0]["rules"].as_array().ok_or("no rules")?.clone();
        holds(all.iter().all(|rule| rule["health"] == "ok"), &rules)?;
        Ok(all)
    });
    assert!(rules.iter().all(|rule| rule["state"] != "firing"), "nothing is wrong here: {rules:?}");
    friends.nodes.into_iter().for_each(Node::stop);
}

#[test]
fn the_rules_hold_what_they_promise() {
    if !prometheus_wanted() {
        return;
    }
    let folder = deployed("prometheus").display().to_string();
    for check in
        ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"]
    {
        shell(&format!("cd '{folder}' && promtool {check} 1>&2"));
    }
}
