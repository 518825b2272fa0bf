//! Tests which folder a command uses, and which settings the folder keeps.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::Value;

use crate::support::{
    Folder, Node, TestNet,
    chain::{number, text},
    eventually,
    folder::binary,
    holds,
    ports::free_port,
    tools::{hangups_wanted, shell, shell_ok},
};

/// Returns a setting of `config show`.
#[track_caller]
fn setting(folder: &Folder, key: &str) -> Value {
    let list = folder.json(["config", "show"]);
    let settings = list["settings"].as_array().expect("settings");
    settings.iter().find(|setting| setting["key"] == key).expect("the setting").clone()
}

/// Starts a daemon without mDNS on the folder that the program chooses.
#[track_caller]
fn start(folder: &Folder, args: &[&str]) -> Node {
    let node = folder.spawn(&[&["start-node", "--no-mdns"], args].concat());
    node.await_event("listening", |_| true);
    node
}

#[test]
fn after_people_the_commands_of_the_readme_need_no_flags() {
    let net = TestNet::new();
    let (yzw, yjf) = (net.folder("yzw").without_id(), net.folder("yjf").without_id());
    let (_, sentence) = yzw.refused(&["status"]);
    assert!(sentence.contains("people"), "what to do next: {sentence}");
    let first = yzw.people("127.0.0.1", free_port(), &["--no-mdns"]);
    for command in ["status", "mempool", "invite", "peers", "friends", "list-addresses"] {
        yzw.json([command]);
    }
    assert_eq!(yzw.json(["status"])["name"], "yzw");

    let second = yjf.people("127.0.0.1", free_port(), &["--no-mdns"]);
    let (code, sentence) = yzw.refused(&["status"]);
    assert_eq!(code, "several_folders");
    assert!(sentence.contains("yjf (runs)") && sentence.contains("yzw (runs)"), "{sentence}");
    second.stop();
    assert_eq!(yzw.json(["status"])["name"], "yzw", "the only one whose node runs");
    first.stop();
    let (_, sentence) = yzw.refused(&["start-node", "--no-mdns"]);
    assert!(sentence.contains("yzw (does not run)"), "{sentence}");
    assert_eq!(yzw.json(["--node-id", "yjf", "status"])["name"], "yjf");
}

#[test]
fn who_joins_and_then_starts_the_console_by_name_is_in_one_place() {
    let net = TestNet::new();
    let host = net.folder("host");
    host.create_chain(&host.new_address());
    let elsewhere = TestNet::new();
    let ann = elsewhere.folder("ann").without_id();
    let joined = ann.json(["join", &host.invite()]);
    let mut node = ann.people("127.0.0.1", free_port(), &["--no-mdns"]);
    node.await_printed(0, "ann has the folder");
    let status = ann.json(["status"]);
    assert_eq!((&status["network_id"], &status["name"]), (&joined["network_id"], &"ann".into()));
    assert!(!ann.path().exists(), "no second folder");
    node.say("q");
    assert!(node.await_end().success());
    // From now on the folder is ann's, and bob gets one of his own.
    let bob = elsewhere.folder("bob").without_id();
    let other = bob.people("127.0.0.1", free_port(), &["--no-mdns"]);
    other.await_printed(0, "bob is new on this machine");
    assert!(bob.path().exists());
}

