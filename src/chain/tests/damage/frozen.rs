//! Tests of a chain that is opened read-only.

use super::*;

#[test]
fn a_frozen_chain_is_read_and_takes_nothing_and_its_file_stays_as_it_was() {
    let sample = Sample::new(40);
    let path = sample.place(&sample.bytes);
    let mut chain = Chain::open_frozen(&path, options()).expect("open");
    assert_eq!(Truth::of(&mut chain).as_ref(), Ok(&sample.truth));
    let text = crate::chain::testing::note(&sample.network.id, &key(4), 10, b"no");
    chain.accept_trade(text, Origin::Local, NOW).expect("taken, until it is to be kept");
    assert_eq!(chain.commit(), Err(ChainFault::ReadOnly));
    drop(chain);
    assert_eq!(fs::read(&path).expect("the file"), sample.bytes);
}
