//! Tests the node as a service: its messages to a service manager, and its build.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::{Child, Stdio},
};

use crate::support::{DEADLINE, Folder, TestNet, ports::free_port};

/// A node process that is stopped with SIGTERM.
struct Service(Child);

impl Service {
    fn start(folder: &Folder, notify: &str, watchdog: &[(&str, &str)]) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut command = folder.command(["start-node", "--no-mdns", "--listen", &listen]);
        command.env("NOTIFY_SOCKET", notify).envs(watchdog.iter().copied());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the program starts"))
    }

    fn stop(mut self) {
        let killed =
            std::process::Command::new("kill").arg(self.0.id().to_string()).status().expect("kill");
        assert!(killed.success());
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process has ended, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).expect("a message within the deadline");
    String::from_utf8(bytes[..length].to_vec()).expect("text")
}

#[test]
fn a_service_manager_hears_when_the_node_serves_and_when_it_stops() {
    let net = TestNet::new();
    let path = net.file("notify", "");
    std::fs::remove_file(&path).expect("removed");
    let abstract_name = format!("friendchain-test-{}", std::process::id());
    let name = SocketAddr::from_abstract_name(&abstract_name).expect("a name");
    let sockets = [
        (path.clone(), UnixDatagram::bind(&path).expect("a socket")),
        (format!("@{abstract_name}"), UnixDatagram::bind_addr(&name).expect("a socket")),
    ];
    for (notify, socket) in sockets {
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let folder = net.folder("yzw");
        let node = Service::start(&folder, &notify, &[]);
        assert_eq!(told(&socket), "READY=1");
        // After READY the node answers commands and listens for peers.
        let status = folder.json(["status"]);
        assert_eq!(
            (&status["running"], status["listen"].as_array().map(Vec::len)),
            (&true.into(), Some(2))
        );
        let line = told(&socket);
        assert!(line.starts_with("STATUS=") && line.contains("height 0, 0 peers"), "{line}");
        node.stop();
        let mut last = told(&socket);
        while last.starts_with("STATUS=") {
            last = told(&socket);
        }
        assert_eq!(last, "STOPPING=1");
    }
}

#[test]
fn a_watchdog_hears_of_a_node_that_lives_unless_it_is_that_of_another_process() {
    let net = TestNet::new();
    let path = net.file("notify", "");
    std::fs::remove_file(&path).expect("removed");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let folder = net.folder("yzw");
    let usec = ("WATCHDOG_USEC", "200000");
    let node = Service::start(&folder, &path, &[usec]);
    assert_eq!(told(&socket), "READY=1");
    let mut fed = 0;
    while fed < 3 {
        match told(&socket) {
            message if message == "WATCHDOG=1" => fed += 1,
            message => assert!(message.starts_with("STATUS="), "{message}"),
        }
    }
    node.stop();
    while told(&socket) != "STOPPING=1" {}

    let node = Service::start(&folder, &path, &[usec, ("WATCHDOG_PID", "1")]);
    assert_eq!(told(&socket), "READY=1");
    assert!(told(&socket).starts_with("STATUS="));
    node.stop();
    let mut last = told(&socket);
    while last.starts_with("STATUS=") {
        last = told(&socket);
    }
    assert_eq!(last, "STOPPING=1");
}

#[test]
fn the_image_bears_the_programs_version() {
    let dockerfile = include_str!("../../deploy/Dockerfile");
    for line in [
        format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION")),
        "org.opencontainers.image.version=\"${VERSION}\" ".to_owned(),
        "org.opencontainers.image.revision=\"${REVISION}\"\n".to_owned(),
    ] {
        assert!(dockerfile.contains(&line), "deploy/Dockerfile should say {line}");
    }
}

#[test]
fn the_tour_across_routers_knows_the_addresses_of_the_compose_file() {
    let compose = include_str!("../../deploy/docker-compose.yml");
    let tour = include_str!("../../deploy/wan.py");
    for (name, address) in
        [("pub", "203.0.113.10"), ("gateway-a", "203.0.113.20"), ("gateway-b", "203.0.113.30")]
    {
        assert!(compose.contains(&format!("container_name: {name}\n")), "{name}");
        assert!(compose.contains(&format!("internet: {{ipv4_address: {address}}}")), "{address}");
        assert!(tour.contains(&format!("\"{name}\"")), "{name}");
        assert!(tour.contains(&format!("\"{address}\"")), "{address}");
    }
}

#[test]
fn the_binary_says_that_its_signature_checks_have_avx_512() {
    let version = TestNet::new().folder("yzw").run(["--version"]).done().stdout;
    let (first, features) = version.trim_end().split_once("\nfeatures: ").expect("features");
    assert_eq!(first, format!("friendchain {}", env!("CARGO_PKG_VERSION")));
    if cfg!(target_arch = "x86_64") {
        assert!(features.split(' ').any(|feature| feature == "avx512"), "{features:?}");
    }
}