#[test]
fn name_port_and_mining_mode_of_the_first_start_are_kept() {
    let net = TestNet::new();
    let folder = net.folder("ann").without_id();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    start(&folder, &["--name", "Ann", "--listen", &listen, "--mine", "on-demand"]).stop();
    let file = folder.path().with_file_name("default").join("friendchain.toml");
    let mode = fs::metadata(&file).expect("the file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let kept = fs::read_to_string(&file).expect("the file");

    let again = start(&folder, &[]);
    let status = again.status();
    assert_eq!((&status["name"], &status["mining"]), (&"Ann".into(), &"on-demand".into()));
    let addresses = status["listen"].to_string();
    assert!(addresses.contains(&format!("/tcp/{port}")), "{addresses}");
    again.stop();

    // A value typed at a later start applies to that start only.
    let (once, other) = (free_port(), format!("127.0.0.1:{}", free_port()));
    assert_ne!(once, port);
    start(&folder, &["--name", "Bob", "--listen", &other, "--mine", "off"]).stop();
    assert_eq!(fs::read_to_string(&file).expect("the file"), kept);
}

#[test]
fn config_shows_where_each_setting_comes_from() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let port = free_port();
    let changed = folder.json(["config", "set", "port", &port.to_string()]);
    assert_eq!(changed["settings"][0]["value"], port);
    folder.json(["config", "set", "cache-mib", "32"]);
    let mut command = folder.command(["start-node", "--no-mdns", "--mine", "always"]);
    command.env("FRIENDCHAIN_CACHE_MIB", "48").env("FRIENDCHAIN_THREADS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    eventually("the node answers", || folder.try_json(["peers"]));
    for (key, value, origin) in [
        ("mine", Value::from("always"), "flag"),
        ("mdns", false.into(), "flag"),
        ("cache-mib", 48.into(), "environment"),
        ("threads", 1.into(), "environment"),
        ("port", port.into(), "friendchain.toml"),
        ("lan-friends", true.into(), "default"),
    ] {
        let shown = setting(&folder, key);
        assert_eq!((&shown["value"], &shown["origin"]), (&value, &origin.into()), "{shown}");
    }
    // A change applies from the next start on, and the command says so.
    let other = free_port();
    let said = folder.run(["config", "set", "port", &other.to_string()]).done().stdout;
    assert!(said.contains(&format!("runs with {port}")), "{said}");
    assert_eq!(setting(&folder, "port")["running"], port);
    folder.run(["stop"]).done();
    assert!(child.wait().expect("it ends").success());
    assert_eq!(setting(&folder, "port")["value"], other);
    // The folder keeps the mining mode of the first start, and an empty value removes it.
    assert_eq!(setting(&folder, "mine")["origin"], "friendchain.toml");
    folder.json(["config", "set", "mine", ""]);
    assert_eq!(setting(&folder, "mine")["origin"], "default");
}

#[test]
fn a_wrong_setting_is_a_sentence_with_the_nearest_known_one_or_the_line() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let (code, sentence) = folder.refused(&["config", "set", "prot", "9000"]);
    assert_eq!(code, "unknown_setting");
    assert!(sentence.contains("'prot'") && sentence.contains("'port'"), "{sentence}");
    for (key, value) in [("port", "70000"), ("mine", "sometimes"), ("name", "a#b"), ("rpc", "1")] {
        folder.refused(&["config", "set", key, value]);
    }
    folder.json(["config", "set", "name", "yzw"]);
    let file = folder.path().join("friendchain.toml");
    for (text, part) in [
        ("name = \"yzw\"\nprot = 1\n", "friendchain.toml line 2: 'prot' is no setting"),
        ("name = \"yzw\n", "friendchain.toml line 1: it is not TOML"),
        ("\n\nport = \"x\"\n", "friendchain.toml line 3: 'port' is a port"),
    ] {
        fs::write(&file, text).expect("a file");
        for args in [
            &["start-node", "--no-mdns"][..],
            &["people", "127.0.0.1", "8891", "yzw"],
            &["config", "show"],
            &["config", "set", "mdns", "off"],
        ] {
            let (_, sentence) = folder.refused(args);
            assert!(sentence.contains(part), "{args:?}: {sentence}");
        }
        assert_eq!(fs::read_to_string(&file).expect("the file"), text, "the file stays");
    }
    for bytes in [vec![0xff_u8; 10], vec![b'#'; 100_000]] {
        fs::write(&file, bytes).expect("a file");
        folder.refused(&["config", "show"]);
    }
    fs::remove_file(&file).expect("removed");
    shell(&format!("mkfifo '{}'", file.display()));
    folder.refused(&["config", "show"]);
}

#[test]
fn a_linked_settings_file_stays_a_link() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    folder.json(["config", "set", "name", "yzw"]);
    let (file, place) = (folder.path().join("friendchain.toml"), folder.path().join("elsewhere"));
    fs::rename(&file, &place).expect("moved");
    std::os::unix::fs::symlink(&place, &file).expect("a link");
    folder.json(["config", "set", "port", "9000"]);
    assert!(fs::symlink_metadata(&file).expect("there").is_symlink());
    assert!(fs::read_to_string(&place).expect("the file").contains("port = 9000"));
    fs::remove_file(&place).expect("removed");
    assert_eq!(folder.refused(&["config", "show"]).0, "dangling_link");
}

