//! Tests of our own profile when a peer sends it back.

use super::*;

#[test]
fn a_later_profile_of_our_key_shows_a_copy_and_ours_is_then_signed_later_still() {
    let (mut friends, me, yjf) = (friends(), Key::new(0), Key::new(1));
    friends.befriend(yjf.profile("yjf", NOW), NOW).unwrap();
    let back = |friends: &mut Friends, sequence| {
        friends.keep_profile(me.profile("yzw", sequence), yjf.peer, NOW + 1)
    };
    for earlier in [NOW - MINUTE, NOW] {
        assert_eq!(back(&mut friends, earlier).unwrap(), ProfileReceipt::Own);
    }
    assert_eq!(back(&mut friends, NOW + MINUTE).unwrap(), ProfileReceipt::OfCopy);
    let own = friends.set_own_profile("yzw", &[], None, NOW + 2).unwrap();
    assert_eq!(own.sequence, NOW + MINUTE + 1);
    assert_eq!(back(&mut friends, NOW + MINUTE).unwrap(), ProfileReceipt::Own, "told once");
    // A profile from a time when a clock was wrong.
    assert_eq!(back(&mut friends, NOW + 2 * MAX_AHEAD_MS).unwrap(), ProfileReceipt::Own);
    let mut forged = me.profile("yzw", NOW + 3 * MINUTE);
    forged.name = "ywz".to_owned();
    assert!(friends.keep_profile(forged, yjf.peer, NOW + 1).unwrap_err().offence().is_some());
}
