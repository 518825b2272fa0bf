//! The RPC's port: half requests, and waiting consoles, while the owner wants to stop the node.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    arena::Scale,
    support::{TestNet, chain::text},
};

/// The number of half requests. The server must not keep all of them open.
const HALVES: usize = 400;
/// The number of consoles that wait for events.
const CONSOLES: usize = 128;

fn rpc_address(node_file: &str) -> String {
    let file: Value = serde_json::from_str(node_file).expect("JSON");
    let fields = file.as_object().expect("an object");
    let loopback = |value: &&Value| value.as_str().is_some_and(|text| text.contains("127.0.0.1:"));
    let field = text(fields.values().find(loopback).expect("an address"));
    field.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// Runs the attack on the RPC. Returns its line, and true if the bars hold.
pub(crate) fn rpc_doors(scale: Scale) -> (String, bool) {
    let folder = TestNet::new().folder("victim");
    folder.create_chain(&folder.new_address());
    let mut node = folder.start(&[]);
    let file = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
    let (address, token) = (rpc_address(&file("node.json")), file("rpc.token"));
    let open = |bytes: &str| {
        let mut socket = TcpStream::connect(&address).expect("the RPC listens");
        // The server may have closed the socket already.
        let _ = socket.write_all(bytes.as_bytes());
        socket
    };
    let half = format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Le");
    let mut halves: Vec<_> = (0..HALVES).map(|_| open(&half)).collect();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"events","params":[1000000,30000]}"#;
    let poll = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token.trim(),
        body.len(),
    );
    let consoles: Vec<_> = (0..CONSOLES).map(|_| open(&poll)).collect();
    thread::sleep(Duration::from_secs(2));
    let start = Instant::now();
    let status = folder.run(["status"]).code == Some(0);
    let answered = start.elapsed().as_secs_f64();
    // An honest client sends a head at once. 45 s are far more than any connection needs.
    let kept = (scale == Scale::Long).then(|| {
        thread::sleep(Duration::from_secs(45));
        halves.iter_mut().map(is_open).filter(|open| *open).count()
    });
    let start = Instant::now();
    let stopped = folder.run(["stop"]).code == Some(0);
    let ended = node.await_end().success();
    let stop = start.elapsed().as_secs_f64();
    drop((halves, consoles));
    let fine = status
        && stopped
        && ended
        && kept.is_none_or(|kept| kept == 0)
        && (scale == Scale::Quick || answered <= 10.0 && stop <= 10.0);
    let kept = kept.map_or("not counted".to_owned(), |kept| kept.to_string());
    let line = format!(
        "status {status} in {answered:.1} s, stop {stopped} in {stop:.1} s, half requests kept \
         {kept} (bars: 10 s, 10 s, 0)"
    );
    (line, fine)
}

fn is_open(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).expect("a socket");
    let mut bytes = [0; 512];
    loop {
        match socket.read(&mut bytes) {
            Ok(0) => return false,
            // An answer such as 408 comes before the end.
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}