#[test]
fn people_with_a_name_alone_can_be_reached_and_with_a_loopback_address_says_that_it_cannot() {
    let net = TestNet::new();
    let mut yzw = net.folder("yzw").without_id().people("127.0.0.1", free_port(), &["--no-mdns"]);
    yzw.await_printed(0, "only this machine can reach this node");
    yzw.await_printed(0, "friendchain people yzw");
    assert_eq!(yzw.folder.json(["friends"])["only_this_machine"], true);
    let hint = yzw.ask("lf", &["only this machine"]);
    assert!(!hint.contains("LAN"), "{hint}");
    let port = free_port();
    let folder = net.folder("yjf").without_id();
    folder.json(["--node-id", "yjf", "config", "set", "port", &port.to_string()]);
    let yjf = folder.spawn(&["people", "yjf", "--no-mdns"]);
    yjf.await_event("listening", |_| true);
    let status = eventually("it listens", || {
        let status = folder.json(["--node-id", "yjf", "status"]);
        holds(status["listen"].as_array().is_some_and(|all| all.len() > 1), &status)?;
        Ok(status)
    });
    assert_eq!(status["name"], "yjf");
    assert!(text(&status["listen"][0]).contains(&port.to_string()), "{status}");
    assert!(!yjf.printed_since(0).contains("only this machine"));
}

#[test]
fn a_node_without_a_port_keeps_the_one_that_it_finds_free() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let port_of = |node: &Node| {
        let status = node.status();
        let address = text(&status["listen"][0]);
        let parts: Vec<_> = address.split('/').map(str::to_owned).collect();
        parts[4].parse::<u16>().expect("a port")
    };
    let node = start(&folder, &[]);
    let port = port_of(&node);
    assert!(port >= 8_891, "{port}");
    node.stop();
    assert_eq!(number(&setting(&folder, "port")["value"]), u64::from(port));
    let again = start(&folder, &[]);
    assert_eq!(port_of(&again), port);
}

#[test]
fn an_empty_environment_variable_is_none() {
    let net = TestNet::new();
    let folder = net.folder("yzw").without_id();
    let names = [
        "NAME",
        "LISTEN",
        "PEERS",
        "MINE",
        "MINER",
        "THREADS",
        "RPC",
        "METRICS",
        "LOG_DIR",
        "CACHE_MIB",
        "LAN_FRIENDS",
        "PASSPHRASE_FILE",
    ];
    let mut command = folder.command(["start-node", "--no-mdns", "--log-format", "json"]);
    for name in names {
        command.env(format!("FRIENDCHAIN_{name}"), if name == "LISTEN" { " " } else { "" });
    }
    command.env("NODE_ID", "").env("NO_COLOR", "").env("RUST_LOG", "");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    eventually("the node answers", || folder.try_json(["peers"]));
    let mut asked = folder.command(["create-wallet", "--json"]);
    asked.env("FRIENDCHAIN_PASSPHRASE_FILE", "").env("NODE_ID", "");
    assert!(asked.output().expect("it runs").status.success());
    // Without a given data folder, the program uses the platform's, which is under HOME.
    let mut bare = folder.command(["list-addresses"]);
    bare.env("FRIENDCHAIN_DATA_DIR", "").env("HOME", folder.path()).env_remove("XDG_DATA_HOME");
    let said = String::from_utf8(bare.output().expect("it runs").stderr).expect("text");
    assert!(said.contains("no data folder") && said.contains("friendchain/default"), "{said}");
    folder.run(["stop"]).done();
    assert!(child.wait().expect("it ends").success());
}

