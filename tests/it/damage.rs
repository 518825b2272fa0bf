//! Tests files that are damaged, in the way, or cannot be written. The program fails with a
//! sentence and leaves them unchanged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use redb::{Database, ReadableTable as _, TableDefinition};

use crate::support::{
    Folder, TestNet,
    chain::{number, text},
    eventually, holds,
    tools::{mounts_wanted, shell, shell_ok},
};

/// Makes a folder with a chain of some blocks and a trade in the mempool.
fn used(net: &TestNet) -> (Folder, String) {
    let folder = net.folder("yzw");
    let yzw = folder.new_address();
    folder.create_chain(&yzw);
    let yjf = folder.new_address();
    folder.send(&yzw, &yjf, "1");
    folder.mine(5, Some(&yzw));
    folder.send(&yzw, &yjf, "2");
    (folder, yzw)
}

/// Returns commands that only read.
fn reading(address: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["status"],
        vec!["print-chain"],
        vec!["get-balance", "--address", address],
        vec!["verify-chain"],
        vec!["block", "0"],
        vec!["mempool"],
        vec!["list-addresses"],
        vec!["friends"],
        vec!["history"],
    ]
}

/// Checks that a command and the node fail with these words, and that the file stays unchanged.
#[track_caller]
fn assert_refused_unchanged(folder: &Folder, path: &Path, args: &[&str], words: &[&str]) {
    let before = fs::read(path).ok();
    let (_, message) = folder.refused(args);
    let start = folder.run(["start-node", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(start.code, Some(1), "{start:?}");
    for word in words {
        assert!(message.contains(word), "{word:?} in {message:?}");
        assert!(start.stderr.contains(word), "{word:?} in {start:?}");
    }
    assert!(!start.stderr.contains("panicked"), "{start:?}");
    assert!(fs::read(path).ok() == before, "{} was changed", path.display());
}

#[test]
fn a_mistyped_node_id_makes_no_folder() {
    let net = TestNet::new();
    let (right, yzw) = used(&net);
    let wrong = net.folder("yzv");
    for args in reading(&yzw) {
        let (code, message) = wrong.refused(&args);
        assert_eq!(code, "no_such_folder", "{args:?}: {message}");
        assert!(message.contains("yzv") && message.contains("--node-id"), "{message}");
    }
    let send = ["send", "--from", &yzw, "--to", &yzw, "--amount", "1"];
    let nothing = "00".repeat(32);
    for args in [
        &["stop"][..],
        &["peers"],
        &["console"],
        &["sync"],
        &["chat", "yjf", "hello"],
        &["broadcast", "hello"],
        &["lock"],
        &send,
        &["note", "hello"],
        &["mine"],
        &["raise-fee", &nothing, "--fee", "1"],
        &["tx", &nothing],
        &["prove", &nothing],
        &["accept-branch", &nothing],
        &["invite"],
        &["leave-chain"],
        &["reindex"],
    ] {
        assert_eq!(wrong.refused(args).0, "no_such_folder", "{args:?}");
    }
    assert!(!wrong.path().exists(), "nothing was made");
    assert!(!right.balance(&yzw).is_empty());
}

#[test]
fn what_is_mistyped_for_a_new_folder_makes_none() {
    let net = TestNet::new();
    let folder = net.folder("yzv");
    assert_eq!(folder.run(["create-blockchain", "--address", "fc1zzz"]).code, Some(2));
    assert_eq!(folder.run(["join", "hello"]).code, Some(1));
    assert!(!folder.path().exists(), "nothing was made");
}

#[test]
fn what_is_in_the_place_of_a_file_is_named_and_left_alone() {
    let net = TestNet::new();
    let (folder, yzw) = used(&net);
    let balance = ["get-balance", "--address", &yzw];
    let chain = folder.path().join("chain.redb");
    let friends = folder.path().join("friends.redb");
    let kept = |path: &Path| path.with_extension("kept");
    for (path, args, word) in
        [(&chain, &balance[..], "chain.redb"), (&friends, &["history"], "friends.redb")]
    {
        fs::rename(path, kept(path)).expect("moved");
        for content in [&b""[..], b"these are my notes", &vec![7; 100_000]] {
            fs::write(path, content).expect("written");
            assert_refused_unchanged(&folder, path, args, &[word]);
        }
        // A valid database of another program.
        fs::remove_file(path).expect("removed");
        let other = Database::create(path).expect("made");
        let transaction = other.begin_write().expect("a transaction");
        transaction.open_table(TableDefinition::<u64, u64>::new("numbers")).expect("a table");
        transaction.commit().expect("a commit");
        drop(other);
        let (_, message) = folder.refused(args);
        assert!(message.contains(word), "{message}");
        fs::remove_file(path).expect("removed");
        fs::create_dir(path).expect("a folder");
        assert_refused_unchanged(&folder, path, args, &[word]);
        fs::remove_dir(path).expect("removed");
        fs::rename(kept(path), path).expect("moved back");
    }
    for (name, args) in [("wallet.json", &["list-addresses"][..]), ("identity.key", &balance)] {
        let path = folder.path().join(name);
        fs::rename(&path, kept(&path)).expect("moved");
        for content in [&b""[..], b"these are my notes", &[7; 68]] {
            fs::write(&path, content).expect("written");
            let (_, message) = folder.refused(args);
            assert!(message.contains(name), "{message}");
            assert_eq!(fs::read(&path).expect("the file"), content);
        }
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder");
        let (_, message) = folder.refused(args);
        assert!(message.contains(name), "{message}");
        fs::remove_dir(&path).expect("removed");
        fs::rename(kept(&path), &path).expect("moved back");
    }
    // The node file of a crashed node, cut off, is ignored.
    fs::write(folder.path().join("node.json"), "{\"pid\": 1, \"rpc\": \"nowhere").expect("written");
    folder.assert_sound();
    folder.start(&[]).stop();
}

#[test]
fn a_file_of_a_newer_program_is_refused_and_left_alone() {
    let net = TestNet::new();
    let (folder, yzw) = used(&net);
    let path = folder.path().join("chain.redb");
    let database = Database::open(&path).expect("a database");
    let transaction = database.begin_write().expect("a transaction");
    let meta = TableDefinition::<&str, &[u8]>::new("meta_1");
    let newer = 99_u32.to_le_bytes();
    transaction
        .open_table(meta)
        .expect("a table")
        .insert("schema", newer.as_slice())
        .expect("written");
    transaction.commit().expect("a commit");
    drop(database);
    let words = ["schema 99", "newer friendchain"];
    assert_refused_unchanged(&folder, &path, &["get-balance", "--address", &yzw], &words);
}

/// Changes one bit of a stored header.
fn flip_a_header(path: &Path) {
    let database = Database::open(path).expect("a database");
    let transaction = database.begin_write().expect("a transaction");
    {
        let headers = TableDefinition::<&[u8; 36], &[u8; 134]>::new("headers_1");
        let mut headers = transaction.open_table(headers).expect("a table");
        let (key, mut value) = {
            let (key, value) =
                headers.iter().expect("a table").nth(2).expect("there").expect("an entry");
            (*key.value(), *value.value())
        };
        value[50] ^= 1;
        headers.insert(&key, &value).expect("written");
    }
    transaction.commit().expect("a commit");
}

#[test]
fn a_chain_that_does_not_open_is_made_anew_by_reindex_and_the_old_file_is_kept() {
    let net = TestNet::new();
    let (folder, yzw) = used(&net);
    let before = folder.assert_sound();
    let waiting = folder.mempool();
    let path = folder.path().join("chain.redb");
    flip_a_header(&path);
    let (_, message) = folder.refused(&["get-balance", "--address", &yzw]);
    let start = folder.run(["start-node", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(start.code, Some(1), "{start:?}");
    for word in ["damaged", "reindex", "leave-chain"] {
        assert!(message.contains(word) && start.stderr.contains(word), "{message} {start:?}");
    }
    folder.json(["list-addresses"]);
    let size = fs::metadata(&path).expect("the file").len();

    let answer = folder.run(["--json", "reindex"]);
    assert_eq!(answer.code, Some(1), "it was damaged: {answer:?}");
    let audit = answer.json();
    assert_eq!(audit["coins_hash"], before["coins_hash"], "{audit}");
    let kept = backups(&folder, "chain-damaged-");
    assert!(text(&audit["problem"]).contains(kept[0].to_str().expect("UTF-8")), "{audit}");
    assert_eq!(fs::metadata(&kept[0]).expect("the backup").len(), size);
    assert_eq!(folder.assert_sound()["coins_hash"], before["coins_hash"]);
    assert_eq!(folder.mempool(), waiting, "an own trade still waits");
    folder.start(&[]).stop();
}

/// Returns the files of the folder whose names begin with `start`.
fn backups(folder: &Folder, start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path());
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
    };
    entries.filter(named).collect()
}

#[test]
fn a_chain_beyond_mending_can_be_left_and_its_file_is_kept() {
    let net = TestNet::new();
    let (folder, yzw) = used(&net);
    let path = folder.path().join("chain.redb");
    let garbage = vec![0x5a; 300_000];
    fs::write(&path, &garbage).expect("written");
    let (_, message) = folder.refused(&["reindex"]);
    assert!(message.contains("chain.redb"), "{message}");
    assert_eq!(fs::read(&path).expect("the file"), garbage);
    let left = folder.json(["leave-chain"]);
    assert_eq!(fs::read(text(&left["backup"])).expect("the backup"), garbage);
    folder.create_chain(&yzw);
    folder.assert_sound();
}

#[test]
fn a_truncated_chain_is_refused_in_a_sentence() {
    let net = TestNet::new();
    let (folder, yzw) = used(&net);
    let path = folder.path().join("chain.redb");
    let whole = fs::read(&path).expect("the file");
    for parts in [1, 4, 7] {
        fs::write(&path, &whole[..whole.len() * parts / 8]).expect("written");
        assert_refused_unchanged(
            &folder,
            &path,
            &["get-balance", "--address", &yzw],
            &["chain.redb"],
        );
    }
    fs::write(&path, &whole).expect("written");
    folder.assert_sound();
}

#[test]
fn a_read_only_folder_is_read_and_takes_nothing() {
    if !mounts_wanted() {
        return;
    }
    let net = TestNet::new();
    let (folder, yzw) = used(&net);
    let node = folder.start(&[]);
    let alive = folder.balance(&yzw);
    // A killed node leaves a database that redb must repair when it opens.
    node.kill();
    let mount = Mount::read_only(&folder.path());
    for args in reading(&yzw) {
        folder.json(&args);
    }
    assert_eq!(folder.balance(&yzw), alive);
    let (_, message) = folder.refused(&["send", "--from", &yzw, "--to", &yzw, "--amount", "1"]);
    assert!(message.contains("read-only"), "{message}");
    let start = folder.run(["start-node", "--no-mdns"]);
    assert_eq!(start.code, Some(1), "{start:?}");
    assert!(start.stderr.to_lowercase().contains("read-only"), "{start:?}");
    drop(mount);
    folder.assert_sound();
}

#[test]
fn a_full_disk_ends_the_node_with_a_sentence_and_with_room_again_it_goes_on() {
    if !mounts_wanted() {
        return;
    }
    let net = TestNet::new();
    let folder = net.folder("small");
    fs::create_dir(folder.path()).expect("a folder");
    let mount = Mount::tmpfs(&folder.path(), 24);
    let yzw = folder.new_address();
    folder.create_chain(&yzw);
    let mut node = folder.start(&["--mine", "always", "--miner", &yzw]);
    node.await_event("block_connected", |event| number(&event["height"]) >= 5);
    // Another file takes all free space, and takes it again whenever redb releases some.
    let filler = folder.path().join("filler");
    let status = eventually("the node ends", || {
        shell_ok(&format!("cat /dev/zero >> '{}' 2>/dev/null", filler.display()));
        if node.is_running() { Err("it runs".to_owned()) } else { Ok(node.await_end()) }
    });
    assert_eq!(status.code(), Some(1), "it ends by itself, and says so");
    let said = node.said();
    assert!(said.contains("free space"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let told = node.events_since(0, |event| event["event"] == "block_connected");
    let last =
        told.last().map(|event| (number(&event["height"]), text(&event["hash"]))).expect("blocks");

    fs::remove_file(&filler).expect("removed");
    assert_eq!(
        folder.json(["block", &last.0.to_string()])["hash"],
        last.1,
        "what was told is there"
    );
    folder.assert_sound();
    let node = folder.start(&["--mine", "always", "--miner", &yzw]);
    node.await_event("block_connected", |event| number(&event["height"]) >= last.0 + 3);
    node.stop();
    drop(mount);
}

/// A file system mounted over a folder; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts the folder over itself, read-only.
    fn read_only(folder: &Path) -> Self {
        let path = folder.display();
        shell(&format!("mount --bind '{path}' '{path}' && mount -o remount,ro,bind '{path}'"));
        Self(folder.to_owned())
    }

    /// Mounts a disk of `mib` MiB over the folder.
    fn tmpfs(folder: &Path, mib: u32) -> Self {
        shell(&format!("mount -t tmpfs -o size={mib}m,mode=700 tmpfs '{}'", folder.display()));
        Self(folder.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process that is ending may still use the mount for a moment.
        eventually("it is not mounted any more", || {
            holds(shell_ok(&format!("umount '{}'", self.0.display())), &self.0)
        });
    }
}
