//! Tests of a chain whose file is a link to another disk.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use crate::chain::{
    Chain,
    repair::salvage::salvage,
    testing::{NOW, network, options},
};

#[test]
fn a_linked_chain_is_mended_where_it_is() {
    let (folder, disk) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a disk"));
    let (path, place) = (folder.path().join("chain.redb"), disk.path().join("kept.redb"));
    drop(Chain::create(&place, &network(), options()).expect("a chain"));
    fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).expect("widened");
    symlink(&place, &path).expect("a link");
    let salvaged = salvage(&path, options(), NOW, &mut |_, _| {}).expect("mended");
    assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
    assert_eq!(salvaged.backup.parent(), place.parent());
    for file in [&place, &salvaged.backup] {
        assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    Chain::open(&path, options()).expect("whole");
}