/// Root keeps a service's folder in order, as with `sudo friendchain create-wallet`.
#[test]
#[cfg(target_os = "linux")]
fn whatever_root_writes_into_a_services_folder_belongs_to_the_service() {
    use std::os::unix::fs::MetadataExt as _;
    const SERVICE: u32 = 54_321;
    if !shell_ok("test $(id -u) = 0") {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let address = folder.new_address();
    folder.create_chain(&address);
    shell(&format!("chown -R {SERVICE}:{SERVICE} '{}'", folder.path().display()));
    folder.new_address();
    folder.json(["config", "set", "name", "yzw"]);
    let node = folder.start(&[]);
    folder.json(["broadcast", "hello"]);
    node.stop();
    folder.mine(1, Some(&address));
    let owner = |path: &std::path::Path| fs::metadata(path).expect("there").uid();
    assert_eq!(owner(&folder.path()), SERVICE);
    for entry in fs::read_dir(folder.path()).expect("a folder").flatten() {
        assert_eq!(owner(&entry.path()), SERVICE, "{}", entry.path().display());
    }
}

/// Closing a terminal sends SIGHUP.
#[test]
fn a_closed_terminal_ends_the_node_as_a_signal_does() {
    if !hangups_wanted() {
        return;
    }
    let net = TestNet::new();
    let (yzw, yjf) = (net.folder("yzw"), net.folder("yjf"));
    yzw.apart_from_others(&yjf);
    let friend = yzw.start(&[]);
    let mut node = yjf.people("127.0.0.1", free_port(), &["--no-mdns", "--peer", &friend.address]);
    yzw.befriends(&yjf);
    friend.await_event("friend_joined", |event| event["name"] == "yjf");
    node.signal("HUP");
    assert!(node.await_end().success());
    friend.await_event("friend_left", |event| event["name"] == "yjf" && event["how"] == "quit");
    assert!(!yjf.path().join("node.json").exists());
    let mut daemon = yjf.start(&[]);
    daemon.signal("HUP");
    assert!(daemon.await_end().success());
    assert!(!yjf.path().join("node.json").exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_node_that_was_told_to_outlive_its_terminal_does() {
    let net = TestNet::new();
    let folder = net.folder("yzw");
    let listen = format!("127.0.0.1:{}", free_port());
    let command = folder.command(["start-node", "--no-mdns", "--listen", &listen]);
    let program = command.get_program().to_owned();
    let mut nohup = std::process::Command::new("nohup");
    nohup.arg(program).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nohup.env(name, value),
            None => nohup.env_remove(name),
        };
    }
    nohup.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = nohup.spawn().expect("nohup");
    eventually("the node answers", || folder.try_json(["peers"]));
    shell(&format!("kill -HUP {}", child.id()));
    folder.json(["status"]);
    folder.run(["stop"]).done();
    assert!(child.wait().expect("it ends").success());
}

/// Root has no process limit, so the program runs as another user there.
#[test]
#[cfg(target_os = "linux")]
fn a_limit_of_processes_is_a_sentence_and_never_a_panic() {
    if !shell_ok("prlimit --version && setpriv --version && timeout --version") {
        return;
    }
    let place = tempfile::TempDir::with_prefix("friendchain-limit-").expect("a folder");
    let path = place.path().to_str().expect("UTF-8");
    shell(&format!("cp '{}' '{path}/friendchain' && mkdir '{path}/data'", binary()));
    let user = if shell_ok("test $(id -u) = 0") {
        shell(&format!("chmod 755 '{path}' && chmod 777 '{path}/data'"));
        "setpriv --reuid=54321 --clear-groups"
    } else {
        ""
    };
    let run = |limit: u32, args: &str| {
        let line = format!(
            "cd / && timeout --preserve-status -s TERM 20 {user} prlimit --nproc={limit} \
             '{path}/friendchain' --data-dir '{path}/data' {args} 2>&1; echo \"code $?\""
        );
        shell(&line)
    };
    for limit in [1, 2, 3, 4, 5, 6, 8, 10, 12] {
        for args in ["start-node --no-mdns", "people yzw --no-mdns", "create-wallet"] {
            let said = run(limit, args);
            assert!(!said.contains("panicked"), "{limit} {args}: {said}");
            let refused = said.contains("threads that it needs") && said.ends_with("code 1\n");
            let done = args == "create-wallet" && said.ends_with("code 0\n");
            assert!(refused || done || (limit > 6 && said.contains("code 0")), "{limit}: {said}");
        }
    }
    let said = run(1_000, "create-wallet");
    assert!(said.ends_with("code 0\n"), "{said}");
}

#[test]
fn a_kept_port_that_another_program_has_is_named_with_its_holder_and_stays_kept() {
    let net = TestNet::new();
    let (yzw, yjf) = (net.folder("yzw"), net.folder("yjf"));
    let port = free_port();
    for folder in [&yzw, &yjf] {
        folder.json(["config", "set", "port", &port.to_string()]);
    }
    let refused = || {
        let mut command = yzw.command(["people", "yzw", "--no-mdns"]);
        let said = String::from_utf8(command.output().expect("it runs").stderr).expect("text");
        assert!(said.contains(&format!("port {port} is already in use")), "{said}");
        assert!(said.contains("friendchain --node-id yzw config set port "), "{said}");
        assert_eq!(number(&setting(&yzw, "port")["value"]), u64::from(port));
        said
    };
    let program = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let said = refused();
    assert!(!said.contains("the node of the folder"), "it is no node: {said}");
    drop(program);
    let node = start(&yjf, &[]);
    let said = refused();
    let holder = "the node of the folder yjf has it: friendchain --node-id yjf stop ends it";
    assert!(said.contains(holder), "{said}");
    node.stop();
    // The port that the sentence names is free.
    let (_, command) = said.rsplit_once("config set port ").expect("the command");
    let other: u16 = command.split(' ').next().expect("a port").parse().expect("a port");
    assert_ne!(other, port);
    let node = start(&yzw, &[]);
    assert!(node.status()["listen"].to_string().contains(&format!("/{port}")), "the kept port");
}
